// The instruction table as data: name, binder and traits of every Op.
#pragma once

#include "cpu/insn.h"

namespace nestwalk::cpu {

/// The handler of a decoded instruction, or nullptr for a form that does not exist.
Handler bind(const Insn& insn);

}  // namespace nestwalk::cpu
