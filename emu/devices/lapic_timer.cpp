// The local APIC's timer: SDM vol. 3, 11.5.4. The current count is computed from the clock when somebody asks; only an
// unmasked expiry is an event.
#include "base/bits.h"
#include "emu/devices/lapic.h"

namespace nestwalk::emu {

u64 Lapic::divisor() const {
  const unsigned code = (divide_ & 3) | (divide_ >> 1 & 4);
  return u64{1} << ((code + 1) & 7);  // 000: 2, 001: 4, ... 110: 128, 111: 1
}

/// Counts since the timer was started.
u64 Lapic::timer_counts() const { return clock_.to_hz(clock_.now() - started_, options_.bus_hz) / divisor(); }

u32 Lapic::current_count() const {
  if (first_ == 0) return 0;
  const u64 n = timer_counts();
  if (n < first_) return static_cast<u32>(first_ - n);
  if (timer_mode() != TimerMode::periodic || initial_ == 0) return 0;
  return static_cast<u32>(initial_ - (n - first_) % initial_);
}

void Lapic::start_timer(u32 first) {
  first_ = first;
  started_ = clock_.now();
  schedule_timer();
}

/// What remains becomes the first count of a new start: the divider or the mode is about to change.
void Lapic::rebase_timer() {
  first_ = current_count();
  started_ = clock_.now();
}

void Lapic::schedule_timer() {
  alarm_.cancel();
  if (mode() == Mode::disabled) return;
  if (timer_mode() == TimerMode::deadline) {  // masked or not: the MSR reads zero afterwards
    if (deadline_ != 0 && wires_.tsc_to_clock) alarm_.set(wires_.tsc_to_clock(deadline_));
    return;
  }
  if (lvt_[timer] >> 16 & 1) return;
  if (first_ == 0) return;
  const u64 n = timer_counts();
  u64 expiry = first_;
  if (n >= first_) {
    if (timer_mode() != TimerMode::periodic || initial_ == 0) return;
    const u64 shortest = options_.bus_hz / divisor() / kFastestPeriodicHz;
    expiry += next_multiple(n - first_, initial_, shortest);
  }
  const u64 after = clock_.from_hz(expiry * divisor(), options_.bus_hz);
  alarm_.set(after > kNever - started_ ? kNever : started_ + after);
}

void Lapic::timer_strikes() {
  if (timer_mode() == TimerMode::deadline) deadline_ = 0;
  local_interrupt(timer);
  if (timer_mode() == TimerMode::periodic) schedule_timer();
}

void Lapic::write_deadline(u64 tsc) {
  if (timer_mode() != TimerMode::deadline) return;  // 11.5.4.1: a write outside the mode has no effect
  deadline_ = tsc;
  schedule_timer();
}

void Lapic::tsc_changed() {
  if (timer_mode() == TimerMode::deadline) schedule_timer();
}

}  // namespace nestwalk::emu
