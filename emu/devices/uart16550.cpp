#include "emu/devices/uart16550.h"

#include <algorithm>
#include <utility>

namespace nestwalk::emu {
namespace {

enum : u8 { kReceived = 1, kEmpty = 2, kLine = 4, kModem = 8 };  // IER
constexpr u8 kDlab = 0x80;
// IIR, highest priority first.
constexpr u8 kCauseLine = 0x06, kCauseData = 0x04, kCauseTimeout = 0x0c, kCauseEmpty = 0x02, kCauseModem = 0x00,
             kNone = 0x01;

}  // namespace

Uart16550::Uart16550(sim::Clock& clock, IrqLines& lines, Options options, std::function<void(u8)> output)
    : clock_(clock),
      lines_(lines),
      options_(options),
      output_(std::move(output)),
      transmit_alarm_(clock, [this] { transmitted(); }),
      receive_alarm_(clock, [this] { admit(); }),
      timeout_alarm_(clock, [this] {
        timeout_pending_ = rx_.size > 0;
        update();
      }) {}

void Uart16550::reset() {
  transmit_alarm_.cancel();
  receive_alarm_.cancel();
  timeout_alarm_.cancel();
  rx_.clear();
  tx_.clear();
  shifting_ = overrun_ = thre_pending_ = timeout_pending_ = false;
  ier_ = fcr_ = lcr_ = mcr_ = delta_ = 0;
  update();
}

std::size_t Uart16550::trigger() const {
  constexpr std::size_t kLevels[] = {1, 4, 8, 14};
  return fifos_on() ? kLevels[fcr_ >> 6] : 1;
}

sim::Ticks Uart16550::character_time() const {
  return clock_.from_hz(u64{16} * 10 * std::max<u64>(divisor_, 1), options_.clock_hz);
}

// Receiving.

std::size_t Uart16550::push(std::span<const u8> input) {
  const std::size_t n = std::min(input.size(), kQueue - queue_.size());
  queue_.insert(queue_.end(), input.begin(), input.begin() + static_cast<std::ptrdiff_t>(n));
  if (!receive_alarm_.armed()) admit();
  return n;
}

/// Lets waiting input in: all that fits, or one character each character time.
void Uart16550::admit() {
  while (!queue_.empty() && rx_.size < depth() && !loopback()) {
    receive(queue_.front());
    queue_.pop_front();
    if (!options_.timed) continue;
    receive_alarm_.set(clock_.now() + character_time());
    break;
  }
  update();
}

void Uart16550::receive(u8 value) {
  if (rx_.size == depth()) {
    overrun_ = true;  // the FIFO keeps what it has; without it the newest character wins
    if (!fifos_on()) rx_.data[rx_.first] = value;
    return;
  }
  rx_.push(value);
  restart_timeout();
}

/// Four character times without a character coming in or going out.
void Uart16550::restart_timeout() {
  timeout_pending_ = false;
  if (fifos_on() && rx_.size > 0)
    timeout_alarm_.set(clock_.now() + 4 * character_time());
  else
    timeout_alarm_.cancel();
}

// Sending.

/// A character leaves: to the host, or in loopback to our own receiver.
void Uart16550::emit(u8 value) {
  if (loopback())
    receive(value);
  else if (output_)
    output_(value);
}

void Uart16550::write_transmitter(u8 value) {
  thre_pending_ = false;
  if (!options_.timed) {
    emit(value);
    thre_pending_ = true;  // empty again at once
    return;
  }
  if (!shifting_) {
    shift_ = value;
    shifting_ = thre_pending_ = true;
    transmit_alarm_.set(clock_.now() + character_time());
  } else if (tx_.size < depth()) {
    tx_.push(value);
  }
}

void Uart16550::transmitted() {
  emit(shift_);
  shifting_ = tx_.size > 0;
  if (shifting_) {
    shift_ = tx_.pop();
    if (tx_.size == 0) thre_pending_ = true;
    transmit_alarm_.set(clock_.now() + character_time());
  }
  update();
}

// Interrupts.

u8 Uart16550::cause() const {
  if ((ier_ & kLine) && overrun_) return kCauseLine;
  if ((ier_ & kReceived) && rx_.size >= trigger()) return kCauseData;
  if ((ier_ & kReceived) && timeout_pending_) return kCauseTimeout;
  if ((ier_ & kEmpty) && thre_pending_) return kCauseEmpty;
  if ((ier_ & kModem) && delta_) return kCauseModem;
  return kNone;
}

void Uart16550::update() {
  const bool gate = (mcr_ & 0x08) && !loopback();  // OUT2 drives the line's buffer
  lines_.set(options_.irq, gate && cause() != kNone);
}

/// Reading IIR acknowledges the transmitter, if it was the cause shown.
u8 Uart16550::identify() {
  const u8 c = cause();
  if (c == kCauseEmpty) thre_pending_ = false;
  update();
  return static_cast<u8>(c | (fifos_on() ? 0xc0 : 0));
}

// Status and control.

u8 Uart16550::line_status() {
  u8 v = rx_.size > 0 ? 0x01 : 0;
  if (std::exchange(overrun_, false)) v |= 0x02;
  if (tx_.size == 0) v |= 0x20;
  if (tx_.size == 0 && !shifting_) v |= 0x40;
  update();
  return v;
}

/// The far end is always there: CTS, DSR and DCD; in loopback the modem outputs come back.
u8 Uart16550::modem_status() {
  const auto looped = static_cast<u8>((mcr_ & 0x02) << 3 | (mcr_ & 0x01) << 5 | (mcr_ & 0x04) << 4 | (mcr_ & 0x08) << 4);
  return static_cast<u8>((loopback() ? looped : 0xb0) | delta_);
}

void Uart16550::set_modem_control(u8 value) {
  const u8 before = modem_status() & 0xf0;
  mcr_ = value & 0x1f;
  const u8 after = modem_status() & 0xf0;
  delta_ |= static_cast<u8>((before ^ after) >> 4 & 0x0b);
  if (before & ~after & 0x40) delta_ |= 0x04;  // trailing edge of RI
  if (!receive_alarm_.armed()) admit();
}

void Uart16550::set_fifo_control(u8 value) {
  const bool toggled = (value ^ fcr_) & 1;
  if (toggled || (value & 1 && value & 2)) {
    rx_.clear();
    restart_timeout();
  }
  if (toggled || (value & 1 && value & 4)) {
    if (tx_.size > 0) thre_pending_ = true;
    tx_.clear();
  }
  fcr_ = value & 1 ? value & 0xc9 : 0;
  if (!receive_alarm_.armed()) admit();
}

u64 Uart16550::read(u64 offset, unsigned bytes) {
  switch (offset & 7) {
    case 0: {
      if (lcr_ & kDlab) return divisor_ & 0xff;
      if (rx_.size == 0) return 0;
      const u8 v = rx_.pop();
      restart_timeout();
      if (!receive_alarm_.armed()) admit();
      update();
      return v;
    }
    case 1: return lcr_ & kDlab ? divisor_ >> 8 : ier_;
    case 2: return identify();
    case 3: return lcr_;
    case 4: return mcr_;
    case 5: return line_status();
    case 6: {
      const u8 v = modem_status();
      delta_ = 0;
      update();
      return v;
    }
    default: return scratch_;
  }
}

void Uart16550::write(u64 offset, u64 value, unsigned bytes) {
  const u8 v = static_cast<u8>(value);
  const bool divisor = lcr_ & kDlab;
  switch (offset & 7) {
    case 0:
      if (divisor)
        divisor_ = static_cast<u16>((divisor_ & 0xff00) | v);
      else
        write_transmitter(v);
      break;
    case 1:
      if (divisor) {
        divisor_ = static_cast<u16>((divisor_ & 0xff) | v << 8);
      } else {
        // Enabling the interrupt while the transmitter is empty raises it.
        if (!(ier_ & kEmpty) && (v & kEmpty) && tx_.size == 0) thre_pending_ = true;
        ier_ = v & 0x0f;
      }
      break;
    case 2: set_fifo_control(v); break;
    case 3: lcr_ = v; break;
    case 4: set_modem_control(v); break;
    case 7: scratch_ = v; break;
    default: break;  // LSR and MSR are read-only
  }
  update();
}

}  // namespace nestwalk::emu
