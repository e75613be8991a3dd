// The policies whose state is a stamp, a tree or a few bits. True LRU and FIFO by stamps; tree-PLRU as in Al-Zoubi,
// Milenkovic, Milenkovic, ACM-SE 2004; bit-PLRU (MRU) ibid.; SRRIP-HP with two bits: Jaleel et al., ISCA 2010.
#include "tlb/policy.h"

#include <bit>
#include <vector>

#include "base/bits.h"
#include "base/random.h"

namespace nestwalk::tlb {
namespace {

[[noreturn]] void refuse_ways(const PolicyParts& p, const char* what) {
  p.section.refuse("ways", std::to_string(p.ways) + " ways do not suit the policy: " + what);
}

/// The lowest of the set's stamps; `order` decides between touches of one and the same access (a walk makes several).
class Stamped : public Policy {
 public:
  explicit Stamped(const PolicyParts& p) : ways_(p.ways), stamp_(std::size_t{p.sets} * p.ways), order_(stamp_.size()) {}
  void fill(u32 set, u32 way, u64 now) override { stamp(set, way, now); }
  u32 victim(u32 set) override {
    const std::size_t first = std::size_t{set} * ways_;
    u32 best = 0;
    u128 least = ~u128{0};
    for (u32 w = 0; w < ways_; ++w) {
      const u128 age = u128{stamp_[first + w]} << 64 | order_[first + w];
      best = age < least ? w : best;
      least = age < least ? age : least;
    }
    return best;
  }

 protected:
  u64& word(u32 set, u32 way) { return stamp_[std::size_t{set} * ways_ + way]; }
  void stamp(u32 set, u32 way, u64 now) {
    word(set, way) = now;
    order_[std::size_t{set} * ways_ + way] = ++sequence_;
  }

 private:
  u32 ways_;
  std::vector<u64> stamp_, order_;
  u64 sequence_ = 0;
};

class Lru final : public Stamped {
 public:
  using Stamped::Stamped;
  Touch touch(u32 set, u32 way) override { return {&word(set, way), Touch::kStamp, 0}; }
  void hit(u32 set, u32 way, u64 now) override { stamp(set, way, now); }
};

class Fifo final : public Stamped {
 public:
  using Stamped::Stamped;
  Touch touch(u32, u32) override { return idle(); }
  void hit(u32, u32, u64) override {}
};

class RandomChoice final : public Policy {
 public:
  explicit RandomChoice(const PolicyParts& p) : ways_(p.ways), random_(p.seed) {}
  Touch touch(u32, u32) override { return idle(); }
  void hit(u32, u32, u64) override {}
  void fill(u32, u32, u64) override {}
  u32 victim(u32) override { return static_cast<u32>(random_.below(ways_)); }

 private:
  u32 ways_;
  Random random_;
};

/// One bit per inner node of a binary tree over the ways, node n's children being 2n and 2n+1, the root bit 1; a bit
/// says which half to give up next: 0 the lower. A hit turns all bits on its path away from itself.
struct Tree {
  u32 ways;
  struct Path {
    u64 nodes = 0, away = 0;
  };
  std::vector<Path> path;

  explicit Tree(u32 n) : ways(n), path(n) {
    for (u32 way = 0; way < ways; ++way)
      for (u32 node = ways + way; node > 1; node >>= 1) {
        path[way].nodes |= bit(node >> 1);
        if ((node & 1) == 0) path[way].away |= bit(node >> 1);
      }
  }
  u32 victim(u64 bits) const {
    u32 node = 1;
    while (node < ways) node = node << 1 | static_cast<u32>(bits >> node & 1);
    return node - ways;
  }
};

class TreePlru final : public Policy {
 public:
  explicit TreePlru(const PolicyParts& p) : tree_(checked(p).ways), bits_(p.sets) {}
  Touch touch(u32 set, u32 way) override { return {&bits_[set], ~tree_.path[way].nodes, tree_.path[way].away}; }
  void fill(u32 set, u32 way, u64 now) override { hit(set, way, now); }
  u32 victim(u32 set) override { return tree_.victim(bits_[set]); }
  u32 hint(u32 set) const override { return tree_.victim(bits_[set]); }

 private:
  static const PolicyParts& checked(const PolicyParts& p) {
    if (!std::has_single_bit(p.ways) || p.ways > 64) refuse_ways(p, "a tree needs a power of two of ways, at most 64");
    return p;
  }
  Tree tree_;
  std::vector<u64> bits_;
};

/// (MRU+1)%3PLRU4, as TLB;DR (Tatar et al., USENIX Security 2022) names what it measured in Skylake's second-level TLB:
/// three trees over four ways each; the tree after the one used last, cyclically, gives up its victim. One word per set:
/// the trees' bits from bits 0, 4 and 8, the number of the tree used last from bit 16.
class Mru3Plru4 final : public Policy {
 public:
  explicit Mru3Plru4(const PolicyParts& p) : tree_(4), state_(p.sets, u64{2} << kLast) {
    if (p.ways != 12) refuse_ways(p, "mru3plru4 is 3 trees over exactly 12 ways");
  }
  Touch touch(u32 set, u32 way) override {
    const Tree::Path& path = tree_.path[way % 4];
    const u32 tree = way / 4;
    return {&state_[set], ~(path.nodes << 4 * tree | u64{3} << kLast), path.away << 4 * tree | u64{tree} << kLast};
  }
  void fill(u32 set, u32 way, u64 now) override { hit(set, way, now); }
  u32 victim(u32 set) override { return hint(set); }
  u32 hint(u32 set) const override {
    const u32 tree = static_cast<u32>((state_[set] >> kLast) + 1) % 3;
    return tree * 4 + tree_.victim(state_[set] >> 4 * tree);
  }

 private:
  static constexpr unsigned kLast = 16;
  Tree tree_;
  std::vector<u64> state_;
};

/// A tree measured at one associativity.
template <u32 ways>
std::unique_ptr<Policy> measured_tree(const PolicyParts& p) {
  if (p.ways != ways) refuse_ways(p, ways == 4 ? "plru4 is for exactly 4" : "plru8 is for exactly 8");
  return std::make_unique<TreePlru>(p);
}

/// One bit per way, set at a touch; the touch that would set the last one clears all others. The lowest clear one goes.
class BitPlru final : public Policy {
 public:
  explicit BitPlru(const PolicyParts& p) : all_(low_mask(p.ways)), recent_(p.sets) {
    if (p.ways > 64) refuse_ways(p, "at most 64");
  }
  Replay replay() const override { return Replay::last_touched; }
  Touch touch(u32, u32) override { return idle(); }
  void hit(u32 set, u32 way, u64) override {
    u64& recent = recent_[set];
    recent |= bit(way);
    if (recent == all_) recent = bit(way);
  }
  void fill(u32 set, u32 way, u64 now) override { hit(set, way, now); }
  u32 victim(u32 set) override {
    const u64 old = all_ & ~recent_[set];
    return old ? static_cast<u32>(std::countr_zero(old)) : 0;
  }

 private:
  u64 all_;
  std::vector<u64> recent_;
};

/// A two-bit re-reference prediction value per way, 32 to a word: filled with 2, hit to 0, given up at 3; while none has 3,
/// all grow older together.
class Srrip final : public Policy {
 public:
  explicit Srrip(const PolicyParts& p) : ways_(p.ways), words_((p.ways + 31) / 32), value_(std::size_t{p.sets} * words_) {}
  Touch touch(u32 set, u32 way) override { return {&word(set, way), ~(u64{3} << shift(way)), 0}; }
  void fill(u32 set, u32 way, u64) override {
    word(set, way) = (word(set, way) & ~(u64{3} << shift(way))) | u64{2} << shift(way);
  }
  u32 victim(u32 set) override {
    u32 oldest = 0;
    for (u32 w = 1; w < ways_; ++w)
      if (value(set, w) > value(set, oldest)) oldest = w;
    const u64 older = 3 - value(set, oldest);
    for (u32 w = 0; older && w < ways_; ++w) word(set, w) += older << shift(w);
    return oldest;
  }

 private:
  static unsigned shift(u32 way) { return way % 32 * 2; }
  u64& word(u32 set, u32 way) { return value_[std::size_t{set} * words_ + way / 32]; }
  u64 value(u32 set, u32 way) { return word(set, way) >> shift(way) & 3; }

  u32 ways_, words_;
  std::vector<u64> value_;
};

template <class P>
std::unique_ptr<Policy> build(const PolicyParts& p) {
  return std::make_unique<P>(p);
}

const RegisterPolicy lru("lru", "True LRU: each hit stores the access ordinal; the smallest goes.", build<Lru>);
const RegisterPolicy fifo("fifo", "First in, first out; a hit changes nothing.", build<Fifo>);
const RegisterPolicy random_choice("random", "Any way of a full set, from the seed.", build<RandomChoice>);
const RegisterPolicy tree("tree-plru", "Pseudo-LRU by a binary tree of bits; ways a power of two, at most 64.",
                          build<TreePlru>);
const RegisterPolicy plru4("plru4", "Tree-PLRU over exactly 4 ways (measured: Skylake's first-level data TLB).",
                           measured_tree<4>);
const RegisterPolicy plru8("plru8", "Tree-PLRU over exactly 8 ways (measured: Skylake's first-level instruction TLB).",
                           measured_tree<8>);
const RegisterPolicy mru3plru4("mru3plru4", "(MRU+1)%3PLRU4: 3 trees over 4 ways (measured: Skylake's second-level TLB).",
                               build<Mru3Plru4>);
const RegisterPolicy bits_("bit-plru", "Pseudo-LRU by one MRU bit per way; at most 64 ways.", build<BitPlru>);
const RegisterPolicy srrip("srrip", "SRRIP-HP with two-bit re-reference predictions (Jaleel et al., ISCA 2010).",
                           build<Srrip>);

}  // namespace

std::unique_ptr<Policy> make_policy(sim::Section section, u32 sets, u32 ways, u64 seed) {
  std::string name = "lru";
  section.field("policy", name, "replacement policy, by name (`nestwalk models` lists them)");
  const auto& known = Policies::instance().entries();
  if (!known.contains(name)) {
    std::string all;
    for (const auto& [n, entry] : known) all += (all.empty() ? "" : ", ") + n;
    section.refuse("policy", "there is no such replacement policy; there are: " + all);
  }
  for (const char c : section.prefix()) seed = Random(seed ^ static_cast<u8>(c)).next();
  return Policies::instance().make(name, PolicyParts{section, sets, ways, seed});
}

}  // namespace nestwalk::tlb
