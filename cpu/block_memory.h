// Memory for decoded blocks: large chunks that the host may back with huge pages, and free lists by size. Blocks are many,
// small and hot, and the general heap would scatter them over the host's TLB.
#pragma once

#include <array>
#include <vector>

#include "base/types.h"

namespace nestwalk::cpu {

class BlockMemory {
 public:
  BlockMemory() = default;
  ~BlockMemory();
  BlockMemory(const BlockMemory&) = delete;
  BlockMemory& operator=(const BlockMemory&) = delete;

  /// At least `bytes`, aligned to 64. Throws std::bad_alloc.
  void* take(std::size_t bytes);
  void give(void* p, std::size_t bytes);
  /// In use.
  std::size_t bytes() const { return used_; }
  /// All but one chunk goes back to the host; nothing that was taken may be in use.
  void clear();

 private:
  static constexpr std::size_t kChunk = std::size_t{2} << 20;
  static constexpr std::size_t kGrain = 64;
  static std::size_t grains(std::size_t bytes) { return (bytes + kGrain - 1) / kGrain; }

  std::vector<void*> chunks_;
  u8* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t used_ = 0;
  std::array<std::vector<void*>, 64> free_;  ///< by size in grains
};

}  // namespace nestwalk::cpu
