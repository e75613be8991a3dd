// MONITOR and MWAIT (SDM vol. 2; vol. 3, 9.10.4 ff.; CPUID leaf 5): address monitoring and sleep until somebody stores to
// the monitored line or an interrupt comes.
//
// A store of the processor's own ends the monitoring where the port translates it; one of a device shows in the line's
// bytes, which are compared whenever time has passed. Anything delivered ends it too: a false wake-up is what every loop
// around MWAIT must expect.
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

/// Intel's processors do not have them above privilege level 0.
void require_kernel(Cpu& c) {
  if (c.s.cpl) c.ud();
}

void monitor(Cpu& c, const Insn& i) {
  require_kernel(c);
  if (static_cast<u32>(c.s.gpr[RCX])) c.gp();
  const u64 at = linear_in<mmu::Side::load>(c, i.segment, get_at_size(c, RAX, i.address), 1);
  c.load_at<u8>(at, i.segment);
  const auto line = c.port.model().probe(LinearAddr(at), c.port.explicit_access(mmu::Side::load));
  if (line && !line->device) c.port.arm_monitor(line->address);
}

void mwait(Cpu& c, const Insn&) {
  require_kernel(c);
  const u32 extensions = static_cast<u32>(c.s.gpr[RCX]);
  if (extensions & ~1u) c.gp();
  if (!c.port.monitoring()) return;
  c.s.halted = c.s.waiting = true;
  c.s.wakes_masked = extensions & 1;
  c.request_attention();
}

}  // namespace

Handler bind_monitor(const Insn&) { return ending<monitor>; }
Handler bind_mwait(const Insn&) { return ending<mwait>; }

}  // namespace nestwalk::cpu
