// The 8254 against its datasheet: when OUT moves and what a count reads, to the CLK pulse.
#include "emu/devices/pit8254.h"

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;
using bench::in;
using bench::out;

namespace {

/// A machine whose clock ticks once per CLK, so that datasheet diagrams can be read off.
struct Board {
  sim::Clock clock{sim::Clock::Guest::cycles, Pit8254::kHz};
  bench::Lines lines;
  Pit8254 pit{clock, lines};

  void program(unsigned counter, unsigned mode, unsigned count, bool bcd = false) {
    out(pit, 3, counter << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0));
    out(pit, counter, count & 0xff);
    out(pit, counter, count >> 8);
  }
  unsigned count(unsigned counter) {
    out(pit, 3, counter << 6);
    const unsigned low = in(pit, counter);
    return low | static_cast<unsigned>(in(pit, counter)) << 8;
  }
  u8 status(unsigned counter) {
    out(pit, 3, 0xe0 | 2u << counter);
    return in(pit, counter);
  }
  bool out2() { return in(pit.port61(), 0) & 0x20; }
  void gate2(bool on) { out(pit.port61(), 0, on ? 1 : 0); }
};

}  // namespace

TEST_CASE("mode 0 raises OUT n + 1 pulses after the count is written, once") {
  Board b;
  b.program(0, 0, 100);
  CHECK_FALSE(b.lines.level[0]);
  bench::go_to(b.clock, 1);
  CHECK(b.count(0) == 100);
  bench::go_to(b.clock, 100);
  CHECK_FALSE(b.lines.level[0]);
  CHECK(b.count(0) == 1);
  bench::go_to(b.clock, 101);
  CHECK(b.lines.level[0]);
  CHECK(b.count(0) == 0);
  bench::go_to(b.clock, 102);
  CHECK(b.count(0) == 0xffff);  // it counts on
  bench::go_to(b.clock, 1'000'000);
  CHECK(b.lines.rises[0] == 1);
}

TEST_CASE("mode 2 strikes every n pulses, at n and not at n - 1") {
  Board b;
  b.program(0, 2, 1000);  // loaded at 1
  const unsigned before = b.lines.rises[0];
  bench::go_to(b.clock, 1);
  CHECK(b.count(0) == 1000);
  bench::go_to(b.clock, 1000);
  CHECK(b.count(0) == 1);
  CHECK(b.lines.rises[0] == before);
  bench::go_to(b.clock, 1001);
  CHECK(b.count(0) == 1000);
  CHECK(b.lines.rises[0] == before + 1);
  bench::go_to(b.clock, 2000);
  CHECK(b.lines.rises[0] == before + 1);
  bench::go_to(b.clock, 2001);
  CHECK(b.lines.rises[0] == before + 2);
  bench::go_to(b.clock, 1'000'001);
  CHECK(b.lines.rises[0] == before + 1000);
}

TEST_CASE("mode 2 holds OUT low for the pulse in which the count is one") {
  Board b;
  b.gate2(true);
  b.program(2, 2, 10);
  bench::go_to(b.clock, 9);
  CHECK(b.out2());
  bench::go_to(b.clock, 10);
  CHECK_FALSE(b.out2());
  bench::go_to(b.clock, 11);
  CHECK(b.out2());
}

TEST_CASE("mode 3 is high for half an even count and counts by two") {
  Board b;
  b.gate2(true);
  b.program(2, 3, 8);
  const unsigned expected[] = {8, 6, 4, 2, 8, 6, 4, 2, 8};
  for (unsigned i = 0; i < 9; ++i) {
    bench::go_to(b.clock, 1 + i);
    CHECK(b.count(2) == expected[i]);
    CHECK(b.out2() == (i % 8 < 4));
  }
}

TEST_CASE("mode 3 is high for one pulse more of an odd count") {
  Board b;
  b.gate2(true);
  b.program(2, 3, 5);
  const unsigned expected[] = {4, 2, 0, 4, 2, 4};
  for (unsigned i = 0; i < 6; ++i) {
    bench::go_to(b.clock, 1 + i);
    CHECK(b.count(2) == expected[i]);
    CHECK(b.out2() == (i % 5 < 3));
  }
}

TEST_CASE("mode 3 on counter 0 raises IRQ0 once a period") {
  Board b;
  b.program(0, 3, 0);  // 65536: 18.2 Hz
  const unsigned before = b.lines.rises[0];
  bench::go_to(b.clock, 65536);
  CHECK(b.lines.rises[0] == before);
  bench::go_to(b.clock, 65537);
  CHECK(b.lines.rises[0] == before + 1);
  bench::go_to(b.clock, 1 + 65536 * 18);
  CHECK(b.lines.rises[0] == before + 18);
}

TEST_CASE("mode 4 strobes OUT low for one pulse when the count is reached") {
  Board b;
  b.program(0, 4, 50);
  bench::go_to(b.clock, 50);
  CHECK(b.lines.level[0]);
  bench::go_to(b.clock, 51);
  CHECK_FALSE(b.lines.level[0]);
  const unsigned before = b.lines.rises[0];
  bench::go_to(b.clock, 52);
  CHECK(b.lines.level[0]);
  CHECK(b.lines.rises[0] == before + 1);
  bench::go_to(b.clock, 500'000);
  CHECK(b.lines.rises[0] == before + 1);
}

TEST_CASE("mode 1 is started by the gate and can be started again") {
  Board b;
  b.program(2, 1, 100);
  CHECK(b.out2());
  b.gate2(true);
  bench::go_to(b.clock, 1);
  CHECK_FALSE(b.out2());
  bench::go_to(b.clock, 60);
  b.gate2(false);
  b.gate2(true);  // retriggered at 60: low until 61 + 100
  bench::go_to(b.clock, 160);
  CHECK_FALSE(b.out2());
  bench::go_to(b.clock, 161);
  CHECK(b.out2());
}

TEST_CASE("mode 5 strobes after the gate") {
  Board b;
  b.program(2, 5, 10);
  b.gate2(true);
  bench::go_to(b.clock, 10);
  CHECK(b.out2());
  bench::go_to(b.clock, 11);
  CHECK_FALSE(b.out2());
  bench::go_to(b.clock, 12);
  CHECK(b.out2());
}

TEST_CASE("the gate stops mode 0 and it goes on where it stood") {
  Board b;
  b.gate2(true);
  b.program(2, 0, 100);
  bench::go_to(b.clock, 41);  // 40 counted
  b.gate2(false);
  bench::go_to(b.clock, 5000);
  CHECK(b.count(2) == 60);
  CHECK_FALSE(b.out2());
  b.gate2(true);
  bench::go_to(b.clock, 5059);
  CHECK_FALSE(b.out2());
  bench::go_to(b.clock, 5060);
  CHECK(b.out2());
}

TEST_CASE("the gate starts mode 2 afresh and holds OUT high while low") {
  Board b;
  b.gate2(true);
  b.program(2, 2, 100);
  bench::go_to(b.clock, 100);
  CHECK_FALSE(b.out2());
  b.gate2(false);
  CHECK(b.out2());
  bench::go_to(b.clock, 200);
  b.gate2(true);
  bench::go_to(b.clock, 201);
  CHECK(b.count(2) == 100);
}

TEST_CASE("a count written to a running rate takes over at the end of the period") {
  Board b;
  b.program(0, 2, 1000);
  const unsigned before = b.lines.rises[0];
  bench::go_to(b.clock, 500);
  out(b.pit, 0, 2000 & 0xff);
  out(b.pit, 0, 2000 >> 8);
  CHECK((b.status(0) & 0x40) != 0);  // null count
  bench::go_to(b.clock, 1001);
  CHECK(b.lines.rises[0] == before + 1);
  CHECK(b.count(0) == 2000);
  CHECK((b.status(0) & 0x40) == 0);
  bench::go_to(b.clock, 3000);
  CHECK(b.lines.rises[0] == before + 1);
  bench::go_to(b.clock, 3001);
  CHECK(b.lines.rises[0] == before + 2);
}

TEST_CASE("a latch keeps the count until it is read, and a second latch is ignored") {
  Board b;
  b.program(0, 2, 0x1234);
  bench::go_to(b.clock, 1);
  out(b.pit, 3, 0x00);
  bench::go_to(b.clock, 100);
  out(b.pit, 3, 0x00);
  CHECK(in(b.pit, 0) == 0x34);
  CHECK(in(b.pit, 0) == 0x12);
  const unsigned low = in(b.pit, 0), high = in(b.pit, 0);
  CHECK((high << 8 | low) == 0x1234 - 99);
}

TEST_CASE("read-back gives status before count") {
  Board b;
  b.program(0, 2, 0x4000);
  bench::go_to(b.clock, 11);
  out(b.pit, 3, 0xc2);  // count and status of counter 0
  CHECK(in(b.pit, 0) == (0x80 | 0x30 | 2 << 1));
  CHECK(in(b.pit, 0) == ((0x4000 - 10) & 0xff));
  CHECK(in(b.pit, 0) == (0x4000 - 10) >> 8);
}

TEST_CASE("a BCD counter counts in decimal and zero means ten thousand") {
  Board b;
  b.program(0, 2, 0x0000, true);
  bench::go_to(b.clock, 2);
  CHECK(b.count(0) == 0x9999);
  b.program(1, 0, 0x0100, true);
  bench::go_to(b.clock, 4);  // loaded at 3
  CHECK(b.count(1) == 0x0099);
}

TEST_CASE("single-byte access writes and reads one byte") {
  Board b;
  out(b.pit, 3, 0x14);  // counter 0, low byte, mode 2
  out(b.pit, 0, 200);
  bench::go_to(b.clock, 1);
  CHECK(in(b.pit, 0) == 200);
  bench::go_to(b.clock, 6);
  CHECK(in(b.pit, 0) == 195);
}

TEST_CASE("a guest cannot flood the machine with timer interrupts") {
  Board b;
  b.program(0, 2, 1);
  const unsigned before = b.lines.rises[0];
  bench::advance(b.clock, Pit8254::kHz);  // a second
  CHECK(b.lines.rises[0] - before <= 100'000);
  CHECK(b.lines.rises[0] - before >= 90'000);
}

TEST_CASE("a core that comes by late still sees the timer rise, once") {
  Board b;
  b.program(0, 3, 1000);
  const unsigned before = b.lines.rises[0];
  b.clock.cycles = 10'700;
  b.clock.run_due();
  CHECK(b.lines.rises[0] > before);
  CHECK(b.lines.rises[0] <= before + 2);
  CHECK(b.clock.deadline() > 10'700);
}

TEST_CASE("port 61 toggles its refresh bit every eighteen pulses") {
  Board b;
  const u8 first = in(b.pit.port61(), 0) & 0x10;
  bench::go_to(b.clock, 17);
  CHECK((in(b.pit.port61(), 0) & 0x10) == first);
  bench::go_to(b.clock, 18);
  CHECK((in(b.pit.port61(), 0) & 0x10) != first);
}
