// How points are run: an interface, so that the sweep's loop, its resuming and its results know nothing of processes.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "emu/sweep/plan.h"
#include "report/json.h"

namespace nestwalk::emu::sweep {

struct Result {
  u64 id = 0;
  std::string status;  ///< report::ResultStore::kDone, or why there are no metrics
  std::vector<report::Metric> metrics;
};

struct Event {
  enum class Kind : u8 { nothing, finished, interrupted };
  Kind kind = Kind::nothing;
  Result result;  ///< when a point finished
};

class Runner {
 public:
  virtual ~Runner() = default;

  /// Begins a point and returns at once. A point that cannot even begin finishes with a status that says so.
  virtual void start(const Plan& plan) = 0;
  /// Waits until a point finishes, somebody asks the sweep to end, or the time is over.
  virtual Event wait(std::chrono::milliseconds time) = 0;
  /// Ends what runs; nothing of it stays.
  virtual void abandon() = 0;
  /// Drops what was kept of a point that is no longer part of the sweep.
  virtual void forget(u64 id) = 0;
};

}  // namespace nestwalk::emu::sweep
