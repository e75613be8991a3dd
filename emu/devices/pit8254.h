// The 8254 programmable interval timer (Intel 8254 datasheet): three counters, six modes, latches, read-back, BCD; and
// port 0x61 (counter 2's gate and output, the speaker, the refresh toggle). Counts are computed from the clock when
// somebody asks; only counter 0's output edges, which are IRQ0, are events. A periodic counter 0 faster than 100 kHz
// strikes at a multiple of its period (alarm.h). Counter 1, the refresh of early PCs, exists and drives nothing.
#pragma once

#include <array>

#include "emu/device.h"
#include "emu/devices/alarm.h"
#include "emu/devices/window.h"
#include "sim/clock.h"

namespace nestwalk::emu {

/// One counter. Times are CLK pulses since the machine began.
class PitCounter {
 public:
  void control(u8 word, u64 now);  ///< a control word for this counter (not latch, not read-back)
  void write(u8 value, u64 now);   ///< a byte of the initial count
  u8 read(u64 now);                ///< a byte of status, latched or current count
  void latch_count(u64 now);
  void latch_status(u64 now);
  void set_gate(bool level, u64 now);
  bool gate() const { return gate_; }
  bool out(u64 now);
  /// When OUT next rises or falls after `now`, or ~0. A period shorter than `shortest` CLK is stretched to its multiple.
  u64 next_edge(u64 now, u64 shortest);
  /// Edges are announced once a period, where OUT rises after a low too short to matter: mode 2, and fast square waves.
  bool pulses(u64 shortest) const { return mode_ == 2 || (mode_ == 3 && period_ < 2 * shortest); }

 private:
  u64 count(u64 now) const;
  u64 elapsed(u64 now) const {
    return now - start_ < ~u64{0} / 2 ? now - start_ : 0;
  }  ///< since start_, which may lie ahead
  bool reached(u64 now) const { return expired_ || (counting_ && !held_ && elapsed(now) >= first_); }
  void hold(u64 now);
  void trigger(u64 now);
  u64 modulus() const { return bcd_ ? 10'000 : 65'536; }
  void settle(u64 now);
  void load(u64 counts, u64 now);

  u8 mode_ = 0;
  u8 access_ = 3;  ///< 1: low byte, 2: high byte, 3: low then high
  bool bcd_ = false, gate_ = true;
  bool counting_ = false;  ///< a count has been loaded (modes 1, 5: and triggered)
  bool held_ = false;      ///< gate low in modes 0, 4, or the first of two count bytes written in mode 0
  bool null_ = true;       ///< a written count has not reached the counter
  u64 period_ = 0;         ///< the initial count, 1..modulus (0 as written means modulus)
  u64 start_ = 0;          ///< when the counter held first_
  u64 first_ = 0;          ///< count at start_ (modes 0, 1, 4, 5)
  bool expired_ = false;   ///< before start_ the terminal count had been reached (a held counter)
  u64 next_period_ = 0;    ///< modes 2, 3: takes over at switch_; 0: none
  u64 switch_ = 0;
  u8 write_low_ = 0;
  bool write_high_ = false, read_high_ = false;
  bool count_latched_ = false, status_latched_ = false;
  u16 latch_ = 0;
  u8 status_ = 0;
};

class Pit8254 : public Device {
 public:
  static constexpr u64 kHz = 1'193'182;

  Pit8254(sim::Clock& clock, IrqLines& lines);

  /// Offsets 0..3: ports 0x40..0x43.
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;
  /// Port 0x61.
  Device& port61() { return port61_window_; }
  bool speaker() const { return port61_ & 2; }

 private:
  u64 now() const { return clock_.to_hz(clock_.now(), kHz); }
  u64 read61(u64, unsigned);
  void write61(u64, u64 value, unsigned);
  void read_back(u8 command);
  void drive();
  void strike();

  sim::Clock& clock_;
  IrqLines& lines_;
  Alarm alarm_;
  std::array<PitCounter, 3> counter_;
  u8 port61_ = 0;
  u64 edge_ = 0;  ///< CLK of the awaited edge
  Window<Pit8254> port61_window_{*this, &Pit8254::read61, &Pit8254::write61};
};

}  // namespace nestwalk::emu
