// Decoded blocks: straight runs of instructions on one page, found by RIP and machine address, dropped when a byte of
// theirs is written. How a block is cut depends on the guest's bytes alone (a control transfer, a page end, kMaxInsns), so
// every engine and every MMU model sees the same blocks.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "cpu/block_memory.h"
#include "cpu/cpu.h"

namespace nestwalk::cpu {

struct Block {
  u64 rip = ~u64{0};
  u64 key = 0;                  ///< of its first byte: key_of(), with kCrossing
  u32 count = 0;                ///< instructions
  u32 lines = 0;                ///< 64-byte lines on the first page
  Cycles cost = 0;              ///< sum of the instructions' costs
  const Insn* insns = nullptr;  ///< count + 1, in this block's own memory: the last one leaves the block
  const u8* second = nullptr;   ///< host address of the second page, for the one instruction that crosses a page end
  u32 length = 0;               ///< bytes

  /// Set in the key of a block that crosses, so that a look-up by its first page alone never finds it.
  static constexpr u64 kCrossing = u64{1} << 63;
  /// RIP alone does not say where on the page a block is: a segment's base need not be a multiple of a page.
  static u64 key_of(u64 host, CodeSize size) { return host << 2 | static_cast<u64>(size); }
  u64 host() const { return (key & ~kCrossing) >> 2; }

  struct Delete {
    BlockMemory* memory = nullptr;
    void operator()(Block* b) const { memory->give(b, size_of(b->count)); }
  };
  static std::size_t size_of(u32 instructions) { return sizeof(Block) + (instructions + 1) * sizeof(Insn); }
  using Owner = std::unique_ptr<Block, Delete>;
};

class Blocks {
 public:
  static constexpr unsigned kMaxInsns = 48;
  static constexpr unsigned kSlots = 1 << 15;

  Blocks();
  ~Blocks();

  /// The block last used in this RIP's slot (some block, never null); the caller compares rip and key.
  Block* slot(u64 rip) const { return table_[slot_of(rip)]; }
  /// Where the block at `rip` begins, in all the terms that find it.
  struct Place {
    u64 rip, linear;
    const u8* host;  ///< of the byte at `linear`
    u64 key;         ///< Block::key_of()
  };
  /// Finds the block or builds it. nullptr: its only instruction crosses the page end, ask `crossing`.
  Block* get(Cpu& cpu, const Place& at);
  /// The same for the one instruction whose bytes go on at `second`, the host address of the next linear page.
  Block* crossing(Cpu& cpu, const Place& at, const u8* second);
  /// A block of at most `limit` instructions, valid until the next call; it is in no table. nullptr as for get.
  Block* capped(Cpu& cpu, const Place& at, unsigned limit);

  /// Bytes changed: blocks made of them die. `running` is patched so that it is left after the present instruction.
  void written(const u8* host, unsigned bytes, Cpu& cpu);
  /// Frees what died; only between blocks.
  void sweep() {
    if (!graveyard_.empty()) graveyard_.clear();
  }
  const Block* running = nullptr;
  /// Host memory for blocks, in bytes; when it is used up, all are forgotten and decoded anew. How a block is cut does not
  /// depend on it.
  std::size_t memory_limit = std::size_t{64} << 20;

  u64 built() const { return built_; }
  u64 dropped() const { return dropped_; }

 private:
  using Page = std::vector<Block::Owner>;

  static bool is_crossing(const Block& b, const Place& at) {
    return b.rip == at.rip && b.key == (at.key | Block::kCrossing);
  }
  static unsigned slot_of(u64 rip) { return static_cast<unsigned>((rip ^ (rip >> 15)) & (kSlots - 1)); }
  /// Whether this processor has marked the page as holding code of its.
  bool knows(u64 page) const { return pages_.contains(page) || tails_.contains(page); }
  Block::Owner build(Cpu& cpu, const Place& at, unsigned limit);
  Block::Owner build_crossing(Cpu& cpu, const Place& at, const u8* second);
  void add(Cpu& cpu, Insn insn);
  Block::Owner close(const Place& at, const u8* second);
  Block* keep(Cpu& cpu, Block::Owner block, const Place& at);
  void bury(Block::Owner block);
  void forget_all(Cpu& cpu);
  void drop_if_touched(u64 page, u64 begin, u64 end);

  BlockMemory memory_;       ///< first, so that it outlives every block
  std::vector<Insn> draft_;  ///< of the block being built
  Block nothing_;            ///< what an empty slot holds
  std::vector<Block*> table_;
  std::unordered_map<u64, Page> pages_;              ///< live blocks by the host page they begin on
  std::unordered_map<u64, std::vector<u64>> tails_;  ///< host page -> first pages of blocks whose instruction ends on it
  std::vector<Block::Owner> graveyard_;
  Block::Owner capped_;
  u64 built_ = 0, dropped_ = 0;
};

}  // namespace nestwalk::cpu
