// Two-dimensional page-walk caching: Bhargava, Serebrin, Spadini, Manne, "Accelerating Two-Dimensional Page Walks for
// Virtualized Systems", ASPLOS 2008. Instead of letting walks start further down, a small cache before the memory hierarchy
// holds table entries by their machine addresses: of the guest's tables alone (1D_PWC), or of both dimensions (2D_PWC);
// leaf levels stay out. With a nested TLB behind it (nested.tlb.*) that is the paper's 2D_PWC+NT.
//
// Parameters: walk_cache.holds, entries, ways, index, policy, latency. The paper's machine has no other page-walk caches,
// so configs/models/walk-cache-2d.ini switches [pwc] and [nested.pwc] off; what they are set to holds here as everywhere.
//
// Left out: stale entries. The cache says whether an entry was at hand, its value is memory's; so INVLPG and its like need
// not empty it, as the paper's coherent cache need not either.
#include "mmu/two_dimensional.h"

namespace nestwalk::models {
namespace {

using namespace nestwalk::mmu;

class WalkCache final : public EntryCache {
 public:
  WalkCache(sim::Section section, u64 seed) : array_(make(section, seed)) {
    section.field("latency", latency_, {0, 1000, "cycles"}, "of one look-up, hit or miss");
    section.field("holds", holds_, {{"1d", Holds::guest}, {"2d", Holds::both}},
                  "entries of the guest's tables only, or of both dimensions; never those of the lowest level");
  }

  bool serve(const WalkRead& read, Bill& bill) override {
    const unsigned level = read.host_level ? read.host_level : read.guest_level;
    if (level == 1 || (read.host_level && holds_ == Holds::guest)) return false;
    ++now_;
    ++lookups_;
    bill.charge(Cause::pwc, latency_);
    const u64 number = read.address.value >> 3;
    const u32 set = array_.set_of(number), way = array_.find(set, number);
    if (way != Array::kNone) {
      ++hits_;
      array_.touch(set, way, now_);
      return true;
    }
    Array::Displaced displaced;
    array_.insert(set, number, {}, now_, displaced);
    return false;
  }

  void declare(sim::Stats& stats) {
    stats.counter("walk_cache.lookups", lookups_, "reads", "reads of upper entries that asked the walk cache");
    stats.counter("walk_cache.hits", hits_, "reads", "found there, so that memory was not asked");
    stats.counter(
        "walk_cache.misses", [this] { return lookups_ - hits_; }, "reads", "for which memory was asked");
    stats.ratio("walk_cache.hit_rate", "walk_cache.hits", "walk_cache.lookups", "share of these reads found there");
  }

 private:
  enum class Holds : u8 { guest, both };
  struct Nothing {};
  using Array = tlb::Array<Nothing>;
  static Array make(sim::Section section, u64 seed) {
    u32 entries = 24;  // AMD's Opteron of the paper: assumption, its text was not at hand
    section.field("entries", entries, {1, 1u << 20, "entries"}, "table entries held");
    const tlb::Geometry geometry = tlb::read_geometry(section, entries);
    return {geometry, tlb::make_policy(section, geometry.sets, geometry.ways, seed)};
  }

  Array array_;
  Cycles latency_ = 1;
  Holds holds_ = Holds::both;
  u64 now_ = 0, lookups_ = 0, hits_ = 0;
};

class WalkCache2d final : public TwoDimensional {
 public:
  explicit WalkCache2d(const ModelParts& parts)
      : TwoDimensional(parts, std::make_unique<HostStage>(parts.settings.section("nested"), parts.memory, parts.caches,
                                                          parts.seed + 2, parts.commons)),
        cache_(parts.settings.section("walk_cache_2d"), parts.seed + 20) {
    linear().set_entry_cache(&cache_);
    static_cast<HostStage&>(host()).set_entry_cache(&cache_);  // made above
  }

  void declare(sim::Stats& stats) override {
    TwoDimensional::declare(stats);
    cache_.declare(stats);
  }

 private:
  WalkCache cache_;
};

const RegisterModel registered("walk-cache-2d",
                               "two-dimensional walks with a cache of table entries (Bhargava et al., ASPLOS 2008)",
                               [](const ModelParts& parts) { return std::make_unique<WalkCache2d>(parts); });

}  // namespace
}  // namespace nestwalk::models
