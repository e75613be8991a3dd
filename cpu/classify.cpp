// Cost classes of instructions, for core timing models.
#include <string_view>

#include "cpu/decode.h"
#include "cpu/timing.h"

namespace nestwalk::cpu {
namespace {

bool reads_memory(const Insn& i) {
  for (unsigned n = 0; n < 4; ++n)
    if (i.kind[n] == Operand::mem) return !(n == 0 && (i.op == Op::MOV || i.op == Op::LEA));
  return false;
}
bool writes_memory(const Insn& i) { return i.kind[0] == Operand::mem && i.op != Op::CMP && i.op != Op::TEST; }
bool has_vector(const Insn& i) {
  for (const Operand k : i.kind)
    if (k == Operand::vec || k == Operand::mmx) return true;
  return false;
}
bool has_x87_name(const char* name) { return name[0] == 'F'; }

bool contains(const char* name, const char* part) { return std::string_view(name).find(part) != std::string_view::npos; }

}  // namespace

Class class_of(const Insn& i) {
  std::string_view name = name_of(i.op);
  const bool vector = has_vector(i);
  if (vector && i.has(Insn::kVex)) name.remove_prefix(1);  // VADDPS is as ADDPS
  if (i.has(Insn::kLock)) return Class::atomic;
  if (!vector && (name == "IN" || name == "OUT" || name.starts_with("INS") || name.starts_with("OUTS"))) return Class::io;
  if (vector || has_x87_name(name.data())) {
    if (contains(name.data(), "DIV") || contains(name.data(), "SQRT")) return Class::fp_divide;
    if (has_x87_name(name.data())) return Class::fp;
    const bool fp = name.ends_with("PS") || name.ends_with("PD") || name.ends_with("SS") || name.ends_with("SD");
    return fp && !name.starts_with("MOV") ? Class::fp : Class::vector;
  }
  if (name == "MUL" || name == "IMUL") return Class::multiply;
  if (name == "DIV" || name == "IDIV") return Class::divide;
  if (name == "CALL" || name == "RET") return Class::call;
  if (name == "CMPXCHG" || name == "CMPXCHG8B" || name == "CMPXCHG16B" ||
      (name == "XCHG" && (i.kind[0] == Operand::mem || i.kind[1] == Operand::mem)))
    return Class::atomic;
  for (const char* s : {"MOVSB", "MOVSW", "MOVSD", "MOVSQ", "STOSB", "STOSW", "STOSD", "STOSQ", "LODSB", "LODSW",
                        "LODSD", "LODSQ", "SCASB", "SCASW", "SCASD", "SCASQ", "CMPSB", "CMPSW", "CMPSD", "CMPSQ"})
    if (name == s) return Class::string;
  if (name[0] == 'J' || name.starts_with("LOOP")) return Class::branch;
  if (traits_of(i.op) & kEnd) return Class::system;
  if (name == "PUSH") return Class::store;
  if (name == "POP" || name == "LEAVE") return Class::load;
  if (writes_memory(i)) return Class::store;
  if (reads_memory(i)) return Class::load;
  if (name.starts_with("MOV") || name == "LEA" || name == "NOP") return Class::move;
  return Class::alu;
}

}  // namespace nestwalk::cpu
