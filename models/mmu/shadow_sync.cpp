// Keeping shadow entries and the guest's entries together: traced stores, entries filled ahead of their fault, and the
// synchronization of tables that the guest was allowed to write.
#include "models/mmu/shadow_space.h"

namespace nestwalk::models::shadow {

namespace {

/// Shadow entries per guest's entry at the page's level, and the guest's entries that it covers.
struct Extent {
  unsigned entry_bytes, first, count, each;
};
Extent extent_of(const Role& r) {
  if (r.mode != PagingMode::legacy32) return {8, 0, 512, 1};
  if (r.level == 1) return {4, r.quadrant * 512u, 512, 1};
  return {4, r.quadrant * 256u, 256, 2};
}

}  // namespace

u64 ShadowSpace::table_entry_address(const ShadowPage& p, u64 index, unsigned entry_bytes) const {
  return (p.gfn << kPageShift) + (extent_of(p.role).first + index) * entry_bytes;
}

// ---- stores to traced tables ----------------------------------------------------------------------------------------

bool ShadowSpace::is_flood(ShadowPage& p, unsigned offset, unsigned bytes) const {
  if (!options_.flood) return false;
  const unsigned size = extent_of(p.role).entry_bytes;
  const bool one = offset / size == (offset + bytes - 1) / size;
  if (!one && (offset % size || bytes % size)) return true;  // nobody writes entries so
  return ++p.writes >= options_.flood;
}

/// Bytes of the frame are about to change.
void ShadowSpace::table_written(u64 gfn, unsigned offset, unsigned bytes) {
  std::vector<u32>& tables = touched_;
  tables.clear();
  pages_.for_each_of(gfn, [&](u32 id) {
    if (!pages_.page(id).role.direct && !pages_.page(id).unsync) tables.push_back(id);
  });
  const bool nested = nesting_ && !tables.empty() && can_nest() && nesting_->written(gfn);
  for (const u32 id : tables) {
    ShadowPage& p = pages_.page(id);
    if (nested) {
      zap(id);
      continue;
    }
    if (is_flood(p, offset, bytes)) {
      zap(id);
      ++counts_->flooded;
      continue;
    }
    const Extent e = extent_of(p.role);
    for (unsigned n = offset / e.entry_bytes; n <= (offset + bytes - 1) / e.entry_bytes; ++n)
      if (n - e.first < e.count)
        for (unsigned k = 0; k < e.each; ++k)
          if (const u32 s = ShadowPages::slot(id, (n - e.first) * e.each + k); pages_.entry(s)) clear(s);
  }
}

/// The store that trapped has been carried out: lowest-level entries that it made are filled.
void ShadowSpace::fill_pending() {
  const Registers::Pending done = std::exchange(r_->pending, {});
  touched_.clear();
  pages_.for_each_of(done.gfn, [&](u32 id) {
    const ShadowPage& p = pages_.page(id);
    if (!p.role.direct && p.role.level == 1 && p.role.mode == r_->mode && p.role.nxe == r_->rules.nxe)
      touched_.push_back(id);
  });
  const Cycles work = work_;
  for (const u32 id : touched_) {
    const Extent e = extent_of(pages_.page(id).role);
    for (unsigned n = done.offset / e.entry_bytes; n <= (done.offset + done.bytes - 1) / e.entry_bytes; ++n)
      if (n - e.first < e.count && fill(id, n - e.first)) ++counts_->updated;
  }
  work_ = work;  // charged with the exit that announced it
}

// ---- filling ahead --------------------------------------------------------------------------------------------------

bool ShadowSpace::fill(u32 id, u64 index) {
  return with_format(pages_.page(id).role.mode, [&]<class F>() { return fill_from<F>(id, index); });
}

/// Fills an entry from the guest's if that is one that an access has used; nothing of it changes the guest.
template <class F>
bool ShadowSpace::fill_from(u32 id, u64 index) {
  const ShadowPage& p = pages_.page(id);
  const u32 slot = ShadowPages::slot(id, index);
  if (pages_.entry(slot)) return false;
  work_ += options_.sync;
  const Backing table = guest_.look(PhysAddr(table_entry_address(p, index, F::kEntryBytes)));
  if (table.kind != Backing::Kind::memory) return false;
  const u64 e = read_guest_entry(memory_, table, F::kEntryBytes);
  if (!F::present(e) || !(e & F::kAccessed) || F::malformed(e, 1, true, r_->rules)) return false;
  Guided g;
  g.leaf.rights = p.role.rights & F::grant(e);
  g.leaf.dirty = e & F::kDirty;
  g.leaf.protection_key = F::protection_key(e);
  g.global = e & F::kGlobal;
  g.gfn = F::frame(e, 1) >> kPageShift;
  g.backing = guest_.look(PhysAddr(F::frame(e, 1)));
  if (g.backing.kind != Backing::Kind::memory) return false;
  map(slot, leaf_value(g, 1), g.gfn);
  return true;
}

void ShadowSpace::fill_around(u32 slot) {
  const u64 group = options_.prefetch;
  if (group < 2) return;
  const u64 first = (slot & 511) / group * group;
  for (u64 n = first; n < first + group && n < 512; ++n)
    if (fill(ShadowPages::page_of(slot), n)) ++counts_->prefetched;
}

// ---- unsynchronized tables ------------------------------------------------------------------------------------------

/// Makes one entry what the guest's says now, or nothing. True: it was another.
template <class F>
bool ShadowSpace::sync_entry_from(u32 id, u64 index) {
  const ShadowPage& p = pages_.page(id);
  const u32 slot = ShadowPages::slot(id, index);
  const u64 old = pages_.entry(slot);
  if (!old) return false;
  const u64 e =
      read_guest_entry(memory_, guest_.look(PhysAddr(table_entry_address(p, index, F::kEntryBytes))), F::kEntryBytes);
  const bool usable = F::present(e) && (e & F::kAccessed) && !F::malformed(e, 1, true, r_->rules);
  if (!usable || (old & (kDevice | kWaived)) || F::frame(e, 1) >> kPageShift != pages_.target(slot)) {
    clear(slot);
    return true;
  }
  Guided g;
  g.leaf.rights = p.role.rights & F::grant(e);
  g.leaf.dirty = e & F::kDirty;
  g.leaf.protection_key = F::protection_key(e);
  g.global = e & F::kGlobal;
  g.gfn = pages_.target(slot);
  g.backing = guest_.look(PhysAddr(F::frame(e, 1)));
  const u64 now = leaf_value(g, 1);
  if (now == old) return false;
  pages_.rewrite(slot, now);
  return true;
}

bool ShadowSpace::sync_entry(u32 id, u64 index) {
  work_ += options_.sync;
  const bool changed = with_format(pages_.page(id).role.mode, [&]<class F>() { return sync_entry_from<F>(id, index); });
  counts_->synced_entries += changed;
  return changed;
}

void ShadowSpace::sync_page(u32 id) {
  ++counts_->syncs;
  for (u64 n = 0; n < 512; ++n) sync_entry(id, n);
}

/// Every table that the present root leads to is what the guest's is, and traced again.
void ShadowSpace::sync_reachable() {
  if (pages_.unsynced().empty()) return;
  touched_.clear();
  for (const u32 id : pages_.unsynced())
    if (reaches(id)) touched_.push_back(id);
  for (const u32 id : touched_) {
    pages_.set_synced(id);
    protect(pages_.page(id).gfn);
  }
  for (const u32 id : touched_) sync_page(id);
}

void ShadowSpace::sync_linear(u64 linear) {
  if (pages_.unsynced().empty()) return;
  const u32 slot = leaf_slot(linear);
  if (slot != kNone && pages_.page(ShadowPages::page_of(slot)).unsync) sync_entry(ShadowPages::page_of(slot), slot & 511);
}

void ShadowSpace::invalidate(const Invalidation& what) {
  switch (what.kind) {
    case Invalidation::Kind::page: return sync_linear(what.address.value);
    case Invalidation::Kind::pcid_page:
      if (what.pcid == pcid_of(r_->state)) sync_linear(what.address.value);
      return;
    case Invalidation::Kind::pcid:
      if (what.pcid == pcid_of(r_->state)) sync_reachable();
      return;
    default: return sync_reachable();
  }
}

}  // namespace nestwalk::models::shadow
