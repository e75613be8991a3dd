// Images without a format: real-mode code at an address of the user's choice, and firmware at the top of 4 GiB (SDM vol. 3,
// 9.1.4: the first instruction is fetched from 0xfffffff0).
#pragma once

#include "emu/boot/boot.h"

namespace nestwalk::emu::boot {

/// Puts the image at physical `cs`*16 + `ip` and enters it there in real mode, SS:SP below it where there is room, DS = ES
/// = SS = 0. Throws BootError.
BootState load_flat(mmu::PhysicalMemory& memory, const BootRequest& request, u16 cs = 0, u16 ip = 0x7c00);

/// Puts the image, whole pages up to 16 MiB, as ROM below 4 GiB and its last 128 KiB at 0xe0000 too, as chipsets shadow it,
/// and enters it as after reset. The same image may be loaded again (reset). Throws BootError.
BootState load_rom(mmu::PhysicalMemory& memory, const BootRequest& request);

}  // namespace nestwalk::emu::boot
