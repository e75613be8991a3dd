// The 64-bit Linux boot protocol: what the kernel finds, and what is refused.
#include "emu/boot/linux.h"

#include "emu/boot/detect.h"
#include "test/catch.h"
#include "test/emu/boot/images.h"

using namespace nestwalk;
using namespace nestwalk::emu::boot;
using namespace nestwalk::emu::boot::test;
using Catch::Matchers::Contains;

TEST_CASE("a bzImage is loaded at its preferred address and entered 0x200 behind it in 64-bit mode") {
  Bench bench;
  const Bytes kernel = bzimage();
  const BootState s = load_linux(bench.memory, bench.request(kernel, "console=ttyS0"));
  CHECK(s.mode == EntryMode::long64);
  CHECK(s.rip == 0x1000200);
  CHECK(bench.read(0x1000000, 4096) == Bytes(kernel.begin() + 1024, kernel.end()));
  CHECK((s.rflags & 0x200) == 0);
  CHECK(s.cs.selector == 0x10);
  CHECK(s.data.selector == 0x18);
  CHECK((s.cs.attributes & 0x2000) != 0);  // L
  CHECK((s.cr0 & 0x80000001) == 0x80000001);
  CHECK((s.cr4 & 0x20) != 0);
  CHECK((s.efer & 0x500) == 0x500);
}

TEST_CASE("the zero page carries header, memory map, command line and the ACPI root pointer") {
  Bench bench;
  const Bytes kernel = bzimage();
  const BootState s = load_linux(bench.memory, bench.request(kernel, "console=ttyS0 quiet"));
  const Bytes page = bench.read(s.rsi, 4096);
  CHECK(get<u8>(page, 0x210) == 0xff);
  CHECK(get<u32>(page, 0x202) == get<u32>(kernel, 0x202));
  CHECK(get<u32>(page, 0x260) == get<u32>(kernel, 0x260));
  CHECK(get<u32>(page, 0x214) == 0x1000000);
  CHECK(get<u64>(page, 0x70) == 0xe0000);
  CHECK(get<u8>(page, 0x1ef) == 0);  // the sentinel: a zero page filled in by a loader that knows it
  CHECK(bench.text(get<u32>(page, 0x228)) == "console=ttyS0 quiet");
  CHECK(get<u32>(page, 0x21c) == 0);
  REQUIRE(get<u8>(page, 0x1e8) == bench.map.entries().size());
  for (u64 i = 0; i < bench.map.entries().size(); ++i) {
    const E820Entry& e = bench.map.entries()[i];
    CHECK(get<u64>(page, 0x2d0 + 20 * i) == e.base);
    CHECK(get<u64>(page, 0x2d8 + 20 * i) == e.size);
    CHECK(get<u32>(page, 0x2e0 + 20 * i) == static_cast<u32>(e.type));
  }
}

TEST_CASE("the kernel is told of a VGA in text mode 3, by the zero page and by the BIOS data area") {
  Bench bench;
  const Bytes kernel = bzimage();
  const BootState state = load_linux(bench.memory, bench.request(kernel));
  const Bytes page = bench.read(state.rsi, 4096);
  CHECK(get<u16>(page, 0x00) == 0);   // cursor column and row
  CHECK(get<u8>(page, 0x06) == 3);    // orig_video_mode
  CHECK(get<u8>(page, 0x07) == 80);   // orig_video_cols
  CHECK(get<u8>(page, 0x0e) == 25);   // orig_video_lines
  CHECK(get<u8>(page, 0x0f) == 1);    // orig_video_isVGA
  CHECK(get<u16>(page, 0x10) == 16);  // orig_video_points
  const Bytes bda = bench.read(0x400, 0x100);
  CHECK(get<u16>(bda, 0x00) == 0x3f8);
  CHECK(get<u16>(bda, 0x0e) == 0x9fc0);
  CHECK(get<u16>(bda, 0x13) == 639);
  CHECK(get<u8>(bda, 0x49) == 3);
  CHECK(get<u16>(bda, 0x4a) == 80);
  CHECK(get<u16>(bda, 0x50) == 0);  // cursor of the first page
  CHECK(get<u16>(bda, 0x63) == 0x3d4);
  CHECK(get<u8>(bda, 0x84) == 24);
  CHECK(get<u16>(bda, 0x85) == 16);
}

TEST_CASE("the page tables map the first 4 GiB one to one, writable") {
  Bench bench;
  const Bytes kernel = bzimage();
  const BootState s = load_linux(bench.memory, bench.request(kernel));
  const auto entry = [&](u64 table, u64 index) { return bench.memory.peek<u64>(MachineAddr(table + 8 * index)); };
  for (const u64 address : {u64{0}, s.rip, s.rsi, u64{0xe0000}, u64{0x7fffffff}, u64{0xfee00000}, u64{0xffffffff}}) {
    const u64 pml4e = entry(s.cr3, address >> 39), pdpte = entry(pml4e & ~u64{0xfff}, address >> 30 & 511);
    const u64 pde = entry(pdpte & ~u64{0xfff}, address >> 21 & 511);
    CHECK((pml4e & pdpte & pde & 3) == 3);
    CHECK((pde & 0x80) != 0);
    CHECK((pde & ~u64{0x1fffff}) == (address & ~u64{0x1fffff}));
  }
}

TEST_CASE("the GDT that GDTR names holds the segments that are loaded") {
  Bench bench;
  const Bytes kernel = bzimage();
  const BootState s = load_linux(bench.memory, bench.request(kernel));
  REQUIRE(s.gdt.limit >= 0x1f);
  for (const BootSegment& segment : {s.cs, s.data}) {
    const u64 d = bench.memory.peek<u64>(MachineAddr(s.gdt.base + segment.selector));
    CHECK(((d >> 40) & 0xf0ff) == segment.attributes);
  }
}

TEST_CASE("an initrd lies as high as the kernel allows, whole, on a page, clear of the kernel") {
  const u64 memory = GENERATE(u64{64} << 20, u64{2} << 30, u64{3} << 30, u64{6} << 30);
  Bench bench(memory);
  const Bytes kernel = bzimage();
  Bytes initrd(10000);
  for (unsigned i = 0; i < initrd.size(); ++i) initrd[i] = static_cast<u8>(i * 13);
  BootRequest request = bench.request(kernel);
  request.modules.push_back({{"initrd", initrd}, ""});
  const BootState s = load_linux(bench.memory, request);
  const Bytes page = bench.read(s.rsi, 4096);
  const u64 at = get<u32>(page, 0x218), end = std::min<u64>(memory, 0x80000000);
  CHECK(get<u32>(page, 0x21c) == initrd.size());
  CHECK(get<u32>(page, 0xc0) == 0);
  CHECK(at == end - 0x3000);
  CHECK(bench.read(at, initrd.size()) == initrd);
}

TEST_CASE("an initrd that fits only above 4 GiB goes there if the kernel says it can reach it") {
  Bench bench(u64{6} << 30);
  Bytes kernel = bzimage();
  set<u32>(kernel, 0x22c, 0x1ffffff);  // initrd_addr_max: 32 MiB
  const Bytes initrd(16 << 20, 0x33);
  BootRequest request = bench.request(kernel);
  request.modules.push_back({{"initrd", initrd}, ""});
  SECTION("XLF_CAN_BE_LOADED_ABOVE_4G") {
    const BootState s = load_linux(bench.memory, request);
    const Bytes page = bench.read(s.rsi, 4096);
    const u64 at = get<u32>(page, 0x218) | u64{get<u32>(page, 0xc0)} << 32;
    CHECK(at >= kFourGiB);
    CHECK(bench.memory.peek<u8>(MachineAddr(at + initrd.size() - 1)) == 0x33);
  }
  SECTION("and is refused without") {
    set<u16>(kernel, 0x236, 1);
    CHECK_THAT(refusal([&] { load_linux(bench.memory, request); }), Contains("initrd: its 16 MiB do not fit"));
  }
}

TEST_CASE("too little memory is refused with how much would do") {
  Bench bench(32 << 20);
  const Bytes kernel = bzimage(60 << 20);
  const std::string why = refusal([&] { load_linux(bench.memory, bench.request(kernel)); });
  CHECK_THAT(why, Contains("needs 60 MiB of memory from 0x1000000 on") && Contains("give it at least 76 MiB"));
  // And that much does.
  Bench larger(76 << 20);
  CHECK(refusal([&] { load_linux(larger.memory, larger.request(kernel)); }).empty());
}

TEST_CASE("a refused kernel leaves memory as it was") {
  Bench bench(32 << 20);
  const Bytes kernel = bzimage();
  const Bytes initrd(30 << 20, 1);
  BootRequest request = bench.request(kernel, "x");
  request.modules.push_back({{"initrd", initrd}, ""});
  CHECK_THROWS_AS(load_linux(bench.memory, request), BootError);
  CHECK(bench.untouched(0, 0x9f000));
  CHECK(bench.untouched(0x100000, 31 << 20));
}

TEST_CASE("a kernel is loaded over the rests of an earlier one") {
  Bench bench;
  const Bytes kernel = bzimage(), dirt(8 << 20, 0xcc);
  REQUIRE(bench.memory.write(MachineAddr(0x1000000), dirt));
  load_linux(bench.memory, bench.request(kernel));
  CHECK(bench.untouched(0x1001000, (4 << 20) - 0x1000));  // init_size behind it is zero
  CHECK(bench.memory.peek<u8>(MachineAddr(0x1400000)) == 0xcc);
}

TEST_CASE("mistakes are named") {
  Bench bench;
  Bytes kernel = bzimage();
  std::string command_line, expected;
  SECTION("old protocol") {
    set<u16>(kernel, 0x206, 0x205);
    expected = "boot protocol 2.05";
  }
  SECTION("protocol without 64-bit entry") {
    set<u16>(kernel, 0x206, 0x20a);
    expected = "cannot promise a 64-bit entry";
  }
  SECTION("32-bit kernel") {
    set<u16>(kernel, 0x236, 0);
    expected = "is a 32-bit kernel";
  }
  SECTION("zImage") {
    set<u8>(kernel, 0x211, 0);
    expected = "is a zImage";
  }
  SECTION("long command line") {
    command_line.assign(2048, 'x');
    expected = "at most 2047 characters; this one has 2048";
  }
  SECTION("payload outside") {
    set<u32>(kernel, 0x24c, 0x2000);
    expected = "is corrupt: its compressed payload";
  }
  SECTION("alignment") {
    set<u32>(kernel, 0x230, 3);
    expected = "kernel_alignment is 0x3";
  }
  SECTION("preferred address") {
    set<u64>(kernel, 0x258, 0x7c00);
    expected = "pref_address is 0x7c00";
  }
  SECTION("cut off") {
    kernel.resize(kernel.size() - 16);
    expected = "is cut off: its kernel needs bytes up to 0x13f1, but it ends at 0x13f0";
  }
  const std::string why = refusal([&] { load_kernel(bench.memory, bench.request(kernel, command_line)); });
  CHECK_THAT(why, Catch::Matchers::StartsWith("kernel: ") && Contains(expected));
  CHECK(why.find('\n') == std::string::npos);
}

TEST_CASE("the last paragraph of a kernel may be incomplete") {
  Bench bench;
  Bytes kernel = bzimage();
  kernel.resize(kernel.size() - 15);
  load_linux(bench.memory, bench.request(kernel));
  CHECK(bench.read(0x1000000, 4096 - 15) == Bytes(kernel.begin() + 1024, kernel.end()));
  CHECK(bench.untouched(0x1000000 + 4096 - 15, 15));
}

TEST_CASE("every shorter prefix of a bzImage is refused, and none writes") {
  Bench bench;
  const Bytes kernel = bzimage();
  for (std::size_t n = 0; n + 15 < kernel.size(); ++n) {
    const Bytes cut(kernel.begin(), kernel.begin() + static_cast<std::ptrdiff_t>(n));
    if (refusal([&] { load_kernel(bench.memory, bench.request(cut)); }).empty()) FAIL("accepted " << n << " bytes");
  }
  CHECK(bench.untouched(0, 0x9f000));
  CHECK(bench.untouched(0x1000000, 0x10000));
}
