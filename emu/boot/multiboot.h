// Multiboot 1 (Multiboot Specification version 0.6.96): ELF of either class or the address fields of the header ("a.out
// kludge"), entered in flat 32-bit protected mode.
#pragma once

#include "emu/boot/boot.h"

namespace nestwalk::emu::boot {

/// Offset of the multiboot header, searched in the first 8192 bytes. One without address fields counts in an ELF file only:
/// nothing else says where the kernel belongs (xen.efi carries such a header).
std::optional<u64> find_multiboot(std::span<const u8> bytes);
/// Loads kernel, modules and command line. Throws BootError.
BootState load_multiboot(mmu::PhysicalMemory& memory, const BootRequest& request);

}  // namespace nestwalk::emu::boot
