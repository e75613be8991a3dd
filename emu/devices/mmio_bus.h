// What answers at machine addresses that are not memory: a few windows, sorted by address; the rest reads all ones.
#pragma once

#include <vector>

#include "emu/devices/pieces.h"
#include "mmu/memory.h"

namespace nestwalk::emu {

class MmioBus : public mmu::Bus {
 public:
  /// [base, base + size) belongs to `device`, which sees offsets from `base` and accesses of at most `widest` bytes.
  /// Where windows overlap the later one wins; a device mapped again moves. size > 0.
  void map(PhysAddr base, u64 size, Device& device, unsigned widest = 4);
  void unmap(const Device& device);

  u64 read(PhysAddr address, unsigned bytes) override;
  void write(PhysAddr address, u64 value, unsigned bytes) override;

 private:
  const Span* find(u64 address) const;

  std::vector<Span> mapped_;  ///< in order of mapping
  std::vector<Span> sorted_;  ///< by first address, when none overlap
  bool overlap_ = false;
};

}  // namespace nestwalk::emu
