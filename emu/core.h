// A physical core: the hardware that machines running on it share, one after the other. Everything that has state and cost
// beyond a machine's own registers is here: TLBs and page-walk caches (in the MMU model), data caches, the L0 filter.
#pragma once

#include <memory>

#include "mmu/data_cache.h"
#include "mmu/filter.h"
#include "mmu/model.h"
#include "sim/settings.h"
#include "sim/stats.h"

namespace nestwalk::emu {

struct MachineParams;

class Core {
 public:
  /// Reads every key of [cache], [tlb], [pwc], [mmu] and what else the model declares.
  Core(sim::Settings& settings, const MachineParams& params, mmu::MachineMemory& memory, mmu::Commons* commons = nullptr);

  tlb::AccessCounts counts;
  mmu::DataCaches caches;
  mmu::Filter filter;
  std::unique_ptr<mmu::MmuModel> model;

  void declare(sim::Stats& stats);
};

}  // namespace nestwalk::emu
