#include "cpu/table.h"

#include "cpu/bind.h"
#include "cpu/decode.h"

namespace nestwalk::cpu {

#define OP(name, bind, traits) Handler bind(const Insn&);
#include "cpu/table.def"
#undef OP

namespace {
struct Row {
  const char* name;
  Binder bind;
  u32 traits;
};
constexpr Row kTable[] = {
#define OP(name, bind, traits) {#name, bind, traits},
#include "cpu/table.def"
#undef OP
};
}  // namespace

Handler bind(const Insn& insn) { return kTable[static_cast<unsigned>(insn.op)].bind(insn); }
u32 traits_of(Op op) { return kTable[static_cast<unsigned>(op)].traits; }
const char* name_of(Op op) { return kTable[static_cast<unsigned>(op)].name; }

}  // namespace nestwalk::cpu
