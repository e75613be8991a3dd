// The real-time clock and CMOS memory of a PC (Motorola MC146818A datasheet; PC/AT register use). Its calendar starts at a
// configured date and runs on guest time. Seconds, flags and update-in-progress are computed when somebody asks; events are
// scheduled only for interrupts that are enabled.
#pragma once

#include <array>
#include <functional>

#include "emu/device.h"
#include "emu/devices/alarm.h"
#include "sim/clock.h"

namespace nestwalk::emu {

/// A date and time as the registers hold it, in binary. Out-of-range values are what a guest wrote and are normalised when
/// the second next advances.
struct CalendarTime {
  unsigned second = 0, minute = 0, hour = 0, weekday = 1, day = 1, month = 1, year = 1970;  ///< Sunday = 1
  static CalendarTime from_unix(i64 seconds);
  i64 to_unix() const;
};

class Rtc : public Device {
 public:
  /// `start`: seconds since 1970-01-01 UTC that the clock shows at guest time 0 (years 1970 to 9999).
  Rtc(sim::Clock& clock, IrqLines& lines, i64 start);

  /// The memory-size registers as firmware fills them: memory below 4 GiB (all of it, from 0) and above.
  void set_memory(u64 below_4g, u64 above_4g);
  /// A CMOS byte (index 0x0e..0x7f) as firmware would leave it.
  void set_byte(u8 index, u8 value) { cmos_[index & 0x7f] = value; }
  u8 byte(u8 index) const { return cmos_[index & 0x7f]; }
  bool nmi_masked() const { return nmi_masked_; }  ///< bit 7 of port 0x70
  i64 unix_time() const;                           ///< what the calendar shows

  /// Offsets 0, 1: ports 0x70, 0x71.
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  /// Registers B and C and the index; the calendar and CMOS bytes are battery-backed.
  void reset() override;

 private:
  u64 seconds_passed() const { return halted() ? 0 : clock_.to_hz(clock_.now() - base_, 1); }
  bool halted() const { return (b_ & 0x80) != 0 || (a_ & 0x60) == 0x60 || (a_ & 0x70) == 0; }
  bool updating() const;
  CalendarTime time() const;
  void rebase();
  u8 encode(unsigned value) const;
  unsigned decode(u8 value) const;
  u8 encode_hour(unsigned hour) const;
  unsigned decode_hour(u8 value) const;
  u8 read_register(u8 index);
  void write_register(u8 index, u8 value);
  u8 read_time(u8 index) const;
  void write_time(u8 index, u8 value);
  bool alarm_matches(const CalendarTime& t) const;
  u64 periodic_hz() const;
  void collect_flags();
  void update_line();
  void schedule();

  sim::Clock& clock_;
  IrqLines& lines_;
  Alarm second_alarm_, periodic_alarm_;
  sim::Ticks base_ = 0;  ///< when the calendar showed base_time_, at the start of that second
  CalendarTime base_time_;
  u64 seconds_seen_ = 0;  ///< seconds since base_ whose update and alarm flags are in c_
  u64 periods_seen_ = 0;  ///< periods since time 0 whose flag is in c_
  u8 a_ = 0x26, b_ = 0x02, c_ = 0;
  u8 index_ = 0;
  bool nmi_masked_ = false;
  std::array<u8, 3> alarm_{};  ///< seconds, minutes, hours, raw
  std::array<u8, 128> cmos_{};
};

}  // namespace nestwalk::emu
