// What device tests share: recorded interrupt lines, and a clock that is moved event by event.
#pragma once

#include <array>

#include "emu/device.h"
#include "sim/clock.h"

namespace nestwalk::emu::bench {

struct Lines final : IrqLines {
  void set(unsigned line, bool to) override {
    if (to && !level[line]) ++rises[line];
    level[line] = to;
  }
  std::array<bool, 32> level{};
  std::array<unsigned, 32> rises{};
};

/// Guest time `when`, every event on the way at its own moment.
inline void go_to(sim::Clock& clock, sim::Ticks when) {
  while (clock.deadline() <= when) {
    if (clock.deadline() > clock.cycles) clock.cycles = clock.deadline();
    clock.run_due();
  }
  clock.cycles = when;
}
inline void advance(sim::Clock& clock, sim::Ticks ticks) { go_to(clock, clock.now() + ticks); }

inline u8 in(Device& d, u64 offset) { return static_cast<u8>(d.read(offset, 1)); }
inline void out(Device& d, u64 offset, unsigned value) { d.write(offset, value, 1); }

constexpr u64 kMillisecond = 1'000'000;  ///< ticks of the standard 1 GHz clock
constexpr u64 kSecond = 1'000 * kMillisecond;

}  // namespace nestwalk::emu::bench
