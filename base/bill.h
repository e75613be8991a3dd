// The bill: what one access cost, itemised by cause. It travels down with the access; only the core's clock advances.
// The miss-latency report is nothing but bills, binned.
#pragma once

#include <array>
#include <bit>
#include <span>

#include "base/types.h"

namespace nestwalk {

/// Why a cycle passed. Every cycle of a run has exactly one cause: cycles = sum over causes.
enum class Cause : u8 {
  instruction,  ///< fixed cost of executing an instruction, first-level hits included
  tlb,          ///< looking into TLB levels behind the first
  pwc,          ///< looking into page-walk caches
  walk_read,    ///< reading table entries, of the guest's own tables where there are two dimensions
  host_read,    ///< reading table entries of the hypervisor's dimension
  nested_tlb,   ///< looking into TLBs of guest-physical addresses
  walk_update,  ///< writing accessed and dirty bits
  fetch,        ///< instruction bytes from behind the first-level cache
  data,         ///< data from behind the first-level cache
  flush,        ///< invalidations the guest asked for
  mmio,         ///< device registers
  exception,    ///< delivering exceptions and interrupts
  exit,         ///< leaving a virtual machine and entering it again: the hardware's part
  vmm,          ///< the hypervisor at work on an exit: emulation, shadow tables
  backing,      ///< the hypervisor giving memory: allocating, zeroing, copying, mapping
  world,        ///< switching the core from one virtual machine to another
  away,         ///< another virtual machine had the core
  idle,         ///< halted, waiting for an event
  count_
};
inline constexpr unsigned kCauses = static_cast<unsigned>(Cause::count_);
const char* name_of(Cause);
const char* describe(Cause);

/// Who answered a memory read of a walk: cache level 1.., `memory`, or `flat` where no cache is modelled.
using ServedBy = u8;
inline constexpr ServedBy kFlat = 0;     ///< no cache model: one flat latency
inline constexpr ServedBy kMemory = 7;   ///< past the last cache level
inline constexpr unsigned kServers = 8;  ///< flat, levels 1..6, memory

/// One table entry read by a walk. Guest level 5..1 names the guest table (0: the final host walk of a data address);
/// host level 0 is the guest entry itself, 5..1 the host walk that led to it. A native walk has host level 0 only.
struct WalkRead {
  MachineAddr address;
  u32 cycles = 0;
  u8 guest_level = 0;
  u8 host_level = 0;
  ServedBy served_by = kFlat;
};

class Bill {
 public:
  void charge(Cause c, Cycles n) {
    cycles_[static_cast<unsigned>(c)] += n;
    total_ += n;
    charged_ |= u32{1} << static_cast<unsigned>(c);
  }
  void walk_read(const WalkRead& r) {
    charge(r.host_level ? Cause::host_read : Cause::walk_read, r.cycles);
    if (reads_ < read_.size()) read_[reads_] = r;
    ++reads_;
  }

  Cycles total() const { return total_; }
  Cycles of(Cause c) const { return cycles_[static_cast<unsigned>(c)]; }
  /// Calls `f(cause, cycles)` for each cause that was charged.
  template <class F>
  void for_each(F&& f) const {
    for (u32 rest = charged_; rest; rest &= rest - 1) {
      const auto c = static_cast<Cause>(std::countr_zero(rest));
      f(c, of(c));
    }
  }
  /// The reads of the walk in order (at most kMaxReads are kept; `read_count` counts all).
  std::span<const WalkRead> reads() const { return {read_.data(), reads_ < kMaxReads ? reads_ : kMaxReads}; }
  unsigned read_count() const { return reads_; }
  void clear() {
    for (; charged_; charged_ &= charged_ - 1) cycles_[static_cast<unsigned>(std::countr_zero(charged_))] = 0;
    total_ = 0;
    reads_ = 0;
  }

  /// More than any access can make: three stages read 124, and a two-dimensional walk that is cut short by violations and
  /// begun again stays below six times 35.
  static constexpr unsigned kMaxReads = 256;

 private:
  static_assert(kCauses <= 32);
  std::array<Cycles, kCauses> cycles_{};
  u32 charged_ = 0;  ///< bit n: cause n was charged
  Cycles total_ = 0;
  unsigned reads_ = 0;
  std::array<WalkRead, kMaxReads> read_{};
};

}  // namespace nestwalk
