// Leaving MMX (SDM vol. 1, 9.4.7; vol. 3, 12.2). The MMX arithmetic shares its meanings with SSE: sse_int.cpp,
// sse_shuffle.cpp.
#include "cpu/exec/vector.h"

namespace nestwalk::cpu {
namespace {

/// EMMS: every x87 register becomes empty.
void emms(Cpu& c, const Insn&) {
  check_mmx(c);
  c.s.x87.top = 0;
  c.s.x87.valid = 0;
}

}  // namespace

Handler bind_emms(const Insn&) { return then_next<emms>; }

}  // namespace nestwalk::cpu
