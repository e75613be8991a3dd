// The 16550A against its datasheet, and against the questions Linux's 8250 driver asks before it believes in one.
#include "emu/devices/uart16550.h"

#include <string>

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Port {
  sim::Clock clock;
  bench::Lines lines;
  std::string sent;
  Uart16550 uart;
  explicit Port(Uart16550::Options o = {})
      : uart(clock, lines, o, [this](u8 c) { sent.push_back(static_cast<char>(c)); }) {}
  u8 get(unsigned r) { return bench::in(uart, r); }
  void set(unsigned r, unsigned v) { bench::out(uart, r, v); }
  void type(const std::string& s) { uart.push({reinterpret_cast<const u8*>(s.data()), s.size()}); }
  bool irq() const { return lines.level[4]; }
  /// 115200 baud, FIFO with a trigger of 8, OUT2.
  void open(unsigned ier) {
    set(3, 0x83);
    set(0, 1);
    set(1, 0);
    set(3, 0x03);
    set(2, 0x81);
    set(4, 0x0b);
    set(1, ier);
  }
};
constexpr unsigned kRbr = 0, kIer = 1, kIir = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7;

}  // namespace

TEST_CASE("Linux finds a 16550A") {
  Port p;
  p.set(kIer, 0);
  CHECK((p.get(kIer) & 0x0f) == 0);
  p.set(kIer, 0x0f);
  CHECK((p.get(kIer) & 0x0f) == 0x0f);
  p.set(kIer, 0);
  p.set(kMcr, 0x1a);  // loopback with RTS and OUT2
  CHECK((p.get(kMsr) & 0xf0) == 0x90);
  p.set(kMcr, 0);
  p.set(kLcr, 0);
  p.set(kIir, 0x01);
  CHECK(p.get(kIir) >> 6 == 3);
  p.set(kLcr, 0xbf);
  CHECK(p.get(2) != 0);  // no enhanced features register: not a 16650
  p.set(kLcr, 0);
  p.set(kIir, 0x81 | 0x20);  // 64-byte FIFO of a 16750?
  CHECK(p.get(kIir) >> 5 == 6);
  p.set(kIir, 0);
  p.set(kIer, 0x40);
  CHECK(p.get(kIer) == 0);  // no XScale UUE
  p.set(kScr, 0xa5);
  CHECK(p.get(kScr) == 0xa5);
}

TEST_CASE("enabling the transmitter interrupt while empty raises it, each time") {
  Port p;
  p.open(0);
  for (int i = 0; i < 2; ++i) {
    p.set(kIer, 0x02);
    CHECK(p.irq());
    CHECK((p.get(kIir) & 0x0f) == 0x02);
    CHECK((p.get(kIir) & 0x0f) == 0x01);  // reading took it back
    CHECK_FALSE(p.irq());
    p.set(kIer, 0);
  }
}

TEST_CASE("each byte written goes out and empties the transmitter again") {
  Port p;
  p.open(0x02);
  p.get(kIir);
  for (const char c : std::string("hello")) {
    p.set(0, static_cast<u8>(c));
    CHECK(p.irq());
    CHECK((p.get(kLsr) & 0x60) == 0x60);
    p.get(kIir);
  }
  CHECK(p.sent == "hello");
}

TEST_CASE("received data interrupts at the trigger level and falls below it") {
  Port p;
  p.open(0x01);
  p.type("1234567");
  CHECK_FALSE(p.irq());
  p.type("8");
  CHECK(p.irq());
  CHECK(p.get(kIir) == 0xc4);
  CHECK(p.get(kRbr) == '1');
  CHECK_FALSE(p.irq());
}

TEST_CASE("few characters time out after four character times, and reading ends it") {
  Port p;
  p.open(0x01);
  p.type("ab");
  const u64 four = 4 * p.clock.from_hz(160, 1'843'200);
  bench::go_to(p.clock, four - 1);
  CHECK_FALSE(p.irq());
  bench::go_to(p.clock, four);
  CHECK(p.irq());
  CHECK(p.get(kIir) == 0xcc);
  CHECK(p.get(kRbr) == 'a');
  CHECK_FALSE(p.irq());
  bench::advance(p.clock, four);
  CHECK(p.irq());
  CHECK(p.get(kRbr) == 'b');
  CHECK_FALSE(p.irq());
  CHECK((p.get(kLsr) & 1) == 0);
}

TEST_CASE("causes are shown in order of priority: line, data, transmitter, modem") {
  Port p;
  p.open(0x0f);
  p.set(kIir, 0x01);                           // trigger 1
  p.set(kMcr, 0x1b);                           // loopback, in which we are the sender
  p.set(kMcr, 0x18);                           // RTS and DTR fall: delta bits
  for (int i = 0; i < 17; ++i) p.set(0, 'x');  // one too many for the FIFO
  CHECK((p.get(kIir) & 15) == 0x06);
  CHECK((p.get(kLsr) & 0x02) != 0);
  CHECK((p.get(kIir) & 15) == 0x04);
  for (int i = 0; i < 16; ++i) p.get(kRbr);
  CHECK((p.get(kIir) & 15) == 0x02);
  CHECK((p.get(kIir) & 15) == 0x00);
  CHECK((p.get(kMsr) & 0x03) != 0);
  CHECK((p.get(kIir) & 15) == 0x01);
  CHECK(p.sent.empty());
}

TEST_CASE("OUT2 gates the interrupt line") {
  Port p;
  p.open(0x02);
  CHECK(p.irq());
  p.set(kMcr, 0x03);
  CHECK_FALSE(p.irq());
  p.set(kMcr, 0x0b);
  CHECK(p.irq());
}

TEST_CASE("host input longer than the FIFO arrives whole and in order") {
  Port p;
  p.open(0x01);
  std::string text;
  for (int i = 0; i < 1000; ++i) text.push_back(static_cast<char>('a' + i % 26));
  p.type(text);
  std::string got;
  while (p.get(kLsr) & 1) got.push_back(static_cast<char>(p.get(kRbr)));
  CHECK(got == text);
  CHECK((p.get(kLsr) & 2) == 0);
}

TEST_CASE("the queue of host input is bounded and says so") {
  Port p;
  const std::vector<u8> much(1 << 20, 'x');
  CHECK(p.uart.push(much) == 64 * 1024);
  CHECK(p.uart.push(much) <= 1);  // one has gone into the receiver
}

TEST_CASE("without FIFOs there is one character at a time") {
  Port p;
  p.set(kMcr, 0x08);
  p.set(kIer, 0x01);
  p.type("ab");
  CHECK(p.irq());
  CHECK(p.get(kIir) == 0x04);
  CHECK(p.get(kRbr) == 'a');
  CHECK(p.irq());
  CHECK(p.get(kRbr) == 'b');
  CHECK_FALSE(p.irq());
}

TEST_CASE("a timed transmitter takes ten bits a character") {
  Port p({.timed = true});
  p.open(0x02);
  p.get(kIir);
  const u64 one = p.clock.from_hz(160, 1'843'200);
  for (const char c : std::string("abc")) p.set(0, static_cast<u8>(c));
  CHECK((p.get(kLsr) & 0x60) == 0);
  bench::go_to(p.clock, one - 1);
  CHECK(p.sent.empty());
  bench::go_to(p.clock, one);
  CHECK(p.sent == "a");
  bench::go_to(p.clock, 2 * one);
  CHECK(p.irq());
  CHECK((p.get(kLsr) & 0x60) == 0x20);  // the last one is on the wire
  bench::go_to(p.clock, 3 * one);
  CHECK((p.get(kLsr) & 0x60) == 0x60);
  CHECK(p.sent == "abc");
}

TEST_CASE("the divisor latch hides data and interrupt registers") {
  Port p;
  p.set(kLcr, 0x80);
  p.set(0, 0x34);
  p.set(1, 0x12);
  CHECK(p.get(0) == 0x34);
  CHECK(p.get(1) == 0x12);
  p.set(kLcr, 0x03);
  CHECK(p.get(1) == 0);
  CHECK(p.sent.empty());
}
