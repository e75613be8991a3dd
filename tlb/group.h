// One TLB of the hierarchy: a main array and those beside it, looked up in parallel. It knows which page sizes it takes,
// makes pieces of larger ones where told to, and counts what enters and leaves; who stands in front of it or behind it, it
// does not know.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/settings.h"
#include "sim/stats.h"
#include "tlb/array.h"
#include "tlb/entry.h"

namespace nestwalk::tlb {

enum class Inclusion : u8 { none, inclusive, exclusive };
enum class Tags : u8 { pcid, none };

inline constexpr unsigned kPageSizes = 4;
inline constexpr PageSize kAllSizes[kPageSizes] = {PageSize::k4K, PageSize::k2M, PageSize::k4M, PageSize::k1G};

/// The size's place in kAllSizes, from its shift (12, 21, 22, 30) without a branch.
constexpr unsigned number_of(PageSize s) { return shift_of(s) / 8 - 1 + (s >= PageSize::k4M); }
static_assert(number_of(PageSize::k4K) == 0 && number_of(PageSize::k2M) == 1 && number_of(PageSize::k4M) == 2 &&
              number_of(PageSize::k1G) == 3);
constexpr u64 pages_of(PageSize s) { return u64{1} << (shift_of(s) - kPageShift); }

/// Does a page of that size, whose first 4K page is `page`, contain the linear address?
constexpr bool covers(u64 page, PageSize size, u64 linear) {
  return ((linear >> kPageShift ^ page) >> (shift_of(size) - kPageShift)) == 0;
}

class Group {
 public:
  struct Bank {
    std::string name;
    bool takes[kPageSizes] = {};
    u32 place[kPageSizes] = {};  ///< in places_, of the sizes it takes
    Array<Entry> array;
  };
  /// Where an entry lives; valid until the group changes.
  struct Resident {
    Bank* bank = nullptr;
    u32 set = 0, way = 0;
    explicit operator bool() const { return bank != nullptr; }
    Entry& entry() const { return bank->array.at(set, way); }
  };

  Group(sim::Section section, u64 seed);

  const std::string& name() const { return name_; }
  unsigned level() const { return level_; }
  Cycles latency() const { return latency_; }
  Inclusion inclusion() const { return inclusion_; }
  bool tagged() const { return tags_ == Tags::pcid; }
  bool serves(Side side) const { return serves_[static_cast<unsigned>(side)]; }
  bool takes(PageSize size) const { return takes_[number_of(size)]; }
  const sim::Section& section() const { return section_; }
  std::vector<Bank>& banks() { return banks_; }
  const std::vector<Bank>& banks() const { return banks_; }

  Resident find(u64 linear, u16 pcid);
  void touch(const Resident& r, u64 now) { r.bank->array.touch(r.set, r.way, now); }
  /// The piece of an entry of a size that it does not take that it would hold: the one around `linear`, or none.
  std::optional<Entry> piece_of(const Entry& entry, u64 linear) const;
  /// Inserts an entry that fits and is not there; `displaced` is who had to go.
  Resident place(const Entry& entry, u64 now, Array<Entry>::Displaced& displaced);

  /// Each returns how many entries left; none of them counts as an eviction.
  void erase(const Resident& r);
  u64 erase_address(u64 linear, u16 pcid);                 ///< what `find` would find, repeatedly
  u64 erase_page(u64 linear, u16 pcid, bool with_global);  ///< INVLPG, with all pieces of a broken page
  u64 erase_overlapping(const Entry& entry);               ///< same context, any common address
  template <class Predicate>
  u64 erase_if(Predicate&& predicate);
  u64 erase_context(u16 context, u16 mask, bool with_global);  ///< whose context is equal where the mask is set

  void declare(sim::Stats& stats, const AccessCounts* const& counts);

  // Counted by the hierarchy.
  u64 lookups = 0, hits = 0;   ///< behind the first level
  u64 misses[2][kSides] = {};  ///< [user][side]
  u64 evictions = 0, flushes = 0, dropped = 0;

 private:
  /// Where an address is looked for: every bank of each size, smaller sizes first.
  struct Place {
    u32 residents = 0;
    u32 bank = 0;
    PageSize size = PageSize::k4K;
  };

  void read_bank(sim::Section section, std::string name, u64 seed);
  Bank& bank_for(PageSize size, u64 number);
  void forget(const Bank& bank, u64 tag, const Entry& entry);
  u64 lookups_of_first(const AccessCounts& counts) const;
  u64 all_misses() const;
  void build_places();
  Resident find_in(const Place& place, u64 linear, u64 context, u64 other);

  sim::Section section_;
  std::string name_;
  u32 level_ = 1;
  bool serves_[kSides] = {};
  bool takes_[kPageSizes] = {};
  Cycles latency_ = 1;
  Inclusion inclusion_ = Inclusion::none;
  Tags tags_ = Tags::pcid;
  bool smash_ = false;
  std::vector<Bank> banks_;
  std::vector<Place> places_;
  static constexpr u32 kSeveral = ~u32{0};
  u32 only_[kPageSizes] = {};  ///< the one bank that takes a size, or kSeveral
  u32 turn_ = 0;               ///< which of several banks of one size is filled next
  u64 pieces_ = 0;             ///< residents that are pieces of larger pages
  u64 fills_[kPageSizes] = {};
};

template <class Predicate>
u64 Group::erase_if(Predicate&& predicate) {
  u64 erased = 0;
  for (Bank& bank : banks_)
    bank.array.for_each([&](u32 set, u32 way) {
      if (!predicate(bank.array.at(set, way))) return;
      erase({&bank, set, way});
      ++erased;
    });
  return erased;
}

}  // namespace nestwalk::tlb
