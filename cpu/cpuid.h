// CPUID as the configured processor answers it (cpu.model: one file per real CPU in cpu/models), cut down to what is
// implemented: no guest is promised what is not there (SDM vol. 2, CPUID; APM vol. 3, appendix E).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/types.h"
#include "sim/registry.h"
#include "sim/settings.h"

namespace nestwalk::cpu {

/// Features that decide whether an instruction or a control bit exists.
enum class Feature : u8 {
  none,
  fpu,
  vme,
  de,
  pse,
  tsc,
  msr,
  pae,
  mce,
  cx8,
  apic,
  sep,
  mtrr,
  pge,
  mca,
  cmov,
  pat,
  pse36,
  clfsh,
  mmx,
  fxsr,
  sse,
  sse2,
  sse3,
  pclmulqdq,
  monitor,
  ssse3,
  fma,
  cx16,
  pcid,
  sse41,
  sse42,
  x2apic,
  movbe,
  popcnt,
  tsc_deadline,
  aes,
  xsave,
  avx,
  f16c,
  rdrand,
  fsgsbase,
  bmi1,
  avx2,
  smep,
  bmi2,
  erms,
  invpcid,
  rdseed,
  adx,
  smap,
  clflushopt,
  clwb,
  sha,
  umip,
  pku,
  la57,
  rdpid,
  xsaveopt,
  xsavec,
  xgetbv1,
  xsaves,
  lahf64,
  lzcnt,
  sse4a,
  prefetchw,
  syscall,
  nx,
  page1g,
  rdtscp,
  lm,
  invariant_tsc,
  arat,
  hypervisor,
  tsc_adjust,
  fsrm,
  spec_ctrl,
  stibp,
  ssbd,
  arch_capabilities,
  bhi_ctrl,
  amd_ibpb,
  amd_stibp,
  amd_ssbd,
  vmx,
  svm,
  hle,
  rtm,
  mpx,
  sgx,
  intel_pt,
  avx512f,
  avx512dq,
  avx512_ifma,
  avx512cd,
  avx512bw,
  avx512vl,
  avx512_vbmi,
  waitpkg,
  avx512_vbmi2,
  shstk,
  gfni,
  vaes,
  vpclmulqdq,
  avx512_vnni,
  avx512_bitalg,
  avx512_vpopcntdq,
  movdiri,
  movdir64b,
  pks,
  serialize,
  ibt,
  avx_vnni,
  avx512_bf16,
  misalignsse,
  monitorx,
  clzero,
  rdpru,
  wbnoinvd,
  count_
};
const char* name_of(Feature);
/// Whether the emulator has it; the rest of a real CPU's features stay hidden.
bool is_implemented(Feature);

struct CpuidAnswer {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// What parts of the answer depend on the running processor.
struct CpuidDynamic {
  bool osxsave = false;  ///< CR4.OSXSAVE
  bool ospke = false;    ///< CR4.PKE
  u64 xcr0 = 1;
  u64 xss = 0;  ///< IA32_XSS
  u32 apic_id = 0;
  bool apic_enabled = true;
};

/// A real CPU: what it answers where the answer is not a feature bit, its topology or its frequency.
struct CpuModel {
  static constexpr const char* kKind = "processor model";
  struct Leaf {
    u32 leaf, subleaf;
    CpuidAnswer answer;
  };
  bool amd = false;
  u32 max_leaf = 0;
  u32 max_extended = 0x80000008;
  u32 signature = 0;              ///< leaf 1 EAX: family, model, stepping
  const char* brand = "";         ///< at most 47 characters
  u8 physical_width = 39;         ///< MAXPHYADDR
  u64 apic_hz = 0;                ///< what the local APIC timer counts: bus clock or crystal
  bool tells_frequency = false;   ///< leaf 15H: the crystal is `apic_hz`; leaf 16H
  u16 pkru_offset = 2688;         ///< of PKRU in the standard format of XSAVE; differs between makers
  u64 microcode = 0;              ///< MSR 8BH
  u64 arch_capabilities = 0;      ///< MSR 10AH
  std::vector<Feature> features;  ///< of the real part
  std::vector<Leaf> leaves;       ///< caches, TLBs and further fixed bits
};
using CpuModels = sim::Registry<CpuModel>;
using RegisterCpu = sim::Register<CpuModel>;

class Cpuid {
 public:
  /// Reads [cpu] (model, physical_width, hypervisor, features "+x,-y"). `hz`: frequency of the TSC; `processors`: of the
  /// machine, one thread a core. Throws sim::ConfigError: unknown model or feature, or one that is not implemented.
  Cpuid(sim::Settings& settings, u64 hz, u32 processors = 1);

  bool has(Feature f) const { return features_[static_cast<unsigned>(f)]; }
  CpuidAnswer answer(u32 leaf, u32 subleaf, const CpuidDynamic& now) const;
  u8 physical_width() const { return physical_width_; }
  u8 linear_width() const { return has(Feature::la57) ? 57 : 48; }
  bool is_amd() const { return part_.amd; }
  const std::string& model() const { return model_; }
  u32 processors() const { return processors_; }
  /// Frequency of the local APIC timer before its divider: the kernel is told it by leaf 15H on parts that have it.
  u64 apic_hz() const { return part_.apic_hz; }
  u64 microcode() const { return part_.microcode; }
  u64 arch_capabilities() const { return part_.arch_capabilities; }
  /// All supported components, and bytes of the XSAVE area for the components in `mask` (standard format).
  u64 xcr0_mask() const;
  u32 xsave_size(u64 mask) const;
  /// The same in the compacted format.
  u32 xsave_compacted_size(u64 mask) const;
  /// Supervisor components of IA32_XSS. None is there yet: XSAVES saves what XSAVEC saves.
  u64 xss_mask() const { return 0; }
  u16 pkru_offset() const { return part_.pkru_offset; }
  /// What the real part has and this one does not show, because it is not implemented.
  std::vector<Feature> hidden_features() const;

 private:
  void choose_features(sim::Section& cpu, bool hypervisor);
  void set_frequency(u64 hz);
  void set_brand();
  CpuidAnswer fixed(u32 leaf, u32 subleaf) const;
  CpuidAnswer feature_bits(u32 leaf, u32 subleaf) const;
  CpuidAnswer basic(const CpuidDynamic& now) const;
  CpuidAnswer cache(u32 leaf, u32 subleaf) const;
  CpuidAnswer topology(u32 subleaf, u32 apic_id) const;
  CpuidAnswer xsave(u32 subleaf, const CpuidDynamic& now) const;
  CpuidAnswer extended(u32 leaf, u32 subleaf, const CpuidDynamic& now) const;
  u32 core_bits() const;

  bool features_[static_cast<unsigned>(Feature::count_)] = {};
  std::map<u64, CpuidAnswer> leaves_;  ///< leaf << 32 | subleaf: what no feature and no state changes
  CpuModel part_;
  u8 physical_width_ = 39;
  std::string model_ = "skylake";
  u32 processors_ = 1;
};

}  // namespace nestwalk::cpu
