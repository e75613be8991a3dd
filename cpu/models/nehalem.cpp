// Intel Core i7-920 (Bloomfield, 2008): the first with a second-level TLB of the later shape and EPT. Values as its public
// CPUID dumps show them (InstLatx64, GenuineIntel00106A5).
#include "cpu/models/feature_sets.h"

namespace nestwalk::cpu {
namespace {

CpuModel nehalem() {
  using enum Feature;
  CpuModel m;
  m.max_leaf = 0xb;
  m.signature = 0x106a5;
  m.brand = "Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz";
  m.physical_width = 36;
  m.apic_hz = 133'333'333;
  m.microcode = u64{0x19} << 32;
  m.features = joined(level2(), {monitor, rdtscp, invariant_tsc, vmx});
  m.leaves = {{2, 0, {0x55035a01, 0x00f0b2e4, 0, 0x09ca212c}},
              {4, 0, {0x121, 0x01c0003f, 0x3f, 0}},    // L1D 32K, 8 ways
              {4, 1, {0x122, 0x00c0003f, 0x7f, 0}},    // L1I 32K, 4 ways
              {4, 2, {0x143, 0x01c0003f, 0x1ff, 0}},   // L2 256K, 8 ways
              {4, 3, {0x163, 0x03c0003f, 0x1fff, 2}},  // L3 8M, 16 ways, inclusive
              {5, 0, {0x40, 0x40, 3, 0x1120}},
              {0x80000006, 0, {0, 0, 0x01006040, 0}}};
  return m;
}

const RegisterCpu registered("nehalem", "Intel Core i7-920 (Nehalem, 2008)",
                             [] { return std::make_unique<CpuModel>(nehalem()); });

}  // namespace
}  // namespace nestwalk::cpu
