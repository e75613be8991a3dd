// ACPI tables, walked from the RSDP as an operating system does.
#include "emu/acpi_tables.h"

#include <map>
#include <numeric>

#include "emu/aml.h"
#include "test/catch.h"
#include "test/emu/boot/images.h"

using namespace nestwalk;
using namespace nestwalk::emu;
using boot::test::Bench;
using boot::test::Bytes;
using boot::test::get;

namespace {

u8 sum(const Bytes& b) { return static_cast<u8>(std::accumulate(b.begin(), b.end(), 0u)); }

/// A table with its checksum checked.
Bytes table_at(const Bench& bench, u64 at) {
  const Bytes table = bench.read(at, bench.memory.peek<u32>(MachineAddr(at + 4)));
  CHECK(sum(table) == 0);
  return table;
}

std::string signature(const Bytes& table) { return std::string(table.begin(), table.begin() + 4); }

/// All tables by signature; the XSDT's and the RSDT's lists must agree.
std::map<std::string, Bytes> walk_tables(const Bench& bench, u64 rsdp_at) {
  const Bytes rsdp = bench.read(rsdp_at, 36);
  CHECK(std::string(rsdp.begin(), rsdp.begin() + 8) == "RSD PTR ");
  CHECK(sum(Bytes(rsdp.begin(), rsdp.begin() + 20)) == 0);
  CHECK(sum(rsdp) == 0);
  const Bytes rsdt = table_at(bench, get<u32>(rsdp, 16)), xsdt = table_at(bench, get<u64>(rsdp, 24));
  CHECK(signature(rsdt) == "RSDT");
  CHECK(signature(xsdt) == "XSDT");
  REQUIRE((rsdt.size() - 36) / 4 == (xsdt.size() - 36) / 8);
  std::map<std::string, Bytes> tables;
  for (u64 i = 0; 36 + 8 * i < xsdt.size(); ++i) {
    const u64 at = get<u64>(xsdt, 36 + 8 * i);
    CHECK(at == get<u32>(rsdt, 36 + 4 * i));
    const Bytes t = table_at(bench, at);
    tables[signature(t)] = t;
  }
  return tables;
}

}  // namespace

TEST_CASE("the tables are found from 0xe0000 on with all checksums right") {
  Bench bench;
  const u64 rsdp = place_acpi_tables(bench.memory, build_acpi_tables({.cpus = 3}));
  CHECK(rsdp >= 0xe0000);
  CHECK(rsdp % 16 == 0);
  const auto tables = walk_tables(bench, rsdp);
  CHECK(tables.size() == 3);
  REQUIRE(tables.count("FACP"));
  const Bytes& fadt = tables.at("FACP");
  CHECK(get<u32>(fadt, 40) == get<u64>(fadt, 140));
  CHECK(signature(table_at(bench, get<u32>(fadt, 40))) == "DSDT");
  const Bytes facs = bench.read(get<u32>(fadt, 36), 64);
  CHECK(signature(facs) == "FACS");
  CHECK(get<u32>(fadt, 36) % 64 == 0);
}

TEST_CASE("the FADT names the ports that the devices use, in both of its forms") {
  Bench bench;
  const auto tables = walk_tables(bench, place_acpi_tables(bench.memory, build_acpi_tables({})));
  const Bytes& t = tables.at("FACP");
  const std::pair<u64, u64> fields[] = {{56, 148}, {64, 172}, {76, 208}, {80, 220}};
  for (const auto& [legacy, generic] : fields) {
    CHECK(get<u8>(t, generic) == 1);
    CHECK(get<u64>(t, generic + 4) == get<u32>(t, legacy));
  }
  CHECK(get<u32>(t, 56) == 0x600);
  CHECK(get<u32>(t, 64) == 0x604);
  CHECK(get<u32>(t, 76) == 0x608);
  CHECK((get<u32>(t, 112) & 1 << 10) != 0);
  CHECK(get<u64>(t, 120) == 0xcf9);
  CHECK(get<u8>(t, 128) == 6);
}

TEST_CASE("the MADT lists every processor, the IOAPIC and the overrides") {
  const unsigned cpus = GENERATE(1u, 2u, 255u);
  Bench bench;
  const auto tables = walk_tables(bench, place_acpi_tables(bench.memory, build_acpi_tables({.cpus = cpus})));
  const Bytes& t = tables.at("APIC");
  CHECK(get<u32>(t, 36) == 0xfee00000);
  unsigned processors = 0, io_apics = 0, overrides = 0;
  u64 at = 44;
  for (; at < t.size(); at += t[at + 1]) {
    REQUIRE(t[at + 1] >= 6);
    if (t[at] == 0) CHECK(t[at + 3] == processors++);
    if (t[at] == 1) {
      ++io_apics;
      CHECK(get<u32>(t, at + 4) == 0xfec00000);
    }
    if (t[at] == 2) {
      ++overrides;
      if (t[at + 3] == 0) CHECK(get<u32>(t, at + 4) == 2);
      if (t[at + 3] == 9) CHECK(get<u16>(t, at + 8) == 0xd);
    }
  }
  CHECK(at == t.size());
  CHECK(processors == cpus);
  CHECK(io_apics == 1);
  CHECK(overrides == 2);
}

TEST_CASE("without an HPET no table and no device speak of one") {
  Bench bench;
  const auto with = build_acpi_tables({}), without = build_acpi_tables({.hpet = false});
  const auto mentions = [](const AcpiTables& t) {
    return std::string(t.tables.begin(), t.tables.end()).find("HPET") != std::string::npos;
  };
  CHECK(mentions(with));
  CHECK_FALSE(mentions(without));
  CHECK(walk_tables(bench, place_acpi_tables(bench.memory, without)).count("HPET") == 0);
}

TEST_CASE("AML integers, names and package lengths have the specification's encodings") {
  using namespace aml;
  CHECK(integer(0) == Bytes{0x00});
  CHECK(integer(1) == Bytes{0x01});
  CHECK(integer(0x12) == Bytes{0x0a, 0x12});
  CHECK(integer(0x1234) == Bytes{0x0b, 0x34, 0x12});
  CHECK(integer(0x12345678) == Bytes{0x0c, 0x78, 0x56, 0x34, 0x12});
  CHECK(eisa_id("PNP0A03") == Bytes{0x0c, 0x41, 0xd0, 0x0a, 0x03});
  CHECK(name_string("\\_S5") == Bytes{'\\', '_', 'S', '5', '_'});
  // Lengths around the borders of PkgLength: 63 is the last of one byte.
  CHECK(buffer(Bytes(60)) == Bytes{0x11, 0x3f, 0x0a, 60} + Bytes(60));
  CHECK(buffer(Bytes(61)) == Bytes{0x11, 0x40 | (65 & 15), 65 >> 4, 0x0a, 61} + Bytes(61));
  const Bytes large = buffer(Bytes(5000));
  CHECK(large[1] == (0x80 | (5006 & 15)));
  CHECK((large[2] | large[3] << 8) == 5006 >> 4);
}

TEST_CASE("the fw_cfg script makes the same tables as placing them does") {
  const AcpiTables tables = build_acpi_tables({.cpus = 2});
  const AcpiFiles files = acpi_fw_cfg_files(tables);
  REQUIRE(files.loader.size() % 128 == 0);
  // A loader of twenty lines, from QEMU's description: the tables go to 0x7fe0000.
  std::map<std::string, Bytes> memory = {{"etc/acpi/tables", files.tables}, {"etc/acpi/rsdp", files.rsdp}};
  std::map<std::string, u64> address;
  for (u64 at = 0; at < files.loader.size(); at += 128) {
    const Bytes c(files.loader.begin() + static_cast<std::ptrdiff_t>(at),
                  files.loader.begin() + static_cast<std::ptrdiff_t>(at) + 128);
    const std::string file(reinterpret_cast<const char*>(c.data() + 4));
    REQUIRE(memory.count(file));
    Bytes& block = memory[file];
    switch (get<u32>(c, 0)) {
      case 1: address[file] = file == "etc/acpi/tables" ? 0x7fe0000 : 0xf5000; break;
      case 2: {
        const std::string source(reinterpret_cast<const char*>(c.data() + 60));
        u64 value = 0;
        std::memcpy(&value, block.data() + get<u32>(c, 116), c[120]);
        value += address.at(source);
        std::memcpy(block.data() + get<u32>(c, 116), &value, c[120]);
        break;
      }
      case 3: {
        u8 total = 0;
        block[get<u32>(c, 60)] = 0;
        for (u32 i = 0; i < get<u32>(c, 68); ++i) total = static_cast<u8>(total + block[get<u32>(c, 64) + i]);
        block[get<u32>(c, 60)] = static_cast<u8>(-total);
        break;
      }
      default: FAIL("unknown command");
    }
  }
  const AcpiTables placed = tables.located_at(0x7fe0000);
  CHECK(memory["etc/acpi/tables"] == placed.tables);
  CHECK(memory["etc/acpi/rsdp"] == placed.rsdp);
}

TEST_CASE("a machine of no or too many processors has no tables") {
  CHECK_THROWS_AS(build_acpi_tables({.cpus = 0}), std::invalid_argument);
  CHECK_THROWS_AS(build_acpi_tables({.cpus = 256}), std::invalid_argument);
}
