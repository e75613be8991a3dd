// A virtual machine as MMU models see it: guest-physical memory that a hypervisor backs with machine memory, page by page,
// and the exits through which the hypervisor is reached. A model asks, the hypervisor (vmm/) answers; what it changes
// behind the model's back it announces by MmuModel::forget.
#pragma once

#include "base/bill.h"
#include "base/result.h"
#include "mmu/access.h"

namespace nestwalk::mmu {

/// Why a virtual machine is left (SDM vol. 3, appendix C; APM vol. 2, appendix C), by what the hypervisor does then.
enum class Exit : u8 {
  interrupt,         ///< an interrupt for the host, or the end of a time slice
  hlt,               ///< HLT
  cpuid,             ///< CPUID
  io,                ///< IN, OUT and their string forms
  msr,               ///< RDMSR, WRMSR of an intercepted register
  mmio,              ///< an access to a device register, found by a violation or a reserved bit
  violation,         ///< EPT violation, nested page fault: guest-physical memory is not mapped (so)
  misconfiguration,  ///< EPT misconfiguration
  cr_access,         ///< MOV to CR0, CR3, CR4 under shadow paging
  invlpg,            ///< INVLPG, INVPCID under shadow paging
  true_fault,        ///< #PF that the guest's own tables demand, reflected
  hidden_fault,      ///< #PF that only the shadow tables have caused
  table_write,       ///< store to a page of guest tables that the hypervisor traces
  count_
};
inline constexpr unsigned kExits = static_cast<unsigned>(Exit::count_);
const char* name_of(Exit);
const char* describe(Exit);

/// What stands behind a guest-physical address.
struct Backing {
  enum class Kind : u8 { memory, device };
  Kind kind = Kind::device;
  bool writable = false;          ///< false: a store must ask again (`back` with store) or is dropped (ROM)
  bool rom = false;               ///< stores have no effect
  PageSize size = PageSize::k4K;  ///< of the host's page around it, contiguous in both spaces and aligned
  MachineAddr address;            ///< of the very byte that was asked for
};

class Guest {
 public:
  virtual ~Guest() = default;

  /// Dense, from 0; names the machine in tags.
  virtual unsigned number() const = 0;
  /// What stands behind the address. Where there is memory that nothing backs yet, a zeroed machine frame (or a whole large
  /// page) is given to it, billed as Cause::backing; a `store` to a page that is only shared gets its own copy.
  virtual Backing back(PhysAddr address, bool store, Bill& bill) = 0;
  /// The same without effect: kind `device` also where memory is not backed yet.
  virtual Backing look(PhysAddr address) const = 0;

  /// A zeroed machine frame for the hypervisor's own tables, and its return.
  virtual MachineAddr take_frame() = 0;
  virtual void give_frame(MachineAddr frame) = 0;

  /// One exit for `reason`: hardware round trip (Cause::exit) and the hypervisor's usual work for it (Cause::vmm), counted
  /// as vmm.exits.<reason>.
  virtual void exit(Exit reason, Bill& bill) = 0;
  /// Further work of the hypervisor on behalf of the last exit (a walk of guest tables, entries made ...): Cause::vmm.
  virtual void work(Exit reason, Cycles cycles, Bill& bill) = 0;
  /// So many other cores were interrupted to flush what they have cached of this machine, and were waited for: Cause::vmm.
  virtual void remote_flush(unsigned /*cores*/, Bill&) {}
};

}  // namespace nestwalk::mmu
