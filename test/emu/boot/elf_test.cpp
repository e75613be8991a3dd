// ELF, PVH, multiboot, flat and ROM images.
#include "emu/boot/elf.h"

#include "emu/boot/detect.h"
#include "emu/boot/flat.h"
#include "emu/boot/multiboot.h"
#include "test/catch.h"
#include "test/emu/boot/images.h"

using namespace nestwalk;
using namespace nestwalk::emu::boot;
using namespace nestwalk::emu::boot::test;
using Catch::Matchers::Contains;

namespace {
void check_flat_protected(const BootState& s) {
  CHECK(s.mode == EntryMode::protected32);
  CHECK((s.cr0 & 0x80000001) == 1);
  CHECK(s.efer == 0);
  CHECK((s.rflags & 0x20200) == 0);
  CHECK(s.cs.base == 0);
  CHECK(s.cs.limit == 0xffffffff);
  CHECK((s.cs.attributes & 0x4000) != 0);  // D
  CHECK((s.cs.attributes & 0x2000) == 0);  // not L
  CHECK(s.data.limit == 0xffffffff);
}
}  // namespace

TEST_CASE("an ELF kernel is entered at its PVH note's address with hvm_start_info in EBX") {
  const bool is64 = GENERATE(false, true);
  Bench bench;
  const Bytes kernel = elf(is64), module(5000, 0x77);
  BootRequest request = bench.request(kernel, "console=ttyS0");
  request.modules.push_back({{"initrd", module}, "arguments"});
  const BootState s = load_kernel(bench.memory, request);
  check_flat_protected(s);
  CHECK(s.rip == 0x100040);
  CHECK(s.tr.limit == 0x67);
  CHECK(bench.read(0x100000, 0x100) == Bytes(kernel.begin() + 0x100, kernel.begin() + 0x200));

  const Bytes info = bench.read(s.rbx, 56);
  CHECK(get<u32>(info, 0) == 0x336ec578);
  CHECK(get<u32>(info, 4) == 1);
  CHECK(get<u32>(info, 12) == 1);
  CHECK(bench.text(get<u64>(info, 24)) == "console=ttyS0");
  CHECK(get<u64>(info, 32) == 0xe0000);
  const Bytes list = bench.read(get<u64>(info, 16), 32);
  CHECK(get<u64>(list, 8) == module.size());
  CHECK(bench.read(get<u64>(list, 0), module.size()) == module);
  CHECK(bench.text(get<u64>(list, 16)) == "arguments");
  REQUIRE(get<u32>(info, 48) == bench.map.entries().size());
  const Bytes map = bench.read(get<u64>(info, 40), 24 * bench.map.entries().size());
  for (u64 i = 0; i < bench.map.entries().size(); ++i) {
    CHECK(get<u64>(map, 24 * i) == bench.map.entries()[i].base);
    CHECK(get<u64>(map, 24 * i + 8) == bench.map.entries()[i].size);
    CHECK(get<u32>(map, 24 * i + 16) == static_cast<u32>(bench.map.entries()[i].type));
  }
}

TEST_CASE("an ELF segment's memory beyond its bytes in the file is zeroed") {
  Bench bench;
  const Bytes dirt(0x2000, 0xcc), kernel = elf(true);
  REQUIRE(bench.memory.write(MachineAddr(0x100000), dirt));
  load_kernel(bench.memory, bench.request(kernel));
  CHECK(bench.untouched(0x100100, 0xf00));
  CHECK(bench.memory.peek<u8>(MachineAddr(0x101000)) == 0xcc);
}

TEST_CASE("ELF files that are not our kernels are named as such") {
  Bench bench;
  Bytes kernel = elf(true);
  std::string expected;
  SECTION("no PVH note") {
    kernel = elf(true, false);
    expected = "neither a multiboot header nor a PVH entry note";
  }
  SECTION("ARM64") {
    set<u16>(kernel, 18, 183);
    expected = "is a kernel for ARM64";
  }
  SECTION("big-endian") {
    set<u8>(kernel, 5, 2);
    expected = "big-endian";
  }
  SECTION("object file") {
    set<u16>(kernel, 16, 1);
    expected = "of type 1, not an executable";
  }
  SECTION("segment beyond the file") {
    set<u64>(kernel, 0x40 + 8, 0x250);
    expected = "is cut off: its ELF segment";
  }
  SECTION("segment that wraps") {
    set<u64>(kernel, 0x40 + 24, ~u64{0} - 0x10);
    expected = "wraps around";
  }
  SECTION("segment where there is no memory") {
    set<u64>(kernel, 0x40 + 24, 0xb8000);
    expected = "has no memory";
  }
  SECTION("segment over our structures") {
    set<u64>(kernel, 0x40 + 24, 0x1f800);
    expected = "runs into";
  }
  CHECK_THAT(refusal([&] { load_kernel(bench.memory, bench.request(kernel)); }), Contains(expected));
  CHECK(bench.untouched(0, 0x9f000));
}

TEST_CASE("a multiboot kernel placed by its address fields finds command line, map, modules and loader name") {
  Bench bench;
  const Bytes kernel = multiboot_flat(), module(3000, 0x42);
  BootRequest request = bench.request(kernel, "a=1 b");
  request.kernel.name = "/some/where/xen";
  request.modules.push_back({{"/boot/vmlinuz", module}, "root=/dev/sda"});
  const BootState s = load_kernel(bench.memory, request);
  check_flat_protected(s);
  CHECK(s.rax == 0x2badb002);
  CHECK(s.rip == 0x200080);
  CHECK(bench.read(0x200000, kernel.size()) == kernel);

  const Bytes info = bench.read(s.rbx, 120);
  const u32 flags = get<u32>(info, 0);
  CHECK((flags & 0x24d) == 0x24d);
  CHECK(get<u32>(info, 4) == 639);
  CHECK(get<u32>(info, 8) == (63 << 10));
  CHECK(bench.text(get<u32>(info, 16)) == "xen a=1 b");
  CHECK(bench.text(get<u32>(info, 64)) == "nestwalk");
  REQUIRE(get<u32>(info, 20) == 1);
  const Bytes list = bench.read(get<u32>(info, 24), 16);
  CHECK(get<u32>(list, 4) - get<u32>(list, 0) == module.size());
  CHECK(get<u32>(list, 0) % 4096 == 0);
  CHECK(get<u32>(list, 0) >= 0x202000);
  CHECK(bench.read(get<u32>(list, 0), module.size()) == module);
  CHECK(bench.text(get<u32>(list, 8)) == "vmlinuz root=/dev/sda");

  // The map is walked as the specification says: each entry's size does not count itself.
  const Bytes map = bench.read(get<u32>(info, 48), get<u32>(info, 44));
  u64 ram = 0;
  for (u64 at = 0; at < map.size(); at += get<u32>(map, at) + 4) {
    if (get<u32>(map, at + 20) == 1) ram += get<u64>(map, at + 12);
  }
  CHECK(ram == bench.map.ram_bytes());
}

TEST_CASE("a multiboot ELF is entered at its entry point, translated where it is linked elsewhere") {
  Bench bench;
  Bytes kernel = elf(GENERATE(false, true));
  multiboot_header(kernel, 0x120, 3);
  REQUIRE(identify({"kernel", kernel}) == ImageKind::multiboot);
  CHECK(load_kernel(bench.memory, bench.request(kernel)).rip == 0x100010);
  if (kernel[4] == 2) {
    set<u64>(kernel, 0x40 + 16, 0xffffffff80000000);
    set<u64>(kernel, 24, 0xffffffff80000020);
    CHECK(load_kernel(bench.memory, bench.request(kernel)).rip == 0x100020);
  }
}

TEST_CASE("a multiboot header counts only within 8192 bytes, on four bytes, with its checksum") {
  Bytes b(20000);
  multiboot_header(b, 8192 - 12, 0x10003);
  CHECK(find_multiboot(b) == 8180u);
  b.assign(20000, 0);
  multiboot_header(b, 8192 - 8, 0x10003);
  CHECK_FALSE(find_multiboot(b));
  b.assign(20000, 0);
  multiboot_header(b, 0x102, 0x10003);
  CHECK_FALSE(find_multiboot(b));
  b.assign(20000, 0);
  multiboot_header(b, 0x100, 0x10003);
  b[0x108] ^= 1;
  CHECK_FALSE(find_multiboot(b));
  b.assign(20000, 0);
  multiboot_header(b, 0x100, 3);  // neither address fields nor ELF: nobody knows where it belongs
  CHECK_FALSE(find_multiboot(b));
}

TEST_CASE("a multiboot kernel that demands unknown features is refused") {
  Bench bench;
  Bytes kernel = multiboot_flat();
  multiboot_header(kernel, 0x40, 0x10003 | 0x8);
  CHECK_THAT(refusal([&] { load_kernel(bench.memory, bench.request(kernel)); }), Contains("demands multiboot features"));
}

TEST_CASE("every prefix of an ELF or multiboot kernel is refused or loaded, never a crash") {
  Bytes multiboot_elf = elf(true);
  multiboot_header(multiboot_elf, 0x120, 3);
  const Bytes kernel = GENERATE_COPY(elf(false), elf(true), multiboot_flat(), multiboot_elf);
  Bench bench;
  unsigned loaded = 0;
  for (std::size_t n = 0; n <= kernel.size(); ++n) {
    const Bytes cut(kernel.begin(), kernel.begin() + static_cast<std::ptrdiff_t>(n));
    loaded += refusal([&] { load_kernel(bench.memory, bench.request(cut)); }).empty();
  }
  CHECK(loaded >= 1);
  CHECK(loaded < 0x200);
}

TEST_CASE("a flat image is entered in real mode where it was put") {
  Bench bench;
  const Bytes code = {0xf4, 0xeb, 0xfd};
  const BootState s = load_flat(bench.memory, bench.request(code));
  CHECK(s.mode == EntryMode::real16);
  CHECK(s.rip == 0x7c00);
  CHECK(s.cs.base == 0);
  CHECK(s.idt.limit == 0x3ff);
  CHECK((s.cr0 & 1) == 0);
  CHECK(bench.read(0x7c00, 3) == code);
  const BootState t = load_flat(bench.memory, bench.request(code), 0x1234, 0x10);
  CHECK(t.cs.base == 0x12340);
  CHECK(bench.read(0x12350, 3) == code);
  CHECK_THROWS_AS(load_flat(bench.memory, bench.request(code), 0xb800, 0), BootError);
}

TEST_CASE("a ROM lies below 4 GiB, its end is shadowed below 1 MiB, and it is entered as after reset") {
  Bench bench;
  Bytes rom(256 << 10, 0x11);
  rom[rom.size() - 16] = 0xea;
  const BootState s = load_rom(bench.memory, bench.request(rom));
  CHECK(s.cs.base + s.rip == 0xfffffff0);
  CHECK(s.cs.selector == 0xf000);
  CHECK(bench.memory.peek<u8>(MachineAddr(0xfffffff0)) == 0xea);
  CHECK(bench.memory.peek<u8>(MachineAddr(0xffff0)) == 0xea);
  CHECK(bench.memory.peek<u8>(MachineAddr(0xe0000)) == 0x11);
  CHECK_FALSE(bench.memory.is_writable(MachineAddr(0xfffc0000)));
  load_rom(bench.memory, bench.request(rom));  // a reset loads it again
  const Bytes odd(1000);
  CHECK_THAT(refusal([&] { load_rom(bench.memory, bench.request(odd)); }), Contains("is no ROM image"));
}

TEST_CASE("what is no kernel is told by its kind") {
  const auto verdict = [](u64 offset, const char* magic, std::size_t size) {
    Bytes b(size);
    std::memcpy(b.data() + offset, magic, std::strlen(magic));
    return refusal([&] { identify({"file", b}); });
  };
  CHECK_THAT(verdict(0x38, "ARM\x64", 4096), Contains("ARM64 Linux Image"));
  CHECK_THAT(verdict(0, "\x1f\x8b", 4096), Contains("gunzip"));
  CHECK_THAT(verdict(0, "070701", 4096), Contains("--initrd"));
  CHECK_THAT(verdict(0, "!<arch>\n", 4096), Contains("Debian package"));
  CHECK_THAT(verdict(0x1fe, "\x55\xaa", 4096), Contains("boot sector"));
  CHECK_THAT(verdict(0, "hello", 4096), Contains("neither bzImage, multiboot nor ELF"));
  CHECK_THAT(refusal([] { identify({"file", {}}); }), Contains("is empty"));
}

TEST_CASE("files that cannot be read are refused with their name") {
  CHECK_THAT(refusal([] { read_file("/nonexistent/vmlinuz"); }),
             Contains("/nonexistent/vmlinuz: cannot be opened: No such file"));
  CHECK_THAT(refusal([] { read_file("/tmp"); }), Contains("/tmp: is a folder"));
}
