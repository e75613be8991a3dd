// Floating-point arithmetic, comparison, rounding and dot products (SDM vol. 2; vol. 1, 11.5 for the exceptions).
// RCPPS and RSQRTPS are approximations that differ from maker to maker; the host's are given.
#include <bit>

#include "cpu/exec/host_sse.h"
#include "cpu/exec/lanes.h"

namespace nestwalk::cpu {
namespace {

template <class Op>
Handler host_fp(const Insn& i) {
  constexpr unsigned element = Op::kShape.is_double ? 8 : 4;
  return xmm_only < HostFp<Op>, Op::kShape.elements == 1 ? element : 16 > (i);
}

// ---- numbers as bits ---------------------------------------------------------------------------------------------------

/// The fields of binary32 or binary64 in a word of T.
template <class T>
struct Format {
  static constexpr unsigned fraction_bits = sizeof(T) == 4 ? 23 : 52;
  static constexpr int bias = sizeof(T) == 4 ? 127 : 1023;
  static constexpr T sign = T{1} << (kBits<T> - 1);
  static constexpr T quiet = T{1} << (fraction_bits - 1);
  static constexpr T infinity = static_cast<T>(static_cast<T>(2 * bias + 1) << fraction_bits);
  static constexpr T one = static_cast<T>(static_cast<T>(bias) << fraction_bits);
  static bool is_nan(T v) { return (v & ~sign) > infinity; }
  static bool is_denormal(T v) { return (v & ~sign) && !(v & infinity); }
};

// ---- ADDSUB, HADD, HSUB ------------------------------------------------------------------------------------------------

/// a - b in the even elements, a + b in the odd ones: b's sign is flipped where a difference is wanted. A NaN keeps its
/// sign.
template <class T, class AddOp>
struct AddSub {
  Lanes<2> operator()(Cpu& c, const Lanes<2>& a, Lanes<2> b) const {
    for (unsigned k = 0; k < Lanes<2>::count<T>; k += 2)
      if (const T v = b.get<T>(k); !Format<T>::is_nan(v)) b.set<T>(k, v ^ Format<T>::sign);
    return host_op<AddOp>(c, a, b);
  }
};

/// The even elements of a and b, op, their odd neighbours.
template <class T, class Op>
struct HorizontalFp {
  Lanes<2> operator()(Cpu& c, const Lanes<2>& a, const Lanes<2>& b) const {
    constexpr unsigned n = Lanes<2>::count<T>;
    Lanes<2> even, odd;
    for (unsigned k = 0; k < n; ++k) {
      const Lanes<2>& from = k < n / 2 ? a : b;
      even.set<T>(k, from.get<T>(2 * k % n));
      odd.set<T>(k, from.get<T>(2 * k % n + 1));
    }
    return host_op<Op>(c, even, odd);
  }
};

// ---- DPPS, DPPD --------------------------------------------------------------------------------------------------------

/// Products chosen by imm's upper half, summed by pairs, then given to the elements of imm's lower half. Every element gets
/// a sum of its own: they differ in which of several NaNs survives (the manual leaves it open; this is what Intel's cores
/// do).
template <class T, class MulOp, class AddOp>
struct DotProduct {
  static constexpr unsigned n = Lanes<2>::count<T>;
  static Lanes<2> exchanged(const Lanes<2>& v, unsigned distance) {
    Lanes<2> r;
    for (unsigned k = 0; k < n; ++k) r.set<T>(k, v.get<T>(k ^ distance));
    return r;
  }
  Lanes<2> operator()(Cpu& c, Lanes<2> a, Lanes<2> b, u8 imm) const {
    for (unsigned k = 0; k < n; ++k)
      if (!(imm >> (4 + k) & 1)) a.set<T>(k, 0), b.set<T>(k, 0);
    Lanes<2> sum = host_op<MulOp>(c, a, b);  // 0 * 0 = +0 where nothing was chosen
    if constexpr (n == 4) {
      sum = host_op<AddOp>(c, exchanged(sum, 1), sum);
      sum = host_op<AddOp>(c, sum, exchanged(sum, 2));
    } else {
      sum = host_op<AddOp>(c, sum, exchanged(sum, 1));
    }
    for (unsigned k = 0; k < n; ++k)
      if (!(imm >> k & 1)) sum.set<T>(k, 0);
    return sum;
  }
};

// ---- CMPPS ...
// -----------------------------------------------------------------------------------------------------------

#define NW_HOST_COMPARE(Name, instruction, is_double, elements)                   \
  template <int predicate>                                                        \
  struct Name {                                                                   \
    static constexpr FpShape kShape{Fp::other, is_double, elements};              \
    static NW_INLINE void run(Xmm& a, Xmm b) {                                    \
      asm volatile(instruction " %2, %1, %0" : "+x"(a) : "x"(b), "i"(predicate)); \
    }                                                                             \
  }
NW_HOST_COMPARE(CmpPs, "cmpps", false, 4);
NW_HOST_COMPARE(CmpPd, "cmppd", true, 2);
NW_HOST_COMPARE(CmpSs, "cmpss", false, 1);
NW_HOST_COMPARE(CmpSd, "cmpsd", true, 1);
#undef NW_HOST_COMPARE

/// The legacy encodings look at three bits of the immediate.
template <template <int> class Cmp>
Handler compare(const Insn& i) {
  switch (i.imm & 7) {
    case 0: return host_fp<Cmp<0>>(i);
    case 1: return host_fp<Cmp<1>>(i);
    case 2: return host_fp<Cmp<2>>(i);
    case 3: return host_fp<Cmp<3>>(i);
    case 4: return host_fp<Cmp<4>>(i);
    case 5: return host_fp<Cmp<5>>(i);
    case 6: return host_fp<Cmp<6>>(i);
    default: return host_fp<Cmp<7>>(i);
  }
}

// ---- COMISS ...
// ----------------------------------------------------------------------------------------------------------

#define NW_HOST_COMI(Name, instruction)                                                             \
  struct Name {                                                                                     \
    static NW_INLINE void run(Xmm a, Xmm b, bool& cf, bool& pf, bool& zf) {                         \
      asm volatile(instruction " %4, %3" : "=@ccc"(cf), "=@ccp"(pf), "=@ccz"(zf) : "x"(a), "x"(b)); \
    }                                                                                               \
  }
NW_HOST_COMI(Comiss, "comiss");
NW_HOST_COMI(Comisd, "comisd");
NW_HOST_COMI(Ucomiss, "ucomiss");
NW_HOST_COMI(Ucomisd, "ucomisd");
#undef NW_HOST_COMI

template <class Op, unsigned Bytes, Source source>
void compare_to_flags(Cpu& c, const Insn& i) {
  require_sse(c);
  const Lanes<2> b = vector_source<2, Bytes, source>(c, i), a = vector_reg<2>(c, i.reg[0]);
  bool cf, pf, zf;
  const Xmm x{static_cast<i64>(a.q[0])}, y{static_cast<i64>(b.q[0])};
  merge_flags(c, under_mxcsr(c.s.mxcsr, [&] { Op::run(x, y, cf, pf, zf); }));
  c.s.flags.unpack((cf ? fl::cf : 0) | (pf ? fl::pf : 0) | (zf ? fl::zf : 0));
}
template <class Op, unsigned Bytes>
Handler to_flags(const Insn& i) {
  return i.kind[1] == Operand::mem ? then_next<compare_to_flags<Op, Bytes, Source::mem>>
                                   : then_next<compare_to_flags<Op, Bytes, Source::reg>>;
}

// ---- ROUNDPS ...
// ---------------------------------------------------------------------------------------------------------

/// v rounded to an integer value in its own format; mode as MXCSR.RC: nearest even, down, up, towards zero.
template <class T>
T round_to_integral(T v, unsigned mode, bool daz, u32& found) {
  using F = Format<T>;
  const T magnitude = v & ~F::sign, sign = v & F::sign;
  if (F::is_nan(v)) {
    if (!(v & F::quiet)) found |= mxcsr::ie;
    return v | F::quiet;
  }
  if (!magnitude || (daz && F::is_denormal(v))) return sign;
  const int exponent = static_cast<int>(magnitude >> F::fraction_bits) - F::bias;
  if (exponent >= static_cast<int>(F::fraction_bits)) return v;
  const bool away = mode == 1 ? sign != 0 : mode == 2 ? sign == 0 : false;  // from zero, when directed
  if (exponent < 0) {
    found |= mxcsr::pe;
    const bool up = mode == 0 ? magnitude > F::one - (T{1} << F::fraction_bits) : away;  // above one half
    return sign | (up ? F::one : 0);
  }
  const T unit = T{1} << (F::fraction_bits - static_cast<unsigned>(exponent)), rest = magnitude & (unit - 1);
  if (!rest) return v;
  found |= mxcsr::pe;
  const T down = magnitude - rest;
  const bool odd = exponent == 0 || (down & unit);  // at exponent 0 the unit is the implicit one
  const bool up = mode == 0 ? rest > unit / 2 || (rest == unit / 2 && odd) : away;
  return sign | (up ? down + unit : down);  // a carry runs into the exponent, as it should
}

/// imm: bit 3 suppresses the precision exception, bit 2 takes MXCSR's rounding mode, else bits 1:0 are the mode.
template <class T, unsigned elements>
struct Round {
  Lanes<2> operator()(Cpu& c, const Lanes<2>& a, const Lanes<2>& b, u8 imm) const {
    const unsigned mode = imm & 4 ? c.s.mxcsr >> mxcsr::rc_shift & 3 : imm & 3;
    u32 found = 0;
    Lanes<2> r = a;
    for (unsigned k = 0; k < elements; ++k)
      r.set<T>(k, round_to_integral<T>(b.get<T>(k), mode, c.s.mxcsr & mxcsr::daz, found));
    if (imm & 8) found &= ~mxcsr::pe;
    merge_flags(c, found);
    return r;
  }
};

}  // namespace

Handler bind_fp_arithmetic(const Insn& i) {
  using namespace host;
  switch (i.op) {
    case Op::ADDPS: return host_fp<AddPs>(i);
    case Op::ADDPD: return host_fp<AddPd>(i);
    case Op::ADDSS: return host_fp<AddSs>(i);
    case Op::ADDSD: return host_fp<AddSd>(i);
    case Op::SUBPS: return host_fp<SubPs>(i);
    case Op::SUBPD: return host_fp<SubPd>(i);
    case Op::SUBSS: return host_fp<SubSs>(i);
    case Op::SUBSD: return host_fp<SubSd>(i);
    case Op::MULPS: return host_fp<MulPs>(i);
    case Op::MULPD: return host_fp<MulPd>(i);
    case Op::MULSS: return host_fp<MulSs>(i);
    case Op::MULSD: return host_fp<MulSd>(i);
    case Op::DIVPS: return host_fp<DivPs>(i);
    case Op::DIVPD: return host_fp<DivPd>(i);
    case Op::DIVSS: return host_fp<DivSs>(i);
    case Op::DIVSD: return host_fp<DivSd>(i);
    case Op::MINPS: return host_fp<MinPs>(i);
    case Op::MINPD: return host_fp<MinPd>(i);
    case Op::MINSS: return host_fp<MinSs>(i);
    case Op::MINSD: return host_fp<MinSd>(i);
    case Op::MAXPS: return host_fp<MaxPs>(i);
    case Op::MAXPD: return host_fp<MaxPd>(i);
    case Op::MAXSS: return host_fp<MaxSs>(i);
    case Op::MAXSD: return host_fp<MaxSd>(i);
    case Op::SQRTPS: return host_fp<SqrtPs>(i);
    case Op::SQRTPD: return host_fp<SqrtPd>(i);
    case Op::SQRTSS: return host_fp<SqrtSs>(i);
    case Op::SQRTSD: return host_fp<SqrtSd>(i);
    case Op::RCPPS: return host_fp<RcpPs>(i);
    case Op::RCPSS: return host_fp<RcpSs>(i);
    case Op::RSQRTPS: return host_fp<RsqrtPs>(i);
    case Op::RSQRTSS: return host_fp<RsqrtSs>(i);
    case Op::ADDSUBPS: return xmm_only<AddSub<u32, AddPs>>(i);
    case Op::ADDSUBPD: return xmm_only<AddSub<u64, AddPd>>(i);
    case Op::HADDPS: return xmm_only<HorizontalFp<u32, AddPs>>(i);
    case Op::HADDPD: return xmm_only<HorizontalFp<u64, AddPd>>(i);
    case Op::HSUBPS: return xmm_only<HorizontalFp<u32, SubPs>>(i);
    case Op::HSUBPD: return xmm_only<HorizontalFp<u64, SubPd>>(i);
    case Op::DPPS: return xmm_only<DotProduct<u32, MulPs, AddPs>>(i);
    case Op::DPPD: return xmm_only<DotProduct<u64, MulPd, AddPd>>(i);
    default: return nullptr;
  }
}

Handler bind_fp_compare(const Insn& i) {
  switch (i.op) {
    case Op::CMPPS: return compare<CmpPs>(i);
    case Op::CMPPD: return compare<CmpPd>(i);
    case Op::CMPSS: return compare<CmpSs>(i);
    case Op::CMPSD_XMM: return compare<CmpSd>(i);
    case Op::COMISS: return to_flags<Comiss, 4>(i);
    case Op::COMISD: return to_flags<Comisd, 8>(i);
    case Op::UCOMISS: return to_flags<Ucomiss, 4>(i);
    case Op::UCOMISD: return to_flags<Ucomisd, 8>(i);
    default: return nullptr;
  }
}

Handler bind_fp_round(const Insn& i) {
  switch (i.op) {
    case Op::ROUNDPS: return xmm_only<Round<u32, 4>>(i);
    case Op::ROUNDPD: return xmm_only<Round<u64, 2>>(i);
    case Op::ROUNDSS: return xmm_only<Round<u32, 1>, 4>(i);
    case Op::ROUNDSD: return xmm_only<Round<u64, 1>, 8>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
