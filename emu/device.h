// Devices and the wires between them. A device sees offsets inside its own window, never where the window lies.
#pragma once

#include "base/types.h"

namespace nestwalk::emu {

class Device {
 public:
  virtual ~Device() = default;
  /// `bytes` is 1, 2, 4 or 8; what a register does not implement reads as zero (or floats high, where the part does).
  virtual u64 read(u64 offset, unsigned bytes) = 0;
  virtual void write(u64 offset, u64 value, unsigned bytes) = 0;
  /// Power-on state.
  virtual void reset() {}
};

/// Sixteen ISA interrupt lines and the IOAPIC's further ones: a device raises and lowers its own.
class IrqLines {
 public:
  virtual ~IrqLines() = default;
  virtual void set(unsigned line, bool level) = 0;
};

}  // namespace nestwalk::emu
