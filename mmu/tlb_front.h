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
  /// Reads every key below `tlb`, and mmu.flush_page_cycles and mmu.flush_all_cycles. `stage` must outlive this object.
  TlbFront(LinearStage& stage, const ModelParts& parts);

  // The calls of MmuModel.
  void set_paging(const PagingState& state);
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill);
  Result<Translation> probe(LinearAddr address, Access access) const;
  void invalidate(const Invalidation& what, Bill& bill);
  void declare(sim::Stats& stats);

 private:
  bool is_canonical_here(u64 linear) const { return linear_width_ == 32 || is_canonical(linear, linear_width_); }
  u64 truncate(u64 linear) const { return linear_width_ == 32 ? static_cast<u32>(linear) : linear; }
  static Translation untranslated(u64 address);
  static Translation describe(u64 linear, const tlb::Entry& entry, const tlb::Found& found);
  bool serves(const tlb::Entry& entry, Access access);
  Result<Translation> walk_and_insert(u64 linear, Access access, Bill& bill);

  LinearStage& stage_;
  tlb::Hierarchy tlb_;
  u64 flush_page_cycles_ = 100, flush_all_cycles_ = 200;
  unsigned linear_width_ = 32;
  u16 pcid_ = 0;
  u64 permission_rewalks_ = 0, dirty_rewalks_ = 0, fault_flushes_ = 0;
};

}  // namespace nestwalk::mmu
