// The data caches of a core: levels behind one another, write-back, physically (machine) indexed, and memory behind them.
// `cache.model = none` charges one flat latency per walk read, `walks` sends walk traffic only, `full` sends every access.
#pragma once

#include <memory>

#include "base/bill.h"
#include "base/random.h"
#include "sim/settings.h"
#include "sim/stats.h"
#include "tlb/entry.h"
#include "tlb/touch.h"

namespace nestwalk::mmu {

enum class CacheModel : u8 { none, walks, full };

struct CacheAnswer {
  ServedBy served_by = kFlat;
  Cycles cycles = 0;  ///< whole latency of this access (for `full` accesses: above a first-level hit)
  /// First-level line now holding the bytes, for the filter.
  bool filterable = false;
  u32 handle = 0;
  tlb::Touch touch;
};

class DataCaches {
 public:
  /// Reads every key below `section` ("cache"): model, line, memory_latency, walk_latency (flat), sub-sections per level.
  DataCaches(sim::Section section, u64 seed);
  ~DataCaches();

  CacheModel model() const;
  unsigned line_shift() const;  ///< log2 of the line's bytes
  /// `listener` hears of first-level data lines (and, with a split first level, instruction lines) that leave. Handles of
  /// instruction lines are distinct from those of data lines.
  void set_listener(tlb::ResidentListener* listener);
  void set_access_counts(const tlb::AccessCounts* counts);

  /// A walker's read or write of a table entry; always answered, by whatever the model is.
  CacheAnswer walk_access(MachineAddr address, bool write);
  /// A data or instruction access of the core to one line (`full` only).
  CacheAnswer access(MachineAddr address, tlb::Side side, bool user);
  void declare(sim::Stats& stats);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nestwalk::mmu
