#include "emu/devices/pci.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"

namespace nestwalk::emu {
namespace {

constexpr u8 kCommand = 0x04, kHeaderType = 0x0e, kBar0 = 0x10;
constexpr u8 kPam0 = 0x59, kPamLast = 0x5f;

}  // namespace

PciFunction::PciFunction(const Identity& id) {
  const auto word = [this](u8 at, u16 v) {
    set(at, static_cast<u8>(v), 0);
    set(static_cast<u8>(at + 1), static_cast<u8>(v >> 8), 0);
  };
  word(0x00, id.vendor);
  word(0x02, id.device);
  set(kCommand, 0, 0x07);  // I/O, memory, bus master
  set(0x08, id.revision, 0);
  for (u8 i = 0; i < 3; ++i) set(static_cast<u8>(0x09 + i), static_cast<u8>(id.class_code >> (8 * i)), 0);
  set(0x0c, 0, 0xff);  // cache line size
  set(0x0d, 0, 0xf8);  // latency timer
  word(0x2c, id.subsystem_vendor);
  word(0x2e, id.subsystem);
  set(0x3c, 0, 0xff);  // interrupt line: a note of software to itself
}

void PciFunction::reset() {
  config_ = reset_;
  written(0, 0xff);
}

void PciFunction::add_bar(unsigned index, u32 size, bool io) {
  bar_size_[index] = size;
  const u32 writable = ~(size - 1) & (io ? ~u32{3} : ~u32{15});
  for (unsigned i = 0; i < 4; ++i)
    set(static_cast<u8>(kBar0 + 4 * index + i), static_cast<u8>(i == 0 && io), static_cast<u8>(writable >> (8 * i)));
}

PciFunction::Bar PciFunction::bar(unsigned index) const {
  Bar b;
  if (index > 5 || bar_size_[index] == 0) return b;
  const unsigned at = kBar0 + 4 * index;
  for (unsigned i = 0; i < 4; ++i) b.base |= u64{config_[at + i]} << (8 * i);
  b.size = bar_size_[index];
  b.io = b.base & 1;
  b.base &= b.io ? ~u64{3} : ~u64{15};
  b.decoded = config_[kCommand] & (b.io ? 1 : 2);
  return b;
}

void PciFunction::write(u8 offset, u32 value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) {
    const unsigned at = (offset + i) & 0xff;
    config_[at] = static_cast<u8>((config_[at] & ~writable_[at]) | (value >> (8 * i) & writable_[at]));
  }
  written(offset, static_cast<u8>(std::min(offset + bytes - 1, 0xffu)));
}

void PciHost::plug(unsigned device, unsigned function, PciFunction* what) {
  function_[(device << 3 | function) & 0xff] = what;
}

void PciHost::reset() {
  address_ = 0;
  for (PciFunction* f : function_)
    if (f) f->reset();
}

PciFunction* PciHost::selected() const {
  const bool here = (address_ & bit(31)) && bits(address_, 23, 16) == 0;
  return here ? function_[bits(address_, 15, 8)] : nullptr;
}

bool PciHost::has_further_functions() const {
  const auto first = function_.begin() + static_cast<std::ptrdiff_t>(bits(address_, 15, 11) << 3);
  return std::any_of(first + 1, first + 8, [](const PciFunction* f) { return f != nullptr; });
}

u64 PciHost::read(u64 offset, unsigned bytes) {
  if (offset == 1 && bytes == 1 && reset_control_) return reset_control_->read(0, 1);
  if (offset < 4) return offset == 0 && bytes == 4 ? address_ : ~u64{0};  // the address register takes dwords only
  const PciFunction* f = selected();
  if (!f) return ~u64{0};
  u64 value = 0;
  for (unsigned i = 0; i < bytes; ++i) {
    const u8 at = static_cast<u8>((address_ & 0xfc) + ((offset + i) & 3));
    u8 v = f->read(at);
    if (at == kHeaderType && bits(address_, 10, 8) == 0 && has_further_functions()) v |= 0x80;
    value |= u64{v} << (8 * i);
  }
  return value;
}

void PciHost::write(u64 offset, u64 value, unsigned bytes) {
  if (offset == 1 && bytes == 1 && reset_control_) return reset_control_->write(0, value, 1);
  if (offset < 4) {
    if (offset == 0 && bytes == 4) address_ = static_cast<u32>(value) & 0x80fffffc;
    return;
  }
  const unsigned fits = std::min<unsigned>(bytes, 4 - (offset & 3));
  if (PciFunction* f = selected())
    f->write(static_cast<u8>((address_ & 0xfc) + (offset & 3)), static_cast<u32>(value), fits);
}

HostBridge440fx::HostBridge440fx(Shadow shadow)
    : PciFunction({.vendor = 0x8086,
                   .device = 0x1237,
                   .class_code = 0x060000,
                   .revision = 2,
                   .subsystem_vendor = 0x1af4,
                   .subsystem = 0x1100}),
      shadow_(std::move(shadow)) {
  set(kCommand, 0x06, 0x00);  // memory and bus master, always
  set(kPam0, 0x00, 0x30);
  for (u8 at = kPam0 + 1; at <= kPamLast; ++at) set(at, 0x00, 0x33);
  set(0x72, 0x02, 0x7f);  // SMRAM control
}

void HostBridge440fx::written(u8 first, u8 last) {
  if (!shadow_ || last < kPam0 || first > kPamLast) return;
  for (unsigned at = std::max(first, kPam0); at <= std::min(last, kPamLast); ++at) {
    const unsigned v = read(static_cast<u8>(at));
    if (at == kPam0) {
      shadow_(0xf0000, 0x100000, v & 0x10, v & 0x20);
      continue;
    }
    const u32 begin = 0xc0000 + (at - kPam0 - 1) * 0x8000;
    shadow_(begin, begin + 0x4000, v & 0x01, v & 0x02);
    shadow_(begin + 0x4000, begin + 0x8000, v & 0x10, v & 0x20);
  }
}

IsaBridgePiix3::IsaBridgePiix3()
    : PciFunction(
          {.vendor = 0x8086, .device = 0x7000, .class_code = 0x060100, .subsystem_vendor = 0x1af4, .subsystem = 0x1100}) {
  set(kCommand, 0x07, 0x00);
  set(0x4e, 0x03, 0xff);  // X-bus chip select
  for (u8 at = 0x60; at <= 0x63; ++at) set(at, 0x80, 0x8f);
}

}  // namespace nestwalk::emu
