// Machine frames: who gets which, and that nobody gets what another has.
#include "vmm/frames.h"

#include <set>

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::vmm;

namespace {
constexpr u64 kBytes = u64{16} << 20;

struct Bench {
  explicit Bench(Placement placement, u32 colours = 8, u64 seed = 1)
      : frames((install(), memory), kBytes, placement, colours, seed) {}
  void install() { memory.install(MachineAddr(0), kBytes); }
  mmu::MachineMemory memory;
  Frames frames;
};
}  // namespace

TEST_CASE("every frame but the first is given once, and then there are no more") {
  for (const Placement placement : {Placement::first_fit, Placement::random, Placement::colour}) {
    Bench b(placement);
    std::set<u64> given;
    for (u64 n = 0; n < b.frames.total(); ++n) {
      const auto taken = b.frames.take(PageSize::k4K, n);
      REQUIRE(taken.ok);
      CHECK(taken.address.page_offset() == 0);
      given.insert(taken.address.value);
    }
    CHECK(given.size() == kBytes / kPageBytes - 1);
    CHECK(*given.begin() == kPageBytes);
    CHECK(b.frames.free() == 0);
    CHECK_FALSE(b.frames.take(PageSize::k4K, 0).ok);
  }
}

TEST_CASE("first fit gives the lowest free frame, also after returns") {
  Bench b(Placement::first_fit);
  for (u64 n = 1; n <= 10; ++n) CHECK(b.frames.take(PageSize::k4K, 77).address.value == n * kPageBytes);
  b.frames.give(MachineAddr(7 * kPageBytes), PageSize::k4K);
  b.frames.give(MachineAddr(3 * kPageBytes), PageSize::k4K);
  CHECK(b.frames.take(PageSize::k4K, 0).address.value == 3 * kPageBytes);
  CHECK(b.frames.take(PageSize::k4K, 0).address.value == 7 * kPageBytes);
  CHECK(b.frames.take(PageSize::k4K, 0).address.value == 11 * kPageBytes);
}

TEST_CASE("colours are kept while there are frames of them") {
  Bench b(Placement::colour, 8);
  for (u64 n = 0; n < 400; ++n) {
    const u64 like = n * 37;
    CHECK((b.frames.take(PageSize::k4K, like).address.value >> kPageShift) % 8 == like % 8);
  }
}

TEST_CASE("random placement is a function of the seed") {
  Bench a(Placement::random, 8, 5), b(Placement::random, 8, 5), c(Placement::random, 8, 6);
  bool differs = false;
  for (u64 n = 0; n < 100; ++n) {
    const u64 at = a.frames.take(PageSize::k4K, n).address.value;
    CHECK(at == b.frames.take(PageSize::k4K, n).address.value);
    differs |= at != c.frames.take(PageSize::k4K, n).address.value;
  }
  CHECK(differs);
}

TEST_CASE("a large frame is contiguous, aligned, and overlaps nothing") {
  for (const Placement placement : {Placement::first_fit, Placement::random}) {
    Bench b(placement);
    std::set<u64> small;
    for (int n = 0; n < 2; ++n) small.insert(b.frames.take(PageSize::k4K, 0).address.value);
    unsigned large = 0;
    for (Frames::Taken t; (t = b.frames.take(PageSize::k2M, 0)).ok; ++large) {
      CHECK(t.address.value % bytes_of(PageSize::k2M) == 0);
      CHECK(t.address.value + bytes_of(PageSize::k2M) <= kBytes);
      for (const u64 s : small) CHECK((s < t.address.value || s >= t.address.value + bytes_of(PageSize::k2M)));
    }
    CHECK(large >= 5);  // of eight, the first holds frame 0, and others may hold the two
    CHECK(large <= 7);
    CHECK(b.frames.free() == b.frames.total() - 2 - large * 512);
  }
}

TEST_CASE("a frame that was used comes back empty") {
  Bench b(Placement::first_fit);
  const auto first = b.frames.take(PageSize::k4K, 0);
  CHECK_FALSE(first.zeroed);
  const u8 secret[3] = {1, 2, 3};
  REQUIRE(b.memory.write(first.address + 100, secret));
  b.frames.give(first.address, PageSize::k4K);
  const auto again = b.frames.take(PageSize::k4K, 0);
  REQUIRE(again.address == first.address);
  CHECK(again.zeroed);
  for (u64 n = 0; n < kPageBytes; ++n) REQUIRE(b.memory.peek<u8>(again.address + n) == 0);
}
