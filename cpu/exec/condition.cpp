// SETcc and CMOVcc.
#include "cpu/exec/condition.h"

#include "cpu/bind.h"

namespace nestwalk::cpu {
namespace {

template <Cc cc>
void setcc(Cpu& c, const Insn& i) {
  c.write<u8>(i, 0, holds<cc>(c.s.flags));
}

/// The source is read whatever the condition says; a 32-bit destination loses its upper half even when nothing is moved.
template <class T, Cc cc>
void cmovcc(Cpu& c, const Insn& i) {
  const T source = c.read<T>(i, 1);
  c.set_gpr<T>(i.reg[0], holds<cc>(c.s.flags) ? source : c.gpr<T>(i.reg[0]));
}

}  // namespace

Handler bind_setcc(const Insn& i) {
  return by_condition(i.op, Op::SETO, []<Cc cc>() -> Handler { return then_next<setcc<cc>>; });
}

Handler bind_cmovcc(const Insn& i) {
  return by_condition(i.op, Op::CMOVO, [&]<Cc cc>() -> Handler {
    return i.width == 8   ? then_next<cmovcc<u64, cc>>
           : i.width == 4 ? then_next<cmovcc<u32, cc>>
                          : then_next<cmovcc<u16, cc>>;
  });
}

}  // namespace nestwalk::cpu
