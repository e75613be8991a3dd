// Feature lists that several processors share, after the x86-64 psABI's microarchitecture levels.
#pragma once

#include <initializer_list>
#include <vector>

#include "cpu/cpuid.h"

namespace nestwalk::cpu {

inline std::vector<Feature> joined(std::vector<Feature> base, std::initializer_list<Feature> more) {
  base.insert(base.end(), more);
  return base;
}

/// x86-64-v1 with the system features that came with it.
inline std::vector<Feature> level1() {
  using enum Feature;
  return {fpu, vme,  de,  pse,   tsc,   msr, pae,  mce, cx8,  apic,    sep, mtrr, pge,
          mca, cmov, pat, pse36, clfsh, mmx, fxsr, sse, sse2, syscall, nx,  lm};
}

/// x86-64-v2.
inline std::vector<Feature> level2() {
  using enum Feature;
  return joined(level1(), {sse3, ssse3, cx16, sse41, sse42, popcnt, lahf64});
}

/// x86-64-v3.
inline std::vector<Feature> level3() {
  using enum Feature;
  return joined(level2(), {avx, avx2, bmi1, bmi2, f16c, fma, lzcnt, movbe, xsave});
}

/// Haswell and what followed it at Intel.
inline std::vector<Feature> haswell_features() {
  using enum Feature;
  return joined(level2(), {pclmulqdq, monitor, fma,      pcid,     x2apic, movbe,         tsc_deadline, aes,       xsave,
                           avx,       f16c,    rdrand,   fsgsbase, bmi1,   avx2,          smep,         bmi2,      erms,
                           invpcid,   lzcnt,   xsaveopt, page1g,   rdtscp, invariant_tsc, arat,         tsc_adjust});
}

inline std::vector<Feature> skylake_features() {
  using enum Feature;
  return joined(haswell_features(), {rdseed, adx, smap, prefetchw, clflushopt, xsavec, xgetbv1, xsaves});
}

}  // namespace nestwalk::cpu
