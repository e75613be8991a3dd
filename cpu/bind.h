// From a meaning (a plain function on Cpu and Insn) to a handler that a block can run.
#pragma once

#include "cpu/cpu.h"

namespace nestwalk::cpu {

using Meaning = void (*)(Cpu&, const Insn&);

/// Executes and goes on with the next instruction of the block. `current` tells the run loop where a fault happened.
template <Meaning meaning>
void then_next(Cpu& c, const Insn& i) {
  c.current = &i;
  meaning(c, i);
  const Insn* next = &i + 1;
  return next->fn(c, *next);
}

/// The same for meanings that cannot fault and do not look at Cpu::current.
template <Meaning meaning>
void pure(Cpu& c, const Insn& i) {
  meaning(c, i);
  const Insn* next = &i + 1;
  return next->fn(c, *next);
}

/// Ends the block. RIP already points behind the instruction; the meaning may set it to something else.
template <Meaning meaning>
void ending(Cpu& c, const Insn& i) {
  c.current = &i;
  c.s.rip = c.next_rip(i);
  meaning(c, i);
}

/// Picks the instantiation for the instruction's width (Insn::width 1, 2, 4, 8).
#define NW_BY_WIDTH(i, wrap, meaning)              \
  ((i).width == 8   ? wrap<meaning<u64>>           \
   : (i).width == 4 ? wrap<meaning<u32>>           \
   : (i).width == 2 ? wrap<meaning<u16>>           \
                    : wrap<meaning<u8>>)

/// A binder gives the handler of a decoded instruction, or nullptr for a form that does not exist (#UD).
using Binder = Handler (*)(const Insn&);

}  // namespace nestwalk::cpu
