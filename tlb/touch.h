// How a repeated hit changes replacement state, in a form that a filter can replay without knowing the policy.
//
// Every policy whose hit is "mask one word" fits: tree-PLRU, SRRIP (set RRPV to 0), matrix LRU, and, with keep = ~0 and
// set = 0, FIFO and random. True LRU stores the access ordinal (keep = 0). Policies that do not fit (bit-PLRU, permutation
// vectors) give the identity and are `last_touched`: the filter may then hold only the last entry touched in each set,
// for which touching again changes nothing.
#pragma once

#include "base/types.h"

namespace nestwalk::tlb {

struct Touch {
  u64* word = nullptr;
  u64 keep = ~u64{0};
  u64 set = 0;

  static constexpr u64 kStamp = 0;  ///< value of `keep` that means: store the access ordinal
};

/// Applies a touch. `ordinal` increases with every access of the machine.
inline void apply(const Touch& t, u64 ordinal) { *t.word = t.keep == Touch::kStamp ? ordinal : (*t.word & t.keep) | t.set; }

/// Told when a resident may no longer be retired without asking: evicted, flushed, changed, or (for `last_touched`
/// policies) no longer the last touched of its set. Handles are unique within one array's owner.
class ResidentListener {
 public:
  virtual ~ResidentListener() = default;
  virtual void resident_left(u32 handle) = 0;
};

}  // namespace nestwalk::tlb
