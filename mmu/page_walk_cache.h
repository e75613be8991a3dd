// Page-walk caches (paging-structure caches, SDM vol. 3, 4.10.3; Barr, Cox, Rixner, ISCA 2010): one array per level, named
// by the entries it holds: pml5, pml4, pdpt, pd. An entry is found by the linear-address bits that select it, tagged with
// its PCID, and says where its table lies and what it and the entries above it grant; so a walk may start below it.
// Only entries that refer to a table are held (no leaves), present and accessed: a stage inserts them after a walk that
// succeeded.
#pragma once

#include <array>
#include <memory>

#include "mmu/format.h"
#include "sim/settings.h"
#include "sim/stats.h"
#include "tlb/array.h"

namespace nestwalk::mmu {

class PageWalkCaches {
 public:
  static constexpr unsigned kDeepest = 2, kHighest = 5;  ///< levels of the entries held: page directory to PML5

  /// Reads `enabled`, `latency` and the sub-sections pml5, pml4, pdpt and pd. Throws sim::ConfigError.
  PageWalkCaches(sim::Section section, u64 seed);

  bool active() const { return active_; }
  /// Of one look-up: all levels are asked in parallel.
  Cycles latency() const { return latency_; }

  /// Where the walk of `address` may start: below the deepest entry held that is `usable(rights)`, else at `root`. Levels
  /// above the answer are neither counted nor touched.
  template <TableFormat F, class Usable>
  WalkStart lookup(u64 address, u16 context, const WalkStart& root, Usable&& usable) {
    ++now_;
    ++lookups_;
    for (unsigned level = kDeepest; level <= F::kLevels; ++level)
      if (const Held* held = find(level, address >> F::shift(level), context, usable))
        return {held->table, level - 1, held->rights};
    ++misses_;
    return root;
  }
  /// The entry of table level `level` on the way to `address` refers to `table` and with those above it grants `rights`.
  template <TableFormat F>
  void insert(unsigned level, u64 address, u16 context, u64 table, u8 rights) {
    put(level, address >> F::shift(level), context, {table, rights});
  }

  /// What the guest asked for (4.10.4.1): INVLPG forgets every entry of the PCID, INVPCID type 0 and page faults those that
  /// would translate the address, the others everything of one PCID or of all of the VPID. `what.pcid` is a context.
  template <TableFormat F>
  void invalidate(const Invalidation& what) {
    switch (what.kind) {
      case Invalidation::Kind::page:
      case Invalidation::Kind::pcid: flush_context(what.pcid); break;
      case Invalidation::Kind::pcid_page:
        for (unsigned level = kDeepest; level <= F::kLevels; ++level)
          flush_entry(level, what.address.value >> F::shift(level), what.pcid);
        break;
      case Invalidation::Kind::non_global:
      case Invalidation::Kind::all: flush_vpid(what.pcid); break;
    }
  }
  void flush_context(u16 context);
  void flush_vpid(u16 context);  ///< every PCID of the context's VPID
  void flush_all();

  void declare(sim::Stats& stats, const std::string& prefix = "pwc");

 private:
  struct Held {
    u64 table = 0;
    u8 rights = 0;
  };
  struct Level {
    Level(sim::Section section, u32 entries, u64 seed);
    tlb::Array<Held> array;
    u64 lookups = 0, hits = 0, misses = 0, flushed = 0;
  };
  static u64 tag_of(u64 prefix, u16 context) { return prefix << 16 | context; }

  template <class Usable>
  const Held* find(unsigned n, u64 prefix, u16 context, Usable&& usable) {
    Level* level = levels_[n].get();
    if (!level) return nullptr;
    ++level->lookups;
    const u32 set = level->array.set_of(prefix);
    const u32 way = level->array.find(set, tag_of(prefix, context));
    if (way == tlb::Array<Held>::kNone || !usable(level->array.at(set, way).rights)) {
      ++level->misses;
      return nullptr;
    }
    ++level->hits;
    level->array.touch(set, way, now_);
    return &level->array.at(set, way);
  }
  void put(unsigned level, u64 prefix, u16 context, const Held& held);
  void flush_entry(unsigned level, u64 prefix, u16 context);
  template <class Matches>
  void flush_if(Matches&& matches);

  bool active_ = false;
  u64 latency_ = 1;
  u64 now_ = 0, lookups_ = 0, misses_ = 0;
  std::array<std::unique_ptr<Level>, kHighest + 1> levels_;
};

}  // namespace nestwalk::mmu
