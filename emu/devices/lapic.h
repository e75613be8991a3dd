// The local APIC of one processor (SDM vol. 3, chapter 11): xAPIC registers in a 4 KiB window, x2APIC registers as MSRs,
// the timer in its three modes, the local vector table, interprocessor interrupts, and IA32_APIC_BASE.
#pragma once

#include <array>
#include <functional>

#include "emu/device.h"
#include "emu/devices/alarm.h"
#include "emu/devices/apic_bus.h"
#include "sim/clock.h"

namespace nestwalk::emu {

class Lapic : public Device {
 public:
  static constexpr u64 kWindowBytes = 0x1000;
  static constexpr u64 kDefaultBase = 0xfee00000;

  struct Options {
    u32 id = 0;
    u64 bus_hz = 100'000'000;  ///< what the timer's divider is fed with
    bool bootstrap = true;     ///< the BSP flag of IA32_APIC_BASE
    bool x2apic = true;        ///< CPUID.01H:ECX.x2APIC
    u8 physical_width = 39;    ///< MAXPHYADDR: how much of IA32_APIC_BASE exists
  };

  /// What the APIC tells the core and the machine. Every member may stay empty.
  struct Wires {
    std::function<void(bool)> set_interrupt{};  ///< pending() changed
    std::function<void()> nmi{};
    std::function<void()> init{};                       ///< INIT message; the APIC's own state has been reset
    std::function<void(u8 vector)> startup{};           ///< SIPI: start at vector << 12
    std::function<int()> acknowledge_pic{};             ///< INTA to the 8259 pair: its vector
    std::function<sim::Ticks(u64 tsc)> tsc_to_clock{};  ///< when the TSC reaches a value (a past time when it has)
    std::function<void()> base_changed{};               ///< look at window_base() again
  };

  Lapic(sim::Clock& clock, Options options, Wires wires);

  // Towards the core.
  /// An interrupt is deliverable under the current task priority. Says nothing about EFLAGS.IF.
  bool pending() const { return pending_; }
  /// Vector of the interrupt to deliver, now in service; -1 when none is deliverable any more.
  int acknowledge();
  /// CR8: task priority class, 0..15. Writing it clears the sub-class, as MOV to CR8 does.
  u8 task_priority() const { return tpr_ >> 4; }
  void set_task_priority(u8 priority_class);
  /// IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800..0x8ff. False: #GP.
  bool read_msr(u32 msr, u64& value);
  bool write_msr(u32 msr, u64 value);
  /// INIT: everything but the ID and IA32_APIC_BASE.
  void init();
  /// The guest wrote the TSC: an armed deadline moves.
  void tsc_changed();

  // Towards the machine.
  /// Address of the window, or 0 while MMIO does not answer (disabled, or in x2APIC mode).
  u64 window_base() const { return mode() == Mode::xapic ? base_ & ~u64{0xfff} : 0; }
  bool enabled() const { return base_ & kBaseEnable; }
  bool in_x2apic() const { return mode() == Mode::x2apic; }
  u32 id() const { return id_; }
  /// The 8259's INTR on LINT0 (pin 0), the NMI line on LINT1 (pin 1).
  void set_lint(unsigned pin, bool level);
  /// Leaves the APIC as firmware would for an operating system: enabled, LINT0 = ExtINT, LINT1 = NMI.
  void virtual_wire();
  void set_bus(std::function<void(const ApicMessage&)> send, std::function<void(u8)> end_of_interrupt) {
    send_ = std::move(send);
    broadcast_eoi_ = std::move(end_of_interrupt);
  }
  bool addressed_by(const ApicMessage& message) const;
  void accept(const ApicMessage& message);
  u8 processor_priority() const;

  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;

 private:
  static constexpr u64 kBaseBootstrap = 1 << 8, kBaseX2apic = 1 << 10, kBaseEnable = 1 << 11;
  enum class Mode : u8 { disabled, xapic, x2apic };
  enum Lvt : unsigned { timer, thermal, performance, lint0, lint1, error, kLvts };
  enum class TimerMode : u8 { one_shot, periodic, deadline, reserved };
  using Vectors = std::array<u32, 8>;

  Mode mode() const;
  void power_on();
  bool software_enabled() const { return spurious_ & 0x100; }
  bool write_base(u64 value);

  // Registers by their x2APIC number (MMIO offset / 16).
  u32 read_register(unsigned number);
  void write_register(unsigned number, u32 value);
  bool readable_x2apic(unsigned number) const;
  static u64 writable_x2apic(unsigned number);
  u32 logical_id() const;
  void write_lvt(Lvt which, u32 value);
  void write_spurious(u32 value);
  void write_icr(u64 value);
  void end_of_interrupt();

  // Interrupts (lapic_interrupts.cpp).
  void accept_fixed(u8 vector, bool level);
  void local_interrupt(Lvt which);
  void raise_error(u32 esr_bit);
  bool extint_pending() const;
  bool lint_is_level(Lvt which) const;
  void service_lint(unsigned pin);
  void update();

  // Timer (lapic_timer.cpp).
  TimerMode timer_mode() const { return static_cast<TimerMode>((lvt_[timer] >> 17) & 3); }
  u64 divisor() const;
  u64 timer_counts() const;
  u32 current_count() const;
  void start_timer(u32 first);
  void rebase_timer();
  void schedule_timer();
  void timer_strikes();
  void write_deadline(u64 tsc);

  sim::Clock& clock_;
  Options options_;
  Wires wires_;
  std::function<void(const ApicMessage&)> send_;
  std::function<void(u8)> broadcast_eoi_;
  Alarm alarm_;

  u64 base_ = 0;
  u32 id_ = 0;
  u32 ldr_ = 0, dfr_ = 0;
  u32 spurious_ = 0;
  u32 esr_ = 0, esr_collected_ = 0;  ///< what a read shows; what the next write to ESR will move there
  u64 icr_ = 0;
  u8 tpr_ = 0;
  std::array<u32, kLvts> lvt_{};
  Vectors irr_{}, isr_{}, tmr_{};
  bool lint_level_[2] = {};
  bool extint_message_ = false;  ///< an ExtINT message waits for its acknowledge
  bool pending_ = false;

  u32 initial_ = 0;         ///< initial-count register
  u32 divide_ = 0;          ///< divide configuration register
  sim::Ticks started_ = 0;  ///< when the running count began
  u32 first_ = 0;           ///< its value then; a periodic count goes on with initial_; 0: not counting
  u64 deadline_ = 0;        ///< IA32_TSC_DEADLINE; 0: disarmed
};

}  // namespace nestwalk::emu
