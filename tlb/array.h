// A set-associative array of tags and payloads: TLB entries, cache lines. Tags of a set lie side by side, and before them a
// byte of each, eight to a word, that says which of them are worth comparing; the policy is chosen when the array is built.
// The index functions are those measured by TLB;DR (LIN-n, XOR-n) and a modulo for numbers of sets that are no power of
// two.
#pragma once

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

  /// `distinct`: two tags that one find() asks for differ below this bit only.
  Array(const Geometry& geometry, std::unique_ptr<Policy> policy, unsigned distinct = 0)
      : geometry_(geometry),
        distinct_(distinct),
        words_((geometry.ways + 7) / 8),
        policy_(std::move(policy)),
        replay_(policy_->replay()),
        tags_(std::size_t{geometry.sets} * geometry.ways, kFree),
        signatures_(std::size_t{geometry.sets} * words_),
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
    if (used_[set] == 0) return kNone;
    const u64 wanted = signature(tag) * kOnes;
    const u64* const words = &signatures_[std::size_t{set} * words_];
    const u64* const tags = &tags_[slot(set, 0)];
    u32 second = kNone;
    for (u32 word = 0; word < words_; ++word) {
      // The top bit of each byte that is zero, that is, equal; bytes of 1 above such a one may have it too.
      const u64 difference = words[word] ^ wanted;
      for (u64 equal = (difference - kOnes) & ~difference & kTops; equal; equal &= equal - 1) {
        const u32 way = word * 8 + static_cast<u32>(std::countr_zero(equal)) / 8;
        if (tags[way] == tag) return way;
        if (tags[way] == other && second == kNone) second = way;
      }
    }
    return second;
  }
  /// Calls `f(set, way)` for each resident, by set and way. It may erase that one.
  template <class F>
  void for_each(F&& f) const {
    for (u32 set = 0; set < sets() && residents_; ++set)
      for (u32 word = 0; used_[set] && word < words_; ++word)
        for (u64 taken = signatures_[std::size_t{set} * words_ + word] & kTops; taken; taken &= taken - 1)
          f(set, word * 8 + static_cast<u32>(std::countr_zero(taken)) / 8);
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
    put(set, way, tag);
    payloads_[s] = payload;
    policy_->fill(set, way, now);
    note_last(set, way);
    return way;
  }
  void erase(u32 set, u32 way) {
    left(set, way);
    put(set, way, kFree);
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
  static constexpr u64 kOnes = 0x0101010101010101, kTops = 0x8080808080808080;
  /// A byte whose top bit is set, so that free ways and the bytes behind the last way, all 0, are like none.
  u64 signature(u64 tag) const { return (tag >> distinct_) * 0x9e3779b97f4a7c15 >> 57 | 0x80; }
  void put(u32 set, u32 way, u64 tag) {
    tags_[slot(set, way)] = tag;
    u64& word = signatures_[std::size_t{set} * words_ + way / 8];
    const unsigned shift = way % 8 * 8;
    word = (word & ~(u64{0xff} << shift)) | (tag == kFree ? 0 : signature(tag)) << shift;
  }
  /// The lowest, of a set that has room.
  u32 free_way(u32 set) const {
    const u64* const words = &signatures_[std::size_t{set} * words_];
    u32 word = 0;
    while ((words[word] & kTops) == kTops) ++word;
    return word * 8 + static_cast<u32>(std::countr_zero(~words[word] & kTops)) / 8;
  }

  std::size_t slot(u32 set, u32 way) const { return std::size_t{set} * geometry_.ways + way; }

  u32 choose(u32 set) {
    if (!has_room(set)) return policy_->victim(set);
    const u32 hint = policy_->hint(set);
    return hint != Policy::kNoHint && !holds(set, hint) ? hint : free_way(set);
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
  unsigned distinct_;
  u32 words_;  ///< of signatures, for a set
  std::unique_ptr<Policy> policy_;
  Policy::Replay replay_;
  std::vector<u64> tags_;
  std::vector<u64> signatures_;
  std::vector<Payload> payloads_;
  std::vector<u32> used_;  ///< residents per set
  std::vector<u32> last_;  ///< last touched way per set; empty where nobody asks
  u64 residents_ = 0;
  ResidentListener* listener_ = nullptr;
  u32 first_handle_ = 0;
};

}  // namespace nestwalk::tlb
