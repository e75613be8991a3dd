// Guest time and its events: a binary heap ordered by (time, order of scheduling), so that ties run as they were scheduled
// and a run repeats exactly.
#include "sim/clock.h"

#include <algorithm>
#include <utility>

namespace nestwalk::sim {
namespace {

constexpr u64 kNever = ~u64{0};

constexpr u64 saturate(u128 v) { return v >> 64 ? kNever : static_cast<u64>(v); }

/// Heap order: the standard heap keeps the largest in front, so "less" means "later".
constexpr auto later = [](const auto& a, const auto& b) { return a.when != b.when ? a.when > b.when : a.id > b.id; };

}  // namespace

Clock::EventId Clock::at(Ticks when, std::function<void()> what) {
  // A time that has passed means now: nothing may overtake what is due already.
  queue_.push_back({std::max(when, now()), next_id_, std::move(what)});
  std::push_heap(queue_.begin(), queue_.end(), later);
  refresh();
  return next_id_++;
}

void Clock::cancel(EventId id) {
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const Event& e) { return e.id == id; });
  if (it == queue_.end()) return;
  queue_.erase(it);
  std::make_heap(queue_.begin(), queue_.end(), later);
  refresh();
}

void Clock::run_due() {
  // Two generations: what is due, then what those events scheduled for this very moment. What the second generation
  // schedules for now waits for the next call, so that an event which always reschedules itself cannot hold the machine.
  for (int generation = 0; generation < 2; ++generation) {
    const EventId first_new = next_id_;
    while (!queue_.empty() && queue_.front().when <= now() && queue_.front().id < first_new) {
      std::pop_heap(queue_.begin(), queue_.end(), later);
      const std::function<void()> what = std::move(queue_.back().what);
      queue_.pop_back();
      refresh();
      what();
    }
  }
}

bool Clock::skip_to_next(Ticks& skipped) {
  skipped = 0;
  if (queue_.empty()) return false;
  const Ticks before = now();
  skip_to(queue_.front().when);
  skipped = now() - before;
  return true;
}

void Clock::skip_to(Ticks when) {
  if (when <= now()) return;
  (guest_ == Guest::cycles ? cycles : skipped_) += when - now();
  refresh();
}

Ticks Clock::from_hz(u64 count, u64 hz) const {
  if (hz == 0) return kNever;
  return saturate((static_cast<u128>(count) * hz_ + (hz - 1)) / hz);
}

u64 Clock::to_hz(Ticks t, u64 hz) const { return hz_ == 0 ? 0 : saturate(static_cast<u128>(t) * hz / hz_); }

void Clock::refresh() {
  const Ticks when = std::min(next_event(), fence_);
  deadline_ = guest_ == Guest::cycles ? cycles_at(when) : when == kNever ? when : when - std::min(when, skipped_);
}

}  // namespace nestwalk::sim
