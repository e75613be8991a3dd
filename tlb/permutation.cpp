// Permutation-vector policies (Abel, Reineke, RTAS 2013): a set is a list of its ways, most precious first. A hit at
// position i rearranges the list by vector i (the new position j receives what stood at vector[j]); a miss replaces the
// last and rearranges by the insertion vector. TLB;DR (Tatar et al., USENIX Security 2022) prints such vectors for the
// processor it runs on; where a tree or stamp gives the same victims, prefer that: a filter may then hold all residents.
#include <algorithm>
#include <sstream>
#include <vector>

#include "tlb/policy.h"

namespace nestwalk::tlb {
namespace {

using Vector = std::vector<u8>;

/// A list of positions, each of 0..ways-1 exactly once. `key` is what a refusal names.
Vector parse_vector(const PolicyParts& p, const char* key, std::string text) {
  std::replace(text.begin(), text.end(), ',', ' ');
  std::istringstream in(text);
  Vector v;
  std::vector<bool> seen(p.ways);
  for (u32 n; in >> n;) {
    if (n >= p.ways || seen[n])
      p.section.refuse(key, "\"" + text + "\" is no permutation of 0.." + std::to_string(p.ways - 1));
    seen[n] = true;
    v.push_back(static_cast<u8>(n));
  }
  if (!in.eof() || v.size() != p.ways)
    p.section.refuse(key, "\"" + text + "\" is not " + std::to_string(p.ways) + " numbers, one per way");
  return v;
}

class Permutation final : public Policy {
 public:
  /// `hits`: one vector per position, separated by '|'; `insertion`: one vector.
  Permutation(const PolicyParts& p, const std::string& hits, const std::string& insertion)
      : ways_(p.ways), list_(std::size_t{p.sets} * p.ways), next_(p.ways) {
    std::istringstream in(hits);
    for (std::string text; std::getline(in, text, '|');) hit_.push_back(parse_vector(p, "permutations", text));
    if (hit_.size() != ways_)
      p.section.refuse("permutations",
                       std::to_string(hit_.size()) + " vectors given for " + std::to_string(ways_) + " ways");
    insertion_ = parse_vector(p, "insertion", insertion);
    // The list ends with way 0, so that a cold set fills upwards where the insertion vector is a rotation.
    for (u32 set = 0; set < p.sets; ++set)
      for (u32 i = 0; i < ways_; ++i) list_[std::size_t{set} * ways_ + i] = static_cast<u8>(ways_ - 1 - i);
    replay_ = second_touch_is_identity() ? Replay::last_touched : Replay::never;
  }

  Replay replay() const override { return replay_; }
  Touch touch(u32, u32) override { return idle(); }
  void hit(u32 set, u32 way, u64) override { rearrange(set, hit_[position(set, way)]); }
  void fill(u32 set, u32 way, u64) override {
    const u32 at = position(set, way);
    rearrange(set, at == ways_ - 1 ? insertion_ : hit_[at]);
  }
  u32 victim(u32 set) override { return hint(set); }
  u32 hint(u32 set) const override { return list_[std::size_t{set} * ways_ + ways_ - 1]; }

 private:
  u32 position(u32 set, u32 way) const {
    const u8* list = &list_[std::size_t{set} * ways_];
    u32 at = 0;
    while (list[at] != way) ++at;
    return at;
  }
  void rearrange(u32 set, const Vector& by) {
    u8* list = &list_[std::size_t{set} * ways_];
    for (u32 j = 0; j < ways_; ++j) next_[j] = list[by[j]];
    std::copy(next_.begin(), next_.end(), list);
  }
  /// Where the vector moves what stood at `from`, is a hit there without effect?
  bool settles(const Vector& by, u32 from) const {
    const auto to = static_cast<u32>(std::find(by.begin(), by.end(), static_cast<u8>(from)) - by.begin());
    return std::is_sorted(hit_[to].begin(), hit_[to].end());
  }
  bool second_touch_is_identity() const {
    for (u32 i = 0; i < ways_; ++i)
      if (!settles(hit_[i], i)) return false;
    return settles(insertion_, ways_ - 1);
  }

  u32 ways_;
  std::vector<Vector> hit_;
  Vector insertion_;
  std::vector<u8> list_;  ///< per set, the ways by position
  Vector next_;
  Replay replay_;
};

std::unique_ptr<Policy> from_text(const PolicyParts& p) {
  sim::Section section = p.section;
  std::string hits, insertion;
  section.field("permutations", hits, "policy = permutation: a vector per hit position, separated by |, as in 0 1 | 1 0");
  section.field("insertion", insertion, "policy = permutation: the vector applied after the last position was replaced");
  if (p.ways > 64) section.refuse("ways", "permutation vectors describe at most 64 ways");
  return std::make_unique<Permutation>(p, hits, insertion);
}

const RegisterPolicy any("permutation", "Permutation vectors given as text (Abel, Reineke, RTAS 2013).", from_text);

}  // namespace
}  // namespace nestwalk::tlb
