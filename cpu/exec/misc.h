// Properties of whole instructions that the block builder asks for.
#pragma once

#include "cpu/insn.h"

namespace nestwalk::cpu {

/// Whether LOCK is legal: read-modify-write instructions on a memory destination (SDM vol. 2, LOCK); else #UD.
bool lock_allowed(const Insn& i);

/// Whether this form of an instruction ends its block although its mnemonic does not: segment loads, repeated string
/// instructions (they are interruptible), and `xchg %bx,%bx`. Their handlers leave the block in any case.
bool ends_block(const Insn& i);

/// MOV, PUSH and POP with a segment register. nullptr: no such form (MOV CS).
Handler bind_mov_seg(const Insn& i);
Handler bind_push_seg(const Insn& i);
Handler bind_pop_seg(const Insn& i);

}  // namespace nestwalk::cpu
