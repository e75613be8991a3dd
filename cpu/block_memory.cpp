#include "cpu/block_memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <stdexcept>

namespace nestwalk::cpu {

BlockMemory::~BlockMemory() {
  for (void* c : chunks_) std::free(c);
}

void* BlockMemory::take(std::size_t bytes) {
  const std::size_t n = grains(bytes);
  used_ += n * kGrain;
  if (n >= free_.size()) throw std::logic_error("a block larger than any block can be");
  if (auto& list = free_[n]; !list.empty()) {
    void* const p = list.back();
    list.pop_back();
    return p;
  }
  if (left_ < n * kGrain) {
    void* const chunk = std::aligned_alloc(kChunk, kChunk);
    if (!chunk) throw std::bad_alloc();
    madvise(chunk, kChunk, MADV_HUGEPAGE);  // a wish: without it all still works
    chunks_.push_back(chunk);
    at_ = static_cast<u8*>(chunk);
    left_ = kChunk;
  }
  void* const p = at_;
  at_ += n * kGrain;
  left_ -= n * kGrain;
  return p;
}

void BlockMemory::clear() {
  for (std::size_t n = 1; n < chunks_.size(); ++n) std::free(chunks_[n]);
  if (chunks_.size() > 1) chunks_.resize(1);
  at_ = chunks_.empty() ? nullptr : static_cast<u8*>(chunks_[0]);
  left_ = chunks_.empty() ? 0 : kChunk;
  used_ = 0;
  for (auto& list : free_) list.clear();
}

void BlockMemory::give(void* p, std::size_t bytes) {
  used_ -= grains(bytes) * kGrain;
  free_[grains(bytes)].push_back(p);
}

}  // namespace nestwalk::cpu
