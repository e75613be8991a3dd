// The ACPI tables of our PC (ACPI specification 6.4, chapters 5 and 6; IA-PC HPET specification 1.0a, 3.2.4): RSDP, XSDT,
// RSDT, FADT, FACS, MADT, HPET and a DSDT in AML. They are built without a place; `place` puts them where a BIOS would, and
// fw_cfg hands them to firmware that chooses the place itself.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"
#include "mmu/physical_memory.h"

namespace nestwalk::emu {

/// Where the tables say that the devices are. Devices and tables read the same constants, so that they cannot disagree.
namespace acpi {
inline constexpr u16 pm1_event = 0x600;    ///< 4 bytes: status, enable
inline constexpr u16 pm1_control = 0x604;  ///< 2 bytes
inline constexpr u16 pm_timer = 0x608;     ///< 4 bytes, 24 of 32 bits promised, 3.579545 MHz
inline constexpr u16 gpe0 = 0x620;         ///< 4 bytes: 16 status bits, 16 enable bits
inline constexpr u8 gpe0_bytes = 4;
inline constexpr u16 smi_command = 0xb2;
inline constexpr u8 smi_enable = 0xf1;   ///< written to smi_command: SCI_EN becomes 1
inline constexpr u8 smi_disable = 0xf0;  ///< SCI_EN becomes 0
inline constexpr u16 reset_port = 0xcf9;
inline constexpr u8 reset_value = 6;
inline constexpr u8 sci_line = 9;       ///< level, active high
inline constexpr u8 sleep_type_s5 = 0;  ///< SLP_TYP of "off": as QEMU's PIIX4, so that 0x2000 to port 0x604 powers off
inline constexpr u32 local_apic = 0xfee00000;
inline constexpr u32 io_apic = 0xfec00000;
inline constexpr u8 io_apic_id = 0;  ///< APIC ids of processors start at 0 as well: they are on another bus since the P4
inline constexpr u32 hpet = 0xfed00000;
}  // namespace acpi

struct AcpiOptions {
  unsigned cpus = 1;  ///< 1..255; processor n has APIC id n
  bool hpet = true;
  u32 hpet_id = 0x8086a201;         ///< low half of the HPET's capability register: 3 comparators of 64 bits, revision 1
  bool keyboard_controller = true;  ///< an 8042 answers at 0x60 and 0x64
  u32 pci_window_begin = 0xc0000000;
  u32 pci_window_end = 0xfec00000;
};

/// Tables in one block, the RSDP apart. Until they have a place, pointers hold offsets into `tables` and the checksums that
/// cover pointers are open; `pointers` and `checksums` say where.
struct AcpiTables {
  struct Pointer {
    u32 at = 0;         ///< offset of the field
    u8 bytes = 4;       ///< its width
    bool rsdp = false;  ///< the field lies in `rsdp`, not in `tables`
  };
  struct Checksum {
    u32 at = 0;  ///< offset of the byte that makes the sum zero
    u32 begin = 0, bytes = 0;
    bool rsdp = false;
  };
  std::vector<u8> tables;  ///< FACS first: to be aligned to 64 bytes
  std::vector<u8> rsdp;    ///< 36 bytes, revision 2
  std::vector<Pointer> pointers;
  std::vector<Checksum> checksums;

  /// The same tables with every pointer and checksum final, for `tables` lying at `address`.
  AcpiTables located_at(u64 address) const;
};

/// Throws std::invalid_argument when `cpus` is out of range.
AcpiTables build_acpi_tables(const AcpiOptions& options);

/// Puts the RSDP at the beginning of the firmware area (0xe0000) and the tables behind it; returns the RSDP's address.
/// Throws std::runtime_error where that area is not memory.
u64 place_acpi_tables(mmu::PhysicalMemory& memory, const AcpiTables& tables);

/// The files by which QEMU's fw_cfg passes tables to firmware (QEMU docs/specs/fw_cfg.rst, "BIOS linker/loader"): tables
/// and RSDP without a place, and the script that gives them one.
struct AcpiFiles {
  std::vector<u8> tables;  ///< etc/acpi/tables
  std::vector<u8> rsdp;    ///< etc/acpi/rsdp
  std::vector<u8> loader;  ///< etc/table-loader
};
AcpiFiles acpi_fw_cfg_files(const AcpiTables& tables);

}  // namespace nestwalk::emu
