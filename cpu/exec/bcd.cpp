// Decimal arithmetic (SDM vol. 2: AAA, AAD, AAM, AAS, DAA, DAS). None of them exists in 64-bit mode.
//
// Flags that the SDM leaves undefined, as Intel cores show them: AAA, AAS: OF, SF, ZF, PF of AL; AAM, AAD: CF = OF = AF =
// 0; DAA, DAS: OF = 0.
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

u8& al(Cpu& c) { return c.gpr<u8>(0); }
u8& ah(Cpu& c) { return c.gpr<u8>(1); }
u16& ax(Cpu& c) { return c.gpr<u16>(0); }

/// AAA (sign +1) and AAS (sign -1).
template <int sign>
void ascii_adjust(Cpu& c, const Insn&) {
  const bool adjust = (al(c) & 0xf) > 9 || c.s.flags.af();
  if (adjust) ax(c) = static_cast<u16>(ax(c) + sign * 0x106);
  al(c) &= 0xf;
  c.s.flags.logic(al(c));
  c.s.flags.set_af(adjust);
  c.s.flags.set_cf(adjust);
  c.s.flags.set_of(false);
}

/// DAA (sign +1) and DAS (sign -1).
template <int sign>
void decimal_adjust(Cpu& c, const Insn&) {
  const u8 old = al(c);
  const bool low = (old & 0xf) > 9 || c.s.flags.af();
  const bool high = old > 0x99 || c.s.flags.cf();
  bool carry = high;
  if (low) {
    // DAS also keeps the borrow of its first step.
    if (sign < 0 && old < 6) carry = true;
    al(c) = static_cast<u8>(al(c) + sign * 6);
  }
  if (high) al(c) = static_cast<u8>(al(c) + sign * 0x60);
  c.s.flags.logic(al(c));
  c.s.flags.set_af(low);
  c.s.flags.set_cf_of(carry, false);
}

void aam(Cpu& c, const Insn& i) {
  const u8 base = static_cast<u8>(i.imm);
  if (base == 0) c.raise(ex::de);
  const u8 v = al(c);
  ah(c) = v / base;
  al(c) = v % base;
  c.s.flags.logic(al(c));
}
void aad(Cpu& c, const Insn& i) {
  const u8 r = static_cast<u8>(al(c) + ah(c) * static_cast<u8>(i.imm));
  ax(c) = r;
  c.s.flags.logic(r);
}

}  // namespace

Handler bind_aaa(const Insn&) { return pure<ascii_adjust<1>>; }
Handler bind_aas(const Insn&) { return pure<ascii_adjust<-1>>; }
Handler bind_daa(const Insn&) { return pure<decimal_adjust<1>>; }
Handler bind_das(const Insn&) { return pure<decimal_adjust<-1>>; }
Handler bind_aam(const Insn&) { return then_next<aam>; }
Handler bind_aad(const Insn&) { return pure<aad>; }

}  // namespace nestwalk::cpu
