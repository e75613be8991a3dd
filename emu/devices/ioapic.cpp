#include "emu/devices/ioapic.h"

#include "base/bits.h"

namespace nestwalk::emu {
namespace {

constexpr u64 kRemoteIrr = bit(14), kLevel = bit(15), kMasked = bit(16);
constexpr u64 kWritable = 0xff00'0000'0001'afff;  // neither delivery status (12) nor remote IRR (14)

/// SMI, NMI, INIT and ExtINT are edges whatever the trigger bit says: nobody would ever end them.
bool is_level(u64 entry) {
  const auto d = static_cast<Delivery>(bits(entry, 10, 8));
  return (entry & kLevel) && (d == Delivery::fixed || d == Delivery::lowest_priority);
}

}  // namespace

void IoApic::reset() {
  entry_.fill(kMasked);
  asserted_ = 0;
  index_ = 0;
  id_ = reset_id_ & 15;
}

void IoApic::set(unsigned pin, bool asserted) {
  if (pin >= kPins) return;
  const bool before = asserted_ & bit(pin);
  asserted_ = static_cast<u32>(asserted ? asserted_ | bit(pin) : asserted_ & ~bit(pin));
  if (is_level(entry_[pin]))
    service_level(pin);
  else if (asserted && !before && !(entry_[pin] & kMasked))
    send(pin);
}

void IoApic::end_of_interrupt(u8 vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    if (!(entry_[pin] & kRemoteIrr) || bits(entry_[pin], 7, 0) != vector) continue;
    entry_[pin] &= ~kRemoteIrr;
    service_level(pin);
  }
}

void IoApic::service_level(unsigned pin) {
  u64& e = entry_[pin];
  if (!is_level(e) || !(asserted_ & bit(pin)) || (e & (kMasked | kRemoteIrr))) return;
  e |= kRemoteIrr;
  send(pin);
}

void IoApic::send(unsigned pin) {
  const u64 e = entry_[pin];
  ApicMessage m;
  m.destination = static_cast<u32>(e >> 56);
  m.logical = e & bit(11);
  m.broadcast = m.destination == 0xff;
  m.delivery = static_cast<Delivery>(bits(e, 10, 8));
  m.vector = static_cast<u8>(e);
  m.level = is_level(e);
  if (send_) send_(m);
}

u32 IoApic::read_register() const {
  if (index_ == 0 || index_ == 2) return static_cast<u32>(id_) << 24;  // ID and arbitration ID
  if (index_ == 1) return (kPins - 1) << 16 | 0x20;
  if (index_ < 0x10 || index_ >= 0x10 + 2 * kPins) return 0;
  const u64 e = entry_[(index_ - 0x10u) / 2];
  return static_cast<u32>(index_ & 1 ? e >> 32 : e);
}

void IoApic::write_register(u32 value) {
  if (index_ == 0) id_ = bits(value, 27, 24);
  if (index_ >= 0x10 && index_ < 0x10 + 2 * kPins) write_entry((index_ - 0x10u) / 2, index_ & 1, value);
}

void IoApic::write_entry(unsigned pin, bool high, u32 value) {
  u64& e = entry_[pin];
  const u64 merged = high ? (e & 0xffffffff) | u64{value} << 32 : (e & ~u64{0xffffffff}) | value;
  e = (merged & kWritable) | (e & kRemoteIrr);
  if (!(e & kLevel)) e &= ~kRemoteIrr;  // switching to edge and back is how old kernels clear a stuck entry
  service_level(pin);
}

u64 IoApic::read(u64 offset, unsigned bytes) {
  const u64 part = 8 * (offset & 3);
  if ((offset & ~u64{3}) == 0x00) return u64{index_} >> part;
  if ((offset & ~u64{3}) == 0x10) return u64{read_register()} >> part;
  return 0;
}

void IoApic::write(u64 offset, u64 value, unsigned bytes) {
  if (offset == 0x00) index_ = static_cast<u8>(value);
  if (offset == 0x10 && bytes == 4) write_register(static_cast<u32>(value));
  if (offset == 0x40) end_of_interrupt(static_cast<u8>(value));
}

}  // namespace nestwalk::emu
