// The 64 Ki I/O ports of a PC. Every port names its device in a table; what nobody answers floats high.
#pragma once

#include <array>
#include <deque>

#include "emu/devices/pieces.h"

namespace nestwalk::emu {

class PortBus {
 public:
  PortBus() { owner_.fill(0); }

  /// Ports [first, last] belong to `device`, which sees offsets from `first` and accesses of at most `widest` bytes; wider
  /// ones arrive in pieces, lowest port first. A later mapping wins over an earlier one. Throws sim::ConfigError when the
  /// range is backwards or when there are more than 254 ranges.
  void map(u16 first, u16 last, Device& device, unsigned widest = 1);

  u64 read(u16 port, unsigned bytes);
  void write(u16 port, u64 value, unsigned bytes);
  /// Who answers at `port`, or nullptr.
  Device* device_at(u16 port) const;

 private:
  const Span* find(u64 port) const { return port > 0xffff || owner_[port] == 0 ? nullptr : &spans_[owner_[port] - 1u]; }

  std::array<u8, 0x10000> owner_;  ///< 0: nobody; else index + 1 into spans_
  std::deque<Span> spans_;
};

}  // namespace nestwalk::emu
