// Compare-and-branch pairs as one step, as processors fuse them (Intel Optimization Reference Manual, "Macro-fusion").
#pragma once

#include "cpu/insn.h"

namespace nestwalk::cpu {

/// A handler that does both, standing on the first of the two, or nullptr. Flags, counts and faults are those of the two
/// instructions one after the other.
Handler fuse(const Insn& first, const Insn& second);

}  // namespace nestwalk::cpu
