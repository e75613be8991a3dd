// Data movement between vector registers, general registers and memory: MOVAPS to MASKMOVDQU (SDM vol. 2, 4). Non-temporal
// stores are ordinary stores here: the modelled caches know no write combining.
#include "cpu/exec/operand.h"
#include "cpu/exec/vector.h"

namespace nestwalk::cpu {
namespace {

// ---- whole registers ---------------------------------------------------------------------------------------------------

/// MOVAPS, MOVDQA, MOVUPS, ... between registers.
void move_reg(Cpu& c, const Insn& i) {
  require_sse(c);
  set_vector_reg<2>(c, i.reg[0], vector_reg<2>(c, i.reg[1]));
}
template <bool aligned>
void move_load(Cpu& c, const Insn& i) {
  require_sse(c);
  if constexpr (aligned)
    set_vector_reg<2>(c, i.reg[0], load_aligned(c, i));
  else
    set_vector_reg<2>(c, i.reg[0], c.load<Lanes<2>>(i));
}
template <bool aligned>
void move_store(Cpu& c, const Insn& i) {
  require_sse(c);
  if constexpr (aligned)
    store_aligned(c, i, vector_reg<2>(c, i.reg[1]));
  else
    c.store(i, vector_reg<2>(c, i.reg[1]));
}
template <bool aligned>
Handler move_whole(const Insn& i) {
  if (i.kind[0] == Operand::mem) return then_next<move_store<aligned>>;
  return i.kind[1] == Operand::mem ? then_next<move_load<aligned>> : then_next<move_reg>;
}

// ---- MOVD, MOVQ --------------------------------------------------------------------------------------------------------

/// To a vector register from a general register or memory, zero-extended.
template <class T, unsigned N>
void move_in(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  Lanes<N> v = Lanes<N>::zero();
  v.q[0] = c.read<T>(i, 1);
  set_vector_reg<N>(c, i.reg[0], v);
}
/// From a vector register to a general register or memory.
template <class T, unsigned N>
void move_out(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  c.write<T>(i, 0, static_cast<T>(vector_reg<N>(c, i.reg[1]).q[0]));
  if constexpr (N == 1) switch_to_mmx(c);
}
/// MOVQ between registers of one kind: the upper half of an XMM register becomes zero.
template <unsigned N>
void move_low(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  Lanes<N> v = Lanes<N>::zero();
  v.q[0] = vector_reg<N>(c, i.reg[1]).q[0];
  set_vector_reg<N>(c, i.reg[0], v);
}
constexpr bool is_vector(Operand k) { return k == Operand::vec || k == Operand::mmx; }
template <class T>
Handler move_word(const Insn& i) {
  const bool mmx_form = i.kind[0] == Operand::mmx || i.kind[1] == Operand::mmx;
  if (!is_vector(i.kind[0])) return mmx_form ? then_next<move_out<T, 1>> : then_next<move_out<T, 2>>;
  if (is_vector(i.kind[1])) return mmx_form ? then_next<move_low<1>> : then_next<move_low<2>>;
  return mmx_form ? then_next<move_in<T, 1>> : then_next<move_in<T, 2>>;
}

void movq2dq(Cpu& c, const Insn& i) {
  require_sse(c);
  enter_mmx(c);
  set_vector_reg<2>(c, i.reg[0], {{mmx(c, i.reg[1]), 0}});
}
void movdq2q(Cpu& c, const Insn& i) {
  require_sse(c);
  enter_mmx(c);
  set_mmx(c, i.reg[0], c.s.vec[i.reg[1]].q[0]);
}

// ---- one element -------------------------------------------------------------------------------------------------------

/// MOVSS, MOVSD, MOVLPS, ...: element `to` of the destination register from element `from` of the source register.
template <class T, unsigned to, unsigned from>
void merge_reg(Cpu& c, const Insn& i) {
  require_sse(c);
  c.s.vec[i.reg[0]].set<T>(to, c.s.vec[i.reg[1]].get<T>(from));
}
/// MOVSS, MOVSD from memory: the rest of the register becomes zero.
template <class T>
void load_scalar(Cpu& c, const Insn& i) {
  require_sse(c);
  set_vector_reg<2>(c, i.reg[0], {{c.load<T>(i), 0}});
}
/// MOVLPS, MOVHPS, ... from memory: the other half stays.
template <unsigned half>
void load_half(Cpu& c, const Insn& i) {
  require_sse(c);
  c.s.vec[i.reg[0]].q[half] = c.load<u64>(i);
}
template <class T, unsigned from>
void store_element(Cpu& c, const Insn& i) {
  require_sse(c);
  c.store<T>(i, c.s.vec[i.reg[1]].get<T>(from));
}
template <class T>
Handler move_scalar(const Insn& i) {
  if (i.kind[0] == Operand::mem) return then_next<store_element<T, 0>>;
  return i.kind[1] == Operand::mem ? then_next<load_scalar<T>> : then_next<merge_reg<T, 0, 0>>;
}
template <unsigned half>
Handler move_half(const Insn& i) {
  return i.kind[0] == Operand::mem ? then_next<store_element<u64, half>> : then_next<load_half<half>>;
}

// ---- masked stores -----------------------------------------------------------------------------------------------------

/// MASKMOVDQU, MASKMOVQ: the bytes whose mask is negative, at DS:rDI. The whole operand must be writable, whatever the mask
/// (the manual leaves that open; Intel's cores do so).
template <unsigned N>
void masked_store(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  constexpr unsigned bytes = N * 8;
  const Lanes<N> v = vector_reg<N>(c, i.reg[0]), mask = vector_reg<N>(c, i.reg[1]);
  const u64 at = linear_in<mmu::Side::store>(c, i.segment, truncate_to(c.s.gpr[RDI], i.address), bytes);
  if (auto r = c.port.probe_write(LinearAddr(at), bytes); !r) c.fail(r.fault(), i.segment);
  for (unsigned k = 0; k < bytes; ++k)
    if (mask.template get<u8>(k) & 0x80) c.store_at<u8>(linear_step(c, at, k), v.template get<u8>(k), i.segment);
  if constexpr (N == 1) switch_to_mmx(c);
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
    case Op::MASKMOVDQU: return then_next<masked_store<2>>;
    case Op::MASKMOVQ: return then_next<masked_store<1>>;
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
    case Op::MOVHLPS: return then_next<merge_reg<u64, 0, 1>>;
    case Op::MOVLHPS: return then_next<merge_reg<u64, 1, 0>>;
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
