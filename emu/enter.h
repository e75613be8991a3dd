// Puts a processor into the state in which a boot loader enters its guest.
#pragma once

#include "cpu/cpu.h"
#include "emu/boot/boot.h"

namespace nestwalk::emu {

void enter(cpu::Cpu& cpu, const boot::BootState& state);

}  // namespace nestwalk::emu
