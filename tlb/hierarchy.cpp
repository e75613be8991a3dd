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
  struct Node;
  using Path = std::vector<Node*>;  ///< groups that serve one side, by level
  struct Node {
    Node(sim::Section s, u64 seed) : group(s, seed) {}
    Group group;
    Path in_front;               ///< all groups of smaller level that share a side
    Node* victims_to = nullptr;  ///< the exclusive group behind that takes the evicted entries
  };

  sim::Section section;
  std::deque<Node> nodes;
  Path paths[kSides];

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
  u64 now() const { return counts->ordinal; }

  bool skips(const Path& path, std::size_t i, const Entry& entry) const;
  Group::Resident place(const Path& path, std::size_t i, const Entry& entry, u64 linear);
  Group::Resident place(Node& n, const Entry& entry);
  void displaced(Node& from, const Entry& entry);
  Group::Resident place_before(const Path& path, std::size_t i, const Entry& entry);
  Group::Resident refill(const Path& path, std::size_t i, const Group::Resident& hit);
  static void describe(const Group::Resident& r, Found& found);
  template <class Erase>
  u64 flush(Erase&& erase);
  void change_pcid(u16 to);
};

Hierarchy::Impl::Impl(sim::Section s, u64 seed) : section(s) {
  for (const std::string& name : section.children()) nodes.emplace_back(section.child(name), seed);
  build_paths();
  find_neighbours();
}

void Hierarchy::Impl::build_paths() {
  static constexpr const char* kWhat[kSides] = {"instruction fetches", "loads", "stores"};
  for (unsigned side = 0; side < kSides; ++side) {
    Path& p = paths[side];
    for (Node& n : nodes)
      if (n.group.serves(static_cast<Side>(side))) p.push_back(&n);
    std::stable_sort(p.begin(), p.end(), [](const Node* a, const Node* b) { return a->group.level() < b->group.level(); });
    for (std::size_t i = 1; i < p.size(); ++i) {
      const Group &before = p[i - 1]->group, &g = p[i]->group;
      if (g.level() == before.level())
        g.section().refuse("serves", "both " + before.section().prefix() + " and this TLB serve " + kWhat[side] +
                                         " on level " + std::to_string(g.level()) +
                                         "; further arrays of one TLB are its sub-sections");
    }
  }
}

void Hierarchy::Impl::find_neighbours() {
  for (Path& p : paths)
    for (std::size_t i = 0; i < p.size(); ++i) {
      Path& in_front = p[i]->in_front;
      for (std::size_t j = 0; j < i; ++j)
        if (std::find(in_front.begin(), in_front.end(), p[j]) == in_front.end()) in_front.push_back(p[j]);
      if (i + 1 < p.size() && p[i + 1]->group.inclusion() == Inclusion::exclusive) p[i]->victims_to = p[i + 1];
    }
  for (const Node& n : nodes)
    for (unsigned side = 0; n.victims_to && side < kSides; ++side) {
      const Group& to = n.victims_to->group;
      if (n.group.serves(static_cast<Side>(side)) && !to.serves(static_cast<Side>(side)))
        to.section().refuse("inclusion", "an exclusive TLB must serve all that " + n.group.section().prefix() +
                                             " in front of it serves, whose victims it receives");
    }
}

// ---- what moves ------------------------------------------------------------------------------------------------------

/// An exclusive group is passed over while some group in front can hold the entry.
bool Hierarchy::Impl::skips(const Path& path, std::size_t i, const Entry& entry) const {
  return path[i]->group.inclusion() == Inclusion::exclusive &&
         std::any_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(i),
                     [&](const Node* n) { return n->group.takes(entry.size); });
}

Group::Resident Hierarchy::Impl::place(const Path& path, std::size_t i, const Entry& entry, u64 linear) {
  if (skips(path, i, entry)) return {};
  Node& n = *path[i];
  if (!n.group.takes(entry.size)) {
    const std::optional<Entry> piece = n.group.piece_of(entry, linear);
    return piece ? place(n, *piece) : Group::Resident{};
  }
  return place(n, entry);
}

Group::Resident Hierarchy::Impl::place(Node& n, const Entry& entry) {
  Array<Entry>::Displaced victim;
  const Group::Resident r = n.group.place(entry, now(), victim);
  if (victim.any) displaced(n, victim.payload);
  return r;
}

void Hierarchy::Impl::displaced(Node& from, const Entry& entry) {
  ++from.group.evictions;
  if (from.group.inclusion() == Inclusion::inclusive)
    for (Node* n : from.in_front) n->group.dropped += n->group.erase_overlapping(entry);
  Node* const to = from.victims_to;
  if (!to || !to->group.takes(entry.size)) return;
  to->group.dropped += to->group.erase_overlapping(entry);
  place(*to, entry);
}

/// Places the entry in path[0..i), the hindmost first. Returns the first-level resident, if it became one.
Group::Resident Hierarchy::Impl::place_before(const Path& path, std::size_t i, const Entry& entry) {
  Group::Resident r;
  while (i-- > 0) r = place(path, i, entry, last_linear);
  // Placing it may have made an inclusive level evict the very same page.
  return r && path[0]->group.level() == 1 && r.bank->array.holds(r.set, r.way) ? r : Group::Resident{};
}

/// A hit at path[i] is brought to the front.
Group::Resident Hierarchy::Impl::refill(const Path& path, std::size_t i, const Group::Resident& hit) {
  const Entry entry = hit.entry();
  if (skips(path, i, entry)) {
    path[i]->group.erase(hit);
    ++path[i]->group.dropped;
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
  for (Node& n : nodes) {
    const u64 erased = erase(n.group);
    n.group.flushes += erased;
    all += erased;
  }
  return all;
}

void Hierarchy::Impl::change_pcid(u16 to) {
  if (to == pcid) return;
  pcid = to;
  flush([](Group& g) { return g.tagged() ? 0 : g.erase_context(0, 0, false); });
}

// ---- the interface ---------------------------------------------------------------------------------------------------

Hierarchy::Hierarchy(sim::Section section, u64 seed) : impl_(std::make_unique<Impl>(section, seed)) {}
Hierarchy::~Hierarchy() = default;

void Hierarchy::set_listener(ResidentListener* listener) {
  u32 first = 0;
  for (Impl::Node& n : impl_->nodes)
    for (Group::Bank& bank : n.group.banks()) {
      if (n.group.level() != 1) continue;
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
    Group& g = path[i]->group;
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
  if (!covers(entry.page, entry.size, m.last_linear)) {
    m.last_linear = entry.page << kPageShift;
    m.missed.all = false;
  }
  const Impl::Path& path = m.path(side);
  if (!(std::exchange(m.missed.all, false) && m.missed.side == side && m.missed.pcid == entry.pcid))
    for (Impl::Node* n : path) n->group.dropped += n->group.erase_address(m.last_linear, entry.pcid);
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
  return impl_->flush([&](Group& g) { return g.erase_context(pcid, 0xffff, false); });
}

u64 Hierarchy::flush_vpid(u16 context, bool with_global) {
  return impl_->flush([&](Group& g) { return g.erase_context(context, kVpidMask, with_global); });
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
  return impl_->flush([](Group& g) { return g.erase_context(0, 0, true); });
}

void Hierarchy::declare(sim::Stats& stats) {
  for (Impl::Node& n : impl_->nodes) n.group.declare(stats, impl_->counts);
}

Cycles Hierarchy::first_level_latency(Side side) const {
  const Impl::Path& path = impl_->path(side);
  return path.empty() || path[0]->group.level() != 1 ? 0 : path[0]->group.latency();
}

void Hierarchy::for_each(const std::function<void(const std::string& array, const Entry&)>& f) const {
  for (const Impl::Node& n : impl_->nodes)
    for (const Group::Bank& bank : n.group.banks())
      bank.array.for_each([&](u32 set, u32 way) { f(bank.name, bank.array.at(set, way)); });
}

}  // namespace nestwalk::tlb
