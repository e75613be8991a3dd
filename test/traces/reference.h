// An independent reader of traces: what traces/FORMAT.md says happens to a TLB, done with a list per set and nothing of ours.
// Deliberately naive: every question is a search. From the records alone it works out the counts that the run reported.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <vector>

namespace reference {

/// A record by the table in traces/FORMAT.md.
struct Record {
  unsigned type, side, flags, size, level, rights, n;
  std::uint64_t a, b, c, d;
};

/// An array of a TLB as the test describes it: page sizes as log2, the sets by low bits or by low bits ^ the next as many.
struct Bank {
  std::vector<unsigned> sizes;
  unsigned sets, ways;
  bool lru = true, exclusive_or = false;
};
struct Tlb {
  std::string name;
  unsigned level;
  bool fetch, load, store;
  std::vector<Bank> banks;
  bool tagged = true;
};

class Replay {
 public:
  explicit Replay(const std::vector<Tlb>& tlbs) {
    for (const Tlb& t : tlbs) {
      tlbs_.push_back({t, {}});
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

  std::map<std::string, std::uint64_t> counts;  ///< by the names of the run's statistics
  std::uint64_t records = 0;
  std::vector<std::string> disagreements;  ///< what a record says about a look-up, against what the lists say

 private:
  enum : unsigned { kUser = 1, kImplicit = 2, kFault = 4, kHit = 8, kWalked = 16, kPaged = 32 };        // flags
  enum : unsigned { kUserPage = 1, kWritable = 2, kExecutable = 4, kDirty = 8, kGlobal = 16 };          // rights
  enum : unsigned { kPageFault = 1, kNonCanonical = 2 };                                                // kinds of fault

  struct Entry {
    std::uint64_t number;  ///< of its page
    unsigned size, pcid, rights;
    bool matches(std::uint64_t address, unsigned context) const {
      return address >> size == number && (rights & kGlobal || pcid == context);
    }
  };
  using Set = std::list<Entry>;  ///< the next victim last
  struct State {
    Tlb is;
    std::vector<std::vector<Set>> sets;  ///< by bank
  };

  static std::string who(unsigned flags) { return flags & kUser ? "user" : "kernel"; }
  static std::string what(unsigned side) { return side == 0 ? "fetch" : side == 1 ? "load" : "store"; }
  static std::string size_name(unsigned size) { return size == 12 ? "4K" : size == 21 ? "2M" : size == 22 ? "4M" : "1G"; }
  static bool serves(const Tlb& t, unsigned side) { return side == 0 ? t.fetch : side == 1 ? t.load : t.store; }
  void count(const std::string& name, std::uint64_t by = 1) { counts[name] += by; }
  std::uint64_t truncated(std::uint64_t address) const { return efer_ & 1u << 10 ? address : address & 0xffffffff; }

  void paging(const Record& r) {
    cr0_ = r.c, cr4_ = r.b, efer_ = r.d, ac_ = r.n & 1;
    const unsigned pcid = cr4_ >> 17 & 1 ? r.a & 0xfff : 0;
    if (!(cr0_ >> 31) || pcid == pcid_) return;
    pcid_ = pcid;
    for (State& t : tlbs_)
      if (!t.is.tagged) forget(t, "flushes", [](const Entry& e) { return !(e.rights & kGlobal); });
  }

  void invalidate(const Record& r) {
    const std::uint64_t address = truncated(r.a);
    for (State& t : tlbs_)
      forget(t, "flushes", [&](const Entry& e) {
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
  std::uint64_t forget(State& t, const std::string& reason, Which which) {
    std::uint64_t gone = 0;
    for (auto& bank : t.sets)
      for (Set& set : bank) {
        const std::size_t before = set.size();
        set.remove_if(which);
        gone += before - set.size();
      }
    count("tlb." + t.is.name + "." + reason, gone);
    return gone;
  }

  Set& set_of(State& t, std::size_t bank, std::uint64_t address, unsigned size) {
    const Bank& b = t.is.banks[bank];
    const std::uint64_t number = (address & ((std::uint64_t{1} << 57) - 1)) >> size;
    return t.sets[bank][(b.exclusive_or ? number ^ number / b.sets : number) % b.sets];
  }

  /// The match of the smallest page, the PCID's own before a global one; moved to the front where use counts.
  const Entry* find(State& t, std::uint64_t address) {
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

  void put(State& t, const Entry& entry) {
    for (std::size_t b = 0; b < t.sets.size(); ++b) {
      const Bank& bank = t.is.banks[b];
      bool takes = false;
      for (unsigned size : bank.sizes) takes |= size == entry.size;
      if (!takes) continue;
      Set& set = set_of(t, b, entry.number << entry.size, entry.size);
      set.push_front(entry);
      count("tlb." + t.is.name + ".fills");
      count("tlb." + t.is.name + ".fills." + size_name(entry.size));
      if (set.size() <= bank.ways) return;
      set.pop_back();
      count("tlb." + t.is.name + ".evictions");
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
    const std::string mode = who(r.flags), side = what(r.side);
    if (!(r.flags & kPaged)) return count("accesses.unpaged." + side);
    if ((r.flags & kFault) && r.size == kNonCanonical) return;
    count("accesses." + mode + "." + side);
    if (r.flags & kImplicit) count("implicit " + side);
    const std::uint64_t address = truncated(r.a);

    unsigned level = 0;
    bool suffices = false;
    std::vector<State*> in_front;
    for (unsigned l = 1; l <= 4 && !level; ++l)
      for (State& t : tlbs_) {
        if (t.is.level != l || !serves(t.is, r.side)) continue;
        const std::string name = "tlb." + t.is.name;
        count(name + ".accesses");
        if (const Entry* hit = find(t, address)) {
          count(name + ".hits");
          const Entry entry = *hit;
          while (!in_front.empty()) put(*in_front.back(), entry), in_front.pop_back();
          level = l;
          suffices = allows(entry.rights, r);
          if (!suffices) count("tlb.rewalks.permission");
          if (suffices && r.side == 2 && !(entry.rights & kDirty)) suffices = false, count("tlb.rewalks.dirty");
        } else {
          for (const std::string& of : {std::string(".misses"), ".misses." + mode, "." + side + "_misses"}) count(name + of);
          in_front.push_back(&t);
        }
      }

    const bool walks = !suffices;
    if (walks != bool(r.flags & kWalked) || suffices != bool(r.flags & kHit) || (suffices ? level : 0) != r.level)
      disagreements.push_back("record " + std::to_string(records) + ": the lists say level " + std::to_string(level) +
                              (suffices ? ", a hit" : ", a walk"));
    if (walks) walk(r, address);
  }

  void walk(const Record& r, std::uint64_t address) {
    const std::string by = "walk.by." + who(r.flags) + "." + what(r.side);
    count("walk.count"), count(by + ".count");
    count("walk.cycles", r.d), count(by + ".cycles", r.d);
    reads_of_ = by;
    if (!(r.flags & kFault)) {
      count("walk.page_size." + size_name(r.size));
      const Entry entry{address >> r.size, r.size, pcid_, r.rights};
      for (State& t : tlbs_)
        if (serves(t.is, r.side)) forget(t, "dropped", [&](const Entry& e) { return e.matches(address, pcid_); });
      for (unsigned l = 4; l > 0; --l)
        for (State& t : tlbs_)
          if (t.is.level == l && serves(t.is, r.side)) put(t, entry);
      return;
    }
    count("walk.faults");
    if (r.size != kPageFault) return;
    for (State& t : tlbs_)
      count("tlb.fault_flushes", forget(t, "flushes", [&](const Entry& e) { return e.matches(address, pcid_); }));
  }

  /// Traces of walks only: a read belongs to the access before it.
  void read(const Record& r) {
    static const char* const servers[] = {"flat", "l1", "l2", "l3", "l4", "l5", "l6", "memory"};
    const std::string position = "g" + std::to_string(r.level) + "h" + std::to_string(r.side);
    count("walk.reads"), count(reads_of_ + ".reads"), count("cycles.walk_read", r.c);
    count("walk.reads_by_position." + position), count("walk.served_by." + position + "." + servers[r.size & 7]);
  }

  std::vector<State> tlbs_;
  std::uint64_t cr0_ = 0, cr4_ = 0, efer_ = 0;
  unsigned pcid_ = 0;
  bool ac_ = false;
  std::string reads_of_;
};

}  // namespace reference
