#include "emu/devices/port_bus.h"

#include <algorithm>

#include "sim/settings.h"

namespace nestwalk::emu {

void PortBus::map(u16 first, u16 last, Device& device, unsigned widest) {
  if (last < first) throw sim::ConfigError("a range of I/O ports ends before it begins");
  if (spans_.size() == 254) throw sim::ConfigError("more than 254 ranges of I/O ports");
  spans_.push_back({first, last, &device, widest});
  std::fill(owner_.begin() + first, owner_.begin() + last + 1, static_cast<u8>(spans_.size()));
}

u64 PortBus::read(u16 port, unsigned bytes) {
  return read_in_pieces([this](u64 p) { return find(p); }, port, bytes);
}

void PortBus::write(u16 port, u64 value, unsigned bytes) {
  write_in_pieces([this](u64 p) { return find(p); }, port, value, bytes);
}

Device* PortBus::device_at(u16 port) const {
  const Span* s = find(port);
  return s ? s->device : nullptr;
}

}  // namespace nestwalk::emu
