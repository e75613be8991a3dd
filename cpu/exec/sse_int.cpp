// Packed integer arithmetic, comparison, logic and shifts of MMX, SSE2, SSSE3, SSE4.1, SSE4.2, AVX and AVX2 (SDM vol. 2, 4
// and 5, under the names of the instructions).
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

/// MPSADBW: eight sums of four differences in every lane; imm bit 2 moves the window in a, bits 1:0 choose the block of b.
/// The upper lane has the next three bits.
struct MultipleSums {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b, u8 imm) const {
    Lanes<N> r;
    for (unsigned lane = 0; lane < N * 4; lane += 8, imm >>= 3) {
      const unsigned window = 2 * lane + (imm & 4), block = 2 * lane + (imm & 3) * 4;
      for (unsigned k = 0; k < 8; ++k) {
        int sum = 0;
        for (unsigned n = 0; n < 4; ++n)
          sum += std::abs(a.template get<u8>(window + k + n) - b.template get<u8>(block + n));
        r.template set<u16>(lane + k, static_cast<u16>(sum));
      }
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

/// The count is an XMM register or 128 bits of memory, whatever the length of the operands.
template <class F, class E>
void shift_op(Cpu& c, const Insn& i) {
  E::require(c);
  typename E::Value count = E::Value::zero();
  count.q[0] = vector_source < Encoding < E::words == 1 ? 1 : 2, E::vex >, E::words == 1 ? 8 : 16,
  Source::any > (c, i, E::second).q[0];
  E::set(c, i.reg[0], F{}(E::get(c, i.reg[E::first]), count));
}
template <class F, class E>
Handler shift_by_imm() {
  return then_next<vector_op<F, E, 8, Source::imm, E::second>>;
}
template <class F>
Handler shift(const Insn& i) {
  if (i.kind[0] == Operand::mmx) return i.kind[1] == Operand::imm ? shift_by_imm<F, Mmx>() : then_next<shift_op<F, Mmx>>;
  return by_encoding(i, [&]<class E>(E) -> Handler {
    return i.kind[E::second] == Operand::imm ? shift_by_imm<F, E>() : then_next<shift_op<F, E>>;
  });
}
template <bool left>
Handler shift_bytes(const Insn& i) {
  return by_encoding(i, []<class E>(E) { return shift_by_imm<ShiftBytes<left>, E>(); });
}

}  // namespace

Handler bind_vector_add(const Insn& i) {
  switch (i.op) {
    case Op::PADDB: return any_vector<Each<u8, Add>>(i);
    case Op::PADDW: return any_vector<Each<u16, Add>>(i);
    case Op::PADDD: return any_vector<Each<u32, Add>>(i);
    case Op::PADDQ: return any_vector<Each<u64, Add>>(i);
    case Op::PADDSB: return any_vector<Each<i8, AddSaturated>>(i);
    case Op::PADDSW: return any_vector<Each<i16, AddSaturated>>(i);
    case Op::PADDUSB: return any_vector<Each<u8, AddSaturated>>(i);
    case Op::PADDUSW: return any_vector<Each<u16, AddSaturated>>(i);
    case Op::PSUBB: return any_vector<Each<u8, Sub>>(i);
    case Op::PSUBW: return any_vector<Each<u16, Sub>>(i);
    case Op::PSUBD: return any_vector<Each<u32, Sub>>(i);
    case Op::PSUBQ: return any_vector<Each<u64, Sub>>(i);
    case Op::PSUBSB: return any_vector<Each<i8, SubSaturated>>(i);
    case Op::PSUBSW: return any_vector<Each<i16, SubSaturated>>(i);
    case Op::PSUBUSB: return any_vector<Each<u8, SubSaturated>>(i);
    case Op::PSUBUSW: return any_vector<Each<u16, SubSaturated>>(i);
    case Op::PAVGB: return any_vector<Each<u8, Average>>(i);
    case Op::PAVGW: return any_vector<Each<u16, Average>>(i);
    case Op::PHADDW: return any_vector<Horizontal<u16, Add>>(i);
    case Op::PHADDD: return any_vector<Horizontal<u32, Add>>(i);
    case Op::PHADDSW: return any_vector<Horizontal<i16, AddSaturated>>(i);
    case Op::PHSUBW: return any_vector<Horizontal<u16, Sub>>(i);
    case Op::PHSUBD: return any_vector<Horizontal<u32, Sub>>(i);
    case Op::PHSUBSW: return any_vector<Horizontal<i16, SubSaturated>>(i);
    case Op::PABSB: return any_vector<EachOf<i8, Absolute>>(i);
    case Op::PABSW: return any_vector<EachOf<i16, Absolute>>(i);
    case Op::PABSD: return any_vector<EachOf<i32, Absolute>>(i);
    case Op::PSIGNB: return any_vector<Each<i8, Sign>>(i);
    case Op::PSIGNW: return any_vector<Each<i16, Sign>>(i);
    case Op::PSIGND: return any_vector<Each<i32, Sign>>(i);
    default: return nullptr;
  }
}

Handler bind_vector_multiply(const Insn& i) {
  switch (i.op) {
    case Op::PMULLW: return any_vector<Each<i16, Mul>>(i);
    case Op::PMULLD: return xmm_or_ymm<Each<u32, Mul>>(i);
    case Op::PMULHW: return any_vector<Each<i16, MulHigh>>(i);
    case Op::PMULHUW: return any_vector<Each<u16, MulHigh>>(i);
    case Op::PMULHRSW: return any_vector<Each<i16, MulHighRounded>>(i);
    case Op::PMULUDQ: return any_vector<Each<u64, MulEvenUnsigned>>(i);
    case Op::PMULDQ: return xmm_or_ymm<Each<u64, MulEvenSigned>>(i);
    case Op::PMADDWD: return any_vector<Each<u32, MulAddWords>>(i);
    case Op::PMADDUBSW: return any_vector<Each<u16, MulAddBytes>>(i);
    case Op::PSADBW: return any_vector<Each<u64, SumOfDifferences>>(i);
    case Op::MPSADBW: return xmm_or_ymm<MultipleSums>(i);
    case Op::PHMINPOSUW: return xmm_only<MinimumPosition>(i);
    default: return nullptr;
  }
}

Handler bind_vector_compare(const Insn& i) {
  switch (i.op) {
    case Op::PCMPEQB: return any_vector<Each<u8, Equal>>(i);
    case Op::PCMPEQW: return any_vector<Each<u16, Equal>>(i);
    case Op::PCMPEQD: return any_vector<Each<u32, Equal>>(i);
    case Op::PCMPEQQ: return xmm_or_ymm<Each<u64, Equal>>(i);
    case Op::PCMPGTB: return any_vector<Each<i8, Greater>>(i);
    case Op::PCMPGTW: return any_vector<Each<i16, Greater>>(i);
    case Op::PCMPGTD: return any_vector<Each<i32, Greater>>(i);
    case Op::PCMPGTQ: return xmm_or_ymm<Each<i64, Greater>>(i);
    case Op::PMINUB: return any_vector<Each<u8, Min>>(i);
    case Op::PMINSW: return any_vector<Each<i16, Min>>(i);
    case Op::PMAXUB: return any_vector<Each<u8, Max>>(i);
    case Op::PMAXSW: return any_vector<Each<i16, Max>>(i);
    case Op::PMINSB: return xmm_or_ymm<Each<i8, Min>>(i);
    case Op::PMINUW: return xmm_or_ymm<Each<u16, Min>>(i);
    case Op::PMINSD: return xmm_or_ymm<Each<i32, Min>>(i);
    case Op::PMINUD: return xmm_or_ymm<Each<u32, Min>>(i);
    case Op::PMAXSB: return xmm_or_ymm<Each<i8, Max>>(i);
    case Op::PMAXUW: return xmm_or_ymm<Each<u16, Max>>(i);
    case Op::PMAXSD: return xmm_or_ymm<Each<i32, Max>>(i);
    case Op::PMAXUD: return xmm_or_ymm<Each<u32, Max>>(i);
    default: return nullptr;
  }
}

Handler bind_vector_logic(const Insn& i) {
  switch (i.op) {
    case Op::PAND: return any_vector<Each<u64, And>>(i);
    case Op::PANDN: return any_vector<Each<u64, AndNot>>(i);
    case Op::POR: return any_vector<Each<u64, Or>>(i);
    case Op::PXOR: return any_vector<Each<u64, Xor>>(i);
    case Op::ANDPS:
    case Op::ANDPD: return xmm_or_ymm<Each<u64, And>>(i);
    case Op::ANDNPS:
    case Op::ANDNPD: return xmm_or_ymm<Each<u64, AndNot>>(i);
    case Op::ORPS:
    case Op::ORPD: return xmm_or_ymm<Each<u64, Or>>(i);
    case Op::XORPS:
    case Op::XORPD: return xmm_or_ymm<Each<u64, Xor>>(i);
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
    case Op::VPSLLVD: return xmm_or_ymm<Each<u32, Left>>(i);
    case Op::VPSLLVQ: return xmm_or_ymm<Each<u64, Left>>(i);
    case Op::VPSRLVD: return xmm_or_ymm<Each<u32, Right>>(i);
    case Op::VPSRLVQ: return xmm_or_ymm<Each<u64, Right>>(i);
    case Op::VPSRAVD: return xmm_or_ymm<Each<i32, RightArithmetic>>(i);
    case Op::PSLLDQ: return shift_bytes<true>(i);
    case Op::PSRLDQ: return shift_bytes<false>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
