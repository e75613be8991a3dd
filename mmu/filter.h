// The L0 filter: what a core may retire without asking the model, because the answer and the model's state afterwards are
// already known (docs/design.md, "The L0 filter is exact, or it is off"). One small direct-mapped array per side; an entry
// covers a page, or a line where data caches are modelled, in one context (PCID x privilege x the control bits that
// decide rights). Entries hang on the TLB entry and cache line they stand for and leave with them.
#pragma once

#include <array>
#include <vector>

#include "base/bits.h"
#include "mmu/access.h"
#include "tlb/touch.h"

namespace nestwalk::mmu {

class Filter {
 public:
  static constexpr unsigned kEntries = 1024;
  static constexpr u64 kNoKey = ~u64{0};
  static constexpr u32 kNoHandle = ~u32{0};

  struct alignas(64) Entry {
    u64 key = kNoKey;  ///< linear address of the page or line, context in the low bits
    u64 addend = 0;    ///< host address - linear address
    tlb::Touch tlb;
    tlb::Touch cache;
  };
  static_assert(sizeof(Entry) == 64);

  /// Privilege variants of one context (explicit user, explicit supervisor, supervisor with EFLAGS.AC under SMAP).
  enum Variant : u64 { user = 0, supervisor = 1, supervisor_ac = 2 };

  explicit Filter(unsigned grain_shift);

  bool enabled = true;
  unsigned grain_shift() const { return shift_; }
  bool by_line() const { return shift_ != kPageShift; }

  NW_INLINE Entry& at(Side side, u64 linear) {
    return table_[static_cast<unsigned>(side)][(linear >> shift_) & (kEntries - 1)];
  }
  NW_INLINE Entry& at_page(Side side, u64 linear) {
    return table_[static_cast<unsigned>(side)][(linear >> kPageShift) & (kEntries - 1)];
  }
  /// The key under which `last` (the access's last byte, so that a crossing access never hits) would be found.
  NW_INLINE u64 key(u64 last, u64 context) const { return (last & mask_) | context; }

  /// Context numbers of a paging state: base + Variant. Drops everything when the numbers run out.
  u64 context_of(const PagingState& state);

  void fill(Side side, u64 linear, u64 context, u8* host, const tlb::Touch& tlb, u32 tlb_handle, const tlb::Touch& cache,
            u32 cache_handle);
  void drop_all();
  void drop_side(Side side);

  /// The two kinds of owners tell through these.
  struct Owners : tlb::ResidentListener {
    Filter* filter = nullptr;
    unsigned kind = 0;
    void resident_left(u32 handle) override { filter->drop_owner(kind, handle); }
  };
  Owners& tlb_owners() { return owners_[0]; }
  Owners& cache_owners() { return owners_[1]; }

 private:
  static constexpr i32 kNone = -1;
  struct Link {
    u32 handle = kNoHandle;
    i32 next = kNone, previous = kNone;
  };
  void drop_owner(unsigned kind, u32 handle);
  void unlink(unsigned kind, i32 slot);
  void link(unsigned kind, i32 slot, u32 handle);
  void drop(i32 slot);

  unsigned shift_;
  u64 mask_;
  u64 idle_word_ = 0;  ///< what entries without an owner touch
  std::array<std::array<Entry, kEntries>, tlb::kSides> table_;
  std::array<std::array<Link, kEntries * tlb::kSides>, 2> links_;
  std::array<std::vector<i32>, 2> heads_;
  std::array<Owners, 2> owners_;
  struct Group {
    u64 controls;
    u16 pcid;
    u32 keys;  ///< PKRU: writing it changes the context and flushes nothing
  };
  std::vector<Group> groups_;
};

}  // namespace nestwalk::mmu
