// Linux bzImage by the 64-bit boot protocol (Linux Documentation/x86/boot.rst, "64-bit Boot Protocol", and
// zero-page.rst). The setup code is not run; the kernel decompresses and randomises itself.
#pragma once

#include "emu/boot/boot.h"

namespace nestwalk::emu::boot {

/// Whether the bytes carry the setup header's magic ("HdrS" at 0x202), whole or not.
bool looks_like_bzimage(std::span<const u8> bytes);
/// Loads kernel, initrd (at most one module) and command line. Throws BootError.
BootState load_linux(mmu::PhysicalMemory& memory, const BootRequest& request);

}  // namespace nestwalk::emu::boot
