// LIP, the LRU insertion policy (Qureshi et al., "Adaptive Insertion Policies for High Performance Caching", ISCA 2007): as
// true LRU, but what comes in is the next to go unless it is used again. The second example of docs/models.md: in
// models/tlb/, under a name of its own, it would be a policy for TLBs, page-walk caches and data caches alike.
#include <algorithm>
#include <vector>

#include "tlb/policy.h"

namespace nestwalk::models {
namespace {

using namespace nestwalk::tlb;

class Lip final : public Policy {
 public:
  explicit Lip(const PolicyParts& parts) : ways_(parts.ways), stamp_(std::size_t{parts.sets} * parts.ways) {}

  /// A hit stores the ordinal of the access: the filter can do that as well as we can.
  Touch touch(u32 set, u32 way) override { return {&stamp_[std::size_t{set} * ways_ + way], Touch::kStamp, 0}; }
  /// No access has the ordinal 0: until its first hit the newcomer is older than whatever was hit.
  void fill(u32 set, u32 way, u64) override { stamp_[std::size_t{set} * ways_ + way] = 0; }
  u32 victim(u32 set) override {
    const auto first = stamp_.begin() + std::size_t{set} * ways_;
    return static_cast<u32>(std::min_element(first, first + ways_) - first);
  }

 private:
  u32 ways_;
  std::vector<u64> stamp_;
};

const RegisterPolicy registered("lip", "LRU that inserts at the least recent place (Qureshi et al., ISCA 2007).",
                                [](const PolicyParts& parts) { return std::make_unique<Lip>(parts); });

}  // namespace
}  // namespace nestwalk::models
