#include "emu/devices/mmio_bus.h"

#include <algorithm>

namespace nestwalk::emu {

void MmioBus::map(PhysAddr base, u64 size, Device& device, unsigned widest) {
  unmap(device);
  mapped_.push_back({base.value, base.value + (size - 1), &device, widest});
  if (mapped_.back().last < base.value) mapped_.back().last = ~u64{0};
  sorted_ = mapped_;
  std::sort(sorted_.begin(), sorted_.end(), [](const Span& a, const Span& b) { return a.first < b.first; });
  overlap_ = std::adjacent_find(sorted_.begin(), sorted_.end(),
                                [](const Span& a, const Span& b) { return b.first <= a.last; }) != sorted_.end();
}

void MmioBus::unmap(const Device& device) {
  const auto is_it = [&](const Span& s) { return s.device == &device; };
  std::erase_if(mapped_, is_it);
  std::erase_if(sorted_, is_it);
}

const Span* MmioBus::find(u64 address) const {
  const auto covers = [address](const Span& s) { return s.first <= address && address <= s.last; };
  if (overlap_) {  // a guest moved one window over another: rare, and then order of mapping decides
    const auto it = std::find_if(mapped_.rbegin(), mapped_.rend(), covers);
    return it == mapped_.rend() ? nullptr : &*it;
  }
  const auto it =
      std::upper_bound(sorted_.begin(), sorted_.end(), address, [](u64 a, const Span& s) { return a < s.first; });
  return it != sorted_.begin() && covers(*(it - 1)) ? &*(it - 1) : nullptr;
}

u64 MmioBus::read(PhysAddr address, unsigned bytes) {
  return read_in_pieces([this](u64 a) { return find(a); }, address.value, bytes);
}

void MmioBus::write(PhysAddr address, u64 value, unsigned bytes) {
  // A write may move windows (a BAR, the APIC base), so the span is copied before its device is called.
  Span copy;
  write_in_pieces(
      [&](u64 a) -> const Span* {
        const Span* s = find(a);
        return s ? &(copy = *s) : nullptr;
      },
      address.value, value, bytes);
}

}  // namespace nestwalk::emu
