// Control and debug registers: what each write is checked for, what it makes invalid, and the activation of IA-32e mode
// (SDM vol. 3, 2.5, 4.1, 4.4.1, 4.10.4.1, 9.8.5, 17.2; APM vol. 2, 5.5.2).
#include "cpu/cpu.h"

namespace nestwalk::cpu {
namespace {

namespace cr0 = mmu::cr0;
namespace cr4 = mmu::cr4;
namespace efer = mmu::efer;
using mmu::Invalidation;

constexpr u64 kCr0Bits =
    cr0::pe | cr0::mp | cr0::em | cr0::ts | cr0::et | cr0::ne | cr0::wp | cr0::am | cr0::nw | cr0::cd | cr0::pg;

/// The bits of CR4 that this processor has.
u64 cr4_bits(const Cpuid& id) {
  struct Bit {
    u64 mask;
    Feature feature;
  };
  constexpr Bit kBits[] = {{cr4::vme | cr4::pvi, Feature::vme},
                           {cr4::tsd, Feature::tsc},
                           {cr4::de, Feature::de},
                           {cr4::pse, Feature::pse},
                           {cr4::pae, Feature::pae},
                           {cr4::mce, Feature::mce},
                           {cr4::pge, Feature::pge},
                           {cr4::osfxsr, Feature::fxsr},
                           {cr4::osxmmexcpt, Feature::sse},
                           {cr4::umip, Feature::umip},
                           {cr4::la57, Feature::la57},
                           {cr4::fsgsbase, Feature::fsgsbase},
                           {cr4::pcide, Feature::pcid},
                           {cr4::osxsave, Feature::xsave},
                           {cr4::smep, Feature::smep},
                           {cr4::smap, Feature::smap},
                           {cr4::pke, Feature::pku}};
  u64 all = cr4::pce;
  for (const Bit& b : kBits)
    if (id.has(b.feature)) all |= b.mask;
  return all;
}

bool uses_pae(u64 cr0_value, u64 cr4_value, u64 efer_value) {
  return (cr0_value & cr0::pg) && (cr4_value & cr4::pae) && !(efer_value & efer::lma);
}

/// Reads the four PDPTEs that `cr3` points to; #GP if a present one has reserved bits (SDM vol. 3, 4.4.1). The table is
/// read by physical address, as the processor does.
void load_pdptes(Cpu& c, u64 cr3) {
  const u64 reserved = ~low_mask(c.cpuid.physical_width()) | 0x1e6;
  std::array<u64, 4> read;
  for (unsigned n = 0; n < 4; ++n) {
    read[n] = c.port.load_physical(PhysAddr((cr3 & 0xffffffe0) + 8 * n));
    if ((read[n] & 1) && (read[n] & reserved)) c.gp();
  }
  for (unsigned n = 0; n < 4; ++n) c.s.pdpte[n] = read[n];
}

void forget(Cpu& c, Invalidation::Kind kind, u16 pcid = 0) { c.port.invalidate({kind, LinearAddr(0), pcid, true}); }

/// Turning paging on under EFER.LME enters IA-32e mode, turning it off leaves it (SDM vol. 3, 9.8.5).
void switch_long_mode(Cpu& c, u64 now) {
  const bool code64 = c.s.seg[CS].l;
  if (now & cr0::pg) {
    const bool tss16 = c.s.tr.type == 3;
    if ((c.s.efer & efer::lme) && (!(c.s.cr4 & cr4::pae) || code64 || tss16)) c.gp();
    if (c.s.efer & efer::lme) c.s.efer |= efer::lma;
  } else {
    if ((c.s.cr4 & cr4::pcide) || c.long64()) c.gp();
    c.s.efer &= ~efer::lma;
  }
}

void write_cr0(Cpu& c, u64 value) {
  if (value >> 32) c.gp();
  if ((value & cr0::pg) && !(value & cr0::pe)) c.gp();
  if ((value & cr0::nw) && !(value & cr0::cd)) c.gp();
  const u64 now = (value & kCr0Bits) | cr0::et;
  const u64 changed = now ^ c.s.cr0;
  const bool entering = (changed & cr0::pg) && (now & cr0::pg);
  const u64 efer_after = entering && (c.s.efer & efer::lme) ? c.s.efer | efer::lma : c.s.efer;
  if ((changed & (cr0::pg | cr0::cd | cr0::nw)) && uses_pae(now, c.s.cr4, efer_after)) load_pdptes(c, c.s.cr3);
  if (changed & cr0::pg) switch_long_mode(c, now);
  c.s.cr0 = now;
  c.update_paging();
  if ((changed & cr0::pg) && !(now & cr0::pg)) forget(c, Invalidation::Kind::all);
}

void write_cr3(Cpu& c, u64 value) {
  const bool pcide = c.s.cr4 & cr4::pcide;
  const bool keep = pcide && (value & bit(63));
  if (pcide) value &= ~bit(63);
  if (c.long_mode()) {
    if (value & ~low_mask(c.cpuid.physical_width())) c.gp();
  } else {
    value = static_cast<u32>(value);
  }
  if (uses_pae(c.s.cr0, c.s.cr4, c.s.efer)) load_pdptes(c, value);
  c.s.cr3 = value;
  c.update_paging();
  if (!keep) forget(c, Invalidation::Kind::pcid, pcide ? static_cast<u16>(value & 0xfff) : u16{0});
}

void write_cr4(Cpu& c, u64 value) {
  if (value & ~cr4_bits(c.cpuid)) c.gp();
  const u64 before = c.s.cr4, changed = before ^ value;
  if (c.long_mode()) {
    if (!(value & cr4::pae)) c.gp();
    if (changed & cr4::la57) c.gp();
  }
  if ((changed & value & cr4::pcide) && (!c.long_mode() || (c.s.cr3 & 0xfff))) c.gp();
  constexpr u64 kReloads = cr4::pae | cr4::pge | cr4::pse | cr4::smep;
  if ((changed & kReloads) && uses_pae(c.s.cr0, value, c.s.efer)) load_pdptes(c, c.s.cr3);
  c.s.cr4 = value;
  c.update_paging();
  u64 flushing = cr4::pge | cr4::pae;
  if (c.cpuid.is_amd()) flushing |= cr4::pse;
  const bool flush = (changed & flushing) || (changed & before & cr4::pcide) || (changed & value & cr4::smep);
  if (flush) forget(c, Invalidation::Kind::all);
}

}  // namespace

u64 Cpu::read_cr(unsigned n) {
  switch (n) {
    case 0: return s.cr0;
    case 2: return s.cr2;
    case 3: return s.cr3;
    case 4: return s.cr4;
    case 8: return platform.task_priority() & 15;
    default: ud();
  }
}

void Cpu::write_cr(unsigned n, u64 value) {
  switch (n) {
    case 0: return write_cr0(*this, value);
    case 2: s.cr2 = value; return;
    case 3: return write_cr3(*this, value);
    case 4: return write_cr4(*this, value);
    case 8:
      if (value & ~u64{15}) gp();
      return platform.set_task_priority(value);
    default: ud();
  }
}

namespace {

/// DR4 and DR5 name DR6 and DR7 unless CR4.DE makes them undefined; DR7.GD traps every access.
unsigned debug_register(Cpu& c, unsigned n) {
  if (n > 7) c.ud();
  if (n == 4 || n == 5) {
    if (c.s.cr4 & cr4::de) c.ud();
    n += 2;
  }
  if (c.s.dr[7] & bit(13)) {
    Trap t;
    t.vector = ex::db;
    t.dr6 = bit(13);
    throw t;
  }
  return n;
}

}  // namespace

u64 Cpu::read_dr(unsigned n) { return s.dr[debug_register(*this, n)]; }

void Cpu::write_dr(unsigned n, u64 value) {
  n = debug_register(*this, n);
  if (n >= 6 && value >> 32) gp();
  if (n == 6)
    s.dr[6] = (value & 0xe00f) | 0xffff0ff0;
  else if (n == 7)
    s.dr[7] = (value & 0xffff23ff) | 0x400;
  else
    s.dr[n] = value;
  if (n != 6) update_breakpoints();
}

}  // namespace nestwalk::cpu
