// Moving elements about: unpack, pack, shuffle, blend, align, extend, duplicate, insert and extract (SDM vol. 2, under the
// names of the instructions). Wider registers repeat the pattern in every 128-bit lane.
#include "cpu/exec/lanes.h"

namespace nestwalk::cpu {
namespace {

/// PUNPCKx, UNPCKx: interleaves the lower or upper halves of the lanes.
template <class T, bool high>
struct Unpack {
  template <unsigned N>
  NW_INLINE Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    constexpr unsigned n = Lanes<N>::template per_lane<T>;
    Lanes<N> r;
    for (unsigned lane = 0; lane < Lanes<N>::template count<T>; lane += n)
      for (unsigned k = 0; k < n; ++k)
        r.template set<T>(lane + k, (k & 1 ? b : a).template get<T>(lane + (high ? n / 2 : 0) + k / 2));
    return r;
  }
};

/// PACKx: saturates every element to half its width; a's lane goes below b's.
template <class From, class To>
struct Pack {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    constexpr unsigned n = Lanes<N>::template per_lane<From>;
    Lanes<N> r;
    for (unsigned lane = 0; lane < Lanes<N>::template count<From>; lane += n)
      for (unsigned k = 0; k < n; ++k) {
        r.template set<To>(2 * lane + k, saturate<To>(i32{a.template get<From>(lane + k)}));
        r.template set<To>(2 * lane + n + k, saturate<To>(i32{b.template get<From>(lane + k)}));
      }
    return r;
  }
};

/// PSHUFB: an index with bit 7 set gives zero.
struct ShuffleBytes {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    constexpr unsigned n = Lanes<N>::template per_lane<u8>;
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<u8>; ++k) {
      const u8 index = b.template get<u8>(k);
      r.template set<u8>(k, index & 0x80 ? u8{0} : a.template get<u8>(k / n * n + index % n));
    }
    return r;
  }
};

/// PSHUFD, PSHUFW, VPERMILPS, VPERMQ, VPERMPD: every element is chosen out of four by two bits of imm.
template <class T>
struct ShuffleByImm {
  template <unsigned N>
  NW_INLINE Lanes<N> operator()(const Lanes<N>&, const Lanes<N>& b, u8 imm) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k)
      r.template set<T>(k, b.template get<T>(k / 4 * 4 + (imm >> (2 * (k % 4)) & 3)));
    return r;
  }
};

/// VPERMILPS, VPERMILPD with a vector of indices: inside every lane. A double's index is in bit 1.
template <class T>
struct PermuteInLane {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    constexpr unsigned n = Lanes<N>::template per_lane<T>;
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k)
      r.template set<T>(k, a.template get<T>(k / n * n + (b.template get<T>(k) >> (sizeof(T) == 8) & (n - 1))));
    return r;
  }
};

/// VPERMD, VPERMPS: the first source has the indices, which reach across lanes.
struct PermuteAcross {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    Lanes<N> r;
    for (unsigned k = 0; k < N * 2; ++k) r.template set<u32>(k, b.template get<u32>(a.template get<u32>(k) % (N * 2)));
    return r;
  }
};

/// VPERM2F128, VPERM2I128: each half is one of the four halves of a and b, or zero.
struct PermuteHalves {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    Lanes<N> r = Lanes<N>::zero();
    for (unsigned half = 0; half < N / 2; ++half, imm >>= 4)
      if (!(imm & 8)) r.template set<Lanes<2>>(half, (imm & 2 ? b : a).template get<Lanes<2>>(imm & (N / 2 - 1)));
    return r;
  }
};

/// PSHUFLW, PSHUFHW: the words of one half of every lane.
template <bool high>
struct ShuffleHalf {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>&, const Lanes<N>& b, u8 imm) const {
    Lanes<N> r = b;
    for (unsigned lane = high ? 4 : 0; lane < N * 4; lane += 8)
      for (unsigned k = 0; k < 4; ++k) r.template set<u16>(lane + k, b.template get<u16>(lane + (imm >> (2 * k) & 3)));
    return r;
  }
};

/// SHUFPS: two elements of a, then two of b.
struct ShufflePs {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    Lanes<N> r;
    for (unsigned k = 0; k < N * 2; ++k)
      r.template set<u32>(k, (k & 2 ? b : a).template get<u32>(k / 4 * 4 + (imm >> (2 * (k % 4)) & 3)));
    return r;
  }
};

/// SHUFPD: one element of a, one of b; every lane has two bits of its own. VPERMILPD is the same with a = b.
struct ShufflePd {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    Lanes<N> r;
    for (unsigned k = 0; k < N; ++k) r.q[k] = (k & 1 ? b : a).q[k / 2 * 2 + (imm >> k & 1)];
    return r;
  }
};

/// PALIGNR: a above b, shifted right by imm bytes.
struct AlignRight {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    constexpr unsigned n = Lanes<N>::template per_lane<u8>;
    Lanes<N> r;
    for (unsigned lane = 0; lane < N * 8; lane += n)
      for (unsigned k = 0; k < n; ++k) {
        const unsigned from = k + imm;
        r.template set<u8>(lane + k, from < n       ? b.template get<u8>(lane + from)
                                     : from < 2 * n ? a.template get<u8>(lane + from - n)
                                                    : u8{0});
      }
    return r;
  }
};

/// PBLENDW, BLENDPS, BLENDPD, VPBLENDD: bit k of imm takes element k from b. PBLENDW repeats its eight bits in every lane.
template <class T>
struct BlendByImm {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k)
      r.template set<T>(k, (imm >> (k & 7) & 1 ? b : a).template get<T>(k));
    return r;
  }
};

/// PBLENDVB, BLENDVPS, BLENDVPD: by the sign of the mask's elements.
template <class T>
struct Blend {
  template <unsigned N>
  static Lanes<N> by(const Lanes<N>& a, const Lanes<N>& b, const Lanes<N>& mask) {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k)
      r.template set<T>(k, (mask.template get<T>(k) < 0 ? b : a).template get<T>(k));
    return r;
  }
};
/// The mask is XMM0, or VEX's fourth operand.
template <class T, class E>
void blend_variable(Cpu& c, const Insn& i) {
  E::require(c);
  const typename E::Value b = vector_source<E, E::words * 8, Source::any>(c, i, E::second);
  E::set(c, i.reg[0], Blend<T>::by(E::get(c, i.reg[E::first]), b, E::get(c, E::vex ? i.reg[3] : u8{0})));
}
template <class T>
Handler blend(const Insn& i) {
  return by_encoding(i, []<class E>(E) { return then_next<blend_variable<T, E>>; });
}

/// PMOVSX, PMOVZX: the lowest elements of the source, widened.
template <class From, class To>
struct Extend {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>&, const Lanes<N>& b) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<To>; ++k)
      r.template set<To>(k, static_cast<To>(b.template get<From>(k)));
    return r;
  }
};
template <class From, class To>
Handler extend(const Insn& i) {
  return xmm_or_ymm<Extend<From, To>, 16 * sizeof(From) / sizeof(To)>(i);
}

/// MOVSLDUP, MOVSHDUP, MOVDDUP: the even or odd elements, twice.
template <class T, unsigned odd>
struct Duplicate {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>&, const Lanes<N>& b) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k) r.template set<T>(k, b.template get<T>((k & ~1u) + odd));
    return r;
  }
};

// ---- one element ------------------------------------------------------------------------------------------------------

/// PINSRx: from the low bits of a general register, or memory.
template <class T, class E>
void insert_element(Cpu& c, const Insn& i) {
  E::require(c);
  const T v = c.read<T>(i, E::second);
  typename E::Value r = E::get(c, i.reg[E::first]);
  r.template set<T>(static_cast<unsigned>(i.imm) % E::Value::template count<T>, v);
  E::set(c, i.reg[0], r);
}

/// PEXTRx, EXTRACTPS: to memory, or zero-extended to a general register.
template <class T, class E>
void extract_element(Cpu& c, const Insn& i) {
  E::require(c);
  const T v = E::get(c, i.reg[1]).template get<T>(static_cast<unsigned>(i.imm) % E::Value::template count<T>);
  if (i.kind[0] == Operand::mem)
    c.store<T>(i, v);
  else
    c.set_gpr<u64>(i.reg[0], v);
  if constexpr (E::words == 1) switch_to_mmx(c);
}

/// INSERTPS: imm = source element (registers only), destination element, zero mask.
template <class E>
void insertps(Cpu& c, const Insn& i) {
  E::require(c);
  const u8 imm = static_cast<u8>(i.imm);
  const Lanes<2> b = vector_source<E, 4, Source::any>(c, i, E::second);
  const u32 v = b.template get<u32>(i.kind[E::second] == Operand::mem ? 0 : imm >> 6);
  Lanes<2> r = E::get(c, i.reg[E::first]);
  r.template set<u32>(imm >> 4 & 3, v);
  for (unsigned k = 0; k < 4; ++k)
    if (imm >> k & 1) r.template set<u32>(k, 0);
  E::set(c, i.reg[0], r);
}

// ---- signs to bits, tests ----------------------------------------------------------------------------------------------

/// PMOVMSKB, MOVMSKPS, MOVMSKPD: the sign bits of the source's elements.
template <class T, class E>
void sign_mask(Cpu& c, const Insn& i) {
  E::require(c);
  const typename E::Value v = E::get(c, i.reg[1]);
  u32 mask = 0;
  if constexpr (sizeof(T) == 1) {
    // Eight signs at a time: the multiplication gathers bit 7 of every byte in the topmost byte.
    for (unsigned k = 0; k < E::words; ++k)
      mask |= static_cast<u32>(((v.q[k] >> 7 & 0x0101010101010101) * 0x0102040810204080) >> 56) << (8 * k);
  } else {
    for (unsigned k = 0; k < E::Value::template count<T>; ++k) mask |= u32{v.template get<T>(k) < 0} << k;
  }
  if constexpr (E::words == 1) switch_to_mmx(c);
  c.set_gpr<u64>(i.reg[0], mask);
}
template <class T>
Handler signs(const Insn& i) {
  return by_encoding(i, []<class E>(E) { return then_next<sign_mask<T, E>>; });
}

/// PTEST, VTESTPS, VTESTPD: ZF = no common bit, CF = no bit of the source beyond the destination's, both among the bits
/// of `counted` in every word; the other flags are cleared.
template <u64 counted, class E>
void test_bits(Cpu& c, const Insn& i) {
  E::require(c);
  const typename E::Value b = vector_source<E, E::words * 8, Source::any>(c, i), a = E::get(c, i.reg[0]);
  u64 common = 0, beyond = 0;
  for (unsigned k = 0; k < E::words; ++k) {
    common |= a.q[k] & b.q[k] & counted;
    beyond |= ~a.q[k] & b.q[k] & counted;
  }
  c.s.flags.unpack((common ? 0 : fl::zf) | (beyond ? 0 : fl::cf));
}
template <u64 counted>
Handler test_of(const Insn& i) {
  return by_encoding(i, []<class E>(E) { return then_next<test_bits<counted, E>>; });
}

}  // namespace

Handler bind_unpack(const Insn& i) {
  // The MMX forms of the low unpacks read only 32 bits of memory.
  const auto low = [&]<class T>(T) {
    using F = Unpack<T, false>;
    return i.kind[0] == Operand::mmx ? bind_vector<F, Mmx, 4>(i) : xmm_or_ymm<F>(i);
  };
  switch (i.op) {
    case Op::PUNPCKLBW: return low(u8{});
    case Op::PUNPCKLWD: return low(u16{});
    case Op::PUNPCKLDQ: return low(u32{});
    case Op::PUNPCKLQDQ:
    case Op::UNPCKLPD: return xmm_or_ymm<Unpack<u64, false>>(i);
    case Op::UNPCKLPS: return xmm_or_ymm<Unpack<u32, false>>(i);
    case Op::PUNPCKHBW: return any_vector<Unpack<u8, true>>(i);
    case Op::PUNPCKHWD: return any_vector<Unpack<u16, true>>(i);
    case Op::PUNPCKHDQ: return any_vector<Unpack<u32, true>>(i);
    case Op::PUNPCKHQDQ:
    case Op::UNPCKHPD: return xmm_or_ymm<Unpack<u64, true>>(i);
    case Op::UNPCKHPS: return xmm_or_ymm<Unpack<u32, true>>(i);
    case Op::PACKSSWB: return any_vector<Pack<i16, i8>>(i);
    case Op::PACKUSWB: return any_vector<Pack<i16, u8>>(i);
    case Op::PACKSSDW: return any_vector<Pack<i32, i16>>(i);
    case Op::PACKUSDW: return xmm_or_ymm<Pack<i32, u16>>(i);
    default: return nullptr;
  }
}

Handler bind_shuffle(const Insn& i) {
  switch (i.op) {
    case Op::PSHUFB: return any_vector<ShuffleBytes>(i);
    case Op::PSHUFW: return bind_vector<ShuffleByImm<u16>, Mmx>(i);
    case Op::PSHUFD: return xmm_or_ymm<ShuffleByImm<u32>>(i);
    case Op::PSHUFLW: return xmm_or_ymm<ShuffleHalf<false>>(i);
    case Op::PSHUFHW: return xmm_or_ymm<ShuffleHalf<true>>(i);
    case Op::SHUFPS: return xmm_or_ymm<ShufflePs>(i);
    case Op::SHUFPD: return xmm_or_ymm<ShufflePd>(i);
    case Op::PALIGNR: return any_vector<AlignRight>(i);
    case Op::VPERMILPS:
      return i.kind[2] == Operand::imm ? xmm_or_ymm<ShuffleByImm<u32>>(i) : xmm_or_ymm<PermuteInLane<u32>>(i);
    case Op::VPERMILPD: return i.kind[2] == Operand::imm ? xmm_or_ymm<ShufflePd>(i) : xmm_or_ymm<PermuteInLane<u64>>(i);
    case Op::VPERMQ:
    case Op::VPERMPD: return xmm_or_ymm<ShuffleByImm<u64>>(i);
    case Op::VPERMD:
    case Op::VPERMPS: return xmm_or_ymm<PermuteAcross>(i);
    case Op::VPERM2F128:
    case Op::VPERM2I128: return xmm_or_ymm<PermuteHalves>(i);
    case Op::PBLENDW: return xmm_or_ymm<BlendByImm<u16>>(i);
    case Op::VPBLENDD:
    case Op::BLENDPS: return xmm_or_ymm<BlendByImm<u32>>(i);
    case Op::BLENDPD: return xmm_or_ymm<BlendByImm<u64>>(i);
    case Op::PBLENDVB: return blend<i8>(i);
    case Op::BLENDVPS: return blend<i32>(i);
    case Op::BLENDVPD: return blend<i64>(i);
    case Op::MOVSLDUP: return xmm_or_ymm<Duplicate<u32, 0>>(i);
    case Op::MOVSHDUP: return xmm_or_ymm<Duplicate<u32, 1>>(i);
    case Op::MOVDDUP: return xmm_or_ymm<Duplicate<u64, 0>, 8, 32>(i);
    default: return nullptr;
  }
}

Handler bind_extend(const Insn& i) {
  switch (i.op) {
    case Op::PMOVSXBW: return extend<i8, i16>(i);
    case Op::PMOVSXBD: return extend<i8, i32>(i);
    case Op::PMOVSXBQ: return extend<i8, i64>(i);
    case Op::PMOVSXWD: return extend<i16, i32>(i);
    case Op::PMOVSXWQ: return extend<i16, i64>(i);
    case Op::PMOVSXDQ: return extend<i32, i64>(i);
    case Op::PMOVZXBW: return extend<u8, u16>(i);
    case Op::PMOVZXBD: return extend<u8, u32>(i);
    case Op::PMOVZXBQ: return extend<u8, u64>(i);
    case Op::PMOVZXWD: return extend<u16, u32>(i);
    case Op::PMOVZXWQ: return extend<u16, u64>(i);
    case Op::PMOVZXDQ: return extend<u32, u64>(i);
    default: return nullptr;
  }
}

Handler bind_element(const Insn& i) {
  const bool mmx_form = i.kind[0] == Operand::mmx || i.kind[1] == Operand::mmx;
  const auto insert = [&]<class T>(T) {
    return by_encoding_128(i, []<class E>(E) { return then_next<insert_element<T, E>>; });
  };
  const auto extract = [&]<class T>(T) {
    return by_encoding_128(i, []<class E>(E) { return then_next<extract_element<T, E>>; });
  };
  switch (i.op) {
    case Op::PINSRB: return insert(u8{});
    case Op::PINSRW: return mmx_form ? then_next<insert_element<u16, Mmx>> : insert(u16{});
    case Op::PINSRD: return insert(u32{});
    case Op::PINSRQ: return insert(u64{});
    case Op::PEXTRB: return extract(u8{});
    case Op::PEXTRW: return mmx_form ? then_next<extract_element<u16, Mmx>> : extract(u16{});
    case Op::PEXTRD:
    case Op::EXTRACTPS: return extract(u32{});
    case Op::PEXTRQ: return extract(u64{});
    case Op::INSERTPS: return by_encoding_128(i, []<class E>(E) { return then_next<insertps<E>>; });
    default: return nullptr;
  }
}

Handler bind_vector_to_bits(const Insn& i) {
  constexpr u64 every = ~u64{0}, signs_of_singles = 0x8000000080000000, signs_of_doubles = 0x8000000000000000;
  switch (i.op) {
    case Op::PMOVMSKB: return i.kind[1] == Operand::mmx ? then_next<sign_mask<i8, Mmx>> : signs<i8>(i);
    case Op::MOVMSKPS: return signs<i32>(i);
    case Op::MOVMSKPD: return signs<i64>(i);
    case Op::PTEST: return test_of<every>(i);
    case Op::VTESTPS: return test_of<signs_of_singles>(i);
    case Op::VTESTPD: return test_of<signs_of_doubles>(i);

    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
