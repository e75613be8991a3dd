// The physical memory map of a PC (ACPI specification 6.4, chapter 15; the layout is that of Intel's 82441FX and its
// successors).
#include "emu/boot/e820.h"

#include <algorithm>
#include <stdexcept>

#include "base/bits.h"

namespace nestwalk::emu::boot {

bool MemoryMap::is_ram(u64 begin, u64 bytes) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const E820Entry& e) {
    return e.type == E820Type::ram && begin >= e.base && begin - e.base <= e.size && bytes <= e.size - (begin - e.base);
  });
}

u64 MemoryMap::ram_bytes() const {
  u64 sum = 0;
  for (const E820Entry& e : entries_) {
    if (e.type == E820Type::ram) sum += e.size;
  }
  return sum;
}

u64 MemoryMap::highest_place(u64 bytes, u64 floor, u64 ceiling) const {
  u64 best = 0;
  for (const E820Entry& e : entries_) {
    if (e.type != E820Type::ram) continue;
    const u64 begin = std::max(e.base, floor), end = std::min(e.end(), ceiling);
    if (end <= begin || end - begin < bytes) continue;
    const u64 place = align_down(end - bytes, kPageBytes);
    if (place >= begin) best = std::max(best, place);
  }
  return best;
}

namespace {

struct Split {
  u64 low = 0;   ///< end of the memory below the PCI hole
  u64 high = 0;  ///< bytes above 4 GiB
};

Split split(u64 bytes) {
  if (bytes < kLeastMemory) throw std::invalid_argument("a PC needs at least 16 MiB of memory");
  bytes = align_down(bytes, kPageBytes);
  const u64 low = std::min(bytes, kPciHoleBegin);
  return {low, bytes - low};
}

}  // namespace

MemoryMap pc_memory_map(u64 bytes) {
  const Split s = split(bytes);
  std::vector<E820Entry> entries = {
      {0, kEbdaBegin, E820Type::ram},
      {kEbdaBegin, kVgaBegin - kEbdaBegin, E820Type::reserved},
      {kFirmwareBegin, kFirmwareEnd - kFirmwareBegin, E820Type::reserved},
      {kFirmwareEnd, s.low - kFirmwareEnd, E820Type::ram},
      {kPciHoleEnd, kFourGiB - kPciHoleEnd, E820Type::reserved},
  };
  if (s.high) entries.push_back({kFourGiB, s.high, E820Type::ram});
  return MemoryMap(std::move(entries));
}

std::vector<MemorySpan> pc_installed_memory(u64 bytes) {
  const Split s = split(bytes);
  std::vector<MemorySpan> spans = {{0, kVgaBegin}, {kVgaEnd, s.low - kVgaEnd}};
  if (s.high) spans.push_back({kFourGiB, s.high});
  return spans;
}

}  // namespace nestwalk::emu::boot
