// CPUID answers: fixed leaves of the configured part, feature bits, topology, frequency and XSAVE state put together
// (SDM vol. 2, CPUID; APM vol. 3, appendix E).
#include "cpu/cpuid.h"

#include <bit>
#include <cstring>
#include <numeric>

#include "base/bits.h"
#include "cpu/features.h"

namespace nestwalk::cpu {
namespace {

u32& reg_of(CpuidAnswer& a, Register r) {
  switch (r) {
    case Register::eax: return a.eax;
    case Register::ebx: return a.ebx;
    case Register::ecx: return a.ecx;
    default: return a.edx;
  }
}

CpuidAnswer merged(CpuidAnswer a, const CpuidAnswer& b) {
  return {a.eax | b.eax, a.ebx | b.ebx, a.ecx | b.ecx, a.edx | b.edx};
}

u64 key(u32 leaf, u32 subleaf) { return u64{leaf} << 32 | subleaf; }

u32 four(const char* text) {
  u32 v;
  std::memcpy(&v, text, 4);
  return v;
}

/// Leaves whose answer depends on ECX; the others answer alike for every subleaf.
bool has_subleaves(u32 leaf) {
  return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x18 || leaf == 0x1f || leaf == 0x8000001d;
}

const FeatureBit* find_feature(const std::string& name) {
  for (const FeatureBit& b : feature_table())
    if (name == b.name) return &b;
  return nullptr;
}

}  // namespace

// ---- configuration -----------------------------------------------------------------------------------------------------

Cpuid::Cpuid(sim::Settings& settings, u64 hz, u32 processors) : processors_(processors) {
  sim::Section cpu = settings.section("cpu");
  cpu.field("model", model_, "processor that CPUID describes, by name (`nestwalk models`)");
  if (!CpuModels::instance().entries().contains(model_)) {
    std::string names;
    for (const auto& [name, entry] : CpuModels::instance().entries()) names += (names.empty() ? "" : ", ") + name;
    cpu.refuse("model", "there is no such processor; there are: " + names);
  }
  part_ = *CpuModels::instance().make(model_);
  u32 width = part_.physical_width;
  cpu.field("physical_width", width, {36, 52, "bits"}, "physical-address width, MAXPHYADDR (default: the model's)");
  physical_width_ = static_cast<u8>(width);
  bool under_hypervisor = false;
  cpu.field("hypervisor", under_hypervisor, "whether CPUID admits that this is not the bare machine");
  choose_features(cpu, under_hypervisor);
  for (const CpuModel::Leaf& l : part_.leaves) leaves_[key(l.leaf, l.subleaf)] = l.answer;
  set_frequency(hz);
  set_brand();
}

void Cpuid::choose_features(sim::Section& cpu, bool under_hypervisor) {
  const auto set = [&](Feature f, bool on) { features_[static_cast<unsigned>(f)] = on; };
  for (Feature f : part_.features) set(f, is_implemented(f));
  set(Feature::hypervisor, under_hypervisor);
  std::vector<std::string> changes;
  cpu.field("features", changes, "features to add (+name) or to hide (-name), beside the model's own");
  for (const std::string& change : changes) {
    const bool add = change.starts_with('+');
    if (change.size() < 2 || (!add && change[0] != '-'))
      cpu.refuse("features", "'" + change + "' is neither +name nor -name");
    const FeatureBit* b = find_feature(change.substr(1));
    if (!b) {
      std::vector<std::string> names;
      for (const FeatureBit& f : feature_table()) names.push_back(f.name);
      const std::string near = sim::nearest_name(change.substr(1), names);
      cpu.refuse("features",
                 "there is no feature '" + change.substr(1) + "'" + (near.empty() ? "" : "; did you mean " + near + "?"));
    }
    if (add && !b->implemented) cpu.refuse("features", "'" + change.substr(1) + "' is not implemented");
    set(b->feature, add);
  }
  // A feature goes with what it needs, along chains of any length.
  for (bool again = true; again;) {
    again = false;
    for (const Dependence& d : feature_dependences())
      if (has(d.feature) && !has(d.needs)) {
        set(d.feature, false);
        again = true;
      }
  }
}

/// Leaves 15H and 16H: TSC = crystal * EBX / EAX, exactly where 32 bits suffice.
void Cpuid::set_frequency(u64 hz) {
  if (!part_.tells_frequency) return;
  u64 numerator = hz, denominator = part_.apic_hz;
  const u64 common = std::gcd(numerator, denominator);
  numerator /= common;
  denominator /= common;
  while (numerator >> 32) {
    numerator >>= 1;
    denominator >>= 1;
  }
  if (denominator)
    leaves_[key(0x15, 0)] = {static_cast<u32>(denominator), static_cast<u32>(numerator), static_cast<u32>(part_.apic_hz),
                             0};
  const u32 mhz = static_cast<u32>((hz + 500'000) / 1'000'000);
  leaves_[key(0x16, 0)] = {mhz, mhz, 100, 0};
}

void Cpuid::set_brand() {
  char text[48] = {};
  std::strncpy(text, part_.brand, sizeof text - 1);
  for (u32 n = 0; n < 3; ++n) {
    const char* at = text + 16 * n;
    leaves_[key(0x80000002 + n, 0)] = {four(at), four(at + 4), four(at + 8), four(at + 12)};
  }
}

u64 Cpuid::xcr0_mask() const {
  if (!has(Feature::xsave)) return 0;
  return 3 | (has(Feature::avx) ? bit(2) : 0) | (has(Feature::pku) ? bit(9) : 0);
}

u32 Cpuid::xsave_size(u64 mask) const {
  if (mask & bit(9)) return part_.pkru_offset + 8u;
  return mask & bit(2) ? 576 + 256 : 576;
}

u32 Cpuid::xsave_compacted_size(u64 mask) const { return 576 + (mask & bit(2) ? 256 : 0) + (mask & bit(9) ? 8 : 0); }

std::vector<Feature> Cpuid::hidden_features() const {
  std::vector<Feature> hidden;
  for (const Feature f : part_.features)
    if (!is_implemented(f)) hidden.push_back(f);
  return hidden;
}

// ---- answers -----------------------------------------------------------------------------------------------------------

CpuidAnswer Cpuid::fixed(u32 leaf, u32 subleaf) const {
  const auto it = leaves_.find(key(leaf, subleaf));
  return it == leaves_.end() ? CpuidAnswer{} : it->second;
}

CpuidAnswer Cpuid::feature_bits(u32 leaf, u32 subleaf) const {
  CpuidAnswer a;
  for (const FeatureBit& b : feature_table())
    if (b.leaf == leaf && b.subleaf == subleaf && has(b.feature)) reg_of(a, b.reg) |= static_cast<u32>(bit(b.bit));
  return a;
}

/// Bits of the APIC ID that number the cores of a package.
u32 Cpuid::core_bits() const { return static_cast<u32>(std::bit_width(processors_ - 1)); }

CpuidAnswer Cpuid::basic(const CpuidDynamic& now) const {
  CpuidAnswer a = feature_bits(1, 0);
  a.eax = part_.signature;
  a.ebx = now.apic_id << 24 | processors_ << 16 | (has(Feature::clfsh) ? 8u << 8 : 0);
  if (now.osxsave) a.ecx |= static_cast<u32>(bit(27));
  if (!now.apic_enabled) a.edx &= ~static_cast<u32>(bit(9));
  if (processors_ > 1) a.edx |= static_cast<u32>(bit(28));
  return a;
}

/// Cache leaves with the sharing of this topology: the first two levels are a core's own, the last is everybody's.
CpuidAnswer Cpuid::cache(u32 leaf, u32 subleaf) const {
  CpuidAnswer a = fixed(leaf, subleaf);
  if (!(a.eax & 31)) return a;
  const u32 level = (a.eax >> 5) & 7;
  const u32 sharing = level >= 3 ? processors_ - 1 : 0;
  const u32 cores = leaf == 4 ? (1u << core_bits()) - 1 : 0;
  a.eax = (a.eax & 0x3fff) | sharing << 14 | cores << 26;
  return a;
}

CpuidAnswer Cpuid::topology(u32 subleaf, u32 apic_id) const {
  switch (subleaf) {
    case 0: return {0, 1, 0x100, apic_id};
    case 1: return {core_bits(), processors_, 0x201, apic_id};
    default: return {0, 0, subleaf & 0xff, apic_id};
  }
}

CpuidAnswer Cpuid::xsave(u32 subleaf, const CpuidDynamic& now) const {
  if (!has(Feature::xsave)) return {};
  switch (subleaf) {
    case 0: return {static_cast<u32>(xcr0_mask()), xsave_size(now.xcr0), xsave_size(xcr0_mask()), 0};
    case 1: {
      CpuidAnswer a = feature_bits(0xd, 1);
      if (has(Feature::xsaves) || has(Feature::xsavec)) a.ebx = xsave_compacted_size(now.xcr0 | now.xss);
      if (has(Feature::xsaves)) a.ecx = static_cast<u32>(xss_mask());
      return a;
    }
    case 2: return has(Feature::avx) ? CpuidAnswer{256, 576, 0, 0} : CpuidAnswer{};
    case 9: return has(Feature::pku) ? CpuidAnswer{8, part_.pkru_offset, 0, 0} : CpuidAnswer{};
    default: return {};
  }
}

CpuidAnswer Cpuid::extended(u32 leaf, u32 subleaf, const CpuidDynamic& now) const {
  CpuidAnswer a = merged(fixed(leaf, subleaf), feature_bits(leaf, subleaf));
  switch (leaf) {
    case 0x80000000: {
      a.eax = part_.max_extended;
      if (part_.amd) a = merged(a, {0, four("Auth"), four("cAMD"), four("enti")});
      return a;
    }
    case 0x80000001:
      if (part_.amd) {
        a.eax = part_.signature;
        a.edx |= feature_bits(1, 0).edx & 0x0183f3ff;  // repeated from leaf 1
        if (processors_ > 1) a.ecx |= 2;
        if (!now.apic_enabled) a.edx &= ~static_cast<u32>(bit(9));
      }
      return a;
    case 0x80000008:
      a.eax = u32{linear_width()} << 8 | physical_width_;
      if (part_.amd) a.ecx = core_bits() << 12 | (processors_ - 1);
      return a;
    case 0x8000001d: return part_.amd ? cache(leaf, subleaf) : a;
    case 0x8000001e: return part_.amd ? CpuidAnswer{now.apic_id, now.apic_id, 0, 0} : a;
    default: return a;
  }
}

CpuidAnswer Cpuid::answer(u32 leaf, u32 subleaf, const CpuidDynamic& now) const {
  const bool in_extended = leaf >= 0x80000000 && leaf <= part_.max_extended;
  const bool in_hypervisor = has(Feature::hypervisor) && leaf - 0x40000000 < 0x100;
  if (leaf > part_.max_leaf && !in_extended && !in_hypervisor) {
    if (part_.amd) return {};
    leaf = part_.max_leaf;  // Intel answers with the highest basic leaf
  }
  if (!has_subleaves(leaf)) subleaf = 0;
  if (in_extended) return extended(leaf, subleaf, now);
  switch (leaf) {
    case 0:
      return part_.amd ? CpuidAnswer{part_.max_leaf, four("Auth"), four("cAMD"), four("enti")}
                       : CpuidAnswer{part_.max_leaf, four("Genu"), four("ntel"), four("ineI")};
    case 1: return basic(now);
    case 4: return cache(leaf, subleaf);
    case 5: return has(Feature::monitor) ? fixed(leaf, subleaf) : CpuidAnswer{};
    case 7: {
      CpuidAnswer a = merged(fixed(leaf, subleaf), feature_bits(leaf, subleaf));
      if (subleaf == 0 && now.ospke) a.ecx |= 16;
      if (subleaf == 0) a.eax = has(Feature::bhi_ctrl) ? 2 : 0;
      return a;
    }
    case 0xb:
    case 0x1f: return part_.amd && leaf == 0x1f ? CpuidAnswer{} : topology(subleaf, now.apic_id);
    case 0xd: return xsave(subleaf, now);
    case 0x40000000: return {0x40000000, four("Nest"), four("walk"), four("Nest")};
    default: return merged(fixed(leaf, subleaf), feature_bits(leaf, subleaf));
  }
}

}  // namespace nestwalk::cpu
