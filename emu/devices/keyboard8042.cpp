#include "emu/devices/keyboard8042.h"

#include <utility>

namespace nestwalk::emu {
namespace {

enum : u8 {
  kFull = 0x01,
  kSystem = 0x04,
  kCommand = 0x08,
  kUnlocked = 0x10,
  kAuxiliary = 0x20,
  kTimeout = 0x40
};                                                                                           // status
enum : u8 { kInterrupt = 0x01, kSystemFlag = 0x04, kDisabled = 0x10, kAuxDisabled = 0x20 };  // command byte
constexpr u8 kPowerOnOutput = 0x03;  // not in reset, A20 open, as firmware leaves it
constexpr u8 kResend = 0xfe;

}  // namespace

Keyboard8042::Keyboard8042(IrqLines& lines, std::function<void(bool)> a20, std::function<void()> reset)
    : lines_(lines), set_a20_(std::move(a20)), pull_reset_(std::move(reset)), output_port_(kPowerOnOutput) {
  ram_[0] = kInterrupt | kSystemFlag;
  status_ = kUnlocked | kSystem;
}

void Keyboard8042::reset() {
  for (u8& b : ram_) b = 0;
  ram_[0] = kInterrupt | kSystemFlag;
  status_ = kUnlocked | kSystem;
  buffer_ = expects_ = 0;
  set_output_port(kPowerOnOutput);
  update();
}

void Keyboard8042::answer(u8 value, u8 status_bits) {
  buffer_ = value;
  status_ = static_cast<u8>((status_ & ~(kAuxiliary | kTimeout)) | kFull | status_bits);
  update();
}

void Keyboard8042::update() { lines_.set(1, (status_ & kFull) && !(status_ & kAuxiliary) && (ram_[0] & kInterrupt)); }

void Keyboard8042::set_output_port(u8 value) {
  const u8 old = std::exchange(output_port_, value);
  if (((old ^ value) & 2) && set_a20_) set_a20_(value & 2);
  if (!(value & 1)) {
    output_port_ |= 1;
    if (pull_reset_) pull_reset_();
  }
}

u64 Keyboard8042::read(u64 offset, unsigned bytes) {
  if (offset & 4) return status_;
  status_ &= static_cast<u8>(~kFull);
  update();
  return buffer_;
}

void Keyboard8042::write(u64 offset, u64 value, unsigned bytes) {
  const u8 v = static_cast<u8>(value);
  if (offset & 4) {
    status_ |= kCommand;
    command(v);
  } else {
    status_ &= static_cast<u8>(~kCommand);
    data(v);
  }
}

void Keyboard8042::command(u8 v) {
  expects_ = 0;
  if (v >= 0x20 && v <= 0x3f) return answer(ram_[v & 31]);
  if (v >= 0xf0) {  // pulses the output port's low bits whose bit here is 0; only reset is wired
    if (!(v & 1) && pull_reset_) pull_reset_();
    return;
  }
  switch (v) {
    case 0xa7: ram_[0] |= kAuxDisabled; break;
    case 0xa8: ram_[0] &= static_cast<u8>(~kAuxDisabled); break;
    case 0xa9: return answer(0x01);  // auxiliary port: clock line stuck low
    case 0xaa:                       // self test
      status_ |= kSystem;
      return answer(0x55);
    case 0xab: return answer(0x00);  // keyboard port is fine
    case 0xad: ram_[0] |= kDisabled; break;
    case 0xae: ram_[0] &= static_cast<u8>(~kDisabled); break;
    case 0xc0: return answer(0xa0);  // input port: not locked, colour display
    case 0xd0: return answer(static_cast<u8>(output_port_ | (status_ & kFull ? 0x10 : 0)));
    case 0xdd: set_output_port(output_port_ & static_cast<u8>(~2)); break;
    case 0xdf: set_output_port(output_port_ | 2); break;
    default:
      if ((v >= 0x60 && v <= 0x7f) || (v >= 0xd1 && v <= 0xd4)) expects_ = v;
      break;
  }
}

void Keyboard8042::data(u8 v) {
  const u8 to = std::exchange(expects_, u8{0});
  if (to >= 0x60 && to <= 0x7f) {
    ram_[to & 31] = v;
    if (to == 0x60) status_ = static_cast<u8>((status_ & ~kSystem) | (v & kSystemFlag ? kSystem : 0));
    return update();
  }
  switch (to) {
    case 0xd1: return set_output_port(v);
    case 0xd2: return answer(v);                // as if the keyboard had sent it
    case 0xd3: return answer(0x00, kTimeout);   // no auxiliary device: nothing loops back
    default: return answer(kResend, kTimeout);  // keyboard (or 0xd4: mouse) absent
  }
}

u64 Keyboard8042::read92(u64, unsigned) { return output_port_ & 2; }

void Keyboard8042::write92(u64, u64 value, unsigned) {
  set_output_port(static_cast<u8>((output_port_ & ~2) | (value & 2)));
  if ((value & 1) && pull_reset_) pull_reset_();
}

}  // namespace nestwalk::emu
