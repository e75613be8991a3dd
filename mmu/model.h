// The interface of an MMU model: the only thing a core's Port asks when its filter does not know the answer.
#pragma once

#include <memory>

#include "base/bill.h"
#include "base/random.h"
#include "base/result.h"
#include "mmu/access.h"
#include "mmu/memory.h"
#include "sim/registry.h"
#include "sim/settings.h"
#include "sim/stats.h"
#include "tlb/touch.h"

namespace nestwalk::mmu {

class Commons;
class DataCaches;
class Guest;

/// A successful translation of one access.
struct Translation {
  MachineAddr address;            ///< of the accessed byte
  PageSize size = PageSize::k4K;  ///< effective page size
  tlb::Rights rights;             ///< of the entry; `dirty` as it is now
  bool tlb_hit = true;            ///< no walk was made
  u8 tlb_level = 0;               ///< level that hit, 0 when none did or paging is off
  /// For the filter: may later accesses of the same kind to this page be retired by replaying `touch`?
  bool filterable = false;
  /// There is no memory behind the address but a device's register, at this guest-physical address in `address`.
  bool device = false;
  bool stores_lost = false;  ///< the virtual machine's ROM, whatever memory stands behind it
  u32 handle = 0;            ///< first-level resident, as announced to the ResidentListener
  tlb::Touch touch;
};

/// What a model is built from.
struct ModelParts {
  sim::Settings& settings;
  MachineMemory& memory;
  DataCaches& caches;  ///< serves the walk's reads and writes
  const tlb::AccessCounts& counts;
  tlb::ResidentListener& filter;
  u64 seed;
  Commons* commons = nullptr;  ///< of the models of all cores; nullptr: there is one core
};

class MmuModel {
 public:
  static constexpr const char* kKind = "MMU model";
  virtual ~MmuModel() = default;

  /// The paging state that following translations happen under. It flushes nothing: MOV CR3 and its like send an
  /// Invalidation as well where the architecture demands one. The bill is for designs in which a hypervisor must follow.
  virtual void set_paging(const PagingState& state, Bill& bill) = 0;
  /// Translates; A and D bits are updated in memory as the access demands; costs go on the bill. A fault leaves neither a
  /// TLB entry of the faulting page nor a page-walk-cache entry of a not-present one.
  virtual Result<Translation> translate(LinearAddr address, Access access, Bill& bill) = 0;
  virtual void invalidate(const Invalidation& what, Bill& bill) = 0;
  virtual void declare(sim::Stats& stats) = 0;
  /// Where an access of the processor by physical address lands (the PDPTEs that MOV CR3 loads): with a hypervisor below,
  /// not where it says.
  virtual Result<Translation> physical(PhysAddr address, Bill&) {
    Translation t;
    t.address = MachineAddr(address.value);
    return t;
  }
  /// Whether a debugger's question can be answered without any effect on state or counts.
  virtual Result<Translation> probe(LinearAddr address, Access access) const = 0;

  // ---- designs with a hypervisor ------------------------------------------------------------------------------------
  /// Whether TLBs are asked while the guest's paging is off, because a stage below translates all the same.
  virtual bool translates_unpaged() const { return false; }
  /// Whether this design runs virtual machines; one that does needs `enter` before anything is translated.
  virtual bool needs_guest() const { return false; }
  /// Whether several processors of one machine may run under this design.
  virtual bool shares_machines() const { return !needs_guest(); }
  /// The core turns to a processor of this virtual machine (another one, or the first): the machine's tables, the
  /// processor's registers and tags. `vcpu` is dense over the processors of all machines. `set_paging` with the processor's
  /// state follows. Flushes what the tags do not tell apart.
  virtual void enter(Guest&, unsigned /*vcpu*/, Bill&) {}
  /// The core left the virtual machine and entered it again for a reason that this model did not bring up itself (HLT,
  /// CPUID, I/O, an interrupt ...): without VPIDs that flushes.
  virtual void left(Guest&, Bill&) {}
  /// The hypervisor has changed or taken away what backs [first, first + bytes) of a machine, page aligned: whatever
  /// depends on the former backing goes, in tables, TLBs and page-walk caches.
  virtual void forget(Guest&, PhysAddr /*first*/, u64 /*bytes*/, Bill&) {}
};

using Models = sim::Registry<MmuModel, const ModelParts&>;
using RegisterModel = sim::Register<MmuModel, const ModelParts&>;

}  // namespace nestwalk::mmu
