// ACPI tables, byte by byte (ACPI specification 6.4: 5.2.5 RSDP, 5.2.6 header, 5.2.9 FADT, 5.2.10 FACS, 5.2.12 MADT).
#include "emu/acpi_tables.h"

#include <numeric>
#include <stdexcept>

#include "base/bits.h"
#include "emu/aml.h"
#include "emu/boot/boot.h"

namespace nestwalk::emu {
namespace {

using boot::Writer;

constexpr u64 kHeaderBytes = 36;

u8 checksum_of(std::span<const u8> bytes) {
  return static_cast<u8>(-std::accumulate(bytes.begin(), bytes.end(), 0u, [](u32 sum, u8 b) { return sum + b; }));
}

void put_text(Writer& w, u64 at, std::string_view text) {
  w.put_bytes(at, {reinterpret_cast<const u8*>(text.data()), text.size()});
}

/// A table with its header filled in but for the checksum; the body is written at the offsets that the specification gives.
Writer table(std::string_view signature, u8 revision, u64 bytes) {
  Writer w(bytes);
  put_text(w, 0, signature);
  w.put<u8>(8, revision);
  put_text(w, 10, "NESTWK");
  put_text(w, 16, "NESTWALK");
  w.put<u32>(24, 1);
  put_text(w, 28, "NWLK");
  w.put<u32>(32, 1);
  return w;
}

Writer facs() {
  Writer w(64);
  put_text(w, 0, "FACS");
  w.put<u32>(4, 64);
  w.put<u8>(32, 2);  // version
  return w;
}

/// Generic address of an I/O port (5.2.3.2).
void put_port(Writer& w, u64 at, u16 port, u8 bits_wide, u8 access) {
  w.put<u8>(at, 1);
  w.put<u8>(at + 1, bits_wide);
  w.put<u8>(at + 3, access);
  w.put<u64>(at + 4, port);
}

Writer fadt(const AcpiOptions& options) {
  Writer w = table("FACP", 3, 244);
  w.put<u8>(45, 1);  // preferred profile: desktop
  w.put<u16>(46, acpi::sci_line);
  w.put<u32>(48, acpi::smi_command);
  w.put<u8>(52, acpi::smi_enable);
  w.put<u8>(53, acpi::smi_disable);
  w.put<u32>(56, acpi::pm1_event);
  w.put<u32>(64, acpi::pm1_control);
  w.put<u32>(76, acpi::pm_timer);
  w.put<u32>(80, acpi::gpe0);
  w.put<u8>(88, 4);  // lengths: PM1 event, PM1 control, PM timer, GPE0
  w.put<u8>(89, 2);
  w.put<u8>(91, 4);
  w.put<u8>(92, acpi::gpe0_bytes);
  w.put<u16>(96, 0xfff);                                                             // no C2
  w.put<u16>(98, 0xfff);                                                             // no C3
  w.put<u8>(108, 0x32);                                                              // CMOS byte of the century
  w.put<u16>(109, static_cast<u16>(1 | (options.keyboard_controller ? 2 : 0) | 4));  // legacy devices, 8042, no VGA
  // WBINVD works, C1 works, the sleep button is no fixed feature, the reset register works.
  w.put<u32>(112, 1 | 1 << 2 | 1 << 5 | 1 << 10);
  put_port(w, 116, acpi::reset_port, 8, 1);
  w.put<u8>(128, acpi::reset_value);
  put_port(w, 148, acpi::pm1_event, 32, 2);
  put_port(w, 172, acpi::pm1_control, 16, 2);
  put_port(w, 208, acpi::pm_timer, 32, 3);
  put_port(w, 220, acpi::gpe0, 8 * acpi::gpe0_bytes, 1);
  return w;
}

Writer madt(const AcpiOptions& options) {
  constexpr u16 active_high_level = 0xd, active_high_edge = 0x5;
  Writer w = table("APIC", 3, kHeaderBytes);
  w.append<u32>(acpi::local_apic);
  w.append<u32>(1);  // a pair of 8259s is there too
  for (unsigned cpu = 0; cpu < options.cpus; ++cpu) {
    w.append<u16>(0 | 8 << 8);
    w.append<u8>(static_cast<u8>(cpu));
    w.append<u8>(static_cast<u8>(cpu));
    w.append<u32>(1);  // enabled
  }
  w.append<u16>(1 | 12 << 8);
  w.append<u16>(acpi::io_apic_id);
  w.append<u32>(acpi::io_apic);
  w.append<u32>(0);  // its first interrupt
  const auto override_line = [&](u8 line, u32 global, u16 flags) {
    w.append<u16>(2 | 10 << 8);
    w.append<u8>(0);  // ISA
    w.append<u8>(line);
    w.append<u32>(global);
    w.append<u16>(flags);
  };
  override_line(0, 2, active_high_edge);
  override_line(acpi::sci_line, acpi::sci_line, active_high_level);
  w.append<u16>(4 | 6 << 8);  // NMI on LINT1 of all processors
  w.append<u8>(0xff);
  w.append<u16>(0);
  w.append<u8>(1);
  return w;
}

Writer hpet(const AcpiOptions& options) {
  Writer w = table("HPET", 1, 56);
  w.put<u32>(36, options.hpet_id);
  w.put<u8>(41, 64);  // generic address: memory, 64 bits
  w.put<u64>(44, acpi::hpet);
  w.put<u16>(53, 0x80);  // least tick of periodic mode
  return w;
}

/// INTA..INTD of slots 1 to 7 go to lines 10 and 11 in turn, which both interrupt controllers have.
aml::Bytes interrupt_routing() {
  std::vector<aml::Bytes> routes;
  for (unsigned slot = 1; slot < 8; ++slot) {
    for (unsigned pin = 0; pin < 4; ++pin) {
      routes.push_back(aml::package({aml::integer(u64{slot} << 16 | 0xffff), aml::integer(pin), aml::integer(0),
                                     aml::integer(10 + ((slot + pin) & 1))}));
    }
  }
  return aml::package(routes);
}

aml::Bytes pci_host(const AcpiOptions& options) {
  using namespace aml;
  const Bytes windows = bus_range(0, 255) + io_ports(0xcf8, 8) + io_window(0, 0xcf7) + io_window(0xd00, 0xffff) +
                        memory_window(0xa0000, 0xbffff) +
                        memory_window(options.pci_window_begin, options.pci_window_end - 1);
  return device("PCI0", name("_HID", eisa_id("PNP0A03")) + name("_ADR", integer(0)) + name("_UID", integer(0)) +
                            name("_CRS", resources(windows)) + name("_PRT", interrupt_routing()));
}

aml::Bytes legacy_device(std::string_view segment, std::string_view id, u8 unit, const aml::Bytes& descriptors) {
  using namespace aml;
  return device(segment, name("_HID", eisa_id(id)) + name("_UID", integer(unit)) + name("_CRS", resources(descriptors)));
}

Writer dsdt(const AcpiOptions& options) {
  using namespace aml;
  const Bytes s5 = package({integer(acpi::sleep_type_s5), integer(acpi::sleep_type_s5), integer(0), integer(0)});
  Bytes devices = pci_host(options) + legacy_device("COM1", "PNP0501", 1, io_ports(0x3f8, 8) + irq(4)) +
                  legacy_device("RTC0", "PNP0B00", 0, io_ports(0x70, 2) + irq(8)) +
                  legacy_device("PIT0", "PNP0100", 0, io_ports(0x40, 4) + irq(0));
  if (options.hpet) devices = std::move(devices) + legacy_device("HPET", "PNP0103", 0, memory32(acpi::hpet, 0x400));
  Writer w = table("DSDT", 2, kHeaderBytes);
  w.put_bytes(kHeaderBytes, name("\\_S5", s5) + scope("\\_SB", devices));
  return w;
}

/// Collects tables into one block and remembers what depends on its place.
class Assembly {
 public:
  /// Returns the table's offset. FACS has no checksum (5.2.10).
  u64 add(Writer w, bool checksum = true) {
    std::vector<u8> bytes = w.take();
    const u64 at = align_up(block_.size(), 64);
    if (checksum) {
      const u32 length = static_cast<u32>(bytes.size());
      __builtin_memcpy(bytes.data() + 4, &length, sizeof length);
      out_.checksums.push_back({static_cast<u32>(at + 9), static_cast<u32>(at), length, false});
    }
    block_.put_bytes(at, bytes);
    return at;
  }
  void point(u64 at, u64 target, u8 bytes) {
    if (bytes == 8) {
      block_.put<u64>(at, target);
    } else {
      block_.put<u32>(at, static_cast<u32>(target));
    }
    out_.pointers.push_back({static_cast<u32>(at), bytes, false});
  }
  void rsdp(u64 rsdt, u64 xsdt) {
    Writer w(36);
    put_text(w, 0, "RSD PTR ");
    put_text(w, 9, "NESTWK");
    w.put<u8>(15, 2);  // revision
    w.put<u32>(16, static_cast<u32>(rsdt));
    w.put<u32>(20, 36);
    w.put<u64>(24, xsdt);
    out_.rsdp = w.take();
    out_.pointers.push_back({16, 4, true});
    out_.pointers.push_back({24, 8, true});
    out_.checksums.push_back({8, 0, 20, true});
    out_.checksums.push_back({32, 0, 36, true});
  }
  AcpiTables take() {
    out_.tables = block_.take();
    return std::move(out_);
  }

 private:
  Writer block_;
  AcpiTables out_;
};

}  // namespace

AcpiTables build_acpi_tables(const AcpiOptions& options) {
  if (options.cpus < 1 || options.cpus > 255) throw std::invalid_argument("ACPI tables describe 1 to 255 processors");
  Assembly a;
  const u64 facs_at = a.add(facs(), false);
  const u64 dsdt_at = a.add(dsdt(options));
  const u64 fadt_at = a.add(fadt(options));
  a.point(fadt_at + 36, facs_at, 4);
  a.point(fadt_at + 40, dsdt_at, 4);
  a.point(fadt_at + 140, dsdt_at, 8);  // X_FIRMWARE_CTRL stays 0 where FIRMWARE_CTRL is given (table 5.9)
  std::vector<u64> listed = {fadt_at, a.add(madt(options))};
  if (options.hpet) listed.push_back(a.add(hpet(options)));

  const u64 rsdt = a.add(table("RSDT", 1, kHeaderBytes + 4 * listed.size()));
  const u64 xsdt = a.add(table("XSDT", 1, kHeaderBytes + 8 * listed.size()));
  for (u64 i = 0; i < listed.size(); ++i) {
    a.point(rsdt + kHeaderBytes + 4 * i, listed[i], 4);
    a.point(xsdt + kHeaderBytes + 8 * i, listed[i], 8);
  }
  a.rsdp(rsdt, xsdt);
  return a.take();
}

AcpiTables AcpiTables::located_at(u64 address) const {
  AcpiTables t = *this;
  for (const Pointer& p : t.pointers) {
    u8* field = (p.rsdp ? t.rsdp : t.tables).data() + p.at;
    u64 value = 0;
    __builtin_memcpy(&value, field, p.bytes);
    value += address;
    __builtin_memcpy(field, &value, p.bytes);
  }
  for (const Checksum& c : t.checksums) {
    std::vector<u8>& block = c.rsdp ? t.rsdp : t.tables;
    block[c.at] = 0;
    block[c.at] = checksum_of({block.data() + c.begin, c.bytes});
  }
  t.pointers.clear();
  t.checksums.clear();
  return t;
}

u64 place_acpi_tables(mmu::PhysicalMemory& memory, const AcpiTables& tables) {
  const u64 rsdp = boot::kFirmwareBegin, block = rsdp + 64;
  const AcpiTables t = tables.located_at(block);
  if (block + t.tables.size() > boot::kFirmwareEnd) throw std::runtime_error("the ACPI tables do not fit into 128 KiB");
  if (!memory.write(PhysAddr(block), t.tables) || !memory.write(PhysAddr(rsdp), t.rsdp)) {
    throw std::runtime_error("the ACPI tables belong at 0xe0000, where no memory is installed");
  }
  return rsdp;
}

namespace {

// Commands of the linker/loader script, 128 bytes each.
constexpr u32 kAllocate = 1, kAddPointer = 2, kAddChecksum = 3;
constexpr u64 kCommandBytes = 128, kFileNameBytes = 56;
constexpr std::string_view kTablesFile = "etc/acpi/tables", kRsdpFile = "etc/acpi/rsdp";

std::string_view file_of(bool rsdp) { return rsdp ? kRsdpFile : kTablesFile; }

Writer command(u32 number, std::string_view file) {
  Writer w(kCommandBytes);
  w.put<u32>(0, number);
  put_text(w, 4, file);
  return w;
}

Writer allocate(std::string_view file, u32 alignment, u8 zone) {
  Writer w = command(kAllocate, file);
  w.put<u32>(4 + kFileNameBytes, alignment);
  w.put<u8>(8 + kFileNameBytes, zone);
  return w;
}

}  // namespace

AcpiFiles acpi_fw_cfg_files(const AcpiTables& tables) {
  constexpr u8 high = 1, f_segment = 2;
  Writer script;
  const auto add = [&](Writer w) { script.put_bytes(script.size(), w.take()); };
  add(allocate(kTablesFile, 64, high));
  add(allocate(kRsdpFile, 16, f_segment));
  for (const AcpiTables::Pointer& p : tables.pointers) {
    Writer w = command(kAddPointer, file_of(p.rsdp));
    put_text(w, 4 + kFileNameBytes, kTablesFile);
    w.put<u32>(4 + 2 * kFileNameBytes, p.at);
    w.put<u8>(8 + 2 * kFileNameBytes, p.bytes);
    add(std::move(w));
  }
  for (const AcpiTables::Checksum& c : tables.checksums) {
    Writer w = command(kAddChecksum, file_of(c.rsdp));
    w.put<u32>(4 + kFileNameBytes, c.at);
    w.put<u32>(8 + kFileNameBytes, c.begin);
    w.put<u32>(12 + kFileNameBytes, c.bytes);
    add(std::move(w));
  }
  return {tables.tables, tables.rsdp, script.take()};
}

}  // namespace nestwalk::emu
