// QEMU's firmware configuration device, through both of its interfaces.
#include "emu/devices/fw_cfg.h"

#include <cstring>

#include "mmu/memory.h"
#include "sim/settings.h"
#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Board {
  mmu::MachineMemory memory;
  FwCfg cfg{memory};
  Board() { memory.install(MachineAddr(0), 0x10000); }
  std::string bytes(unsigned key, std::size_t n) {
    cfg.write(0, key, 2);
    std::string s;
    while (s.size() < n) s.push_back(static_cast<char>(bench::in(cfg, 1)));
    return s;
  }
  /// Runs a command structure placed at `at`; returns the control word left behind.
  u32 dma(u32 control, u32 length, u64 address, u64 at = 0x100) {
    const u32 c = __builtin_bswap32(control), l = __builtin_bswap32(length);
    const u64 a = __builtin_bswap64(address);
    std::array<u8, 16> raw;
    std::memcpy(&raw[0], &c, 4);
    std::memcpy(&raw[4], &l, 4);
    std::memcpy(&raw[8], &a, 8);
    memory.write(MachineAddr(at), raw);
    cfg.dma().write(0, __builtin_bswap32(static_cast<u32>(at >> 32)), 4);
    cfg.dma().write(4, __builtin_bswap32(static_cast<u32>(at)), 4);
    return __builtin_bswap32(memory.peek<u32>(MachineAddr(at)));
  }
  u32 be32(u64 at) { return __builtin_bswap32(memory.peek<u32>(MachineAddr(at))); }
  std::string text(u64 at) {
    std::string s;
    while (const char c = memory.peek<char>(MachineAddr(at + s.size()))) s.push_back(c);
    return s;
  }
};

}  // namespace

TEST_CASE("the signature says QEMU, the identity says DMA, and past the end is zero") {
  Board b;
  CHECK(b.bytes(0, 4) == "QEMU");
  CHECK(b.bytes(1, 5) == std::string("\x03\0\0\0\0", 5));
  CHECK(b.bytes(0x77, 2) == std::string(2, '\0'));
}

TEST_CASE("numbers are little-endian, strings end in zero, selecting starts over") {
  Board b;
  b.cfg.add_u16(FwCfg::nb_cpus, 1);
  b.cfg.add_u64(FwCfg::ram_size, u64{5} << 30);
  b.cfg.add_string(FwCfg::cmdline_data, "quiet");
  CHECK(b.bytes(FwCfg::nb_cpus, 2) == std::string("\x01\0", 2));
  CHECK(b.bytes(FwCfg::ram_size, 8) == std::string("\0\0\0\x40\x01\0\0\0", 8));
  CHECK(b.bytes(FwCfg::cmdline_data, 6) == std::string("quiet\0", 6));
  CHECK(b.bytes(FwCfg::cmdline_data, 3) == "qui");
}

TEST_CASE("the directory lists files by name with size and key") {
  Board b;
  const u16 rsdp = b.cfg.add_file("etc/acpi/rsdp", {1, 2, 3});
  const u16 e820 = b.cfg.add_file("etc/e820", {4, 5});
  b.cfg.add_file("etc/acpi/rsdp", {7, 8, 9, 10});  // replaced, not listed twice
  CHECK(b.dma(FwCfg::directory << 16 | 8 | 2, 4 + 2 * 64, 0x1000) == 0);
  CHECK(b.be32(0x1000) == 2);
  CHECK(b.be32(0x1004) == 4);
  CHECK(b.be32(0x1008) >> 16 == rsdp);
  CHECK(b.text(0x100c) == "etc/acpi/rsdp");
  CHECK(b.be32(0x1044) == 2);
  CHECK(b.be32(0x1048) >> 16 == e820);
  CHECK(b.text(0x104c) == "etc/e820");
  CHECK(b.bytes(rsdp, 4) == std::string("\x07\x08\x09\x0a"));
}

TEST_CASE("DMA shows its signature and selects, skips and reads") {
  Board b;
  CHECK(b.cfg.dma().read(0, 4) == 0x554d4551);  // 'QEMU' in memory order
  CHECK(b.cfg.dma().read(4, 4) == 0x47464320);
  b.cfg.add_file("f", {10, 11, 12, 13, 14, 15});
  CHECK(b.dma(0x20 << 16 | 8 | 4, 2, 0) == 0);
  CHECK(b.dma(2, 3, 0x2000) == 0);
  CHECK(b.memory.peek<u32>(MachineAddr(0x2000)) == 0x000e0d0c);
  CHECK(b.dma(2, 3, 0x3000) == 0);  // goes on, and zeros follow
  CHECK(b.memory.peek<u32>(MachineAddr(0x3000)) == 0x0000000f);
}

TEST_CASE("a transfer across pages is whole") {
  Board b;
  std::vector<u8> big(10'000);
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<u8>(i * 7);
  b.cfg.add_file("big", big);
  CHECK(b.dma(0x20 << 16 | 8 | 2, 10'000, 0x1234) == 0);
  std::vector<u8> got(10'000);
  b.memory.read(MachineAddr(0x1234), got);
  CHECK(got == big);
}

TEST_CASE("a transfer out of memory and a write to an item are errors, not crashes") {
  Board b;
  b.cfg.add_file("f", {1});
  CHECK(b.dma(0x20 << 16 | 8 | 2, 0xffffffff, 0xf800) == 1);
  CHECK(b.memory.peek<u8>(MachineAddr(0xf800)) == 1);  // what fits has arrived
  CHECK(b.dma(0x20 << 16 | 8 | 2, 16, ~u64{0} - 4) == 1);
  CHECK(b.dma(0x20 << 16 | 8 | 16, 1, 0x1000) == 1);
  b.cfg.dma().write(4, 0xffffffff, 4);  // the structure itself is nowhere
  b.cfg.dma().write(0, 0xffffffffffffffff, 8);
  SUCCEED();
}

TEST_CASE("a name that does not fit its field is refused") {
  Board b;
  CHECK_THROWS_AS(b.cfg.add_file(std::string(56, 'x'), {}), sim::ConfigError);
  CHECK_NOTHROW(b.cfg.add_file(std::string(55, 'x'), {}));
}
