// STI, CLI, STAC, CLAC, PUSHF, POPF: the flags that privilege guards, with virtual-8086 and protected-mode virtual
// interrupts (SDM vol. 2; vol. 3, 20.3, 20.4).
#include "cpu/bind.h"

namespace nestwalk::cpu {
namespace {

/// CR4.VME in virtual-8086 mode and CR4.PVI at level 3 let VIF stand for IF where IOPL forbids IF.
bool has_virtual_interrupts(const Cpu& c) {
  if (c.v8086()) return c.s.cr4 & mmu::cr4::vme;
  return c.s.cpl == 3 && (c.s.cr4 & mmu::cr4::pvi);
}

bool may_change_if(const Cpu& c) { return !c.protected_mode() || c.iopl() >= c.s.cpl; }

void cli(Cpu& c, const Insn&) {
  if (may_change_if(c))
    c.s.rflags &= ~u64{fl::if_};
  else if (has_virtual_interrupts(c))
    c.s.rflags &= ~u64{fl::vif};
  else
    c.gp();
}

/// The instruction behind an STI that sets IF still runs without interrupts.
void sti(Cpu& c, const Insn&) {
  if (may_change_if(c)) {
    if (c.s.rflags & fl::if_) return;
    c.s.interrupt_shadow = true;
    c.set_rflags(c.rflags() | fl::if_);
  } else if (has_virtual_interrupts(c) && !(c.s.rflags & fl::vip)) {
    c.s.rflags |= fl::vif;
  } else {
    c.gp();
  }
}

template <bool on>
void set_ac(Cpu& c, const Insn&) {
  if (c.s.cpl) c.ud();
  c.s.rflags = on ? c.s.rflags | fl::ac : c.s.rflags & ~u64{fl::ac};
  c.update_mode();
}

/// VM and RF never show; under VME the image has VIF for IF and IOPL 3.
template <class T>
void pushf(Cpu& c, const Insn&) {
  u64 image = c.rflags() & ~u64{fl::vm | fl::rf};
  if (c.v8086() && c.iopl() < 3) {
    if (sizeof(T) != 2 || !(c.s.cr4 & mmu::cr4::vme)) c.gp();
    image = (image & ~u64{fl::if_}) | (image & fl::vif ? fl::if_ : 0) | fl::iopl;
  }
  c.push<T>(static_cast<T>(image));
}

u64 popf_mask(const Cpu& c, unsigned bytes) {
  u64 mask = fl::arithmetic | fl::tf | fl::df | fl::nt;
  if (bytes > 2) mask |= fl::ac | fl::id;
  if (may_change_if(c)) mask |= fl::if_;
  if (c.s.cpl == 0) mask |= fl::iopl;
  return mask;
}

/// POPF in virtual-8086 mode below IOPL 3: IF goes to VIF.
template <class T>
void popf_virtual(Cpu& c) {
  if (sizeof(T) != 2 || !(c.s.cr4 & mmu::cr4::vme)) c.gp();
  const u64 image = c.peek_stack(0, 2);
  if ((image & fl::tf) || ((image & fl::if_) && (c.s.rflags & fl::vip))) c.gp();
  c.set_sp(c.sp() + 2);
  const u64 mask = (popf_mask(c, 2) & ~u64{fl::if_ | fl::iopl}) | fl::vif;
  c.set_rflags((c.rflags() & ~mask) | (image & mask & ~u64{fl::vif}) | (image & fl::if_ ? fl::vif : 0));
}

template <class T>
void popf(Cpu& c, const Insn&) {
  if (c.v8086() && c.iopl() < 3) return popf_virtual<T>(c);
  const u64 mask = popf_mask(c, sizeof(T));
  const u64 image = c.pop<T>();
  const u64 cleared = sizeof(T) > 2 ? u64{fl::rf} : 0;
  c.set_rflags((c.rflags() & ~(mask | cleared)) | (image & mask));
}

}  // namespace

Handler bind_cli(const Insn&) { return then_next<cli>; }
Handler bind_sti(const Insn&) { return ending<sti>; }
Handler bind_clac(const Insn&) { return then_next<set_ac<false>>; }
Handler bind_stac(const Insn&) { return then_next<set_ac<true>>; }
Handler bind_pushf(const Insn&) { return then_next<pushf<u16>>; }
Handler bind_pushfd(const Insn&) { return then_next<pushf<u32>>; }
Handler bind_pushfq(const Insn&) { return then_next<pushf<u64>>; }
Handler bind_popf(const Insn&) { return ending<popf<u16>>; }
Handler bind_popfd(const Insn&) { return ending<popf<u32>>; }
Handler bind_popfq(const Insn&) { return ending<popf<u64>>; }

}  // namespace nestwalk::cpu
