#include "test/oracle/harness/asked_features.h"

#include <algorithm>

#include "cpu/features.h"

namespace nestwalk::oracle {
namespace {

Case cpuid_case(u32 leaf, u32 subleaf) {
  Case c;
  c.op = cpu::Op::CPUID;
  c.code = {0x0f, 0xa2};
  c.length = 2;
  c.before.gpr[cpu::RAX] = leaf;
  c.before.gpr[cpu::RCX] = subleaf;
  return c;
}

constexpr std::size_t kTops = 2;  // cases in front: the highest basic and the highest extended leaf

}  // namespace

AskedFeatures::AskedFeatures() : cases_{cpuid_case(0, 0), cpuid_case(0x80000000, 0)} {
  for (const cpu::FeatureBit& b : cpu::feature_table()) {
    const auto same = [&](const Leaf& l) { return l.leaf == b.leaf && l.subleaf == b.subleaf; };
    if (std::any_of(leaves_.begin(), leaves_.end(), same)) continue;
    leaves_.push_back({b.leaf, b.subleaf, {}});
    cases_.push_back(cpuid_case(b.leaf, b.subleaf));
  }
}

void AskedFeatures::take(const std::vector<Outcome>& outcomes) {
  for (std::size_t n = 0; n < leaves_.size(); ++n) {
    const bool extended = leaves_[n].leaf >> 31;
    if (leaves_[n].leaf > static_cast<u32>(outcomes[extended].after.gpr[cpu::RAX])) continue;
    const auto& g = outcomes[kTops + n].after.gpr;
    constexpr unsigned order[] = {cpu::RAX, cpu::RBX, cpu::RCX, cpu::RDX};
    for (unsigned r = 0; r < 4; ++r) leaves_[n].values[r] = static_cast<u32>(g[order[r]]);
  }
}

bool AskedFeatures::lacks(cpu::Feature feature) const {
  for (const cpu::FeatureBit& b : cpu::feature_table())
    for (const Leaf& l : leaves_)
      if (b.feature == feature && l.leaf == b.leaf && l.subleaf == b.subleaf)
        return !((l.values[static_cast<unsigned>(b.reg)] >> b.bit) & 1);
  return false;
}

}  // namespace nestwalk::oracle
