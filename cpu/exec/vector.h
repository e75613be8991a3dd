// Vector registers as operands: MMX (64 bits), XMM (128), later YMM (256) are arrays of 64-bit words, and a meaning is a
// function object on such arrays. This file reads the operands, makes the checks of SDM vol. 2, 2.4 (exception classes) and
// writes the result, so that a meaning is nothing but its arithmetic.
#pragma once

#include <type_traits>

#include "cpu/bind.h"
#include "cpu/exec/mmx_state.h"

namespace nestwalk::cpu {

/// A vector of N 64-bit words, read and written by element.
template <unsigned N>
struct Lanes {
  u64 q[N];

  template <class T>
  static constexpr unsigned count = N * 8 / sizeof(T);
  /// Elements of T in one lane: shuffles, packs and horizontal operations of 256-bit forms work on 128-bit lanes.
  template <class T>
  static constexpr unsigned per_lane = (N < 2 ? N : 2) * 8 / sizeof(T);

  static constexpr Lanes zero() { return Lanes{}; }
  template <class T>
  T get(unsigned i) const {
    T v;
    __builtin_memcpy(&v, reinterpret_cast<const u8*>(q) + i * sizeof(T), sizeof v);
    return v;
  }
  template <class T>
  void set(unsigned i, std::type_identity_t<T> v) {
    __builtin_memcpy(reinterpret_cast<u8*>(q) + i * sizeof(T), &v, sizeof v);
  }
};

/// Where the last source operand comes from. `any` decides when it runs: one handler instead of two, for rare forms.
enum class Source : u8 { reg, mem, imm, any };

/// #UD and #NM of every instruction on XMM registers.
NW_INLINE void require_sse(Cpu& c) {
  if (NW_UNLIKELY((c.s.cr0 & (mmu::cr0::em | mmu::cr0::ts)) || !(c.s.cr4 & mmu::cr4::osfxsr))) {
    if ((c.s.cr0 & mmu::cr0::em) || !(c.s.cr4 & mmu::cr4::osfxsr)) c.ud();
    c.raise(ex::nm);
  }
}
template <unsigned N>
NW_INLINE void require_vector(Cpu& c) {
  if constexpr (N == 1)
    check_mmx(c);
  else
    require_sse(c);
}

template <unsigned N>
NW_INLINE Lanes<N> vector_reg(const Cpu& c, u8 n) {
  Lanes<N> v;
  if constexpr (N == 1)
    v.q[0] = mmx(c, n);
  else
    __builtin_memcpy(&v, c.s.vec[n].q, sizeof v);
  return v;
}
/// Writes a register once nothing can fault any more. The rest of a wider register stays (legacy SSE).
template <unsigned N>
NW_INLINE void set_vector_reg(Cpu& c, u8 n, const Lanes<N>& v) {
  if constexpr (N == 1) {
    switch_to_mmx(c);
    set_mmx(c, n, v.q[0]);
  } else {
    __builtin_memcpy(c.s.vec[n].q, &v, sizeof v);
  }
}

/// Linear address of a 16-byte operand that must be aligned (#GP, SDM vol. 2, table 2-18 ff.).
template <mmu::Side side>
NW_INLINE u64 aligned_linear(Cpu& c, const Insn& i) {
  const u64 a = c.linear<side>(i, 16);
  if (NW_UNLIKELY(a & 15)) c.gp();
  return a;
}
NW_INLINE Lanes<2> load_aligned(Cpu& c, const Insn& i) {
  return c.load_at<Lanes<2>>(aligned_linear<mmu::Side::load>(c, i), i.segment);
}
NW_INLINE void store_aligned(Cpu& c, const Insn& i, const Lanes<2>& v) {
  c.store_at(aligned_linear<mmu::Side::store>(c, i), v, i.segment);
}

/// A memory operand of `Bytes`, zero-extended to N words. Full XMM operands must be aligned; smaller ones need not.
template <unsigned N, unsigned Bytes>
NW_INLINE Lanes<N> vector_mem(Cpu& c, const Insn& i) {
  Lanes<N> v = Lanes<N>::zero();
  if constexpr (Bytes == 16)
    v = load_aligned(c, i);
  else if constexpr (Bytes == 8)
    v.q[0] = c.load<u64>(i);
  else if constexpr (Bytes == 4)
    v.q[0] = c.load<u32>(i);
  else
    v.q[0] = c.load<u16>(i);
  return v;
}

/// The operand behind the destination: register n, memory, or an immediate as the lowest word (shift counts).
template <unsigned N, unsigned Bytes, Source source>
NW_INLINE Lanes<N> vector_source(Cpu& c, const Insn& i, unsigned n = 1) {
  if constexpr (source == Source::imm) {
    Lanes<N> v = Lanes<N>::zero();
    v.q[0] = static_cast<u8>(i.imm);
    return v;
  } else if constexpr (source == Source::mem) {
    return vector_mem<N, Bytes>(c, i);
  } else if constexpr (source == Source::reg) {
    return vector_reg<N>(c, i.reg[n]);
  } else {
    return i.kind[n] == Operand::mem ? vector_mem<N, Bytes>(c, i) : vector_reg<N>(c, i.reg[n]);
  }
}

/// Calls a meaning with what it asks for: (Cpu, a, b, imm), (Cpu, a, b), (a, b, imm) or (a, b).
template <class F, unsigned N>
NW_INLINE Lanes<N> evaluate(Cpu& c, const Insn& i, const Lanes<N>& a, const Lanes<N>& b) {
  using V = const Lanes<N>&;
  const u8 imm = static_cast<u8>(i.imm);
  if constexpr (std::is_invocable_v<F, Cpu&, V, V, u8>)
    return F{}(c, a, b, imm);
  else if constexpr (std::is_invocable_v<F, Cpu&, V, V>)
    return F{}(c, a, b);
  else if constexpr (std::is_invocable_v<F, V, V, u8>)
    return F{}(a, b, imm);
  else
    return F{}(a, b);
}

/// dest = F(dest, source), the shape of nearly every legacy vector instruction.
template <class F, unsigned N, unsigned Bytes, Source source>
void vector_op(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  const Lanes<N> b = vector_source<N, Bytes, source>(c, i);
  set_vector_reg<N>(c, i.reg[0], evaluate<F, N>(c, i, vector_reg<N>(c, i.reg[0]), b));
}

/// Binds F at N words; a memory operand has `Bytes`.
template <class F, unsigned N, unsigned Bytes = N * 8>
Handler bind_vector(const Insn& i) {
  if constexpr (N == 1)
    return then_next<vector_op<F, N, Bytes, Source::any>>;
  else
    return i.kind[1] == Operand::mem ? then_next<vector_op<F, N, Bytes, Source::mem>>
                                     : then_next<vector_op<F, N, Bytes, Source::reg>>;
}
/// For instructions that exist on XMM registers only.
template <class F, unsigned Bytes = 16>
Handler xmm_only(const Insn& i) {
  return bind_vector<F, 2, Bytes>(i);
}
/// For instructions that exist on MMX and on XMM registers.
template <class F>
Handler mmx_or_xmm(const Insn& i) {
  return i.kind[0] == Operand::mmx ? bind_vector<F, 1>(i) : bind_vector<F, 2>(i);
}

}  // namespace nestwalk::cpu
