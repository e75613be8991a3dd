// Vector registers as operands: MMX (64 bits), XMM (128), YMM (256) are arrays of 64-bit words, and a meaning is a function
// object on such arrays. This file reads the operands, makes the checks of SDM vol. 2, 2.4 (exception classes) and writes
// the result, so that a meaning is nothing but its arithmetic: one for the MMX, the SSE and both VEX forms.
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

/// #UD and #NM of every legacy instruction on XMM registers.
NW_INLINE void require_sse(Cpu& c) {
  if (NW_UNLIKELY((c.s.cr0 & (mmu::cr0::em | mmu::cr0::ts)) || !(c.s.cr4 & mmu::cr4::osfxsr))) {
    if ((c.s.cr0 & mmu::cr0::em) || !(c.s.cr4 & mmu::cr4::osfxsr)) c.ud();
    c.raise(ex::nm);
  }
}
/// Of every VEX instruction on vector registers. CR0.EM and CR4.OSFXSR do not matter to them; the mode was seen to where
/// the instruction was decoded.
NW_INLINE void require_avx(Cpu& c) {
  constexpr u64 state = 6;  // XCR0: SSE and AVX
  const bool enabled = (c.s.cr4 & mmu::cr4::osxsave) && (c.s.xcr0 & state) == state;
  if (NW_UNLIKELY(!enabled || (c.s.cr0 & mmu::cr0::ts))) {
    if (!enabled) c.ud();
    c.raise(ex::nm);
  }
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

/// How an instruction's vector operands are encoded: their length, where the first source is, what becomes of the rest of
/// the destination register.
template <unsigned N, bool is_vex>
struct Encoding {
  static constexpr unsigned words = N;
  static constexpr bool vex = is_vex;
  using Value = Lanes<N>;
  /// Operand numbers: the legacy destination is its own first source, VEX names that one (VEX.vvvv).
  static constexpr unsigned first = vex ? 1 : 0, second = first + 1;

  static NW_INLINE void require(Cpu& c) {
    if constexpr (N == 1)
      check_mmx(c);
    else if constexpr (vex)
      require_avx(c);
    else
      require_sse(c);
  }
  static NW_INLINE Value get(const Cpu& c, u8 n) { return vector_reg<N>(c, n); }
  /// Writes a register once nothing can fault any more. VEX forms clear the rest of it, legacy SSE leaves it.
  static NW_INLINE void set(Cpu& c, u8 n, const Value& v) {
    if constexpr (N == 1) {
      switch_to_mmx(c);
      set_mmx(c, n, v.q[0]);
    } else {
      __builtin_memcpy(c.s.vec[n].q, &v, sizeof v);
      if constexpr (vex && N == 2) c.s.vec[n].q[2] = c.s.vec[n].q[3] = 0;
    }
  }
};
using Mmx = Encoding<1, false>;
using Sse = Encoding<2, false>;
using Vex128 = Encoding<2, true>;
using Vex256 = Encoding<4, true>;

/// The handler for the encoding that `i` has; `pick` is called with a value of its type.
template <class Pick>
Handler by_encoding(const Insn& i, Pick pick) {
  if (!i.has(Insn::kVex)) return pick(Sse{});
  return i.has(Insn::kWide) ? pick(Vex256{}) : pick(Vex128{});
}
/// The same for instructions without a 256-bit form; one that says so is #UD.
template <class Pick>
Handler by_encoding_128(const Insn& i, Pick pick) {
  if (!i.has(Insn::kVex)) return pick(Sse{});
  return i.has(Insn::kWide) ? nullptr : pick(Vex128{});
}

/// Linear address of an operand that must be aligned to its size (#GP, SDM vol. 2, table 2-18 ff.).
template <mmu::Side side, unsigned bytes>
NW_INLINE u64 aligned_linear(Cpu& c, const Insn& i) {
  const u64 a = c.linear<side>(i, bytes);
  if (NW_UNLIKELY(a & (bytes - 1))) c.gp();
  return a;
}
template <unsigned N>
NW_INLINE Lanes<N> load_aligned(Cpu& c, const Insn& i) {
  return c.load_at<Lanes<N>>(aligned_linear<mmu::Side::load, N * 8>(c, i), i.segment);
}
template <unsigned N>
NW_INLINE void store_aligned(Cpu& c, const Insn& i, const Lanes<N>& v) {
  c.store_at(aligned_linear<mmu::Side::store, N * 8>(c, i), v, i.segment);
}

/// A memory operand of `Bytes`, zero-extended. Full XMM operands of legacy instructions must be aligned; no others need be.
template <class E, unsigned Bytes>
NW_INLINE typename E::Value vector_mem(Cpu& c, const Insn& i) {
  typename E::Value v = E::Value::zero();
  if constexpr (Bytes == 32) {
    v = c.load<Lanes<4>>(i);
  } else if constexpr (Bytes == 16) {
    const Lanes<2> half = E::vex ? c.load<Lanes<2>>(i) : load_aligned<2>(c, i);
    v.q[0] = half.q[0], v.q[1] = half.q[1];
  } else {
    using T =
        std::conditional_t<Bytes == 8, u64, std::conditional_t<Bytes == 4, u32, std::conditional_t<Bytes == 2, u16, u8>>>;
    v.q[0] = c.load<T>(i);
  }
  return v;
}

/// A source operand: register n, memory, or an immediate as the lowest word (shift counts).
template <class E, unsigned Bytes, Source source>
NW_INLINE typename E::Value vector_source(Cpu& c, const Insn& i, unsigned n = 1) {
  if constexpr (source == Source::imm) {
    typename E::Value v = E::Value::zero();
    v.q[0] = static_cast<u8>(i.imm);
    return v;
  } else if constexpr (source == Source::mem) {
    return vector_mem<E, Bytes>(c, i);
  } else if constexpr (source == Source::reg) {
    return E::get(c, i.reg[n]);
  } else {
    return i.kind[n] == Operand::mem ? vector_mem<E, Bytes>(c, i) : E::get(c, i.reg[n]);
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

/// dest = F(first, source), the shape of nearly every vector instruction. `n` is the source's operand number: a VEX form
/// whose source is operand 1 has no other (F then ignores the first, as the legacy form ignores its destination).
template <class F, class E, unsigned Bytes, Source source, unsigned n>
void vector_op(Cpu& c, const Insn& i) {
  E::require(c);
  const typename E::Value b = vector_source<E, Bytes, source>(c, i, n);
  const typename E::Value a = n == E::first ? b : E::get(c, i.reg[E::first]);
  E::set(c, i.reg[0], evaluate<F, E::words>(c, i, a, b));
}

constexpr bool is_vector_source(Operand k) { return k == Operand::vec || k == Operand::mem; }

/// Binds F in one encoding; a memory operand has `Bytes`.
template <class F, class E, unsigned Bytes = E::words * 8>
Handler bind_vector(const Insn& i) {
  if constexpr (E::words == 1)
    return then_next<vector_op<F, E, Bytes, Source::any, 1>>;
  else if constexpr (E::vex)
    return is_vector_source(i.kind[2]) ? then_next<vector_op<F, E, Bytes, Source::any, 2>>
                                       : then_next<vector_op<F, E, Bytes, Source::any, 1>>;
  else
    return i.kind[1] == Operand::mem ? then_next<vector_op<F, E, Bytes, Source::mem, 1>>
                                     : then_next<vector_op<F, E, Bytes, Source::reg, 1>>;
}
/// For instructions that exist on XMM registers, and on YMM registers with a memory operand of `WideBytes`.
template <class F, unsigned Bytes = 16, unsigned WideBytes = 2 * Bytes>
Handler xmm_or_ymm(const Insn& i) {
  return by_encoding(i, [&]<class E>(E) { return bind_vector < F, E, E::words == 4 ? WideBytes : Bytes > (i); });
}
/// For instructions that exist on XMM registers only.
template <class F, unsigned Bytes = 16>
Handler xmm_only(const Insn& i) {
  return by_encoding_128(i, [&]<class E>(E) { return bind_vector<F, E, Bytes>(i); });
}
/// For instructions that exist on MMX, XMM and YMM registers.
template <class F>
Handler any_vector(const Insn& i) {
  return i.kind[0] == Operand::mmx ? bind_vector<F, Mmx>(i) : xmm_or_ymm<F>(i);
}

}  // namespace nestwalk::cpu
