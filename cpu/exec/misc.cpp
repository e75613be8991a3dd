// The small ones: flag instructions, XLAT, loops on RCX, stack frames, random numbers, cache hints and fences (SDM vol. 2).
#include "cpu/exec/misc.h"

#include "cpu/exec/near.h"
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

// ---- flags ----------------------------------------------------------------------------------------------------------

constexpr u64 kAhFlags = fl::sf | fl::zf | fl::af | fl::pf | fl::cf;

void clc(Cpu& c, const Insn&) { c.s.flags.set_cf(false); }
void stc(Cpu& c, const Insn&) { c.s.flags.set_cf(true); }
void cmc(Cpu& c, const Insn&) { c.s.flags.set_cf(!c.s.flags.cf()); }
void cld(Cpu& c, const Insn&) { c.s.rflags &= ~fl::df; }
void std_(Cpu& c, const Insn&) { c.s.rflags |= fl::df; }
void salc(Cpu& c, const Insn&) { c.gpr<u8>(0) = c.s.flags.cf() ? 0xff : 0; }

void need_lahf(Cpu& c) {
  if (c.long64() && !c.cpuid.has(Feature::lahf64)) c.ud();
}
void lahf(Cpu& c, const Insn&) {
  need_lahf(c);
  c.gpr<u8>(1) = static_cast<u8>((c.s.flags.pack() & kAhFlags) | fl::fixed);
}
void sahf(Cpu& c, const Insn&) {
  need_lahf(c);
  const u64 of = c.s.flags.pack() & fl::of;
  c.s.flags.unpack((c.gpr<u8>(1) & kAhFlags) | of);
}

// ---- table look-up, loops -------------------------------------------------------------------------------------------

void xlat(Cpu& c, const Insn& i) {
  const u64 offset = truncate_to(c.s.gpr[RBX] + c.gpr<u8>(0), i.address);
  c.gpr<u8>(0) = c.load_at<u8>(linear_in<mmu::Side::load>(c, i.segment, offset, 1), i.segment);
}

/// JCXZ, JECXZ, JRCXZ: the counter has the address size, the target the operand size.
void jump_if_counter_zero(Cpu& c, const Insn& i) {
  if (get_at_size(c, RCX, i.address) == 0) jump(c, static_cast<u64>(i.imm), i.width);
}

enum class While : u8 { always, equal, unequal };

template <While condition>
void loop(Cpu& c, const Insn& i) {
  const u64 left = truncate_to(c.s.gpr[RCX] - 1, i.address);
  const bool zf = c.s.flags.zf();
  if (left && (condition == While::always || zf == (condition == While::equal))) jump(c, static_cast<u64>(i.imm), i.width);
  set_at_size(c, RCX, left, i.address);  // after a target outside CS has faulted
}

// ---- stack frames ---------------------------------------------------------------------------------------------------

/// Puts RSP and RBP back when an instruction of several stack accesses faults in its middle.
template <class F>
void all_or_nothing(Cpu& c, F&& f) {
  const u64 sp = c.s.gpr[RSP], bp = c.s.gpr[RBP];
  try {
    f();
  } catch (const Trap&) {
    c.s.gpr[RSP] = sp;
    c.s.gpr[RBP] = bp;
    throw;
  }
}

template <class T>
void enter(Cpu& c, const Insn& i) {
  const u64 room = static_cast<u16>(i.imm);
  const unsigned level = i.imm2 % 32;
  all_or_nothing(c, [&] {
    c.push<T>(c.gpr<T>(8 * RBP));
    const u64 frame = c.sp();
    if (level) {
      u64 display = c.s.gpr[RBP];
      for (unsigned n = 1; n < level; ++n) {
        display = truncate_to(display - sizeof(T), c.stack_width());
        c.push<T>(c.load_at<T>(linear_in<mmu::Side::load>(c, SS, display, sizeof(T)), SS));
      }
      c.push<T>(static_cast<T>(frame));
    }
    c.set_sp(c.sp() - room);
    // The frame is refused as a whole if its last word could not be written.
    const u64 last = linear_in<mmu::Side::store>(c, SS, c.sp(), sizeof(T));
    if (auto r = c.port.probe_write(LinearAddr(last), sizeof(T)); !r) c.fail(r.fault(), SS);
    c.set_gpr<T>(8 * RBP, static_cast<T>(frame));
  });
}

template <class T>
void pusha(Cpu& c, const Insn&) {
  const T sp = static_cast<T>(c.s.gpr[RSP]);
  all_or_nothing(c, [&] {
    for (unsigned r = RAX; r <= RDI; ++r) c.push<T>(r == RSP ? sp : c.gpr<T>(static_cast<u8>(8 * r)));
  });
}
template <class T>
void popa(Cpu& c, const Insn&) {
  T v[8];
  for (unsigned n = 0; n < 8; ++n) v[RDI - n] = static_cast<T>(c.peek_stack(n * sizeof(T), sizeof(T)));
  for (unsigned r = RAX; r <= RDI; ++r)
    if (r != RSP) c.set_gpr<T>(static_cast<u8>(8 * r), v[r]);
  c.set_sp(c.sp() + 8 * sizeof(T));
}

/// Both bounds are signed and inclusive.
template <class T>
void bound(Cpu& c, const Insn& i) {
  using S = std::make_signed_t<T>;
  const u64 at = c.linear<mmu::Side::load>(i, 2 * sizeof(T));
  const S low = static_cast<S>(c.load_at<T>(at, i.segment));
  const S high = static_cast<S>(c.load_at<T>(linear_step(c, at, sizeof(T)), i.segment));
  const S v = static_cast<S>(c.gpr<T>(i.reg[0]));
  if (v < low || v > high) c.raise(ex::br);
}

// ---- random numbers, stores and hints -------------------------------------------------------------------------------

/// RDRAND, RDSEED: there is always a number, so CF = 1; the other flags are cleared.
template <class T>
void random_number(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], static_cast<T>(c.random.next()));
  c.s.flags.unpack(fl::cf);
}
template <class T>
void movnti(Cpu& c, const Insn& i) {
  c.store<T>(i, c.gpr<T>(i.reg[1]));
}
/// CLFLUSH, CLFLUSHOPT, CLWB are checked and translated like a load of one byte. Data are never stale here.
void flush_line(Cpu& c, const Insn& i) { c.load<u8>(i); }
/// Prefetches, fences and the hint space: nothing that a program can see. Prefetches do not walk either.
void hint(Cpu&, const Insn&) {}
void pause(Cpu& c, const Insn&) { c.platform.pause(); }

}  // namespace

bool lock_allowed(const Insn& i) {
  if (i.kind[0] != Operand::mem) return false;
  switch (i.op) {
    case Op::ADD:
    case Op::ADC:
    case Op::AND:
    case Op::BTC:
    case Op::BTR:
    case Op::BTS:
    case Op::CMPXCHG:
    case Op::CMPXCHG8B:
    case Op::CMPXCHG16B:
    case Op::DEC:
    case Op::INC:
    case Op::NEG:
    case Op::NOT:
    case Op::OR:
    case Op::SBB:
    case Op::SUB:
    case Op::XADD:
    case Op::XCHG:
    case Op::XOR: return true;
    default: return false;
  }
}

bool ends_block(const Insn& i) {
  switch (i.op) {
    case Op::MOV: return i.kind[0] == Operand::seg;
    case Op::POP: return i.kind[0] == Operand::seg;
    case Op::XCHG:
      return i.width == 2 && i.kind[0] == Operand::gpr && i.kind[1] == Operand::gpr && i.reg[0] == 8 * RBX &&
             i.reg[1] == 8 * RBX;
    case Op::MOVSB:
    case Op::MOVSW:
    case Op::MOVSD:
    case Op::MOVSQ:
    case Op::STOSB:
    case Op::STOSW:
    case Op::STOSD:
    case Op::STOSQ:
    case Op::LODSB:
    case Op::LODSW:
    case Op::LODSD:
    case Op::LODSQ:
    case Op::CMPSB:
    case Op::CMPSW:
    case Op::CMPSD:
    case Op::CMPSQ:
    case Op::SCASB:
    case Op::SCASW:
    case Op::SCASD:
    case Op::SCASQ: return i.flags & (Insn::kRep | Insn::kRepne);
    default: return false;
  }
}

Handler bind_clc(const Insn&) { return pure<clc>; }
Handler bind_stc(const Insn&) { return pure<stc>; }
Handler bind_cmc(const Insn&) { return pure<cmc>; }
Handler bind_cld(const Insn&) { return pure<cld>; }
Handler bind_std(const Insn&) { return pure<std_>; }
Handler bind_salc(const Insn&) { return pure<salc>; }
Handler bind_lahf(const Insn&) { return then_next<lahf>; }
Handler bind_sahf(const Insn&) { return then_next<sahf>; }
Handler bind_xlat(const Insn&) { return then_next<xlat>; }
Handler bind_jcxz(const Insn&) { return ending<jump_if_counter_zero>; }
Handler bind_loop(const Insn&) { return ending<loop<While::always>>; }
Handler bind_loope(const Insn&) { return ending<loop<While::equal>>; }
Handler bind_loopne(const Insn&) { return ending<loop<While::unequal>>; }
Handler bind_enter(const Insn& i) {
  return i.width == 8 ? then_next<enter<u64>> : i.width == 4 ? then_next<enter<u32>> : then_next<enter<u16>>;
}
Handler bind_pusha(const Insn&) { return then_next<pusha<u16>>; }
Handler bind_pushad(const Insn&) { return then_next<pusha<u32>>; }
Handler bind_popa(const Insn&) { return then_next<popa<u16>>; }
Handler bind_popad(const Insn&) { return then_next<popa<u32>>; }
Handler bind_bound(const Insn& i) { return i.width == 4 ? then_next<bound<u32>> : then_next<bound<u16>>; }
Handler bind_random(const Insn& i) { return NW_BY_WIDTH(i, then_next, random_number); }
Handler bind_movnti(const Insn& i) { return i.width == 8 ? then_next<movnti<u64>> : then_next<movnti<u32>>; }
Handler bind_flush_line(const Insn&) { return then_next<flush_line>; }
Handler bind_hint(const Insn&) { return pure<hint>; }
Handler bind_pause(const Insn&) { return pure<pause>; }

}  // namespace nestwalk::cpu
