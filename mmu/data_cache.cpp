// Levels of write-back, write-allocate caches on the TLB's array template. An access goes down its side's levels until one
// holds the line, fills those it passed, and pays the total latency of who served it (Hennessy, Patterson, appendix B). A
// dirty victim goes to the next level; it costs traffic, not latency.
#include "mmu/data_cache.h"

#include <algorithm>
#include <bit>
#include <deque>

#include "base/bits.h"
#include "tlb/array.h"

namespace nestwalk::mmu {
namespace {

enum class Serves : u8 { instruction, data, all };

struct Line {
  bool dirty = false;
};
using Lines = tlb::Array<Line>;

/// One cache.
struct Level {
  sim::Section section;
  u32 number = 1;
  Serves serves = Serves::all;
  Cycles latency = 4;
  bool inclusive = false;
  std::unique_ptr<Lines> lines;
  bool first = false;       ///< the core asks it first, on some side
  Level* behind = nullptr;  ///< where victims are written to; nullptr: memory
  std::vector<Level*> in_front;

  u64 lookups[2] = {};  ///< [walker]; without those of the core that begin here, which the port counts
  u64 misses[2] = {};   ///< [walker]
  u64 hits = 0;         ///< found by asking
  u64 writebacks = 0, evictions = 0, back_invalidations = 0;

  Level(sim::Section s, u32 default_number, u64 line_bytes, u64 seed);
  bool on(bool instruction) const { return serves == Serves::all || (serves == Serves::instruction) == instruction; }
};

Level::Level(sim::Section s, u32 default_number, u64 line_bytes, u64 seed) : section(s), number(default_number) {
  section.field("level", number, {1, 6, ""}, "1 is asked first");
  section.field("serves", serves, {{"instruction", Serves::instruction}, {"data", Serves::data}, {"all", Serves::all}},
                "which accesses reach it");
  latency = number == 1 ? 4 : number == 2 ? 14 : 50;
  section.field("latency", latency, {0, 1'000'000, "cycles"}, "total latency of an access served here");
  section.field("inclusive", inclusive, "lines evicted here leave the levels in front too");
  if (!section.given("bytes")) section.refuse("bytes", "a cache needs its size");
  u64 bytes = line_bytes;
  section.field("bytes", bytes, {line_bytes, u64{1} << 32, "bytes"}, "size");
  if (bytes % line_bytes) section.refuse("bytes", "is no multiple of the line's " + std::to_string(line_bytes) + " bytes");
  const tlb::Geometry geometry = tlb::read_geometry(section, static_cast<u32>(bytes / line_bytes));
  lines = std::make_unique<Lines>(geometry, tlb::make_policy(section, geometry.sets, geometry.ways, seed));
}

/// The number in a name such as "l2", or 1.
u32 number_in(const std::string& name) {
  const char last = name.empty() ? '\0' : name.back();
  const char digit = last >= '0' && last <= '9' ? last : name.size() > 1 ? name[name.size() - 2] : '\0';
  return digit >= '1' && digit <= '6' ? static_cast<u32>(digit - '0') : 1;
}

}  // namespace

struct DataCaches::Impl {
  using Path = std::vector<Level*>;

  sim::Section section;
  CacheModel model = CacheModel::walks;
  u64 line = 64;
  unsigned shift = 6;
  Cycles memory_latency = 200, walk_latency = 30;
  std::deque<Level> levels;
  Path data, instruction, walk;
  u64 memory_reads[2] = {}, memory_writes = 0;  ///< [walker]
  tlb::AccessCounts none;
  const tlb::AccessCounts* counts = &none;

  Impl(sim::Section s, u64 seed);
  Path build_path(bool instruction_side);
  void build_walk_path();
  void connect(const Path& path);
  u64 core_accesses(const Level& level) const;

  struct Served {
    Level* by = nullptr;   ///< nullptr: memory
    u32 set = 0, way = 0;  ///< in the path's first level
  };
  Served access(const Path& path, u64 line_number, bool write, bool walker);
  u32 fill(Level& level, u32 set, u64 line_number, bool dirty);
  void evicted(Level& from, u64 line_number, bool dirty);
  void write_back(Level& from, u64 line_number);
};

DataCaches::Impl::Impl(sim::Section s, u64 seed) : section(s) {
  section.field("model", model, {{"none", CacheModel::none}, {"walks", CacheModel::walks}, {"full", CacheModel::full}},
                "what goes through the caches: nothing, page walks, every access");
  section.field("line", line, {64, 256, "bytes"}, "size of a line");
  if (!std::has_single_bit(line)) section.refuse("line", "must be 64, 128 or 256");
  shift = static_cast<unsigned>(std::countr_zero(line));
  section.field("memory_latency", memory_latency, {0, 1'000'000, "cycles"}, "total latency of an access served by memory");
  section.field("walk_latency", walk_latency, {0, 1'000'000, "cycles"}, "model = none: latency of each access of a walk");
  for (const std::string& name : section.children()) {
    if (name == "memory") section.child(name).refuse("bytes", "a cache cannot be called memory");
    levels.emplace_back(section.child(name), number_in(name), line, seed);
  }

  data = build_path(false);
  instruction = build_path(true);
  connect(data);
  connect(instruction);
  build_walk_path();
  for (const Path* p : {&data, &instruction})
    if (!p->empty() && p->back()->latency > memory_latency)
      section.refuse("memory_latency", "is below the latency of " + p->back()->section.prefix() + " in front of it");
}

DataCaches::Impl::Path DataCaches::Impl::build_path(bool instruction_side) {
  Path p;
  for (Level& l : levels)
    if (l.on(instruction_side)) p.push_back(&l);
  std::stable_sort(p.begin(), p.end(), [](const Level* a, const Level* b) { return a->number < b->number; });
  for (std::size_t i = 1; i < p.size(); ++i) {
    if (p[i]->number == p[i - 1]->number)
      p[i]->section.refuse("level", p[i - 1]->section.prefix() + " is level " + std::to_string(p[i]->number) +
                                        " for the same accesses already");
    if (p[i]->latency < p[i - 1]->latency)
      p[i]->section.refuse("latency", "is below the latency of " + p[i - 1]->section.prefix() + " in front of it");
  }
  return p;
}

void DataCaches::Impl::connect(const Path& path) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    path[i]->first |= i == 0;
    // The data side is connected first: victims of a unified level before split ones are data.
    if (i + 1 < path.size() && !path[i]->behind) path[i]->behind = path[i + 1];
    for (std::size_t j = 0; j < i; ++j) {
      auto& front = path[i]->in_front;
      if (std::find(front.begin(), front.end(), path[j]) == front.end()) front.push_back(path[j]);
    }
  }
}

void DataCaches::Impl::build_walk_path() {
  u32 first = data.empty() ? 1 : data[0]->number;
  section.field("walk_level", first, {1, 6, ""},
                "level that the page walker's accesses enter at (default: the first data level)");
  for (Level* l : data)
    if (l->number >= first) walk.push_back(l);
  if (walk.empty() && !data.empty()) section.refuse("walk_level", "no data cache is on this level or behind it");
}

// ---- one access ------------------------------------------------------------------------------------------------------

DataCaches::Impl::Served DataCaches::Impl::access(const Path& path, u64 line_number, bool write, bool walker) {
  Served served;
  std::size_t i = 0;
  for (; i < path.size(); ++i) {
    Level& l = *path[i];
    if (walker || i > 0) ++l.lookups[walker];
    const u32 set = l.lines->set_of(line_number), way = l.lines->find(set, line_number);
    if (way != Lines::kNone) {
      ++l.hits;
      l.lines->touch(set, way, counts->ordinal);
      if (i == 0) l.lines->at(set, way).dirty |= write;
      served = {&l, set, way};
      break;
    }
    ++l.misses[walker];
  }
  if (i == path.size()) ++memory_reads[walker];
  while (i-- > 0) {
    const u32 set = path[i]->lines->set_of(line_number);
    served.set = set;
    served.way = fill(*path[i], set, line_number, i == 0 && write);
  }
  return served;
}

u32 DataCaches::Impl::fill(Level& level, u32 set, u64 line_number, bool dirty) {
  Lines::Displaced victim;
  const u32 way = level.lines->insert(set, line_number, Line{dirty}, counts->ordinal, victim);
  if (victim.any) evicted(level, victim.tag, victim.payload.dirty);
  return way;
}

void DataCaches::Impl::evicted(Level& from, u64 line_number, bool dirty) {
  ++from.evictions;
  if (from.inclusive)
    for (Level* front : from.in_front) {
      const u32 set = front->lines->set_of(line_number), way = front->lines->find(set, line_number);
      if (way == Lines::kNone) continue;
      dirty |= front->lines->at(set, way).dirty;
      front->lines->erase(set, way);
      ++front->back_invalidations;
    }
  if (dirty) write_back(from, line_number);
}

void DataCaches::Impl::write_back(Level& from, u64 line_number) {
  ++from.writebacks;
  Level* to = from.behind;
  if (!to) {
    ++memory_writes;
    return;
  }
  const u32 set = to->lines->set_of(line_number), way = to->lines->find(set, line_number);
  if (way != Lines::kNone)
    to->lines->at(set, way).dirty = true;
  else
    fill(*to, set, line_number, true);
}

/// Look-ups for the core: those that begin here as the port counted them (filtered ones included), and misses in front.
u64 DataCaches::Impl::core_accesses(const Level& level) const {
  u64 n = level.lookups[0];
  if (model != CacheModel::full || !level.first) return n;
  for (unsigned side = 0; side < tlb::kSides; ++side) {
    const bool fetch = static_cast<tlb::Side>(side) == tlb::Side::fetch;
    const Path& path = fetch ? instruction : data;
    if (path.empty() || path[0] != &level) continue;
    n += counts->unpaged[side] - counts->uncached[side];
    for (const bool user : {false, true}) n += counts->paged[user][side] + counts->split[user][side];
  }
  return n;
}

// ---- the interface ---------------------------------------------------------------------------------------------------

DataCaches::DataCaches(sim::Section section, u64 seed) : impl_(std::make_unique<Impl>(section, seed)) {}
DataCaches::~DataCaches() = default;

CacheModel DataCaches::model() const { return impl_->model; }
unsigned DataCaches::line_shift() const { return impl_->shift; }
void DataCaches::set_access_counts(const tlb::AccessCounts* counts) { impl_->counts = counts; }

void DataCaches::set_listener(tlb::ResidentListener* listener) {
  u32 first = 0;
  for (Level& l : impl_->levels) {
    if (!l.first) continue;
    l.lines->set_listener(listener, first);
    first += l.lines->slots();
  }
}

CacheAnswer DataCaches::walk_access(MachineAddr address, bool write) {
  Impl& m = *impl_;
  CacheAnswer answer;
  if (m.model == CacheModel::none) {
    answer.cycles = m.walk_latency;
    return answer;
  }
  const Impl::Served s = m.access(m.walk, address.value >> m.shift, write, true);
  answer.served_by = s.by ? static_cast<ServedBy>(s.by->number) : kMemory;
  answer.cycles = s.by ? s.by->latency : m.memory_latency;
  return answer;
}

CacheAnswer DataCaches::access(MachineAddr address, tlb::Side side, bool /*user*/) {
  Impl& m = *impl_;
  CacheAnswer answer;
  if (m.model != CacheModel::full) return answer;
  const Impl::Path& path = side == tlb::Side::fetch ? m.instruction : m.data;
  const Impl::Served s = m.access(path, address.value >> m.shift, side == tlb::Side::store, false);
  answer.served_by = s.by ? static_cast<ServedBy>(s.by->number) : kMemory;
  answer.cycles = s.by ? s.by->latency : m.memory_latency;
  if (path.empty()) return answer;
  answer.cycles -= path[0]->latency;
  Lines& first = *path[0]->lines;
  answer.handle = first.handle(s.set, s.way);
  answer.filterable = first.filterable();
  answer.touch = first.touch_of(s.set, s.way);
  return answer;
}

void DataCaches::declare(sim::Stats& stats) {
  Impl& m = *impl_;
  if (m.model == CacheModel::none) return;
  for (Level& l : m.levels) {
    const std::string p = l.section.prefix();
    const auto accesses = [&m, &l] { return m.core_accesses(l) + l.lookups[1]; };
    stats.counter(p + ".accesses", accesses, "accesses", "look-ups, the page walker's included");
    if (l.first && m.model == CacheModel::full)
      stats.counter(
          p + ".hits", [accesses, &l] { return accesses() - l.misses[0] - l.misses[1]; }, "accesses",
          "look-ups whose line it held");
    else
      stats.counter(p + ".hits", l.hits, "accesses", "look-ups whose line it held");
    stats.counter(
        p + ".misses", [&l] { return l.misses[0] + l.misses[1]; }, "accesses", "look-ups whose line it did not hold");
    stats.counter(p + ".walk_accesses", l.lookups[1], "accesses", "look-ups of the page walker");
    stats.counter(p + ".walk_misses", l.misses[1], "accesses", "misses of the page walker");
    stats.counter(p + ".evictions", l.evictions, "lines", "lines that made room for others");
    stats.counter(p + ".writebacks", l.writebacks, "lines", "dirty lines written to the next level");
    stats.counter(p + ".back_invalidations", l.back_invalidations, "lines",
                  "lines removed because an inclusive level behind evicted them");
    stats.ratio(p + ".miss_rate", p + ".misses", p + ".accesses", "misses per access");
  }
  const std::string memory = m.section.prefix() + ".memory";
  stats.counter(
      memory + ".reads", [&m] { return m.memory_reads[0] + m.memory_reads[1]; }, "lines", "lines read from memory");
  stats.counter(memory + ".walk_reads", m.memory_reads[1], "lines", "lines read from memory for page walks");
  stats.counter(memory + ".writes", m.memory_writes, "lines", "lines written to memory");
}

}  // namespace nestwalk::mmu
