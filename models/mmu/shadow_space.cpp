#include "models/mmu/shadow_space.h"

#include <algorithm>

namespace nestwalk::models::shadow {

void Options::declare(sim::Section s) {
  s.field("variant", variant, {{"strict", Variant::strict}, {"unsync", Variant::unsync}},
          "strict: every store to a guest's table traps; unsync: lowest-level tables may be written freely until the guest "
          "flushes, as in KVM");
  s.field("on_write", on_write, {{"zap", OnWrite::zap}, {"update", OnWrite::update}},
          "what a trapped store does to the entries it changes: forget them, or fill them from the new value");
  s.field("flood", flood, {0, 255, "stores"},
          "a traced table that is written so often without serving a fault is no longer shadowed; 0: it stays");
  declare_sizes(s);
}

void Options::declare_sizes(sim::Section s) {
  s.field("prefetch", prefetch, {0, 512, "entries"},
          "a hidden fault fills what it can of the aligned group of so many entries; 0 or 1: the faulting one only");
  s.field("memory", memory, {64 << 10, u64{1} << 36, "bytes"},
          "shadow tables of one virtual machine; beyond it the least recently used page is recycled");
  s.field("roots", roots, {0, 64, "roots"}, "former roots that are kept besides the present one");
  // A served exit is about 3000 cycles (Agesen et al., USENIX ATC 2012), most of which vmm.cost.* has; what varies with the
  // work is itemized here. Assumptions, in proportion to what each touches; INVVPID measures near 200.
  constexpr u64 most = 1'000'000;
  sim::Section cost = s.child("cost");
  cost.field("walk_read", walk_read, {0, most, "cycles"}, "reading or marking one entry of the guest's tables in software");
  cost.field("entry", entry, {0, most, "cycles"}, "making a shadow entry, with its place in the reverse map");
  cost.field("page", page, {0, most, "cycles"}, "allocating, clearing and hashing a shadow page");
  cost.field("zap", zap, {0, most, "cycles"}, "removing a shadow entry, or its write right");
  cost.field("sync", sync, {0, most, "cycles"}, "comparing one entry with the guest's");
  cost.field("root", root, {0, most, "cycles"}, "looking up a root that is not among the recent ones");
  cost.field("flush", flush, {0, most, "cycles"}, "INVVPID of one context");
}

bool leaves(const PagingState& a, const PagingState& b) {
  constexpr u64 kOwnedCr0 = cr0::pe | cr0::wp | cr0::nw | cr0::cd | cr0::pg;
  constexpr u64 kOwnedCr4 = cr4::pse | cr4::pae | cr4::pge | cr4::la57 | cr4::pcide | cr4::smep | cr4::smap | cr4::pke;
  return ((a.cr0 ^ b.cr0) & kOwnedCr0) || ((a.cr4 ^ b.cr4) & kOwnedCr4) || a.cr3 != b.cr3;
}

ShadowSpace::ShadowSpace(Guest& guest, MachineMemory& memory, const Options& options, Nesting* nesting)
    : guest_(guest),
      memory_(memory),
      options_(options),
      nesting_(nesting),
      pages_(guest, memory, nesting ? Nesting::kMark : 0) {}

ShadowSpace::Registers& ShadowSpace::registers(unsigned vcpu) {
  std::unique_ptr<Registers>& r = processors_[vcpu];
  if (!r) r = std::make_unique<Registers>();
  return *r;
}

// ---- roots ----------------------------------------------------------------------------------------------------------

Role ShadowSpace::base_role() const {
  Role r;
  r.mode = r_->mode;
  if (r_->mode == PagingMode::off) return r;
  r.nxe = r_->rules.nxe;
  r.pse = r_->rules.pse;
  r.waives = !r_->rules.write_protect;
  r.smep_waived = r.waives && r_->rules.smep;
  r.smap_waived = r.waives && guards_user_pages();
  return r;
}

unsigned ShadowSpace::top_level() const {
  return r_->mode == PagingMode::five_level ? 5 : r_->mode == PagingMode::four_level ? 4 : 2;
}

void ShadowSpace::set_paging(const PagingState& state, Bill& bill) {
  const Role before = r_->role;
  const bool first = r_->roots.empty();
  r_->state = state;
  r_->mode = mode_of(state);
  r_->rules = Rules::of(state);
  r_->role = base_role();
  if (!first && before != r_->role) flush_.here = true;

  Shadowed wanted;
  if (r_->mode != PagingMode::off) wanted.cr3 = state.cr3;
  if (r_->mode == PagingMode::pae) std::copy(state.pdpte, state.pdpte + 4, wanted.pdpte);
  wanted.role = r_->role;
  const auto same = [&](const Shadowed& s) {
    return s.cr3 == wanted.cr3 && std::equal(s.pdpte, s.pdpte + 4, wanted.pdpte) && s.role == wanted.role;
  };
  if (!first && same(r_->roots.front())) {
    restore_root(bill);  // another processor may have zapped it
    return point_hardware();
  }
  const auto known = std::find_if(r_->roots.begin(), r_->roots.end(), same);
  if (known != r_->roots.end()) {
    std::rotate(r_->roots.begin(), known, known + 1);
    ++counts_->roots_reused;
    for (const u32 id : r_->roots.front().page)
      if (id != kNone) pages_.use(id);
  } else {
    make_room(4);
    r_->roots.insert(r_->roots.begin(), wanted);
    load_root(bill);
    if (r_->roots.size() > options_.roots + 1) drop_root(*r_, r_->roots.size() - 1);
  }
  sync_reachable();
  point_hardware();
}

/// Finds or makes the top pages of the present root.
void ShadowSpace::load_root(Bill& bill) {
  r_->root_lost = false;
  ++counts_->roots_loaded;
  work_ += options_.root;
  Role r = r_->role;
  r.level = static_cast<u8>(top_level());
  const auto take = [&](unsigned n, u64 gfn) {
    const u32 id = get_page(gfn, r, bill);
    Shadowed& root = r_->roots.front();
    root.page[n] = id;
    ++pages_.page(id).pins;
  };
  const Shadowed wanted = r_->roots.front();
  switch (r_->mode) {
    case PagingMode::four_level:
    case PagingMode::five_level: {
      const u64 gfn = (wanted.cr3 & LinearFormat::kAddress) >> kPageShift;
      if (!nests(gfn)) return take(0, gfn);
      r_->roots.front().guests = guest_.back(PhysAddr(gfn << kPageShift), true, bill).address;
      return;
    }
    case PagingMode::pae:
      for (unsigned n = 0; n < 4; ++n)
        if (LinearFormat::present(wanted.pdpte[n])) take(n, (wanted.pdpte[n] & LinearFormat::kAddress) >> kPageShift);
      return;
    case PagingMode::legacy32:
      for (unsigned n = 0; n < 4; ++n) r.quadrant = static_cast<u8>(n), take(n, static_cast<u32>(wanted.cr3) >> kPageShift);
      return;
    case PagingMode::off:
      r.direct = true;
      for (unsigned n = 0; n < 4; ++n) take(n, u64{n} << 18);
      return;
  }
}

void ShadowSpace::drop_root(Registers& of, std::size_t n) {
  for (const u32 id : of.roots[n].page)
    if (id != kNone) --pages_.page(id).pins;
  of.roots.erase(of.roots.begin() + static_cast<std::ptrdiff_t>(n));
}

/// The root that a processor's hardware is set to.
void ShadowSpace::lose_root(Registers& of) {
  for (u32& page : of.roots.front().page)
    if (page != kNone) --pages_.page(std::exchange(page, kNone)).pins;
  of.root_lost = true;
}

void ShadowSpace::point_hardware() {
  const Shadowed& root = r_->roots.front();
  const bool paged = r_->mode != PagingMode::off, wide = top_level() > 2;
  PagingState h;
  h.cr0 = cr0::pe | cr0::pg | cr0::wp;
  h.cr4 = cr4::pae;
  if (paged) h.cr4 |= r_->state.cr4 & (cr4::pge | cr4::smep | cr4::smap);
  h.efer = efer::nxe;
  h.ac = r_->state.ac;
  h.physical_width = kHardwareWidth;
  h.gigabyte_pages = r_->state.gigabyte_pages;
  if (wide) {
    h.cr4 |= r_->state.cr4 & (cr4::pcide | cr4::la57 | cr4::pke);
    h.pkru = r_->state.pkru;
    h.efer |= efer::lme | efer::lma;
    const bool guests = root.page[0] == kNone;
    h.cr3 = guests ? root.guests.value | Nesting::kGuestsMark : pages_.page(root.page[0]).frame.value | pages_.mark();
    h.cr3 |= pcid_of(r_->state);
  } else {
    for (unsigned n = 0; n < 4; ++n)
      if (root.page[n] != kNone)
        h.pdpte[n] = pages_.page(root.page[n]).frame.value | pages_.mark() | LinearFormat::kPresent;
  }
  r_->hardware = h;
}

u32 ShadowSpace::root_page(u64 linear) const { return r_->roots.front().page[top_level() > 2 ? 0 : (linear >> 30) & 3]; }

/// Whether the present root leads to the page.
bool ShadowSpace::reaches(u32 id) const {
  const Shadowed& root = r_->roots.front();
  if (std::find(root.page, root.page + 4, id) != root.page + 4) return true;
  const ShadowPage& p = pages_.page(id);
  for (u32 s = p.parents; s != kNone; s = pages_.page(s >> 9).next[s & 511])
    if (reaches(ShadowPages::page_of(s))) return true;
  return false;
}

// ---- pages ----------------------------------------------------------------------------------------------------------

void ShadowSpace::clear(u32 slot) {
  // The guest's own flush need not reach what hangs below an upper entry, or all the pieces of a larger page.
  if (pages_.page(ShadowPages::page_of(slot)).role.level > 1 || pages_.page(ShadowPages::page_of(slot)).role.direct)
    flush_everywhere();
  pages_.clear(slot);
  work_ += options_.zap;
}

void ShadowSpace::zap(u32 id) {
  if (pages_.page(id).pins)
    for_each_processor([&](Registers& of) {
      for (std::size_t n = of.roots.size(); n-- > 0;) {
        if (std::find(of.roots[n].page, of.roots[n].page + 4, id) == of.roots[n].page + 4) continue;
        n ? drop_root(of, n) : lose_root(of);
      }
    });
  work_ += options_.zap * pages_.page(id).present;
  pages_.zap(id);
  flush_everywhere();
}

/// Whether the hardware of some processor is set to it.
bool ShadowSpace::is_in_use(u32 id) const {
  for (const auto& [vcpu, of] : processors_) {
    if (of->roots.empty()) continue;
    const auto& page = of->roots.front().page;
    if (std::find(page, page + 4, id) != page + 4) return true;
  }
  return false;
}

/// Recycles until so many pages may be made; the roots in use stay.
void ShadowSpace::make_room(u64 wanted) {
  const u64 limit = options_.memory >> kPageShift;
  for (u32 id = pages_.oldest(); id != kNone && pages_.live() + wanted > limit;) {
    const u32 after = pages_.newer_than(id);
    if (!is_in_use(id)) {
      zap(id);
      ++counts_->recycled;
    }
    id = after;
  }
}

u32 ShadowSpace::get_page(u64 gfn, const Role& role, Bill& bill) {
  u32 id = pages_.find(gfn, role);
  if (id != kNone) {
    pages_.use(id);
    pages_.page(id).writes = 0;
    if (pages_.page(id).unsync) sync_page(id);
    return id;
  }
  id = pages_.make(gfn, role);
  work_ += options_.page;
  if (role.direct) return id;
  if (role.level > 1) {
    // What was a lowest-level table has become an upper one, which is never left unsynchronized.
    touched_.clear();
    pages_.for_each_of(gfn, [&](u32 other) {
      if (pages_.page(other).unsync) touched_.push_back(other);
    });
    for (const u32 other : touched_) zap(other);
  }
  protect(gfn);
  return id;
}

void ShadowSpace::protect(u64 gfn) {
  if (nesting_ && nesting_->protect(gfn)) flush_everywhere();
  const unsigned n = pages_.protect(gfn);
  work_ += options_.zap * n;
  if (n) flush_everywhere();
}

// ---- agile paging ---------------------------------------------------------------------------------------------------

void ShadowSpace::unshadow(u64 gfn, Bill& bill) {
  touched_.clear();
  pages_.for_each_of(gfn, [&](u32 id) {
    if (!pages_.page(id).role.direct) touched_.push_back(id);
  });
  for (const u32 id : touched_) zap(id);
  flush_everywhere();
  restore_root(bill);
}

void ShadowSpace::reshadow(u64 gfn, Bill& bill) {
  work_ += options_.zap * pages_.drop_guests_links(gfn);
  flush_everywhere();
  // Roots that had no page of their own.
  for_each_processor([&](Registers& of) {
    for (std::size_t n = of.roots.size(); n-- > 0;) {
      if (of.roots[n].guests == MachineAddr() || of.roots[n].cr3 >> kPageShift != gfn) continue;
      n ? drop_root(of, n) : lose_root(of);
    }
  });
  if (r_->root_lost) make_room(1), restore_root(bill);
}

Backing ShadowSpace::untraced(PhysAddr address, Backing b) const {
  const u64 gfn = address.value >> kPageShift;
  if (pages_.traced(gfn)) b.writable = false;
  if (b.size >= PageSize::k1G && pages_.tables_within(gfn, 3)) b.size = PageSize::k2M;
  if (b.size >= PageSize::k2M && pages_.tables_within(gfn, 2)) b.size = PageSize::k4K;
  return b;
}

bool ShadowSpace::knows_root(u64 cr3) const {
  return std::any_of(r_->roots.begin(), r_->roots.end(),
                     [&](const Shadowed& s) { return s.cr3 == cr3 && s.role == r_->role; });
}

void ShadowSpace::forget(PhysAddr first, u64 bytes, Bill& bill) {
  for (const u64 gfn : pages_.known_within(first.value >> kPageShift, (bytes + kPageMask) >> kPageShift)) {
    work_ += options_.zap * (pages_.drop(gfn) + pages_.drop_guests_links(gfn));
    touched_.clear();
    pages_.for_each_of(gfn, [&](u32 id) { touched_.push_back(id); });
    for (const u32 id : touched_) zap(id);
  }
  flush_everywhere();
  // Roots of the guest's own are held by their machine addresses.
  for_each_processor([&](Registers& of) {
    of.pending = {};
    for (std::size_t n = of.roots.size(); n-- > 0;) {
      if (of.roots[n].guests == MachineAddr() || of.roots[n].cr3 - first.value >= bytes) continue;
      n ? drop_root(of, n) : lose_root(of);
    }
  });
  restore_root(bill);
}

}  // namespace nestwalk::models::shadow
