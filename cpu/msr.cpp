// Model-specific registers: RDMSR and WRMSR with the checks of each register (SDM vol. 4, chapter 2; SDM vol. 3, 11.11 for
// the MTRRs; APM vol. 2, appendix A). What a processor of the configured kind does not have raises #GP and is noted once.
#include <fmt/format.h>

#include "cpu/cpu.h"

namespace nestwalk::cpu {
namespace {

namespace msr {
inline constexpr u32 p5_mc_address = 0, p5_mc_type = 1, tsc = 0x10, apic_base = 0x1b, core_thread_count = 0x35,
                     tsc_adjust = 0x3b, spec_ctrl = 0x48, pred_cmd = 0x49, platform_info = 0xce, mtrr_cap = 0xfe,
                     arch_capabilities = 0x10a, sysenter_cs = 0x174, sysenter_esp = 0x175, sysenter_eip = 0x176,
                     mcg_cap = 0x179, mcg_control = 0x17b, mtrr_base0 = 0x200, mtrr_64k = 0x250, mtrr_16k = 0x258,
                     mtrr_4k = 0x268, pat = 0x277, mtrr_default = 0x2ff, mc0_control = 0x400, tsc_deadline = 0x6e0,
                     x2apic_first = 0x800, x2apic_last = 0x8ff, xss = 0xda0, efer = 0xc0000080, star = 0xc0000081,
                     lstar = 0xc0000082, cstar = 0xc0000083, sfmask = 0xc0000084, fs_base = 0xc0000100,
                     gs_base = 0xc0000101, kernel_gs_base = 0xc0000102, tsc_aux = 0xc0000103, amd_pstate_limit = 0xc0010061;
}

// ---- registers that only hold a value ----------------------------------------------------------------------------------

enum class Maker : u8 { any, intel, amd };

struct Plain {
  u32 first;
  u32 count;
  Maker maker;
  u64 reset;
  u64 writable;  ///< other bits must be written as they read ...
  bool lenient;  ///< ... or are ignored
};

constexpr u64 kAll = ~u64{0};
constexpr bool kIgnored = true, kChecked = false;

// What kernels look at and set on bare metal, with values that promise nothing.
constexpr Plain kPlainTable[] = {
    {0x17, 1, Maker::intel, 0, 0, kIgnored},                       // PLATFORM_ID
    {0x2a, 1, Maker::intel, 0, 0, kIgnored},                       // EBL_CR_POWERON
    {0x34, 1, Maker::intel, 0, 0, kChecked},                       // SMI_COUNT
    {0x3a, 1, Maker::intel, 1, 0, kChecked},                       // FEATURE_CONTROL: locked, without VMX
    {0xe2, 1, Maker::intel, 0x8000, 0, kIgnored},                  // PKG_CST_CONFIG_CONTROL: locked
    {0x140, 1, Maker::intel, 0, 0, kChecked},                      // MISC_FEATURES_ENABLES
    {0x17a, 1, Maker::any, 0, 7, kChecked},                        // MCG_STATUS
    {0x198, 1, Maker::intel, 0x1900, 0, kIgnored},                 // PERF_STATUS
    {0x199, 1, Maker::intel, 0x1900, 0x1ffff, kIgnored},           // PERF_CTL
    {0x19a, 1, Maker::intel, 0, 0x1f, kChecked},                   // CLOCK_MODULATION
    {0x19b, 1, Maker::intel, 0, 0x1ffffff, kIgnored},              // THERM_INTERRUPT
    {0x19c, 1, Maker::intel, 0x88000000, 0, kIgnored},             // THERM_STATUS
    {0x1a0, 1, Maker::intel, 0x850089, 0x400c51889, kIgnored},     // MISC_ENABLE: fast strings; no BTS, no PEBS
    {0x1a2, 1, Maker::intel, 100 << 16, 0, kIgnored},              // TEMPERATURE_TARGET
    {0x1a4, 1, Maker::intel, 0, 0xf, kChecked},                    // prefetchers
    {0x1aa, 1, Maker::intel, 0, 0x4000ff, kIgnored},               // MISC_PWR_MGMT
    {0x1ad, 1, Maker::intel, 0x19191919, 0, kIgnored},             // TURBO_RATIO_LIMIT
    {0x1d9, 1, Maker::any, 0, 0xdfc3, kChecked},                   // DEBUGCTL: kept, branches are not recorded
    {0x1db, 4, Maker::any, 0, 0, kIgnored},                        // last branch and exception records
    {0x1fc, 1, Maker::intel, 0, 0x1fffff, kIgnored},               // POWER_CTL
    {0xc0010010, 1, Maker::amd, 0x140000, 0x7c0000, kChecked},     // SYSCFG
    {0xc0010015, 1, Maker::amd, 0x1000010, 0xffffffff, kChecked},  // HWCR: TscFreqSel, SmmLock...
    {0xc0010016, 4, Maker::amd, 0, 0xfffffffff801, kIgnored},      // IORR base and mask
    {0xc001001a, 1, Maker::amd, 0, 0xffffff800000, kIgnored},      // TOP_MEM
    {0xc001001d, 1, Maker::amd, 0, 0xffffff800000, kIgnored},      // TOP_MEM2
    {0xc001001f, 1, Maker::amd, 0, kAll, kIgnored},                // NB_CFG
    {0xc0010020, 1, Maker::amd, 0, 0, kIgnored},                   // PATCH_LOADER: updates have no effect
    {0xc0010055, 1, Maker::amd, 0, 0, kIgnored},                   // INTPENDING
    {0xc0010058, 1, Maker::amd, 0, 0xfffff00003d, kIgnored},       // MMIO_CFG_BASE_ADDR
    {0xc0010061, 3, Maker::amd, 0, 7, kIgnored},                   // P-state limit, control, status
    {0xc0010064, 8, Maker::amd, 0, 0, kIgnored},                   // P-state definitions: none enabled
    {0xc0010114, 1, Maker::amd, 0x18, 0, kIgnored},                // VM_CR: SVM disabled and locked
    {0xc0010140, 2, Maker::amd, 0, 0, kIgnored},                   // OSVW: no workarounds needed
    {0xc0011020, 4, Maker::amd, 0, kAll, kChecked},                // LS_CFG, IC_CFG, DC_CFG, TW_CFG
    {0xc0011029, 1, Maker::amd, 2, kAll, kChecked},                // DE_CFG: LFENCE serializes
    {0xc001102a, 3, Maker::amd, 0, kAll, kChecked},                // BU_CFG2 and its neighbours
    {0xc0011030, 3, Maker::amd, 0, 0, kIgnored},                   // IBS: off
};

constexpr unsigned plain_count() {
  unsigned n = 0;
  for (const Plain& p : kPlainTable) n += p.count;
  return n;
}
static_assert(plain_count() <= MsrBank::kPlain);

struct Slot {
  const Plain* row = nullptr;
  unsigned position = 0;
};

Slot find_plain(u32 index, bool amd) {
  unsigned position = 0;
  for (const Plain& p : kPlainTable) {
    const bool ours = p.maker == Maker::any || (p.maker == Maker::amd) == amd;
    if (ours && index - p.first < p.count) return {&p, position + index - p.first};
    position += p.count;
  }
  return {};
}

// ---- memory types ---------------------------------------------------------------------------------------------------

/// UC, WC, WT, WP, WB (SDM vol. 3, table 11-2).
constexpr bool valid_mtrr_type(u64 type) { return type == 0 || type == 1 || type == 4 || type == 5 || type == 6; }
/// PAT entries may be UC- (7) as well, and nothing in their upper bits (table 11-10).
constexpr bool valid_pat(u64 pat) {
  for (unsigned n = 0; n < 8; ++n) {
    const u64 type = (pat >> (8 * n)) & 0xff;
    if (!valid_mtrr_type(type) && type != 7) return false;
  }
  return true;
}
constexpr bool valid_fixed(u64 types) {
  for (unsigned n = 0; n < 8; ++n)
    if (!valid_mtrr_type((types >> (8 * n)) & 0xff)) return false;
  return true;
}

/// Position in MsrBank::mtrr_fixed, or -1.
int fixed_mtrr(u32 index) {
  if (index == msr::mtrr_64k) return 0;
  if (index - msr::mtrr_16k < 2) return static_cast<int>(1 + index - msr::mtrr_16k);
  if (index - msr::mtrr_4k < 8) return static_cast<int>(3 + index - msr::mtrr_4k);
  return -1;
}

constexpr u64 kMtrrCap = MsrBank::kVariableMtrrs | 0x100 | 0x400;  // fixed ranges and write-combining

void write_mtrr(Cpu& c, u32 index, u64 value) {
  MsrBank& m = c.s.msr;
  if (index == msr::mtrr_cap) c.gp();
  if (index == msr::mtrr_default) {
    if ((value & ~u64{0xcff}) || !valid_mtrr_type(value & 0xff)) c.gp();
    m.mtrr_default = value;
  } else if (const int fixed = fixed_mtrr(index); fixed >= 0) {
    if (!valid_fixed(value)) c.gp();
    m.mtrr_fixed[static_cast<unsigned>(fixed)] = value;
  } else {
    const bool mask = index & 1;
    const u64 usable = (low_mask(c.cpuid.physical_width()) & ~kPageMask) | (mask ? 0x800 : 0xff);
    if ((value & ~usable) || (!mask && !valid_mtrr_type(value & 0xff))) c.gp();
    m.mtrr_variable[index - msr::mtrr_base0] = value;
  }
}

bool is_mtrr(u32 index) {
  return index == msr::mtrr_cap || index == msr::mtrr_default || fixed_mtrr(index) >= 0 ||
         index - msr::mtrr_base0 < 2 * MsrBank::kVariableMtrrs;
}

u64 read_mtrr(const Cpu& c, u32 index) {
  const MsrBank& m = c.s.msr;
  if (index == msr::mtrr_cap) return kMtrrCap;
  if (index == msr::mtrr_default) return m.mtrr_default;
  if (const int fixed = fixed_mtrr(index); fixed >= 0) return m.mtrr_fixed[static_cast<unsigned>(fixed)];
  return m.mtrr_variable[index - msr::mtrr_base0];
}

// ---- machine check banks --------------------------------------------------------------------------------------------

bool is_mc_bank(u32 index) { return index - msr::mc0_control < 4 * MsrBank::kMachineCheckBanks; }

u64& mc_register(Cpu& c, u32 index) {
  MsrBank& m = c.s.msr;
  const u32 n = index - msr::mc0_control, bank = n >> 2;
  switch (n & 3) {
    case 0: return m.mc_control[bank];
    case 1: return m.mc_status[bank];
    case 2: return m.mc_address[bank];
    default: return m.mc_misc[bank];
  }
}

/// No error is ever logged by itself. Status, address and miscellany can only be cleared (SDM vol. 3, 15.3.2.2), unless
/// AMD's HWCR.McStatusWrEn lets software log one to try its handler (APM vol. 2, 9.3.2.2; PPR, MSR C0010015H bit 18).
void write_mc(Cpu& c, u32 index, u64 value) {
  constexpr u32 kHwcr = 0xc0010015;
  const bool control = ((index - msr::mc0_control) & 3) == 0;
  const bool injects = c.cpuid.is_amd() && (c.read_msr(kHwcr) & bit(18));
  if (!control && !injects && value) c.gp();
  mc_register(c, index) = value;
}

/// Banks, and on AMD's parts MCG_CTL (SDM vol. 3, 15.3.1.1).
u64 mcg_cap(const Cpuid& id) { return MsrBank::kMachineCheckBanks | (id.is_amd() ? 0x100 : 0); }

// ---- others with rules of their own ---------------------------------------------------------------------------------

u64 efer_bits(const Cpuid& id) {
  u64 all = 0;
  if (id.has(Feature::syscall)) all |= mmu::efer::sce;
  if (id.has(Feature::lm)) all |= mmu::efer::lme | mmu::efer::lma;
  if (id.has(Feature::nx)) all |= mmu::efer::nxe;
  return all;
}

void write_efer(Cpu& c, u64 value) {
  if (value & ~efer_bits(c.cpuid)) c.gp();
  const u64 lma = mmu::efer::lma;
  const u64 now = (value & ~lma) | (c.s.efer & lma);
  if (((now ^ c.s.efer) & mmu::efer::lme) && (c.s.cr0 & mmu::cr0::pg)) c.gp();
  c.s.efer = now;
  c.update_paging();
}

/// IBRS, STIBP, SSBD and BHI_DIS_S as far as CPUID names them.
u64 spec_ctrl_bits(const Cpuid& id) {
  u64 all = 0;
  if (id.has(Feature::spec_ctrl)) all |= 1;
  if (id.has(Feature::stibp) || id.has(Feature::amd_stibp)) all |= 2;
  if (id.has(Feature::ssbd) || id.has(Feature::amd_ssbd)) all |= 4;
  if (id.has(Feature::bhi_ctrl)) all |= bit(10);
  return all;
}
bool has_pred_cmd(const Cpuid& id) { return id.has(Feature::spec_ctrl) || id.has(Feature::amd_ibpb); }

u64 canonical(Cpu& c, u64 value) {
  if (!is_canonical(value, c.linear_width())) c.gp();
  return value;
}

/// Maximum non-turbo ratio in units of the bus clock; no CPUID faulting.
u64 platform_info(const Cpu& c) {
  const u64 ratio = c.clock.hz() / 100'000'000;
  return (ratio > 255 ? 255 : ratio < 8 ? 8 : ratio) << 8 | u64{8} << 40;
}

bool is_apic(const Cpuid& id, u32 index) {
  if (index == msr::apic_base) return id.has(Feature::apic);
  if (index == msr::tsc_deadline) return id.has(Feature::tsc_deadline);
  return index >= msr::x2apic_first && index <= msr::x2apic_last && id.has(Feature::x2apic);
}

/// Reads `index` into `value`; false when this processor has no such register.
bool read_register(Cpu& c, u32 index, u64& value) {
  const Cpuid& id = c.cpuid;
  State& s = c.s;
  if (is_apic(id, index)) return c.platform.apic_read(index, value);
  if (is_mtrr(index)) return value = read_mtrr(c, index), id.has(Feature::mtrr);
  if (is_mc_bank(index)) return value = mc_register(c, index), id.has(Feature::mca);
  const bool lm = id.has(Feature::lm);
  switch (index) {
    case msr::p5_mc_address:
    case msr::p5_mc_type: return value = 0, true;
    case msr::tsc: return value = c.tsc(), true;
    case msr::tsc_adjust: return value = s.msr.tsc_adjust, id.has(Feature::tsc_adjust);
    case msr::core_thread_count: return value = id.processors() << 16 | id.processors(), !id.is_amd();
    case msr::platform_info: return value = platform_info(c), !id.is_amd();
    case msr::spec_ctrl: return value = s.msr.spec_ctrl, spec_ctrl_bits(id) != 0;
    case msr::arch_capabilities: return value = id.arch_capabilities(), id.has(Feature::arch_capabilities);
    case 0x8b: return value = id.microcode(), true;
    case msr::sysenter_cs: return value = s.sysenter_cs, id.has(Feature::sep);
    case msr::sysenter_esp: return value = s.sysenter_esp, id.has(Feature::sep);
    case msr::sysenter_eip: return value = s.sysenter_eip, id.has(Feature::sep);
    case msr::mcg_cap: return value = mcg_cap(id), id.has(Feature::mca);
    case msr::mcg_control: return value = s.msr.mcg_control, id.has(Feature::mca) && id.is_amd();
    case msr::pat: return value = s.pat, id.has(Feature::pat);
    case msr::xss: return value = s.msr.xss, id.has(Feature::xsaves);
    case msr::efer: return value = s.efer, efer_bits(id) != 0;
    case msr::star: return value = s.star, lm;
    case msr::lstar: return value = s.lstar, lm;
    case msr::cstar: return value = s.cstar, lm;
    case msr::sfmask: return value = s.sfmask, lm;
    case msr::fs_base: return value = s.seg[FS].base, lm;
    case msr::gs_base: return value = s.seg[GS].base, lm;
    case msr::kernel_gs_base: return value = s.kernel_gs_base, lm;
    case msr::tsc_aux: return value = s.tsc_aux, id.has(Feature::rdtscp);
    default: break;
  }
  const Slot slot = find_plain(index, id.is_amd());
  if (!slot.row) return false;
  value = slot.row->reset ^ s.msr.plain[slot.position];
  return true;
}

bool write_plain(Cpu& c, u32 index, u64 value) {
  const Slot slot = find_plain(index, c.cpuid.is_amd());
  if (!slot.row) return false;
  const Plain& row = *slot.row;
  u64& stored = c.s.msr.plain[slot.position];
  const u64 changed = (row.reset ^ stored) ^ value;
  if (!row.lenient && (changed & ~row.writable)) c.gp();
  stored ^= changed & row.writable;
  return true;
}

bool write_register(Cpu& c, u32 index, u64 value) {
  const Cpuid& id = c.cpuid;
  State& s = c.s;
  if (is_apic(id, index)) return c.platform.apic_write(index, value);
  if (is_mtrr(index)) return id.has(Feature::mtrr) && (write_mtrr(c, index, value), true);
  if (is_mc_bank(index)) return id.has(Feature::mca) && (write_mc(c, index, value), true);
  u64 present = 0;
  if (index != msr::pred_cmd && !find_plain(index, id.is_amd()).row && !read_register(c, index, present)) return false;
  switch (index) {
    case msr::p5_mc_address:
    case msr::p5_mc_type: return true;
    case msr::tsc: s.msr.tsc_adjust += value - c.tsc(); return c.set_tsc(value), true;
    case msr::tsc_adjust: c.set_tsc(c.tsc() + value - s.msr.tsc_adjust); return s.msr.tsc_adjust = value, true;
    case msr::core_thread_count:
    case msr::platform_info:
    case msr::arch_capabilities:
    case msr::mcg_cap: c.gp();
    case msr::spec_ctrl:
      if (value & ~spec_ctrl_bits(id)) c.gp();
      return s.msr.spec_ctrl = value, true;
    case msr::pred_cmd:
      if (!has_pred_cmd(id)) return false;
      if (value & ~u64{1}) c.gp();
      return true;  // no branch predictor is modelled that could be told
    case 0x8b: return true;
    case msr::sysenter_cs: return s.sysenter_cs = static_cast<u32>(value), true;
    case msr::sysenter_esp: return s.sysenter_esp = canonical(c, value), true;
    case msr::sysenter_eip: return s.sysenter_eip = canonical(c, value), true;
    case msr::pat:
      if (!valid_pat(value)) c.gp();
      return s.pat = value, true;
    case msr::mcg_control: return s.msr.mcg_control = value, true;
    case msr::xss:
      if (value & ~id.xss_mask()) c.gp();
      return s.msr.xss = value, true;
    case msr::efer: return write_efer(c, value), true;
    case msr::star: return s.star = value, true;
    case msr::lstar: return s.lstar = canonical(c, value), true;
    case msr::cstar: return s.cstar = canonical(c, value), true;
    case msr::sfmask: return s.sfmask = static_cast<u32>(value), true;
    case msr::fs_base: return s.seg[FS].base = canonical(c, value), true;
    case msr::gs_base: return s.seg[GS].base = canonical(c, value), true;
    case msr::kernel_gs_base: return s.kernel_gs_base = canonical(c, value), true;
    case msr::tsc_aux:
      if (value >> 32) c.gp();
      return s.tsc_aux = value, true;
    default: return write_plain(c, index, value);
  }
}

/// The hypervisors' range: asked by every kernel, absent on every processor, not worth a line.
constexpr bool worth_a_note(u32 index) { return index >> 16 != 0x4000 && index >> 16 != 0x4b56; }

}  // namespace

/// The registers that hypervisors hand to their guests (KVM's list of what passes through); the others cause exits.
static bool passes_through(u32 index) {
  return index == 0x10 || index == 0x48 || index == 0x49 || (index >= 0x174 && index <= 0x176) ||
         (index >= 0xc0000081 && index <= 0xc0000084) || (index >= 0xc0000100 && index <= 0xc0000103);
}

u64 Cpu::read_msr(u32 index) {
  if (!passes_through(index)) platform.intercept(mmu::Exit::msr);
  u64 value = 0;
  if (read_register(*this, index, value)) return value;
  note_msr(index, "RDMSR");
  gp();
}

void Cpu::write_msr(u32 index, u64 value) {
  if (!passes_through(index)) platform.intercept(mmu::Exit::msr);
  if (write_register(*this, index, value)) return;
  note_msr(index, "WRMSR");
  gp();
}

void Cpu::note_msr(u32 index, const char* instruction) {
  // A guest that tries every number must not fill the log.
  constexpr std::size_t kMost = 200;
  if (!worth_a_note(index) || noted_.size() >= kMost) return;
  if (noted_.insert(bit(63) | index).second)
    platform.note(fmt::format("{} of MSR {:#x}, which {} does not have (#GP)", instruction, index, cpuid.model()));
}

}  // namespace nestwalk::cpu
