// Conversions between integers, single and double precision (SDM vol. 2, CVT...; vol. 1, 11.4.1.5). The host converts, so
// the integer indefinite value and the flags come with the result.
#include "cpu/exec/host_sse.h"

namespace nestwalk::cpu {
namespace {

/// Elements of one size.
template <class Op>
Handler same_size(const Insn& i) {
  return xmm_or_ymm<HostFp<Op>>(i);
}

/// To elements of twice the size: every two words come from one word of the source.
template <class Op>
struct Widen {
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>&, const Lanes<N>& b) const {
    Lanes<N> parted = Lanes<N>::zero();
    for (unsigned n = 0; n < N; n += 2) parted.q[n] = b.q[n / 2];
    return host_op<Op>(c, parted, parted);
  }
};
template <class Op>
Handler widen(const Insn& i) {
  return xmm_or_ymm<Widen<Op>, 8>(i);
}

/// To elements of half the size: the upper half of the result is zero.
template <class Op>
struct Narrow {
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>&, const Lanes<N>& b) const {
    const Lanes<N> parted = host_op<Op>(c, b, b);
    Lanes<N> r = Lanes<N>::zero();
    for (unsigned n = 0; n < N; n += 2) r.q[n / 2] = parted.q[n];
    return r;
  }
};
template <class Op>
Handler narrow(const Insn& i) {
  return xmm_or_ymm<Narrow<Op>>(i);
}

/// One element.
template <class Op, unsigned Bytes>
Handler scalar(const Insn& i) {
  return xmm_only<HostFp<Op>, Bytes>(i);
}

// ---- MMX operands ---------------------------------------------------------------------------------------------------

/// CVTPI2PS: two integers of an MMX register or memory; the upper half of the destination stays. Memory forms do not switch
/// to MMX; register forms do so even if #XM follows.
template <class Op, bool keeps_upper>
void from_mmx(Cpu& c, const Insn& i) {
  require_sse(c);
  const bool memory = i.kind[1] == Operand::mem;
  if (!memory) check_mmx(c);
  const Lanes<2> b{{memory ? c.load<u64>(i) : mmx(c, i.reg[1]), 0}};
  if (!memory) switch_to_mmx(c);
  Lanes<2> r = host_op<Op>(c, b, b);
  if (keeps_upper) r.q[1] = c.s.vec[i.reg[0]].q[1];
  Sse::set(c, i.reg[0], r);
}

/// CVTPS2PI, CVTPD2PI and their truncating forms. The single-precision source is 64 bits wide: elements above raise
/// nothing.
template <class Op, unsigned Bytes>
void to_mmx(Cpu& c, const Insn& i) {
  require_sse(c);
  check_mmx(c);
  Lanes<2> b = vector_source<Sse, Bytes, Source::any>(c, i);
  if (Bytes == 8) b.q[1] = 0;
  switch_to_mmx(c);
  Mmx::set(c, i.reg[0], {{host_op<Op>(c, b, b).q[0]}});
}

// ---- general registers ----------------------------------------------------------------------------------------------

#define NW_HOST_FROM_GPR(Name, instruction)                                                               \
  struct Name {                                                                                           \
    static NW_INLINE void run(Xmm& a, u32 b) { asm volatile(instruction "l %1, %0" : "+x"(a) : "r"(b)); } \
    static NW_INLINE void run(Xmm& a, u64 b) { asm volatile(instruction "q %1, %0" : "+x"(a) : "r"(b)); } \
  }
#define NW_HOST_TO_GPR(Name, instruction)                                                                \
  struct Name {                                                                                          \
    static NW_INLINE void run(u32& r, Xmm b) { asm volatile(instruction " %1, %0" : "=r"(r) : "x"(b)); } \
    static NW_INLINE void run(u64& r, Xmm b) { asm volatile(instruction " %1, %0" : "=r"(r) : "x"(b)); } \
  }
NW_HOST_FROM_GPR(Cvtsi2ss, "cvtsi2ss");
NW_HOST_FROM_GPR(Cvtsi2sd, "cvtsi2sd");
NW_HOST_TO_GPR(Cvtss2si, "cvtss2si");
NW_HOST_TO_GPR(Cvtsd2si, "cvtsd2si");
NW_HOST_TO_GPR(Cvttss2si, "cvttss2si");
NW_HOST_TO_GPR(Cvttsd2si, "cvttsd2si");
#undef NW_HOST_FROM_GPR
#undef NW_HOST_TO_GPR

template <class Op, class T, class E>
void from_integer(Cpu& c, const Insn& i) {
  E::require(c);
  const T v = c.read<T>(i, E::second);
  Lanes<2> r = E::get(c, i.reg[E::first]);
  Xmm x;
  __builtin_memcpy(&x, &r, sizeof x);
  merge_flags(c, under_mxcsr(c.s.mxcsr, [&] { Op::run(x, v); }));
  __builtin_memcpy(&r, &x, sizeof x);
  E::set(c, i.reg[0], r);
}
template <class Op, unsigned Bytes, class T, class E>
void to_integer(Cpu& c, const Insn& i) {
  E::require(c);
  const Lanes<2> b = vector_source<E, Bytes, Source::any>(c, i);
  const Xmm x{static_cast<i64>(b.q[0])};
  T v;
  merge_flags(c, under_mxcsr(c.s.mxcsr, [&] { Op::run(v, x); }));
  c.set_gpr<T>(i.reg[0], v);
}
template <class Op>
Handler integer_source(const Insn& i) {
  return by_encoding_128(i, [&]<class E>(E) {
    return i.size[E::second] == 8 ? then_next<from_integer<Op, u64, E>> : then_next<from_integer<Op, u32, E>>;
  });
}
template <class Op, unsigned Bytes>
Handler integer_result(const Insn& i) {
  return by_encoding_128(i, [&]<class E>(E) {
    return i.size[0] == 8 ? then_next<to_integer<Op, Bytes, u64, E>> : then_next<to_integer<Op, Bytes, u32, E>>;
  });
}

}  // namespace

Handler bind_convert(const Insn& i) {
  using namespace host;
  switch (i.op) {
    case Op::CVTDQ2PS: return same_size<CvtDqPs>(i);
    case Op::CVTDQ2PD: return widen<CvtDqPd>(i);
    case Op::CVTPS2DQ: return same_size<CvtPsDq>(i);
    case Op::CVTTPS2DQ: return same_size<CvttPsDq>(i);
    case Op::CVTPD2DQ: return narrow<CvtPdDq>(i);
    case Op::CVTTPD2DQ: return narrow<CvttPdDq>(i);
    case Op::CVTPS2PD: return widen<CvtPsPd>(i);
    case Op::CVTPD2PS: return narrow<CvtPdPs>(i);
    case Op::CVTSS2SD: return scalar<CvtSsSd, 4>(i);
    case Op::CVTSD2SS: return scalar<CvtSdSs, 8>(i);
    case Op::CVTPI2PS: return then_next<from_mmx<CvtDqPs, true>>;
    case Op::CVTPI2PD: return then_next<from_mmx<CvtDqPd, false>>;
    case Op::CVTPS2PI: return then_next<to_mmx<CvtPsDq, 8>>;
    case Op::CVTTPS2PI: return then_next<to_mmx<CvttPsDq, 8>>;
    case Op::CVTPD2PI: return then_next<to_mmx<CvtPdDq, 16>>;
    case Op::CVTTPD2PI: return then_next<to_mmx<CvttPdDq, 16>>;
    case Op::CVTSI2SS: return integer_source<Cvtsi2ss>(i);
    case Op::CVTSI2SD: return integer_source<Cvtsi2sd>(i);
    case Op::CVTSS2SI: return integer_result<Cvtss2si, 4>(i);
    case Op::CVTSD2SI: return integer_result<Cvtsd2si, 8>(i);
    case Op::CVTTSS2SI: return integer_result<Cvttss2si, 4>(i);
    case Op::CVTTSD2SI: return integer_result<Cvttsd2si, 8>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
