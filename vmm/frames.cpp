#include "vmm/frames.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bits.h"

namespace nestwalk::vmm {
namespace {
u64 frames_in(PageSize size) { return bytes_of(size) >> kPageShift; }
}  // namespace

Frames::Frames(mmu::MachineMemory& memory, u64 bytes, Placement placement, u32 colours, u64 seed)
    : memory_(memory),
      placement_(placement),
      colours_(std::max(colours, 1u)),
      random_(seed),
      total_(bytes >> kPageShift),
      free_(total_),
      used_((total_ + 63) / 64),
      stained_(used_.size()),
      lowest_of_colour_(colours_, 1) {
  mark(0, 1, true);
  if (total_ % 64) used_.back() |= ~low_mask(total_ % 64);
}

void Frames::mark(u64 first, u64 count, bool used) {
  for (u64 f = first; f < first + count; ++f) {
    if (used)
      used_[f >> 6] |= bit(f & 63);
    else
      used_[f >> 6] &= ~bit(f & 63);
  }
  free_ += used ? u64{0} - count : count;
  if (used) return;
  lowest_ = std::min(lowest_, first);
  for (u64 f = first; f < first + std::min<u64>(count, colours_); ++f) {
    u64& lowest = lowest_of_colour_[f & (colours_ - 1)];
    lowest = std::min(lowest, f);
  }
}

bool Frames::are_free(u64 first, u64 count) const {
  // Runs are aligned and whole words long.
  return std::all_of(&used_[first >> 6], &used_[first >> 6] + count / 64, [](u64 word) { return word == 0; });
}

u64 Frames::next_free(u64 from) const {
  if (from >= total_) return total_;
  u64 word = from >> 6;
  u64 candidates = ~used_[word] & ~low_mask(from & 63);
  while (!candidates) {
    if (++word == used_.size()) return total_;
    candidates = ~used_[word];
  }
  return word * 64 + static_cast<u64>(std::countr_zero(candidates));
}

u64 Frames::find_one(u64 like) {
  if (placement_ == Placement::random) {
    const u64 found = next_free(1 + random_.below(total_ - 1));
    return found < total_ ? found : next_free(1);
  }
  if (placement_ == Placement::colour && colours_ > 1) {
    const u64 colour = like & (colours_ - 1);
    u64& lowest = lowest_of_colour_[colour];
    u64 f = lowest + ((colour - lowest) & (colours_ - 1));
    while (f < total_ && !is_free(f)) f += colours_;
    lowest = std::min(f, total_);
    if (f < total_) return f;
  }
  return lowest_ = next_free(lowest_);
}

u64 Frames::find_run(u64 count) {
  const u64 places = total_ / count;
  const bool anywhere = placement_ == Placement::random;
  const u64 begin = anywhere && places ? random_.below(places) : lowest_ / count;
  const u64 tries = anywhere || begin > places ? places : places - begin;
  for (u64 n = 0; n < tries; ++n) {
    const u64 first = (begin + n) % places * count;
    if (are_free(first, count)) return first;
  }
  return total_;
}

Frames::Taken Frames::take(PageSize size, u64 like) {
  const u64 count = frames_in(size);
  if (free_ < count) return {};
  const u64 first = count == 1 ? find_one(like) : find_run(count);
  if (first >= total_) return {};
  mark(first, count, true);
  Taken taken{true, MachineAddr(first << kPageShift), false};
  static constexpr u8 zeros[kPageBytes] = {};
  for (u64 f = first; f < first + count; ++f) {
    u64& word = stained_[f >> 6];
    if (word & bit(f & 63)) {
      memory_.write(MachineAddr(f << kPageShift), zeros);
      taken.zeroed = true;
    }
    word |= bit(f & 63);
  }
  return taken;
}

void Frames::give(MachineAddr address, PageSize size) { mark(address.value >> kPageShift, frames_in(size), false); }

}  // namespace nestwalk::vmm
