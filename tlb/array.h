// A set-associative array of tags and payloads: TLB entries, cache lines. Tags of a set lie side by side; the policy is
// chosen when the array is built. The index functions are those measured by TLB;DR (LIN-n, XOR-n) and a modulo for
// numbers of sets that are no power of two.
#pragma once

#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "sim/settings.h"
#include "tlb/policy.h"
#include "tlb/touch.h"

namespace nestwalk::tlb {

enum class Index : u8 {
  linear,        ///< the low bits
  exclusive_or,  ///< the low bits XOR as many bits above them ("XOR-7" for 128 sets)
  modulo,        ///< remainder; any number of sets
};

struct Geometry {
  u32 sets = 1;
  u32 ways = 1;
  Index index = Index::linear;

  u32 set_of(u64 number) const {
    switch (index) {
      case Index::linear: return static_cast<u32>(number) & (sets - 1);
      case Index::exclusive_or: return static_cast<u32>(number ^ number >> std::countr_zero(sets)) & (sets - 1);
      case Index::modulo: return static_cast<u32>(number % sets);
    }
    return 0;
  }
};

/// Reads `ways` and `index` of an array with `entries` entries. Throws sim::ConfigError naming the key that does not fit.
Geometry read_geometry(sim::Section& section, u32 entries);

template <class Payload>
class Array {
 public:
  static constexpr u64 kFree = ~u64{0};  ///< no tag
  static constexpr u32 kNone = ~u32{0};

  Array(const Geometry& geometry, std::unique_ptr<Policy> policy)
      : geometry_(geometry),
        policy_(std::move(policy)),
        replay_(policy_->replay()),
        tags_(std::size_t{geometry.sets} * geometry.ways, kFree),
        payloads_(tags_.size()),
        used_(geometry.sets),
        last_(replay_ == Policy::Replay::last_touched ? geometry.sets : 0, kNone) {}

  u32 sets() const { return geometry_.sets; }
  u32 ways() const { return geometry_.ways; }
  u32 slots() const { return static_cast<u32>(tags_.size()); }
  u64 residents() const { return residents_; }
  u32 set_of(u64 number) const { return geometry_.set_of(number); }

  /// The way that holds the tag, or else the way that holds the other, or kNone.
  u32 find(u32 set, u64 tag) const { return find(set, tag, tag); }
  u32 find(u32 set, u64 tag, u64 other) const {
    // All ways of a chunk are compared before any branch: which way hits is what no branch predictor knows.
    const u64* t = &tags_[slot(set, 0)];
    u32 second = kNone;
    for (u32 first = 0; first < geometry_.ways; first += kChunk) {
      const u32 n = std::min(kChunk, geometry_.ways - first);
      u32 hit = 0, other_hit = 0;
      for (u32 w = 0; w < n; ++w) {
        hit |= static_cast<u32>(t[first + w] == tag) << w;
        other_hit |= static_cast<u32>(t[first + w] == other) << w;
      }
      if (hit) return first + static_cast<u32>(std::countr_zero(hit));
      if (other_hit && second == kNone) second = first + static_cast<u32>(std::countr_zero(other_hit));
    }
    return second;
  }
  bool holds(u32 set, u32 way) const { return tags_[slot(set, way)] != kFree; }
  u64 tag(u32 set, u32 way) const { return tags_[slot(set, way)]; }
  Payload& at(u32 set, u32 way) { return payloads_[slot(set, way)]; }
  const Payload& at(u32 set, u32 way) const { return payloads_[slot(set, way)]; }

  /// A hit.
  void touch(u32 set, u32 way, u64 now) {
    policy_->hit(set, way, now);
    note_last(set, way);
  }

  struct Displaced {
    bool any = false;
    u64 tag = 0;
    Payload payload{};
  };
  /// Puts a tag that is not there yet into its set and returns its way; `displaced` is who had to go.
  u32 insert(u32 set, u64 tag, const Payload& payload, u64 now, Displaced& displaced) {
    const u32 way = choose(set);
    const std::size_t s = slot(set, way);
    displaced.any = tags_[s] != kFree;
    if (displaced.any) {
      displaced.tag = tags_[s];
      displaced.payload = payloads_[s];
      left(set, way);
    } else {
      ++used_[set];
      ++residents_;
    }
    tags_[s] = tag;
    payloads_[s] = payload;
    policy_->fill(set, way, now);
    note_last(set, way);
    return way;
  }
  void erase(u32 set, u32 way) {
    left(set, way);
    tags_[slot(set, way)] = kFree;
    --used_[set];
    --residents_;
  }
  bool has_room(u32 set) const { return used_[set] < geometry_.ways; }

  // ---- for the L0 filter -------------------------------------------------------------------------------------------
  /// Residents' handles are `first_handle` + slot; the listener hears of residents that may no longer be replayed.
  void set_listener(ResidentListener* listener, u32 first_handle) {
    listener_ = listener;
    first_handle_ = first_handle;
  }
  /// Whether the resident just touched or inserted may be replayed by a filter, and how.
  bool filterable() const { return replay_ != Policy::Replay::never; }
  Touch touch_of(u32 set, u32 way) { return policy_->touch(set, way); }
  u32 handle(u32 set, u32 way) const { return first_handle_ + static_cast<u32>(slot(set, way)); }

 private:
  static constexpr u32 kChunk = 16;

  std::size_t slot(u32 set, u32 way) const { return std::size_t{set} * geometry_.ways + way; }

  u32 choose(u32 set) {
    if (!has_room(set)) return policy_->victim(set);
    const u32 hint = policy_->hint(set);
    return hint != Policy::kNoHint && !holds(set, hint) ? hint : find(set, kFree);
  }
  void left(u32 set, u32 way) {
    if (!last_.empty()) {
      if (last_[set] != way) return;  // told when it stopped being the last
      last_[set] = kNone;
    }
    if (listener_) listener_->resident_left(handle(set, way));
  }
  void note_last(u32 set, u32 way) {
    if (last_.empty() || last_[set] == way) return;
    if (last_[set] != kNone && listener_) listener_->resident_left(handle(set, last_[set]));
    last_[set] = way;
  }

  Geometry geometry_;
  std::unique_ptr<Policy> policy_;
  Policy::Replay replay_;
  std::vector<u64> tags_;
  std::vector<Payload> payloads_;
  std::vector<u32> used_;  ///< residents per set
  std::vector<u32> last_;  ///< last touched way per set; empty where nobody asks
  u64 residents_ = 0;
  ResidentListener* listener_ = nullptr;
  u32 first_handle_ = 0;
};

}  // namespace nestwalk::tlb
