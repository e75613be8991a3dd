#include "mmu/page_walk_cache.h"

namespace nestwalk::mmu {

namespace {

/// Where no configuration says otherwise: RevAnC's measured Intel sizes for PDEs and PDPTEs (van Schaik et al., 2017: 32
/// and 4), ChampSim's for the levels above.
struct Standard {
  unsigned level;
  const char* name;
  u32 entries;
};
constexpr Standard kStandard[] = {{5, "pml5", 2}, {4, "pml4", 4}, {3, "pdpt", 4}, {2, "pd", 32}};

}  // namespace

PageWalkCaches::Level::Level(sim::Section section, u32 entries, u64 seed)
    : array([&] {
        const tlb::Geometry g = tlb::read_geometry(section, entries);
        return tlb::Array<Held>(g, tlb::make_policy(section, g.sets, g.ways, seed));
      }()) {}

PageWalkCaches::PageWalkCaches(sim::Section section, u64 seed) {
  bool enabled = true;
  section.field("enabled", enabled, "whether walks may start below upper-level entries that are cached");
  section.field("latency", latency_, {0, 1000, "cycles"}, "of one look-up; all levels are asked in parallel");
  for (const Standard& s : kStandard) {
    u32 entries = s.entries;
    sim::Section child = section.child(s.name);
    child.field("entries", entries, {0, 1 << 20, "entries"}, "upper-level entries held; 0: no such cache");
    if (entries)
      levels_[s.level] = std::make_unique<Level>(child, entries, seed + s.level);
    else
      child.allow_unused();
    active_ |= enabled && entries;
  }
}

void PageWalkCaches::put(unsigned n, u64 prefix, u16 context, const Held& held) {
  Level* level = levels_[n].get();
  if (!level) return;
  const u32 set = level->array.set_of(prefix);
  const u64 tag = tag_of(prefix, context);
  const u32 way = level->array.find(set, tag);
  if (way != tlb::Array<Held>::kNone) {  // passed over by the look-up: its rights were too few
    level->array.at(set, way) = held;
    level->array.touch(set, way, now_);
    return;
  }
  tlb::Array<Held>::Displaced displaced;
  level->array.insert(set, tag, held, now_, displaced);
}

void PageWalkCaches::flush_entry(unsigned n, u64 prefix, u16 context) {
  Level* level = levels_[n].get();
  if (!level) return;
  const u32 set = level->array.set_of(prefix);
  const u32 way = level->array.find(set, tag_of(prefix, context));
  if (way == tlb::Array<Held>::kNone) return;
  level->array.erase(set, way);
  ++level->flushed;
}

template <class Matches>
void PageWalkCaches::flush_if(Matches&& matches) {
  for (auto& level : levels_) {
    if (!level) continue;
    auto& array = level->array;
    array.for_each([&](u32 set, u32 way) {
      if (!matches(array.tag(set, way))) return;
      array.erase(set, way);
      ++level->flushed;
    });
  }
}

void PageWalkCaches::flush_context(u16 context) {
  flush_if([&](u64 tag) { return static_cast<u16>(tag) == context; });
}

void PageWalkCaches::flush_vpid(u16 context) {
  flush_if([&](u64 tag) { return tlb::same_vpid(static_cast<u16>(tag), context); });
}

void PageWalkCaches::flush_all() {
  flush_if([](u64) { return true; });
}

void PageWalkCaches::declare(sim::Stats& stats, const std::string& prefix) {
  if (!active_) return;
  stats.counter(prefix + ".lookups", lookups_, "walks", "walks that asked the page-walk caches");
  stats.counter(
      prefix + ".hits", [this] { return lookups_ - misses_; }, "walks", "walks that started below the root");
  stats.counter(prefix + ".misses", misses_, "walks", "walks that started at the root");
  stats.ratio(prefix + ".hit_rate", prefix + ".hits", prefix + ".lookups", "share of walks that started below the root");
  for (const Standard& s : kStandard) {
    const Level* level = levels_[s.level].get();
    if (!level) continue;
    const std::string name = prefix + "." + s.name;
    stats.counter(name + ".lookups", level->lookups, "lookups", "walks for which no deeper cache had the answer");
    stats.counter(name + ".hits", level->hits, "lookups", "walks whose deepest usable entry this cache held");
    stats.counter(name + ".misses", level->misses, "lookups", "look-ups without a usable entry");
    stats.counter(name + ".flushed", level->flushed, "entries", "entries that left because the guest asked for it");
  }
}

}  // namespace nestwalk::mmu
