// The HPET against specification 1.0a: counter, one-shot and periodic comparators, routing, levels.
#include "emu/devices/hpet.h"

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

/// On a 1 GHz clock: ten ticks a count.
struct Chip {
  sim::Clock clock;
  bench::Lines lines;
  bool legacy = false;
  Hpet hpet{clock, lines, [this](bool on) { legacy = on; }};
  u64 get(u64 at) { return hpet.read(at, 8); }
  void set(u64 at, u64 v) { hpet.write(at, v, 8); }
  void set32(u64 at, u32 v) { hpet.write(at, v, 4); }
};
constexpr u64 kConfig = 0x10, kStatus = 0x20, kCounter = 0xf0, kTimer0 = 0x100, kCompare0 = 0x108;
constexpr u64 kEdge = 0x4, kLevel = 0x6, kPeriodic = 0x8, kSetValue = 0x40, k32 = 0x100;
constexpr u64 kRoute = 20, kOn = u64{kRoute} << 9;

}  // namespace

TEST_CASE("capabilities: 100 MHz, three 64-bit timers, legacy replacement") {
  Chip c;
  CHECK(c.get(0) >> 32 == 10'000'000);
  CHECK((c.get(0) & 0xffffffff) == 0x8086a201);
  CHECK((c.get(kTimer0) & 0x30) == 0x30);
  CHECK(c.get(kTimer0) >> 32 == 0x00f00000);
  CHECK((c.get(kTimer0) & 0x8000) == 0);  // no FSB delivery
}

TEST_CASE("the counter runs while enabled, and is written while halted") {
  Chip c;
  bench::go_to(c.clock, 1000);
  CHECK(c.get(kCounter) == 0);
  c.set(kCounter, 0xffff'fff0);
  c.set(kConfig, 1);
  bench::go_to(c.clock, 1000 + 32 * 10 - 1);
  CHECK(c.get(kCounter) == 0x1'0000'000f);
  bench::go_to(c.clock, 1000 + 32 * 10);
  CHECK(c.get(kCounter) == 0x1'0000'0010);
  CHECK(c.hpet.read(kCounter + 4, 4) == 1);
  c.set(kConfig, 0);
  bench::advance(c.clock, 1000);
  CHECK(c.get(kCounter) == 0x1'0000'0010);
}

TEST_CASE("a one-shot comparator fires at its count and not again") {
  Chip c;
  c.set(kConfig, 1);
  c.set(kTimer0, kEdge | kOn);
  c.set(kCompare0, 5000);
  bench::go_to(c.clock, 49'999);
  CHECK(c.lines.rises[kRoute] == 0);
  bench::go_to(c.clock, 50'000);
  CHECK(c.lines.rises[kRoute] == 1);
  bench::advance(c.clock, 100 * bench::kSecond);
  CHECK(c.lines.rises[kRoute] == 1);
}

TEST_CASE("a 32-bit comparator in the past fires when the counter has gone round") {
  Chip c;
  c.set(kConfig, 1);
  bench::go_to(c.clock, 10'000);
  c.set(kTimer0, kEdge | kOn | k32);
  c.set(kCompare0, 500);
  const u64 when = ((u64{1} << 32) + 500) * 10;
  bench::go_to(c.clock, when - 1);
  CHECK(c.lines.rises[kRoute] == 0);
  bench::go_to(c.clock, when);
  CHECK(c.lines.rises[kRoute] == 1);
}

TEST_CASE("a periodic comparator programmed as Linux does keeps its phase") {
  Chip c;
  c.set32(kTimer0, kEdge | kPeriodic | kSetValue | k32 | kOn);
  c.set32(kCompare0, 30'000);   // first strike
  c.set32(kCompare0, 100'000);  // period: a millisecond
  c.set(kConfig, 1);
  bench::go_to(c.clock, 299'999);
  CHECK(c.lines.rises[kRoute] == 0);
  bench::go_to(c.clock, 300'000);
  CHECK(c.lines.rises[kRoute] == 1);
  bench::go_to(c.clock, 1'299'999);
  CHECK(c.lines.rises[kRoute] == 1);
  bench::go_to(c.clock, 1'300'000);
  CHECK(c.lines.rises[kRoute] == 2);
  CHECK(c.get(kCompare0) == 230'000);
  bench::go_to(c.clock, 300'000 + 999 * bench::kMillisecond);
  CHECK(c.lines.rises[kRoute] == 1000);
}

TEST_CASE("halves written one after the other set a 64-bit accumulator and period") {
  Chip c;
  c.set32(kTimer0, kEdge | kPeriodic | kSetValue | kOn);
  c.set32(kCompare0, 1000);
  c.set32(kCompare0 + 4, 0);
  c.set32(kCompare0, 2000);
  c.set32(kCompare0 + 4, 0);
  c.set(kConfig, 1);
  bench::go_to(c.clock, 10'000);
  CHECK(c.lines.rises[kRoute] == 1);
  bench::go_to(c.clock, 30'000);
  CHECK(c.lines.rises[kRoute] == 2);
}

TEST_CASE("a level interrupt stays until its status bit is written") {
  Chip c;
  c.set(kConfig, 1);
  c.set(kTimer0, kLevel | kOn);
  c.set(kCompare0, 100);
  bench::go_to(c.clock, 1000);
  CHECK(c.lines.level[kRoute]);
  CHECK(c.get(kStatus) == 1);
  c.set(kStatus, 0);
  CHECK(c.lines.level[kRoute]);
  c.set(kStatus, 1);
  CHECK_FALSE(c.lines.level[kRoute]);
  CHECK(c.get(kStatus) == 0);
}

TEST_CASE("legacy replacement sends timer 0 to line 0 and timer 1 to line 8") {
  Chip c;
  c.set(kConfig, 3);
  CHECK(c.legacy);
  c.set(kTimer0, kEdge);
  c.set(kTimer0 + 0x20, kEdge);
  c.set(kCompare0, 100);
  c.set(kCompare0 + 0x20, 200);
  bench::go_to(c.clock, 1000);
  CHECK(c.lines.rises[0] == 1);
  CHECK(c.lines.rises[8] == 0);
  bench::go_to(c.clock, 2000);
  CHECK(c.lines.rises[8] == 1);
  c.set(kConfig, 1);
  CHECK_FALSE(c.legacy);
  CHECK_FALSE(c.lines.level[0]);
}

TEST_CASE("a route that does not exist delivers nothing") {
  Chip c;
  c.set(kConfig, 1);
  c.set(kTimer0, kEdge | 5 << 9);
  c.set(kCompare0, 100);
  bench::go_to(c.clock, 2000);
  for (const unsigned rises : c.lines.rises) CHECK(rises == 0);
}

TEST_CASE("a tiny period strikes at most a hundred thousand times a second") {
  Chip c;
  c.set(kTimer0, kEdge | kPeriodic | kSetValue | kOn);
  c.set(kCompare0, 1);
  c.set(kCompare0, 1);
  c.set(kConfig, 1);
  bench::go_to(c.clock, bench::kSecond / 10);
  CHECK(c.lines.rises[kRoute] <= 10'001);
  CHECK(c.lines.rises[kRoute] >= 9'990);
}
