// The guest-physical memory of one virtual machine and what the hypervisor knows of it: which spans are memory, and which
// machine frame stands behind each guest frame (the "pmap" of Waldspurger, OSDI 2002; "p2m" in Xen). Frames are given on
// first touch, 4K, 2M or 1G at a time.
#pragma once

#include <memory>
#include <vector>

#include "mmu/guest.h"
#include "mmu/memory.h"
#include "vmm/exits.h"
#include "vmm/frames.h"

namespace nestwalk::vmm {

/// The machine has no frame left for a virtual machine that needs one.
struct OutOfMemory {
  u64 guest_physical = 0;
};

class Space final : public mmu::Guest, public mmu::PhysicalMemory {
 public:
  struct Span {
    u64 begin = 0, bytes = 0;  ///< guest-physical, page aligned
  };
  /// `largest` is the host's page size: backing comes in pages of it where span and alignment allow, else in 4K.
  Space(unsigned number, const std::vector<Span>& spans, mmu::MachineMemory& memory, Frames& frames, PageSize largest,
        const ExitCosts& costs);
  ~Space() override;

  // mmu::Guest. `back` throws OutOfMemory.
  unsigned number() const override { return number_; }
  mmu::Backing back(PhysAddr address, bool store, Bill& bill) override;
  mmu::Backing look(PhysAddr address) const override;
  MachineAddr take_frame() override;
  void give_frame(MachineAddr frame) override;
  void exit(mmu::Exit reason, Bill& bill) override { exits_.take(reason, bill); }
  void work(mmu::Exit reason, Cycles cycles, Bill& bill) override { exits_.work(reason, cycles, bill); }
  void remote_flush(unsigned cores, Bill& bill) override { exits_.remote_flush(cores, bill); }

  // mmu::PhysicalMemory: what loaders and devices do is not billed.
  bool has(PhysAddr a) const override { return span_of(a.value) != nullptr; }
  bool read(PhysAddr a, std::span<u8> to) const override;
  bool write(PhysAddr a, std::span<const u8> from) override;
  void clear(PhysAddr a, u64 bytes) override;
  bool install_rom(PhysAddr a, std::span<const u8> bytes) override;

  u64 memory_bytes() const { return memory_bytes_; }  ///< what the guest was promised
  u64 backed_bytes() const { return backed_bytes_; }  ///< what it has been given
  u64 table_bytes() const { return table_bytes_; }    ///< frames of the hypervisor's tables for it
  const ExitCosts& costs() const { return costs_; }
  /// `processors` of the machine: those of several have remote flushes.
  void declare(sim::Stats& stats, unsigned processors = 1);

 private:
  /// What stands behind one guest frame: the machine frame's address, and flags in the low bits. 0: nothing.
  using Entry = u64;
  static constexpr Entry kWritable = 1, kRom = 2, k2M = 4, k1G = 8;
  /// A span and its part of the map, which costs what is touched of it.
  struct Region {
    u64 begin, end;
    Entry* entries;
  };
  const Region* span_of(u64 address) const;
  void add(u64 begin, u64 bytes);
  void break_large(const Region& region, u64 address);
  Entry& give(const Region& region, u64 address, Bill& bill);
  static PageSize size_of(Entry e) { return e & k1G ? PageSize::k1G : e & k2M ? PageSize::k2M : PageSize::k4K; }
  static mmu::Backing describe(Entry e, u64 address);

  unsigned number_;
  mmu::MachineMemory& memory_;
  Frames& frames_;
  PageSize largest_;
  const ExitCosts& costs_;
  Exits exits_;
  std::vector<Region> regions_;
  u64 memory_bytes_ = 0, backed_bytes_ = 0, table_bytes_ = 0;
  u64 faults_ = 0, broken_ = 0;
};

}  // namespace nestwalk::vmm
