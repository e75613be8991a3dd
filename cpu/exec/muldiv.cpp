// Multiplication, division and the sign extensions of the accumulator (SDM vol. 2: MUL, IMUL, DIV, IDIV, CBW.., CWD..).
//
// Flags that the SDM leaves undefined, as Intel cores show them:
//   MUL, IMUL   SF and PF from the low half, ZF = AF = 0 (measured, test/oracle)
//   DIV, IDIV   unchanged
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

/// The type of twice the width.
template <class T>
struct Twice;
template <>
struct Twice<u8> {
  using Unsigned = u16;
  using Signed = i16;
};
template <>
struct Twice<u16> {
  using Unsigned = u32;
  using Signed = i32;
};
template <>
struct Twice<u32> {
  using Unsigned = u64;
  using Signed = i64;
};
template <>
struct Twice<u64> {
  using Unsigned = u128;
  using Signed = i128;
};

template <class T>
NW_INLINE void multiplied(Flags& f, T low, bool overflow) {
  f.logic(low);
  f.set_cf_of(overflow, overflow);
  if (NW_UNLIKELY(low == 0)) f.set_zf(false);
}

/// The pair AX, DX:AX, EDX:EAX, RDX:RAX.
template <class T>
NW_INLINE void set_pair(Cpu& c, T low, T high) {
  if constexpr (sizeof(T) == 1) {
    c.gpr<u16>(0) = static_cast<u16>(low | (high << 8));
  } else {
    c.set_gpr<T>(8 * RAX, low);
    c.set_gpr<T>(8 * RDX, high);
  }
}
template <class T>
NW_INLINE typename Twice<T>::Unsigned pair(Cpu& c) {
  if constexpr (sizeof(T) == 1)
    return c.gpr<u16>(0);
  else
    return (static_cast<typename Twice<T>::Unsigned>(c.gpr<T>(8 * RDX)) << kBits<T>) | c.gpr<T>(8 * RAX);
}

template <class T>
void mul(Cpu& c, const Insn& i) {
  using U = typename Twice<T>::Unsigned;
  const U product = static_cast<U>(static_cast<U>(c.gpr<T>(0)) * c.read<T>(i, 0));
  const T low = static_cast<T>(product), high = static_cast<T>(product >> kBits<T>);
  set_pair<T>(c, low, high);
  multiplied(c.s.flags, low, high != 0);
}

/// The full signed product, and whether it fits the low half.
template <class T>
NW_INLINE T signed_product(Flags& f, T a, T b, T* high = nullptr) {
  using S = typename Twice<T>::Signed;
  using N = std::make_signed_t<T>;
  const S product = static_cast<S>(static_cast<S>(static_cast<N>(a)) * static_cast<N>(b));
  const T low = static_cast<T>(product);
  if (high) *high = static_cast<T>(product >> kBits<T>);
  multiplied(f, low, product != static_cast<S>(static_cast<N>(low)));
  return low;
}
template <class T>
void imul_pair(Cpu& c, const Insn& i) {
  const T b = c.read<T>(i, 0);
  T high;
  const T low = signed_product<T>(c.s.flags, c.gpr<T>(0), b, &high);
  set_pair<T>(c, low, high);
}
template <class T, bool immediate>
void imul_to_from_register(Cpu& c, const Insn& i) {
  const T a = c.gpr<T>(i.reg[1]);
  const T b = immediate ? static_cast<T>(i.imm) : c.gpr<T>(i.reg[0]);
  c.set_gpr<T>(i.reg[0], signed_product<T>(c.s.flags, a, b));
}
template <class T, bool immediate>
void imul_to(Cpu& c, const Insn& i) {
  const T a = c.load<T>(i);
  const T b = immediate ? static_cast<T>(i.imm) : c.gpr<T>(i.reg[0]);
  c.set_gpr<T>(i.reg[0], signed_product<T>(c.s.flags, a, b));
}

template <class T>
void div(Cpu& c, const Insn& i) {
  using U = typename Twice<T>::Unsigned;
  const T divisor = c.read<T>(i, 0);
  const U dividend = pair<T>(c);
  if (divisor == 0 || static_cast<T>(dividend >> kBits<T>) >= divisor) c.raise(ex::de);
  set_pair<T>(c, static_cast<T>(dividend / divisor), static_cast<T>(dividend % divisor));
}

/// Computed on magnitudes: no quotient can overflow the host's type. The remainder has the dividend's sign.
template <class T>
void idiv(Cpu& c, const Insn& i) {
  using U = typename Twice<T>::Unsigned;
  const T divisor = c.read<T>(i, 0);
  if (divisor == 0) c.raise(ex::de);
  const U dividend = pair<T>(c);
  const bool n_negative = dividend >> (2 * kBits<T> - 1), d_negative = divisor >> (kBits<T> - 1);
  const U n = n_negative ? static_cast<U>(-dividend) : dividend;
  const T d = d_negative ? static_cast<T>(-divisor) : divisor;
  const U q = n / d;
  const T r = static_cast<T>(n % d);
  const bool negative = n_negative != d_negative;
  const U most = (U{1} << (kBits<T> - 1)) - !negative;
  if (q > most) c.raise(ex::de);
  set_pair<T>(c, static_cast<T>(negative ? -q : q), static_cast<T>(n_negative ? -r : r));
}

/// CBW, CWDE, CDQE: the lower half of the accumulator into all of it.
template <class T, class Half>
void extend_accumulator(Cpu& c, const Insn&) {
  c.set_gpr<T>(0, static_cast<T>(sext(c.gpr<Half>(0))));
}
/// CWD, CDQ, CQO: the accumulator's sign into DX, EDX, RDX.
template <class T>
void spread_sign(Cpu& c, const Insn&) {
  c.set_gpr<T>(8 * RDX, static_cast<T>(c.gpr<T>(0) >> (kBits<T> - 1) ? ~T{0} : T{0}));
}

}  // namespace

Handler bind_mul(const Insn& i) { return NW_BY_WIDTH(i, then_next, mul); }
Handler bind_div(const Insn& i) { return NW_BY_WIDTH(i, then_next, div); }
Handler bind_idiv(const Insn& i) { return NW_BY_WIDTH(i, then_next, idiv); }
Handler bind_imul(const Insn& i) {
  if (i.kind[1] == Operand::none) return NW_BY_WIDTH(i, then_next, imul_pair);
  return by_width(i.width, [&](auto t) -> Handler {
    using T = decltype(t);
    if (i.kind[1] == Operand::gpr)
      return i.kind[2] == Operand::imm ? pure<imul_to_from_register<T, true>> : pure<imul_to_from_register<T, false>>;
    return i.kind[2] == Operand::imm ? then_next<imul_to<T, true>> : then_next<imul_to<T, false>>;
  });
}
Handler bind_cbw(const Insn&) { return pure<extend_accumulator<u16, u8>>; }
Handler bind_cwde(const Insn&) { return pure<extend_accumulator<u32, u16>>; }
Handler bind_cdqe(const Insn&) { return pure<extend_accumulator<u64, u32>>; }
Handler bind_cwd(const Insn&) { return pure<spread_sign<u16>>; }
Handler bind_cdq(const Insn&) { return pure<spread_sign<u32>>; }
Handler bind_cqo(const Insn&) { return pure<spread_sign<u64>>; }

}  // namespace nestwalk::cpu
