// CMP or TEST followed by Jcc. The flags are set as ever (somebody behind the branch may read them); only the condition is
// taken from the operands directly, and one dispatch is saved.
#include "cpu/exec/fuse.h"

#include "cpu/bind.h"
#include "cpu/exec/condition.h"

namespace nestwalk::cpu {
namespace {

struct Compare {
  template <class T>
  static NW_INLINE T apply(Cpu& c, T a, T b) {
    const T r = static_cast<T>(a - b);
    c.s.flags.sub<T>(a, b, r);
    return r;
  }
  template <Cc cc, class T>
  static NW_INLINE bool holds_for(Cpu& c, T a, T b, T r) {
    using S = std::make_signed_t<T>;
    switch (cc) {
      case Cc::B: return a < b;
      case Cc::NB: return a >= b;
      case Cc::Z: return r == 0;
      case Cc::NZ: return r != 0;
      case Cc::BE: return a <= b;
      case Cc::NBE: return a > b;
      case Cc::S: return static_cast<S>(r) < 0;
      case Cc::NS: return static_cast<S>(r) >= 0;
      case Cc::L: return static_cast<S>(a) < static_cast<S>(b);
      case Cc::NL: return static_cast<S>(a) >= static_cast<S>(b);
      case Cc::LE: return static_cast<S>(a) <= static_cast<S>(b);
      case Cc::NLE: return static_cast<S>(a) > static_cast<S>(b);
      default: return holds<cc>(c.s.flags);
    }
  }
};

struct Test {
  template <class T>
  static NW_INLINE T apply(Cpu& c, T a, T b) {
    const T r = a & b;
    c.s.flags.logic<T>(r);
    return r;
  }
  template <Cc cc, class T>
  static NW_INLINE bool holds_for(Cpu& c, T, T, T r) {
    using S = std::make_signed_t<T>;
    switch (cc) {  // CF = OF = 0
      case Cc::Z:
      case Cc::BE: return r == 0;
      case Cc::NZ:
      case Cc::NBE: return r != 0;
      case Cc::S:
      case Cc::L: return static_cast<S>(r) < 0;
      case Cc::NS:
      case Cc::NL: return static_cast<S>(r) >= 0;
      case Cc::LE: return static_cast<S>(r) <= 0;
      case Cc::NLE: return static_cast<S>(r) > 0;
      default: return holds<cc>(c.s.flags);
    }
  }
};

/// Both halves, the operands at hand. `i` is the comparison, the branch stands behind it.
template <class F, Cc cc, class T>
NW_INLINE void finish(Cpu& c, const Insn& i, T a, T b) {
  const T r = F::template apply<T>(c, a, b);
  const Insn& branch = (&i)[1];
  c.s.rip =
      F::template holds_for<cc, T>(c, a, b, r) ? static_cast<u64>(branch.imm) : c.block_rip + branch.offset + branch.length;
}

template <class F, Cc cc, class T>
void rr(Cpu& c, const Insn& i) {
  finish<F, cc, T>(c, i, c.gpr<T>(i.reg[0]), c.gpr<T>(i.reg[1]));
}
template <class F, Cc cc, class T>
void ri(Cpu& c, const Insn& i) {
  finish<F, cc, T>(c, i, c.gpr<T>(i.reg[0]), static_cast<T>(i.imm));
}
template <class M, class F, Cc cc, class T>
bool mi(Cpu& c, const Insn& i) {
  T a;
  if (!M::load(c, i, a)) return false;
  finish<F, cc, T>(c, i, a, static_cast<T>(i.imm));
  return true;
}
template <class M, class F, Cc cc, class T>
bool rm(Cpu& c, const Insn& i) {
  T b;
  if (!M::load(c, i, b)) return false;
  finish<F, cc, T>(c, i, c.gpr<T>(i.reg[0]), b);
  return true;
}

template <class F, class T>
Handler with_width(const Insn& i, Op branch) {
  return by_condition(branch, Op::JO, [&]<Cc cc>() -> Handler {
    if (i.kind[0] == Operand::gpr && i.kind[1] == Operand::gpr) return ends_without_fault<rr<F, cc, T>>;
    if (i.kind[0] == Operand::gpr && i.kind[1] == Operand::imm) return ends_without_fault<ri<F, cc, T>>;
    if (i.kind[0] == Operand::mem && i.kind[1] == Operand::imm) return NW_MEMORY_ENDING(mi, F, cc, T);
    if (i.kind[0] == Operand::gpr && i.kind[1] == Operand::mem) return NW_MEMORY_ENDING(rm, F, cc, T);
    return nullptr;
  });
}

template <class F>
Handler with(const Insn& i, Op branch) {
  switch (i.width) {
    case 1: return with_width<F, u8>(i, branch);
    case 4: return with_width<F, u32>(i, branch);
    case 8: return with_width<F, u64>(i, branch);
    default: return nullptr;
  }
}

}  // namespace

Handler fuse(const Insn& first, const Insn& second) {
  const bool conditional = second.op >= Op::JO && second.op <= Op::JNLE;
  // As exec/branch.cpp: a target that is canonical under every linear width needs no check.
  if (!conditional || second.width != 8 || !is_canonical(static_cast<u64>(second.imm), 47)) return nullptr;
  if (first.op == Op::CMP) return with<Compare>(first, second.op);
  if (first.op == Op::TEST) return with<Test>(first, second.op);
  return nullptr;
}

}  // namespace nestwalk::cpu
