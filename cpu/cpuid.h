// CPUID as the configured processor answers it (cpu.model: configs/cpus/NAME.ini), cut down to what is implemented: no
// guest is promised what is not there.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/types.h"
#include "sim/settings.h"

namespace nestwalk::cpu {

/// Features that decide whether an instruction or a control bit exists.
enum class Feature : u8 {
  none, fpu, vme, de, pse, tsc, msr, pae, mce, cx8, apic, sep, mtrr, pge, mca, cmov, pat, pse36, clfsh, mmx, fxsr, sse, sse2,
  sse3, pclmulqdq, monitor, ssse3, fma, cx16, pcid, sse41, sse42, x2apic, movbe, popcnt, tsc_deadline, aes, xsave, avx, f16c,
  rdrand, fsgsbase, bmi1, avx2, smep, bmi2, erms, invpcid, rdseed, adx, smap, clflushopt, clwb, sha, umip, pku, la57, rdpid,
  xsaveopt, xsavec, xgetbv1, xsaves, lahf64, lzcnt, sse4a, prefetchw, syscall, nx, page1g, rdtscp, lm, invariant_tsc, arat,
  hypervisor, count_
};
const char* name_of(Feature);

struct CpuidAnswer {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// What parts of the answer depend on the running processor.
struct CpuidDynamic {
  bool osxsave = false;   ///< CR4.OSXSAVE
  bool ospke = false;     ///< CR4.PKE
  u64 xcr0 = 1;
  u32 apic_id = 0;
  bool apic_enabled = true;
};

class Cpuid {
 public:
  /// Reads [cpu] (model, physical_width, tsc frequency from `hz`, number of processors, feature overrides "+x,-y").
  /// Throws sim::ConfigError: unknown model or feature.
  Cpuid(sim::Settings& settings, u64 hz);

  bool has(Feature f) const { return features_[static_cast<unsigned>(f)]; }
  CpuidAnswer answer(u32 leaf, u32 subleaf, const CpuidDynamic& now) const;
  u8 physical_width() const { return physical_width_; }
  u8 linear_width() const { return has(Feature::la57) ? 57 : 48; }
  bool is_amd() const { return amd_; }
  const std::string& model() const { return model_; }
  /// Bytes of the XSAVE area for the components in `mask` (standard format), and all supported components.
  u64 xcr0_mask() const;
  u32 xsave_size(u64 mask) const;

 private:
  bool features_[static_cast<unsigned>(Feature::count_)] = {};
  std::map<u64, CpuidAnswer> leaves_;  ///< leaf << 32 | subleaf
  u8 physical_width_ = 39;
  bool amd_ = false;
  std::string model_;
  u32 processors_ = 1;
};

}  // namespace nestwalk::cpu
