// SSE floating point on the host's own SSE unit, under the guest's MXCSR: results, flags, denormals and rounding are then
// those of the architecture by construction (SDM vol. 1, 11.5). Everything that touches MXCSR or computes is asm volatile:
// such statements keep their order, and no compiler folds or commutes them (ADDPS of two NaNs is not commutative).
#pragma once

#include "cpu/exec/approximate.h"
#include "cpu/exec/vector.h"

namespace nestwalk::cpu {

/// MXCSR (SDM vol. 1, 10.2.3).
namespace mxcsr {
inline constexpr u32 ie = 1, de = 2, ze = 4, oe = 8, ue = 16, pe = 32, flags = 0x3f, daz = 0x40, masks = 0x1f80,
                     rc_shift = 13, ftz = 0x8000;
/// The mask bits lie seven above their flags.
constexpr u32 unmasked(u32 value) { return ~(value >> 7) & flags; }
}  // namespace mxcsr

/// An XMM register's value for asm operands.
using Xmm = long long __attribute__((vector_size(16)));

/// `found` holds an unmasked exception: sets the flags and raises #XM, or #UD if the system does not handle it. Flags of
/// exceptions that come after computing are not reported beside an unmasked one that came before it (SDM vol. 1, 11.5.3).
[[noreturn]] NW_COLD void raise_simd(Cpu& c, u32 found);

/// Adds exception flags to the guest's MXCSR.
NW_INLINE void merge_flags(Cpu& c, u32 found) {
  if (NW_UNLIKELY(found & mxcsr::unmasked(c.s.mxcsr))) raise_simd(c, found);
  c.s.mxcsr |= found;
}

/// Runs `f`, which only executes asm volatile statements, with the guest's rounding, DAZ and FTZ; all exceptions are
/// masked. Returns the flags it raised.
template <class F>
NW_INLINE u32 under_mxcsr(u32 guest, F f) {
  constexpr u32 host = mxcsr::masks;
  const u32 control = (guest & ~mxcsr::flags) | mxcsr::masks;
  u32 after;
  asm volatile("ldmxcsr %0" : : "m"(control));
  f();
  asm volatile("stmxcsr %0" : "=m"(after));
  if (NW_UNLIKELY(control != host)) asm volatile("ldmxcsr %0" : : "m"(host));
  return after & mxcsr::flags;
}

/// What an operation computes. Only arithmetic can overflow or underflow.
enum class Fp : u8 { add, sub, mul, div, narrow, other };

struct FpShape {
  Fp kind;
  bool is_double;     ///< of the source elements
  unsigned elements;  ///< that are computed
};

/// The flags of `a op b` where overflow or underflow is unmasked: no result is made then, FTZ has no effect, exact tiny
/// results count, and precision is judged as if the exponent had no bounds (SDM vol. 1, 4.9.1.4, 4.9.1.5;
/// sse_exceptions.cpp).
NW_COLD u32 flags_when_unmasked(FpShape shape, u32 guest, const Lanes<2>& a, const Lanes<2>& b);

/// One operation `a = op(a, b)` of the host, from NW_HOST_SSE: a class of Op::run and Op::kShape. Adds its flags to
/// `found`.
template <class Op>
NW_INLINE Lanes<2> host_half(u32 guest, const Lanes<2>& a, const Lanes<2>& b, u32& found) {
  Xmm x, y;
  __builtin_memcpy(&x, &a, sizeof x);
  __builtin_memcpy(&y, &b, sizeof y);
  u32 flags = under_mxcsr(guest, [&] { Op::run(x, y); });
  if constexpr (Op::kShape.kind != Fp::other)
    if (NW_UNLIKELY(mxcsr::unmasked(guest) & (mxcsr::oe | mxcsr::ue))) flags = flags_when_unmasked(Op::kShape, guest, a, b);
  found |= flags;
  Lanes<2> r;
  __builtin_memcpy(&r, &x, sizeof r);
  return r;
}

/// The 128 bits of `v` that begin at word n.
template <unsigned N>
NW_INLINE Lanes<2> half_of(const Lanes<N>& v, unsigned n) {
  return {{v.q[n], v.q[n + 1]}};
}

/// The operation on all of a vector. No half is reported before the other.
template <class Op, unsigned N>
NW_INLINE Lanes<N> host_op(Cpu& c, const Lanes<N>& a, const Lanes<N>& b) {
  u32 found = 0;
  Lanes<N> r;
  for (unsigned n = 0; n < N; n += 2) {
    const Lanes<2> half = host_half<Op>(c.s.mxcsr, half_of(a, n), half_of(b, n), found);
    r.q[n] = half.q[0], r.q[n + 1] = half.q[1];
  }
  merge_flags(c, found);
  return r;
}

/// The same as a meaning.
template <class Op>
struct HostFp {
  template <unsigned N>
  NW_INLINE Lanes<N> operator()(Cpu& c, const Lanes<N>& a, const Lanes<N>& b) const {
    return host_op<Op>(c, a, b);
  }
};

// The name of an instruction must be a literal in asm, which no template can supply.
#define NW_HOST_SSE(Name, instruction, kind, is_double, elements)                                        \
  struct Name {                                                                                          \
    static constexpr FpShape kShape{kind, is_double, elements};                                          \
    static NW_INLINE void run(Xmm& a, Xmm b) { asm volatile(instruction " %1, %0" : "+x"(a) : "x"(b)); } \
  }
#define NW_HOST_ARITHMETIC(Name, instruction, kind)        \
  NW_HOST_SSE(Name##Ps, instruction "ps", kind, false, 4); \
  NW_HOST_SSE(Name##Pd, instruction "pd", kind, true, 2);  \
  NW_HOST_SSE(Name##Ss, instruction "ss", kind, false, 1); \
  NW_HOST_SSE(Name##Sd, instruction "sd", kind, true, 1)

/// The approximations are our own, and know no exceptions (approximate.h).
template <u32 (*approximation)(u32), unsigned elements>
struct Approximation {
  static constexpr FpShape kShape{Fp::other, false, elements};
  static void run(Xmm& a, Xmm b) {
    u32 to[4], from[4];
    __builtin_memcpy(to, &a, sizeof to);
    __builtin_memcpy(from, &b, sizeof from);
    for (unsigned n = 0; n < elements; ++n) to[n] = approximation(from[n]);
    __builtin_memcpy(&a, to, sizeof to);
  }
};

namespace host {
using RcpPs = Approximation<approximate_reciprocal, 4>;
using RcpSs = Approximation<approximate_reciprocal, 1>;
using RsqrtPs = Approximation<approximate_reciprocal_root, 4>;
using RsqrtSs = Approximation<approximate_reciprocal_root, 1>;
NW_HOST_ARITHMETIC(Add, "add", Fp::add);
NW_HOST_ARITHMETIC(Sub, "sub", Fp::sub);
NW_HOST_ARITHMETIC(Mul, "mul", Fp::mul);
NW_HOST_ARITHMETIC(Div, "div", Fp::div);
NW_HOST_ARITHMETIC(Min, "min", Fp::other);
NW_HOST_ARITHMETIC(Max, "max", Fp::other);
NW_HOST_ARITHMETIC(Sqrt, "sqrt", Fp::other);
NW_HOST_SSE(CvtDqPs, "cvtdq2ps", Fp::other, false, 4);
NW_HOST_SSE(CvtDqPd, "cvtdq2pd", Fp::other, false, 2);
NW_HOST_SSE(CvtPsDq, "cvtps2dq", Fp::other, false, 4);
NW_HOST_SSE(CvttPsDq, "cvttps2dq", Fp::other, false, 4);
NW_HOST_SSE(CvtPdDq, "cvtpd2dq", Fp::other, true, 2);
NW_HOST_SSE(CvttPdDq, "cvttpd2dq", Fp::other, true, 2);
NW_HOST_SSE(CvtPsPd, "cvtps2pd", Fp::other, false, 2);
NW_HOST_SSE(CvtPdPs, "cvtpd2ps", Fp::narrow, true, 2);
NW_HOST_SSE(CvtSsSd, "cvtss2sd", Fp::other, false, 1);
NW_HOST_SSE(CvtSdSs, "cvtsd2ss", Fp::narrow, true, 1);
}  // namespace host

#undef NW_HOST_ARITHMETIC
#undef NW_HOST_SSE

}  // namespace nestwalk::cpu
