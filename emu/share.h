// A machine's share of its core's statistics: what they gained while it had the core.
#pragma once

#include <deque>

#include "sim/stats.h"

namespace nestwalk::emu {

class Share {
 public:
  /// `core` must outlive this object.
  explicit Share(const sim::Stats& core) : core_(core), sum_(core.snapshot().minus(core.snapshot())) {}

  void begin() { begun_ = core_.snapshot(), running_ = true; }
  void end() { settle(), running_ = false; }
  /// Takes what was gained since `begin`; before a snapshot of the machine's own statistics while it runs.
  void settle();
  /// Declares every statistic of the core as the machine's own.
  void declare(sim::Stats& machine);

 private:
  const sim::Stats& core_;
  sim::Snapshot sum_, begun_;
  bool running_ = false;
};

}  // namespace nestwalk::emu
