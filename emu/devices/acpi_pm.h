// The fixed hardware of ACPI (ACPI specification 6.4, chapter 4.8): PM1a event and control registers, the 3.579545 MHz
// power management timer, one general-purpose event block, the SMI command port that turns ACPI on, and the reset control
// register 0xcf9 of the PIIX. The values a guest finds under QEMU's `pc` machine are the defaults.
#pragma once

#include <functional>

#include "emu/device.h"
#include "emu/devices/alarm.h"
#include "emu/devices/window.h"
#include "sim/clock.h"

namespace nestwalk::emu {

class AcpiPm : public Device {
 public:
  static constexpr u64 kTimerHz = 3'579'545;
  static constexpr u16 kDefaultBase = 0x600, kDefaultGpeBase = 0xafe0, kSmiPort = 0xb2, kResetPort = 0xcf9;
  static constexpr u16 kEvents = 0, kControl = 4, kTimer = 8, kBlockBytes = 12;  ///< offsets in the PM block
  static constexpr u16 kGpeBytes = 4;                                            ///< two status, two enable
  static constexpr u8 kEnableCommand = 0xf1, kDisableCommand = 0xf0;

  struct Options {
    unsigned sci = 9;
    u8 s5_type = 0;           ///< SLP_TYP that powers off; must agree with \_S5 in the DSDT
    bool wide_timer = false;  ///< 32-bit timer (FADT flag TMR_VAL_EXT)
    bool enabled = false;     ///< SCI_EN from the start, for a machine without firmware
  };

  AcpiPm(sim::Clock& clock, IrqLines& lines, Options options, std::function<void()> power_off, std::function<void()> reset);

  void press_power_button();
  void raise_gpe(unsigned event);

  /// The PM block.
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;
  Device& gpe() { return gpe_window_; }              ///< kGpeBytes
  Device& smi_command() { return smi_window_; }      ///< ports 0xb2, 0xb3
  Device& reset_control() { return reset_window_; }  ///< port 0xcf9

 private:
  u64 timer() const { return clock_.to_hz(clock_.now(), kTimerHz); }
  unsigned top_bit() const { return options_.wide_timer ? 31 : 23; }
  u8 read_byte(u64 offset);
  void write_byte(u64 offset, u8 value);
  void write_control(u16 value);
  u64 read_gpe(u64 offset, unsigned bytes);
  void write_gpe(u64 offset, u64 value, unsigned bytes);
  u64 read_smi(u64 offset, unsigned);
  void write_smi(u64 offset, u64 value, unsigned);
  u64 read_reset(u64, unsigned) { return reset_control_; }
  void write_reset(u64, u64 value, unsigned);
  void update();

  sim::Clock& clock_;
  IrqLines& lines_;
  Options options_;
  std::function<void()> power_off_, reset_machine_;
  Alarm alarm_;
  u16 status_ = 0, enable_ = 0, control_ = 0;
  u16 gpe_status_ = 0, gpe_enable_ = 0;
  u64 halves_seen_ = 0;  ///< how often the timer's top bit has changed, as far as TMR_STS knows
  u8 smi_[2] = {};
  u8 reset_control_ = 0;
  Window<AcpiPm> gpe_window_{*this, &AcpiPm::read_gpe, &AcpiPm::write_gpe};
  Window<AcpiPm> smi_window_{*this, &AcpiPm::read_smi, &AcpiPm::write_smi};
  Window<AcpiPm> reset_window_{*this, &AcpiPm::read_reset, &AcpiPm::write_reset};
};

}  // namespace nestwalk::emu
