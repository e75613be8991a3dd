// The MMX registers are the significands of the x87 registers, and every MMX instruction turns the x87 state over to MMX
// (SDM vol. 3, 12.2, table 12-1; exceptions: table 2-8 of vol. 3, 2.5).
#pragma once

#include "cpu/cpu.h"

namespace nestwalk::cpu {

/// x87 status word: the exception flags (IE DE ZE OE UE PE), stack fault, error summary, busy.
namespace fsw {
inline constexpr u16 ie = 1, de = 2, ze = 4, oe = 8, ue = 16, pe = 32, sf = 64, es = 128, c0 = 256, c1 = 512, c2 = 1024,
                     c3 = 0x4000, busy = 0x8000;
inline constexpr u16 exceptions = 0x3f, conditions = c0 | c1 | c2 | c3;
}  // namespace fsw

/// CR0.NE = 0, the way of the PC/AT: FERR# asks the interrupt controller for IRQ13, and the instruction waits for it; with
/// IGNNE# asserted (the handler has written to port F0H) it goes on (SDM vol. 1, 8.7.2; vol. 3, 6.15, #MF).
[[noreturn]] NW_COLD void freeze_for_x87_error(Cpu& c);

/// #MF, or FERR#, for an x87 exception that is pending and unmasked.
NW_INLINE void check_pending_x87(Cpu& c) {
  if (NW_LIKELY(!(c.s.x87.status & fsw::es))) return;
  if (c.s.cr0 & mmu::cr0::ne) c.raise(ex::mf);
  if (!c.s.x87.ignored) freeze_for_x87_error(c);
}

/// The exceptions that precede every MMX instruction, before its memory operand is read: #UD, #NM, #MF.
NW_INLINE void check_mmx(Cpu& c) {
  if (NW_UNLIKELY(c.s.cr0 & (mmu::cr0::em | mmu::cr0::ts))) {
    if (c.s.cr0 & mmu::cr0::em) c.ud();
    c.raise(ex::nm);
  }
  check_pending_x87(c);
}
/// The state change of every MMX instruction but EMMS, once nothing can fault any more: TOP = 0, every register valid.
NW_INLINE void switch_to_mmx(Cpu& c) {
  c.s.x87.top = 0;
  c.s.x87.valid = 0xff;
}
/// Both, for instructions without a memory operand.
NW_INLINE void enter_mmx(Cpu& c) {
  check_mmx(c);
  switch_to_mmx(c);
}

inline u64 mmx(const Cpu& c, u8 n) { return c.s.x87.r[n].significand; }
/// A write to MMn sets the exponent and sign of the x87 register it lies in to ones.
inline void set_mmx(Cpu& c, u8 n, u64 v) { c.s.x87.r[n] = {v, 0xffff}; }

}  // namespace nestwalk::cpu
