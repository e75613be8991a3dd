// The VGA's text mode: what a guest writes into the window is what a person would read, the registers keep what drivers
// check for, and the beam moves at 70 Hz. Expected values are those of IBM's mode 3 and of Unicode's table for code page
// 437.
#include "emu/devices/vga_text.h"

#include <sstream>
#include <vector>

#include "base/bits.h"
#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Screen {
  sim::Clock clock;
  VgaText vga{clock};

  void put(unsigned cell, const std::string& text) {
    for (const char c : text) vga.memory().write(2 * cell++, static_cast<u8>(c) | 0x0700u, 2);
  }
  std::vector<std::string> lines() const {
    std::istringstream in(vga.text());
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }
  u8 port(u16 number) { return bench::in(vga, number - 0x3c0u); }
  void port(u16 number, unsigned value) { bench::out(vga, number - 0x3c0u, value); }
  u8 indexed(u16 index_port, unsigned index) {
    port(index_port, index);
    return port(static_cast<u16>(index_port + 1));
  }
  void indexed(u16 index_port, unsigned index, unsigned value) {
    port(index_port, index);
    port(static_cast<u16>(index_port + 1), value);
  }
};

}  // namespace

TEST_CASE("an empty screen is 25 empty lines") {
  const Screen s;
  CHECK(s.vga.text() == std::string(25, '\n'));
}

TEST_CASE("a cell is a code and an attribute, eighty to a row") {
  Screen s;
  s.put(0, "first");
  s.put(80 + 75, "right");
  s.put(24 * 80 + 2, "last  ");
  const auto lines = s.lines();
  REQUIRE(lines.size() == 25);
  CHECK(lines[0] == "first");
  CHECK(lines[1] == std::string(75, ' ') + "right");
  CHECK(lines[24] == "  last");
  CHECK(s.vga.memory().read(0, 2) == 0x0766);
  CHECK(s.vga.memory().read(1, 1) == 0x07);
}

TEST_CASE("the window takes accesses of one to eight bytes and reads back what drivers probe it with") {
  Screen s;
  for (const unsigned bytes : {1u, 2u, 4u, 8u}) {
    const u64 pattern = 0xaa55'1234'5678'9abcu & low_mask(8 * bytes);
    s.vga.memory().write(0x7ff8, pattern, bytes);
    CHECK(s.vga.memory().read(0x7ff8, bytes) == pattern);
  }
  s.vga.memory().write(0, 0x0769'0768, 4);
  CHECK(s.lines()[0] == "hi");
}

TEST_CASE("codes outside ASCII are those of code page 437") {
  Screen s;
  const u8 codes[] = {0x01, 0x1f, 0x7f, 0x80, 0x9b, 0xb3, 0xc4, 0xcd, 0xdb, 0xe1, 0xf1, 0xfe};
  for (unsigned i = 0; i < sizeof codes; ++i) s.vga.memory().write(2 * i, codes[i], 1);
  CHECK(s.lines()[0] == "☺▼⌂Ç¢│─═█ß±■");
  s.vga.memory().write(160, 0, 1);  // a blank within a line stays one
  s.put(81, "x");
  CHECK(s.lines()[1] == " x");
}

TEST_CASE("the start address scrolls the screen, and the window wraps at its end") {
  Screen s;
  s.put(80, "second row");
  s.indexed(0x3d4, 0x0c, 0);
  s.indexed(0x3d4, 0x0d, 80);
  CHECK(s.lines()[0] == "second row");
  // From the last 40 cells on: the first row's second half is the window's beginning.
  s.put(0x4000 - 40, "end");
  s.put(0, "begin");
  s.indexed(0x3d4, 0x0c, (0x4000 - 40) >> 8);
  s.indexed(0x3d4, 0x0d, (0x4000 - 40) & 0xff);
  CHECK(s.lines()[0] == "end" + std::string(37, ' ') + "begin");
}

TEST_CASE("the offset register is the distance of rows, in steps of two cells") {
  Screen s;
  s.put(132, "wide");
  s.indexed(0x3d4, 0x13, 66);
  CHECK(s.lines()[1] == "wide");
  CHECK(s.lines()[2].empty());
}

TEST_CASE("registers hold the values of mode 3 and what is written to them") {
  Screen s;
  CHECK(s.port(0x3cc) == 0x67);
  CHECK(s.indexed(0x3d4, 0x01) == 79);  // columns - 1
  CHECK(s.indexed(0x3d4, 0x09) == 0x4f);
  CHECK(s.indexed(0x3d4, 0x13) == 40);
  CHECK(s.indexed(0x3c4, 2) == 3);
  CHECK(s.indexed(0x3ce, 6) == 0x0e);
  for (const unsigned cursor : {0x0eu, 0x0fu}) {
    s.indexed(0x3d4, cursor, 0x5a);
    CHECK(s.indexed(0x3d4, cursor) == 0x5a);
    CHECK(s.port(0x3d4) == cursor);
  }
  s.port(0x3c2, 0x63);
  CHECK(s.port(0x3cc) == 0x63);
  CHECK((s.port(0x3c2) & 0x10) != 0);  // a colour monitor
  s.indexed(0x3d4, 0x1d, 0x12);        // there is no such register
  CHECK(s.indexed(0x3d4, 0x1d) == 0);
  CHECK(s.port(0x3d0) == 0xff);
}

TEST_CASE("the protect bit guards the CRT controller's first eight registers but for one bit") {
  Screen s;
  s.indexed(0x3d4, 0x00, 0x11);
  s.indexed(0x3d4, 0x07, 0x00);
  CHECK(s.indexed(0x3d4, 0x00) == 0x5f);
  CHECK(s.indexed(0x3d4, 0x07) == 0x0f);  // line compare, bit 8
  s.indexed(0x3d4, 0x11, 0x0e);
  s.indexed(0x3d4, 0x00, 0x11);
  s.indexed(0x3d4, 0x07, 0x22);
  CHECK(s.indexed(0x3d4, 0x00) == 0x11);
  CHECK(s.indexed(0x3d4, 0x07) == 0x22);
}

TEST_CASE("the attribute port takes index and data in turn, and reading the status begins again") {
  Screen s;
  s.port(0x3da);
  s.port(0x3c0, 0x03);
  s.port(0x3c0, 0x2a);
  s.port(0x3c0, 0x03);
  CHECK(s.port(0x3c1) == 0x2a);
  s.port(0x3da);  // the next write is an index, though the last one was too
  s.port(0x3c0, 0x04);
  s.port(0x3c0, 0x2b);
  s.port(0x3da);
  s.port(0x3c0, 0x04);
  CHECK(s.port(0x3c1) == 0x2b);
  s.port(0x3da);
  s.port(0x3c0, 0x03);
  CHECK(s.port(0x3c1) == 0x2a);
}

TEST_CASE("the palette is written and read colour by colour, six bits each") {
  Screen s;
  s.port(0x3c8, 7);
  for (const unsigned v : {0x01u, 0x3fu, 0xffu, 0x15u}) s.port(0x3c9, v);
  s.port(0x3c7, 7);
  CHECK(s.port(0x3c9) == 0x01);
  CHECK(s.port(0x3c9) == 0x3f);
  CHECK(s.port(0x3c9) == 0x3f);
  CHECK(s.port(0x3c9) == 0x15);
  CHECK(s.port(0x3c7) == 3);
  CHECK(s.port(0x3c8) == 8);
  s.port(0x3c8, 255);
  for (unsigned i = 0; i < 4; ++i) s.port(0x3c9, i);  // the fourth is colour 0
  s.port(0x3c7, 0);
  CHECK(s.port(0x3c9) == 3);
}

TEST_CASE("loading a font leaves the screen alone") {
  Screen s;
  s.put(0, "text");
  s.indexed(0x3ce, 6, 0x04);  // the window moves to 0xa0000
  s.vga.memory().write(0, 0xffff, 2);
  CHECK(s.vga.memory().read(0, 2) == 0xffff);
  s.indexed(0x3ce, 6, 0x0e);
  s.indexed(0x3c4, 2, 0x04);  // only plane 2 is written
  s.vga.memory().write(0, 0x4141, 2);
  s.indexed(0x3c4, 2, 0x01);  // only codes
  s.vga.memory().write(0, 0x4154, 2);
  s.indexed(0x3c4, 2, 0x03);
  CHECK(s.vga.memory().read(0, 2) == 0x0754);
  CHECK(s.lines()[0] == "Text");
}

TEST_CASE("the beam: seventy retraces a second, about a ninth of the time not shown") {
  Screen s;
  unsigned retraces = 0, blank = 0, samples = 0;
  bool before = false;
  for (u64 t = 0; t < bench::kSecond; t += 10'000) {  // every 10 microseconds
    bench::go_to(s.clock, t);
    const u8 status = s.port(0x3da);
    const bool now = (status & 8) != 0;
    retraces += now && !before;
    if (now) CHECK((status & 1) != 0);
    before = now;
    blank += status & 1;
    ++samples;
  }
  CHECK(retraces == 70);
  // 720 of 900 dots in 400 of 449 lines are shown.
  const double share = 1 - 720.0 * 400 / (900 * 449);
  CHECK(static_cast<double>(blank) / samples > share - 0.01);
  CHECK(static_cast<double>(blank) / samples < share + 0.01);
}

TEST_CASE("a reset empties the screen and restores mode 3") {
  Screen s;
  s.put(0, "old");
  s.indexed(0x3d4, 0x0d, 80);
  s.port(0x3da);
  s.port(0x3c0, 5);  // half of a pair
  s.vga.reset();
  CHECK(s.vga.text() == std::string(25, '\n'));
  CHECK(s.indexed(0x3d4, 0x0d) == 0);
  s.port(0x3c0, 0x03);
  CHECK(s.port(0x3c1) == 0x03);
}
