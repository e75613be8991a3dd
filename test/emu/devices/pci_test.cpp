// PCI configuration mechanism #1: probing, sizing base addresses, bridges.
#include "emu/devices/pci.h"

#include <tuple>
#include <vector>

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Bus {
  PciHost host;
  HostBridge440fx bridge;
  IsaBridgePiix3 isa;
  Bus() {
    host.plug(0, 0, &bridge);
    host.plug(1, 0, &isa);
  }
  void select(unsigned device, unsigned function, unsigned reg, unsigned bus = 0) {
    host.write(0, u64{0x80000000} | bus << 16 | device << 11 | function << 8 | (reg & 0xfc), 4);
  }
  u32 get(unsigned device, unsigned function, unsigned reg, unsigned bytes = 4) {
    select(device, function, reg);
    return static_cast<u32>(host.read(4 + (reg & 3), bytes));
  }
  void set(unsigned device, unsigned function, unsigned reg, u32 v, unsigned bytes = 4) {
    select(device, function, reg);
    host.write(4 + (reg & 3), v, bytes);
  }
};

struct Card final : PciFunction {
  Card() : PciFunction({.vendor = 0x1234, .device = 0x5678, .class_code = 0x020000}) {
    add_bar(0, 0x20, true);
    add_bar(1, 0x1000, false);
  }
};

}  // namespace

TEST_CASE("probing finds the two bridges and nothing else") {
  Bus b;
  unsigned found = 0;
  for (unsigned d = 0; d < 32; ++d)
    for (unsigned f = 0; f < 8; ++f) found += b.get(d, f, 0) != 0xffffffff;
  CHECK(found == 2);
  CHECK(b.get(0, 0, 0) == 0x12378086);
  CHECK(b.get(1, 0, 0) == 0x70008086);
  CHECK(b.get(0, 0, 0x0a, 2) == 0x0600);
  CHECK(b.get(1, 0, 0x0a, 2) == 0x0601);
  b.select(0, 0, 0, 1);
  CHECK(static_cast<u32>(b.host.read(4, 4)) == 0xffffffff);  // another bus
}

TEST_CASE("bytes and words come from the right lanes") {
  Bus b;
  CHECK(b.get(0, 0, 0, 2) == 0x8086);
  CHECK(b.get(0, 0, 2, 2) == 0x1237);
  CHECK(b.get(0, 0, 3, 1) == 0x12);
}

TEST_CASE("mechanism #1 is detected as Linux does") {
  Bus b;
  b.host.write(0, 0x80000000, 4);
  CHECK(b.host.read(0, 4) == 0x80000000);
  b.host.write(0, 0, 4);
  CHECK(static_cast<u32>(b.host.read(4, 4)) == 0xffffffff);  // enable bit clear
  b.host.write(3, 1, 1);                                     // a byte is not for the address register
  CHECK(b.host.read(0, 4) == 0);
}

TEST_CASE("a byte at 0xcf9 is the reset control register's") {
  Bus b;
  struct : Device {
    u64 last = 0;
    u64 read(u64, unsigned) override { return 0x0e; }
    void write(u64, u64 v, unsigned) override { last = v; }
  } reset;
  b.host.set_reset_control(&reset);
  b.host.write(1, 6, 1);
  CHECK(reset.last == 6);
  CHECK(b.host.read(1, 1) == 0x0e);
}

TEST_CASE("base address registers tell their size and take addresses") {
  Bus b;
  Card card;
  b.host.plug(3, 0, &card);
  CHECK(b.get(3, 0, 0x10) == 1);
  b.set(3, 0, 0x10, 0xffffffff);
  CHECK(b.get(3, 0, 0x10) == 0xffffffe1);
  b.set(3, 0, 0x14, 0xffffffff);
  CHECK(b.get(3, 0, 0x14) == 0xfffff000);
  b.set(3, 0, 0x18, 0xffffffff);
  CHECK(b.get(3, 0, 0x18) == 0);
  b.set(3, 0, 0x14, 0xfeb00000);
  CHECK(card.bar(1).base == 0xfeb00000);
  CHECK_FALSE(card.bar(1).decoded);
  b.set(3, 0, 4, 0x0002, 2);
  CHECK(card.bar(1).decoded);
  CHECK_FALSE(card.bar(0).decoded);
  CHECK(card.bar(0).io);
  b.host.reset();
  CHECK(card.bar(1).base == 0);
}

TEST_CASE("the multi-function bit is up where there are further functions") {
  Bus b;
  CHECK((b.get(1, 0, 0x0e, 1) & 0x80) == 0);
  Card card;
  b.host.plug(1, 3, &card);
  CHECK((b.get(1, 0, 0x0e, 1) & 0x80) == 0x80);
  CHECK((b.get(1, 3, 0x0e, 1) & 0x80) == 0);
}

TEST_CASE("identities are read-only") {
  Bus b;
  b.set(0, 0, 0, 0xdeadbeef);
  b.set(0, 0, 8, 0xdeadbeef);
  CHECK(b.get(0, 0, 0) == 0x12378086);
  CHECK(b.get(0, 0, 0x08) == 0x06000002);
}

TEST_CASE("PAM registers switch shadow memory region by region") {
  std::vector<std::tuple<u32, u32, bool, bool>> calls;
  HostBridge440fx bridge([&](u32 begin, u32 end, bool r, bool w) { calls.emplace_back(begin, end, r, w); });
  PciHost host;
  host.plug(0, 0, &bridge);
  host.write(0, 0x80000058, 4);
  host.write(4 + 1, 0x30, 1);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0] == std::tuple<u32, u32, bool, bool>(0xf0000, 0x100000, true, true));
  calls.clear();
  host.write(0, 0x8000005c, 4);
  host.write(4 + 3, 0x12, 1);  // 0x5f
  REQUIRE(calls.size() == 2);
  CHECK(calls[0] == std::tuple<u32, u32, bool, bool>(0xe8000, 0xec000, false, true));
  CHECK(calls[1] == std::tuple<u32, u32, bool, bool>(0xec000, 0xf0000, true, false));
}
