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

/// PSHUFD, PSHUFW: every element is chosen by two bits of imm.
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

/// SHUFPD: one element of a, one of b; every lane has two bits of its own.
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

/// PBLENDW, BLENDPS, BLENDPD: bit k of imm takes element k from b. PBLENDW repeats its eight bits in every lane.
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
  /// Legacy encoding: the mask is XMM0.
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>& a, const Lanes<N>& b) const {
    return by(a, b, vector_reg<N>(c, 0));
  }
};

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
  return xmm_only<Extend<From, To>, 16 * sizeof(From) / sizeof(To)>(i);
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
template <class T, unsigned N>
void insert_element(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  const T v = c.read<T>(i, 1);
  Lanes<N> r = vector_reg<N>(c, i.reg[0]);
  r.template set<T>(static_cast<unsigned>(i.imm) % Lanes<N>::template count<T>, v);
  set_vector_reg<N>(c, i.reg[0], r);
}

/// PEXTRx, EXTRACTPS: to memory, or zero-extended to a general register.
template <class T, unsigned N>
void extract_element(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  const T v = vector_reg<N>(c, i.reg[1]).template get<T>(static_cast<unsigned>(i.imm) % Lanes<N>::template count<T>);
  if (i.kind[0] == Operand::mem)
    c.store<T>(i, v);
  else
    c.set_gpr<u64>(i.reg[0], v);
  if constexpr (N == 1) switch_to_mmx(c);
}

/// INSERTPS: imm = source element (registers only), destination element, zero mask.
struct InsertPs {
  static Lanes<2> insert(Lanes<2> a, u32 v, u8 imm) {
    a.set<u32>(imm >> 4 & 3, v);
    for (unsigned k = 0; k < 4; ++k)
      if (imm >> k & 1) a.set<u32>(k, 0);
    return a;
  }
};
template <Source source>
void insertps(Cpu& c, const Insn& i) {
  require_sse(c);
  const u8 imm = static_cast<u8>(i.imm);
  const Lanes<2> b = vector_source<2, 4, source>(c, i);
  const u32 v = b.get<u32>(source == Source::mem ? 0 : imm >> 6);
  set_vector_reg<2>(c, i.reg[0], InsertPs::insert(vector_reg<2>(c, i.reg[0]), v, imm));
}

// ---- signs to bits, tests ----------------------------------------------------------------------------------------------

/// PMOVMSKB, MOVMSKPS, MOVMSKPD: the sign bits of the source's elements.
template <class T, unsigned N>
void sign_mask(Cpu& c, const Insn& i) {
  require_vector<N>(c);
  const Lanes<N> v = vector_reg<N>(c, i.reg[1]);
  u32 mask = 0;
  if constexpr (sizeof(T) == 1) {
    // Eight signs at a time: the multiplication gathers bit 7 of every byte in the topmost byte.
    for (unsigned k = 0; k < N; ++k)
      mask |= static_cast<u32>(((v.q[k] >> 7 & 0x0101010101010101) * 0x0102040810204080) >> 56) << (8 * k);
  } else {
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k) mask |= u32{v.template get<T>(k) < 0} << k;
  }
  if constexpr (N == 1) switch_to_mmx(c);
  c.set_gpr<u64>(i.reg[0], mask);
}

/// PTEST: ZF = no common bit, CF = no bit of the source beyond the destination's; the other flags are cleared.
template <Source source>
void ptest(Cpu& c, const Insn& i) {
  require_sse(c);
  const Lanes<2> b = vector_source<2, 16, source>(c, i), a = vector_reg<2>(c, i.reg[0]);
  const bool zf = !((a.q[0] & b.q[0]) | (a.q[1] & b.q[1]));
  const bool cf = !((~a.q[0] & b.q[0]) | (~a.q[1] & b.q[1]));
  c.s.flags.unpack((zf ? fl::zf : 0) | (cf ? fl::cf : 0));
}

}  // namespace

Handler bind_unpack(const Insn& i) {
  // The MMX forms of the low unpacks read only 32 bits of memory.
  const auto low = [&]<class T>(T) {
    using F = Unpack<T, false>;
    return i.kind[0] == Operand::mmx ? bind_vector<F, 1, 4>(i) : bind_vector<F, 2>(i);
  };
  switch (i.op) {
    case Op::PUNPCKLBW: return low(u8{});
    case Op::PUNPCKLWD: return low(u16{});
    case Op::PUNPCKLDQ: return low(u32{});
    case Op::PUNPCKLQDQ:
    case Op::UNPCKLPD: return xmm_only<Unpack<u64, false>>(i);
    case Op::UNPCKLPS: return xmm_only<Unpack<u32, false>>(i);
    case Op::PUNPCKHBW: return mmx_or_xmm<Unpack<u8, true>>(i);
    case Op::PUNPCKHWD: return mmx_or_xmm<Unpack<u16, true>>(i);
    case Op::PUNPCKHDQ: return mmx_or_xmm<Unpack<u32, true>>(i);
    case Op::PUNPCKHQDQ:
    case Op::UNPCKHPD: return xmm_only<Unpack<u64, true>>(i);
    case Op::UNPCKHPS: return xmm_only<Unpack<u32, true>>(i);
    case Op::PACKSSWB: return mmx_or_xmm<Pack<i16, i8>>(i);
    case Op::PACKUSWB: return mmx_or_xmm<Pack<i16, u8>>(i);
    case Op::PACKSSDW: return mmx_or_xmm<Pack<i32, i16>>(i);
    case Op::PACKUSDW: return xmm_only<Pack<i32, u16>>(i);
    default: return nullptr;
  }
}

Handler bind_shuffle(const Insn& i) {
  switch (i.op) {
    case Op::PSHUFB: return mmx_or_xmm<ShuffleBytes>(i);
    case Op::PSHUFW: return bind_vector<ShuffleByImm<u16>, 1>(i);
    case Op::PSHUFD: return xmm_only<ShuffleByImm<u32>>(i);
    case Op::PSHUFLW: return xmm_only<ShuffleHalf<false>>(i);
    case Op::PSHUFHW: return xmm_only<ShuffleHalf<true>>(i);
    case Op::SHUFPS: return xmm_only<ShufflePs>(i);
    case Op::SHUFPD: return xmm_only<ShufflePd>(i);
    case Op::PALIGNR: return mmx_or_xmm<AlignRight>(i);
    case Op::PBLENDW: return xmm_only<BlendByImm<u16>>(i);
    case Op::BLENDPS: return xmm_only<BlendByImm<u32>>(i);
    case Op::BLENDPD: return xmm_only<BlendByImm<u64>>(i);
    case Op::PBLENDVB: return xmm_only<Blend<i8>>(i);
    case Op::BLENDVPS: return xmm_only<Blend<i32>>(i);
    case Op::BLENDVPD: return xmm_only<Blend<i64>>(i);
    case Op::MOVSLDUP: return xmm_only<Duplicate<u32, 0>>(i);
    case Op::MOVSHDUP: return xmm_only<Duplicate<u32, 1>>(i);
    case Op::MOVDDUP: return xmm_only<Duplicate<u64, 0>, 8>(i);
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
  switch (i.op) {
    case Op::PINSRB: return then_next<insert_element<u8, 2>>;
    case Op::PINSRW: return mmx_form ? then_next<insert_element<u16, 1>> : then_next<insert_element<u16, 2>>;
    case Op::PINSRD: return then_next<insert_element<u32, 2>>;
    case Op::PINSRQ: return then_next<insert_element<u64, 2>>;
    case Op::PEXTRB: return then_next<extract_element<u8, 2>>;
    case Op::PEXTRW: return mmx_form ? then_next<extract_element<u16, 1>> : then_next<extract_element<u16, 2>>;
    case Op::PEXTRD:
    case Op::EXTRACTPS: return then_next<extract_element<u32, 2>>;
    case Op::PEXTRQ: return then_next<extract_element<u64, 2>>;
    case Op::INSERTPS:
      return i.kind[1] == Operand::mem ? then_next<insertps<Source::mem>> : then_next<insertps<Source::reg>>;
    default: return nullptr;
  }
}

Handler bind_vector_to_bits(const Insn& i) {
  switch (i.op) {
    case Op::PMOVMSKB: return i.kind[1] == Operand::mmx ? then_next<sign_mask<i8, 1>> : then_next<sign_mask<i8, 2>>;
    case Op::MOVMSKPS: return then_next<sign_mask<i32, 2>>;
    case Op::MOVMSKPD: return then_next<sign_mask<i64, 2>>;
    case Op::PTEST: return i.kind[1] == Operand::mem ? then_next<ptest<Source::mem>> : then_next<ptest<Source::reg>>;
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
