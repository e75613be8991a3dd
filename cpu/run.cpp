// The run loop: find the block at RIP, pay its fixed costs, run it, take events at its end.
//
// A block's instructions and cycles are added when it is entered and what did not happen is taken back when a fault or a
// write to the block itself leaves it early. Interrupts, timers and stop requests are looked at between blocks only.
#include <fmt/format.h>

#include "cpu/blocks.h"
#include "cpu/cpu.h"
#include "cpu/decode.h"

namespace nestwalk::cpu {

Stop Cpu::run(u64 limit) {
  stop_ = Stop::none;
  while (true) {
    // At the limit events wait for the next call; what the last instruction asked for does not.
    if (NW_UNLIKELY(clock.instructions >= limit)) {
      blocks_->running = nullptr;  // others may write its bytes before it goes on
      return stop_ != Stop::none ? stop_ : Stop::limit;
    }
    if (NW_UNLIKELY(attention_.load(std::memory_order_relaxed) || *clock.ticker() >= clock.deadline()))
      if (!take_events()) return stop_;
    if (NW_UNLIKELY(cautious_)) {
      single_step();
      continue;
    }
    try {
      const bool observed = retire_ != nullptr;
      if (port.by_line())
        observed ? run_blocks<true, true>(limit) : run_blocks<true, false>(limit);
      else
        observed ? run_blocks<false, true>(limit) : run_blocks<false, false>(limit);
    } catch (const Trap& trap) {
      handle_trap(trap);
    }
  }
}

/// Until something wants attention, an event is due, the limit is reached, or an instruction traps.
template <bool by_line, bool observed>
void Cpu::run_blocks(u64 limit) {
  const u64* const ticker = clock.ticker();
  while (step<by_line, observed>(limit) &&
         NW_LIKELY(!attention_.load(std::memory_order_relaxed) && *ticker < clock.deadline())) {
  }
}

template <bool by_line, bool observed>
NW_INLINE bool Cpu::step(u64 limit) {
  const u64 linear = long64() ? s.rip : static_cast<u32>(s.seg[CS].base + s.rip);
  if (mmu::Filter::Entry* const e = by_line ? port.fetch_entry(linear) : port.fetch_page_entry(linear);
      NW_LIKELY(e != nullptr)) {
    const u64 key = Block::key_of(linear + e->addend, code_size_);
    Block& b = *blocks_->slot(s.rip);
    if (NW_LIKELY(b.rip == s.rip && b.key == key && clock.instructions + b.count <= limit)) {
      if constexpr (!by_line) {
        port.fetch_block(*e, b.lines);
      } else {
        port.fetch_line_of(*e);
        if (b.lines > 1) fetch_lines((linear & ~u64{63}) + 64, b.lines - 1);
      }
      execute<observed>(b);
      return true;
    }
  }
  return step_slowly<observed>(limit, linear);
}

void Cpu::fetch_lines(u64 linear, u32 lines) {
  blocks_->running = nullptr;  // a fault here belongs to no instruction yet
  if (auto r = port.fetch_lines(linear, lines); NW_UNLIKELY(!r)) fail(r.fault(), CS);
}

template <bool observed>
__attribute__((noinline)) bool Cpu::step_slowly(u64 limit, u64 linear) {
  if (clock.instructions >= limit) return false;
  blocks_->running = nullptr;
  execute<observed>(find_block(linear, limit - clock.instructions));
  return true;
}

template <bool observed>
NW_INLINE void Cpu::execute(Block& b) {
  clock.instructions += b.count;
  clock.cycles += b.cost;
  block_rip = b.rip;
  blocks_->running = &b;
  const Insn& first = b.insns[0];
  first.fn(*this, first);
  if constexpr (observed) report_retired(b);
}

/// The way round: the filter does not know the page, the block is not in its slot, crosses a page, or must be cut short.
/// Fetches as it goes: one access for each line of the block.
Block& Cpu::find_block(u64 linear, u64 most) {
  if (cautious_) most = 1;
  const auto first = port.fetch_line(linear);
  if (!first) fail(first.fault(), CS);
  if (!first->host) ud();  // no memory there: the bus floats high, and FF FF is no instruction
  const Blocks::Place at{s.rip, linear, first->host, Block::key_of(reinterpret_cast<u64>(first->host), code_size_)};
  Block* b = blocks_->slot(s.rip);
  if (b->rip != at.rip || b->key != at.key) b = blocks_->get(*this, at);
  if (b && b->count > most) b = blocks_->capped(*this, at, static_cast<unsigned>(most));
  if (!b) {
    const u64 next = (linear & ~kPageMask) + kPageBytes;
    const auto second = port.fetch_line(long_mode() ? next : static_cast<u32>(next));
    if (!second) fail(second.fault(), CS);
    if (!second->host) ud();
    b = blocks_->crossing(*this, at, second->host);
  }
  if (b->lines > 1)
    if (auto r = port.fetch_lines((linear & ~u64{63}) + 64, b->lines - 1); !r) fail(r.fault(), CS);
  return *b;
}

void Cpu::unretire_from(const Insn& i) {
  const Block& b = *blocks_->running;
  const Insn* const end = b.insns + b.count;
  u64 count = 0;
  Cycles cost = 0;
  for (const Insn* n = &i; n < end; ++n) {
    ++count;
    cost += n->cost;
  }
  clock.instructions -= count;
  clock.cycles -= cost;
  unretired_ = static_cast<u32>(count);
}

void Cpu::report_retired(const Block& b) {
  if (!retire_) return;
  const u32 count = b.count - std::exchange(unretired_, 0u);
  if (count) retire_->retired(b.rip, b.insns, count);
}

/// A fault unwinds to here with the state as the instruction found it; RIP is put back to the instruction (or behind it for
/// a trap), and the exception goes through the IDT.
void Cpu::handle_trap(const Trap& trap) {
  if (blocks_->running) {
    const Insn& i = *current;
    const bool completed = trap.after;
    s.rip = completed ? next_rip(i) : rip_of(i);
    unretire_from(completed ? *(&i + 1) : i);
    report_retired(*blocks_->running);
    unretired_ = 0;
    blocks_->running = nullptr;
  }
  s.interrupt_shadow = false;
  if (trap.vector == ex::frozen) {
    s.halted = true;
    request_attention();
    return;
  }
  deliver(trap, Source::exception);
}

// ---- events ------------------------------------------------------------------------------------------------------------

/// Whether the next block must be one instruction with a look around before and after it.
void Cpu::refresh_caution() {
  const bool breakpoints = s.dr[7] & 0xff;
  cautious_ = (s.rflags & fl::tf) || s.interrupt_shadow || breakpoints;
}

bool Cpu::take_events() {
  blocks_->running = nullptr;
  blocks_->sweep();
  if (poll_.exchange(false, std::memory_order_relaxed)) platform.poll();
  // Traps on the instruction before (single-step, data breakpoints) come before interrupts (SDM vol. 3, table 6-2).
  if (pending_db_) {
    Trap t;
    t.vector = ex::db;
    t.after = true;
    t.dr6 = std::exchange(pending_db_, 0);
    deliver_guarded(t, Source::exception);
  }
  if (*clock.ticker() >= clock.deadline()) clock.run_due();
  if (stop_ != Stop::none) return false;
  if (NW_UNLIKELY(clock.is_past_fence())) {
    stop_ = Stop::turn_over;
    return false;
  }
  if (NW_UNLIKELY(init_ || s.waits_for_startup) && !start()) {
    stop_ = Stop::asleep;
    request_attention();
    return false;
  }
  if (!s.interrupt_shadow) {
    if (nmi_ && !s.nmi_blocked) {
      nmi_ = false;
      s.halted = false;
      s.nmi_blocked = true;
      deliver_guarded(Trap{.vector = ex::nmi}, Source::external);
    } else if (interrupt_ && (s.rflags & fl::if_)) {
      const int vector = platform.acknowledge_interrupt();
      if (vector >= 0) {
        s.halted = false;
        deliver_guarded(Trap{.vector = static_cast<u8>(vector)}, Source::external);
      }
    }
  }
  if (NW_UNLIKELY(has_virtual_interrupt())) deliver_guarded(Trap{.vector = ex::gp, .has_error = true}, Source::exception);
  while (s.halted) {
    if (poll_.exchange(false, std::memory_order_relaxed)) platform.poll();
    if (stop_ == Stop::none && s.waiting && wakes()) break;
    if (stop_ != Stop::none || !halt()) return false;
    if (stop_ != Stop::none) return false;
    if ((interrupt_ && (s.rflags & fl::if_)) || (nmi_ && !s.nmi_blocked)) return take_events();
  }
  if (stop_ != Stop::none) return false;
  refresh_caution();
  attention_.store(cautious_ || (interrupt_ && (s.rflags & fl::if_)) || (nmi_ && !s.nmi_blocked),
                   std::memory_order_relaxed);
  return true;
}

bool Cpu::is_awaited() {
  if (init_ || startup_ >= 0) return true;
  if (s.waits_for_startup) return false;
  if (!s.halted || (interrupt_ && (s.rflags & fl::if_)) || (nmi_ && !s.nmi_blocked)) return true;
  return s.waiting && ((s.wakes_masked && interrupt_) || !port.monitoring());
}

/// Ends MWAIT without a delivery: somebody stored to the line, or an interrupt is pending that IF keeps out.
bool Cpu::wakes() {
  const bool masked = s.wakes_masked && interrupt_ && !(s.rflags & fl::if_);
  if (!masked && port.monitoring()) return false;
  port.disarm_monitor();
  s.halted = s.waiting = false;
  return true;
}

/// One instruction under TF, an interrupt shadow or armed breakpoints; the events are looked at before the next one,
/// whatever it is (STI, HLT: the processor sleeps).
void Cpu::single_step() {
  attention_.store(true, std::memory_order_relaxed);
  const bool shadow = std::exchange(s.interrupt_shadow, false);
  const bool trace = s.rflags & fl::tf;
  if (!shadow && !(s.rflags & fl::rf))
    if (const u64 hit = instruction_breakpoints()) {
      deliver_guarded(Trap{.vector = ex::db, .dr6 = hit}, Source::exception);
      return;
    }
  s.rflags &= ~fl::rf;
  delivered_ = false;
  try {
    const u64 linear = long64() ? s.rip : static_cast<u32>(s.seg[CS].base + s.rip);
    step_slowly<true>(clock.instructions + 1, linear);
  } catch (const Trap& trap) {
    handle_trap(trap);
    return;
  }
  u64 hits = port.take_watch_hits();
  // Also behind an element of a REP that goes on, but not behind INT n, which cleared TF (SDM vol. 3, 17.3.1.4).
  if (trace && !delivered_) hits |= bit(14);
  // MOV SS delays debug traps by one instruction (SDM vol. 3, 6.8.3).
  if (hits && !s.interrupt_shadow) pending_db_ = hits;
}

u64 Cpu::instruction_breakpoints() const {
  u64 hit = 0;
  const u64 linear = long64() ? s.rip : static_cast<u32>(s.seg[CS].base + s.rip);
  for (unsigned n = 0; n < 4; ++n) {
    const bool enabled = (s.dr[7] >> (2 * n)) & 3;
    const unsigned kind = (s.dr[7] >> (16 + 4 * n)) & 3;
    if (enabled && kind == 0 && s.dr[n] == linear) hit |= bit(n);
  }
  return hit;
}

void Cpu::update_breakpoints() {
  std::array<mmu::Port::Watch, 4> watches{};
  for (unsigned n = 0; n < 4; ++n) {
    const bool enabled = (s.dr[7] >> (2 * n)) & 3;
    const unsigned kind = (s.dr[7] >> (16 + 4 * n)) & 3;
    const unsigned length = (s.dr[7] >> (18 + 4 * n)) & 3;
    if (!enabled || (kind != 1 && kind != 3)) continue;
    const u64 bytes = length == 2 ? 8 : length + 1;
    watches[n] = {s.dr[n] & ~(bytes - 1), bytes, kind == 3};
  }
  port.set_watches(watches);
  attention_.store(true, std::memory_order_relaxed);
}

bool Cpu::halt() {
  if (platform.has_siblings()) {
    stop_ = Stop::asleep;
    request_attention();
    return false;
  }
  const bool wakeable = (s.rflags & fl::if_) || (s.waiting && s.wakes_masked);
  if (!wakeable && !nmi_) {  // only NMI, SMI or INIT could end this, and no device of ours sends one
    stop_ = Stop::halted_forever;
    return false;
  }
  if (clock.has_events() && !platform.may_let_time_pass()) {
    stop_ = Stop::asleep;
    request_attention();
    return false;
  }
  sim::Ticks skipped = 0;
  const Cycles before = clock.cycles;
  if (!clock.skip_to_next(skipped)) {
    stop_ = Stop::halted_forever;
    return false;
  }
  port.book(Cause::idle, clock.cycles - before);
  clock.run_due();
  return true;
}

/// Delivery outside an instruction: what it raises is delivered in turn.
void Cpu::deliver_guarded(const Trap& trap, Source source) {
  try {
    deliver(trap, source);
  } catch (const Trap& nested) {
    handle_trap(nested);
  }
}

// ---- code that changes -----------------------------------------------------------------------------------------------

void Cpu::code_written(MachineAddr address, unsigned bytes) {
  if (const u8* host = port.memory().host(address)) blocks_->written(host, bytes, *this);
}

void Cpu::note_undefined(const Insn& i) {
  u8 bytes[15] = {};
  unsigned n = 0;
  for (; n < sizeof bytes; ++n) {
    const u64 linear = (long64() ? rip_of(i) : static_cast<u32>(s.seg[CS].base + rip_of(i))) + n;
    const auto t = port.model().probe(LinearAddr(linear), port.explicit_access(mmu::Side::fetch));
    const u8* host = t ? port.memory().host(t->address) : nullptr;
    if (!host) break;
    bytes[n] = *host;
  }
  const std::string text = listing(bytes, n, code_size(), rip_of(i));
  const u64 opcode = bytes[0] | u64{bytes[1]} << 8 | u64{bytes[2]} << 16;
  if (noted_.insert(opcode).second) platform.note("undefined instruction (#UD) at " + text);
}

}  // namespace nestwalk::cpu
