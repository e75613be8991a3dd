// The 8042 keyboard controller of a PC/AT (IBM PC/AT technical reference; command names as in the PS/2 reference), port
// 0x92 beside it. The controller works and passes its tests; no keyboard and no mouse are attached, so what is sent to them
// comes back as a time-out at once, and the auxiliary port reports a stuck clock line.
#pragma once

#include <functional>

#include "emu/device.h"
#include "emu/devices/window.h"

namespace nestwalk::emu {

class Keyboard8042 : public Device {
 public:
  /// `a20` hears of changes of the A20 gate; `reset` of the processor's reset line being pulled.
  Keyboard8042(IrqLines& lines, std::function<void(bool)> a20, std::function<void()> reset);

  bool a20() const { return output_port_ & 2; }

  Device& data_port() { return data_window_; }        ///< port 0x60
  Device& command_port() { return command_window_; }  ///< port 0x64
  Device& port92() { return port92_window_; }         ///< system control port A

  /// Offset 0: port 0x60; offset 4: port 0x64.
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;

 private:
  u64 read_data(u64, unsigned) { return read(0, 1); }
  void write_data(u64, u64 v, unsigned) { write(0, v, 1); }
  u64 read_command(u64, unsigned) { return read(4, 1); }
  void write_command(u64, u64 v, unsigned) { write(4, v, 1); }
  u64 read92(u64, unsigned);
  void write92(u64, u64 value, unsigned);

  void command(u8 value);
  void data(u8 value);
  void answer(u8 value, u8 status_bits = 0);
  void set_output_port(u8 value);
  void update();

  IrqLines& lines_;
  std::function<void(bool)> set_a20_;
  std::function<void()> pull_reset_;
  u8 ram_[32] = {};  ///< byte 0: the command byte
  u8 output_port_ = 0;
  u8 buffer_ = 0;  ///< output buffer
  u8 status_ = 0;
  u8 expects_ = 0;  ///< command whose data byte comes next at 0x60; 0: none
  Window<Keyboard8042> data_window_{*this, &Keyboard8042::read_data, &Keyboard8042::write_data};
  Window<Keyboard8042> command_window_{*this, &Keyboard8042::read_command, &Keyboard8042::write_command};
  Window<Keyboard8042> port92_window_{*this, &Keyboard8042::read92, &Keyboard8042::write92};
};

}  // namespace nestwalk::emu
