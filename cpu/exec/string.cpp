// String instructions (SDM vol. 2: MOVS, CMPS, SCAS, LODS, STOS, REP/REPE/REPNE; vol. 1, 7.3.9).
//
// Every element is one access for its load and one for its store. The exception is what microcode does with fast strings
// (Optimization Manual, 3.7.6): REP MOVSB and REP STOSB upwards, 64 bytes or more to go, move aligned 32-byte chunks of the
// destination, each one access; never across a page end, so that a fault finds RSI, RDI and RCX at the faulting byte,
// and only where the result is that of single bytes. The choice depends on architectural state alone.
//
// A repeated instruction is interruptible: after 256 rounds it goes back to the run loop and starts again where it was.
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

constexpr unsigned kRounds = 256;
constexpr u64 kChunk = 32, kFastFrom = 64;

struct Chunk {
  u64 q[4];
};

/// RSI, RDI and RCX of the running instruction: the registers hold what the finished elements left. Pays a cycle a round,
/// but for the one that the fixed cost of an instruction that completes has covered.
class Cursor {
 public:
  Cursor(Cpu& c, const Insn& i) : cpu(c), insn(i), size_(i.address) {
    si = get_at_size(c, RSI, size_);
    di = get_at_size(c, RDI, size_);
    left = get_at_size(c, RCX, size_);
    down_ = c.s.rflags & fl::df;
  }
  ~Cursor() {
    if (rounds > covered) cpu.port.pay(Cause::instruction, rounds - covered);
  }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  u64 source(unsigned bytes) const { return linear_in<mmu::Side::load>(cpu, insn.segment, si, bytes); }
  template <mmu::Side side>
  u64 target(unsigned bytes) const {
    return linear_in<side>(cpu, ES, di, bytes);
  }

  /// One element, or one chunk of `bytes` upwards, is done.
  void advance_source(u64 bytes) { set_at_size(cpu, RSI, si = moved(si, bytes), size_); }
  void advance_target(u64 bytes) { set_at_size(cpu, RDI, di = moved(di, bytes), size_); }
  void count(u64 elements) {
    left -= elements;
    set_at_size(cpu, RCX, left, size_);
    ++rounds;
  }
  bool down() const { return down_; }

  Cpu& cpu;
  const Insn& insn;
  u64 si, di, left;
  Cycles rounds = 0, covered = 0;

 private:
  u64 moved(u64 at, u64 bytes) const { return truncate_to(down_ ? at - bytes : at + bytes, size_); }
  unsigned size_;
  bool down_;
};

// Each does one element: all accesses first, then the registers. The result says whether REPE (`true`) would go on.
struct Movs {
  template <class T>
  static bool element(Cursor& k) {
    const T v = k.cpu.load_at<T>(k.source(sizeof(T)), k.insn.segment);
    k.cpu.store_at<T>(k.target<mmu::Side::store>(sizeof(T)), v, ES);
    k.advance_source(sizeof(T));
    k.advance_target(sizeof(T));
    return true;
  }
};
struct Stos {
  template <class T>
  static bool element(Cursor& k) {
    k.cpu.store_at<T>(k.target<mmu::Side::store>(sizeof(T)), k.cpu.gpr<T>(0), ES);
    k.advance_target(sizeof(T));
    return true;
  }
};
struct Lods {
  template <class T>
  static bool element(Cursor& k) {
    k.cpu.set_gpr<T>(0, k.cpu.load_at<T>(k.source(sizeof(T)), k.insn.segment));
    k.advance_source(sizeof(T));
    return true;
  }
};
template <class T>
bool compared(Cpu& c, T a, T b) {
  c.s.flags.sub<T>(a, b, static_cast<T>(a - b));
  return a == b;
}
struct Cmps {
  template <class T>
  static bool element(Cursor& k) {
    const T a = k.cpu.load_at<T>(k.source(sizeof(T)), k.insn.segment);
    const T b = k.cpu.load_at<T>(k.target<mmu::Side::load>(sizeof(T)), ES);
    k.advance_source(sizeof(T));
    k.advance_target(sizeof(T));
    return compared(k.cpu, a, b);
  }
};
struct Scas {
  template <class T>
  static bool element(Cursor& k) {
    const T b = k.cpu.load_at<T>(k.target<mmu::Side::load>(sizeof(T)), ES);
    k.advance_target(sizeof(T));
    return compared(k.cpu, k.cpu.gpr<T>(0), b);
  }
};

/// Bytes up to the end of the page that holds `offset`, seen from a linear address.
u64 room_on_page(u64 linear) { return kPageBytes - (linear & kPageMask); }

/// Moves or fills one chunk if fast strings apply to the next bytes. Only in 64-bit mode with 64-bit addresses: there no
/// segment limit and no wrap lies within a chunk's page.
template <bool moves>
bool chunk(Cursor& k) {
  Cpu& c = k.cpu;
  if (k.left < kFastFrom || k.down() || !c.long64() || k.insn.address != 8) return false;
  const u64 to = k.target<mmu::Side::store>(kChunk);
  if (to % kChunk) return false;
  Chunk v;
  if constexpr (moves) {
    const u64 from = k.source(kChunk);
    if (to - from < kFastFrom || room_on_page(from) < kChunk) return false;
    v = c.load_at<Chunk>(from, k.insn.segment);
    c.store_at<Chunk>(to, v, ES);
    k.advance_source(kChunk);
  } else {
    const u64 q = u64{0x0101010101010101} * c.gpr<u8>(0);
    v = {{q, q, q, q}};
    c.store_at<Chunk>(to, v, ES);
  }
  k.advance_target(kChunk);
  k.count(kChunk);
  return true;
}

/// Leaves the block so that the instruction starts again; it has not retired. RF tells what looks at each element that the
/// instruction goes on (SDM vol. 3, 17.3.1.1).
void restart(Cpu& c, const Insn& i, bool stepped) {
  c.s.rip = c.rip_of(i);
  if (stepped) c.s.rflags |= fl::rf;
  c.unretire_from(i);
}

template <class Op, class T>
void once(Cpu& c, const Insn& i) {
  Cursor k(c, i);
  Op::template element<T>(k);
}

enum class Until : u8 { count, unequal, equal };  ///< REP, REPE, REPNE

/// Elements up to the count's end, to the comparison that ends it, or to `most` rounds; false: these are up.
template <class Op, class T, Until until>
bool elements(Cpu& c, Cursor& k, Cycles most, bool stepped) {
  constexpr bool moves = std::is_same_v<Op, Movs>, fast = sizeof(T) == 1 && (moves || std::is_same_v<Op, Stos>);
  while (k.left) {
    if (k.rounds == most) return false;
    if constexpr (fast)
      if (!stepped && chunk<moves>(k)) continue;
    const bool equal = Op::template element<T>(k);
    k.count(1);
    if constexpr (until == Until::unequal)
      if (!equal) break;
    if constexpr (until == Until::equal)
      if (equal) break;
  }
  return true;
}

/// A count of 0 with 32-bit addresses in 64-bit mode: Intel's processors clear the high halves of the registers that they
/// would have counted with, though nothing is done (measured).
template <class Op>
void truncate_counters(Cpu& c) {
  constexpr bool stores = std::is_same_v<Op, Stos>, scans = std::is_same_v<Op, Scas>, loads = std::is_same_v<Op, Lods>;
  c.s.gpr[RCX] = 0;
  if constexpr (!loads) c.s.gpr[RDI] = static_cast<u32>(c.s.gpr[RDI]);
  if constexpr (!stores && !scans) c.s.gpr[RSI] = static_cast<u32>(c.s.gpr[RSI]);
}

template <class Op, class T, Until until>
void repeated(Cpu& c, const Insn& i) {
  c.current = &i;
  // Single steps and breakpoints trap behind each element (SDM vol. 3, 17.3.1.4).
  const bool stepped = (c.s.rflags & fl::tf) || (c.s.dr[7] & 0xff);
  const Cycles most = stepped ? 1 : kRounds;
  Cursor k(c, i);
  if (!k.left && c.long64() && i.address == 4) truncate_counters<Op>(c);
  if constexpr (until == Until::count) {
    if (!elements<Op, T, until>(c, k, most, stepped)) return restart(c, i, stepped);
  } else {
    // A fault restores the flags of before the instruction, the finished comparisons' are lost (SDM vol. 2, REP).
    const Flags before = c.s.flags;
    try {
      if (!elements<Op, T, until>(c, k, most, stepped)) {
        if (!stepped) c.s.flags = before;
        return restart(c, i, stepped);
      }
    } catch (const Trap&) {
      c.s.flags = before;
      throw;
    }
  }
  k.covered = 1;
  leave_block(c, i);
}

template <class Op, class T>
Handler bind_string(const Insn& i) {
  constexpr bool compares = std::is_same_v<Op, Cmps> || std::is_same_v<Op, Scas>;
  if (!(i.flags & (Insn::kRep | Insn::kRepne))) return then_next<once<Op, T>>;
  if constexpr (compares)
    return i.has(Insn::kRep) ? repeated<Op, T, Until::unequal> : repeated<Op, T, Until::equal>;
  else
    return repeated<Op, T, Until::count>;
}

}  // namespace

Handler bind_movsb(const Insn& i) { return bind_string<Movs, u8>(i); }
Handler bind_movsw(const Insn& i) { return bind_string<Movs, u16>(i); }
Handler bind_movsd(const Insn& i) { return bind_string<Movs, u32>(i); }
Handler bind_movsq(const Insn& i) { return bind_string<Movs, u64>(i); }
Handler bind_stosb(const Insn& i) { return bind_string<Stos, u8>(i); }
Handler bind_stosw(const Insn& i) { return bind_string<Stos, u16>(i); }
Handler bind_stosd(const Insn& i) { return bind_string<Stos, u32>(i); }
Handler bind_stosq(const Insn& i) { return bind_string<Stos, u64>(i); }
Handler bind_lodsb(const Insn& i) { return bind_string<Lods, u8>(i); }
Handler bind_lodsw(const Insn& i) { return bind_string<Lods, u16>(i); }
Handler bind_lodsd(const Insn& i) { return bind_string<Lods, u32>(i); }
Handler bind_lodsq(const Insn& i) { return bind_string<Lods, u64>(i); }
Handler bind_cmpsb(const Insn& i) { return bind_string<Cmps, u8>(i); }
Handler bind_cmpsw(const Insn& i) { return bind_string<Cmps, u16>(i); }
Handler bind_cmpsd(const Insn& i) { return bind_string<Cmps, u32>(i); }
Handler bind_cmpsq(const Insn& i) { return bind_string<Cmps, u64>(i); }
Handler bind_scasb(const Insn& i) { return bind_string<Scas, u8>(i); }
Handler bind_scasw(const Insn& i) { return bind_string<Scas, u16>(i); }
Handler bind_scasd(const Insn& i) { return bind_string<Scas, u32>(i); }
Handler bind_scasq(const Insn& i) { return bind_string<Scas, u64>(i); }

}  // namespace nestwalk::cpu
