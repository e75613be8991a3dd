// Intel Core i7-6700K (Skylake, 2015). Values as its public CPUID dumps show them (InstLatx64, GenuineIntel00506E3);
// microcode as shipped, without the speculation controls of 2018. The real part leaves leaf 15H ECX zero and kernels know
// its 24 MHz crystal by heart; here it says so.
#include "cpu/models/feature_sets.h"

namespace nestwalk::cpu {
namespace {

CpuModel skylake() {
  using enum Feature;
  CpuModel m;
  m.max_leaf = 0x16;
  m.signature = 0x506e3;
  m.brand = "Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz";
  m.physical_width = 39;
  m.apic_hz = 24'000'000;
  m.tells_frequency = true;
  m.microcode = u64{0x39} << 32;
  m.features = joined(skylake_features(), {vmx, hle, rtm, mpx, sgx, intel_pt});
  m.leaves = {{2, 0, {0x76036301, 0x00f0b5ff, 0, 0x00c30000}},
              {4, 0, {0x121, 0x01c0003f, 0x3f, 0}},    // L1D 32K, 8 ways
              {4, 1, {0x122, 0x01c0003f, 0x3f, 0}},    // L1I 32K, 8 ways
              {4, 2, {0x143, 0x00c0003f, 0x3ff, 0}},   // L2 256K, 4 ways
              {4, 3, {0x163, 0x03c0003f, 0x1fff, 6}},  // L3 8M, 16 ways, inclusive, hashed
              {5, 0, {0x40, 0x40, 3, 0x142120}},
              {0x80000006, 0, {0, 0, 0x01006040, 0}}};
  return m;
}

const RegisterCpu registered("skylake", "Intel Core i7-6700K (Skylake, 2015)",
                             [] { return std::make_unique<CpuModel>(skylake()); });

}  // namespace
}  // namespace nestwalk::cpu
