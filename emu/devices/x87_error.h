// The PC/AT's way of reporting x87 errors, for systems that leave CR0.NE clear: FERR# latches IRQ13; a write to port F0H
// takes the request back and asserts IGNNE#, so that the handler's own x87 instructions do not stop (SDM vol. 1, 8.7.2 and
// appendix D.2.1).
#pragma once

#include <functional>
#include <utility>

#include "emu/device.h"

namespace nestwalk::emu {

class X87Error final : public Device {
 public:
  static constexpr u16 kPort = 0xf0;
  static constexpr unsigned kLine = 13;

  X87Error(IrqLines& lines, std::function<void()> ignore) : lines_(lines), ignore_(std::move(ignore)) {}

  /// FERR# has been asserted.
  void raise() { lines_.set(kLine, true); }
  u64 read(u64, unsigned) override { return 0xff; }
  void write(u64 offset, u64, unsigned) override {
    if (offset > 1) return;
    lines_.set(kLine, false);
    ignore_();
  }
  void reset() override { lines_.set(kLine, false); }

 private:
  IrqLines& lines_;
  std::function<void()> ignore_;
};

}  // namespace nestwalk::emu
