// The MC146818: calendar arithmetic against known dates, formats, interrupts, and what firmware leaves in CMOS.
#include "emu/devices/rtc.h"

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Chip {
  sim::Clock clock;
  bench::Lines lines;
  Rtc rtc;
  explicit Chip(i64 start) : rtc(clock, lines, start) {}
  u8 get(unsigned index) {
    bench::out(rtc, 0, index);
    return bench::in(rtc, 1);
  }
  void set(unsigned index, unsigned value) {
    bench::out(rtc, 0, index);
    bench::out(rtc, 1, value);
  }
  /// Year, month, day, hour, minute, second as one BCD number.
  u64 stamp() {
    u64 v = get(0x32);
    for (const unsigned i : {9u, 8u, 7u, 4u, 2u, 0u}) v = v << 8 | get(i);
    return v;
  }
};

i64 unix_time(unsigned year, unsigned month, unsigned day, unsigned hour = 0, unsigned minute = 0, unsigned second = 0) {
  return CalendarTime{second, minute, hour, 1, day, month, year}.to_unix();
}

}  // namespace

TEST_CASE("calendar arithmetic agrees with known moments and with itself") {
  CHECK(unix_time(1970, 1, 1) == 0);
  CHECK(unix_time(2000, 1, 1) == 946'684'800);
  CHECK(unix_time(2001, 9, 9, 1, 46, 40) == 1'000'000'000);
  CHECK(unix_time(2038, 1, 19, 3, 14, 7) == 0x7fffffff);
  CHECK(CalendarTime::from_unix(0).weekday == 5);              // a Thursday
  CHECK(CalendarTime::from_unix(1'000'000'000).weekday == 1);  // a Sunday
  for (i64 t = 0; t < 20'000'000'000; t += 86'400 * 13 + 12'345) CHECK(CalendarTime::from_unix(t).to_unix() == t);
}

TEST_CASE("the calendar rolls over in BCD, leap years included") {
  const struct {
    i64 before;
    u64 after;
  } cases[] = {
      {unix_time(2023, 12, 31, 23, 59, 59), 0x20'24'01'01'00'00'00},
      {unix_time(2024, 2, 28, 23, 59, 59), 0x20'24'02'29'00'00'00},
      {unix_time(2024, 2, 29, 23, 59, 59), 0x20'24'03'01'00'00'00},
      {unix_time(2023, 2, 28, 23, 59, 59), 0x20'23'03'01'00'00'00},
      {unix_time(2000, 2, 28, 23, 59, 59), 0x20'00'02'29'00'00'00},
      {unix_time(2099, 12, 31, 23, 59, 59), 0x21'00'01'01'00'00'00},
      {unix_time(2100, 2, 28, 23, 59, 59), 0x21'00'03'01'00'00'00},
      {unix_time(2026, 4, 30, 19, 59, 59), 0x20'26'04'30'20'00'00},
  };
  for (const auto& c : cases) {
    Chip chip(c.before);
    const u64 before = chip.stamp();
    bench::go_to(chip.clock, bench::kSecond - 1);
    CHECK(chip.stamp() == before);
    bench::go_to(chip.clock, bench::kSecond);
    CHECK(chip.stamp() == c.after);
  }
}

TEST_CASE("hours read in twelve and twenty-four, BCD and binary") {
  Chip c(unix_time(2026, 1, 1, 23));
  CHECK(c.get(4) == 0x23);
  c.set(0x0b, 0x00);  // 12 hours, BCD
  CHECK(c.get(4) == 0x91);
  c.set(0x0b, 0x04);  // 12 hours, binary
  CHECK(c.get(4) == (11 | 0x80));
  c.set(0x0b, 0x06);
  CHECK(c.get(4) == 23);
  CHECK(c.get(9) == 26);
  bench::advance(c.clock, 3600 * bench::kSecond);
  c.set(0x0b, 0x00);
  CHECK(c.get(4) == 0x12);  // midnight is 12 AM
  bench::advance(c.clock, 12 * 3600 * bench::kSecond);
  CHECK(c.get(4) == 0x92);
}

TEST_CASE("the guest sets the clock under SET and it goes on from there") {
  Chip c(0);
  c.set(0x0b, 0x82);
  for (const auto& [index, value] : std::initializer_list<std::pair<unsigned, unsigned>>{
           {0, 0x58}, {2, 0x59}, {4, 0x23}, {6, 7}, {7, 0x28}, {8, 0x02}, {9, 0x24}, {0x32, 0x20}})
    c.set(index, value);
  bench::advance(c.clock, 5 * bench::kSecond);
  CHECK(c.stamp() == 0x20'24'02'28'23'59'58);  // halted
  c.set(0x0b, 0x02);
  bench::advance(c.clock, 2 * bench::kSecond);
  CHECK(c.stamp() == 0x20'24'02'29'00'00'00);
  CHECK(c.get(6) == 1);  // Saturday, as it was told, became Sunday
}

TEST_CASE("update in progress is up for the last 2228 microseconds of a second") {
  Chip c(0);
  bench::go_to(c.clock, bench::kSecond - 2'228'001);
  CHECK((c.get(0x0a) & 0x80) == 0);
  bench::go_to(c.clock, bench::kSecond - 2'228'000);
  CHECK((c.get(0x0a) & 0x80) != 0);
  bench::go_to(c.clock, bench::kSecond);
  CHECK((c.get(0x0a) & 0x80) == 0);
}

TEST_CASE("the update interrupt comes every second and reading C takes it back") {
  Chip c(0);
  c.get(0x0c);
  c.set(0x0b, 0x12);
  bench::go_to(c.clock, bench::kSecond - 1);
  CHECK_FALSE(c.lines.level[8]);
  bench::go_to(c.clock, bench::kSecond);
  CHECK(c.lines.level[8]);
  CHECK(c.get(0x0c) == 0xd0);  // periods passed as well
  CHECK_FALSE(c.lines.level[8]);
  CHECK(c.get(0x0c) == 0x00);
  for (int i = 0; i < 10; ++i) {
    bench::advance(c.clock, bench::kSecond);
    c.get(0x0c);
  }
  CHECK(c.lines.rises[8] == 11);
}

TEST_CASE("the periodic interrupt runs at 32768 >> (rate - 1) Hz") {
  for (const auto& [rate, hz] :
       std::initializer_list<std::pair<unsigned, u64>>{{6, 1024}, {15, 2}, {3, 8192}, {1, 256}, {2, 128}}) {
    Chip c(0);
    c.set(0x0a, 0x20 | rate);
    c.set(0x0b, 0x42);
    u64 seen = 0;
    for (u64 i = 0; i < hz; ++i) {
      bench::go_to(c.clock, c.clock.from_hz(i + 1, hz) - 1);
      CHECK_FALSE(c.lines.level[8]);
      bench::go_to(c.clock, c.clock.from_hz(i + 1, hz));
      if (c.lines.level[8]) ++seen;
      c.get(0x0c);
    }
    CHECK(seen == hz);
  }
}

TEST_CASE("an alarm strikes at its time, and every hour with a wildcard") {
  Chip c(unix_time(2026, 1, 1, 10, 0, 0));
  c.set(1, 0x05);
  c.set(3, 0x00);
  c.set(5, 0xff);
  c.set(0x0b, 0x22);
  bench::advance(c.clock, 4 * bench::kSecond);
  CHECK_FALSE(c.lines.level[8]);
  bench::advance(c.clock, bench::kSecond);
  CHECK(c.lines.level[8]);
  CHECK((c.get(0x0c) & 0xa0) == 0xa0);
  bench::advance(c.clock, 3600 * bench::kSecond);
  CHECK((c.get(0x0c) & 0xa0) == 0xa0);
}

TEST_CASE("flags are there without interrupts, however long nobody looked") {
  Chip c(unix_time(2026, 1, 1, 10, 0, 0));
  c.set(1, 0x00);
  c.set(3, 0x30);
  c.set(5, 0x09);
  c.get(0x0c);
  CHECK_FALSE(c.clock.has_events());
  bench::advance(c.clock, 3 * 86'400 * bench::kSecond);
  CHECK((c.get(0x0c) & 0xf0) == 0x70);
  CHECK(c.lines.rises[8] == 0);
}

TEST_CASE("CMOS tells the memory as firmware does") {
  Chip c(0);
  c.rtc.set_memory(u64{3} << 30, u64{5} << 30);
  CHECK((c.get(0x15) | c.get(0x16) << 8) == 640);
  CHECK((c.get(0x17) | c.get(0x18) << 8) == 0xffff);
  CHECK((c.get(0x30) | c.get(0x31) << 8) == 0xffff);
  CHECK((c.get(0x34) | c.get(0x35) << 8) == ((u64{3} << 30) - (16 << 20)) >> 16);
  CHECK((c.get(0x5b) | c.get(0x5c) << 8 | c.get(0x5d) << 16) == (u64{5} << 30) >> 16);
  c.rtc.set_memory(u64{32} << 20, 0);
  CHECK((c.get(0x17) | c.get(0x18) << 8) == 31 * 1024);
  CHECK((c.get(0x34) | c.get(0x35) << 8) == 256);
}

TEST_CASE("other CMOS bytes are memory, D is a good battery, bit 7 of the index masks NMI") {
  Chip c(0);
  c.set(0x0f, 0x0a);  // shutdown status
  c.set(0x0d, 0x00);
  c.rtc.reset();
  CHECK(c.get(0x0f) == 0x0a);
  CHECK(c.get(0x0d) == 0x80);
  CHECK_FALSE(c.rtc.nmi_masked());
  bench::out(c.rtc, 0, 0x8f);
  CHECK(c.rtc.nmi_masked());
  CHECK(bench::in(c.rtc, 1) == 0x0a);
}

TEST_CASE("garbage in the calendar is survived and normalised") {
  Chip c(0);
  for (unsigned v = 0; v < 256; v += 5)
    for (const unsigned i : {0u, 2u, 4u, 6u, 7u, 8u, 9u, 0x32u}) {
      c.set(i, v);
      bench::advance(c.clock, bench::kSecond);
      c.stamp();
    }
  const u64 s = c.stamp();
  CHECK((s >> 24 & 0xff) <= 0x31);
}
