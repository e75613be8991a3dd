#include "emu/devices/rtc.h"

#include <algorithm>

#include "base/bits.h"

namespace nestwalk::emu {
namespace {

enum : u8 {
  kSeconds = 0x00,
  kHoursAlarm = 0x05,
  kYear = 0x09,
  kA = 0x0a,
  kB = 0x0b,
  kC = 0x0c,
  kD = 0x0d,
  kCentury = 0x32,
};
constexpr u8 kSet = 0x80, kPie = 0x40, kAie = 0x20, kUie = 0x10, kBinary = 0x04, k24Hours = 0x02;  // register B
constexpr u8 kIrqf = 0x80, kPf = 0x40, kAf = 0x20, kUf = 0x10;                                     // register C
constexpr i64 kDay = 86'400;
constexpr u64 kUpdateMicroseconds = 244 + 1984;  // UIP is up that long before the new second shows

/// Days since 1970-01-01 of a Gregorian date (months may exceed 12 by what a byte holds).
i64 days_from_civil(i64 year, i64 month, i64 day) {
  year += (month - 1) / 12;
  month = (month - 1) % 12 + 1;
  const i64 y = month <= 2 ? year - 1 : year;  // years begin in March, so that the leap day is the last
  const i64 era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
  const i64 of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
}

}  // namespace

i64 CalendarTime::to_unix() const {
  const i64 m = std::max(month, 1u), d = day;
  return ((days_from_civil(year, m, d) * 24 + hour) * 60 + minute) * 60 + second;
}

CalendarTime CalendarTime::from_unix(i64 seconds) {
  const i64 days = seconds >= 0 ? seconds / kDay : -((-seconds + kDay - 1) / kDay);
  const i64 rest = seconds - days * kDay;
  const i64 z = days + 719'468, era = (z >= 0 ? z : z - 146'096) / 146'097, of_era = z - era * 146'097;
  const i64 year_of_era = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
  const i64 of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const i64 shifted = (5 * of_year + 2) / 153;
  CalendarTime t;
  t.day = static_cast<unsigned>(of_year - (153 * shifted + 2) / 5 + 1);
  t.month = static_cast<unsigned>(shifted < 10 ? shifted + 3 : shifted - 9);
  t.year = static_cast<unsigned>(year_of_era + era * 400 + (t.month <= 2 ? 1 : 0));
  t.hour = static_cast<unsigned>(rest / 3600);
  t.minute = static_cast<unsigned>(rest / 60 % 60);
  t.second = static_cast<unsigned>(rest % 60);
  t.weekday = static_cast<unsigned>(((days + 4) % 7 + 7) % 7 + 1);  // 1970-01-01 was a Thursday
  return t;
}

Rtc::Rtc(sim::Clock& clock, IrqLines& lines, i64 start)
    : clock_(clock),
      lines_(lines),
      second_alarm_(clock, [this] { schedule(); }),
      periodic_alarm_(clock, [this] { schedule(); }),
      base_time_(CalendarTime::from_unix(std::clamp<i64>(start, 0, 253'402'300'799))) {
  cmos_[0x14] = 0x02;  // equipment: a coprocessor, no diskette
}

void Rtc::set_memory(u64 below_4g, u64 above_4g) {
  const auto word = [this](u8 index, u64 v) {
    v = std::min<u64>(v, 0xffff);
    cmos_[index] = static_cast<u8>(v);
    cmos_[index + 1u] = static_cast<u8>(v >> 8);
  };
  const auto above = [&](u64 mark) { return below_4g > mark ? below_4g - mark : 0; };
  word(0x15, std::min<u64>(below_4g >> 10, 640));
  word(0x17, above(u64{1} << 20) >> 10);
  word(0x30, above(u64{1} << 20) >> 10);
  word(0x34, above(u64{16} << 20) >> 16);
  for (unsigned i = 0; i < 3; ++i) cmos_[0x5b + i] = static_cast<u8>(std::min<u64>(above_4g >> 16, 0xffffff) >> (8 * i));
}

void Rtc::reset() {
  b_ &= static_cast<u8>(~(kPie | kAie | kUie));
  c_ = index_ = 0;
  nmi_masked_ = false;
  schedule();
}

// The calendar.

CalendarTime Rtc::time() const {
  const u64 n = seconds_passed();
  if (n == 0) return base_time_;
  const i64 before = base_time_.to_unix(), after = before + static_cast<i64>(n);
  CalendarTime t = CalendarTime::from_unix(after);
  const auto day_of = [](i64 s) { return s >= 0 ? s / kDay : -((-s + kDay - 1) / kDay); };
  // The weekday register only counts midnights; it need not agree with the date.
  t.weekday = static_cast<unsigned>(
      (std::max(base_time_.weekday, 1u) - 1 + static_cast<u64>(day_of(after) - day_of(before))) % 7 + 1);
  return t;
}

i64 Rtc::unix_time() const { return time().to_unix(); }

/// Makes the present second the base, before the calendar is changed, halted or set going.
void Rtc::rebase() {
  collect_flags();
  base_time_ = time();
  base_ += clock_.from_hz(clock_.to_hz(clock_.now() - base_, 1), 1);  // a halted calendar keeps the phase of its seconds
  seconds_seen_ = 0;
}

bool Rtc::updating() const {
  if (halted()) return false;
  const sim::Ticks next = base_ + clock_.from_hz(seconds_passed() + 1, 1);
  return next - clock_.now() <= clock_.from_hz(kUpdateMicroseconds, 1'000'000);
}

u8 Rtc::encode(unsigned v) const { return static_cast<u8>(b_ & kBinary ? v : v / 10 % 10 << 4 | v % 10); }
unsigned Rtc::decode(u8 v) const { return b_ & kBinary ? v : (v >> 4) * 10u + (v & 15u); }

u8 Rtc::encode_hour(unsigned hour) const {
  if (b_ & k24Hours) return encode(hour);
  return static_cast<u8>(encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0));
}

unsigned Rtc::decode_hour(u8 v) const {
  if (b_ & k24Hours) return decode(v);
  return decode(v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

u8 Rtc::read_time(u8 index) const {
  const CalendarTime t = time();
  switch (index) {
    case 0: return encode(t.second);
    case 2: return encode(t.minute);
    case 4: return encode_hour(t.hour);
    case 6: return encode(t.weekday);
    case 7: return encode(t.day);
    case 8: return encode(t.month);
    case 9: return encode(t.year % 100);
    default: return encode(t.year / 100);  // century
  }
}

void Rtc::write_time(u8 index, u8 value) {
  rebase();
  CalendarTime& t = base_time_;
  switch (index) {
    case 0: t.second = decode(value); break;
    case 2: t.minute = decode(value); break;
    case 4: t.hour = decode_hour(value); break;
    case 6: t.weekday = decode(value); break;
    case 7: t.day = decode(value); break;
    case 8: t.month = decode(value); break;
    case 9: t.year = t.year / 100 * 100 + decode(value); break;
    default: t.year = decode(value) * 100 + t.year % 100; break;
  }
}

// Interrupts.

u64 Rtc::periodic_hz() const {
  unsigned rate = a_ & 15;
  if (rate == 0 || (a_ & 0x70) != 0x20) return 0;  // off, or no 32 kHz time base
  if (rate <= 2) rate += 7;
  return u64{32'768} >> (rate - 1);
}

/// Alarm bytes of 0xc0 and above match anything.
bool Rtc::alarm_matches(const CalendarTime& t) const {
  const auto ok = [](u8 alarm, u8 now) { return alarm >= 0xc0 || alarm == now; };
  return ok(alarm_[0], encode(t.second)) && ok(alarm_[1], encode(t.minute)) && ok(alarm_[2], encode_hour(t.hour));
}

/// Raises the flags of all that has passed since the last look.
void Rtc::collect_flags() {
  const u64 now = seconds_passed();
  if (now > seconds_seen_) {
    c_ |= kUf;
    const i64 base = base_time_.to_unix();
    const u64 first = now - seconds_seen_ > kDay ? now - kDay + 1 : seconds_seen_ + 1;  // a day meets every alarm
    for (u64 s = first; s <= now && !(c_ & kAf); ++s)
      if (alarm_matches(CalendarTime::from_unix(base + static_cast<i64>(s)))) c_ |= kAf;
    seconds_seen_ = now;
  }
  if (const u64 hz = periodic_hz(); hz != 0) {
    const u64 periods = clock_.to_hz(clock_.now(), hz);
    if (periods > periods_seen_) c_ |= kPf;
    periods_seen_ = periods;
  }
}

void Rtc::update_line() { lines_.set(8, (c_ & b_ & (kPf | kAf | kUf)) != 0); }

void Rtc::schedule() {
  collect_flags();
  update_line();
  const bool every_second = (b_ & (kAie | kUie)) && !halted();
  second_alarm_.set(every_second ? base_ + clock_.from_hz(seconds_seen_ + 1, 1) : kNever);
  const u64 hz = periodic_hz();
  periodic_alarm_.set((b_ & kPie) && hz != 0 ? clock_.from_hz(periods_seen_ + 1, hz) : kNever);
}

// Registers.

u8 Rtc::read_register(u8 index) {
  if (index <= kHoursAlarm && (index & 1)) return alarm_[index / 2];
  if (index <= kYear || index == kCentury) return read_time(index);
  switch (index) {
    case kA: return static_cast<u8>(a_ | (updating() ? 0x80 : 0));
    case kB: return b_;
    case kC: {
      collect_flags();
      const u8 flags = static_cast<u8>(c_ | (c_ & b_ & (kPf | kAf | kUf) ? kIrqf : 0));
      c_ = 0;  // reading acknowledges
      update_line();
      return flags;
    }
    case kD: return 0x80;  // the battery is good
    default: return cmos_[index];
  }
}

void Rtc::write_register(u8 index, u8 value) {
  if (index <= kHoursAlarm && (index & 1)) {
    collect_flags();
    alarm_[index / 2] = value;
  } else if (index <= kYear || index == kCentury) {
    write_time(index, value);
  } else if (index == kA || index == kB) {
    rebase();
    // The first update comes half a second after the divider's reset ends.
    if (index == kA && (a_ & 0x60) == 0x60 && (value & 0x60) != 0x60) base_ = clock_.now() - clock_.from_hz(1, 2);
    (index == kA ? a_ : b_) = index == kA ? value & 0x7f : value;
    if (index == kB && (value & kSet)) b_ &= static_cast<u8>(~kUie);
    // A new rate begins its own periods.
    if (const u64 hz = periodic_hz(); index == kA && hz != 0) periods_seen_ = clock_.to_hz(clock_.now(), hz);
  } else if (index != kC && index != kD) {
    cmos_[index] = value;
  }
  schedule();
}

u64 Rtc::read(u64 offset, unsigned bytes) {
  return (offset & 1) == 0 ? 0xff : read_register(index_);  // the index cannot be read back
}

void Rtc::write(u64 offset, u64 value, unsigned bytes) {
  if (offset & 1) return write_register(index_, static_cast<u8>(value));
  index_ = value & 0x7f;
  nmi_masked_ = value & 0x80;
}

}  // namespace nestwalk::emu
