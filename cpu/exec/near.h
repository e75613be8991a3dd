// Where near branches go (SDM vol. 2, JMP).
#pragma once

#include "cpu/cpu.h"

namespace nestwalk::cpu {

/// In 64-bit mode too a target of 16 bits is no wider (AMD's parts with 66; cpu/undefined.h: branch-66).
NW_INLINE void jump(Cpu& c, u64 target, unsigned width) {
  c.jump_near(width == 2 ? static_cast<u16>(target) : target, width);
}

}  // namespace nestwalk::cpu
