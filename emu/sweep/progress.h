// The line that says how far a sweep is: one that overwrites itself on a terminal, a plain line per point elsewhere.
#pragma once

#include <chrono>
#include <ostream>
#include <string>

#include "emu/sweep/runner.h"

namespace nestwalk::emu::sweep {

struct Tally {
  u64 total = 0;    ///< points of the sweep
  u64 before = 0;   ///< of them, those that an earlier call had finished
  u64 done = 0;     ///< finished by this call
  u64 failed = 0;   ///< failed in this call
  u64 running = 0;  ///< now
  bool interrupted = false;
};

/// "3 of 12 points (1 failed), 2 running, 1.4 a minute, 6 min left"; rate and time left once a point has ended,
/// the time passed before.
std::string progress_text(const Tally& tally, double seconds);

class Progress {
 public:
  Progress(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}
  ~Progress() { clear(); }

  void begin(const Tally& tally, u64 jobs);
  void ended(const Tally& tally, const Plan& plan, const Result& result);
  /// Called now and then.
  void tick(const Tally& tally);

 private:
  void clear();
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count(); }

  std::ostream& out_;
  bool terminal_, shown_ = false;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace nestwalk::emu::sweep
