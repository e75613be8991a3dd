// Processors that are no real part: exactly the x86-64 psABI's levels 1, 2 and 3 and the system features that go with them.
#include "cpu/models/feature_sets.h"

namespace nestwalk::cpu {
namespace {

CpuModel generic(const char* brand, u32 signature, std::vector<Feature> features) {
  CpuModel m;
  m.max_leaf = 0xd;
  m.signature = signature;
  m.brand = brand;
  m.physical_width = 40;
  m.apic_hz = 100'000'000;
  m.features = std::move(features);
  m.leaves = {{2, 0, {0x05b0b101, 0x005657f0, 0, 0x2cb43049}},
              {4, 0, {0x121, 0x01c0003f, 0x3f, 1}},
              {4, 1, {0x122, 0x01c0003f, 0x3f, 1}},
              {4, 2, {0x143, 0x03c0003f, 0xfff, 1}},
              {0x80000006, 0, {0, 0, 0x10008040, 0}}};
  return m;
}

const RegisterCpu v1("v1", "x86-64-v1: the first 64-bit processors' features, nothing else",
                     [] { return std::make_unique<CpuModel>(generic("Nestwalk x86-64-v1", 0x6fb, level1())); });

const RegisterCpu v2("v2", "x86-64-v2: up to SSE4.2, with RDTSCP and an invariant TSC", [] {
  using enum Feature;
  return std::make_unique<CpuModel>(
      generic("Nestwalk x86-64-v2", 0x106a5, joined(level2(), {rdtscp, invariant_tsc, arat, x2apic, tsc_deadline})));
});

const RegisterCpu v3("v3", "x86-64-v3: up to AVX2, FMA and BMI2, with RDTSCP and an invariant TSC", [] {
  using enum Feature;
  return std::make_unique<CpuModel>(
      generic("Nestwalk x86-64-v3", 0x306c3,
              joined(level3(), {rdtscp, invariant_tsc, arat, x2apic, tsc_deadline, xsaveopt, rdrand, smep})));
});

}  // namespace
}  // namespace nestwalk::cpu
