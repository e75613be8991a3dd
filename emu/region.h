// Regions of interest: intervals between `begin` and `end` add up; what lies outside is not counted in them. The whole run
// is always there beside them.
#pragma once

#include <optional>

#include "sim/stats.h"

namespace nestwalk::emu {

class Region {
 public:
  explicit Region(const sim::Stats& stats) : stats_(stats) {}

  void begin();  ///< a second begin without an end between them changes nothing
  void end();    ///< without a begin: nothing
  /// Forgets everything so far: intervals and the beginning of the run.
  void restart();

  bool open() const { return begun_.has_value(); }
  unsigned intervals() const { return intervals_; }
  /// The sum of all intervals, an open one up to now.
  sim::Snapshot inside() const;
  /// Since the start of the run or the last restart.
  sim::Snapshot whole() const;

 private:
  const sim::Stats& stats_;
  std::optional<sim::Snapshot> begun_, origin_, sum_;
  unsigned intervals_ = 0;
};

}  // namespace nestwalk::emu
