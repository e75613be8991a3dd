#include "emu/processor.h"

#include "emu/board.h"
#include "emu/devices/pieces.h"
#include "emu/machine.h"

namespace nestwalk::emu {

using cpu::Stop;

Processor::Processor(Machine& machine, unsigned number, const Seat& seat)
    : machine_(machine),
      number_(number),
      seat_(seat),
      siblings_(machine.count_ > 1),
      clock_(machine.params_.guest_clock, machine.params_.hz),
      asleep_(number > 0) {
  if (machine.space_) {
    Bill unpaid;
    seat_.core.model->enter(*machine.space_, seat_.vcpu, unpaid);
  }
  port_ = std::make_unique<mmu::Port>(*seat_.core.model, seat_.core.caches, machine.installed_, seat_.core.filter,
                                      seat_.core.counts, clock_);
  port_->mmio_cycles = machine.mmio_cycles_;
  port_->set_bus(&windows_);
  cpu_ = std::make_unique<cpu::Cpu>(*port_, clock_, *this, *machine.cpuid_, *machine.timing_,
                                    machine.params_.seed + 3 + (u64{number} << 32));
  if (number) cpu_->s.halted = cpu_->s.waits_for_startup = true;
}

sim::Stats& Processor::stats() { return siblings_ ? stats_ : machine_.stats_; }

Stop Processor::run(u64 limit) {
  struct Running {
    Running(Processor*& which, Processor* p) : which_(which) { which_ = p; }
    ~Running() { which_ = nullptr; }
    Processor*& which_;
  } running(machine_.running_, this);
  asleep_ = awaited_ = false;
  held_until_ = 0;
  if (core_time) core_time->held = 0;
  const Stop why = cpu_->run(limit);
  asleep_ = why == Stop::asleep;
  if (asleep_ && siblings_ && cpu_->is_awaited()) awaited_ = true, woken_at_ = clock_.now();
  return why;
}

void Processor::restart() {
  cpu_->raise_reset();
  asleep_ = awaited_ = true;
  woken_at_ = time_of_sender();
}

sim::Ticks Processor::time_of_sender() const { return machine_.running_ ? machine_.running_->clock_.now() : clock_.now(); }

bool Processor::may_read_time() {
  if (!siblings_) return true;
  const sim::Ticks now = clock_.now();
  const bool by_cycles = clock_.guest() == sim::Clock::Guest::cycles;
  for (const auto& other : machine_.processors_) {
    if (other.get() == this || (by_cycles && &other->seat_.core == &seat_.core)) continue;
    sim::Ticks earliest = other->ready_at();
    if (by_cycles && other->core_time) earliest = std::max({earliest, other->core_time->now, other->core_time->held});
    if (earliest < now) {
      held_until_ = now;
      if (core_time) core_time->held = now;
      return false;
    }
  }
  return true;
}

/// The window and gap of KVM (ple_window, ple_gap): so long a loop in which no two PAUSEs are far apart.
void Processor::pause() {
  constexpr Cycles kGap = 128, kWindow = 4096;
  if (!leaves_pause_loops) return;
  if (clock_.cycles - paused_at_ > kGap) pauses_ = clock_.cycles;
  paused_at_ = clock_.cycles;
  if (clock_.cycles - pauses_ < kWindow) return;
  pauses_ = clock_.cycles;
  cpu_->stop(Stop::preempted);
}

/// What a hypervisor intercepts costs an exit; a bare machine knows none.
void Processor::intercept(mmu::Exit why) {
  if (!machine_.space_) return;
  Bill& bill = port_->fresh_bill();
  machine_.space_->exit(why, bill);
  seat_.core.model->left(*machine_.space_, bill);
  port_->pay(bill);
}

// ---- devices -----------------------------------------------------------------------------------------------------------

u64 Processor::io_read(u16 port, unsigned bytes) {
  intercept(mmu::Exit::io);
  machine_.bring_devices_to(*this);
  return machine_.board_->ports().read(port, bytes);
}
void Processor::io_write(u16 port, u64 value, unsigned bytes) {
  intercept(mmu::Exit::io);
  machine_.bring_devices_to(*this);
  machine_.board_->ports().write(port, value, bytes);
}

u64 Processor::Windows::read(PhysAddr address, unsigned bytes) {
  Machine& m = processor.machine_;
  Lapic& lapic = m.board_->lapic(processor.number_);
  const u64 base = lapic.window_base();
  if (base && address.value - base < Lapic::kWindowBytes) {
    const Span own{base, base + Lapic::kWindowBytes - 1, &lapic, 4};
    return read_in_pieces([&](u64 a) { return a <= own.last ? &own : nullptr; }, address.value, bytes);
  }
  m.bring_devices_to(processor);
  return m.board_->mmio().read(address, bytes);
}
void Processor::Windows::write(PhysAddr address, u64 value, unsigned bytes) {
  Machine& m = processor.machine_;
  Lapic& lapic = m.board_->lapic(processor.number_);
  const u64 base = lapic.window_base();
  if (base && address.value - base < Lapic::kWindowBytes) {
    const Span own{base, base + Lapic::kWindowBytes - 1, &lapic, 4};
    return write_in_pieces([&](u64 a) { return a <= own.last ? &own : nullptr; }, address.value, value, bytes);
  }
  m.bring_devices_to(processor);
  m.board_->mmio().write(address, value, bytes);
}

int Processor::acknowledge_interrupt() {
  intercept(mmu::Exit::interrupt);
  return machine_.board_->lapic(number_).acknowledge();
}
bool Processor::apic_read(u32 msr, u64& value) { return machine_.board_->lapic(number_).read_msr(msr, value); }
bool Processor::apic_write(u32 msr, u64 value) { return machine_.board_->lapic(number_).write_msr(msr, value); }
u64 Processor::task_priority() { return machine_.board_->lapic(number_).task_priority(); }
void Processor::set_task_priority(u64 value) {
  machine_.board_->lapic(number_).set_task_priority(static_cast<u8>(value & 15));
}
void Processor::x87_error() { machine_.board_->x87_error().raise(); }
void Processor::tsc_changed() {
  if (machine_.board_) machine_.board_->lapic(number_).tsc_changed();
}

// ---- the host ----------------------------------------------------------------------------------------------------------

void Processor::magic(u32 command, u64 argument) {
  if (machine_.on_magic) machine_.on_magic(command, argument);
}
void Processor::poll() {
  if (machine_.on_poll) machine_.on_poll();
}
void Processor::note(const std::string& line) {
  if (machine_.on_note) machine_.on_note(line);
}

}  // namespace nestwalk::emu
