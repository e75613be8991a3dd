// What an instruction throws when it cannot complete: an exception of the architecture (SDM vol. 3, table 6-1).
#pragma once

#include "base/types.h"

namespace nestwalk::cpu {

namespace ex {
inline constexpr u8 de = 0, db = 1, nmi = 2, bp = 3, of = 4, br = 5, ud = 6, nm = 7, df = 8, ts = 10, np = 11, ss = 12,
                    gp = 13, pf = 14, mf = 16, ac = 17, mc = 18, xm = 19;
/// No exception: the processor stops in front of the instruction until an interrupt comes (FERR#, SDM vol. 1, 8.7.2).
inline constexpr u8 frozen = 255;
}  // namespace ex

/// Thrown inside handlers only and caught once, in the run loop. A fault leaves no trace of its instruction, except what
/// the architecture says (a string instruction's finished iterations).
struct Trap {
  u8 vector = 0;
  bool has_error = false;
  u32 error = 0;
  u64 address = 0;     ///< CR2 for #PF
  bool after = false;  ///< trap: the instruction has completed and RIP points behind it (#DB single-step)
  u64 dr6 = 0;         ///< bits to set in DR6 for #DB
};

}  // namespace nestwalk::cpu
