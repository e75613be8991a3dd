// An independent reader of traces: what traces/FORMAT.md says happens to a TLB, done with a list per set and nothing of
// ours. Deliberately naive: every question is a search. From the records alone it works out the counts that the run
// reported.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <vector>

namespace reference {

using u64 = std::uint64_t;

/// A record by the table in traces/FORMAT.md.
struct Record {
  unsigned type, side, flags, size, level, rights, n;
  u64 a, b, c, d;
};

/// An array of a TLB as the test describes it: page sizes as log2; sets by the low bits or by those ^ the next as many.
struct Bank {
  std::vector<unsigned> sizes;
  unsigned sets, ways;
  bool lru = true, exclusive_or = false;
};
struct Tlb {
  std::string name;
  unsigned level;
  bool serves[3];  ///< fetches, loads, stores
  std::vector<Bank> banks;
  bool tagged = true;
};

class Replay {
 public:
  explicit Replay(const std::vector<Tlb>& tlbs) {
    for (const Tlb& t : tlbs) {
      tlbs_.push_back({});
      tlbs_.back().is = t;
      for (const Bank& b : t.banks) tlbs_.back().sets.emplace_back(b.sets);
    }
  }

  void feed(const Record& r) {
    ++records;
    if (r.type == 1) access(r);
    if (r.type == 2) read(r);
    if (r.type == 3) paging(r);
    if (r.type == 4) invalidate(r);
  }

  u64 records = 0;
  std::vector<u64> disagreements;  ///< records whose word on their look-up is not what the lists say

  /// What was counted, by the names of the run's statistics; what never happened is left out.
  std::map<std::string, u64> counts() const;

 private:
  enum : unsigned { kUser = 1, kImplicit = 2, kFault = 4, kHit = 8, kWalked = 16, kPaged = 32 };  // flags
  enum : unsigned { kUserPage = 1, kWritable = 2, kExecutable = 4, kDirty = 8, kGlobal = 16 };    // rights
  enum : unsigned { kPageFault = 1, kNonCanonical = 2 };                                          // kinds of fault

  struct Entry {
    u64 number;  ///< of its page
    unsigned size, pcid, rights;
    bool matches(u64 address, unsigned context) const {
      return address >> size == number && (rights & kGlobal || pcid == context);
    }
  };
  using Set = std::list<Entry>;  ///< the next victim last
  struct State {
    Tlb is;
    std::vector<std::vector<Set>> sets;  ///< by bank
    u64 hits = 0, misses[2][3] = {}, evictions = 0, flushes = 0, dropped = 0;
    std::map<unsigned, u64> fills;
  };
  struct Walks {
    u64 count = 0, cycles = 0, reads = 0;
  };

  u64 truncated(u64 address) const { return efer_ & 1u << 10 ? address : address & 0xffffffff; }

  void paging(const Record& r) {
    cr0_ = r.c, cr4_ = r.b, efer_ = r.d, ac_ = r.n & 1;
    const unsigned pcid = cr4_ >> 17 & 1 ? r.a & 0xfff : 0;
    if (!(cr0_ >> 31) || pcid == pcid_) return;
    pcid_ = pcid;
    for (State& t : tlbs_)
      if (!t.is.tagged) t.flushes += forget(t, [](const Entry& e) { return !(e.rights & kGlobal); });
  }

  void invalidate(const Record& r) {
    const u64 address = truncated(r.a);
    for (State& t : tlbs_)
      t.flushes += forget(t, [&](const Entry& e) {
        switch (r.side) {
          case 0: return e.matches(address, pcid_);
          case 1: return e.matches(address, r.n) && !(e.rights & kGlobal);
          case 2: return e.pcid == r.n && !(e.rights & kGlobal);
          case 3: return !(e.rights & kGlobal);
          default: return true;
        }
      });
  }

  template <class Which>
  static u64 forget(State& t, Which which) {
    u64 gone = 0;
    for (auto& bank : t.sets)
      for (Set& set : bank) gone += set.remove_if(which);
    return gone;
  }

  static Set& set_of(State& t, std::size_t bank, u64 address, unsigned size) {
    const Bank& b = t.is.banks[bank];
    const u64 number = (address & ((u64{1} << 57) - 1)) >> size;
    return t.sets[bank][(b.exclusive_or ? number ^ number / b.sets : number) % b.sets];
  }

  /// The match of the smallest page, the PCID's own before a global one; moved to the front where use counts.
  const Entry* find(State& t, u64 address) {
    Set* where = nullptr;
    Set::iterator best;
    bool lru = false;
    for (std::size_t b = 0; b < t.sets.size(); ++b)
      for (unsigned size : t.is.banks[b].sizes) {
        Set& set = set_of(t, b, address, size);
        for (auto e = set.begin(); e != set.end(); ++e) {
          if (e->size != size || !e->matches(address, pcid_)) continue;
          if (where && (best->size < e->size || (best->size == e->size && e->rights & kGlobal))) continue;
          where = &set, best = e, lru = t.is.banks[b].lru;
        }
      }
    if (!where) return nullptr;
    if (lru) where->splice(where->begin(), *where, best);
    return &*best;
  }

  static void put(State& t, const Entry& entry) {
    for (std::size_t b = 0; b < t.sets.size(); ++b)
      for (unsigned size : t.is.banks[b].sizes) {
        if (size != entry.size) continue;
        Set& set = set_of(t, b, entry.number << size, size);
        set.push_front(entry);
        ++t.fills[size];
        if (set.size() > t.is.banks[b].ways) set.pop_back(), ++t.evictions;
        return;
      }
  }

  /// SDM vol. 3, 4.6.1.
  bool allows(unsigned rights, const Record& r) const {
    const bool wp = cr0_ >> 16 & 1, smep = cr4_ >> 20 & 1, smap = cr4_ >> 21 & 1;
    const bool user_page = rights & kUserPage, writable = rights & kWritable;
    if (r.side == 0 && !(rights & kExecutable)) return false;
    if (r.flags & kUser) return user_page && (r.side != 2 || writable);
    if (r.side == 0) return !(smep && user_page);
    if (smap && user_page && (!ac_ || (r.flags & kImplicit))) return false;
    return r.side != 2 || writable || !wp;
  }

  void access(const Record& r) {
    const unsigned user = r.flags & kUser;
    if (!(r.flags & kPaged)) {
      ++unpaged_[r.side];
      return;
    }
    if ((r.flags & kFault) && r.size == kNonCanonical) return;
    ++accesses_[user][r.side];

    const u64 address = truncated(r.a);
    unsigned level = 0;
    bool suffices = false;
    std::vector<State*> in_front;
    for (unsigned l = 1; l <= 4 && !level; ++l)
      for (State& t : tlbs_) {
        if (t.is.level != l || !t.is.serves[r.side]) continue;
        if (const Entry* hit = find(t, address)) {
          const Entry entry = *hit;
          level = l;
          ++t.hits;
          for (; !in_front.empty(); in_front.pop_back()) put(*in_front.back(), entry);
          suffices = allows(entry.rights, r);
          permission_ += !suffices;
          if (suffices && r.side == 2 && !(entry.rights & kDirty)) suffices = false, ++dirty_;
        } else {
          ++t.misses[user][r.side];
          in_front.push_back(&t);
        }
      }
    if (suffices == bool(r.flags & kWalked) || suffices != bool(r.flags & kHit) || (suffices ? level : 0) != r.level)
      disagreements.push_back(records);
    if (!suffices) walk(r, address);
  }

  void walk(const Record& r, u64 address) {
    walks_of_ = &walks_[r.flags & kUser][r.side];
    ++walks_of_->count;
    walks_of_->cycles += r.d;
    if (!(r.flags & kFault)) {
      ++pages_[r.size];
      for (State& t : tlbs_)
        if (t.is.serves[r.side]) t.dropped += forget(t, [&](const Entry& e) { return e.matches(address, pcid_); });
      for (unsigned l = 4; l > 0; --l)
        for (State& t : tlbs_)
          if (t.is.level == l && t.is.serves[r.side]) put(t, {address >> r.size, r.size, pcid_, r.rights});
      return;
    }
    ++faults_;
    if (r.size != kPageFault) return;
    for (State& t : tlbs_) {
      const u64 gone = forget(t, [&](const Entry& e) { return e.matches(address, pcid_); });
      t.flushes += gone;
      fault_flushes_ += gone;
    }
  }

  /// Traces of walks only: a read belongs to the access before it.
  void read(const Record& r) {
    ++walks_of_->reads;
    read_cycles_ += r.c;
    position_cycles_["g" + std::to_string(r.level) + "h" + std::to_string(r.side)] += r.c;
    ++served_["g" + std::to_string(r.level) + "h" + std::to_string(r.side)][r.size];
  }

  std::vector<State> tlbs_;
  u64 cr0_ = 0, cr4_ = 0, efer_ = 0;
  unsigned pcid_ = 0;
  bool ac_ = false;

  u64 unpaged_[3] = {}, accesses_[2][3] = {};
  u64 permission_ = 0, dirty_ = 0, fault_flushes_ = 0, faults_ = 0, read_cycles_ = 0;
  Walks walks_[2][3];
  Walks* walks_of_ = &walks_[0][0];
  std::map<unsigned, u64> pages_;
  std::map<std::string, std::map<unsigned, u64>> served_;
  std::map<std::string, u64> position_cycles_;
};

inline std::map<std::string, u64> Replay::counts() const {
  static const std::string whos[] = {"kernel", "user"}, sides[] = {"fetch", "load", "store"};
  static const std::string servers[] = {"flat", "l1", "l2", "l3", "l4", "l5", "l6", "memory"};
  const auto size_name = [](unsigned s) -> std::string { return s == 12 ? "4K" : s == 21 ? "2M" : s == 22 ? "4M" : "1G"; };
  std::map<std::string, u64> all;
  for (const State& t : tlbs_) {
    const std::string name = "tlb." + t.is.name + ".";
    for (unsigned user = 0; user < 2; ++user)
      for (unsigned side = 0; side < 3; ++side)
        for (const std::string& kind : {std::string("misses"), "misses." + whos[user], sides[side] + "_misses"})
          all[name + kind] += t.misses[user][side];
    all[name + "hits"] = t.hits;
    all[name + "accesses"] = t.hits + all[name + "misses"];
    all[name + "evictions"] = t.evictions, all[name + "flushes"] = t.flushes, all[name + "dropped"] = t.dropped;
    for (const auto& [size, n] : t.fills) all[name + "fills"] += n, all[name + "fills." + size_name(size)] = n;
  }
  all["tlb.rewalks.permission"] = permission_, all["tlb.rewalks.dirty"] = dirty_, all["tlb.fault_flushes"] = fault_flushes_;
  for (unsigned side = 0; side < 3; ++side) {
    all["accesses.unpaged." + sides[side]] = unpaged_[side];
    for (unsigned user = 0; user < 2; ++user) {
      const Walks& w = walks_[user][side];
      const std::string by = "walk.by." + whos[user] + "." + sides[side] + ".";
      all["accesses." + whos[user] + "." + sides[side]] = accesses_[user][side];
      all["walk.count"] += all[by + "count"] = w.count;
      all["walk.cycles"] += all[by + "cycles"] = w.cycles;
      all["walk.reads"] += all[by + "reads"] = w.reads;
    }
  }
  all["walk.faults"] = faults_, all["cycles.walk_read"] = read_cycles_;
  for (const auto& [size, n] : pages_) all["walk.page_size." + size_name(size)] = n;
  for (const auto& [position, cycles] : position_cycles_) all["walk.cycles_by_position." + position] = cycles;
  for (const auto& [position, by_server] : served_)
    for (const auto& [server, n] : by_server)
      all["walk.reads_by_position." + position] += all["walk.served_by." + position + "." + servers[server & 7]] = n;
  std::erase_if(all, [](const auto& count) { return count.second == 0; });
  return all;
}

}  // namespace reference
