// What the host's processor has and is called; its child is in host_child.cpp.
#include "test/oracle/harness/host_side.h"

#include <cstring>

#include <cpuid.h>

#include "cpu/features.h"
#include "test/oracle/harness/host_child.h"

namespace nestwalk::oracle {

bool host_lacks(cpu::Feature feature) {
  for (const cpu::FeatureBit& b : cpu::feature_table()) {
    if (b.feature != feature) continue;
    unsigned r[4] = {};
    if (!__get_cpuid_count(b.leaf, b.subleaf, &r[0], &r[1], &r[2], &r[3])) return true;
    return !((r[static_cast<unsigned>(b.reg)] >> b.bit) & 1);
  }
  return false;
}

std::string host_processor() {
  u32 r[12] = {};
  for (unsigned n = 0; n < 3; ++n)
    if (!__get_cpuid(0x80000002 + n, &r[4 * n], &r[4 * n + 1], &r[4 * n + 2], &r[4 * n + 3])) return "unknown";
  std::string brand(reinterpret_cast<const char*>(r), strnlen(reinterpret_cast<const char*>(r), sizeof r));
  return brand.substr(std::min(brand.find_first_not_of(' '), brand.size()));
}

std::unique_ptr<Side> make_host(std::string& missing) {
  if (kStrayAccessesLand) {
    missing = "this build's AddressSanitizer has memory where stray accesses of snippets go";
    return nullptr;
  }
  auto side = std::make_unique<ChildSide>("host", child::prepare, child::run);
  missing = side->missing();
  return missing.empty() ? std::move(side) : nullptr;
}

}  // namespace nestwalk::oracle
