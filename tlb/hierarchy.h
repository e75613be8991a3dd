// The TLB of one core as the configuration describes it: groups ([tlb.l1i], [tlb.l1d], [tlb.l2], any names), each on a
// level, serving fetches, loads, stores or all, made of one or more arrays (the group's own keys describe the main array, a
// sub-section such as [tlb.l1d.2m] a further one beside it). A look-up goes level by level; arrays of a group are looked
// up in parallel; what is found behind the first level is inserted in front.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "sim/settings.h"
#include "sim/stats.h"
#include "tlb/entry.h"
#include "tlb/touch.h"

namespace nestwalk::tlb {

/// What a look-up found. The first-level resident (`touch`, `handle`, `filterable`) is described for the filter.
struct Found {
  const Entry* entry = nullptr;  ///< nullptr: missed everywhere
  u8 level = 0;                  ///< 1-based level that hit
  Cycles cycles = 0;             ///< latency of the levels behind the first that were looked into, hit or miss
  u32 handle = 0;                ///< of the first-level resident now holding the translation
  bool filterable = false;       ///< a first-level resident holds it and its policy allows a filter
  Touch touch;
};

class Hierarchy {
 public:
  /// Reads every key below `section` ("tlb"); throws sim::ConfigError on an impossible geometry.
  Hierarchy(sim::Section section, u64 seed);
  ~Hierarchy();

  /// Called for residents of first-level arrays.
  void set_listener(ResidentListener* listener);
  /// The port's counts of all accesses, filtered ones included: `ordinal` is what LRU policies store at a touch, `count` is
  /// what the first level reports as its accesses. Must be set before the first look-up; must outlive this object.
  void set_access_counts(const AccessCounts* counts);

  /// The current PCID changed. Arrays without PCID tags lose their non-global entries now; a `lookup` for another PCID than
  /// the current one does the same, but comes too late where the filter retired accesses to global pages in between.
  void set_pcid(u16 pcid);

  /// `linear` >> 12 is looked up for `pcid` on the port `side`; `user` only splits the miss statistics.
  Found lookup(u64 linear, u16 pcid, Side side, bool user);
  /// After the walk for the address last looked up (if that lies in the entry's page; otherwise for the page's first
  /// address): the entry replaces whatever translates that address in the levels on that side and is inserted according
  /// to the inclusion policies. Returns the description of the first-level resident (level 1, cycles 0); where no array of
  /// the first level takes the page size, `entry` is valid all the same but not filterable.
  Found insert(const Entry& entry, Side side);

  /// Invalidations; each returns how many entries left (all levels).
  u64 flush_page(u64 linear, u16 pcid, bool with_global);  ///< INVLPG (with_global), INVPCID type 0 (without)
  u64 flush_address(u64 linear, u16 pcid);                 ///< what translates it, not the rest of a page it is a piece of
  u64 flush_pcid(u16 pcid);                                ///< non-global entries of one PCID
  u64 flush_vpid(u16 context, bool with_global);           ///< every PCID of the context's VPID
  u64 flush_vpid_page(u64 linear, u16 context);            ///< one page, every PCID of the context's VPID, globals too
  u64 flush_all();                                         ///< of all VPIDs

  void declare(sim::Stats& stats);
  /// The latency of a first-level hit, which the core's fixed costs include.
  Cycles first_level_latency(Side side) const;
  /// Number of residents and their translations, for tests and for `page sizes in use`.
  void for_each(const std::function<void(const std::string& array, const Entry&)>& f) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nestwalk::tlb
