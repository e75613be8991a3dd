// Replacement policies: what a set remembers of its use, and whom it gives up. One object serves one array and owns the
// state of all its sets; it is chosen by name when the array is built (sim::Registry), so a new one is one file in
// models/tlb/.
//
// A hit is described by a Touch (tlb/touch.h) wherever that is possible, and `hit` then is nothing but applying it: what
// the L0 filter replays and what the array does are the same by construction.
#pragma once

#include <memory>

#include "sim/registry.h"
#include "sim/settings.h"
#include "tlb/touch.h"

namespace nestwalk::tlb {

class Policy {
 public:
  static constexpr const char* kKind = "replacement policy";
  static constexpr u32 kNoHint = ~u32{0};

  /// What a filter may do with repeated hits.
  enum class Replay : u8 {
    touch,         ///< apply the resident's Touch, at any later time
    last_touched,  ///< nothing needs doing, but only for the way of the set that was hit or filled last
    never,         ///< every hit must be made here
  };

  virtual ~Policy() = default;

  virtual Replay replay() const { return Replay::touch; }
  /// What a hit on the way does; the word stays valid as long as this object. The identity unless replay() is `touch`.
  virtual Touch touch(u32 set, u32 way) = 0;
  /// `now` is the ordinal of the access (AccessCounts::ordinal); it never decreases.
  virtual void hit(u32 set, u32 way, u64 now) { apply(touch(set, way), now); }
  /// The way has been given a new resident.
  virtual void fill(u32 set, u32 way, u64 now) = 0;
  /// Whom a full set gives up; `fill` of that way follows.
  virtual u32 victim(u32 set) = 0;
  /// While a set has free ways, the one this names is filled if it is free, otherwise the lowest free one.
  virtual u32 hint(u32 /*set*/) const { return kNoHint; }

 protected:
  /// A word whose touching changes nothing that matters.
  Touch idle() { return {&idle_word_}; }

 private:
  u64 idle_word_ = 0;
};

/// What a policy is built from. `section` is the array's: a policy may declare further keys there and refuses a geometry it
/// cannot serve by section.refuse("ways", ...).
struct PolicyParts {
  sim::Section section;
  u32 sets = 1;
  u32 ways = 1;
  u64 seed = 1;  ///< differs from array to array
};

using Policies = sim::Registry<Policy, const PolicyParts&>;
using RegisterPolicy = sim::Register<Policy, const PolicyParts&>;

/// Reads the key `policy` (default lru) and builds it. Throws sim::ConfigError naming the key and the policies there are.
std::unique_ptr<Policy> make_policy(sim::Section section, u32 sets, u32 ways, u64 seed);

}  // namespace nestwalk::tlb
