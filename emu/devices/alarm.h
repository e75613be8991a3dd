// One event of a device on the machine's clock, and the rule that keeps a guest from flooding the machine with them:
// a periodic interrupt source may strike at most once per 10 microseconds of guest time. A faster period keeps its true
// phase and its counter counts on; only strikes in between are merged, as an interrupt controller would merge them.
#pragma once

#include <functional>
#include <utility>

#include "base/types.h"
#include "sim/clock.h"

namespace nestwalk::emu {

inline constexpr sim::Ticks kNever = ~u64{0};
inline constexpr u64 kFastestPeriodicHz = 100'000;

class Alarm {
 public:
  Alarm(sim::Clock& clock, std::function<void()> what) : clock_(clock), what_(std::move(what)) {}
  ~Alarm() { cancel(); }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  /// Strikes once at `when` (clock ticks), instead of whatever was set before; kNever, or a time centuries away, is no
  /// time.
  void set(sim::Ticks when) {
    if (id_ != 0 && when == when_) return;
    cancel();
    if (when >= kNever / 2) return;
    when_ = when;
    id_ = clock_.at(when, [this] {
      id_ = 0;
      what_();
    });
  }
  void cancel() {
    if (id_ != 0) clock_.cancel(id_);
    id_ = 0;
  }
  bool armed() const { return id_ != 0; }
  /// The time it was last set to: inside its own call-back the time that was meant, however late the core came by.
  sim::Ticks when() const { return when_; }

 private:
  sim::Clock& clock_;
  std::function<void()> what_;
  sim::Clock::EventId id_ = 0;
  sim::Ticks when_ = 0;
};

/// The first multiple k >= 1 of `period` (k * period counts since a start) that lies strictly after `count`, moved to a
/// later multiple where the period is shorter than `shortest` counts. `period` > 0.
constexpr u64 next_multiple(u64 count, u64 period, u64 shortest) {
  const u64 stride = period >= shortest ? period : (shortest + period - 1) / period * period;
  return (count / stride + 1) * stride;
}

}  // namespace nestwalk::emu
