// The I/O APIC: 24 pins, each with a redirection entry (Intel 82093AA datasheet; version 0x20 with the EOI register of the
// ICH series). Pins carry assertion, not voltage: the board inverts active-low lines, so the polarity bit is kept and
// otherwise ignored. An edge that arrives while its entry is masked is lost, as on the part.
#pragma once

#include <array>
#include <functional>

#include "emu/device.h"
#include "emu/devices/apic_bus.h"

namespace nestwalk::emu {

class IoApic : public Device {
 public:
  static constexpr unsigned kPins = 24;
  static constexpr u64 kWindowBytes = 0x1000;
  static constexpr u64 kDefaultBase = 0xfec00000;

  explicit IoApic(u8 id = 0) : reset_id_(id) { reset(); }

  void set_send(std::function<void(const ApicMessage&)> send) { send_ = std::move(send); }
  /// Asserts or releases a pin; pins beyond the last are ignored.
  void set(unsigned pin, bool asserted);
  /// A local APIC finished `vector`, or the guest wrote it to the EOI register: level entries with it may deliver again.
  void end_of_interrupt(u8 vector);

  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;

  u64 entry(unsigned pin) const { return entry_[pin]; }

 private:
  u32 read_register() const;
  void write_register(u32 value);
  void write_entry(unsigned pin, bool high, u32 value);
  void service_level(unsigned pin);
  void send(unsigned pin);

  std::function<void(const ApicMessage&)> send_;
  std::array<u64, kPins> entry_{};
  u32 asserted_ = 0;
  u8 index_ = 0;
  u8 id_ = 0;
  u8 reset_id_;
};

}  // namespace nestwalk::emu
