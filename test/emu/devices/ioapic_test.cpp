// The IOAPIC against the 82093AA datasheet, and the whole path pin - IOAPIC - bus - local APIC - end of interrupt.
#include "emu/devices/ioapic.h"

#include <vector>

#include "emu/devices/irq_router.h"
#include "emu/devices/lapic.h"
#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Chip {
  std::vector<ApicMessage> sent;
  IoApic ioapic;
  Chip() {
    ioapic.set_send([this](const ApicMessage& m) { sent.push_back(m); });
  }
  u32 get(u8 index) {
    ioapic.write(0x00, index, 4);
    return static_cast<u32>(ioapic.read(0x10, 4));
  }
  void set(u8 index, u32 v) {
    ioapic.write(0x00, index, 4);
    ioapic.write(0x10, v, 4);
  }
  void route(unsigned pin, u64 entry) {
    set(static_cast<u8>(0x11 + 2 * pin), static_cast<u32>(entry >> 32));
    set(static_cast<u8>(0x10 + 2 * pin), static_cast<u32>(entry));
  }
};
constexpr u64 kLevel = 1 << 15, kMasked = 1 << 16, kRemoteIrr = 1 << 14;

}  // namespace

TEST_CASE("the IOAPIC has 24 masked pins and version 0x20") {
  Chip c;
  CHECK(c.get(1) == 0x00170020);
  for (u8 i = 0; i < 24; ++i) CHECK(c.get(static_cast<u8>(0x10 + 2 * i)) == kMasked);
  c.set(0, 0xffffffff);
  CHECK(c.get(0) == 0x0f000000);
  CHECK(c.get(0x40) == 0);
}

TEST_CASE("an edge is sent on the rise and only there") {
  Chip c;
  c.route(4, u64{3} << 56 | 0x34);
  c.ioapic.set(4, true);
  c.ioapic.set(4, true);
  REQUIRE(c.sent.size() == 1);
  CHECK(c.sent[0].vector == 0x34);
  CHECK(c.sent[0].destination == 3);
  CHECK_FALSE(c.sent[0].level);
  c.ioapic.set(4, false);
  c.ioapic.set(4, true);
  CHECK(c.sent.size() == 2);
}

TEST_CASE("an edge under the mask is lost, a level waits") {
  Chip c;
  c.route(4, kMasked | 0x34);
  c.route(5, kMasked | kLevel | 0x35);
  c.ioapic.set(4, true);
  c.ioapic.set(5, true);
  c.route(4, 0x34);
  CHECK(c.sent.empty());
  c.route(5, kLevel | 0x35);
  CHECK(c.sent.size() == 1);
}

TEST_CASE("a level is sent once until its end of interrupt, and again while the pin is up") {
  Chip c;
  c.route(9, kLevel | 0x39);
  c.ioapic.set(9, true);
  c.ioapic.set(9, true);
  CHECK(c.sent.size() == 1);
  CHECK((c.get(0x10 + 18) & kRemoteIrr) != 0);
  c.ioapic.end_of_interrupt(0x40);  // somebody else's
  CHECK(c.sent.size() == 1);
  c.ioapic.end_of_interrupt(0x39);
  CHECK(c.sent.size() == 2);
  c.ioapic.set(9, false);
  c.ioapic.write(0x40, 0x39, 4);  // the EOI register
  CHECK(c.sent.size() == 2);
  CHECK((c.get(0x10 + 18) & kRemoteIrr) == 0);
}

TEST_CASE("remote IRR cannot be written, and a change to edge clears it") {
  Chip c;
  c.route(9, kLevel | 0x39);
  c.ioapic.set(9, true);
  c.route(9, kLevel | kMasked | 0x39);
  CHECK((c.get(0x10 + 18) & kRemoteIrr) != 0);
  c.route(9, kMasked | 0x39);
  CHECK((c.get(0x10 + 18) & kRemoteIrr) == 0);
  c.route(9, kMasked | kLevel | kRemoteIrr | 0x39);
  CHECK((c.get(0x10 + 18) & kRemoteIrr) == 0);
}

TEST_CASE("a level interrupt goes from pin to processor and back") {
  sim::Clock clock;
  bool intr = false;
  Lapic lapic(clock, {}, {.set_interrupt = [&](bool v) { intr = v; }});
  Pic8259 pic{{}};
  IoApic ioapic;
  ApicBus bus;
  bus.attach(lapic);
  bus.attach(ioapic);
  IrqRouter board(pic, ioapic);
  lapic.write(0xf0, 0x1ff, 4);
  ioapic.write(0, 0x10 + 2 * 9, 4);
  ioapic.write(0x10, kLevel | 0x59, 4);
  board.set(9, true);
  REQUIRE(intr);
  CHECK(lapic.acknowledge() == 0x59);
  CHECK_FALSE(intr);
  lapic.write(0xb0, 0, 4);
  CHECK(lapic.acknowledge() == 0x59);  // still asserted
  board.set(9, false);
  lapic.write(0xb0, 0, 4);
  CHECK_FALSE(intr);
}

TEST_CASE("a lowest-priority message goes to one processor, a broadcast to all") {
  sim::Clock clock;
  Lapic a(clock, {.id = 0}, {}), b(clock, {.id = 1}, {});
  ApicBus bus;
  bus.attach(a);
  bus.attach(b);
  for (Lapic* l : {&a, &b}) {
    l->write(0xf0, 0x1ff, 4);
    l->write(0xd0, u32{1} << (24 + l->id()), 4);
  }
  a.set_task_priority(5);
  bus.deliver({.destination = 3, .logical = true, .delivery = Delivery::lowest_priority, .vector = 0x61}, nullptr);
  CHECK_FALSE(a.pending());
  CHECK(b.acknowledge() == 0x61);
  bus.deliver({.broadcast = true, .exclude_sender = true, .vector = 0x71}, &b);
  CHECK(a.acknowledge() == 0x71);
  CHECK_FALSE(b.pending());
}

TEST_CASE("IRQ0 reaches the PIC's IR0 and IOAPIC input 2, and legacy replacement takes the timers off") {
  Chip c;
  bool intr = false;
  Pic8259 pic([&](bool v) { intr = v; });
  IrqRouter board(pic, c.ioapic);
  c.route(2, 0x30);
  board.legacy_timers().set(0, true);
  CHECK(c.sent.size() == 1);
  CHECK(pic.read(0, 1) == 0x01);
  board.set_legacy_replacement(true);
  CHECK(pic.read(0, 1) == 0x00);
  board.legacy_timers().set(0, false);
  board.legacy_timers().set(0, true);
  CHECK(c.sent.size() == 1);
  board.set(0, true);  // the HPET
  CHECK(c.sent.size() == 2);
}
