// Floating-point arithmetic, comparison, rounding and dot products (SDM vol. 2; vol. 1, 11.5 for the exceptions).
// RCPPS and RSQRTPS are approximations that differ from maker to maker; ours are in approximate.h.
#include <bit>

#include "cpu/exec/float_bits.h"
#include "cpu/exec/host_sse.h"
#include "cpu/exec/lanes.h"

namespace nestwalk::cpu {
namespace {

template <class Op>
Handler host_fp(const Insn& i) {
  constexpr unsigned element = Op::kShape.is_double ? 8 : 4;
  if constexpr (Op::kShape.elements == 1)
    return xmm_only<HostFp<Op>, element>(i);
  else
    return xmm_or_ymm<HostFp<Op>>(i);
}

// ---- ADDSUB, HADD, HSUB ------------------------------------------------------------------------------------------------

/// a - b in the even elements, a + b in the odd ones: b's sign is flipped where a difference is wanted. A NaN keeps its
/// sign.
template <class T, class AddOp>
struct AddSub {
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>& a, Lanes<N> b) const {
    for (unsigned k = 0; k < Lanes<N>::template count<T>; k += 2)
      if (const T v = b.template get<T>(k); !Format<T>::is_nan(v)) b.template set<T>(k, v ^ Format<T>::sign);
    return host_op<AddOp>(c, a, b);
  }
};

/// In every lane: the even elements of a and b, op, their odd neighbours.
template <class T, class Op>
struct HorizontalFp {
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>& a, const Lanes<N>& b) const {
    constexpr unsigned n = Lanes<N>::template per_lane<T>;
    Lanes<N> even, odd;
    for (unsigned lane = 0; lane < Lanes<N>::template count<T>; lane += n)
      for (unsigned k = 0; k < n; ++k) {
        const Lanes<N>& from = k < n / 2 ? a : b;
        even.template set<T>(lane + k, from.template get<T>(lane + 2 * k % n));
        odd.template set<T>(lane + k, from.template get<T>(lane + 2 * k % n + 1));
      }
    return host_op<Op>(c, even, odd);
  }
};

// ---- DPPS, DPPD --------------------------------------------------------------------------------------------------------

/// In every lane: products chosen by imm's upper half, summed by pairs, then given to the elements of imm's lower half.
/// Every element gets a sum of its own: they differ in which of several NaNs survives (the manual leaves it open; this is
/// what Intel's cores do).
template <class T, class MulOp, class AddOp>
struct DotProduct {
  static constexpr unsigned n = Lanes<2>::count<T>;
  template <unsigned N>
  static Lanes<N> exchanged(const Lanes<N>& v, unsigned distance) {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k) r.template set<T>(k, v.template get<T>(k ^ distance));
    return r;
  }
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, Lanes<N> a, Lanes<N> b, u8 imm) const {
    constexpr unsigned all = Lanes<N>::template count<T>;
    for (unsigned k = 0; k < all; ++k)
      if (!(imm >> (4 + k % n) & 1)) a.template set<T>(k, 0), b.template set<T>(k, 0);
    Lanes<N> sum = host_op<MulOp>(c, a, b);  // 0 * 0 = +0 where nothing was chosen
    if constexpr (n == 4) {
      sum = host_op<AddOp>(c, exchanged(sum, 1), sum);
      sum = host_op<AddOp>(c, sum, exchanged(sum, 2));
    } else {
      sum = host_op<AddOp>(c, sum, exchanged(sum, 1));
    }
    for (unsigned k = 0; k < all; ++k)
      if (!(imm >> k % n & 1)) sum.template set<T>(k, 0);
    return sum;
  }
};

// ---- CMPPS ... ------------------------------------------------------------------------------------------------------

/// A predicate (SDM vol. 2, CMPPD, table 3-1): for which relations it holds, and whether a quiet NaN is invalid to it.
struct Predicate {
  u8 code;
  enum Relation : u8 { less = 1, equal = 2, greater = 4, unordered = 8 };
  /// Bit 3 turns the answer for "unordered" round, bit 2 the whole answer.
  constexpr bool holds(Relation r) const {
    constexpr u8 base[4] = {equal, less, less | equal, unordered};
    const u8 set = base[code & 3] ^ (code & 8 ? unordered : 0);
    return static_cast<bool>(set & r) != static_cast<bool>(code & 4);
  }
  /// LT, LE and what derives from them; bit 4 turns it round.
  constexpr bool signals() const {
    const bool base = (code & 3) == 1 || (code & 3) == 2;
    return base != static_cast<bool>(code & 16);
  }
};

template <class T>
Predicate::Relation relation(T a, T b) {
  using F = Format<T>;
  if (F::is_nan(a) || F::is_nan(b)) return Predicate::unordered;
  // Sign and magnitude to an order of integers; both zeros are 0.
  const auto ordered = [](T v) {
    using S = std::make_signed_t<T>;
    const S m = static_cast<S>(F::magnitude(v));
    return v & F::sign ? -m : m;
  };
  const auto x = ordered(a), y = ordered(b);
  return x < y ? Predicate::less : x == y ? Predicate::equal : Predicate::greater;
}

/// What comparing two numbers raises: invalid goes before denormal, and a quiet NaN leaves nothing to be denormal.
template <class T>
u32 compare_flags(T a, T b, bool signals) {
  using F = Format<T>;
  if (F::is_signalling(a) || F::is_signalling(b)) return mxcsr::ie;
  if (F::is_nan(a) || F::is_nan(b)) return signals ? mxcsr::ie : 0;
  return F::is_denormal(a) || F::is_denormal(b) ? mxcsr::de : 0;
}

/// CMPPS, CMPPD, CMPSS, CMPSD: all ones or zeros. The legacy encodings look at three bits of imm, VEX at five.
template <class T, bool scalar, u8 mask>
struct Compare {
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    const Predicate predicate{static_cast<u8>(imm & mask)};
    const bool daz = c.s.mxcsr & mxcsr::daz;
    const auto operand = [&](T v) { return daz && Format<T>::is_denormal(v) ? static_cast<T>(v & Format<T>::sign) : v; };
    u32 found = 0;
    Lanes<N> r = a;
    for (unsigned k = 0; k < (scalar ? 1 : Lanes<N>::template count<T>); ++k) {
      const T x = operand(a.template get<T>(k)), y = operand(b.template get<T>(k));
      found |= compare_flags(x, y, predicate.signals());
      r.template set<T>(k, predicate.holds(relation(x, y)) ? static_cast<T>(~T{0}) : T{0});
    }
    merge_flags(c, found);
    return r;
  }
};
template <class T, bool scalar>
Handler compare(const Insn& i) {
  return by_encoding(i, [&]<class E>(E) -> Handler {
    using F = Compare<T, scalar, E::vex ? 31 : 7>;
    if constexpr (!scalar)
      return bind_vector<F, E>(i);
    else if constexpr (E::words == 2)
      return bind_vector<F, E, sizeof(T)>(i);
    else
      return nullptr;
  });
}

// ---- COMISS ... -----------------------------------------------------------------------------------------------------

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

template <class Op, unsigned Bytes, Source source, class E>
void compare_to_flags(Cpu& c, const Insn& i) {
  E::require(c);
  const Lanes<2> b = vector_source<E, Bytes, source>(c, i), a = E::get(c, i.reg[0]);
  bool cf, pf, zf;
  const Xmm x{static_cast<i64>(a.q[0])}, y{static_cast<i64>(b.q[0])};
  merge_flags(c, under_mxcsr(c.s.mxcsr, [&] { Op::run(x, y, cf, pf, zf); }));
  c.s.flags.unpack((cf ? fl::cf : 0) | (pf ? fl::pf : 0) | (zf ? fl::zf : 0));
}
template <class Op, unsigned Bytes>
Handler to_flags(const Insn& i) {
  return by_encoding_128(i, [&]<class E>(E) {
    return i.kind[1] == Operand::mem ? then_next<compare_to_flags<Op, Bytes, Source::mem, E>>
                                     : then_next<compare_to_flags<Op, Bytes, Source::reg, E>>;
  });
}

// ---- ROUNDPS ... ----------------------------------------------------------------------------------------------------

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
template <class T, bool scalar>
struct Round {
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    const unsigned mode = imm & 4 ? c.s.mxcsr >> mxcsr::rc_shift & 3 : imm & 3;
    u32 found = 0;
    Lanes<N> r = a;
    for (unsigned k = 0; k < (scalar ? 1 : Lanes<N>::template count<T>); ++k)
      r.template set<T>(k, round_to_integral<T>(b.template get<T>(k), mode, c.s.mxcsr & mxcsr::daz, found));
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
    case Op::ADDSUBPS: return xmm_or_ymm<AddSub<u32, AddPs>>(i);
    case Op::ADDSUBPD: return xmm_or_ymm<AddSub<u64, AddPd>>(i);
    case Op::HADDPS: return xmm_or_ymm<HorizontalFp<u32, AddPs>>(i);
    case Op::HADDPD: return xmm_or_ymm<HorizontalFp<u64, AddPd>>(i);
    case Op::HSUBPS: return xmm_or_ymm<HorizontalFp<u32, SubPs>>(i);
    case Op::HSUBPD: return xmm_or_ymm<HorizontalFp<u64, SubPd>>(i);
    case Op::DPPS: return xmm_or_ymm<DotProduct<u32, MulPs, AddPs>>(i);
    case Op::DPPD: return xmm_only<DotProduct<u64, MulPd, AddPd>>(i);
    default: return nullptr;
  }
}

Handler bind_fp_compare(const Insn& i) {
  switch (i.op) {
    case Op::CMPPS: return compare<u32, false>(i);
    case Op::CMPPD: return compare<u64, false>(i);
    case Op::CMPSS: return compare<u32, true>(i);
    case Op::CMPSD_XMM: return compare<u64, true>(i);
    case Op::COMISS: return to_flags<Comiss, 4>(i);
    case Op::COMISD: return to_flags<Comisd, 8>(i);
    case Op::UCOMISS: return to_flags<Ucomiss, 4>(i);
    case Op::UCOMISD: return to_flags<Ucomisd, 8>(i);
    default: return nullptr;
  }
}

Handler bind_fp_round(const Insn& i) {
  switch (i.op) {
    case Op::ROUNDPS: return xmm_or_ymm<Round<u32, false>>(i);
    case Op::ROUNDPD: return xmm_or_ymm<Round<u64, false>>(i);
    case Op::ROUNDSS: return xmm_only<Round<u32, true>, 4>(i);
    case Op::ROUNDSD: return xmm_only<Round<u64, true>, 8>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
