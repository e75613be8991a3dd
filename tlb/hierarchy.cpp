// The order in which groups are asked, and what moves between them. Levels behind the first are by default neither
// inclusive nor exclusive: filled by walks along with the first level, refilling it on a hit, and not told of its
// evictions, as measured on Intel processors by TLB;DR (Tatar et al., USENIX Security 2022).
#include "tlb/hierarchy.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "tlb/group.h"

namespace nestwalk::tlb {

struct Hierarchy::Impl {
  using Path = std::vector<Group*>;  ///< groups that serve one side, by level

  sim::Section section;
  std::deque<Group> groups;
  Path paths[kSides];
  struct Neighbours {
    Path in_front;                ///< all groups of smaller level that share a side
    Group* victims_to = nullptr;  ///< the exclusive group behind that takes the evicted entries
  };
  std::vector<Neighbours> neighbours;  ///< by position in `groups`

  AccessCounts none;
  const AccessCounts* counts = &none;
  u64 last_linear = 0;
  u16 pcid = 0;
  Entry unplaced;  ///< what is returned where no array of the first level took the entry
  /// The last look-up found nothing, and nothing has been inserted since: what comes now replaces nothing.
  struct Missed {
    bool all = false;
    Side side = Side::fetch;
    u16 pcid = 0;
  } missed;

  Impl(sim::Section s, u64 seed);
  void build_paths();
  void find_neighbours();

  Path& path(Side side) { return paths[static_cast<unsigned>(side)]; }
  std::size_t position(const Group& g) const;
  u64 now() const { return counts->ordinal; }

  bool skips(const Path& path, std::size_t i, const Entry& entry) const;
  Group::Resident place(const Path& path, std::size_t i, const Entry& entry, u64 linear);
  void displaced(Group& from, const Entry& entry);
  Group::Resident place_before(const Path& path, std::size_t i, const Entry& entry);
  Group::Resident refill(const Path& path, std::size_t i, const Group::Resident& hit);
  static void describe(const Group::Resident& r, Found& found);
  template <class Erase>
  u64 flush(Erase&& erase);
  void change_pcid(u16 to);
};

Hierarchy::Impl::Impl(sim::Section s, u64 seed) : section(s) {
  for (const std::string& name : section.children()) groups.emplace_back(section.child(name), seed);
  build_paths();
  find_neighbours();
}

void Hierarchy::Impl::build_paths() {
  static constexpr const char* kWhat[kSides] = {"instruction fetches", "loads", "stores"};
  for (unsigned side = 0; side < kSides; ++side) {
    Path& p = paths[side];
    for (Group& g : groups)
      if (g.serves(static_cast<Side>(side))) p.push_back(&g);
    std::stable_sort(p.begin(), p.end(), [](const Group* a, const Group* b) { return a->level() < b->level(); });
    for (std::size_t i = 1; i < p.size(); ++i)
      if (p[i]->level() == p[i - 1]->level())
        p[i]->section().refuse("serves", "both " + p[i - 1]->section().prefix() + " and this TLB serve " + kWhat[side] +
                                             " on level " + std::to_string(p[i]->level()) +
                                             "; further arrays of one TLB are its sub-sections");
  }
}

void Hierarchy::Impl::find_neighbours() {
  neighbours.resize(groups.size());
  for (Path& p : paths)
    for (std::size_t i = 0; i < p.size(); ++i) {
      Neighbours& n = neighbours[position(*p[i])];
      for (std::size_t j = 0; j < i; ++j)
        if (std::find(n.in_front.begin(), n.in_front.end(), p[j]) == n.in_front.end()) n.in_front.push_back(p[j]);
      if (i + 1 < p.size() && p[i + 1]->inclusion() == Inclusion::exclusive) n.victims_to = p[i + 1];
    }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Group* to = neighbours[g].victims_to;
    for (unsigned side = 0; to && side < kSides; ++side)
      if (groups[g].serves(static_cast<Side>(side)) && !to->serves(static_cast<Side>(side)))
        to->section().refuse("inclusion", "an exclusive TLB must serve all that " + groups[g].section().prefix() +
                                              " in front of it serves, whose victims it receives");
  }
}

std::size_t Hierarchy::Impl::position(const Group& g) const {
  std::size_t i = 0;
  while (&groups[i] != &g) ++i;
  return i;
}

// ---- what moves ------------------------------------------------------------------------------------------------------

/// An exclusive group is passed over while some group in front can hold the entry.
bool Hierarchy::Impl::skips(const Path& path, std::size_t i, const Entry& entry) const {
  return path[i]->inclusion() == Inclusion::exclusive &&
         std::any_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(i),
                     [&](Group* g) { return g->takes(entry.size); });
}

Group::Resident Hierarchy::Impl::place(const Path& path, std::size_t i, const Entry& entry, u64 linear) {
  if (skips(path, i, entry)) return {};
  const std::optional<Entry> fitting = path[i]->fit(entry, linear);
  if (!fitting) return {};
  Array<Entry>::Displaced victim;
  const Group::Resident r = path[i]->place(*fitting, now(), victim);
  if (victim.any) displaced(*path[i], victim.payload);
  return r;
}

void Hierarchy::Impl::displaced(Group& from, const Entry& entry) {
  ++from.evictions;
  const Neighbours& n = neighbours[position(from)];
  if (from.inclusion() == Inclusion::inclusive)
    for (Group* g : n.in_front) g->dropped += g->erase_overlapping(entry);
  Group* to = n.victims_to;
  if (!to || !to->takes(entry.size)) return;
  to->dropped += to->erase_overlapping(entry);
  Array<Entry>::Displaced victim;
  to->place(entry, now(), victim);
  if (victim.any) displaced(*to, victim.payload);
}

/// Places the entry in path[0..i), the hindmost first. Returns the first-level resident, if it became one.
Group::Resident Hierarchy::Impl::place_before(const Path& path, std::size_t i, const Entry& entry) {
  Group::Resident r;
  while (i-- > 0) r = place(path, i, entry, last_linear);
  // Placing it may have made an inclusive level evict the very same page.
  return r && path[0]->level() == 1 && r.bank->array.holds(r.set, r.way) ? r : Group::Resident{};
}

/// A hit at path[i] is brought to the front.
Group::Resident Hierarchy::Impl::refill(const Path& path, std::size_t i, const Group::Resident& hit) {
  const Entry entry = hit.entry();
  if (skips(path, i, entry)) {
    path[i]->erase(hit);
    ++path[i]->dropped;
  }
  return place_before(path, i, entry);
}

void Hierarchy::Impl::describe(const Group::Resident& r, Found& found) {
  if (!r) return;
  Array<Entry>& array = r.bank->array;
  found.entry = &r.entry();
  found.handle = array.handle(r.set, r.way);
  found.filterable = array.filterable();
  found.touch = array.touch_of(r.set, r.way);
}

template <class Erase>
u64 Hierarchy::Impl::flush(Erase&& erase) {
  u64 all = 0;
  for (Group& g : groups) {
    const u64 n = erase(g);
    g.flushes += n;
    all += n;
  }
  return all;
}

void Hierarchy::Impl::change_pcid(u16 to) {
  if (to == pcid) return;
  pcid = to;
  flush([](Group& g) { return g.tagged() ? 0 : g.erase_if([](const Entry& e) { return !e.rights.global; }); });
}

// ---- the interface ---------------------------------------------------------------------------------------------------

Hierarchy::Hierarchy(sim::Section section, u64 seed) : impl_(std::make_unique<Impl>(section, seed)) {}
Hierarchy::~Hierarchy() = default;

void Hierarchy::set_listener(ResidentListener* listener) {
  u32 first = 0;
  for (Group& g : impl_->groups)
    for (Group::Bank& bank : g.banks()) {
      if (g.level() != 1) continue;
      bank.array.set_listener(listener, first);
      first += bank.array.slots();
    }
}

void Hierarchy::set_access_counts(const AccessCounts* counts) { impl_->counts = counts; }
void Hierarchy::set_pcid(u16 pcid) { impl_->change_pcid(pcid); }

Found Hierarchy::lookup(u64 linear, u16 pcid, Side side, bool user) {
  Impl& m = *impl_;
  m.change_pcid(pcid);
  m.last_linear = linear;
  m.missed.all = false;
  Found found;
  const Impl::Path& path = m.path(side);
  for (std::size_t i = 0; i < path.size(); ++i) {
    Group& g = *path[i];
    const bool behind = g.level() > 1;
    if (behind) {
      found.cycles += g.latency();
      ++g.lookups;
    }
    const Group::Resident r = g.find(linear, pcid);
    if (!r) {
      ++g.misses[user][static_cast<unsigned>(side)];
      continue;
    }
    if (behind) ++g.hits;
    g.touch(r, m.now());
    found.level = static_cast<u8>(g.level());
    if (!behind) {
      m.describe(r, found);
      return found;
    }
    m.unplaced = r.entry();
    found.entry = &m.unplaced;
    m.describe(m.refill(path, i, r), found);
    return found;
  }
  m.missed = {true, side, pcid};
  return found;
}

Found Hierarchy::insert(const Entry& given, Side side) {
  Impl& m = *impl_;
  const Entry entry = m.unplaced = given;  // `given` may be what a look-up returned, and about to be moved
  m.change_pcid(entry.pcid);
  if (!covers(entry.page, entry.size, m.last_linear)) m.last_linear = entry.page << kPageShift, m.missed.all = false;
  const Impl::Path& path = m.path(side);
  if (!(std::exchange(m.missed.all, false) && m.missed.side == side && m.missed.pcid == entry.pcid))
    for (Group* g : path) g->dropped += g->erase_address(m.last_linear, entry.pcid);
  const Group::Resident r = m.place_before(path, path.size(), entry);

  Found found;
  found.level = 1;
  found.entry = &m.unplaced;
  m.describe(r, found);
  return found;
}

u64 Hierarchy::flush_page(u64 linear, u16 pcid, bool with_global) {
  return impl_->flush([&](Group& g) { return g.erase_page(linear, pcid, with_global); });
}

u64 Hierarchy::flush_address(u64 linear, u16 pcid) {
  return impl_->flush([&](Group& g) { return g.erase_address(linear, pcid); });
}

u64 Hierarchy::flush_pcid(u16 pcid) {
  return impl_->flush(
      [&](Group& g) { return g.erase_if([&](const Entry& e) { return !e.rights.global && e.pcid == pcid; }); });
}

u64 Hierarchy::flush_vpid(u16 context, bool with_global) {
  return impl_->flush([&](Group& g) {
    return g.erase_if([&](const Entry& e) { return same_vpid(e.pcid, context) && (with_global || !e.rights.global); });
  });
}

u64 Hierarchy::flush_vpid_page(u64 linear, u16 context) {
  return impl_->flush([&](Group& g) {
    return g.erase_if([&](const Entry& e) {
      const PageSize size = std::max(e.size, e.whole);
      return same_vpid(e.pcid, context) && covers(e.page & ~(pages_of(size) - 1), size, linear);
    });
  });
}

u64 Hierarchy::flush_all() {
  return impl_->flush([](Group& g) { return g.erase_if([](const Entry&) { return true; }); });
}

void Hierarchy::declare(sim::Stats& stats) {
  for (Group& g : impl_->groups) g.declare(stats, impl_->counts);
}

Cycles Hierarchy::first_level_latency(Side side) const {
  const Impl::Path& path = impl_->path(side);
  return path.empty() || path[0]->level() != 1 ? 0 : path[0]->latency();
}

void Hierarchy::for_each(const std::function<void(const std::string& array, const Entry&)>& f) const {
  for (const Group& g : impl_->groups)
    for (const Group::Bank& bank : g.banks())
      for (u32 set = 0; set < bank.array.sets(); ++set)
        for (u32 way = 0; way < bank.array.ways(); ++way)
          if (bank.array.holds(set, way)) f(bank.name, bank.array.at(set, way));
}

}  // namespace nestwalk::tlb
