// AMD Ryzen 9 3950X (Zen 2, Matisse, 2019). Caches and TLBs as its public CPUID dumps show them (InstLatx64,
// AuthenticAMD0870F10); fields after APM vol. 3, appendix E.4.
#include "cpu/models/feature_sets.h"

namespace nestwalk::cpu {
namespace {

CpuModel zen2() {
  using enum Feature;
  CpuModel m;
  m.amd = true;
  m.max_leaf = 0x10;
  m.max_extended = 0x8000001e;
  m.signature = 0x870f10;
  m.brand = "AMD Ryzen 9 3950X 16-Core Processor";
  m.physical_width = 43;
  m.apic_hz = 100'000'000;
  m.microcode = 0x8701021;
  m.features =
      joined(level2(), {pclmulqdq, monitor,     fma,      movbe,  aes,           xsave,   avx,      f16c,      rdrand,
                        fsgsbase,  bmi1,        avx2,     smep,   bmi2,          rdseed,  adx,      smap,      clflushopt,
                        clwb,      sha,         umip,     rdpid,  xsaveopt,      xsavec,  xgetbv1,  xsaves,    lzcnt,
                        sse4a,     prefetchw,   page1g,   rdtscp, invariant_tsc, arat,    amd_ibpb, amd_stibp, amd_ssbd,
                        svm,       misalignsse, monitorx, clzero, rdpru,         wbnoinvd});
  m.leaves = {{0x80000001, 0, {0, 0x20000000, 0x00400000, 0x00400000}},           // AM4; TOPOEXT; MMX extensions
              {0x80000005, 0, {0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140}},  // L1 TLBs 64 FA; 32K, 8 ways
              {5, 0, {0x40, 0x40, 3, 0x11}},
              {0x80000006, 0, {0x48006400, 0x68006400, 0x02006140, 0x02009140}},  // L2 TLBs; L2 512K; L3
              {0x80000019, 0, {0xf040f040, 0xf0400000, 0, 0}},                    // 1G pages: 64 FA
              {0x8000001a, 0, {6, 0, 0, 0}},
              {0x8000001d, 0, {0x121, 0x01c0003f, 0x3f, 0}},
              {0x8000001d, 1, {0x122, 0x01c0003f, 0x3f, 0}},
              {0x8000001d, 2, {0x143, 0x01c0003f, 0x3ff, 2}},
              {0x8000001d, 3, {0x163, 0x03c0003f, 0x3fff, 1}}};
  return m;
}

const RegisterCpu registered("zen2", "AMD Ryzen 9 3950X (Zen 2, 2019)", [] { return std::make_unique<CpuModel>(zen2()); });

}  // namespace
}  // namespace nestwalk::cpu
