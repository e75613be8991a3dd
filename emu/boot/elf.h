// ELF executables (System V ABI, chapters 4 and 5), both classes, and the PVH entry of Xen's x86 boot ABI
// (docs/misc/pvh.pandoc, xen/include/public/arch-x86/hvm/start_info.h).
#pragma once

#include "emu/boot/boot.h"

namespace nestwalk::emu::boot {

struct ElfSegment {
  u64 file_offset = 0, file_bytes = 0;
  u64 physical = 0, linear = 0;
  u64 memory_bytes = 0;
};

struct ElfImage {
  bool is64 = false;
  u64 entry = 0;
  std::vector<ElfSegment> segments;  ///< PT_LOAD with memory behind them, in file order
  std::optional<u64> pvh_entry;      ///< XEN_ELFNOTE_PHYS32_ENTRY
  u64 end() const;                   ///< first physical address behind all segments
};

bool looks_like_elf(std::span<const u8> bytes);
/// Checks everything it returns against the file's size. Throws BootError (another machine's file, cut off, corrupt).
ElfImage parse_elf(const Image& image);
/// Adds the segments to `placement`.
void place_elf(const Image& image, const ElfImage& elf, Placement& placement);

/// Enters the kernel's PVH entry point in flat 32-bit protected mode with EBX = hvm_start_info. Throws BootError.
BootState load_pvh(mmu::PhysicalMemory& memory, const BootRequest& request);

}  // namespace nestwalk::emu::boot
