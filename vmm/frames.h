// The machine frames a hypervisor hands out, and where it takes them from: what a physically indexed cache and a contiguous
// host page make of placement is one of the things to be studied.
#pragma once

#include <vector>

#include "base/random.h"
#include "mmu/memory.h"

namespace nestwalk::vmm {

enum class Placement : u8 {
  first_fit,  ///< the lowest free frame
  random,     ///< any free frame, seeded
  colour,     ///< the lowest free frame of the guest frame's colour (Waldspurger, OSDI 2002, footnote 2)
};

class Frames {
 public:
  /// Frames of [0, bytes) of `memory`, which must be installed; frame 0 is never given. `colours` is a power of two.
  Frames(mmu::MachineMemory& memory, u64 bytes, Placement placement, u32 colours, u64 seed);

  struct Taken {
    bool ok = false;  ///< false: none is left, of this size
    MachineAddr address;
    bool zeroed = false;  ///< it had been used, and its old contents were wiped
  };
  /// A frame of zeros, for the guest frame number `like` (colour only). Large ones are contiguous and aligned.
  Taken take(PageSize size, u64 like);
  void give(MachineAddr address, PageSize size);

  u64 total() const { return total_ - 1; }
  u64 free() const { return free_; }

 private:
  bool is_free(u64 frame) const { return !(used_[frame >> 6] >> (frame & 63) & 1); }
  bool are_free(u64 first, u64 count) const;
  u64 find_one(u64 like);
  u64 find_run(u64 count);
  u64 next_free(u64 from) const;  ///< total_ when there is none
  void mark(u64 first, u64 count, bool used);

  mmu::MachineMemory& memory_;
  Placement placement_;
  u32 colours_;
  Random random_;
  u64 total_, free_;
  std::vector<u64> used_, stained_;  ///< bit per frame; stained: its bytes may not be zero
  u64 lowest_ = 1;                   ///< nothing is free below
  std::vector<u64> lowest_of_colour_;
};

}  // namespace nestwalk::vmm
