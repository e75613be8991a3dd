// Statistics of page walks, binned from bills: count, reads, cycles, latency, position of each read and who served it,
// split by side and privilege and by effective page size.
#pragma once

#include "base/bill.h"
#include "mmu/access.h"
#include "sim/stats.h"

namespace nestwalk::mmu {

class WalkStats {
 public:
  /// Bins the bill of one access that walked (bill.read_count() > 0). `size` is meaningful when `completed`; a walk that
  /// ended in a fault counts too.
  void record(const Bill& bill, Access access, bool completed, PageSize size);
  /// Declares walk.count, walk.reads, walk.cycles, walk.latency (histogram), walk.faults, walk.reads_by_position.gGhH,
  /// walk.cycles_by_position.gGhH,
  /// walk.served_by.gGhH.{flat,l1..l6,memory}, walk.by.{user,kernel}.{fetch,load,store}.*, walk.page_size.*.
  void declare(sim::Stats& stats);

 private:
  u64 faults_ = 0;
  u64 reads_[2][tlb::kSides] = {};          ///< [user][side]
  sim::Histogram latency_[2][tlb::kSides];  ///< [user][side]; they count the walks and sum their cycles too
  u64 by_size_[4] = {};
  u64 position_[6][6] = {};
  u64 position_cycles_[6][6] = {};
  u64 served_[6][6][kServers] = {};
};

}  // namespace nestwalk::mmu
