// Faults of a machine under shadow paging: is it the guest's or only the shadow's, and what serves it.
#include <algorithm>

#include "models/mmu/shadow_space.h"

namespace nestwalk::models::shadow {

template <class F>
Result<ShadowSpace::Guided> ShadowSpace::walk_guest(u64 linear, Access access, Bill& bill) {
  GuestTables tables(guest_, memory_, F::kEntryBytes, bill);
  const Result<Leaf> leaf = walk<F>(F::root(root_of(r_->state), linear), linear, access, r_->rules, tables);
  work_ += options_.walk_read * tables.accesses();
  if (!leaf) return leaf.fault();
  Guided g;
  g.leaf = *leaf;
  for (unsigned level = leaf->level; level <= F::kLevels; ++level) g.entry[level] = tables.entry(level);
  g.global = tables.entry(leaf->level) & LinearFormat::kGlobal;
  g.waived = access.side == Side::store && !(leaf->rights & right::write);
  return g;
}

Result<ShadowSpace::Guided> ShadowSpace::walk_any(u64 linear, Access access, Bill& bill) {
  if (r_->mode != PagingMode::off)
    return with_format(r_->mode, [&]<class F>() { return walk_guest<F>(linear, access, bill); });
  Guided g;
  g.leaf = unpaged_leaf(linear);
  return g;
}

Served ShadowSpace::serve(u64 linear, Access access, u32 error, Bill& bill) {
  if (error & pf::reserved)
    if (const auto known = serve_known_device(linear, access)) return *known;
  Result<Guided> guided = walk_any(linear, access, bill);
  if (!guided) {
    // A page fault makes the processor forget the address (4.10.4.1), so what it sees next are the tables as they are.
    sync_linear(linear);
    return {Served::Kind::faulted, Exit::true_fault, 0, guided.fault()};
  }
  Guided& g = guided.value();
  const bool store = access.side == Side::store;
  g.gfn = g.leaf.address >> kPageShift;
  g.backing = guest_.back(PhysAddr(g.leaf.address), store, bill);
  if (g.backing.kind == Backing::Kind::device) {
    if (!g.waived && g.gfn <= ~u32{0}) remember_device(linear, g, bill);
    return {Served::Kind::device, Exit::mmio, g.leaf.address};
  }
  if (store) {
    if (g.backing.rom) return {Served::Kind::direct, Exit::mmio, g.backing.address.value, {}, true};
    if (pages_.traced(g.gfn) && !try_unsync(g.gfn)) {
      const Served served = serve_store_to_table(g, access, linear);
      restore_root(bill);
      return served;
    }
    // What is made the supervisor's for CR0.WP = 0 would escape SMAP and keys: such stores are carried out one by one.
    if (g.waived && guards_user_pages() && (g.leaf.rights & right::user)) {
      ++counts_->waived_stores;
      return {Served::Kind::direct, Exit::hidden_fault, g.backing.address.value};
    }
  }
  build(linear, g, bill);
  return {};
}

// ---- what the hypervisor carries out itself -------------------------------------------------------------------------

std::optional<Served> ShadowSpace::serve_known_device(u64 linear, Access access) {
  const u32 slot = leaf_slot(linear);
  if (slot == kNone) return std::nullopt;
  const u64 e = pages_.entry(slot);
  if (!(e & kDevice) || !LinearFormat::allows(LinearFormat::grant(e), access, r_->rules)) return std::nullopt;
  if (access.side == Side::store && !(e & LinearFormat::kWrite)) return std::nullopt;
  ++counts_->mmio_hits;
  return Served{Served::Kind::device, Exit::mmio, u64{pages_.target(slot)} << kPageShift | (linear & kPageMask)};
}

void ShadowSpace::remember_device(u64 linear, const Guided& g, Bill& bill) {
  build(linear, g, bill);
  ++counts_->mmio_cached;
}

Served ShadowSpace::serve_store_to_table(const Guided& g, Access access, u64 linear) {
  const unsigned offset = static_cast<unsigned>(g.leaf.address & kPageMask);
  table_written(g.gfn, offset, access.bytes);
  if (options_.on_write == Options::OnWrite::update) {
    work_ += options_.entry;
    r_->pending = {g.gfn, linear + access.bytes, offset, access.bytes};
  }
  return {Served::Kind::direct, Exit::table_write, g.backing.address.value};
}

/// Lets a traced frame be written, if all it is are lowest-level tables.
bool ShadowSpace::try_unsync(u64 gfn) {
  if (options_.variant == Options::Variant::strict || pages_.traced_above(gfn)) return false;
  pages_.for_each_of(gfn, [&](u32 id) {
    const ShadowPage& p = pages_.page(id);
    if (p.role.direct || p.unsync) return;
    pages_.set_unsync(id);
    ++counts_->unsyncs;
  });
  return true;
}

// ---- building -------------------------------------------------------------------------------------------------------

/// The largest leaf that neither side breaks and that has no table in it.
unsigned ShadowSpace::target_level(const Guided& g) const {
  if (g.backing.kind == Backing::Kind::device) return 1;
  const unsigned most = std::min<unsigned>(g.leaf.level, top_level() > 2 && r_->state.gigabyte_pages ? 3 : 2);
  unsigned level = 1;
  while (level < most && shift_of(g.backing.size) >= WideEntries::shift(level + 1) &&
         !pages_.tables_within(g.gfn, level + 1))
    ++level;
  return level;
}

/// Completes the shadow on the way to `linear`, which the guest's tables translate as `g` says.
void ShadowSpace::build(u64 linear, const Guided& g, Bill& bill) {
  make_room(top_level());
  if (root_page(linear) == kNone) return;  // the hardware walks the guest's root
  const unsigned target = target_level(g);
  u8 rights = right::all;
  u32 id = root_page(linear), slot;
  for (unsigned level = top_level();; --level) {
    pages_.use(id);
    pages_.page(id).writes = 0;
    slot = ShadowPages::slot(id, WideEntries::index(linear, level));
    if (level == target) break;
    if (level > g.leaf.level) {
      rights &= LinearFormat::grant(g.entry[level]);
      if (hand_over(slot, level, rights, g)) return;
    }
    id = child_for(slot, level, linear, rights, g, bill);
  }
  map(slot, leaf_value(g, target), g.gfn & ~low_mask(9 * (target - 1)));
  if (target == 1 && !pages_.page(id).role.direct && g.backing.kind == Backing::Kind::memory) fill_around(slot);
}

/// From the table that the slot of one of `level` refers to the hardware may walk the guest's own: the entry holds what the
/// guest's entries above grant.
bool ShadowSpace::hand_over(u32 slot, unsigned level, u8 rights, const Guided& g) {
  using F = LinearFormat;
  const u64 gfn = (g.entry[level] & F::kAddress) >> kPageShift;
  if (!nests(gfn)) return false;
  const Backing table = guest_.look(PhysAddr(gfn << kPageShift));
  if (table.kind != Backing::Kind::memory || !table.writable) return false;
  u64 v = F::kPresent | F::kAccessed | Nesting::kGuestsMark | table.address.value;
  if (rights & right::write) v |= F::kWrite;
  if (rights & right::user) v |= F::kUser;
  if (!(rights & right::execute)) v |= F::kNoExecute;
  if (pages_.entry(slot) != (v | kGuests)) {
    if (pages_.entry(slot)) clear(slot);
    pages_.link_guests(slot, v, gfn);
    work_ += options_.entry;
  }
  return true;
}

/// The page that the slot of a table of `level` refers to, made and linked where there is none or another.
u32 ShadowSpace::child_for(u32 slot, unsigned level, u64 linear, u8 rights, const Guided& g, Bill& bill) {
  Role r = r_->role;
  r.level = static_cast<u8>(level - 1);
  u64 gfn;
  if (level > g.leaf.level) {
    r.rights = rights;
    if (r_->mode == PagingMode::legacy32) r.quadrant = (linear >> 21) & 1;
    gfn = (g.entry[level] & LinearFormat::kAddress) >> kPageShift;
  } else {
    r.direct = true;
    r.rights = g.leaf.dirty ? g.leaf.rights : g.leaf.rights & static_cast<u8>(~right::write);
    r.dirty = g.leaf.dirty && r.waives;  // two leaves, one without D and none with W, may be of one frame
    r.global = g.global;
    r.key = g.leaf.protection_key;
    gfn = g.gfn & ~low_mask(9 * (level - 1));
  }
  if (pages_.entry(slot)) {
    if (!pages_.is_leaf(slot) && !(pages_.entry(slot) & kGuests)) {
      const ShadowPage& child = pages_.page(pages_.target(slot));
      if (child.gfn == gfn && child.role == r) return pages_.target(slot);
    }
    clear(slot);
  }
  const u32 child = get_page(gfn, r, bill);
  pages_.link(slot, child);
  work_ += options_.entry;
  return child;
}

/// The entry of a table of `level` that maps what the guest's tables and the backing say; a store needs D first, in the
/// guest's entry, and that no shadow depends on the frame.
u64 ShadowSpace::leaf_value(const Guided& g, unsigned level) const {
  using F = LinearFormat;
  const Backing& b = g.backing;
  const bool device = b.kind == Backing::Kind::device;
  u64 v = F::kPresent | F::kAccessed;
  v |= device ? kDevice | g.gfn << kPageShift : (b.address.value & ~low_mask(WideEntries::shift(level))) | pages_.mark();
  if (level > 1) v |= F::kPageSize;
  if (g.global) v |= F::kGlobal;
  v |= u64{g.leaf.protection_key} << 59;
  if (g.leaf.rights & right::user) v |= F::kUser;
  if (!(g.leaf.rights & right::execute)) v |= F::kNoExecute;
  const bool writable = device || (b.writable && (level > 1 || !pages_.traced(g.gfn)));
  if ((g.leaf.rights & right::write) && g.leaf.dirty && writable) v |= F::kWrite | F::kDirty;
  if (g.waived) {
    v |= F::kWrite | F::kDirty | kWaived;
    if ((v & F::kUser) && r_->rules.smep) v |= F::kNoExecute;
    v &= ~F::kUser;
  }
  return v;
}

void ShadowSpace::map(u32 slot, u64 value, u64 gfn) {
  work_ += options_.entry;
  if (pages_.entry(slot)) {
    if (pages_.is_leaf(slot) && pages_.target(slot) == gfn) return pages_.rewrite(slot, value);
    clear(slot);
  }
  pages_.map(slot, value, gfn);
}

/// The leaf that translates the address, kNone where the shadow is incomplete.
u32 ShadowSpace::leaf_slot(u64 linear) const {
  u32 id = root_page(linear);
  for (unsigned level = top_level(); id != kNone; --level) {
    const u32 slot = ShadowPages::slot(id, WideEntries::index(linear, level));
    if (!pages_.entry(slot) || (pages_.entry(slot) & kGuests)) return kNone;
    if (pages_.is_leaf(slot)) return slot;
    id = pages_.target(slot);
  }
  return kNone;
}

}  // namespace nestwalk::models::shadow
