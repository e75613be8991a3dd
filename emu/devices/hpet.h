// The high-precision event timer (IA-PC HPET specification 1.0a): a 64-bit main counter, three 64-bit comparators, each
// periodic or one-shot, edge or level, and legacy replacement. FSB delivery is not offered. A period shorter than 10
// microseconds strikes at a multiple of itself (alarm.h).
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "emu/device.h"
#include "emu/devices/alarm.h"
#include "sim/clock.h"

namespace nestwalk::emu {

class Hpet : public Device {
 public:
  static constexpr u64 kDefaultBase = 0xfed00000;
  static constexpr u64 kWindowBytes = 0x400;
  static constexpr unsigned kTimers = 3;
  static constexpr u64 kHz = 100'000'000;
  static constexpr u64 kPeriodFs = 10'000'000;
  static constexpr u32 kRoutes = 0x00f00000;  ///< IOAPIC inputs 20..23

  /// `lines` takes IOAPIC inputs; under legacy replacement timer 0 is line 0 and timer 1 line 8, and `legacy` (may be
  /// empty) tells the board to take the 8254 and the RTC off them.
  Hpet(sim::Clock& clock, IrqLines& lines, std::function<void(bool)> legacy);

  /// The first dword of General Capabilities, for the ACPI table.
  static constexpr u32 kEventTimerBlock = 0x8086a201;

  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;

 private:
  struct Timer {
    u64 config = 0;  ///< bits software may write
    u64 comparator = ~u64{0};
    u64 period = 0;
    u64 settable = 0;  ///< VAL_SET: bits of the comparator the next write sets directly
    bool line = false;
    unsigned route = 0;  ///< line last driven
  };

  bool running() const { return config_ & 1; }
  u64 counter() const;
  u64 width_mask(const Timer& t) const;
  void advance(Timer& t, u64 counter);
  u64 read_register(u64 offset);
  void write_register(u64 offset, u64 value, u64 mask);
  void write_config(u64 value);
  void write_status(u64 value);
  void write_timer_config(unsigned i, u64 value);
  void write_comparator(Timer& t, u64 value, u64 mask);
  unsigned route_of(unsigned i) const;
  void drive(unsigned i, bool level);
  void schedule(unsigned i);
  void strike(unsigned i);

  sim::Clock& clock_;
  IrqLines& lines_;
  std::function<void(bool)> legacy_;
  std::array<Timer, kTimers> timer_;
  std::array<std::unique_ptr<Alarm>, kTimers> alarm_;
  u64 config_ = 0, status_ = 0;
  u64 base_count_ = 0;  ///< main counter at started_
  sim::Ticks started_ = 0;
};

}  // namespace nestwalk::emu
