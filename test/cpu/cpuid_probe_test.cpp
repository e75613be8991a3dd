// Every CPUID feature bit that any processor model shows is asked for what it promises: an instruction that must run, a
// control bit that can be set, a register that answers. A bit without a probe fails the test, so exposing one means
// implementing it. Where a feature decides whether something exists, the same probe must fail once the feature is hidden.
#include <functional>
#include <map>

#include "cpu/features.h"
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {

using enum Feature;

constexpr u64 kOperand = 0x30000;

/// A processor at level 0 in 64-bit mode with everything switched on that it lets be switched on.
struct Probed : Bench {
  explicit Probed(const std::string& ini) : Bench(ini) {
    platform.whole_apic = true;
    for (unsigned v = 0; v < 32; ++v) poke<u32>(kHandler + 16 * v, 0x90909090);
    begin();
  }
  void begin() {
    long_mode();
    for (unsigned v = 0; v < 32; ++v) handler(static_cast<u8>(v), static_cast<u32>(kHandler + 16 * v));
    auto& s = cpu->s;
    s.cr4 |= mmu::cr4::osfxsr | mmu::cr4::osxmmexcpt;
    if (id->has(xsave)) s.cr4 |= mmu::cr4::osxsave;
    if (id->has(fsgsbase)) s.cr4 |= mmu::cr4::fsgsbase;
    if (id->has(pku)) s.cr4 |= mmu::cr4::pke;
    s.cr0 &= ~u64{mmu::cr0::em | mmu::cr0::ts};
    s.xcr0 = id->xcr0_mask() ? id->xcr0_mask() : 1;
    s.gpr.fill(0);
    s.gpr[RSP] = kStack0 - 0x100;
    s.gpr[RDI] = s.gpr[RSI] = kOperand;
    cpu->update_paging();
  }
  /// The instruction retires; RAX and RCX as given before it.
  bool runs(const std::vector<u8>& bytes, u64 rax = 0, u64 rcx = 0) {
    begin();
    cpu->s.gpr[RAX] = rax;
    cpu->s.gpr[RCX] = rcx;
    text(bytes);
    step();
    return cpu->s.rip == kText + bytes.size();
  }
  bool sets_cr4(u64 flag) {
    return trap_of([&] { cpu->write_cr(4, cpu->s.cr4 | flag); }).vector == 255 && (cpu->s.cr4 & flag);
  }
  bool sets_efer(u64 flag) {
    return trap_of([&] { cpu->write_msr(0xc0000080, cpu->s.efer | flag); }).vector == 255 && (cpu->s.efer & flag);
  }
  bool reads(u32 index) {
    return trap_of([&] { cpu->read_msr(index); }).vector == 255;
  }
  bool writes(u32 index, u64 value) {
    return trap_of([&] { cpu->write_msr(index, value); }).vector == 255;
  }
  CpuidAnswer leaf(u32 n, u32 sub = 0) const { return id->answer(n, sub, {}); }
};

struct Probe {
  std::function<bool(Probed&)> works;
  bool decides = true;  ///< without the feature it does not work
};

Probe instruction(std::vector<u8> bytes, u64 rax = 0, u64 rcx = 0) {
  return {[=](Probed& p) { return p.runs(bytes, rax, rcx); }};
}
Probe always(std::vector<u8> bytes) {
  return {[=](Probed& p) { return p.runs(bytes); }, false};
}
Probe control(u64 cr4_bit) {
  return {[=](Probed& p) { return p.sets_cr4(cr4_bit); }};
}
Probe reading(u32 index) {
  return {[=](Probed& p) { return p.reads(index); }};
}
Probe writing(u32 index, u64 value, bool decides = true) {
  return {[=](Probed& p) { return p.writes(index, value); }, decides};
}
Probe saying(std::function<bool(Probed&)> f, bool decides = true) { return {std::move(f), decides}; }

const std::map<Feature, Probe>& probes() {
  namespace cr4 = mmu::cr4;
  static const std::map<Feature, Probe> table = {
      // ---- leaf 1
      {fpu, instruction({0xd9, 0xe8})},
      {vme, control(cr4::vme)},
      {de, control(cr4::de)},
      {pse, control(cr4::pse)},
      {tsc, control(cr4::tsd)},
      {msr, always({0x0f, 0x32})},
      {pae, control(cr4::pae)},
      {mce, control(cr4::mce)},
      {cx8, always({0x0f, 0xc7, 0x0f})},
      {apic, reading(0x1b)},
      {sep, reading(0x174)},
      {mtrr, reading(0xfe)},
      {pge, control(cr4::pge)},
      {mca, reading(0x179)},
      {cmov, instruction({0x0f, 0x44, 0xc1})},
      {pat, reading(0x277)},
      {pse36, saying([](Probed& p) { return p.model.paging.pse36; })},
      {clfsh, instruction({0x0f, 0xae, 0x3f})},
      {mmx, instruction({0x0f, 0x77})},
      {fxsr, instruction({0x0f, 0xae, 0x07})},
      {sse, instruction({0x0f, 0x58, 0xc1})},
      {sse2, instruction({0x66, 0x0f, 0x58, 0xc1})},
      {sse3, instruction({0xf2, 0x0f, 0xd0, 0xc1})},
      {pclmulqdq, instruction({0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00})},
      {monitor, instruction({0x0f, 0x01, 0xc8}, kOperand)},
      {ssse3, instruction({0x66, 0x0f, 0x38, 0x00, 0xc1})},
      {fma, instruction({0xc4, 0xe2, 0x71, 0x98, 0xc2})},
      {cx16, instruction({0x48, 0x0f, 0xc7, 0x0f})},
      {pcid, control(cr4::pcide)},
      {sse41, instruction({0x66, 0x0f, 0x38, 0x17, 0xc1})},
      {sse42, instruction({0x66, 0x0f, 0x38, 0x37, 0xc1})},
      {x2apic, reading(0x802)},
      {movbe, instruction({0x0f, 0x38, 0xf0, 0x07})},
      {popcnt, instruction({0xf3, 0x0f, 0xb8, 0xc1})},
      {tsc_deadline, reading(0x6e0)},
      {aes, instruction({0x66, 0x0f, 0x38, 0xdc, 0xc1})},
      {xsave, instruction({0x0f, 0xae, 0x27}, 3)},
      {avx, instruction({0xc5, 0xf8, 0x58, 0xc1})},
      {f16c, instruction({0xc4, 0xe2, 0x79, 0x13, 0xc1})},
      {rdrand, instruction({0x0f, 0xc7, 0xf0})},
      {hypervisor, saying([](Probed& p) { return p.leaf(0x40000000).ebx != p.leaf(p.leaf(0).eax).ebx; })},
      // ---- leaf 7
      {fsgsbase, instruction({0xf3, 0x48, 0x0f, 0xae, 0xc0})},
      {tsc_adjust, reading(0x3b)},
      {bmi1, instruction({0xc4, 0xe2, 0x70, 0xf2, 0xc2})},
      {avx2, instruction({0xc5, 0xf5, 0xfe, 0xc2})},
      {smep, control(cr4::smep)},
      {bmi2, instruction({0xc4, 0xe2, 0x7b, 0xf6, 0xc1})},
      {erms, always({0xf3, 0xa4})},
      {invpcid, instruction({0x66, 0x0f, 0x38, 0x82, 0x07}, 2)},
      {rdseed, instruction({0x0f, 0xc7, 0xf8})},
      {adx, instruction({0x66, 0x0f, 0x38, 0xf6, 0xc1})},
      {smap, instruction({0x0f, 0x01, 0xcb})},
      {clflushopt, instruction({0x66, 0x0f, 0xae, 0x3f})},
      {clwb, instruction({0x66, 0x0f, 0xae, 0x37})},
      {sha, instruction({0x0f, 0x38, 0xc8, 0xc1})},
      {umip, control(cr4::umip)},
      {pku, instruction({0x0f, 0x01, 0xee})},
      {la57, saying([](Probed& p) { return (p.leaf(0x80000008).eax >> 8 & 0xff) == 57; })},
      {rdpid, instruction({0xf3, 0x0f, 0xc7, 0xf8})},
      {fsrm, always({0xf3, 0xa4})},
      {spec_ctrl, writing(0x48, 1)},
      {stibp, writing(0x48, 2)},
      {arch_capabilities, reading(0x10a)},
      {ssbd, writing(0x48, 4)},
      {bhi_ctrl, writing(0x48, bit(10))},
      // ---- leaves 6, DH and the extended ones
      {arat, saying([](Probed& p) { return p.leaf(6).eax & 4; })},
      {xsaveopt, instruction({0x0f, 0xae, 0x37}, 3)},
      {xsavec, instruction({0x0f, 0xc7, 0x27}, 3)},
      {xgetbv1, instruction({0x0f, 0x01, 0xd0}, 0, 1)},
      {xsaves, instruction({0x0f, 0xc7, 0x2f}, 3)},
      {lahf64, instruction({0x9f})},
      {lzcnt, saying([](Probed& p) {
         return p.runs({0xf3, 0x0f, 0xbd, 0xc1}, 0, 1) && p.cpu->s.gpr[RAX] == 31;
       })},
      {prefetchw, always({0x0f, 0x0d, 0x0f})},
      {syscall, saying([](Probed& p) { return p.sets_efer(mmu::efer::sce); })},
      {nx, saying([](Probed& p) { return p.sets_efer(mmu::efer::nxe); })},
      {page1g, saying([](Probed& p) { return p.model.paging.gigabyte_pages; })},
      {rdtscp, instruction({0x0f, 0x01, 0xf9})},
      {lm, saying([](Probed& p) { return p.reads(0xc0000082); })},
      {invariant_tsc, saying(
                          [](Probed& p) {
                            const u64 before = p.cpu->tsc();
                            p.clock.cycles += 1000;  // whatever the core does
                            return p.cpu->tsc() - before == 1000;
                          },
                          false)},
      {amd_ibpb, writing(0x49, 1)},
      {amd_stibp, writing(0x48, 2)},
      {amd_ssbd, writing(0x48, 4)},
  };
  return table;
}

/// Bits that are fixed in a model's leaves, and what they promise.
struct FixedBit {
  u32 leaf;
  cpu::Register reg;
  unsigned bit;
  std::function<bool(Probed&)> works;
};
const std::vector<FixedBit>& fixed_bits() {
  using enum cpu::Register;
  static const std::vector<FixedBit> table = {
      {5, ecx, 0,
       [](Probed& p) {
         return p.runs({0x0f, 0x01, 0xc9});
       }},  // MONITOR extensions are listed
      {5, ecx, 1,
       [](Probed& p) {
         return p.runs({0x0f, 0x01, 0xc9}, 0, 1);
       }},                                                                           // ECX bit 0 of MWAIT
      {0x80000001, ecx, 22, [](Probed& p) { return p.leaf(0x8000001d).eax != 0; }},  // TOPOEXT
      {0x80000001, edx, 22,
       [](Probed& p) {
         return p.runs({0x0f, 0x70, 0xc1, 0x00});
       }},                                                 // MMX extensions
      {0x80000021, eax, 0, [](Probed&) { return true; }},  // a statement on hardware
      {0x80000021, eax, 2,
       [](Probed& p) {
         return p.runs({0x0f, 0xae, 0xe8});
       }},  // LFENCE serializes
  };
  return table;
}

/// Leaves whose registers are feature bits.
struct Place {
  u32 leaf, subleaf;
  cpu::Register reg;
};
std::vector<Place> feature_places() {
  using enum cpu::Register;
  return {{1, 0, ecx},          {1, 0, edx},          {5, 0, ecx},          {6, 0, eax},          {7, 0, ebx},
          {7, 0, ecx},          {7, 0, edx},          {7, 1, eax},          {7, 2, edx},          {0xd, 1, eax},
          {0x80000001, 0, ecx}, {0x80000001, 0, edx}, {0x80000007, 0, edx}, {0x80000008, 0, ebx}, {0x80000021, 0, eax}};
}

u32 value_of(const CpuidAnswer& a, cpu::Register reg) {
  switch (reg) {
    case cpu::Register::eax: return a.eax;
    case cpu::Register::ebx: return a.ebx;
    case cpu::Register::ecx: return a.ecx;
    default: return a.edx;
  }
}

/// The feature at a bit; AMD repeats leaf 1's in 80000001H EDX.
Feature feature_at(const Place& p, unsigned n, bool amd) {
  for (const FeatureBit& b : feature_table())
    if (b.leaf == p.leaf && b.subleaf == p.subleaf && b.reg == p.reg && b.bit == n) return b.feature;
  if (amd && p.leaf == 0x80000001 && p.reg == cpu::Register::edx)
    for (const FeatureBit& b : feature_table())
      if (b.leaf == 1 && b.reg == cpu::Register::edx && b.bit == n) return b.feature;
  return none;
}

}  // namespace

TEST_CASE("every CPUID bit that a model shows has a probe, and the probe works", "[cpuid][probe]") {
  for (const auto& [name, entry] : CpuModels::instance().entries()) {
    const std::string ini = "[cpu]\nmodel = " + name + "\n";
    Probed shown(ini);
    const u32 last = shown.leaf(0).eax, last_extended = shown.leaf(0x80000000).eax;
    for (const Place& place : feature_places()) {
      if (place.leaf > (place.leaf >= 0x80000000 ? last_extended : last)) continue;
      const u32 value = value_of(shown.leaf(place.leaf, place.subleaf), place.reg);
      for (unsigned n = 0; n < 32; ++n) {
        if (!(value >> n & 1)) continue;
        INFO(name << ": leaf " << std::hex << place.leaf << "." << place.subleaf << " register "
                  << static_cast<int>(place.reg) << std::dec << " bit " << n);
        const Feature f = feature_at(place, n, shown.id->is_amd());
        Probed machine(ini);
        if (f != none) {
          INFO(name_of(f));
          REQUIRE(probes().contains(f));
          CHECK(probes().at(f).works(machine));
          continue;
        }
        const FixedBit* fixed = nullptr;
        for (const FixedBit& b : fixed_bits())
          if (b.leaf == place.leaf && b.reg == place.reg && b.bit == n) fixed = &b;
        REQUIRE(fixed);
        CHECK(fixed->works(machine));
      }
    }
  }
}

TEST_CASE("what a hidden feature decides is gone with it", "[cpuid][probe]") {
  for (const char* model : {"golden-cove", "zen4"}) {
    const Probed all("[cpu]\nmodel = " + std::string(model) + "\n");
    for (const auto& [f, probe] : probes()) {
      if (!all.id->has(f) || !probe.decides) continue;
      Probed without("[cpu]\nmodel = " + std::string(model) + "\nfeatures = -" + name_of(f) + "\n");
      INFO(model << " without " << name_of(f));
      CHECK_FALSE(probe.works(without));
    }
  }
}

TEST_CASE("every feature that can be shown has a probe", "[cpuid][probe]") {
  for (const FeatureBit& b : feature_table()) {
    INFO(b.name);
    CHECK((!b.implemented || probes().contains(b.feature)));
  }
}

}  // namespace nestwalk::bench
