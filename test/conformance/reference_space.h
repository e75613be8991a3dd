// Two address spaces as a table of attributes, the tables that say the same in memory, and what the SDM makes of an access
// to them (vol. 3, 4.6 and 4.7), worked out from the attributes without walking anything. Every change of an attribute
// comes with the invalidations that the SDM demands (4.10.4.2, 4.10.4.3), so a model that conforms gives these answers,
// whatever it caches.
#pragma once

#include <optional>

#include "base/random.h"
#include "mmu/port.h"
#include "test/mmu/tables.h"

namespace nestwalk::test {

/// What an entry grants. Of a region: of the page-directory entry.
struct Attributes {
  bool present = true, write = true, user = true, nx = false, global = false, reserved = false;
  u64 frame = 0;
};

struct Answer {
  Fault fault;
  u64 physical = 0;
};

/// Regions 0 to 5 belong to each space, 6 and 7 to both and may be global; a region is one entry of the page directory: a
/// large page, or 16 pages of 4K, its first 15 and its last. In 64-bit formats half of them lie in the upper half of the
/// addresses.
template <class F>
class ReferenceSpace {
 public:
  static constexpr bool kWide = F::kEntryBytes == 8, kLong = F::kLevels >= 4;
  static constexpr unsigned kRegions = 8, kShared = 6, kPages = 16;
  static constexpr u64 kRegionBytes = u64{1} << F::shift(2);

  ReferenceSpace(PhysicalMemory& memory, Port& port, u64 seed)
      : port_(port), random_(seed), tables_{Tables<F>(memory, 0, 0x100000), Tables<F>(memory, 0, 0x800000)} {
    state_.cr0 = cr0::pe | cr0::wp | cr0::pg;
    state_.cr4 = cr4::pge | (kWide ? cr4::pae : cr4::pse) | (F::kLevels == 5 ? cr4::la57 : 0) | (kLong ? cr4::pcide : 0);
    state_.efer = (kLong ? efer::lme | efer::lma : 0) | (kWide ? efer::nxe : 0);
    for (unsigned space = 0; space < 2; ++space)
      for (unsigned region = 0; region < kRegions; ++region) draw_region(space, region);
    enter(0);
  }

  unsigned current() const { return current_; }
  const PagingState& state() const { return state_; }
  bool user() const { return user_; }

  /// An address of some page that is mentioned, or, seldom, of none.
  u64 draw_address() {
    if (kLong && random_.below(200) == 0) return (u64{1} << (F::kLevels == 5 ? 56 : 47)) + random_.below(1 << 20);
    const u64 region = base_of(static_cast<unsigned>(random_.below(kRegions)));
    const u64 page = random_.below(kPages + 1);
    const u64 at = page == kPages ? random_.below(kRegionBytes / kPageBytes) : index_of(static_cast<unsigned>(page));
    const u64 offset = random_.below(8) ? random_.below(kPageBytes) : kPageBytes - 1 - random_.below(7);
    return region + at * kPageBytes + offset;
  }

  /// What an access to one page meets at present.
  Answer answer(u64 linear, Access access) const {
    if (kLong && !is_canonical(linear, F::kLevels == 5 ? 57 : 48)) return {{Fault::Kind::non_canonical, 0, linear}, 0};
    const auto fault = [&](u32 error) -> Answer {
      if (access.side == Side::store) error |= pf::write;
      if (access.user) error |= pf::user;
      if (access.side == Side::fetch && (state_.cr4 & cr4::smep || kWide)) error |= pf::fetch;
      return {{Fault::Kind::page_fault, error, linear}, 0};
    };
    const Region* r = find(linear);
    if (!r || !r->entry.present) return fault(0);
    if (r->entry.reserved) return fault(pf::present | pf::reserved);
    Attributes all = r->entry;
    u64 offset = linear % kRegionBytes;
    if (!r->large) {
      const std::optional<unsigned> page = page_of(offset / kPageBytes);
      if (!page || !r->pages[*page].present) return fault(0);
      const Attributes& p = r->pages[*page];
      if (p.reserved) return fault(pf::present | pf::reserved);
      all.write &= p.write, all.user &= p.user, all.nx |= p.nx, all.frame = p.frame;
      offset %= kPageBytes;
    }
    if (!allowed(all, access)) return fault(pf::present);
    return {{}, all.frame + offset};
  }

  /// The leaf entry in memory. A global page may have been walked to in either space's tables: both entries' flags.
  u64 leaf(u64 linear) const {
    const Region& r = *find(linear);
    const unsigned level = r.large ? 2 : 1;
    const bool global = r.large ? r.entry.global : r.pages[*page_of(linear % kRegionBytes / kPageBytes)].global;
    return tables_[current_].entry(linear, level) | (global ? tables_[1 - current_].entry(linear, level) : 0);
  }

  // ---- changes
  // ------------------------------------------------------------------------------------------------------------
  /// What a guest does between accesses: mostly it changes a page.
  void change_something() {
    const u64 what = random_.below(16);
    if (what < 7)
      change_page();
    else if (what < 9)
      change_region();
    else if (what < 11)
      switch_space();
    else if (what < 12)
      change_controls();
    else if (what < 15)
      change_privilege();
    else
      flush_something();
  }
  void change_page() {
    const unsigned region = static_cast<unsigned>(random_.below(kRegions)), space = region < kShared ? some_space() : 0;
    Region& r = regions_[space][region];
    if (r.large) return;
    const unsigned page = static_cast<unsigned>(random_.below(kPages));
    Attributes& a = r.pages[page];
    const bool grows = random_.below(3) == 0 && !a.reserved;
    if (grows)
      a.present = a.write = true, a.nx = false;  // needs no invalidation
    else
      a = draw_attributes(region, kPageBytes);
    const u64 linear = base_of(region) + index_of(page) * kPageBytes;
    write(space, region, [&](Tables<F>& t) {
      const u64 kept = grows ? t.entry(linear, 1) & (LinearFormat::kAccessed | LinearFormat::kDirty) : 0;
      t.set_entry(linear, 1, bits_of(a, 1) | kept);
    });
    if (!grows) forget_page(space, region, linear);
  }
  void change_region() {
    const unsigned region = static_cast<unsigned>(random_.below(kRegions)), space = region < kShared ? some_space() : 0;
    draw_region(space, region);
    if (region >= kShared)
      port_.invalidate({Invalidation::Kind::all, LinearAddr(0), 0});
    else if (kLong || space == current_)
      port_.invalidate({Invalidation::Kind::pcid, LinearAddr(0), pcid(space)});
  }
  /// The other space: with PCIDs its entries may be kept.
  void switch_space() {
    enter(1 - current_);
    if (!kLong || random_.below(2)) port_.invalidate({Invalidation::Kind::pcid, LinearAddr(0), pcid(current_)});
  }
  void change_controls() {
    switch (random_.below(5)) {
      case 0: state_.cr0 ^= cr0::wp; break;
      case 1: state_.cr4 ^= cr4::smep; break;
      case 2: state_.cr4 ^= cr4::smap; break;
      case 3: state_.cr4 ^= cr4::pge; break;
      default: break;
    }
    port_.set_paging(state_);
    port_.invalidate({Invalidation::Kind::all, LinearAddr(0), 0});
  }
  void change_privilege() {
    user_ = random_.below(2);
    state_.ac = random_.below(2);
    port_.set_privilege(user_, state_.ac);
  }
  void flush_something() {
    const Invalidation::Kind kinds[] = {Invalidation::Kind::page, Invalidation::Kind::pcid_page, Invalidation::Kind::pcid,
                                        Invalidation::Kind::non_global, Invalidation::Kind::all};
    port_.invalidate({kinds[random_.below(5)], LinearAddr(draw_address()), pcid(some_space())});
  }

 private:
  struct Region {
    bool large = false;
    Attributes entry;
    Attributes pages[kPages];
  };

  unsigned some_space() { return static_cast<unsigned>(random_.below(2)); }
  u16 pcid(unsigned space) const { return kLong ? static_cast<u16>(space + 1) : u16{0}; }
  static u64 base_of(unsigned region) {
    const u64 upper = F::kLevels == 5 ? 0xff00'0000'0000'0000 : 0xffff'8000'0000'0000;
    return (kLong && region % 2 ? upper : 0x4000'0000) + region * kRegionBytes;
  }
  static u64 index_of(unsigned page) { return page + 1 < kPages ? page : kRegionBytes / kPageBytes - 1; }
  static std::optional<unsigned> page_of(u64 index) {
    for (unsigned page = 0; page < kPages; ++page)
      if (index_of(page) == index) return page;
    return std::nullopt;
  }
  const Region* find(u64 linear) const {
    for (unsigned region = 0; region < kRegions; ++region)
      if (linear - base_of(region) < kRegionBytes) return &regions_[region < kShared ? current_ : 0][region];
    return nullptr;
  }

  bool allowed(const Attributes& a, Access access) const {
    const bool wp = state_.cr0 & cr0::wp, smep = state_.cr4 & cr4::smep, smap = state_.cr4 & cr4::smap;
    const bool store = access.side == Side::store, fetch = access.side == Side::fetch;
    if (fetch && a.nx) return false;
    if (access.user) return a.user && (a.write || !store);
    if (fetch) return !(smep && a.user);
    if (smap && a.user && (access.implicit || !state_.ac)) return false;
    return a.write || !store || !wp;
  }

  Attributes draw_attributes(unsigned region, u64 bytes) {
    Attributes a;
    a.present = random_.below(8);
    a.write = random_.below(3);
    a.user = random_.below(2);
    a.nx = kWide && random_.below(4) == 0;
    a.global = region >= kShared && random_.below(2);
    a.reserved = kWide && random_.below(16) == 0;
    a.frame = 0x1000000 + random_.below(0x3000000 / bytes) * bytes;
    return a;
  }
  static u64 bits_of(const Attributes& a, unsigned level) {
    return a.frame | (a.present ? 1 : 0) | (a.write ? 2 : 0) | (a.user ? 4 : 0) | (a.global ? 0x100 : 0) |
           (a.nx ? u64{1} << 63 : 0) | (a.reserved ? u64{1} << 51 : 0) | (level > 1 ? 0x80 : 0);
  }
  /// Applies `f` to the tables of the space, of both where the region is shared.
  template <class Function>
  void write(unsigned space, unsigned region, Function&& f) {
    f(tables_[space]);
    if (region >= kShared) f(tables_[1]);
  }
  void draw_region(unsigned space, unsigned region) {
    if (region >= kShared) space = 0;
    Region& r = regions_[space][region];
    r.large = random_.below(3) == 0;
    r.entry = draw_attributes(region, kRegionBytes);
    if (!r.large) r.entry.global = false;
    for (Attributes& page : r.pages) page = draw_attributes(region, kPageBytes);
    write(space, region, [&](Tables<F>& t) {
      const u64 base = base_of(region);
      t.map(base, r.entry.frame, 0, 2);  // makes the tables above
      if (r.large) return t.set_entry(base, 2, bits_of(r.entry, 2));
      u64& table = page_tables_[&t - tables_][region];
      if (!table) table = 0x600000 + 0x1000 * (static_cast<u64>(&t - tables_) * kRegions + region);
      for (u64 i = 0; i < kPageBytes; i += F::kEntryBytes) t.put(table + i, 0);
      Attributes entry = r.entry;
      entry.frame = table;
      t.set_entry(base, 2, bits_of(entry, 1));
      for (unsigned page = 0; page < kPages; ++page)
        t.put(table + F::index(base + index_of(page) * kPageBytes, 1) * F::kEntryBytes, bits_of(r.pages[page], 1));
    });
  }
  void forget_page(unsigned space, unsigned region, u64 linear) {
    const Invalidation here{Invalidation::Kind::page, LinearAddr(linear), pcid(current_)};
    const unsigned other = 1 - current_;
    const Invalidation there{Invalidation::Kind::pcid_page, LinearAddr(linear), pcid(other)};
    if (region >= kShared || space == current_) port_.invalidate(here);
    if (kLong && (region >= kShared || space == other)) port_.invalidate(there);
  }
  void enter(unsigned space) {
    current_ = space;
    const u64 root = tables_[space].root();
    state_.cr3 = root | pcid(space);
    if (!kLong) state_.cr3 = root;
    state_.pdpte[1] = root | 1;  // PAE: the second gigabyte, the others are not there
    port_.set_paging(state_);
  }

  Port& port_;
  Random random_;
  Tables<F> tables_[2];
  u64 page_tables_[2][kRegions] = {};
  Region regions_[2][kRegions];
  PagingState state_;
  unsigned current_ = 0;
  bool user_ = false;
};

}  // namespace nestwalk::test
