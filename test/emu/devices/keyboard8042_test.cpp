// The 8042 as Linux, firmware and reboot code question it.
#include "emu/devices/keyboard8042.h"

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Chip {
  bench::Lines lines;
  unsigned resets = 0;
  bool a20 = true;
  Keyboard8042 kbd{lines, [this](bool on) { a20 = on; }, [this] { ++resets; }};
  u8 status() { return bench::in(kbd.command_port(), 0); }
  u8 data() { return bench::in(kbd.data_port(), 0); }
  void command(unsigned v) { bench::out(kbd.command_port(), 0, v); }
  void data(unsigned v) { bench::out(kbd.data_port(), 0, v); }
};

}  // namespace

TEST_CASE("the self test passes and the output buffer tells so") {
  Chip c;
  CHECK((c.status() & 0x03) == 0);
  c.command(0xaa);
  CHECK((c.status() & 0x01) == 1);
  CHECK(c.data() == 0x55);
  CHECK((c.status() & 0x01) == 0);
  c.command(0xab);
  CHECK(c.data() == 0x00);
}

TEST_CASE("the command byte is written and read back") {
  Chip c;
  c.command(0x60);
  c.data(0x74);
  c.command(0x20);
  CHECK(c.data() == 0x74);
  c.command(0xae);
  c.command(0x20);
  CHECK(c.data() == 0x64);
}

TEST_CASE("IRQ1 follows the output buffer while enabled") {
  Chip c;
  c.command(0xaa);
  CHECK(c.lines.level[1]);
  c.data();
  CHECK_FALSE(c.lines.level[1]);
  c.command(0x60);
  c.data(0x00);
  c.command(0xaa);
  CHECK_FALSE(c.lines.level[1]);
}

TEST_CASE("no keyboard answers at once with a time-out, and there is no auxiliary port") {
  Chip c;
  c.data(0xf2);
  CHECK((c.status() & 0x41) == 0x41);
  CHECK(c.data() == 0xfe);
  c.command(0xd3);
  c.data(0x5a);
  CHECK((c.status() & 0x20) == 0);
  CHECK(c.data() != 0x5a);
  c.command(0xa9);
  CHECK(c.data() != 0x00);
}

TEST_CASE("reset is pulsed by 0xfe, by the output port and by port 0x92") {
  Chip c;
  c.command(0xff);
  CHECK(c.resets == 0);
  c.command(0xfe);
  CHECK(c.resets == 1);
  c.command(0xd1);
  c.data(0x02);
  CHECK(c.resets == 2);
  bench::out(c.kbd.port92(), 0, 0x03);
  CHECK(c.resets == 3);
}

TEST_CASE("the A20 gate has three handles and one state") {
  Chip c;
  CHECK(c.kbd.a20());
  c.command(0xdd);
  CHECK_FALSE(c.a20);
  CHECK(bench::in(c.kbd.port92(), 0) == 0x00);
  bench::out(c.kbd.port92(), 0, 0x02);
  CHECK(c.a20);
  c.command(0xd1);
  c.data(0x01);
  CHECK_FALSE(c.a20);
  c.command(0xdf);
  CHECK(c.a20);
  c.command(0xd0);
  CHECK((c.data() & 0x03) == 0x03);
}
