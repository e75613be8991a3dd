// Ports that exist for programs under test: a debug console (0xe9 as in Bochs, 0x402 for SeaBIOS and OVMF), the debug-exit
// port 0xf4, and the POST code port 0x80.
#pragma once

#include <functional>
#include <utility>

#include "emu/device.h"

namespace nestwalk::emu {

/// Each byte written is output; a read says that somebody listens.
class DebugConsole final : public Device {
 public:
  static constexpr u8 kPresent = 0xe9;
  explicit DebugConsole(std::function<void(u8)> output) : output_(std::move(output)) {}
  u64 read(u64, unsigned) override { return kPresent; }
  void write(u64, u64 value, unsigned bytes) override {
    for (unsigned i = 0; i < bytes && output_; ++i) output_(static_cast<u8>(value >> (8 * i)));
  }

 private:
  std::function<void(u8)> output_;
};

/// The value written ends the machine.
class DebugExit final : public Device {
 public:
  explicit DebugExit(std::function<void(u32)> exit) : exit_(std::move(exit)) {}
  u64 read(u64, unsigned) override { return 0; }
  void write(u64 offset, u64 value, unsigned) override {
    if (offset == 0 && exit_) exit_(static_cast<u32>(value));
  }

 private:
  std::function<void(u32)> exit_;
};

/// Progress codes of firmware, and the port that old kernels write to wait a microsecond.
class PostCode final : public Device {
 public:
  u64 read(u64, unsigned) override { return last_; }
  void write(u64, u64 value, unsigned) override { last_ = static_cast<u8>(value); }
  void reset() override { last_ = 0; }

 private:
  u8 last_ = 0;
};

}  // namespace nestwalk::emu
