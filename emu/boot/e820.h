// The physical memory map of a PC with N bytes of memory, as a BIOS reports it through INT 15h, AX=E820h (ACPI
// specification 6.4, chapter 15): conventional memory, the legacy hole below 1 MiB, memory up to the PCI hole, the rest
// above 4 GiB.
#pragma once

#include <vector>

#include "base/types.h"

namespace nestwalk::emu::boot {

inline constexpr u64 kEbdaBegin = 0x9fc00;      ///< end of conventional memory
inline constexpr u64 kVgaBegin = 0xa0000;       ///< no memory behind this ...
inline constexpr u64 kVgaEnd = 0xc0000;         ///< ... up to here
inline constexpr u64 kFirmwareBegin = 0xe0000;  ///< tables of the firmware (RSDP), BIOS
inline constexpr u64 kFirmwareEnd = 0x100000;
inline constexpr u64 kPciHoleBegin = 0xc0000000;  ///< memory of a large machine goes on at 4 GiB
inline constexpr u64 kPciHoleEnd = 0xfec00000;    ///< IOAPIC, HPET, local APIC and ROM follow
inline constexpr u64 kFourGiB = 0x100000000;
inline constexpr u64 kLeastMemory = 16 << 20;

enum class E820Type : u32 { ram = 1, reserved = 2, acpi_reclaimable = 3, acpi_nvs = 4, unusable = 5 };

struct E820Entry {
  u64 base = 0;
  u64 size = 0;
  E820Type type = E820Type::reserved;
  u64 end() const { return base + size; }
};

/// A stretch of addresses behind which memory is installed.
struct MemorySpan {
  u64 begin = 0;
  u64 bytes = 0;
};

class MemoryMap {
 public:
  MemoryMap() = default;
  explicit MemoryMap(std::vector<E820Entry> entries) : entries_(std::move(entries)) {}

  const std::vector<E820Entry>& entries() const { return entries_; }
  /// Whether all of [begin, begin + bytes) lies in one stretch of RAM.
  bool is_ram(u64 begin, u64 bytes) const;
  /// Total bytes of RAM.
  u64 ram_bytes() const;
  /// The highest page-aligned address in [floor, ceiling) where `bytes` of RAM lie, all below `ceiling`; 0 where there
  /// is no such place. `bytes` > 0.
  u64 highest_place(u64 bytes, u64 floor, u64 ceiling) const;

 private:
  std::vector<E820Entry> entries_;
};

/// The map for `bytes` of memory (rounded down to pages; at least kLeastMemory, else std::invalid_argument).
MemoryMap pc_memory_map(u64 bytes);
/// Where those bytes are installed: everything but the VGA window and the PCI hole. The firmware area is memory too, as on
/// machines that shadow their BIOS.
std::vector<MemorySpan> pc_installed_memory(u64 bytes);

}  // namespace nestwalk::emu::boot
