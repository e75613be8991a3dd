#include "emu/devices/pit8254.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"

namespace nestwalk::emu {
namespace {

constexpr u64 kShortest = Pit8254::kHz / kFastestPeriodicHz + 1;

u64 from_bcd(u64 v) { return bits(v, 3, 0) + 10 * bits(v, 7, 4) + 100 * bits(v, 11, 8) + 1000 * bits(v, 15, 12); }
u64 to_bcd(u64 v) { return v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12; }

}  // namespace

void PitCounter::control(u8 word, u64 now) {
  access_ = static_cast<u8>(bits(word, 5, 4));
  mode_ = static_cast<u8>(bits(word, 3, 1));
  if (mode_ > 5) mode_ &= 3;  // x10 and x11
  bcd_ = word & 1;
  counting_ = expired_ = write_high_ = read_high_ = count_latched_ = status_latched_ = false;
  held_ = false;
  null_ = true;
  first_ = period_ = next_period_ = 0;
  start_ = now;
}

void PitCounter::write(u8 value, u64 now) {
  settle(now);
  if (access_ == 3 && !write_high_) {
    write_low_ = value;
    write_high_ = true;
    null_ = true;
    if (mode_ == 0 && counting_) {  // counting stops and OUT falls until the second byte
      hold(now);
      expired_ = false;
    }
    return;
  }
  u64 n = access_ == 1 ? value : u64{value} << 8 | (access_ == 3 ? write_low_ : 0u);
  write_high_ = false;
  if (bcd_) n = from_bcd(n);
  load(n == 0 || n > modulus() ? modulus() : n, now);
}

void PitCounter::load(u64 counts, u64 now) {
  null_ = false;
  switch (mode_) {
    case 0:
    case 4:
      period_ = first_ = counts;
      start_ = now + 1;  // the CLK after the write loads it
      counting_ = true;
      expired_ = false;
      held_ = !gate_;
      break;
    case 1:
    case 5:
      period_ = counts;
      null_ = true;  // until the gate triggers
      break;
    default: {                                 // 2, 3
      const u64 n = std::max<u64>(counts, 2);  // a count of 1 is illegal
      if (counting_ && !held_) {
        const u64 phase = elapsed(now) % period_, high = (period_ + 1) / 2;
        const bool half = mode_ == 3 && phase < high;
        next_period_ = n;
        switch_ = std::max(now, start_) - phase + (half ? high : period_);
        break;
      }
      period_ = first_ = n;
      start_ = now + 1;
      counting_ = true;
      held_ = !gate_;
    }
  }
}

/// A count written while a rate or square wave ran takes over at the end of the period, or half period.
void PitCounter::settle(u64 now) {
  if (next_period_ == 0 || now < switch_) return;
  const bool mid = mode_ == 3 && (switch_ - start_) % period_ != 0;
  period_ = next_period_;
  next_period_ = 0;
  start_ = mid ? switch_ - (period_ + 1) / 2 : switch_;  // may lie before time began; only differences are used
}

u64 PitCounter::count(u64 now) const {
  if (held_ || !counting_) return first_;
  const u64 n = elapsed(now);
  if (mode_ != 2 && mode_ != 3) return (first_ + modulus() - n % modulus()) % modulus();
  const u64 phase = n % period_;
  if (mode_ == 2) return period_ - phase;
  const u64 high = (period_ + 1) / 2;
  return (period_ & ~u64{1}) - 2 * (phase < high ? phase : phase - high);
}

bool PitCounter::out(u64 now) {
  settle(now);
  const u64 n = elapsed(now);
  switch (mode_) {
    case 0: return reached(now);
    case 1: return !counting_ || now < start_ || reached(now);
    case 2: return !counting_ || held_ || n % period_ != period_ - 1;
    case 3: return !counting_ || held_ || n % period_ < (period_ + 1) / 2;
    default: return !counting_ || held_ || expired_ || n != first_;
  }
}

u64 PitCounter::next_edge(u64 now, u64 shortest) {
  settle(now);
  if (!counting_ || held_) return ~u64{0};
  if (mode_ == 2 || mode_ == 3) {
    if (next_period_ != 0) return switch_;
    const u64 n = elapsed(now);
    if (pulses(shortest)) return start_ + next_multiple(n, period_, shortest);
    const u64 begin = n / period_ * period_, high = (period_ + 1) / 2;
    return start_ + begin + (n - begin < high ? high : period_);
  }
  if (expired_) return ~u64{0};
  if (mode_ == 1 && start_ > now) return start_;
  const u64 end = start_ + first_;
  if (end > now) return end;
  return mode_ >= 4 && end + 1 > now ? end + 1 : ~u64{0};
}

void PitCounter::hold(u64 now) {
  if (held_) return;
  const bool done = reached(now);
  first_ = count(now);
  expired_ = done;
  held_ = true;
}

void PitCounter::trigger(u64 now) {
  if (period_ == 0) return;
  first_ = period_;
  start_ = now + 1;
  counting_ = true;
  expired_ = held_ = null_ = false;
}

void PitCounter::set_gate(bool level, u64 now) {
  if (level == gate_) return;
  settle(now);
  gate_ = level;
  if (mode_ == 1 || mode_ == 5) {
    if (level) trigger(now);
    return;
  }
  if (!counting_) return;
  if (!level) return hold(now);
  if (mode_ == 2 || mode_ == 3) {
    if (next_period_ != 0) period_ = std::exchange(next_period_, 0);
    trigger(now);
  } else if (!(mode_ == 0 && write_high_)) {
    start_ = now;
    held_ = false;
  }
}

void PitCounter::latch_count(u64 now) {
  if (count_latched_) return;
  settle(now);
  const u64 v = count(now) % modulus();
  latch_ = static_cast<u16>(bcd_ ? to_bcd(v) : v);
  count_latched_ = true;
}

void PitCounter::latch_status(u64 now) {
  if (status_latched_) return;
  settle(now);
  const bool null = null_ || now < start_ || next_period_ != 0;
  status_ = static_cast<u8>((out(now) ? 0x80 : 0) | (null ? 0x40 : 0) | access_ << 4 | mode_ << 1 | (bcd_ ? 1 : 0));
  status_latched_ = true;
}

u8 PitCounter::read(u64 now) {
  if (std::exchange(status_latched_, false)) return status_;
  settle(now);
  u64 v = count(now) % modulus();
  if (bcd_) v = to_bcd(v);
  if (count_latched_) v = latch_;
  const bool high = access_ == 2 || (access_ == 3 && read_high_);
  if (access_ == 3) read_high_ = !read_high_;
  if (access_ != 3 || high) count_latched_ = false;
  return static_cast<u8>(high ? v >> 8 : v);
}

Pit8254::Pit8254(sim::Clock& clock, IrqLines& lines) : clock_(clock), lines_(lines), alarm_(clock, [this] { strike(); }) {
  counter_[2].set_gate(false, 0);
}

void Pit8254::reset() {
  counter_.fill(PitCounter{});
  counter_[2].set_gate(false, now());
  port61_ = 0;
  drive();
}

/// Puts OUT of counter 0 on IRQ0 and waits for its next edge.
void Pit8254::drive() {
  const u64 t = now();
  lines_.set(0, counter_[0].out(t));
  edge_ = counter_[0].next_edge(t, kShortest);
  alarm_.set(edge_ == ~u64{0} ? kNever : clock_.from_hz(edge_, kHz));
}

void Pit8254::strike() {
  const u64 t = now();
  const bool pulses = counter_[0].pulses(kShortest);
  if (!pulses) lines_.set(0, counter_[0].out(edge_));
  if (pulses || counter_[0].next_edge(edge_, kShortest) <= t) {  // a low too short to see, or we came late
    lines_.set(0, false);
    lines_.set(0, true);
  }
  drive();
}

u64 Pit8254::read(u64 offset, unsigned bytes) { return (offset & 3) == 3 ? 0xff : counter_[offset & 3].read(now()); }

void Pit8254::write(u64 offset, u64 value, unsigned bytes) {
  const u8 v = static_cast<u8>(value);
  const unsigned which = (offset & 3) == 3 ? v >> 6 : static_cast<unsigned>(offset & 3);
  if ((offset & 3) != 3) {
    counter_[which].write(v, now());
  } else if (which == 3) {
    return read_back(v);
  } else if ((v & 0x30) == 0) {
    return counter_[which].latch_count(now());
  } else {
    counter_[which].control(v, now());
  }
  if (which == 0) drive();
}

void Pit8254::read_back(u8 command) {
  for (unsigned i = 0; i < 3; ++i) {
    if (!(command & (2u << i))) continue;
    if (!(command & 0x20)) counter_[i].latch_count(now());
    if (!(command & 0x10)) counter_[i].latch_status(now());
  }
}

u64 Pit8254::read61(u64, unsigned) {
  const bool refresh = now() / 18 & 1;  // a refresh request every 15 microseconds
  return port61_ | (refresh ? 0x10u : 0u) | (counter_[2].out(now()) ? 0x20u : 0u);
}

void Pit8254::write61(u64, u64 value, unsigned) {
  port61_ = value & 0x0f;
  counter_[2].set_gate(value & 1, now());
}

}  // namespace nestwalk::emu
