// What a processor asks of the machine around it. Implemented by the emulated machine and, in tests, by a bench.
#pragma once

#include <string>

#include "base/types.h"
#include "mmu/guest.h"

namespace nestwalk::cpu {

/// Why the core stopped running.
enum class Stop : u8 {
  none,
  power_off,
  reset,
  triple_fault,
  debug_exit,
  limit,
  halted_forever,
  user_quit,
  asleep,     ///< halted, and Platform::may_let_time_pass said no: run again when the clock's next event is due
  preempted,  ///< the platform wants the core for somebody else
  turn_over,  ///< another processor of the machine has its turn
  crashed,    ///< the host could not go on with it
};

class Platform {
 public:
  virtual ~Platform() = default;
  virtual u64 io_read(u16 port, unsigned bytes) = 0;
  virtual void io_write(u16 port, u64 value, unsigned bytes) = 0;
  /// The vector to deliver now (the interrupt was pending and is thereby acknowledged), or -1 when it went away.
  virtual int acknowledge_interrupt() = 0;
  /// APIC base and x2APIC MSRs; false: not an APIC register (#GP).
  virtual bool apic_read(u32 msr, u64& value) = 0;
  virtual bool apic_write(u32 msr, u64 value) = 0;
  /// CR8 is the APIC's task priority bits 7:4.
  virtual u64 task_priority() = 0;
  virtual void set_task_priority(u64 value) = 0;
  /// `xchg %bx,%bx`: a command from the guest in EAX, argument in ECX (harmless on hardware; docs/manual.md).
  virtual void magic(u32 command, u64 argument) = 0;
  /// FERR#: under CR0.NE = 0 an unmasked x87 exception is reported as an interrupt request (SDM vol. 1, 8.7.2).
  virtual void x87_error() {}
  /// The guest wrote its TSC: an armed TSC deadline moves.
  virtual void tsc_changed() {}
  /// An instruction that hypervisors intercept is about to execute.
  virtual void intercept(mmu::Exit) {}
  /// Whether a halted processor may skip to the next event by itself.
  virtual bool may_let_time_pass() { return true; }
  /// The local APIC's ID as CPUID tells it: the number of the processor.
  virtual u32 apic_id() const { return 0; }
  /// Whether the machine has other processors: one that halts then always gives its turn away, for they may wake it.
  virtual bool has_siblings() const { return false; }
  /// Whether no other processor of the machine can still come to an earlier time: only then the TSC is read, so that what
  /// one processor reads is never less than what another has read before.
  virtual bool may_read_time() { return true; }
  /// PAUSE: a loop waits for somebody.
  virtual void pause() {}
  /// Called at a block end after Cpu::request_poll, and while halted.
  virtual void poll() {}
  /// Something the user should know once ("instruction not implemented ...").
  virtual void note(const std::string& line) = 0;
};

}  // namespace nestwalk::cpu
