// The second dimension: guest-physical addresses to machine addresses, by tables that the hypervisor keeps per virtual
// machine. HostDimension is what every two-dimensional design has below its LinearStage; HostStage is the design of
// processors: EPT (SDM vol. 3, 29.3) or nested paging (APM vol. 2, 15.25), a nested TLB and page-walk caches of its own,
// both tagged by the tables they come from (EPTRTA) and emptied by INVEPT, not by INVLPG or MOV to CR3 (29.4.3).
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "mmu/commons.h"
#include "mmu/guest.h"
#include "mmu/host_tables.h"
#include "mmu/nested_tlb.h"
#include "mmu/stage.h"

namespace nestwalk::mmu {

/// What a processor tells the hypervisor of a refusal. EPT: the exit qualification (SDM vol. 3, table 28-7), of which bits
/// 5:0, 7 and 8 are given. Nested paging: EXITINFO1 (APM vol. 2, 15.25.6), the page-fault error code and bit 32 or 33.
struct Refused {
  u64 guest_physical = 0;
  u64 qualification = 0;
};

class HostDimension : public Stage {
 public:
  /// The tables of this machine are in use from now on; they are made the first time.
  void enter(Guest& guest) {
    guest_ = &guest;
    use_tables(guest);
  }
  /// `backing` stands behind the address from now on, writable or not as it says. True: something cached may be wrong now.
  virtual bool map(Guest& guest, PhysAddr address, const Backing& backing) = 0;
  /// Nothing stands behind [first, first + bytes) any more. True: something did.
  virtual bool unmap(Guest& guest, PhysAddr first, u64 bytes) = 0;
  /// Forgets the guest-physical mappings of one machine's tables, or of all (INVEPT).
  virtual void forget(const Guest& guest) = 0;
  virtual void forget_all() = 0;
  virtual void declare(sim::Stats& stats) = 0;
  /// Whether the tables can map the address at all.
  virtual bool reaches(u64 address) const = 0;

  /// Whether the refused access was, or counts as, a write.
  virtual bool wrote(const Fault& fault) const = 0;
  /// `linear`: a linear address was being translated (not so when MOV to CR3 loads PDPTEs).
  virtual Refused describe(const Fault& fault, bool linear = true) const = 0;

  /// The hypervisor emulates accesses to entries of guest tables in the page of `address`, which hardware cannot make,
  /// until `stop_emulating`: they are read from machine page `from` (ROM) or, with kNowhere, as all ones; writes are lost.
  void emulate_table(u64 address, u64 from);
  void stop_emulating() { emulated_count_ = 0; }
  static constexpr u64 kNowhere = bit(51);  ///< no machine has memory there

  Result<Leaf> translate(u64 address, Access access, Bill& bill) final {
    if (emulated_count_ && access.implicit)
      if (const Emulated* e = find_emulated(address)) return answer(*e, address);
    return find(address, access, bill);
  }
  /// What the hypervisor has not mapped yet it would map as soon as it is asked.
  Result<Leaf> probe(u64 address, Access access) const final;

 protected:
  HostDimension() : Stage(nullptr) {}
  virtual void use_tables(Guest& guest) = 0;
  /// The machine address, by whatever the design keeps.
  virtual Result<Leaf> find(u64 address, Access access, Bill& bill) = 0;
  /// The same by the tables in memory, without any effect.
  virtual Result<Leaf> peek(u64 address, Access access) const = 0;

 private:
  struct Emulated {
    u64 page = 0, from = 0;
  };
  const Emulated* find_emulated(u64 address) const;
  static Leaf answer(const Emulated& e, u64 address);

  std::array<Emulated, 8> emulated_;  ///< a walk uses one page per level, five at most
  unsigned emulated_count_ = 0;
  const Guest* guest_ = nullptr;  ///< the machine entered
};

class HostStage final : public HostDimension {
 public:
  /// Keys of `section` ("nested"): format, levels, accessed_dirty, execute_only, gigabyte_pages, and those of `tlb` and
  /// `pwc`. The tables of all machines are among `commons` where there are several cores.
  HostStage(sim::Section section, MachineMemory& memory, DataCaches& caches, u64 seed, Commons* commons = nullptr);

  bool map(Guest& guest, PhysAddr address, const Backing& backing) override;
  bool unmap(Guest& guest, PhysAddr first, u64 bytes) override;
  void forget(const Guest& guest) override;
  void forget_all() override;
  void declare(sim::Stats& stats) override;
  bool reaches(u64 address) const override { return address >> (12 + 9 * shape_.levels) == 0; }
  bool wrote(const Fault& fault) const override;
  Refused describe(const Fault& fault, bool linear = true) const override;

  Side entry_access() const override { return active_->entry_access(); }
  void serve(unsigned guest_level) override { active_->serve(guest_level); }

  const HostShape& shape() const { return shape_; }
  /// nullptr: the machine has not been entered yet.
  HostTables* tables(const Guest& guest);
  void set_entry_cache(EntryCache* cache);

 protected:
  void use_tables(Guest& guest) override;
  Result<Leaf> find(u64 address, Access access, Bill& bill) override;
  Result<Leaf> peek(u64 address, Access access) const override;

 private:
  struct Machine {
    Guest* guest;
    HostTables tables;
  };
  struct Machines {
    std::vector<std::unique_ptr<Machine>> by_number;
  };
  static u16 tag_of(const Guest& guest) { return static_cast<u16>(guest.number() + 1); }
  static HostShape read_shape(sim::Section& section, Rules& rules);
  HostTables& made_tables(Guest& guest);
  Fault out_of_reach(u64 address, Access access) const;
  template <class F>
  void each_table(F&& f) {
    f(ept_), f(ept5_), f(npt_), f(npt5_);
  }

  Rules rules_;
  HostShape shape_;
  MachineMemory& memory_;
  NestedTlb tlb_;
  PageWalkCaches walk_caches_;
  MachineStage bottom_;
  RadixStage<Ept> ept_;
  RadixStage<Ept5> ept5_;
  RadixStage<Ia32e<4>> npt_;
  RadixStage<Ia32e<5>> npt5_;
  Stage* active_ = nullptr;
  std::shared_ptr<Machines> machines_;
  u16 context_ = 0;  ///< of the tables in use
};

}  // namespace nestwalk::mmu
