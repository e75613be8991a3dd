#include "emu/devices/hpet.h"

#include <utility>

#include "base/bits.h"

namespace nestwalk::emu {
namespace {

constexpr u64 kLevel = bit(1), kEnable = bit(2), kPeriodic = bit(3), kSetValue = bit(6), k32 = bit(8);
constexpr u64 kWritable = kLevel | kEnable | kPeriodic | k32 | 0x3e00;
constexpr u64 kCapabilities = u64{Hpet::kRoutes} << 32 | bit(5) | bit(4);  // 64 bits wide, can be periodic
constexpr u64 kShortest = Hpet::kHz / kFastestPeriodicHz;

}  // namespace

Hpet::Hpet(sim::Clock& clock, IrqLines& lines, std::function<void(bool)> legacy)
    : clock_(clock), lines_(lines), legacy_(std::move(legacy)) {
  for (unsigned i = 0; i < kTimers; ++i) alarm_[i] = std::make_unique<Alarm>(clock, [this, i] { strike(i); });
}

void Hpet::reset() {
  for (unsigned i = 0; i < kTimers; ++i) {
    alarm_[i]->cancel();
    drive(i, false);
    timer_[i] = {};
  }
  write_config(0);
  status_ = base_count_ = 0;
}

u64 Hpet::counter() const { return running() ? base_count_ + clock_.to_hz(clock_.now() - started_, kHz) : base_count_; }

u64 Hpet::width_mask(const Timer& t) const { return t.config & k32 ? 0xffffffff : ~u64{0}; }

/// A periodic comparator moves by its period at each match; it is brought up to date when somebody looks.
void Hpet::advance(Timer& t, u64 now) {
  if (!(t.config & kPeriodic) || t.period == 0 || !running()) return;
  const u64 mask = width_mask(t), behind = (now - t.comparator) & mask;
  // Of two moments on a circle the nearer decides which is "before".
  if (behind <= mask / 2) t.comparator = (t.comparator + (behind / t.period + 1) * t.period) & mask;
}

void Hpet::schedule(unsigned i) {
  Timer& t = timer_[i];
  alarm_[i]->cancel();
  if (!running() || !(t.config & kEnable)) return;
  const u64 now = counter(), mask = width_mask(t);
  advance(t, now);
  u64 ahead = (t.comparator - now) & mask;
  if (ahead == 0) {
    if (mask == ~u64{0}) return;  // matches again when 64 bits have gone round
    ahead = mask + 1;
  }
  if ((t.config & kPeriodic) && t.period != 0 && t.period < kShortest && ahead < kShortest)
    ahead += (kShortest - ahead + t.period - 1) / t.period * t.period;
  const u64 since = now - base_count_;
  const sim::Ticks after = since + ahead < ahead ? kNever : clock_.from_hz(since + ahead, kHz);
  alarm_[i]->set(after > kNever - started_ ? kNever : started_ + after);
}

void Hpet::strike(unsigned i) {
  Timer& t = timer_[i];
  if (t.config & kLevel) {
    status_ |= bit(i);
  } else {
    drive(i, false);
  }
  drive(i, true);
  schedule(i);
}

unsigned Hpet::route_of(unsigned i) const {
  if ((config_ & 2) && i < 2) return i == 0 ? 0 : 8;
  return static_cast<unsigned>(bits(timer_[i].config, 13, 9));
}

void Hpet::drive(unsigned i, bool level) {
  Timer& t = timer_[i];
  const unsigned route = route_of(i);
  if (t.line && t.route != route) lines_.set(t.route, false);
  const bool legal = ((config_ & 2) && i < 2) || (kRoutes >> route & 1);
  if (legal && (level || t.line)) lines_.set(route, level);
  t.line = level && legal;
  t.route = route;
}

u64 Hpet::read_register(u64 offset) {
  switch (offset) {
    case 0x000: return kPeriodFs << 32 | kEventTimerBlock;
    case 0x010: return config_;
    case 0x020: return status_;
    case 0x0f0: return counter();
    default: break;
  }
  if (offset < 0x100 || offset >= 0x100 + 0x20 * kTimers) return 0;
  Timer& t = timer_[(offset - 0x100) / 0x20];
  if ((offset & 0x18) == 0x00) return t.config | kCapabilities;
  if ((offset & 0x18) != 0x08) return 0;
  advance(t, counter() - 1);  // the present match, if there is one, still shows
  return t.comparator;
}

void Hpet::write_register(u64 offset, u64 value, u64 mask) {
  const auto merged = [&](u64 old) { return (old & ~mask) | (value & mask); };
  switch (offset) {
    case 0x010: return write_config(merged(config_));
    case 0x020: return write_status(value & mask);
    case 0x0f0:
      base_count_ = merged(counter());
      started_ = clock_.now();
      for (unsigned i = 0; i < kTimers; ++i) schedule(i);
      return;
    default: break;
  }
  if (offset < 0x100 || offset >= 0x100 + 0x20 * kTimers) return;
  const unsigned i = static_cast<unsigned>((offset - 0x100) / 0x20);
  if ((offset & 0x18) == 0x00) write_timer_config(i, merged(timer_[i].config));
  if ((offset & 0x18) == 0x08) write_comparator(timer_[i], value, mask);
  schedule(i);
}

void Hpet::write_config(u64 value) {
  const u64 old = config_;
  base_count_ = counter();
  started_ = clock_.now();
  for (unsigned i = 0; i < kTimers; ++i) advance(timer_[i], base_count_ - 1);
  if ((old ^ value) & 2) {
    for (unsigned i = 0; i < 2; ++i) drive(i, false);
    if (legacy_) legacy_(value & 2);
  }
  config_ = value & 3;
  for (unsigned i = 0; i < kTimers; ++i) {
    if (!running()) drive(i, false);
    schedule(i);
  }
}

/// Writing one ends a level interrupt.
void Hpet::write_status(u64 value) {
  for (unsigned i = 0; i < kTimers; ++i)
    if (value & status_ & bit(i)) {
      status_ &= ~bit(i);
      drive(i, false);
    }
}

void Hpet::write_timer_config(unsigned i, u64 value) {
  Timer& t = timer_[i];
  advance(t, counter() - 1);
  const u64 old = t.config;
  if (((old ^ value) & kLevel) || !(value & kEnable)) {
    status_ &= ~bit(i);
    drive(i, false);
  }
  t.config = value & kWritable;
  if (value & kSetValue) t.settable = ~u64{0};
  if (t.config & k32) {
    t.comparator &= 0xffffffff;
    t.period &= 0xffffffff;
  }
}

/// In periodic mode a write is the period; the first one after VAL_SET is the comparator too (2.3.9.2.2), half by half for
/// a guest that writes 32 bits at a time.
void Hpet::write_comparator(Timer& t, u64 value, u64 mask) {
  const auto merged = [&](u64 old, u64 m) { return ((old & ~m) | (value & m)) & width_mask(t); };
  const bool periodic = t.config & kPeriodic;
  t.comparator = merged(t.comparator, periodic ? mask & t.settable : mask);
  if (periodic) t.period = merged(t.period, mask);
  t.settable &= ~mask;
}

u64 Hpet::read(u64 offset, unsigned bytes) {
  if (offset >= kWindowBytes) return 0;
  return read_register(offset & ~u64{7}) >> (8 * (offset & 7));
}

void Hpet::write(u64 offset, u64 value, unsigned bytes) {
  if (offset >= kWindowBytes || bytes < 4 || (offset & 3)) return;  // registers take 32 or 64 bits
  if (bytes == 8 && !(offset & 7)) return write_register(offset, value, ~u64{0});
  const u64 shift = 8 * (offset & 4);
  write_register(offset & ~u64{7}, value << shift, u64{0xffffffff} << shift);
}

}  // namespace nestwalk::emu
