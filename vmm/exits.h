// What exits of virtual machines cost and how often each reason occurs. The costs are a parameter set per processor
// generation (configs/models/costs-*.ini, with sources): the hardware's round trip, and the hypervisor's usual work for each
// reason.
#pragma once

#include "mmu/guest.h"
#include "sim/settings.h"
#include "sim/stats.h"

namespace nestwalk::vmm {

/// Keys of [vmm.cost]. Defaults: Nehalem's round trip (Agesen et al., USENIX ATC 2012, table 1) and work that brings a
/// served exit near the 3000 cycles that the same authors reckon with.
struct ExitCosts {
  u64 round_trip = 1009;     ///< VM exit and VM entry, hardware only
  u64 work[mmu::kExits];     ///< the hypervisor's, beyond the round trip
  u64 allocate = 500;        ///< finding a machine frame for a guest frame and entering it in the map
  u64 zero_page = 1500;      ///< wiping 4K that were in use (cold)
  u64 copy_page = 1530;      ///< copying 4K (cold)
  u64 world_switch = 2000;   ///< saving one virtual machine and loading another, beyond the exit
  u64 invalidate = 200;      ///< INVEPT, INVVPID or INVLPGA of one context
  u64 remote_flush = 4000;   ///< interrupting another core so that it flushes, and waiting for it

  ExitCosts();
  void declare(sim::Section section);
};

/// Counts and cycles by reason, of one virtual machine.
class Exits {
 public:
  explicit Exits(const ExitCosts& costs) : costs_(costs) {}
  void take(mmu::Exit reason, Bill& bill) {
    ++count_[static_cast<unsigned>(reason)];
    cycles_[static_cast<unsigned>(reason)] += costs_.round_trip;
    bill.charge(Cause::exit, costs_.round_trip);
    work(reason, costs_.work[static_cast<unsigned>(reason)], bill);
  }
  void work(mmu::Exit reason, Cycles cycles, Bill& bill) {
    cycles_[static_cast<unsigned>(reason)] += cycles;
    bill.charge(Cause::vmm, cycles);
  }
  void remote_flush(unsigned cores, Bill& bill) {
    remote_flushes_ += cores;
    bill.charge(Cause::vmm, cores * costs_.remote_flush);
  }
  /// vmm.remote_flushes, for machines of several processors.
  void declare_remote(sim::Stats& stats);
  /// vmm.exits, vmm.exits.<reason>, vmm.exit_cycles.<reason>.
  void declare(sim::Stats& stats);

 private:
  const ExitCosts& costs_;
  u64 count_[mmu::kExits] = {};
  u64 cycles_[mmu::kExits] = {};
  u64 remote_flushes_ = 0;
};

}  // namespace nestwalk::vmm
