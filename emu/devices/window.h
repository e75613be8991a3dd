// A further window of a device: the 8259 pair answers at three places in port space, the ACPI block at four.
#pragma once

#include "emu/device.h"

namespace nestwalk::emu {

template <class Owner>
class Window final : public Device {
 public:
  using Read = u64 (Owner::*)(u64 offset, unsigned bytes);
  using Write = void (Owner::*)(u64 offset, u64 value, unsigned bytes);

  Window(Owner& owner, Read reader, Write writer) : owner_(owner), read_(reader), write_(writer) {}
  u64 read(u64 offset, unsigned bytes) override { return (owner_.*read_)(offset, bytes); }
  void write(u64 offset, u64 value, unsigned bytes) override { (owner_.*write_)(offset, value, bytes); }

 private:
  Owner& owner_;
  Read read_;
  Write write_;
};

}  // namespace nestwalk::emu
