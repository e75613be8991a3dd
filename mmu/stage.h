// Stages of translation. A stage translates addresses of its own space all the way to machine addresses: by its tables into
// the space below, and by the stage below from there. Its tables live in the space below too, so reading an entry first
// translates the entry's address. Native paging is one radix stage on the machine; two-dimensional paging is two.
// Page-walk caches belong to a stage and are consulted here, never in the walk.
#pragma once

#include <type_traits>

#include "base/bill.h"
#include "mmu/data_cache.h"
#include "mmu/memory.h"
#include "mmu/page_walk_cache.h"
#include "mmu/walk.h"

namespace nestwalk::mmu {

class Stage {
 public:
  virtual ~Stage() = default;

  /// Translates to a machine address; sets A and D bits, bills the reads and writes. `size` is the smallest on the way.
  /// For a stage with another above it `access.implicit` says that an entry of that stage's tables is accessed.
  virtual Result<Leaf> translate(u64 address, Access access, Bill& bill) = 0;
  /// The answer that the tables in memory give, without any effect; page-walk caches are not asked.
  virtual Result<Leaf> probe(u64 address, Access access) const = 0;

  /// How this stage sees reads of the entries of the stage above: where it keeps A and D, they count as writes (SDM vol. 3,
  /// 29.3.2; APM vol. 2, 15.25.5).
  virtual Side entry_access() const { return Side::load; }

  /// nullptr at the bottom.
  Stage* below() const { return below_; }
  /// There is a stage above: faults are violations for the hypervisor, and all accesses count as user accesses
  /// (APM vol. 2, 15.25.5; EPT does not tell them apart).
  void become_host() { host_ = true; }
  /// For the bill: the next addresses lead to the guest's entry of this level (0: to its data).
  virtual void serve(unsigned guest_level) { guest_level_ = static_cast<u8>(guest_level); }

 protected:
  explicit Stage(Stage* below) : below_(below) {}

  Stage* below_;
  u8 guest_level_ = 0;
  bool host_ = false;
};

/// The bottom: addresses are machine addresses.
class MachineStage final : public Stage {
 public:
  MachineStage() : Stage(nullptr) {}
  Result<Leaf> translate(u64 address, Access, Bill&) override { return identity(address); }
  Result<Leaf> probe(u64 address, Access) const override { return identity(address); }

 private:
  static Leaf identity(u64 address) { return {address, PageSize::k1G, PageSize::k1G, 0, right::all, true, false}; }
};

/// Asked before a walker's read of a table entry goes to the data caches; for designs that keep entries by their machine
/// addresses (Bhargava et al., ASPLOS 2008).
class EntryCache {
 public:
  virtual ~EntryCache() = default;
  /// True: the entry was held, the bill has been charged and memory is not asked. False: the read follows.
  virtual bool serve(const WalkRead& position, Bill& bill) = 0;
};

/// One radix tree of format F. The page-walk caches are lent by the owner, which also invalidates them; nullptr: none.
template <TableFormat F>
class RadixStage final : public Stage {
 public:
  RadixStage(Stage& below, MachineMemory& memory, DataCaches& caches, PageWalkCaches* walk_caches = nullptr);

  /// `context` tags page-walk-cache entries (a PCID, a VPID, ...).
  void set(const Root& root, const Rules& rules, u16 context = 0);
  void set_entry_cache(EntryCache* cache) { entry_cache_ = cache; }
  Result<Leaf> translate(u64 address, Access access, Bill& bill) override;
  Result<Leaf> probe(u64 address, Access access) const override;
  Side entry_access() const override { return F::has_accessed_dirty(rules_) ? Side::store : Side::load; }

 private:
  class Tables;
  class Spectator;
  Access seen_from_here(Access access) const { return host_ ? Access{access.side, true, access.implicit} : access; }
  Fault owned(Fault fault, Access access) const;

  MachineMemory& memory_;
  DataCaches& caches_;
  PageWalkCaches* walk_caches_;
  EntryCache* entry_cache_ = nullptr;
  const bool on_machine_;  ///< the stage below answers with what it is asked
  Root root_;
  Rules rules_;
  u16 context_ = 0;
};

/// Linear addresses as CR0, CR3, CR4 and EFER say: off, or one of four formats over one set of page-walk caches.
class LinearStage final : public Stage {
 public:
  /// Reads every key below `walk_caches` ("pwc").
  LinearStage(Stage& below, MachineMemory& memory, DataCaches& caches, sim::Section walk_caches, u64 seed);

  /// Flushes nothing (MmuModel::set_paging). Page-walk caches are tagged with the PCID and the VPID (in the bits of
  /// tlb::kVpidMask).
  void set_paging(const PagingState& state, u16 vpid = 0);
  PagingMode mode() const { return mode_; }
  /// Whether a translation with these rights and protection key serves the access, by SDM vol. 3, 4.6.1 and 4.6.2.
  bool allows(u8 rights, u8 key, Access access) const {
    return LinearFormat::allows(rights, access, rules_) && !LinearFormat::key_denies(key, rights, access, rules_);
  }

  void set_entry_cache(EntryCache* cache);

  Result<Leaf> translate(u64 address, Access access, Bill& bill) override {
    if (mode_ == PagingMode::off) {  // no tables of this stage: the stage below is asked for data
      below_->serve(0);
      access.implicit = false;
    }
    return active_->translate(address, access, bill);
  }
  Result<Leaf> probe(u64 address, Access access) const override { return active_->probe(address, access); }
  Side entry_access() const override { return active_->entry_access(); }
  void serve(unsigned guest_level) override { active_->serve(guest_level); }

  /// Page-walk caches only; see PageWalkCaches for what each kind removes.
  void invalidate(const Invalidation& what) {
    if (mode_ == PagingMode::legacy32)
      walk_caches_.invalidate<Legacy32>(what);
    else
      walk_caches_.invalidate<Ia32e<5>>(what);  // the other formats' indices are a part of this one's
  }
  void forget_all() { walk_caches_.flush_all(); }
  void declare(sim::Stats& stats) { walk_caches_.declare(stats); }

 private:
  PageWalkCaches walk_caches_;
  RadixStage<Legacy32> legacy32_;
  RadixStage<Pae> pae_;
  RadixStage<Ia32e<4>> four_level_;
  RadixStage<Ia32e<5>> five_level_;
  PagingMode mode_ = PagingMode::off;
  Rules rules_;
  Stage* active_;
};

}  // namespace nestwalk::mmu
