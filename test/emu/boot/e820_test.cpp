// The memory map of a PC.
#include "emu/boot/e820.h"

#include <stdexcept>

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::emu::boot;

TEST_CASE("a memory map is sorted, does not overlap, and holds the memory it was made for") {
  const u64 bytes =
      GENERATE(u64{16} << 20, u64{512} << 20, u64{3} << 30, u64{4} << 30, u64{64} << 30, (u64{100} << 20) + 4096);
  const MemoryMap map = pc_memory_map(bytes);
  u64 end = 0;
  for (const E820Entry& e : map.entries()) {
    CHECK(e.size > 0);
    CHECK(e.base >= end);
    end = e.end();
  }
  // All but the last KiB of conventional memory and the 384 KiB of the legacy hole.
  CHECK(map.ram_bytes() == bytes - 0x400 - 0x60000);
  for (const E820Entry& e : map.entries()) {
    if (e.type == E820Type::ram) CHECK((e.end() <= 0xc0000000 || e.base >= kFourGiB));
  }
}

TEST_CASE("memory is installed wherever the map says RAM, and under the firmware's tables") {
  for (const u64 bytes : {u64{16} << 20, u64{5} << 30}) {
    const auto installed = [&](u64 begin, u64 end) {
      for (const MemorySpan& s : pc_installed_memory(bytes)) {
        if (begin >= s.begin && end <= s.begin + s.bytes) return true;
      }
      return false;
    };
    const MemoryMap map = pc_memory_map(bytes);
    for (const E820Entry& e : map.entries()) {
      if (e.type == E820Type::ram) CHECK(installed(e.base, e.end()));
    }
    CHECK(installed(kFirmwareBegin, kFirmwareEnd));
    CHECK_FALSE(installed(0xb8000, 0xb8001));
  }
}

TEST_CASE("memory beyond 3 GiB goes on at 4 GiB") {
  const MemoryMap map = pc_memory_map(u64{5} << 30);
  CHECK(map.is_ram(0xbffff000, 0x1000));
  CHECK_FALSE(map.is_ram(0xc0000000, 1));
  CHECK(map.is_ram(kFourGiB, u64{2} << 30));
  CHECK_FALSE(map.is_ram(kFourGiB, (u64{2} << 30) + 1));
}

TEST_CASE("a range that wraps around the address space is not RAM") {
  const MemoryMap map = pc_memory_map(64 << 20);
  CHECK_FALSE(map.is_ram(0x100000, ~u64{0}));
  CHECK_FALSE(map.is_ram(~u64{0} - 10, 20));
}

TEST_CASE("the highest place respects floor, ceiling and page alignment") {
  const MemoryMap map = pc_memory_map(64 << 20);
  CHECK(map.highest_place(1, 0x100000, kFourGiB) == (64 << 20) - 0x1000);
  CHECK(map.highest_place(0x1001, 0x100000, 0x2000000) == 0x1ffe000);
  CHECK(map.highest_place(0x2000, 0x1fff000, 0x2000000) == 0);
  CHECK(map.highest_place(0x1000, 0x1fff000, 0x2000000) == 0x1fff000);
  CHECK(map.highest_place(u64{1} << 40, 0x100000, ~u64{0}) == 0);
}

TEST_CASE("less than 16 MiB of memory make no PC") {
  CHECK_THROWS_AS(pc_memory_map((16 << 20) - 1), std::invalid_argument);
}
