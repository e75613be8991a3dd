// PCI configuration space through mechanism #1 (PCI local bus specification 3.0, 3.2.2.3.2), functions with base address
// registers, and the two that a PC has at least: a 440FX host bridge (Intel 82441FX datasheet) and a PIIX3 ISA bridge
// (Intel 82371SB datasheet). There is one bus, number 0; functions that are absent read all ones.
#pragma once

#include <array>
#include <functional>

#include "emu/device.h"

namespace nestwalk::emu {

/// 256 bytes of configuration space with a mask of what software may write.
class PciFunction {
 public:
  struct Identity {
    u16 vendor = 0, device = 0;
    u32 class_code = 0;  ///< base class, sub-class, programming interface
    u8 revision = 0;
    u16 subsystem_vendor = 0, subsystem = 0;
  };
  struct Bar {
    u64 base = 0;
    u32 size = 0;  ///< 0: no such register
    bool io = false;
    bool decoded = false;  ///< the command register lets it answer
  };

  explicit PciFunction(const Identity& identity);
  virtual ~PciFunction() = default;

  u8 read(u8 offset) const { return config_[offset]; }
  /// `bytes` consecutive bytes from `offset`, which together lie in one dword.
  void write(u8 offset, u32 value, unsigned bytes);
  virtual void reset();
  Bar bar(unsigned index) const;

 protected:
  /// Base address register 0..5 of `size` bytes (a power of two; at least 16, or 4 for I/O).
  void add_bar(unsigned index, u32 size, bool io);
  void set(u8 offset, u8 value, u8 writable) {
    config_[offset] = reset_[offset] = value;
    writable_[offset] = writable;
  }
  /// After bytes [first, last] were written.
  virtual void written(u8 first, u8 last) {}

 private:
  std::array<u8, 256> config_{}, writable_{}, reset_{};
  std::array<u32, 6> bar_size_{};
};

class PciHost : public Device {
 public:
  /// `function` must outlive this; device 0..31, function 0..7. nullptr takes it away.
  void plug(unsigned device, unsigned function, PciFunction* what);
  /// Answers byte accesses to port 0xcf9, which lies inside the address register but is another's (reset control).
  void set_reset_control(Device* device) { reset_control_ = device; }

  /// Offsets 0..7: ports 0xcf8..0xcff.
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;

 private:
  PciFunction* selected() const;
  bool has_further_functions() const;

  u32 address_ = 0;
  std::array<PciFunction*, 256> function_{};
  Device* reset_control_ = nullptr;
};

/// 8086:1237. Firmware copies itself to RAM and uses the PAM registers to make it answer in place of the ROM.
class HostBridge440fx final : public PciFunction {
 public:
  /// Region [begin, end) below 1 MiB: reads and writes go to RAM (true) or to the ROM bus.
  using Shadow = std::function<void(u32 begin, u32 end, bool reads_ram, bool writes_ram)>;
  explicit HostBridge440fx(Shadow shadow = {});

 private:
  void written(u8 first, u8 last) override;
  Shadow shadow_;
};

/// 8086:7000. PIRQ routing registers, disabled after reset.
class IsaBridgePiix3 final : public PciFunction {
 public:
  IsaBridgePiix3();
};

}  // namespace nestwalk::emu
