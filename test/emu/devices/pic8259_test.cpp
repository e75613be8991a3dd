// The 8259A pair against its datasheet: priorities, ends of interrupt, modes, spurious requests.
#include "emu/devices/pic8259.h"

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;
using bench::in;
using bench::out;

namespace {

struct Pair {
  unsigned changes = 0;
  bool intr = false;
  Pic8259 pic{[this](bool level) {
    intr = level;
    ++changes;
  }};
  /// As Linux does: vectors 0x30 and 0x38, everything unmasked.
  explicit Pair(unsigned icw4 = 0x01) {
    for (Device* d : {&pic.master(), &pic.slave()}) {
      const bool master = d == &pic.master();
      out(*d, 0, 0x11);
      out(*d, 1, master ? 0x30 : 0x38);
      out(*d, 1, master ? 0x04 : 0x02);
      out(*d, 1, icw4);
      out(*d, 1, 0x00);
    }
  }
  u8 isr(Device& d) {
    out(d, 0, 0x0b);
    return in(d, 0);
  }
  u8 irr(Device& d) {
    out(d, 0, 0x0a);
    return in(d, 0);
  }
};

}  // namespace

TEST_CASE("the 8259 serves the lower numbered of two requests first") {
  Pair p;
  p.pic.set(5, true);
  p.pic.set(3, true);
  REQUIRE(p.intr);
  CHECK(p.pic.acknowledge() == 0x33);
  CHECK_FALSE(p.intr);  // IR5 is outranked by IR3 in service
  out(p.pic.master(), 0, 0x20);
  REQUIRE(p.intr);
  CHECK(p.pic.acknowledge() == 0x35);
}

TEST_CASE("a higher request interrupts a lower service") {
  Pair p;
  p.pic.set(5, true);
  CHECK(p.pic.acknowledge() == 0x35);
  p.pic.set(1, true);
  REQUIRE(p.intr);
  CHECK(p.pic.acknowledge() == 0x31);
  CHECK(p.isr(p.pic.master()) == 0x22);
  out(p.pic.master(), 0, 0x20);  // non-specific: the one of highest priority
  CHECK(p.isr(p.pic.master()) == 0x20);
  out(p.pic.master(), 0, 0x65);  // specific
  CHECK(p.isr(p.pic.master()) == 0x00);
}

TEST_CASE("slave lines rank at the master's IR2 and need two ends of interrupt") {
  Pair p;
  p.pic.set(3, true);
  p.pic.set(12, true);
  p.pic.set(8, true);
  CHECK(p.pic.acknowledge() == 0x38);
  CHECK(p.isr(p.pic.master()) == 0x04);
  CHECK(p.isr(p.pic.slave()) == 0x01);
  CHECK_FALSE(p.intr);
  out(p.pic.master(), 0, 0x20);
  CHECK(p.intr);  // IR3; IRQ12 still waits behind IRQ8 at the slave
  out(p.pic.slave(), 0, 0x20);
  CHECK(p.pic.acknowledge() == 0x3c);
  out(p.pic.slave(), 0, 0x20);
  out(p.pic.master(), 0, 0x20);
  CHECK(p.pic.acknowledge() == 0x33);
}

TEST_CASE("an edge is taken once however long the line stays high") {
  Pair p;
  p.pic.set(4, true);
  CHECK(p.pic.acknowledge() == 0x34);
  out(p.pic.master(), 0, 0x20);
  CHECK_FALSE(p.intr);
  p.pic.set(4, true);
  CHECK_FALSE(p.intr);
  p.pic.set(4, false);
  p.pic.set(4, true);
  CHECK(p.intr);
}

TEST_CASE("a level line of the ELCR asks until it falls, and timer lines cannot be made level") {
  Pair p;
  out(p.pic.elcr(), 0, 0xff);
  out(p.pic.elcr(), 1, 0xff);
  CHECK(in(p.pic.elcr(), 0) == 0xf8);
  CHECK(in(p.pic.elcr(), 1) == 0xde);
  p.pic.set(9, true);
  CHECK(p.pic.acknowledge() == 0x39);
  out(p.pic.slave(), 0, 0x20);
  out(p.pic.master(), 0, 0x20);
  CHECK(p.pic.acknowledge() == 0x39);
  p.pic.set(9, false);
  out(p.pic.slave(), 0, 0x20);
  out(p.pic.master(), 0, 0x20);
  CHECK_FALSE(p.intr);
}

TEST_CASE("a request that goes away before its acknowledge is a spurious IRQ7 without an ISR bit") {
  Pair p;
  p.pic.set(3, true);
  p.pic.set(3, false);
  REQUIRE(p.intr);
  CHECK(p.pic.acknowledge() == 0x37);
  CHECK(p.isr(p.pic.master()) == 0);
  CHECK_FALSE(p.intr);
}

TEST_CASE("a request that goes away at the slave is a spurious IRQ15 with IR2 in service at the master") {
  Pair p;
  p.pic.set(10, true);
  p.pic.set(10, false);
  CHECK(p.pic.acknowledge() == 0x3f);
  CHECK(p.isr(p.pic.slave()) == 0);
  CHECK(p.isr(p.pic.master()) == 0x04);
}

TEST_CASE("a mask withdraws the interrupt and keeps the request") {
  Pair p;
  p.pic.set(6, true);
  out(p.pic.master(), 1, 0x40);
  CHECK_FALSE(p.intr);
  CHECK(p.irr(p.pic.master()) == 0x40);
  CHECK(in(p.pic.master(), 1) == 0x40);
  out(p.pic.master(), 1, 0x00);
  CHECK(p.pic.acknowledge() == 0x36);
}

TEST_CASE("automatic end of interrupt leaves nothing in service") {
  Pair p(0x03);
  p.pic.set(1, true);
  CHECK(p.pic.acknowledge() == 0x31);
  CHECK(p.isr(p.pic.master()) == 0);
}

TEST_CASE("rotation on end of interrupt makes the served line the lowest") {
  Pair p;
  p.pic.set(3, true);
  CHECK(p.pic.acknowledge() == 0x33);
  out(p.pic.master(), 0, 0xa0);  // rotate on non-specific EOI: IR4 is the highest now
  p.pic.set(3, false);
  p.pic.set(3, true);
  p.pic.set(0, true);
  p.pic.set(7, true);
  CHECK(p.pic.acknowledge() == 0x37);
  out(p.pic.master(), 0, 0x20);
  CHECK(p.pic.acknowledge() == 0x30);
  out(p.pic.master(), 0, 0x20);
  CHECK(p.pic.acknowledge() == 0x33);
}

TEST_CASE("set priority names the lowest line") {
  Pair p;
  out(p.pic.master(), 0, 0xc4);  // IR4 lowest, IR5 highest
  p.pic.set(0, true);
  p.pic.set(5, true);
  CHECK(p.pic.acknowledge() == 0x35);
}

TEST_CASE("special mask mode lets lower lines through a masked service") {
  Pair p;
  p.pic.set(1, true);
  CHECK(p.pic.acknowledge() == 0x31);
  p.pic.set(6, true);
  CHECK_FALSE(p.intr);
  out(p.pic.master(), 1, 0x02);
  out(p.pic.master(), 0, 0x68);
  CHECK(p.intr);
  CHECK(p.pic.acknowledge() == 0x36);
}

TEST_CASE("special fully nested mode lets a more urgent slave line in") {
  Pair p(0x11);
  p.pic.set(12, true);
  CHECK(p.pic.acknowledge() == 0x3c);
  p.pic.set(8, true);
  REQUIRE(p.intr);
  CHECK(p.pic.acknowledge() == 0x38);
}

TEST_CASE("a poll acknowledges without a vector") {
  Pair p;
  out(p.pic.master(), 0, 0x0c);
  CHECK(in(p.pic.master(), 0) == 0x00);
  p.pic.set(4, true);
  out(p.pic.master(), 0, 0x0c);
  CHECK(in(p.pic.master(), 0) == 0x84);
  CHECK_FALSE(p.intr);
  CHECK(p.isr(p.pic.master()) == 0x10);
}

TEST_CASE("initialisation clears mask and service and forgets edges") {
  Pair p;
  p.pic.set(4, true);
  out(p.pic.master(), 1, 0xff);
  out(p.pic.master(), 0, 0x11);
  out(p.pic.master(), 1, 0x20);
  out(p.pic.master(), 1, 0x04);
  out(p.pic.master(), 1, 0x01);
  CHECK(in(p.pic.master(), 1) == 0x00);
  CHECK_FALSE(p.intr);
  p.pic.set(4, false);
  p.pic.set(4, true);
  CHECK(p.pic.acknowledge() == 0x24);
}
