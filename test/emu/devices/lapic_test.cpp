// The local APIC against SDM vol. 3, chapter 11: priorities, timer to the tick, IPIs, mode changes, reserved bits.
#include "emu/devices/lapic.h"

#include <vector>

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

constexpr u64 kBase = 0xfee00000;

/// One APIC on a 1 GHz clock with a 100 MHz bus: ten ticks a count at divide by one. The TSC runs at twice the clock.
struct Core {
  sim::Clock clock;
  bool intr = false;
  unsigned nmis = 0, inits = 0, startup = 0;
  int pic_vector = -1;
  std::vector<ApicMessage> sent;
  std::vector<u8> ended;
  Lapic apic;

  explicit Core(Lapic::Options o = {})
      : apic(clock, o,
             {.set_interrupt = [this](bool v) { intr = v; },
              .nmi = [this] { ++nmis; },
              .init = [this] { ++inits; },
              .startup = [this](u8 v) { startup = v; },
              .acknowledge_pic = [this] { return pic_vector; },
              .tsc_to_clock = [](u64 tsc) { return tsc / 2; },
              .base_changed = {}}) {
    apic.set_bus([this](const ApicMessage& m) { sent.push_back(m); }, [this](u8 v) { ended.push_back(v); });
    set(0xf0, 0x1ff);
  }
  u32 get(u64 at) { return static_cast<u32>(apic.read(at, 4)); }
  void set(u64 at, u32 v) { apic.write(at, v, 4); }
  void fixed(u8 vector, bool level = false) { apic.accept({.vector = vector, .level = level}); }
  void eoi() { set(0xb0, 0); }
  bool msr(u32 n, u64 v) { return apic.write_msr(n, v); }
  u64 msr(u32 n) {
    u64 v = 0;
    REQUIRE(apic.read_msr(n, v));
    return v;
  }
  bool readable(u32 n) {
    u64 v = 0;
    return apic.read_msr(n, v);
  }
  void enter_x2apic() { REQUIRE(msr(0x1b, kBase | 0xd00)); }
};

}  // namespace

TEST_CASE("registers after reset are those of the SDM") {
  sim::Clock clock;
  Lapic apic(clock, {.id = 3}, {});
  CHECK(apic.read(0x20, 4) == 0x03000000);
  CHECK(apic.read(0x30, 4) == 0x00050014);
  CHECK(apic.read(0xe0, 4) == 0xffffffff);
  CHECK(apic.read(0xf0, 4) == 0xff);
  for (u64 lvt = 0x320; lvt <= 0x370; lvt += 0x10) CHECK(apic.read(lvt, 4) == 0x10000);
}

TEST_CASE("the highest vector is served first, and only above the class in service") {
  Core c;
  c.fixed(0x41);
  c.fixed(0x65);
  c.fixed(0x62);
  REQUIRE(c.intr);
  CHECK(c.apic.acknowledge() == 0x65);
  CHECK_FALSE(c.intr);  // 0x62 is of the class in service
  CHECK(c.get(0xa0) == 0x60);
  c.fixed(0x71);
  CHECK(c.apic.acknowledge() == 0x71);
  c.eoi();
  CHECK_FALSE(c.intr);
  c.eoi();
  CHECK(c.apic.acknowledge() == 0x62);
  c.eoi();
  CHECK(c.apic.acknowledge() == 0x41);
  CHECK(c.apic.acknowledge() == -1);
}

TEST_CASE("the task priority holds back its class and below") {
  Core c;
  c.apic.set_task_priority(4);
  CHECK(c.get(0x80) == 0x40);
  c.fixed(0x4f);
  CHECK_FALSE(c.apic.pending());
  c.fixed(0x50);
  CHECK(c.apic.pending());
  CHECK(c.apic.acknowledge() == 0x50);
  c.eoi();
  CHECK_FALSE(c.intr);
  c.set(0x80, 0x3f);
  CHECK(c.apic.task_priority() == 3);
  CHECK(c.intr);
}

TEST_CASE("IRR, ISR and TMR show where an interrupt stands") {
  Core c;
  c.fixed(0x43, true);
  CHECK(c.get(0x220) == 0x8);
  CHECK(c.get(0x1a0) == 0x8);
  c.apic.acknowledge();
  CHECK(c.get(0x220) == 0);
  CHECK(c.get(0x120) == 0x8);
  c.eoi();
  CHECK(c.get(0x120) == 0);
  CHECK(c.ended == std::vector<u8>{0x43});
}

TEST_CASE("the end of an edge interrupt is not broadcast") {
  Core c;
  c.fixed(0x43);
  c.apic.acknowledge();
  c.eoi();
  CHECK(c.ended.empty());
}

TEST_CASE("a one-shot timer fires at exactly the tick") {
  Core c;
  c.clock.cycles = 7;
  c.set(0x3e0, 0xb);  // divide by 1
  c.set(0x320, 0x31);
  c.set(0x380, 1000);  // 10,000 ticks
  bench::go_to(c.clock, 10'006);
  CHECK_FALSE(c.intr);
  CHECK(c.get(0x390) == 1);
  bench::go_to(c.clock, 10'007);
  CHECK(c.intr);
  CHECK(c.get(0x390) == 0);
  CHECK(c.apic.acknowledge() == 0x31);
  c.eoi();
  bench::go_to(c.clock, 1'000'000);
  CHECK_FALSE(c.intr);
}

TEST_CASE("every divider counts as the SDM says") {
  const std::pair<u32, u64> dividers[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};
  for (const auto& [code, divisor] : dividers) {
    Core c;
    c.set(0x3e0, code);
    c.set(0x320, 0x31);
    c.set(0x380, 100);
    bench::go_to(c.clock, 100 * 10 * divisor - 1);
    CHECK_FALSE(c.intr);
    bench::go_to(c.clock, 100 * 10 * divisor);
    CHECK(c.intr);
  }
}

TEST_CASE("a periodic timer does not drift") {
  Core c({.bus_hz = 333'333'333});
  unsigned fired = 0;
  c.set(0x3e0, 0xb);
  c.set(0x320, 0x20031);
  c.set(0x380, 333'333);
  for (unsigned ms = 0; ms < 1000; ++ms) {
    bench::advance(c.clock, bench::kMillisecond);
    if (c.apic.acknowledge() == 0x31) {
      ++fired;
      c.eoi();
    }
  }
  CHECK(fired == 1000);
  CHECK(c.get(0x390) > 0);
}

TEST_CASE("a periodic count runs from its initial value to one and starts over") {
  Core c;
  c.set(0x3e0, 0xb);
  c.set(0x320, 0x30031);
  c.set(0x380, 100);
  bench::go_to(c.clock, 999);
  CHECK(c.get(0x390) == 1);
  bench::go_to(c.clock, 1000);
  CHECK(c.get(0x390) == 100);
  bench::go_to(c.clock, 2010);
  CHECK(c.get(0x390) == 99);
}

TEST_CASE("a masked timer counts in silence and stopping it is writing zero") {
  Core c;
  c.set(0x3e0, 0xb);
  c.set(0x320, 0x10031);
  c.set(0x380, 100);
  bench::go_to(c.clock, 500);
  CHECK(c.get(0x390) == 50);
  bench::go_to(c.clock, 5000);
  CHECK_FALSE(c.intr);
  c.set(0x320, 0x31);
  bench::go_to(c.clock, 50'000);
  CHECK_FALSE(c.intr);
  c.set(0x380, 100);
  c.set(0x380, 0);
  CHECK_FALSE(c.clock.has_events());
}

TEST_CASE("a TSC deadline fires once, at the deadline, and reads zero afterwards") {
  Core c;
  c.set(0x320, 0x40031);
  CHECK(c.msr(0x6e0, 20'000));  // TSC 20,000 = tick 10,000
  CHECK(c.msr(0x6e0) == 20'000);
  bench::go_to(c.clock, 9'999);
  CHECK_FALSE(c.intr);
  bench::go_to(c.clock, 10'000);
  CHECK(c.intr);
  CHECK(c.msr(0x6e0) == 0);
  CHECK_FALSE(c.clock.has_events());
}

TEST_CASE("a deadline of zero disarms, one in the past fires at once, one outside the mode is ignored") {
  Core c;
  c.msr(0x6e0, 100);
  CHECK(c.msr(0x6e0) == 0);
  c.set(0x320, 0x40031);
  c.msr(0x6e0, 1'000'000);
  c.msr(0x6e0, 0);
  CHECK_FALSE(c.clock.has_events());
  c.clock.cycles = 5000;
  c.msr(0x6e0, 10);
  c.clock.run_due();
  CHECK(c.intr);
  c.msr(0x6e0, 1'000'000);
  c.set(0x320, 0x31);  // leaving the mode disarms
  CHECK(c.msr(0x6e0) == 0);
  CHECK_FALSE(c.clock.has_events());
}

TEST_CASE("a very short period cannot flood the machine") {
  Core c;
  unsigned fired = 0;
  c.set(0x3e0, 0xb);
  c.set(0x320, 0x20031);
  c.set(0x380, 1);
  while (c.clock.deadline() <= bench::kSecond / 100) {
    c.clock.cycles = c.clock.deadline();
    c.clock.run_due();
    ++fired;
  }
  CHECK(fired <= 1000);
  CHECK(fired >= 990);
}

TEST_CASE("software disable masks the vector table and it stays masked until written") {
  Core c;
  c.set(0x350, 0x700);
  c.set(0xf0, 0xff);
  CHECK(c.get(0x350) == 0x10700);
  c.set(0x350, 0x700);
  CHECK(c.get(0x350) == 0x10700);
  c.set(0xf0, 0x1ff);
  CHECK(c.get(0x350) == 0x10700);
  c.set(0x350, 0x700);
  CHECK(c.get(0x350) == 0x700);
}

TEST_CASE("LINT0 in ExtINT mode passes the 8259's interrupt by all priorities") {
  Core c;
  c.pic_vector = 0x30;
  c.apic.set_lint(0, true);
  CHECK_FALSE(c.intr);
  c.apic.virtual_wire();
  CHECK(c.intr);
  c.apic.set_task_priority(15);
  CHECK(c.intr);
  CHECK(c.apic.acknowledge() == 0x30);
  CHECK(c.get(0x120) == 0);  // not in service here
  c.apic.set_lint(0, false);
  CHECK_FALSE(c.intr);
}

TEST_CASE("a globally disabled APIC is a wire") {
  Core c;
  c.pic_vector = 8;
  REQUIRE(c.msr(0x1b, kBase | 0x100));
  c.apic.set_lint(0, true);
  CHECK(c.apic.acknowledge() == 8);
  c.apic.set_lint(1, true);
  CHECK(c.nmis == 1);
  CHECK(c.apic.read(0x30, 4) == ~u64{0});
}

TEST_CASE("LINT1 as NMI fires on the rising edge") {
  Core c;
  c.apic.virtual_wire();
  c.apic.set_lint(1, true);
  c.apic.set_lint(1, true);
  CHECK(c.nmis == 1);
}

TEST_CASE("a level LINT delivers again after its end of interrupt while the line is up") {
  Core c;
  c.set(0x350, 0x8051);
  c.apic.set_lint(0, true);
  CHECK(c.apic.acknowledge() == 0x51);
  CHECK((c.get(0x350) & 0x4000) != 0);
  CHECK_FALSE(c.intr);
  c.eoi();
  CHECK(c.apic.acknowledge() == 0x51);
  c.apic.set_lint(0, false);
  c.eoi();
  CHECK_FALSE(c.intr);
}

TEST_CASE("an IPI to oneself arrives, others go to the bus with their destination") {
  Core c;
  c.set(0x300, 0x40041);  // self
  CHECK(c.apic.acknowledge() == 0x41);
  CHECK(c.sent.empty());
  c.set(0x310, 0x02000000);
  c.set(0x300, 0x0842);  // logical
  REQUIRE(c.sent.size() == 1);
  CHECK(c.sent[0].destination == 2);
  CHECK(c.sent[0].logical);
  CHECK(c.sent[0].vector == 0x42);
  c.set(0x300, 0xc0500);  // INIT to all but self
  REQUIRE(c.sent.size() == 2);
  CHECK(c.sent[1].exclude_sender);
  CHECK(c.sent[1].delivery == Delivery::init);
  c.set(0x300, 0x8500);  // de-assert: nothing since the Pentium 4
  CHECK(c.sent.size() == 2);
}

TEST_CASE("illegal vectors are collected in ESR and shown after a write") {
  Core c;
  c.set(0x370, 0x55);
  c.set(0x300, 0x40005);
  CHECK(c.get(0x280) == 0);
  c.set(0x280, 0);
  CHECK(c.get(0x280) == 0x20);
  CHECK(c.apic.acknowledge() == 0x55);
  c.fixed(3);
  c.set(0x280, 0);
  CHECK(c.get(0x280) == 0x40);
  c.get(0x40);
  c.set(0x280, 0);
  CHECK(c.get(0x280) == 0x80);
  c.set(0x370, 0x05);  // an error entry whose own vector is illegal must not run away
  c.fixed(3);
  SUCCEED();
}

TEST_CASE("logical addresses: flat and cluster") {
  Core c;
  c.set(0xd0, 0x04000000);
  const auto hears = [&](u32 d) { return c.apic.addressed_by({.destination = d, .logical = true}); };
  CHECK(hears(0x04));
  CHECK(hears(0xfe));
  CHECK_FALSE(hears(0x03));
  c.set(0xe0, 0x0fffffff);
  c.set(0xd0, 0x21000000);  // cluster 2, member 0
  CHECK(hears(0x21));
  CHECK(hears(0x23));
  CHECK_FALSE(hears(0x11));
  CHECK_FALSE(hears(0x22));
}

TEST_CASE("mode changes of IA32_APIC_BASE follow figure 11-27") {
  Core c;
  CHECK(c.msr(0x1b) == (kBase | 0x900));
  CHECK_FALSE(c.msr(0x1b, kBase | 0x500));  // x2APIC without enable
  CHECK(c.msr(0x1b, kBase | 0xd00));        // xAPIC -> x2APIC
  CHECK_FALSE(c.msr(0x1b, kBase | 0x900));  // x2APIC -> xAPIC
  CHECK(c.msr(0x1b, kBase | 0x100));        // x2APIC -> disabled
  CHECK_FALSE(c.msr(0x1b, kBase | 0xd00));  // disabled -> x2APIC
  CHECK(c.msr(0x1b, kBase | 0x900));        // disabled -> xAPIC
  CHECK_FALSE(c.msr(0x1b, kBase | 0x901));  // reserved
  CHECK_FALSE(c.msr(0x1b, kBase | 0x900 | u64{1} << 39));
  CHECK(c.msr(0x1b, 0xfed00000 | 0x900));
  CHECK(c.apic.window_base() == 0xfed00000);
}

TEST_CASE("a processor without x2APIC refuses it") {
  Core c({.x2apic = false});
  CHECK_FALSE(c.msr(0x1b, kBase | 0xd00));
}

TEST_CASE("x2APIC registers: identity, logical address, reserved bits") {
  Core c({.id = 0x25});
  CHECK_FALSE(c.readable(0x802));  // xAPIC mode has no MSRs
  c.enter_x2apic();
  CHECK(c.apic.window_base() == 0);
  CHECK(c.apic.read(0x20, 4) == ~u64{0});
  CHECK(c.msr(0x802) == 0x25);
  CHECK(c.msr(0x80d) == (0x2u << 16 | 1u << 5));
  CHECK_FALSE(c.msr(0x802, 0));
  CHECK_FALSE(c.readable(0x80e));  // DFR does not exist
  CHECK_FALSE(c.readable(0x80b));  // EOI is write-only
  CHECK_FALSE(c.msr(0x80b, 1));
  CHECK(c.msr(0x80b, 0));
  CHECK_FALSE(c.msr(0x828, 4));
  CHECK(c.msr(0x828, 0));
  CHECK_FALSE(c.msr(0x808, 0x100));
  CHECK_FALSE(c.msr(0x832, u64{1} << 32));
  CHECK_FALSE(c.msr(0x839, 0));
  CHECK_FALSE(c.readable(0x831));
  CHECK_FALSE(c.readable(0x8ff));
}

TEST_CASE("x2APIC sends with a 32-bit destination and to itself") {
  Core c;
  c.enter_x2apic();
  CHECK(c.msr(0x830, u64{0x12345} << 32 | 0x44));
  REQUIRE(c.sent.size() == 1);
  CHECK(c.sent[0].destination == 0x12345);
  CHECK_FALSE(c.sent[0].broadcast);
  CHECK(c.msr(0x830, u64{0xffffffff} << 32 | 0x44));
  CHECK(c.sent[1].broadcast);
  CHECK(c.msr(0x83f, 0x77));
  CHECK(c.apic.acknowledge() == 0x77);
}

TEST_CASE("INIT resets the APIC but not its identity, and a SIPI brings its vector") {
  Core c({.id = 7});
  c.set(0x320, 0x31);
  c.fixed(0x44);
  c.apic.accept({.delivery = Delivery::init});
  CHECK(c.inits == 1);
  CHECK_FALSE(c.intr);
  CHECK(c.get(0x320) == 0x10000);
  CHECK(c.get(0x20) == 0x07000000);
  c.apic.accept({.delivery = Delivery::startup, .vector = 0x9a});
  CHECK(c.startup == 0x9a);
}
