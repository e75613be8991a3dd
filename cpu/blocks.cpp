#include "cpu/blocks.h"

#include <algorithm>
#include <memory>

#include "cpu/decode.h"
#include "cpu/exec/fuse.h"
#include "cpu/exec/misc.h"

namespace nestwalk::cpu {
namespace {

u64 page_of(const u8* host) { return reinterpret_cast<u64>(host) & ~kPageMask; }

/// Behind the last instruction: RIP goes on there.
void leave(Cpu& c, const Insn& i) { c.s.rip = c.truncate_rip(c.block_rip + i.offset); }

/// Put over the instructions of a block that was overwritten while it runs: leave before this one.
void leave_early(Cpu& c, const Insn& i) {
  c.s.rip = c.rip_of(i);
  c.unretire_from(i);
}

}  // namespace

Blocks::Blocks() : table_(kSlots, &nothing_) {}
Blocks::~Blocks() = default;

void Blocks::add(Cpu& cpu, Insn insn) {
  insn.cost = static_cast<u16>(std::min<Cycles>(cpu.timing.cost(insn), 0xffff));
  draft_.push_back(insn);
}

/// The draft becomes a block: header and instructions in one piece of memory.
Block::Owner Blocks::close(const Place& at, const u8* second) {
  const std::size_t count = draft_.size();
  void* const memory = memory_.take(Block::size_of(static_cast<u32>(count)));
  Block::Owner b(new (memory) Block, {&memory_});
  Insn* const insns = reinterpret_cast<Insn*>(b.get() + 1);
  for (const Insn& i : draft_) {
    b->length += i.length;
    b->cost += i.cost;
  }
  Insn end;
  end.offset = static_cast<u16>(b->length);
  end.fn = leave;
  std::uninitialized_copy(draft_.begin(), draft_.end(), insns);
  new (insns + count) Insn(end);
  // The pair that ends most blocks is one step; the second instruction stays where it is, for its own fields.
  if (count >= 2)
    if (const Handler both = fuse(insns[count - 2], insns[count - 1])) insns[count - 2].fn = both;
  b->insns = insns;
  b->count = static_cast<u32>(count);
  const u64 on_page = std::min<u64>(b->length, kPageBytes - (at.linear & kPageMask));
  b->lines = static_cast<u32>(((at.linear & 63) + on_page + 63) >> 6);
  b->rip = at.rip;
  b->key = at.key | (second ? Block::kCrossing : 0);
  b->second = second;
  draft_.clear();
  ++built_;
  return b;
}

Block::Owner Blocks::build(Cpu& cpu, const Place& at, unsigned limit) {
  const u64 room = kPageBytes - (at.linear & kPageMask);
  u64 length = 0;
  while (draft_.size() < limit && length < room) {
    Insn insn;
    insn.offset = static_cast<u16>(length);
    const Decoded d = decode_insn(at.host + length, static_cast<unsigned>(std::min<u64>(room - length, 15)),
                                  cpu.code_size(), at.rip + length, cpu.cpuid, insn);
    if (d == Decoded::truncated) break;
    length += insn.length;
    add(cpu, insn);
    if (d == Decoded::undefined || insn.has(Insn::kEnds) || ends_block(insn)) break;
  }
  return draft_.empty() ? Block::Owner() : close(at, nullptr);
}

Block::Owner Blocks::build_crossing(Cpu& cpu, const Place& at, const u8* second) {
  u8 bytes[15];
  const unsigned here = static_cast<unsigned>(std::min<u64>(kPageBytes - (at.linear & kPageMask), sizeof bytes));
  std::copy_n(at.host, here, bytes);
  std::copy_n(second, sizeof bytes - here, bytes + here);
  Insn insn;
  decode_insn(bytes, sizeof bytes, cpu.code_size(), at.rip, cpu.cpuid, insn);
  add(cpu, insn);
  return close(at, second);
}

Block* Blocks::keep(Cpu& cpu, Block::Owner block, const Place& at) {
  Block* b = block.get();
  auto& memory = cpu.port.memory();
  for (const u8* host : {at.host, b->second}) {
    if (!host || knows(page_of(host))) continue;
    if (memory.mark_code(memory.machine_of(host), true)) cpu.port.forget_stores();
  }
  if (b->second) tails_[page_of(b->second)].push_back(page_of(at.host));
  pages_[page_of(at.host)].push_back(std::move(block));
  return b;
}

Block* Blocks::get(Cpu& cpu, const Place& at) {
  Block*& slot = table_[slot_of(at.rip)];
  if (is_crossing(*slot, at)) return nullptr;
  if (const auto page = pages_.find(page_of(at.host)); page != pages_.end())
    for (const auto& b : page->second) {
      if (b->rip == at.rip && b->key == at.key) return slot = b.get();
      if (is_crossing(*b, at)) return nullptr;  // no need to decode it again to know
    }
  if (memory_.bytes() > memory_limit) forget_all(cpu);
  auto b = build(cpu, at, kMaxInsns);
  return b ? slot = keep(cpu, std::move(b), at) : nullptr;
}

Block* Blocks::crossing(Cpu& cpu, const Place& at, const u8* second) {
  Block*& slot = table_[slot_of(at.rip)];
  if (is_crossing(*slot, at) && slot->second == second) return slot;
  if (const auto page = pages_.find(page_of(at.host)); page != pages_.end())
    for (const auto& b : page->second)
      if (is_crossing(*b, at) && b->second == second) return slot = b.get();
  return slot = keep(cpu, build_crossing(cpu, at, second), at);
}

Block* Blocks::capped(Cpu& cpu, const Place& at, unsigned limit) {
  auto b = build(cpu, at, limit);
  if (!b) return nullptr;
  // It must die like any other when its bytes change, so it lives among the others, but in no slot.
  capped_.reset();
  const u64 first = page_of(at.host);
  if (!knows(first)) {
    auto& memory = cpu.port.memory();
    if (memory.mark_code(memory.machine_of(at.host), true)) cpu.port.forget_stores();
    pages_[first];
  }
  capped_ = std::move(b);
  return capped_.get();
}

/// Between blocks only.
void Blocks::forget_all(Cpu& cpu) {
  auto& memory = cpu.port.memory();
  const auto unmark = [&](u64 page) { memory.mark_code(memory.machine_of(reinterpret_cast<const u8*>(page)), false); };
  for (const auto& [page, blocks] : pages_) unmark(page);
  for (const auto& [page, firsts] : tails_)
    if (!pages_.contains(page)) unmark(page);
  std::fill(table_.begin(), table_.end(), &nothing_);
  pages_.clear();
  tails_.clear();
  graveyard_.clear();
  capped_.reset();
  memory_.clear();
}

void Blocks::bury(Block::Owner block) {
  Block*& slot = table_[slot_of(block->rip)];
  if (slot == block.get()) slot = &nothing_;
  ++dropped_;
  graveyard_.push_back(std::move(block));
}

void Blocks::drop_if_touched(u64 page, u64 begin, u64 end) {
  const auto it = pages_.find(page);
  if (it == pages_.end()) return;
  Page& list = it->second;
  for (std::size_t n = 0; n < list.size();) {
    const Block& b = *list[n];
    const u64 start = b.host();
    const u64 stop = std::min(start + b.length, page + kPageBytes);
    const u64 second = reinterpret_cast<u64>(b.second);
    const u64 second_stop = b.second ? second + (start + b.length - (page + kPageBytes)) : 0;
    if ((begin < stop && start < end) || (b.second && begin < second_stop && second < end)) {
      bury(std::move(list[n]));
      list[n] = std::move(list.back());
      list.pop_back();
    } else {
      ++n;
    }
  }
}

void Blocks::written(const u8* host, unsigned bytes, Cpu& cpu) {
  const u64 begin = reinterpret_cast<u64>(host), end = begin + bytes, page = page_of(host);
  // The running block first: it must not execute bytes that are no longer there.
  if (running) {
    const u64 start = running->host();
    const u64 second = reinterpret_cast<u64>(running->second), first_stop = (start & ~kPageMask) + kPageBytes;
    const u64 second_stop = running->second ? second + (start + running->length - first_stop) : 0;
    const u64 stop = running->second ? first_stop : start + running->length;
    if ((begin < stop && start < end) || (running->second && begin < second_stop && second < end))
      for (u32 n = 0; n < running->count; ++n) const_cast<Insn&>(running->insns[n]).fn = leave_early;
  }
  drop_if_touched(page, begin, end);
  if (const auto t = tails_.find(page); t != tails_.end())
    for (const u64 first : t->second) drop_if_touched(first, begin, end);
  // A page without blocks is ordinary data again.
  const auto it = pages_.find(page);
  if (it != pages_.end() && it->second.empty() && !tails_.contains(page)) {
    pages_.erase(it);
    cpu.port.memory().mark_code(cpu.port.memory().machine_of(host), false);
  }
}

}  // namespace nestwalk::cpu
