// A 16550A serial port (National PC16550D datasheet) as PCs wire it: OUT2 gates the interrupt onto its line. Transmission
// is instantaneous, or takes the time of ten bits at the programmed rate. The host's input waits in a queue of its own and
// enters the receiver only when there is room, so that no overrun is the host's doing.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <span>

#include "emu/device.h"
#include "emu/devices/alarm.h"
#include "sim/clock.h"

namespace nestwalk::emu {

class Uart16550 : public Device {
 public:
  struct Options {
    unsigned irq = 4;
    bool timed = false;        ///< characters take their time, both ways
    u64 clock_hz = 1'843'200;  ///< divided by 16 x divisor
  };

  Uart16550(sim::Clock& clock, IrqLines& lines, Options options, std::function<void(u8)> output);

  /// Input from the host. Returns how many bytes were taken; the rest finds the queue full (64 KiB).
  std::size_t push(std::span<const u8> input);

  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;

 private:
  static constexpr std::size_t kFifo = 16, kQueue = 64 * 1024;
  struct Fifo {
    std::array<u8, kFifo> data{};
    std::size_t first = 0, size = 0;
    void push(u8 v) { data[(first + size++) % kFifo] = v; }
    u8 pop() {
      const u8 v = data[first];
      first = (first + 1) % kFifo;
      --size;
      return v;
    }
    void clear() { first = size = 0; }
  };

  bool fifos_on() const { return fcr_ & 1; }
  bool loopback() const { return mcr_ & 0x10; }
  std::size_t depth() const { return fifos_on() ? kFifo : 1; }
  std::size_t trigger() const;
  sim::Ticks character_time() const;
  u8 identify();
  u8 cause() const;
  u8 line_status();
  u8 modem_status();
  void set_modem_control(u8 value);
  void set_fifo_control(u8 value);
  void emit(u8 value);
  void write_transmitter(u8 value);
  void transmitted();
  void receive(u8 value);
  void admit();
  void restart_timeout();
  void update();

  sim::Clock& clock_;
  IrqLines& lines_;
  Options options_;
  std::function<void(u8)> output_;
  Alarm transmit_alarm_, receive_alarm_, timeout_alarm_;
  std::deque<u8> queue_;
  Fifo rx_, tx_;
  u8 shift_ = 0;  ///< the character on the wire
  bool shifting_ = false;
  u8 ier_ = 0, fcr_ = 0, lcr_ = 0, mcr_ = 0, scratch_ = 0;
  u8 delta_ = 0;      ///< MSR bits 3:0
  u16 divisor_ = 12;  ///< 9600 baud
  bool overrun_ = false;
  bool thre_pending_ = false, timeout_pending_ = false;
};

}  // namespace nestwalk::emu
