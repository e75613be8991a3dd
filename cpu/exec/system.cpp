// Privileged and system instructions: descriptor-table registers, control and debug registers, MSRs, time, CPUID, TLB
// invalidation, HLT, segment queries (SDM vol. 2; vol. 3, chapters 2 and 5).
#include "cpu/bind.h"
#include "cpu/descriptor.h"
#include "cpu/exec/operand.h"
#include "cpu/exec/xsave.h"

namespace nestwalk::cpu {
namespace {

/// Where the memory operand lies, without the checks of an access.
u64 address_only(const Cpu& c, const Insn& i) {
  const u64 offset = c.offset_of(i);
  if (!c.long64()) return static_cast<u32>(c.s.seg[i.segment].base + offset);
  return i.segment >= FS ? c.s.seg[i.segment].base + offset : offset;
}

void require_protected(Cpu& c) {
  if (c.real_mode() || c.v8086()) c.ud();
}

/// SGDT, SIDT, SLDT, STR, SMSW tell user programs nothing under CR4.UMIP.
void respect_umip(Cpu& c) {
  if ((c.s.cr4 & mmu::cr4::umip) && c.s.cpl) c.gp();
}

// ---- GDTR, IDTR, LDTR, TR -------------------------------------------------------------------------------------------

TableRegister load_table(Cpu& c, const Insn& i) {
  c.require_cpl0();
  const unsigned bytes = c.long64() ? 8 : 4;
  const u64 at = c.linear<mmu::Side::load>(i, 2 + bytes);
  const auto step = [&](u64 n) { return c.long64() ? at + n : static_cast<u32>(at + n); };
  const u32 limit = c.load_at<u16>(at, i.segment);
  if (c.long64()) {
    const u64 base = c.load_at<u64>(step(2), i.segment);
    if (!is_canonical(base, c.linear_width())) c.gp();
    return {base, limit};
  }
  const u32 base = c.load_at<u32>(step(2), i.segment);
  return {i.width == 2 ? base & 0xffffff : base, limit};
}

void store_table(Cpu& c, const Insn& i, const TableRegister& r) {
  respect_umip(c);
  std::array<u8, 10> image{};
  __builtin_memcpy(image.data(), &r.limit, 2);
  __builtin_memcpy(image.data() + 2, &r.base, 8);
  if (c.long64()) return c.store_at(c.linear<mmu::Side::store>(i, 10), image, i.segment);
  std::array<u8, 6> narrow;
  __builtin_memcpy(narrow.data(), image.data(), 6);
  c.store_at(c.linear<mmu::Side::store>(i, 6), narrow, i.segment);
}

void lgdt(Cpu& c, const Insn& i) { c.s.gdtr = load_table(c, i); }
void lidt(Cpu& c, const Insn& i) { c.s.idtr = load_table(c, i); }
void sgdt(Cpu& c, const Insn& i) { store_table(c, i, c.s.gdtr); }
void sidt(Cpu& c, const Insn& i) { store_table(c, i, c.s.idtr); }

void lldt(Cpu& c, const Insn& i) {
  require_protected(c);
  c.require_cpl0();
  c.load_ldtr(c.read<u16>(i, 0));
}

void ltr(Cpu& c, const Insn& i) {
  require_protected(c);
  c.require_cpl0();
  c.load_tr(c.read<u16>(i, 0));
}

/// To memory always 16 bits; a register gets as many as it is wide.
void write_word(Cpu& c, const Insn& i, u64 value) {
  if (i.kind[0] == Operand::mem) return c.store<u16>(i, static_cast<u16>(value));
  switch (i.width) {
    case 2: return c.set_gpr<u16>(i.reg[0], static_cast<u16>(value));
    case 4: return c.set_gpr<u32>(i.reg[0], static_cast<u32>(value));
    default: return c.set_gpr<u64>(i.reg[0], value);
  }
}

void sldt(Cpu& c, const Insn& i) {
  require_protected(c);
  respect_umip(c);
  write_word(c, i, c.s.ldtr.selector);
}

void str(Cpu& c, const Insn& i) {
  require_protected(c);
  respect_umip(c);
  write_word(c, i, c.s.tr.selector);
}

// ---- segment queries ------------------------------------------------------------------------------------------------

/// The descriptor, when this privilege may see it.
std::optional<Entry> visible_entry(Cpu& c, u16 selector) {
  const auto e = find_entry(c, selector);
  if (!e) return e;
  const bool conforming_code = e->d.is_code() && e->d.conforming();
  if (!conforming_code && (e->d.dpl() < c.s.cpl || e->d.dpl() < rpl_of(selector))) return std::nullopt;
  return e;
}

/// System types that LAR and LSL describe (SDM vol. 2, tables 3-53 and 3-56).
bool describes(const Cpu& c, const Descriptor& d, bool with_gates) {
  if (d.s()) return true;
  const u8 t = d.type();
  if (t == sys::ldt || t == sys::tss || t == sys::tss_busy) return true;
  if (with_gates && t == sys::call) return true;
  if (c.long_mode()) return false;
  return t == sys::tss16 || t == sys::tss16_busy || (with_gates && (t == sys::call16 || t == sys::task_gate));
}

void write_query(Cpu& c, const Insn& i, u32 value) {
  if (i.width == 2)
    c.set_gpr<u16>(i.reg[0], static_cast<u16>(value));
  else
    c.set_gpr<u32>(i.reg[0], value);
}

void lar(Cpu& c, const Insn& i) {
  require_protected(c);
  const auto e = visible_entry(c, c.read<u16>(i, 1));
  const bool ok = e && describes(c, e->d, true);
  if (ok) write_query(c, i, static_cast<u32>(e->d.low >> 32) & 0x00ffff00);
  c.s.flags.set_zf(ok);
}

void lsl(Cpu& c, const Insn& i) {
  require_protected(c);
  const auto e = visible_entry(c, c.read<u16>(i, 1));
  const bool ok = e && describes(c, e->d, false);
  if (ok) write_query(c, i, e->d.limit());
  c.s.flags.set_zf(ok);
}

void verr(Cpu& c, const Insn& i) {
  require_protected(c);
  const auto e = visible_entry(c, c.read<u16>(i, 0));
  c.s.flags.set_zf(e && e->d.readable());
}

void verw(Cpu& c, const Insn& i) {
  require_protected(c);
  const auto e = visible_entry(c, c.read<u16>(i, 0));
  c.s.flags.set_zf(e && e->d.writable());
}

void arpl(Cpu& c, const Insn& i) {
  require_protected(c);
  const u16 rpl = c.read<u16>(i, 1) & 3;
  bool raised = false;
  const auto adjust = [&](u16 v) {
    raised = (v & 3) < rpl;
    return raised ? static_cast<u16>((v & 0xfffc) | rpl) : v;
  };
  // What cannot be written is refused even where nothing changes (SDM vol. 2, ARPL).
  if (i.kind[0] == Operand::mem)
    c.update<u16>(i, adjust);
  else
    c.set_gpr<u16>(i.reg[0], adjust(c.read<u16>(i, 0)));
  c.s.flags.set_zf(raised);
}

// ---- control and debug registers ------------------------------------------------------------------------------------

u64 at_mode_width(const Cpu& c, u64 v) { return c.long64() ? v : static_cast<u32>(v); }

void put_register(Cpu& c, u8 reg, u64 v) {
  if (c.long64())
    c.set_gpr<u64>(reg, v);
  else
    c.set_gpr<u32>(reg, static_cast<u32>(v));
}

void mov_from_cr(Cpu& c, const Insn& i) {
  c.require_cpl0();
  put_register(c, i.reg[0], c.read_cr(i.reg[1]));
}
void mov_to_cr(Cpu& c, const Insn& i) {
  c.require_cpl0();
  c.write_cr(i.reg[0], at_mode_width(c, c.gpr<u64>(i.reg[1])));
}
void mov_from_dr(Cpu& c, const Insn& i) {
  c.require_cpl0();
  put_register(c, i.reg[0], c.read_dr(i.reg[1]));
}
void mov_to_dr(Cpu& c, const Insn& i) {
  c.require_cpl0();
  c.write_dr(i.reg[0], at_mode_width(c, c.gpr<u64>(i.reg[1])));
}

void smsw(Cpu& c, const Insn& i) {
  respect_umip(c);
  write_word(c, i, c.s.cr0);
}

/// Changes PE (to 1 only), MP, EM, TS.
void lmsw(Cpu& c, const Insn& i) {
  c.require_cpl0();
  const u64 value = c.read<u16>(i, 0);
  c.write_cr(0, (c.s.cr0 & ~u64{0xe}) | (value & 0xf));
}

void clts(Cpu& c, const Insn&) {
  c.require_cpl0();
  c.s.cr0 &= ~mmu::cr0::ts;
}

void xgetbv(Cpu& c, const Insn&) {
  if (!(c.s.cr4 & mmu::cr4::osxsave)) c.ud();
  const u32 index = static_cast<u32>(c.s.gpr[RCX]);
  if (index > 1 || (index == 1 && !c.cpuid.has(Feature::xgetbv1))) c.gp();
  const u64 value = index == 1 ? c.s.xcr0 & components_in_use(c) : c.s.xcr0;
  c.s.gpr[RAX] = static_cast<u32>(value);
  c.s.gpr[RDX] = value >> 32;
}

void xsetbv(Cpu& c, const Insn&) {
  if (!(c.s.cr4 & mmu::cr4::osxsave)) c.ud();
  c.require_cpl0();
  const u64 value = (c.s.gpr[RDX] << 32) | static_cast<u32>(c.s.gpr[RAX]);
  const bool avx_without_sse = (value & 4) && !(value & 2);
  if (static_cast<u32>(c.s.gpr[RCX]) || !(value & 1) || (value & ~c.cpuid.xcr0_mask()) || avx_without_sse) c.gp();
  c.s.xcr0 = value;
}

// ---- invalidation and caches ----------------------------------------------------------------------------------------

void invlpg(Cpu& c, const Insn& i) {
  c.require_cpl0();
  const u64 at = address_only(c, i);
  if (c.long64() && !is_canonical(at, c.linear_width())) return;
  c.port.invalidate({mmu::Invalidation::Kind::page, LinearAddr(at), mmu::pcid_of(c.port.paging())});
}

void invpcid(Cpu& c, const Insn& i) {
  using Kind = mmu::Invalidation::Kind;
  constexpr Kind kKinds[] = {Kind::pcid_page, Kind::pcid, Kind::all, Kind::non_global};
  if (c.v8086()) c.gp();
  c.require_cpl0();
  const u64 type = at_mode_width(c, c.gpr<u64>(i.reg[0]));
  const V128 what = c.load<V128>(i);
  if (type > 3 || what.q[0] >> 12) c.gp();
  const bool names_pcid = type < 2;
  if (names_pcid && what.q[0] && !(c.s.cr4 & mmu::cr4::pcide)) c.gp();
  if (type == 0 && !is_canonical(what.q[1], c.linear_width())) c.gp();
  c.port.invalidate({kKinds[type], LinearAddr(what.q[1]), static_cast<u16>(what.q[0])});
}

/// The modelled caches hold no data of their own: nothing needs writing back.
void write_back(Cpu& c, const Insn&) { c.require_cpl0(); }

void halt(Cpu& c, const Insn&) {
  c.require_cpl0();
  c.platform.intercept(mmu::Exit::hlt);
  c.s.halted = true;
  c.request_attention();
}

// ---- CPUID, MSRs, time ----------------------------------------------------------------------------------------------

void cpuid(Cpu& c, const Insn&) {
  c.platform.intercept(mmu::Exit::cpuid);
  CpuidDynamic now;
  u64 base = 0x900;
  if (c.cpuid.has(Feature::apic) && c.platform.apic_read(0x1b, base)) now.apic_enabled = base & 0x800;
  now.apic_id = c.platform.apic_id();
  now.osxsave = c.s.cr4 & mmu::cr4::osxsave;
  now.ospke = c.s.cr4 & mmu::cr4::pke;
  now.xcr0 = c.s.xcr0;
  now.xss = c.s.msr.xss;
  const CpuidAnswer a = c.cpuid.answer(static_cast<u32>(c.s.gpr[RAX]), static_cast<u32>(c.s.gpr[RCX]), now);
  c.s.gpr[RAX] = a.eax;
  c.s.gpr[RBX] = a.ebx;
  c.s.gpr[RCX] = a.ecx;
  c.s.gpr[RDX] = a.edx;
}

void rdmsr(Cpu& c, const Insn&) {
  c.require_cpl0();
  const u64 v = c.read_msr(static_cast<u32>(c.s.gpr[RCX]));
  c.s.gpr[RAX] = static_cast<u32>(v);
  c.s.gpr[RDX] = v >> 32;
}

void wrmsr(Cpu& c, const Insn&) {
  c.require_cpl0();
  c.write_msr(static_cast<u32>(c.s.gpr[RCX]), (c.s.gpr[RDX] << 32) | static_cast<u32>(c.s.gpr[RAX]));
}

bool read_tsc(Cpu& c, const Insn& i) {
  if ((c.s.cr4 & mmu::cr4::tsd) && c.s.cpl) c.gp();
  if (c.must_wait_for_turn(i)) return false;
  const u64 v = c.tsc();
  c.s.gpr[RAX] = static_cast<u32>(v);
  c.s.gpr[RDX] = v >> 32;
  return true;
}
void rdtsc(Cpu& c, const Insn& i) { read_tsc(c, i); }

void rdtscp(Cpu& c, const Insn& i) {
  if (read_tsc(c, i)) c.s.gpr[RCX] = static_cast<u32>(c.s.tsc_aux);
}

void rdpid(Cpu& c, const Insn& i) { put_register(c, i.reg[0], c.s.tsc_aux); }

/// CPUID leaf 0AH says that there are no counters.
void rdpmc(Cpu& c, const Insn&) { c.gp(); }

// ---- segment bases --------------------------------------------------------------------------------------------------

void require_fsgsbase(Cpu& c) {
  if (!c.long64() || !(c.s.cr4 & mmu::cr4::fsgsbase)) c.ud();
}

template <Seg seg>
void read_base(Cpu& c, const Insn& i) {
  require_fsgsbase(c);
  if (i.width == 8)
    c.set_gpr<u64>(i.reg[0], c.s.seg[seg].base);
  else
    c.set_gpr<u32>(i.reg[0], static_cast<u32>(c.s.seg[seg].base));
}

template <Seg seg>
void write_base(Cpu& c, const Insn& i) {
  require_fsgsbase(c);
  const u64 v = i.width == 8 ? c.gpr<u64>(i.reg[0]) : c.gpr<u32>(i.reg[0]);
  if (!is_canonical(v, c.linear_width())) c.gp();
  c.s.seg[seg].base = v;
}

// ---- protection keys ------------------------------------------------------------------------------------------------

void rdpkru(Cpu& c, const Insn&) {
  if (!(c.s.cr4 & mmu::cr4::pke)) c.ud();
  if (static_cast<u32>(c.s.gpr[RCX])) c.gp();
  c.s.gpr[RAX] = c.s.pkru;
  c.s.gpr[RDX] = 0;
}

void wrpkru(Cpu& c, const Insn&) {
  if (!(c.s.cr4 & mmu::cr4::pke)) c.ud();
  if (static_cast<u32>(c.s.gpr[RCX]) || static_cast<u32>(c.s.gpr[RDX])) c.gp();
  c.write_pkru(static_cast<u32>(c.s.gpr[RAX]));
}

void swapgs(Cpu& c, const Insn&) {
  if (!c.long64()) c.ud();
  c.require_cpl0();
  std::swap(c.s.seg[GS].base, c.s.kernel_gs_base);
}

}  // namespace

Handler bind_lgdt(const Insn&) { return then_next<lgdt>; }
Handler bind_lidt(const Insn&) { return then_next<lidt>; }
Handler bind_sgdt(const Insn&) { return then_next<sgdt>; }
Handler bind_sidt(const Insn&) { return then_next<sidt>; }
Handler bind_lldt(const Insn&) { return then_next<lldt>; }
Handler bind_ltr(const Insn&) { return then_next<ltr>; }
Handler bind_sldt(const Insn&) { return then_next<sldt>; }
Handler bind_str(const Insn&) { return then_next<str>; }
Handler bind_lar(const Insn&) { return then_next<lar>; }
Handler bind_lsl(const Insn&) { return then_next<lsl>; }
Handler bind_verr(const Insn&) { return then_next<verr>; }
Handler bind_verw(const Insn&) { return then_next<verw>; }
Handler bind_arpl(const Insn&) { return then_next<arpl>; }
Handler bind_mov_cr(const Insn& i) {
  const u8 n = i.reg[i.kind[0] == Operand::cr ? 0 : 1];
  if (n != 0 && n != 2 && n != 3 && n != 4 && n != 8) return nullptr;
  return i.kind[0] == Operand::cr ? leaving<mov_to_cr> : then_next<mov_from_cr>;
}
Handler bind_mov_dr(const Insn& i) {
  if (i.reg[i.kind[0] == Operand::dr ? 0 : 1] > 7) return nullptr;
  return i.kind[0] == Operand::dr ? leaving<mov_to_dr> : then_next<mov_from_dr>;
}
Handler bind_smsw(const Insn&) { return then_next<smsw>; }
Handler bind_lmsw(const Insn&) { return ending<lmsw>; }
Handler bind_clts(const Insn&) { return then_next<clts>; }
Handler bind_xgetbv(const Insn&) { return then_next<xgetbv>; }
Handler bind_xsetbv(const Insn&) { return then_next<xsetbv>; }
Handler bind_invlpg(const Insn&) { return ending<invlpg>; }
Handler bind_invpcid(const Insn& i) { return i.kind[1] == Operand::mem ? ending<invpcid> : nullptr; }
Handler bind_wbinvd(const Insn&) { return then_next<write_back>; }
Handler bind_hlt(const Insn&) { return ending<halt>; }
Handler bind_cpuid(const Insn&) { return then_next<cpuid>; }
Handler bind_rdmsr(const Insn&) { return ending<rdmsr>; }
Handler bind_wrmsr(const Insn&) { return ending<wrmsr>; }
Handler bind_rdtsc(const Insn&) { return ending<rdtsc>; }
Handler bind_rdtscp(const Insn&) { return ending<rdtscp>; }
Handler bind_rdpid(const Insn&) { return then_next<rdpid>; }
Handler bind_rdpmc(const Insn&) { return then_next<rdpmc>; }
Handler bind_rdfsbase(const Insn&) { return then_next<read_base<FS>>; }
Handler bind_rdgsbase(const Insn&) { return then_next<read_base<GS>>; }
Handler bind_wrfsbase(const Insn&) { return then_next<write_base<FS>>; }
Handler bind_wrgsbase(const Insn&) { return then_next<write_base<GS>>; }
Handler bind_swapgs(const Insn&) { return then_next<swapgs>; }
Handler bind_rdpkru(const Insn&) { return then_next<rdpkru>; }
Handler bind_wrpkru(const Insn&) { return then_next<wrpkru>; }

}  // namespace nestwalk::cpu
