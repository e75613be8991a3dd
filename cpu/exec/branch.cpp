// Near JMP, CALL, RET and Jcc (SDM vol. 2). All end their block; RIP behind them is set before the meaning runs.
#include "cpu/bind.h"
#include "cpu/exec/condition.h"
#include "cpu/exec/near.h"

namespace nestwalk::cpu {
namespace {

/// A relative target inside the code segment: in 64-bit mode the sum of canonical RIP and displacement is checked like any.
template <unsigned width>
void jmp_rel(Cpu& c, const Insn& i) {
  jump(c, static_cast<u64>(i.imm), width);
}
/// Targets that are canonical under every linear width need no check.
bool surely_canonical(const Insn& i) { return i.width == 8 && is_canonical(static_cast<u64>(i.imm), 47); }
void jmp_near(Cpu& c, const Insn& i) { c.s.rip = static_cast<u64>(i.imm); }
template <Cc cc>
void jcc_near(Cpu& c, const Insn& i) {
  c.s.rip = holds<cc>(c.s.flags) ? static_cast<u64>(i.imm) : c.block_rip + i.offset + i.length;
}
template <class M>
bool call_near(Cpu& c, const Insn& i) {
  const u64 sp = c.s.gpr[RSP] - 8;
  if (!M::store_at(c, sp, SS, c.block_rip + i.offset + i.length)) return false;
  c.s.gpr[RSP] = sp;
  c.s.rip = static_cast<u64>(i.imm);
  return true;
}
template <class T>
void jmp_indirect(Cpu& c, const Insn& i) {
  jump(c, c.read<T>(i, 0), sizeof(T));
}

template <class T>
void call_to(Cpu& c, const Insn& i, u64 target) {
  const u64 before = c.s.gpr[RSP];
  const u64 back = c.next_rip(i);
  c.push<T>(static_cast<T>(back));
  try {
    jump(c, target, sizeof(T));
  } catch (...) {
    c.s.gpr[RSP] = before;
    throw;
  }
}
template <class T>
void call_rel(Cpu& c, const Insn& i) {
  call_to<T>(c, i, static_cast<u64>(i.imm));
}
template <class T>
void call_indirect(Cpu& c, const Insn& i) {
  call_to<T>(c, i, c.read<T>(i, 0));
}

template <class M>
bool ret_near(Cpu& c, const Insn&) {
  u64 target;
  if (!M::load_at(c, c.s.gpr[RSP], SS, target)) return false;
  jump(c, target, 8);
  c.s.gpr[RSP] += 8;
  return true;
}

/// RET and RET imm16: the stack pointer moves only when the target is good.
template <class T>
void ret(Cpu& c, const Insn& i) {
  const u64 target = c.long64() ? c.load_at<T>(c.s.gpr[RSP], SS) : static_cast<T>(c.peek_stack(0, sizeof(T)));
  jump(c, target, sizeof(T));
  c.set_sp(c.sp() + sizeof(T) + (i.kind[0] == Operand::imm ? static_cast<u16>(i.imm) : 0));
}

template <Cc cc>
void jcc64(Cpu& c, const Insn& i) {
  if (holds<cc>(c.s.flags)) jump(c, static_cast<u64>(i.imm), 8);
}
template <Cc cc>
void jcc32(Cpu& c, const Insn& i) {
  if (holds<cc>(c.s.flags)) jump(c, static_cast<u64>(i.imm), 4);
}
template <Cc cc>
void jcc16(Cpu& c, const Insn& i) {
  if (holds<cc>(c.s.flags)) jump(c, static_cast<u64>(i.imm), 2);
}

}  // namespace

Handler bind_jmp(const Insn& i) {
  if (i.kind[0] == Operand::rel && surely_canonical(i)) return ends_without_fault<jmp_near>;
  if (i.kind[0] == Operand::rel)
    return i.width == 8 ? ending<jmp_rel<8>> : i.width == 4 ? ending<jmp_rel<4>> : ending<jmp_rel<2>>;
  return i.width == 8 ? ending<jmp_indirect<u64>> : i.width == 4 ? ending<jmp_indirect<u32>> : ending<jmp_indirect<u16>>;
}

Handler bind_call(const Insn& i) {
  if (i.kind[0] == Operand::rel && surely_canonical(i)) return NW_MEMORY_ENDING(call_near);
  if (i.kind[0] == Operand::rel)
    return i.width == 8 ? ending<call_rel<u64>> : i.width == 4 ? ending<call_rel<u32>> : ending<call_rel<u16>>;
  return i.width == 8 ? ending<call_indirect<u64>> : i.width == 4 ? ending<call_indirect<u32>> : ending<call_indirect<u16>>;
}

Handler bind_ret(const Insn& i) {
  if (i.width == 8 && i.kind[0] == Operand::none) return NW_MEMORY_ENDING(ret_near);
  return i.width == 8 ? ending<ret<u64>> : i.width == 4 ? ending<ret<u32>> : ending<ret<u16>>;
}

Handler bind_jcc(const Insn& i) {
  if (surely_canonical(i))
    return by_condition(i.op, Op::JO, []<Cc cc>() -> Handler { return ends_without_fault<jcc_near<cc>>; });
  return by_condition(i.op, Op::JO, [&]<Cc cc>() -> Handler {
    return i.width == 8 ? ending<jcc64<cc>> : i.width == 4 ? ending<jcc32<cc>> : ending<jcc16<cc>>;
  });
}

}  // namespace nestwalk::cpu
