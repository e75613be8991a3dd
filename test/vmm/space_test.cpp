// Guest-physical memory of virtual machines: backed on first touch, in the host's page size, and nobody else's.
#include "vmm/space.h"

#include <set>

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::vmm;
using mmu::Backing;

namespace {
constexpr u64 kMiB = u64{1} << 20;

struct Bench {
  explicit Bench(PageSize size = PageSize::k4K, Placement placement = Placement::random)
      : frames((memory.install(MachineAddr(0), 64 * kMiB), memory), 64 * kMiB, placement, 16, 9),
        a(0, {{0, 16 * kMiB}, {0x100000000, 4 * kMiB}}, memory, frames, size, costs),
        b(1, {{0, 16 * kMiB}}, memory, frames, size, costs) {}
  ExitCosts costs;
  mmu::MachineMemory memory;
  Frames frames;
  Space a, b;
  Bill bill;
};
}  // namespace

TEST_CASE("a page is backed by its first touch, and keeps its frame") {
  Bench t;
  CHECK(t.a.look(PhysAddr(0x5123)).kind == Backing::Kind::device);
  const Backing first = t.a.back(PhysAddr(0x5123), false, t.bill);
  REQUIRE(first.kind == Backing::Kind::memory);
  CHECK(first.writable);
  CHECK(first.size == PageSize::k4K);
  CHECK(first.address.page_offset() == 0x123);
  CHECK(t.bill.of(Cause::backing) == t.costs.allocate + t.costs.zero_page);
  CHECK(t.a.back(PhysAddr(0x5ffc), true, t.bill).address == first.address.page() + 0xffc);
  CHECK(t.bill.total() == t.costs.allocate + t.costs.zero_page);
  CHECK(t.a.backed_bytes() == kPageBytes);
}

TEST_CASE("what is no memory of the machine is a device's") {
  Bench t;
  for (const u64 at : {16 * kMiB, u64{0xfee00000}, u64{0x100000000} + 4 * kMiB, ~u64{0}}) {
    CHECK(t.a.back(PhysAddr(at), true, t.bill).kind == Backing::Kind::device);
    CHECK_FALSE(t.a.has(PhysAddr(at)));
  }
  CHECK(t.bill.total() == 0);
}

TEST_CASE("two machines never share a frame") {
  Bench t;
  std::set<u64> frames;
  for (u64 at = 0; at < 16 * kMiB; at += kPageBytes) {
    frames.insert(t.a.back(PhysAddr(at), true, t.bill).address.value);
    frames.insert(t.b.back(PhysAddr(at), true, t.bill).address.value);
  }
  CHECK(frames.size() == 2 * 16 * kMiB / kPageBytes);
}

TEST_CASE("large pages are contiguous in both spaces, and fall back where they do not fit") {
  Bench t(PageSize::k2M, Placement::first_fit);
  const Backing large = t.a.back(PhysAddr(0x2345678), false, t.bill);
  CHECK(large.kind == Backing::Kind::device);
  const Backing in = t.a.back(PhysAddr(0x345678), false, t.bill);
  REQUIRE(in.size == PageSize::k2M);
  CHECK((in.address.value & offset_mask(PageSize::k2M)) == (0x345678 & offset_mask(PageSize::k2M)));
  CHECK(t.a.look(PhysAddr(0x200000)).address.value == (in.address.value & ~offset_mask(PageSize::k2M)));
  CHECK(t.bill.of(Cause::backing) == t.costs.allocate + 512 * t.costs.zero_page);

  Bench small(PageSize::k2M);
  const std::vector<Space::Span> odd{{0x1000, 0x1ff000}};  // no whole 2M in it
  Space s(2, odd, small.memory, small.frames, PageSize::k2M, small.costs);
  CHECK(s.back(PhysAddr(0x5000), true, small.bill).size == PageSize::k4K);
}

TEST_CASE("devices and loaders see the guest's memory, and cost nothing") {
  Bench t;
  std::vector<u8> sent(3 * kPageBytes), got(sent.size());
  for (std::size_t n = 0; n < sent.size(); ++n) sent[n] = static_cast<u8>(n * 7 + 1);
  REQUIRE(t.a.write(PhysAddr(0x10800), sent));
  REQUIRE(t.a.read(PhysAddr(0x10800), got));
  CHECK(got == sent);
  CHECK(t.a.backed_bytes() == 4 * kPageBytes);
  REQUIRE(t.b.read(PhysAddr(0x10800), got));
  CHECK(got == std::vector<u8>(sent.size()));
  CHECK(t.b.backed_bytes() == 0);
  CHECK_FALSE(t.a.write(PhysAddr(16 * kMiB - 10), sent));
  CHECK_FALSE(t.a.has(PhysAddr(16 * kMiB)));
  t.a.clear(PhysAddr(0x10800), sent.size());
  REQUIRE(t.a.read(PhysAddr(0x10800), got));
  CHECK(got == std::vector<u8>(sent.size()));
}

TEST_CASE("a ROM is read and never written") {
  Bench t;
  const std::vector<u8> image(2 * kPageBytes, 0x5a);
  REQUIRE(t.a.install_rom(PhysAddr(0xfffc0000), image));
  const Backing rom = t.a.back(PhysAddr(0xfffc0123), true, t.bill);
  CHECK(rom.rom);
  CHECK_FALSE(rom.writable);
  CHECK(t.memory.peek<u8>(rom.address) == 0x5a);
  const u8 other[1] = {1};
  CHECK(t.a.write(PhysAddr(0xfffc0123), other));
  CHECK(t.memory.peek<u8>(rom.address) == 0x5a);
}

TEST_CASE("a machine whose host is full says so") {
  Bench t;
  const std::vector<Space::Span> all{{0, 128 * kMiB}};
  Space greedy(2, all, t.memory, t.frames, PageSize::k4K, t.costs);
  u64 given = 0;
  const auto take_all = [&] {
    for (u64 at = 0; at < 128 * kMiB; at += kPageBytes, ++given) greedy.back(PhysAddr(at), true, t.bill);
  };
  CHECK_THROWS_AS(take_all(), OutOfMemory);
  CHECK(given == t.frames.total());
  CHECK(t.frames.free() == 0);
}

TEST_CASE("an exit costs the round trip and the work for its reason, and is counted") {
  Bench t;
  sim::Stats stats;
  t.a.declare(stats);
  t.a.exit(mmu::Exit::cpuid, t.bill);
  t.a.exit(mmu::Exit::hidden_fault, t.bill);
  t.a.work(mmu::Exit::hidden_fault, 123, t.bill);
  const auto work = [&](mmu::Exit e) { return t.costs.work[static_cast<unsigned>(e)]; };
  CHECK(t.bill.of(Cause::exit) == 2 * t.costs.round_trip);
  CHECK(t.bill.of(Cause::vmm) == work(mmu::Exit::cpuid) + work(mmu::Exit::hidden_fault) + 123);
  CHECK(stats.value_now("vmm.exits") == 2);
  CHECK(stats.value_now("vmm.exits.cpuid") == 1);
  CHECK(stats.value_now("vmm.exit_cycles.hidden_fault") == t.costs.round_trip + work(mmu::Exit::hidden_fault) + 123);
}
