// The core's clock and the events that wait on it. Guest-visible time is modelled cycles or retired instructions
// (clock.guest); devices see only `now()` in ticks of `hz()` and schedule call-backs on it. Events are taken at block ends.
#pragma once

#include <functional>
#include <vector>

#include "base/types.h"

namespace nestwalk::sim {

using Ticks = u64;

class Clock {
 public:
  enum class Guest : u8 { cycles, instructions };

  explicit Clock(Guest guest = Guest::cycles, u64 hz = 1'000'000'000) : guest_(guest), hz_(hz) {}

  /// Advanced by the core and by nobody else.
  Cycles cycles = 0;     ///< all cycles, idle included
  u64 instructions = 0;  ///< retired instructions

  /// Guest time in ticks.
  Ticks now() const { return guest_ == Guest::cycles ? cycles - hidden_ : instructions + skipped_; }
  u64 hz() const { return hz_; }
  Guest guest() const { return guest_; }

  /// Time of the earliest event in terms of the raw counter (cycles or instructions) that drives guest time: the core
  /// compares `*ticker() >= deadline()` at each block end and then calls run_due().
  const u64* ticker() const { return guest_ == Guest::cycles ? &cycles : &instructions; }
  u64 deadline() const { return deadline_; }

  using EventId = u64;  ///< 0 is no event
  /// Calls `what` once when now() >= when; events of the same time run in the order of scheduling. A time that has passed
  /// means now.
  EventId at(Ticks when, std::function<void()> what);
  /// Forgets an event; nothing happens when it has run already.
  void cancel(EventId id);
  /// Runs all events with when <= now(), then those that they scheduled for this moment. What these schedule for now in
  /// their turn waits for the next call (deadline() has then passed already), so an event may reschedule itself for ever.
  void run_due();
  /// The core is halted: guest time jumps to the next event, by advancing `cycles` itself (clock.guest = cycles; the caller
  /// puts `skipped` on the bill as idle without adding it again) or by time that passes without instructions. False, with
  /// skipped = 0, when no event waits.
  bool skip_to_next(Ticks& skipped);
  bool has_events() const { return !queue_.empty(); }
  /// When the next event is due; ~0 when none waits.
  Ticks next_event() const { return queue_.empty() ? ~Ticks{0} : queue_.front().when; }
  /// Cycles pass that guest time does not see.
  void pass_unseen(Cycles n) {
    cycles += n;
    hidden_ += n;
    refresh();
  }
  /// With clock.guest = cycles: what `cycles` will be when guest time is `when`.
  Cycles cycles_at(Ticks when) const { return when > ~Ticks{0} - hidden_ ? ~Cycles{0} : when + hidden_; }
  /// Guest time passes up to `when` (nothing happens when it has), as in skip_to_next.
  void skip_to(Ticks when);

  /// The end of a turn, for clocks that take turns: deadline() comes no later, and is_past_fence() says why. ~0: none.
  void set_fence(Ticks when) {
    fence_ = when;
    refresh();
  }
  bool is_past_fence() const { return now() >= fence_; }

  /// Conversions without overflow for any realistic time.
  Ticks from_hz(u64 count, u64 hz) const;  ///< duration of `count` periods of `hz`, in ticks, rounded up; saturates
  u64 to_hz(Ticks t, u64 hz) const;        ///< whole periods of `hz` in t ticks

 private:
  struct Event {
    Ticks when;
    EventId id;
    std::function<void()> what;
  };
  void refresh();

  Guest guest_;
  u64 hz_;
  Ticks skipped_ = 0;
  Cycles hidden_ = 0;
  u64 deadline_ = ~u64{0};
  Ticks fence_ = ~Ticks{0};
  EventId next_id_ = 1;
  std::vector<Event> queue_;  ///< a heap, earliest first
};

}  // namespace nestwalk::sim
