// Intel Core i7-4770K (Haswell, 2013). Values as its public CPUID dumps show them (InstLatx64, GenuineIntel00306C3);
// microcode as shipped, without the speculation controls of 2018.
#include "cpu/models/feature_sets.h"

namespace nestwalk::cpu {
namespace {

CpuModel haswell() {
  CpuModel m;
  m.max_leaf = 0xd;
  m.signature = 0x306c3;
  m.brand = "Intel(R) Core(TM) i7-4770K CPU @ 3.50GHz";
  m.physical_width = 39;
  m.apic_hz = 100'000'000;
  m.microcode = u64{0x17} << 32;
  m.features = joined(haswell_features(), {Feature::vmx});
  m.leaves = {{2, 0, {0x76036301, 0x00f0b5ff, 0, 0x00c10000}},
              {4, 0, {0x121, 0x01c0003f, 0x3f, 0}},    // L1D 32K, 8 ways
              {4, 1, {0x122, 0x01c0003f, 0x3f, 0}},    // L1I 32K, 8 ways
              {4, 2, {0x143, 0x01c0003f, 0x1ff, 0}},   // L2 256K, 8 ways
              {4, 3, {0x163, 0x03c0003f, 0x1fff, 6}},  // L3 8M, 16 ways, inclusive, hashed
              {5, 0, {0x40, 0x40, 3, 0x42120}},
              {0x80000006, 0, {0, 0, 0x01006040, 0}}};
  return m;
}

const RegisterCpu registered("haswell", "Intel Core i7-4770K (Haswell, 2013)",
                             [] { return std::make_unique<CpuModel>(haswell()); });

}  // namespace
}  // namespace nestwalk::cpu
