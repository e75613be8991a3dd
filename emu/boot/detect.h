// Which loader an image is for, judged by its bytes.
#pragma once

#include "emu/boot/boot.h"

namespace nestwalk::emu::boot {

enum class ImageKind : u8 { bzimage, multiboot, elf };
const char* name_of(ImageKind kind);

/// Throws BootError for what no loader takes, saying what it seems to be (another architecture, compressed, empty).
ImageKind identify(const Image& image);

/// Loads the kernel with the loader that its bytes ask for. Throws BootError; then nothing has been written.
BootState load_kernel(mmu::PhysicalMemory& memory, const BootRequest& request);

}  // namespace nestwalk::emu::boot
