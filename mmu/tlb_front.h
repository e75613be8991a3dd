// What stands before the stage of linear addresses in every MMU model that has one: the TLBs, the check of a hit's rights,
// the walk on a miss, what the walk leaves behind, and invalidations (SDM vol. 3, 4.10).
//
// The modelled TLB is the one the guest sees. A hit whose rights do not suffice, or a store to a page cached with D clear,
// walks again before anything is refused, so rights raised without a flush cost a walk and never a fault.
#pragma once

#include "mmu/model.h"
#include "mmu/stage.h"
#include "tlb/hierarchy.h"

namespace nestwalk::mmu {

class TlbFront {
 public:
  /// What happens to linear addresses while paging is off.
  enum class Unpaged : u8 {
    machine,  ///< they are machine addresses; no TLB is asked
    stage,    ///< a stage below translates them, and TLBs hold the result
  };

  /// Reads every key below `tlb`, and mmu.flush_page_cycles and mmu.flush_all_cycles. `stage` must outlive this object.
  TlbFront(LinearStage& stage, const ModelParts& parts, Unpaged unpaged = Unpaged::machine);

  /// What follows is translated for, tagged with and flushed from this VPID or ASID, 0 to tlb::kVpids - 1 (SDM vol. 3,
  /// 29.1). Nothing is flushed by it.
  void set_vpid(unsigned vpid);
  /// Everything of a VPID, globals and page-walk caches too (INVVPID type 1; combined mappings of INVEPT); or all but what
  /// is global (type 3).
  void forget_vpid(unsigned vpid, bool with_global = true);
  /// What translates one linear address under a VPID, whatever the PCID, and the VPID's page-walk caches (INVVPID type 0).
  void forget_page(unsigned vpid, LinearAddr address);
  /// Everything of every VPID: VM entries and exits without VPIDs.
  void forget_all();

  // The calls of MmuModel.
  void set_paging(const PagingState& state);
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill);
  /// Walks again for an access that `translate` has just refused, after a hypervisor has removed the reason: no TLB is
  /// asked a second time, so accesses stay hits + misses.
  Result<Translation> retranslate(LinearAddr address, Access access, Bill& bill);
  Result<Translation> probe(LinearAddr address, Access access) const;
  void invalidate(const Invalidation& what, Bill& bill);
  void declare(sim::Stats& stats);

 private:
  bool is_canonical_here(u64 linear) const { return linear_width_ == 32 || is_canonical(linear, linear_width_); }
  u64 truncate(u64 linear) const { return linear_width_ == 32 ? static_cast<u32>(linear) : linear; }
  static Translation untranslated(u64 address);
  static Translation describe(u64 linear, const tlb::Entry& entry, const tlb::Found& found);
  bool allows(const tlb::Entry& entry, Access access) const;
  bool serves(const tlb::Entry& entry, Access access);
  bool asks_no_tlb() const { return unpaged_ == Unpaged::machine && stage_.mode() == PagingMode::off; }
  Result<Leaf> walk(u64 linear, Access access, Bill& bill);
  Result<Translation> walk_and_insert(u64 linear, Access access, Bill& bill);

  LinearStage& stage_;
  tlb::Hierarchy tlb_;
  u64 flush_page_cycles_ = 100, flush_all_cycles_ = 200;
  unsigned linear_width_ = 32;
  Unpaged unpaged_;
  u16 vpid_ = 0;     ///< in the bits of tlb::kVpidMask
  u16 context_ = 0;  ///< VPID and PCID
  u64 permission_rewalks_ = 0, dirty_rewalks_ = 0, fault_flushes_ = 0;
};

}  // namespace nestwalk::mmu
