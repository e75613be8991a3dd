// Data movement between vector registers, general registers and memory: MOVAPS to MASKMOVDQU (SDM vol. 2, 4). Non-temporal
// stores are ordinary stores here: the modelled caches know no write combining.
#include "cpu/exec/operand.h"
#include "cpu/exec/vector.h"

namespace nestwalk::cpu {
namespace {

// ---- whole registers ---------------------------------------------------------------------------------------------------

/// MOVAPS, MOVDQA, MOVUPS, ... between registers.
template <class E>
void move_reg(Cpu& c, const Insn& i) {
  E::require(c);
  E::set(c, i.reg[0], E::get(c, i.reg[1]));
}
template <bool aligned, class E>
void move_load(Cpu& c, const Insn& i) {
  E::require(c);
  if constexpr (aligned)
    E::set(c, i.reg[0], load_aligned<E::words>(c, i));
  else
    E::set(c, i.reg[0], c.load<typename E::Value>(i));
}
template <bool aligned, class E>
void move_store(Cpu& c, const Insn& i) {
  E::require(c);
  if constexpr (aligned)
    store_aligned<E::words>(c, i, E::get(c, i.reg[1]));
  else
    c.store(i, E::get(c, i.reg[1]));
}
template <bool aligned>
Handler move_whole(const Insn& i) {
  return by_encoding(i, [&]<class E>(E) {
    if (i.kind[0] == Operand::mem) return then_next<move_store<aligned, E>>;
    return i.kind[1] == Operand::mem ? then_next<move_load<aligned, E>> : then_next<move_reg<E>>;
  });
}

// ---- MOVD, MOVQ --------------------------------------------------------------------------------------------------------

/// To a vector register from a general register or memory, zero-extended.
template <class T, class E>
void move_in(Cpu& c, const Insn& i) {
  E::require(c);
  typename E::Value v = E::Value::zero();
  v.q[0] = c.read<T>(i, 1);
  E::set(c, i.reg[0], v);
}
/// From a vector register to a general register or memory.
template <class T, class E>
void move_out(Cpu& c, const Insn& i) {
  E::require(c);
  c.write<T>(i, 0, static_cast<T>(E::get(c, i.reg[1]).q[0]));
  if constexpr (E::words == 1) switch_to_mmx(c);
}
/// MOVQ between registers of one kind: the upper half of an XMM register becomes zero.
template <class E>
void move_low(Cpu& c, const Insn& i) {
  E::require(c);
  typename E::Value v = E::Value::zero();
  v.q[0] = E::get(c, i.reg[1]).q[0];
  E::set(c, i.reg[0], v);
}
constexpr bool is_vector(Operand k) { return k == Operand::vec || k == Operand::mmx; }
template <class T, class E>
Handler move_word_in(const Insn& i) {
  if (!is_vector(i.kind[0])) return then_next<move_out<T, E>>;
  return is_vector(i.kind[1]) ? then_next<move_low<E>> : then_next<move_in<T, E>>;
}
template <class T>
Handler move_word(const Insn& i) {
  if (i.kind[0] == Operand::mmx || i.kind[1] == Operand::mmx) return move_word_in<T, Mmx>(i);
  return by_encoding_128(i, [&]<class E>(E) { return move_word_in<T, E>(i); });
}

void movq2dq(Cpu& c, const Insn& i) {
  require_sse(c);
  enter_mmx(c);
  Sse::set(c, i.reg[0], {{mmx(c, i.reg[1]), 0}});
}
void movdq2q(Cpu& c, const Insn& i) {
  require_sse(c);
  enter_mmx(c);
  set_mmx(c, i.reg[0], c.s.vec[i.reg[1]].q[0]);
}

// ---- one element -------------------------------------------------------------------------------------------------------

/// MOVSS, MOVSD, MOVLPS, ...: element `to` of the first source from element `from` of the second.
template <class T, unsigned to, unsigned from, class E>
void merge_reg(Cpu& c, const Insn& i) {
  E::require(c);
  const T v = E::get(c, i.reg[E::second]).template get<T>(from);
  if constexpr (E::vex) {
    Lanes<2> r = E::get(c, i.reg[E::first]);
    r.template set<T>(to, v);
    E::set(c, i.reg[0], r);
  } else {
    c.s.vec[i.reg[0]].set<T>(to, v);
  }
}
/// MOVSS, MOVSD from memory: the rest of the register becomes zero.
template <class T, class E>
void load_scalar(Cpu& c, const Insn& i) {
  E::require(c);
  E::set(c, i.reg[0], {{c.load<T>(i), 0}});
}
/// MOVLPS, MOVHPS, ... from memory: the other half is the first source's.
template <unsigned half, class E>
void load_half(Cpu& c, const Insn& i) {
  E::require(c);
  const u64 v = c.load<u64>(i);
  if constexpr (E::vex) {
    Lanes<2> r = E::get(c, i.reg[E::first]);
    r.q[half] = v;
    E::set(c, i.reg[0], r);
  } else {
    c.s.vec[i.reg[0]].q[half] = v;
  }
}
template <class T, unsigned from, class E>
void store_element(Cpu& c, const Insn& i) {
  E::require(c);
  c.store<T>(i, E::get(c, i.reg[1]).template get<T>(from));
}
template <class T>
Handler move_scalar(const Insn& i) {
  return by_encoding_128(i, [&]<class E>(E) {
    if (i.kind[0] == Operand::mem) return then_next<store_element<T, 0, E>>;
    return i.kind[1] == Operand::mem ? then_next<load_scalar<T, E>> : then_next<merge_reg<T, 0, 0, E>>;
  });
}
template <unsigned half>
Handler move_half(const Insn& i) {
  return by_encoding_128(i, [&]<class E>(E) {
    return i.kind[0] == Operand::mem ? then_next<store_element<u64, half, E>> : then_next<load_half<half, E>>;
  });
}
template <unsigned to, unsigned from>
Handler move_across(const Insn& i) {
  return by_encoding_128(i, []<class E>(E) { return then_next<merge_reg<u64, to, from, E>>; });
}

// ---- masked stores -----------------------------------------------------------------------------------------------------

/// MASKMOVDQU, MASKMOVQ: the bytes whose mask is negative, at DS:rDI. The whole operand must be writable, whatever the mask
/// (the manual leaves that open; Intel's cores do so).
template <class E>
void masked_store(Cpu& c, const Insn& i) {
  E::require(c);
  constexpr unsigned bytes = E::words * 8;
  const typename E::Value v = E::get(c, i.reg[0]), mask = E::get(c, i.reg[1]);
  const u64 at = linear_in<mmu::Side::store>(c, i.segment, truncate_to(c.s.gpr[RDI], i.address), bytes);
  if (auto r = c.port.probe_write(LinearAddr(at), bytes); !r) c.fail(r.fault(), i.segment);
  for (unsigned k = 0; k < bytes; ++k)
    if (mask.template get<u8>(k) & 0x80) c.store_at<u8>(linear_step(c, at, k), v.template get<u8>(k), i.segment);
  if constexpr (E::words == 1) switch_to_mmx(c);
}

}  // namespace

Handler bind_vector_move(const Insn& i) {
  switch (i.op) {
    case Op::MOVAPS:
    case Op::MOVAPD:
    case Op::MOVDQA:
    case Op::MOVNTPS:
    case Op::MOVNTPD:
    case Op::MOVNTDQ:
    case Op::MOVNTDQA: return move_whole<true>(i);
    case Op::MOVUPS:
    case Op::MOVUPD:
    case Op::MOVDQU:
    case Op::LDDQU: return move_whole<false>(i);
    case Op::MOVD: return move_word<u32>(i);
    case Op::MOVQ:
    case Op::MOVNTQ: return move_word<u64>(i);
    case Op::MOVQ2DQ: return then_next<movq2dq>;
    case Op::MOVDQ2Q: return then_next<movdq2q>;
    case Op::MASKMOVDQU: return by_encoding_128(i, []<class E>(E) { return then_next<masked_store<E>>; });
    case Op::MASKMOVQ: return then_next<masked_store<Mmx>>;
    default: return nullptr;
  }
}

Handler bind_element_move(const Insn& i) {
  switch (i.op) {
    case Op::MOVSS: return move_scalar<u32>(i);
    case Op::MOVSD_XMM: return move_scalar<u64>(i);
    case Op::MOVLPS:
    case Op::MOVLPD: return move_half<0>(i);
    case Op::MOVHPS:
    case Op::MOVHPD: return move_half<1>(i);
    case Op::MOVHLPS: return move_across<0, 1>(i);
    case Op::MOVLHPS: return move_across<1, 0>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
