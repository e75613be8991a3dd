// AMD Ryzen 9 7950X (Zen 4, Raphael, 2022). Caches and TLBs as its public CPUID dumps show them (InstLatx64,
// AuthenticAMD0A60F12); fields after APM vol. 3, appendix E.4, and AMD's PPR for family 19H, model 61H. AVX-512 and what is
// built on it is hidden; the place of PKRU in the XSAVE area (980H) is that of the part, behind where AVX-512 state lies.
#include "cpu/models/feature_sets.h"

namespace nestwalk::cpu {
namespace {

CpuModel zen4() {
  using enum Feature;
  CpuModel m;
  m.amd = true;
  m.max_leaf = 0x10;
  m.max_extended = 0x80000028;
  m.signature = 0xa60f12;
  m.brand = "AMD Ryzen 9 7950X 16-Core Processor";
  m.physical_width = 48;
  m.apic_hz = 100'000'000;
  m.microcode = 0xa601203;
  m.pkru_offset = 0x980;
  m.features =
      joined(joined(level2(), {pclmulqdq,  monitor, fma,      movbe,     aes,      xsave,        avx,    f16c,      rdrand,
                               fsgsbase,   bmi1,    avx2,     smep,      bmi2,     erms,         rdseed, adx,       smap,
                               clflushopt, clwb,    sha,      umip,      pku,      rdpid,        fsrm,   la57,      pcid,
                               invpcid,    x2apic,  xsaveopt, xsavec,    xgetbv1,  xsaves,       lzcnt,  prefetchw, page1g,
                               rdtscp,     arat,    amd_ibpb, amd_stibp, amd_ssbd, invariant_tsc}),
             {sse4a,    svm,         misalignsse,  monitorx,    clzero,        rdpru,       wbnoinvd,        shstk,
              gfni,     vaes,        vpclmulqdq,   avx512f,     avx512dq,      avx512_ifma, avx512cd,        avx512bw,
              avx512vl, avx512_vbmi, avx512_vbmi2, avx512_vnni, avx512_bitalg, avx512_bf16, avx512_vpopcntdq});
  m.leaves = {{5, 0, {0x40, 0x40, 3, 0x11}},
              {0x80000001, 0, {0, 0, 0x00400000, 0x00400000}},                    // AM5; TOPOEXT; MMX extensions
              {0x80000005, 0, {0xff48ff40, 0xff48ff40, 0x20080140, 0x20080140}},  // L1 TLBs 72 and 64 FA; 32K, 8 ways
              {0x80000006, 0, {0x5c002200, 0x6c004200, 0x04006140, 0x02009140}},  // L2 TLBs 3072 and 512; L2 1M; L3
              {0x80000019, 0, {0xf048f040, 0xf0400000, 0, 0}},                    // 1G pages
              {0x8000001a, 0, {6, 0, 0, 0}},
              {0x8000001d, 0, {0x121, 0x01c0003f, 0x3f, 0}},
              {0x8000001d, 1, {0x122, 0x01c0003f, 0x3f, 0}},
              {0x8000001d, 2, {0x143, 0x01c0003f, 0x7ff, 2}},
              {0x8000001d, 3, {0x163, 0x03c0003f, 0x7fff, 1}},
              {0x80000021, 0, {5, 0, 0, 0}}};  // no nested data breakpoints; LFENCE serializes
  return m;
}

const RegisterCpu registered("zen4", "AMD Ryzen 9 7950X (Zen 4, 2022)", [] { return std::make_unique<CpuModel>(zen4()); });

}  // namespace
}  // namespace nestwalk::cpu
