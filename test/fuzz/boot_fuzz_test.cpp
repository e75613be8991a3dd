// Boot loaders against damaged images: seeded mutations, the same on every run. Whatever the bytes say, the loader
// loads or refuses with one line; the sanitizers watch. NESTWALK_FUZZ_ROUNDS lengthens the run.
#include <cstdlib>

#include "base/random.h"
#include "emu/boot/detect.h"
#include "emu/boot/flat.h"
#include "test/catch.h"
#include "test/emu/boot/images.h"

using namespace nestwalk;
using namespace nestwalk::emu::boot;
using namespace nestwalk::emu::boot::test;

namespace {

u64 rounds() {
  const char* text = std::getenv("NESTWALK_FUZZ_ROUNDS");
  return text ? std::strtoull(text, nullptr, 0) : 4000;
}

/// Values at which sizes and offsets go wrong.
u64 awkward(Random& random) {
  static constexpr u64 values[] = {
      0,          1,          0x7f,         0x80,         0xff,         0xfff,   0x1000,         0x7fffffff,
      0x80000000, 0xffffffff, u64{1} << 32, ~u64{0} >> 1, u64{1} << 63, ~u64{0}, ~u64{0} - 0xfff};
  return random.below(3) ? values[random.below(std::size(values))] : random.next();
}

void mutate(Bytes& b, Random& random) {
  for (u64 n = 1 + random.below(4); n && !b.empty(); --n) {
    const u64 at = random.below(std::min<u64>(b.size(), 0x320));
    switch (random.below(6)) {
      case 0: b[at] ^= static_cast<u8>(1 << random.below(8)); break;
      case 1: b[at] = static_cast<u8>(random.next()); break;
      case 2: set<u16>(b, at, static_cast<u16>(awkward(random))); break;
      case 3: set<u32>(b, at & ~u64{3}, static_cast<u32>(awkward(random))); break;
      case 4: set<u64>(b, at & ~u64{7}, awkward(random)); break;
      default: b.resize(random.below(b.size() + 1)); break;
    }
  }
}

}  // namespace

TEST_CASE("damaged kernels are loaded or refused with one line") {
  Bytes multiboot_elf = elf(true);
  multiboot_header(multiboot_elf, 0x120, 3);
  const Bytes seeds[] = {bzimage(), elf(false), elf(true), multiboot_flat(), multiboot_elf};
  Bench bench(32 << 20);
  const Bytes initrd(5000, 0x5a);
  Random random(20241);
  u64 loaded = 0, refused = 0;
  for (u64 i = 0; i < rounds(); ++i) {
    // An exact copy on the heap, so that a read past the end is one past the allocation.
    Bytes kernel = seeds[i % std::size(seeds)];
    mutate(kernel, random);
    kernel.shrink_to_fit();
    BootRequest request = bench.request(kernel, "console=ttyS0");
    if (random.below(2)) request.modules.push_back({{"initrd", initrd}, ""});
    try {
      const BootState s = load_kernel(bench.memory, request);
      ++loaded;
      if (s.mode == EntryMode::protected32) CHECK(s.rip < kFourGiB);
    } catch (const BootError& e) {
      ++refused;
      const std::string_view why = e.what();
      if (why.empty() || why.find('\n') != why.npos) FAIL("a refusal of one line was expected: " << why);
    }
  }
  // Both kinds of outcome occur, else the mutations are too mild or too wild to test anything.
  CHECK(loaded > rounds() / 50);
  CHECK(refused > rounds() / 50);
}

TEST_CASE("noise is no kernel") {
  Bench bench(16 << 20);
  Random random(7);
  for (u64 i = 0; i < rounds() / 4; ++i) {
    Bytes noise(random.below(10000));
    for (u8& b : noise) b = static_cast<u8>(random.next());
    CHECK_FALSE(refusal([&] { load_kernel(bench.memory, bench.request(noise)); }).empty());
  }
}
