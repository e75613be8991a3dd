// One processor of a machine: registers, clock, its door to memory on the core it runs on. It answers what its instructions
// ask of the platform; devices and memory are the machine's, and all its processors reach them.
//
// The processors of a machine take turns on one host thread. What one does to another (interrupts, INIT, SIPI, a store to a
// line that is watched) is noted at once and happens in the other's next turn; one that sleeps is woken at the sender's
// time.
#pragma once

#include <algorithm>
#include <memory>

#include "cpu/cpu.h"
#include "emu/core.h"
#include "mmu/port.h"
#include "sim/stats.h"

namespace nestwalk::emu {

class Machine;

class Processor final : public cpu::Platform {
 public:
  /// Where a processor runs: a physical core, and its number among the processors of all machines of the host.
  struct Seat {
    Core& core;
    unsigned vcpu = 0;
  };
  /// `number` is its APIC ID; 0 boots the machine, the others wait for a SIPI. The machine has its space and its CPUID.
  Processor(Machine& machine, unsigned number, const Seat& seat);

  unsigned number() const { return number_; }
  Core& core() { return seat_.core; }
  unsigned vcpu() const { return seat_.vcpu; }
  sim::Clock& clock() { return clock_; }
  mmu::Port& port() { return *port_; }
  cpu::Cpu& cpu() { return *cpu_; }
  /// What it counts, and its core for it; with one processor, the machine's.
  sim::Stats& stats();

  /// One turn: until its clock's fence, clock().instructions == limit, or something else.
  cpu::Stop run(u64 limit);
  /// Others wait for the core: HLT gives it away (run returns Stop::asleep) instead of letting time pass.
  bool shares_core = false;
  /// Several processors of the machine share the core: PAUSE loops give it away (SDM vol. 3, 25.1.3, PAUSE-loop exiting).
  bool leaves_pause_loops = false;
  /// The host's time of a core: nobody on it comes to an earlier one.
  struct CoreTime {
    Cycles now = 0;
    Cycles held = 0;  ///< whose turn it is wanted to read the time then, and another core was behind; 0: no
  };
  CoreTime* core_time = nullptr;

  // ---- turns
  // -------------------------------------------------------------------------------------------------------------
  bool is_asleep() const { return asleep_; }
  bool is_awaited() const { return awaited_; }
  /// Guest time from which it may go on: when it sleeps, that of its next event or of what woke it (~0: neither).
  sim::Ticks ready_at() const {
    if (!asleep_) return std::max(clock_.now(), held_until_);
    return awaited_ ? std::max(clock_.now(), woken_at_) : clock_.next_event();
  }
  /// Another's turn, which ends at `now`, may have changed the line that it watches.
  void look_at_line(sim::Ticks now) {
    if (asleep_ && !awaited_ && cpu_->s.waiting && cpu_->is_awaited()) awaited_ = true, woken_at_ = now;
  }
  /// Does to the processor what may wake it.
  template <class Act>
  void reach(Act&& act) {
    act(*cpu_);
    if (asleep_ && !awaited_ && cpu_->is_awaited()) awaited_ = true, woken_at_ = time_of_sender();
  }
  /// Power-on state and waiting for a SIPI, from its next turn on.
  void restart();

  // cpu::Platform
  void intercept(mmu::Exit why) override;
  bool may_let_time_pass() override { return !shares_core; }
  u32 apic_id() const override { return number_; }
  bool has_siblings() const override { return siblings_; }
  bool may_read_time() override;
  void pause() override;
  u64 io_read(u16 port, unsigned bytes) override;
  void io_write(u16 port, u64 value, unsigned bytes) override;
  int acknowledge_interrupt() override;
  bool apic_read(u32 msr, u64& value) override;
  bool apic_write(u32 msr, u64 value) override;
  u64 task_priority() override;
  void set_task_priority(u64 value) override;
  void magic(u32 command, u64 argument) override;
  void x87_error() override;
  void tsc_changed() override;
  void poll() override;
  void note(const std::string& line) override;

 private:
  /// The machine's windows as this processor sees them: with its own local APIC.
  struct Windows final : mmu::Bus {
    explicit Windows(Processor& p) : processor(p) {}
    u64 read(PhysAddr address, unsigned bytes) override;
    void write(PhysAddr address, u64 value, unsigned bytes) override;
    Processor& processor;
  };
  sim::Ticks time_of_sender() const;

  Machine& machine_;
  unsigned number_;
  Seat seat_;
  bool siblings_;
  sim::Clock clock_;
  Windows windows_{*this};
  std::unique_ptr<mmu::Port> port_;
  std::unique_ptr<cpu::Cpu> cpu_;
  sim::Stats stats_;
  bool asleep_, awaited_ = false;
  sim::Ticks woken_at_ = 0;
  sim::Ticks held_until_ = 0;  ///< it wanted to read the time then, and another was behind it
  u64 pauses_ = 0, paused_at_ = 0;
};

}  // namespace nestwalk::emu
