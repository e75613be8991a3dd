// State components of the XSAVE feature set (SDM vol. 1, 13.1, 13.6).
#pragma once

#include "cpu/cpu.h"

namespace nestwalk::cpu {

/// XINUSE: a bit for each component that is not in its initial configuration. MXCSR does not count.
u64 components_in_use(const Cpu& c);

}  // namespace nestwalk::cpu
