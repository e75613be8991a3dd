#include "models/mmu/shadow_pages.h"

#include <algorithm>
#include <string>

namespace nestwalk::models::shadow {

namespace {
/// What a link grants: everything, for the leaf says what the whole walk grants.
constexpr u64 kLink = LinearFormat::kPresent | LinearFormat::kWrite | LinearFormat::kUser | LinearFormat::kAccessed;
}  // namespace

void Counts::declare(sim::Stats& stats) const {
  const auto row = [&](const char* name, const u64& value, const char* unit, const char* text) {
    stats.counter(std::string("shadow.") + name, value, unit, text);
  };
  row("pages_made", pages_made, "pages", "shadow pages made");
  row("pages_zapped", pages_zapped, "pages", "shadow pages freed again");
  row("entries_made", entries_made, "entries", "shadow entries made, leaves and links");
  row("entries_zapped", entries_zapped, "entries", "shadow entries removed");
  row("prefetched", prefetched, "entries", "leaves made ahead of their fault");
  row("updated", updated, "entries", "leaves made from what a trapped store wrote");
  row("traces", traces, "frames", "times that a frame became write-protected because it holds a guest's table");
  row("protected_entries", protected_entries, "entries", "leaves that lost their write right by it");
  row("unsyncs", unsyncs, "pages", "lowest-level tables whose stores no longer trap until the guest flushes");
  row("syncs", syncs, "pages", "tables compared with the guest's, entry by entry");
  row("synced_entries", synced_entries, "entries", "entries that differed");
  row("flooded", flooded, "pages", "shadow pages given up because the guest uses its table for something else");
  row("recycled", recycled, "pages", "shadow pages given up for want of shadow memory");
  row("roots_loaded", roots_loaded, "roots", "address spaces whose root was not among the recent ones");
  row("roots_reused", roots_reused, "roots", "address spaces whose root was");
  row("flushes", flushes, "flushes", "flushes of all that a VPID has cached, by the hypervisor");
  row("mmio_cached", mmio_cached, "entries", "entries made that name a device register");
  row("mmio_hits", mmio_hits, "accesses", "device accesses found by such an entry, without a walk of the guest's tables");
  row("waived_stores", waived_stores, "stores", "carried out by the hypervisor for CR0.WP = 0 under SMAP");
}

u32 ShadowPages::find(u64 gfn, const Role& role) const {
  const auto it = frames_.find(gfn);
  if (it == frames_.end()) return kNone;
  u32 id = it->second.pages;
  while (id != kNone && pages_[id]->role != role) id = pages_[id]->same_gfn;
  return id;
}

u32 ShadowPages::make(u64 gfn, const Role& role) {
  const MachineAddr frame = guest_.take_frame();
  u32 id;
  if (free_.empty()) {
    id = static_cast<u32>(pages_.size());
    pages_.push_back(std::make_unique<ShadowPage>());
  } else {
    id = free_.back();
    free_.pop_back();
  }
  ShadowPage& p = *pages_[id];
  p.gfn = gfn;
  p.role = role;
  p.frame = frame;
  p.entries = reinterpret_cast<u64*>(memory_.host(frame));
  p.parents = kNone;
  p.present = p.pins = 0;
  p.writes = 0;
  p.unsync = false;
  Frame& f = frames_[gfn];
  p.same_gfn = f.pages;
  f.pages = id;
  if (!role.direct) count_table(gfn, f, p, 1);
  link_newest(id);
  ++live_;
  ++counts_->pages_made;
  return id;
}

void ShadowPages::zap(u32 id) {
  ShadowPage& p = *pages_[id];
  for (u32 i = 0; i < 512 && p.present; ++i)
    if (p.entries[i]) clear(slot(id, i));
  while (p.parents != kNone) clear(p.parents);
  if (p.unsync) set_synced(id);
  Frame& f = frames_.at(p.gfn);
  u32* at = &f.pages;
  while (*at != id) at = &pages_[*at]->same_gfn;
  *at = p.same_gfn;
  if (!p.role.direct) count_table(p.gfn, f, p, -1);
  forget_if_idle(p.gfn, 1);
  unlink_by_age(p);
  guest_.give_frame(p.frame);
  p.entries = nullptr;
  free_.push_back(id);
  --live_;
  ++counts_->pages_zapped;
}

void ShadowPages::count_table(u64 gfn, Frame& f, const ShadowPage& p, int by) {
  const bool had = f.tables;
  f.tables += static_cast<u32>(by);
  (p.role.level > 1 ? f.upper : f.synced) += static_cast<u32>(by);
  if (had == (f.tables != 0)) return;
  for (unsigned level = 2; level <= 3; ++level) {
    const u64 key = gfn >> 9 * (level - 1);
    regions_[level - 2][key].tables += static_cast<u32>(by);
    forget_if_idle(gfn, level);
  }
}

// ---- age ------------------------------------------------------------------------------------------------------------

void ShadowPages::link_newest(u32 id) {
  ShadowPage& p = *pages_[id];
  p.newer = kNone;
  p.older = newest_;
  (newest_ == kNone ? oldest_ : pages_[newest_]->newer) = id;
  newest_ = id;
}

void ShadowPages::unlink_by_age(ShadowPage& p) {
  (p.newer == kNone ? newest_ : pages_[p.newer]->older) = p.older;
  (p.older == kNone ? oldest_ : pages_[p.older]->newer) = p.newer;
}

void ShadowPages::use(u32 id) {
  if (id == newest_) return;
  unlink_by_age(*pages_[id]);
  link_newest(id);
}

// ---- entries --------------------------------------------------------------------------------------------------------

void ShadowPages::enchain(u32& head, u32 s) {
  next(s) = head;
  prev(s) = kNone;
  if (head != kNone) prev(head) = s;
  head = s;
}

void ShadowPages::dechain(u32& head, u32 s) {
  const u32 after = next(s), before = prev(s);
  if (after != kNone) prev(after) = before;
  (before == kNone ? head : next(before)) = after;
}

u32& ShadowPages::mapped(u64 gfn, unsigned level) {
  return level == 1 ? frames_[gfn].mapped : regions_[level - 2][gfn >> 9 * (level - 1)].mapped;
}

void ShadowPages::forget_if_idle(u64 gfn, unsigned level) {
  if (level == 1) {
    if (const auto it = frames_.find(gfn); it != frames_.end() && it->second.idle()) frames_.erase(it);
  } else {
    auto& regions = regions_[level - 2];
    if (const auto it = regions.find(gfn >> 9 * (level - 1)); it != regions.end() && it->second.idle()) regions.erase(it);
  }
}

void ShadowPages::map(u32 s, u64 value, u64 gfn) {
  ShadowPage& p = *pages_[page_of(s)];
  p.entries[s & 511] = value;
  p.target[s & 511] = static_cast<u32>(gfn);
  ++p.present;
  ++counts_->entries_made;
  enchain(mapped(gfn, p.role.level), s);
}

void ShadowPages::link(u32 s, u32 child) {
  ShadowPage& p = *pages_[page_of(s)];
  p.entries[s & 511] = pages_[child]->frame.value | mark_ | kLink;
  p.target[s & 511] = child;
  ++p.present;
  ++counts_->entries_made;
  enchain(pages_[child]->parents, s);
}

void ShadowPages::link_guests(u32 s, u64 value, u64 gfn) {
  ShadowPage& p = *pages_[page_of(s)];
  p.entries[s & 511] = value | kGuests;
  p.target[s & 511] = static_cast<u32>(gfn);
  ++p.present;
  ++counts_->entries_made;
  enchain(frames_[gfn].guests, s);
}

void ShadowPages::clear(u32 s) {
  ShadowPage& p = *pages_[page_of(s)];
  const u32 target = p.target[s & 511];
  if (entry(s) & kGuests) {
    dechain(frames_.at(target).guests, s);
    forget_if_idle(target, 1);
  } else if (is_leaf(s)) {
    dechain(mapped(target, p.role.level), s);
    forget_if_idle(target, p.role.level);
  } else {
    dechain(pages_[target]->parents, s);
  }
  p.entries[s & 511] = 0;
  --p.present;
  ++counts_->entries_zapped;
}

// ---- frames ---------------------------------------------------------------------------------------------------------

/// `f` may clear the slot it is given.
template <class Function>
void ShadowPages::for_each_mapping(u64 gfn, Function&& f) {
  for (unsigned level = 1; level <= 3; ++level) {
    u32 s = kNone;
    if (level == 1) {
      if (const auto it = frames_.find(gfn); it != frames_.end()) s = it->second.mapped;
    } else {
      const auto& regions = regions_[level - 2];
      if (const auto it = regions.find(gfn >> 9 * (level - 1)); it != regions.end()) s = it->second.mapped;
    }
    for (u32 after; s != kNone; s = after) after = next(s), f(s);
  }
}

unsigned ShadowPages::protect(u64 gfn) {
  unsigned found = 0;
  for_each_mapping(gfn, [&](u32 s) {
    const u64 value = entry(s);
    if (!(value & LinearFormat::kWrite) || (value & kDevice)) return;
    rewrite(s, value & ~(LinearFormat::kWrite | LinearFormat::kDirty));
    ++found;
  });
  counts_->traces += found != 0;
  counts_->protected_entries += found;
  return found;
}

unsigned ShadowPages::drop_guests_links(u64 gfn) {
  unsigned found = 0;
  for (auto it = frames_.find(gfn); it != frames_.end() && it->second.guests != kNone; it = frames_.find(gfn))
    clear(it->second.guests), ++found;
  return found;
}

unsigned ShadowPages::drop(u64 gfn) {
  unsigned found = 0;
  for_each_mapping(gfn, [&](u32 s) { clear(s), ++found; });
  return found;
}

void ShadowPages::set_unsync(u32 id) {
  ShadowPage& p = *pages_[id];
  p.unsync = true;
  --frames_.at(p.gfn).synced;
  unsynced_.push_back(id);
}

void ShadowPages::set_synced(u32 id) {
  ShadowPage& p = *pages_[id];
  p.unsync = false;
  ++frames_.at(p.gfn).synced;
  std::erase(unsynced_, id);
}

std::vector<u64> ShadowPages::known_within(u64 first, u64 count) const {
  std::vector<u64> known;
  const auto within = [&](u64 gfn) { return gfn - first < count; };
  if (count <= frames_.size()) {
    for (u64 gfn = first; gfn - first < count; ++gfn)
      if (frames_.contains(gfn)) known.push_back(gfn);
  } else {
    for (const auto& [gfn, frame] : frames_)
      if (within(gfn)) known.push_back(gfn);
    std::sort(known.begin(), known.end());
  }
  // A large leaf is found by any frame in it.
  for (unsigned level = 2; level <= 3; ++level) {
    const unsigned shift = 9 * (level - 1);
    for (const auto& [key, region] : regions_[level - 2]) {
      const u64 begin = key << shift, end = begin + (u64{1} << shift);
      if (region.mapped != kNone && begin < first + count && first < end) known.push_back(std::max(begin, first));
    }
  }
  return known;
}

}  // namespace nestwalk::models::shadow
