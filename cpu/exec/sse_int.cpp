// Packed integer arithmetic, comparison, logic and shifts of MMX, SSE2, SSSE3, SSE4.1 and SSE4.2 (SDM vol. 2, 4 and 5,
// under the names of the instructions).
#include "cpu/exec/lanes.h"

namespace nestwalk::cpu {
namespace {

// Lambdas see promoted ints for 8- and 16-bit elements; Each<T, ...> cuts the result back to T.
using Add = decltype([](auto a, auto b) { return a + b; });
using Sub = decltype([](auto a, auto b) { return a - b; });
using Mul = decltype([](auto a, auto b) { return a * b; });
using AddSaturated = decltype([](auto a, auto b) { return saturate<decltype(a)>(i32{a} + b); });
using SubSaturated = decltype([](auto a, auto b) { return saturate<decltype(a)>(i32{a} - b); });
using Min = decltype([](auto a, auto b) { return a < b ? a : b; });
using Max = decltype([](auto a, auto b) { return a > b ? a : b; });
using Average = decltype([](auto a, auto b) { return (a + b + 1) >> 1; });
using Equal = decltype([](auto a, auto b) { return a == b ? -1 : 0; });
using Greater = decltype([](auto a, auto b) { return a > b ? -1 : 0; });
using And = decltype([](auto a, auto b) { return a & b; });
using AndNot = decltype([](auto a, auto b) { return ~a & b; });
using Or = decltype([](auto a, auto b) { return a | b; });
using Xor = decltype([](auto a, auto b) { return a ^ b; });
using MulHigh = decltype([](auto a, auto b) {  // i16 or u16
  using Wide = std::conditional_t<std::is_signed_v<decltype(a)>, i32, u32>;
  return (Wide{a} * Wide{b}) >> 16;
});
using MulHighRounded = decltype([](i16 a, i16 b) { return (((a * b) >> 14) + 1) >> 1; });
using MulEvenUnsigned = decltype([](u64 a, u64 b) { return (a & 0xffffffff) * (b & 0xffffffff); });
using MulEvenSigned = decltype([](u64 a, u64 b) { return i64{static_cast<i32>(a)} * static_cast<i32>(b); });
using Absolute = decltype([](auto v) { return v < 0 ? 0u - static_cast<u32>(v) : static_cast<u32>(v); });
using Sign = decltype([](auto a, auto b) { return b < 0 ? 0u - static_cast<u32>(a) : b == 0 ? 0u : static_cast<u32>(a); });

/// PMADDWD: one 32-bit sum of two products; only 4 x 8000H wraps.
using MulAddWords = decltype([](u32 a, u32 b) {
  const auto product = [](u32 x, u32 y) { return static_cast<u32>(static_cast<i16>(x) * static_cast<i16>(y)); };
  return product(a, b) + product(a >> 16, b >> 16);
});
/// PMADDUBSW: unsigned bytes of the destination times signed bytes of the source.
using MulAddBytes = decltype([](u16 a, u16 b) {
  const auto product = [](int x, int y) { return static_cast<u8>(x) * static_cast<i8>(y); };
  return saturate<i16>(product(a, b) + product(a >> 8, b >> 8));
});
/// PSADBW: sum of absolute differences of eight bytes.
using SumOfDifferences = decltype([](u64 a, u64 b) {
  u64 sum = 0;
  for (unsigned k = 0; k < 64; k += 8) sum += static_cast<u64>(std::abs(static_cast<u8>(a >> k) - static_cast<u8>(b >> k)));
  return sum;
});

/// MPSADBW: eight sums of four differences; imm bit 2 moves the window in a, bits 1:0 choose the block of b.
struct MultipleSums {
  Lanes<2> operator()(const Lanes<2>& a, const Lanes<2>& b, u8 imm) const {
    Lanes<2> r;
    const unsigned window = imm & 4, block = (imm & 3) * 4;
    for (unsigned k = 0; k < 8; ++k) {
      int sum = 0;
      for (unsigned n = 0; n < 4; ++n) sum += std::abs(a.get<u8>(window + k + n) - b.get<u8>(block + n));
      r.set<u16>(k, static_cast<u16>(sum));
    }
    return r;
  }
};

/// PHMINPOSUW: the smallest word and the lowest index it is at.
struct MinimumPosition {
  Lanes<2> operator()(const Lanes<2>&, const Lanes<2>& b) const {
    unsigned at = 0;
    for (unsigned k = 1; k < 8; ++k)
      if (b.get<u16>(k) < b.get<u16>(at)) at = k;
    return {{b.get<u16>(at) | at << 16, 0}};
  }
};

// ---- shifts: the count is the lowest 64 bits of the source, and a count beyond the element shifts everything out
// ----------

using Left = decltype([](auto v, u64 n) { return n < kBits<decltype(v)> ? v << n : 0; });
using Right = decltype([](auto v, u64 n) { return n < kBits<decltype(v)> ? v >> n : 0; });
using RightArithmetic = decltype([](auto v, u64 n) { return v >> (n < kBits<decltype(v)> ? n : kBits<decltype(v)> - 1); });

template <class T, class F>
struct Shift {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k)
      r.template set<T>(k, static_cast<T>(F{}(a.template get<T>(k), b.q[0])));
    return r;
  }
};

/// PSLLDQ, PSRLDQ: whole lanes by bytes.
template <bool left>
struct ShiftBytes {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    Lanes<N> r = Lanes<N>::zero();
    const unsigned n = static_cast<unsigned>(std::min<u64>(b.q[0], 16));
    for (unsigned lane = 0; lane < N * 8; lane += 16)
      for (unsigned k = n; k < 16; ++k)
        r.template set<u8>(lane + (left ? k : k - n), a.template get<u8>(lane + (left ? k - n : k)));
    return r;
  }
};

template <class F>
Handler shift(const Insn& i) {
  if (i.kind[1] != Operand::imm) return mmx_or_xmm<F>(i);
  return i.kind[0] == Operand::mmx ? then_next<vector_op<F, 1, 8, Source::imm>>
                                   : then_next<vector_op<F, 2, 16, Source::imm>>;
}

}  // namespace

Handler bind_vector_add(const Insn& i) {
  switch (i.op) {
    case Op::PADDB: return mmx_or_xmm<Each<u8, Add>>(i);
    case Op::PADDW: return mmx_or_xmm<Each<u16, Add>>(i);
    case Op::PADDD: return mmx_or_xmm<Each<u32, Add>>(i);
    case Op::PADDQ: return mmx_or_xmm<Each<u64, Add>>(i);
    case Op::PADDSB: return mmx_or_xmm<Each<i8, AddSaturated>>(i);
    case Op::PADDSW: return mmx_or_xmm<Each<i16, AddSaturated>>(i);
    case Op::PADDUSB: return mmx_or_xmm<Each<u8, AddSaturated>>(i);
    case Op::PADDUSW: return mmx_or_xmm<Each<u16, AddSaturated>>(i);
    case Op::PSUBB: return mmx_or_xmm<Each<u8, Sub>>(i);
    case Op::PSUBW: return mmx_or_xmm<Each<u16, Sub>>(i);
    case Op::PSUBD: return mmx_or_xmm<Each<u32, Sub>>(i);
    case Op::PSUBQ: return mmx_or_xmm<Each<u64, Sub>>(i);
    case Op::PSUBSB: return mmx_or_xmm<Each<i8, SubSaturated>>(i);
    case Op::PSUBSW: return mmx_or_xmm<Each<i16, SubSaturated>>(i);
    case Op::PSUBUSB: return mmx_or_xmm<Each<u8, SubSaturated>>(i);
    case Op::PSUBUSW: return mmx_or_xmm<Each<u16, SubSaturated>>(i);
    case Op::PAVGB: return mmx_or_xmm<Each<u8, Average>>(i);
    case Op::PAVGW: return mmx_or_xmm<Each<u16, Average>>(i);
    case Op::PHADDW: return mmx_or_xmm<Horizontal<u16, Add>>(i);
    case Op::PHADDD: return mmx_or_xmm<Horizontal<u32, Add>>(i);
    case Op::PHADDSW: return mmx_or_xmm<Horizontal<i16, AddSaturated>>(i);
    case Op::PHSUBW: return mmx_or_xmm<Horizontal<u16, Sub>>(i);
    case Op::PHSUBD: return mmx_or_xmm<Horizontal<u32, Sub>>(i);
    case Op::PHSUBSW: return mmx_or_xmm<Horizontal<i16, SubSaturated>>(i);
    case Op::PABSB: return mmx_or_xmm<EachOf<i8, Absolute>>(i);
    case Op::PABSW: return mmx_or_xmm<EachOf<i16, Absolute>>(i);
    case Op::PABSD: return mmx_or_xmm<EachOf<i32, Absolute>>(i);
    case Op::PSIGNB: return mmx_or_xmm<Each<i8, Sign>>(i);
    case Op::PSIGNW: return mmx_or_xmm<Each<i16, Sign>>(i);
    case Op::PSIGND: return mmx_or_xmm<Each<i32, Sign>>(i);
    default: return nullptr;
  }
}

Handler bind_vector_multiply(const Insn& i) {
  switch (i.op) {
    case Op::PMULLW: return mmx_or_xmm<Each<i16, Mul>>(i);
    case Op::PMULLD: return xmm_only<Each<u32, Mul>>(i);
    case Op::PMULHW: return mmx_or_xmm<Each<i16, MulHigh>>(i);
    case Op::PMULHUW: return mmx_or_xmm<Each<u16, MulHigh>>(i);
    case Op::PMULHRSW: return mmx_or_xmm<Each<i16, MulHighRounded>>(i);
    case Op::PMULUDQ: return mmx_or_xmm<Each<u64, MulEvenUnsigned>>(i);
    case Op::PMULDQ: return xmm_only<Each<u64, MulEvenSigned>>(i);
    case Op::PMADDWD: return mmx_or_xmm<Each<u32, MulAddWords>>(i);
    case Op::PMADDUBSW: return mmx_or_xmm<Each<u16, MulAddBytes>>(i);
    case Op::PSADBW: return mmx_or_xmm<Each<u64, SumOfDifferences>>(i);
    case Op::MPSADBW: return xmm_only<MultipleSums>(i);
    case Op::PHMINPOSUW: return xmm_only<MinimumPosition>(i);
    default: return nullptr;
  }
}

Handler bind_vector_compare(const Insn& i) {
  switch (i.op) {
    case Op::PCMPEQB: return mmx_or_xmm<Each<u8, Equal>>(i);
    case Op::PCMPEQW: return mmx_or_xmm<Each<u16, Equal>>(i);
    case Op::PCMPEQD: return mmx_or_xmm<Each<u32, Equal>>(i);
    case Op::PCMPEQQ: return xmm_only<Each<u64, Equal>>(i);
    case Op::PCMPGTB: return mmx_or_xmm<Each<i8, Greater>>(i);
    case Op::PCMPGTW: return mmx_or_xmm<Each<i16, Greater>>(i);
    case Op::PCMPGTD: return mmx_or_xmm<Each<i32, Greater>>(i);
    case Op::PCMPGTQ: return xmm_only<Each<i64, Greater>>(i);
    case Op::PMINUB: return mmx_or_xmm<Each<u8, Min>>(i);
    case Op::PMINSW: return mmx_or_xmm<Each<i16, Min>>(i);
    case Op::PMAXUB: return mmx_or_xmm<Each<u8, Max>>(i);
    case Op::PMAXSW: return mmx_or_xmm<Each<i16, Max>>(i);
    case Op::PMINSB: return xmm_only<Each<i8, Min>>(i);
    case Op::PMINUW: return xmm_only<Each<u16, Min>>(i);
    case Op::PMINSD: return xmm_only<Each<i32, Min>>(i);
    case Op::PMINUD: return xmm_only<Each<u32, Min>>(i);
    case Op::PMAXSB: return xmm_only<Each<i8, Max>>(i);
    case Op::PMAXUW: return xmm_only<Each<u16, Max>>(i);
    case Op::PMAXSD: return xmm_only<Each<i32, Max>>(i);
    case Op::PMAXUD: return xmm_only<Each<u32, Max>>(i);
    default: return nullptr;
  }
}

Handler bind_vector_logic(const Insn& i) {
  switch (i.op) {
    case Op::PAND: return mmx_or_xmm<Each<u64, And>>(i);
    case Op::PANDN: return mmx_or_xmm<Each<u64, AndNot>>(i);
    case Op::POR: return mmx_or_xmm<Each<u64, Or>>(i);
    case Op::PXOR: return mmx_or_xmm<Each<u64, Xor>>(i);
    case Op::ANDPS:
    case Op::ANDPD: return xmm_only<Each<u64, And>>(i);
    case Op::ANDNPS:
    case Op::ANDNPD: return xmm_only<Each<u64, AndNot>>(i);
    case Op::ORPS:
    case Op::ORPD: return xmm_only<Each<u64, Or>>(i);
    case Op::XORPS:
    case Op::XORPD: return xmm_only<Each<u64, Xor>>(i);
    default: return nullptr;
  }
}

Handler bind_vector_shift(const Insn& i) {
  switch (i.op) {
    case Op::PSLLW: return shift<Shift<u16, Left>>(i);
    case Op::PSLLD: return shift<Shift<u32, Left>>(i);
    case Op::PSLLQ: return shift<Shift<u64, Left>>(i);
    case Op::PSRLW: return shift<Shift<u16, Right>>(i);
    case Op::PSRLD: return shift<Shift<u32, Right>>(i);
    case Op::PSRLQ: return shift<Shift<u64, Right>>(i);
    case Op::PSRAW: return shift<Shift<i16, RightArithmetic>>(i);
    case Op::PSRAD: return shift<Shift<i32, RightArithmetic>>(i);
    case Op::PSLLDQ: return then_next<vector_op<ShiftBytes<true>, 2, 16, Source::imm>>;
    case Op::PSRLDQ: return then_next<vector_op<ShiftBytes<false>, 2, 16, Source::imm>>;
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
