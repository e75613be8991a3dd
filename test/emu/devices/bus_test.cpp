// Port and memory-mapped buses: who answers, in what pieces, and what nobody answers; the debug ports on them.
#include <string>
#include <vector>

#include "emu/devices/debug_ports.h"
#include "emu/devices/mmio_bus.h"
#include "emu/devices/port_bus.h"
#include "sim/settings.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

/// Reads as its offset repeated; remembers what it was asked.
struct Recorder final : Device {
  struct Call {
    u64 offset;
    u64 value;
    unsigned bytes;
    bool operator==(const Call&) const = default;
  };
  std::vector<Call> reads, writes;
  u64 read(u64 offset, unsigned bytes) override {
    reads.push_back({offset, 0, bytes});
    u64 v = 0;
    for (unsigned i = 0; i < bytes; ++i) v |= (offset + i) << (8 * i);
    return v;
  }
  void write(u64 offset, u64 value, unsigned bytes) override { writes.push_back({offset, value, bytes}); }
};

}  // namespace

TEST_CASE("ports that nobody answers float high") {
  PortBus bus;
  CHECK(bus.read(0x123, 1) == 0xff);
  CHECK(bus.read(0x123, 4) == 0xffffffff);
  CHECK(bus.read(0xffff, 4) == 0xffffffff);
  bus.write(0xffff, 0, 4);
  CHECK(bus.device_at(0x123) == nullptr);
}

TEST_CASE("a device gets whole what it takes, and pieces of what it does not") {
  PortBus bus;
  Recorder narrow, wide;
  bus.map(0x3f8, 0x3ff, narrow, 1);
  bus.map(0xcf8, 0xcff, wide, 4);
  CHECK(bus.read(0xcf8, 4) == 0x03020100);
  CHECK(wide.reads.size() == 1);
  CHECK(bus.read(0x3f8, 4) == 0x03020100);
  CHECK(narrow.reads.size() == 4);
  bus.write(0x3f9, 0xbbaa, 2);
  CHECK(narrow.writes == std::vector<Recorder::Call>{{1, 0xaa, 1}, {2, 0xbb, 1}});
  bus.write(0xcf9, 0x04030201, 4);  // misaligned: byte, word, byte
  CHECK(wide.writes == std::vector<Recorder::Call>{{1, 0x01, 1}, {2, 0x0302, 2}, {4, 0x04, 1}});
}

TEST_CASE("an access across the end of a range meets its neighbour, or nothing") {
  PortBus bus;
  Recorder a, b;
  bus.map(0x60, 0x60, a, 4);
  bus.map(0x62, 0x63, b, 4);
  CHECK(bus.read(0x60, 4) == 0x0100ff00);
  CHECK(b.reads == std::vector<Recorder::Call>{{0, 0, 2}});
}

TEST_CASE("a later mapping wins, and a backward range is refused") {
  PortBus bus;
  Recorder a, b;
  bus.map(0x60, 0x6f, a);
  bus.map(0x64, 0x64, b);
  CHECK(bus.device_at(0x64) == &b);
  CHECK(bus.device_at(0x65) == &a);
  CHECK_THROWS_AS(bus.map(0x10, 0x0f, a), sim::ConfigError);
}

TEST_CASE("memory-mapped windows answer inside and read ones outside") {
  MmioBus bus;
  Recorder low, high;
  bus.map(PhysAddr(0xfee00000), 0x1000, high);
  bus.map(PhysAddr(0xfec00000), 0x1000, low);
  CHECK(bus.read(PhysAddr(0xfec00010), 4) == 0x13121110);
  CHECK(low.reads == std::vector<Recorder::Call>{{0x10, 0, 4}});
  CHECK(bus.read(PhysAddr(0xfebfffff), 1) == 0xff);
  CHECK(bus.read(PhysAddr(0xfec01000), 8) == ~u64{0});
  CHECK(bus.read(PhysAddr(~u64{0}), 8) == ~u64{0} << 0);
  CHECK(high.reads.empty());
}

TEST_CASE("a 64-bit access to a 32-bit device is two, low half first") {
  MmioBus bus;
  Recorder d;
  bus.map(PhysAddr(0xfed00000), 0x400, d);
  CHECK(bus.read(PhysAddr(0xfed00010), 8) == 0x1716151413121110);
  CHECK(d.reads == std::vector<Recorder::Call>{{0x10, 0, 4}, {0x14, 0, 4}});
  bus.write(PhysAddr(0xfed00020), 0x1122334455667788, 8);
  CHECK(d.writes == std::vector<Recorder::Call>{{0x20, 0x55667788, 4}, {0x24, 0x11223344, 4}});
}

TEST_CASE("a window that moves leaves its old place, even onto another") {
  MmioBus bus;
  Recorder a, b;
  bus.map(PhysAddr(0xfec00000), 0x1000, a);
  bus.map(PhysAddr(0xfee00000), 0x1000, b);
  bus.map(PhysAddr(0xfec00000), 0x1000, b);  // over a: the later wins
  bus.read(PhysAddr(0xfec00000), 4);
  CHECK(b.reads.size() == 1);
  CHECK(a.reads.empty());
  CHECK(bus.read(PhysAddr(0xfee00000), 4) == 0xffffffff);
  bus.unmap(b);
  bus.read(PhysAddr(0xfec00000), 4);
  CHECK(a.reads.size() == 1);
}

TEST_CASE("the debug console prints and answers for itself") {
  std::string text;
  DebugConsole console([&](u8 c) { text.push_back(static_cast<char>(c)); });
  PortBus bus;
  bus.map(0xe9, 0xe9, console);
  bus.map(0x402, 0x402, console);
  CHECK(bus.read(0xe9, 1) == 0xe9);
  for (const char c : std::string("ok")) bus.write(0x402, static_cast<u8>(c), 1);
  CHECK(text == "ok");
}

TEST_CASE("the debug-exit port passes the guest's value on, at any width") {
  std::vector<u32> values;
  DebugExit exit([&](u32 v) { values.push_back(v); });
  PortBus bus;
  bus.map(0xf4, 0xf7, exit, 4);
  bus.write(0xf4, 0x10, 1);
  bus.write(0xf4, 0x12345678, 4);
  CHECK(values == std::vector<u32>{0x10, 0x12345678});
}

TEST_CASE("POST codes go nowhere") {
  PostCode post;
  post.write(0, 0x42, 1);
  CHECK(post.read(0, 1) == 0x42);
}
