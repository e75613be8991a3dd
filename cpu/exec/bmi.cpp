// BMI1, BMI2, LZCNT, TZCNT and ADX: bit fields, parallel deposit and extract, flagless shifts and multiplication, two
// independent carry chains (SDM vol. 2, each instruction's page; vol. 1, 5.1.16). What they leave of flags that the manual
// does not define is in cpu/undefined.h.
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

/// Binds a meaning that exists for 32 and 64 bits.
#define NW_BY_WIDE(i, meaning) ((i).width == 8 ? then_next<meaning<u64>> : then_next<meaning<u32>>)

/// ZF and SF from r, CF as told, OF = AF = 0; PF comes from r, or is 0.
enum class Parity : u8 { of_result, zero };
template <Parity parity, class T>
NW_INLINE void bits_flags(Flags& f, T r, bool cf) {
  f.logic(r);
  f.set_cf(cf);
  if (parity == Parity::zero && f.pf()) f.carry ^= 1 << 8;
}

// ---- counts of zeros ---------------------------------------------------------------------------------------------------

/// LZCNT, TZCNT: CF says that the source was 0, ZF that the count is.
template <class T, bool leading>
void count_zeros(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  const T n = static_cast<T>(leading ? std::countl_zero(a) : std::countr_zero(a));
  c.set_gpr<T>(i.reg[0], n);
  c.s.flags.unpack((a == 0 ? fl::cf : 0) | (n == 0 ? fl::zf : 0));
}

// ---- BMI1 --------------------------------------------------------------------------------------------------------------

template <class T>
void andn(Cpu& c, const Insn& i) {
  const T r = ~c.gpr<T>(i.reg[1]) & c.read<T>(i, 2);
  c.set_gpr<T>(i.reg[0], r);
  bits_flags<Parity::zero>(c.s.flags, r, false);
}

template <class T>
void blsi(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  const T r = a & (T{0} - a);
  c.set_gpr<T>(i.reg[0], r);
  bits_flags<Parity::zero>(c.s.flags, r, a != 0);
}
template <class T>
void blsmsk(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  const T r = a ^ (a - 1);
  c.set_gpr<T>(i.reg[0], r);
  bits_flags<Parity::zero>(c.s.flags, r, a == 0);
}
template <class T>
void blsr(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  const T r = a & (a - 1);
  c.set_gpr<T>(i.reg[0], r);
  bits_flags<Parity::zero>(c.s.flags, r, a == 0);
}

template <class T>
constexpr T low_bits(unsigned n) {
  return n >= kBits<T> ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << n) - 1);
}

/// Control bits 7:0 are where the field starts, 15:8 how long it is.
template <class T>
void bextr(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1), control = c.gpr<T>(i.reg[2]);
  const unsigned start = control & 0xff, length = (control >> 8) & 0xff;
  const T r = start >= kBits<T> ? T{0} : static_cast<T>((a >> start) & low_bits<T>(length));
  c.set_gpr<T>(i.reg[0], r);
  c.s.flags.unpack(r == 0 ? fl::zf : 0);
}

// ---- BMI2 --------------------------------------------------------------------------------------------------------------

template <class T>
void bzhi(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  const unsigned n = c.gpr<T>(i.reg[2]) & 0xff;
  const T r = a & low_bits<T>(n);
  c.set_gpr<T>(i.reg[0], r);
  bits_flags<Parity::zero>(c.s.flags, r, n >= kBits<T>);
}

/// Low bits of the source go, in order, where the mask has ones.
template <class T>
void pdep(Cpu& c, const Insn& i) {
  T source = c.gpr<T>(i.reg[1]), r = 0;
  for (T mask = c.read<T>(i, 2); mask; mask &= mask - 1, source >>= 1)
    if (source & 1) r |= mask & (T{0} - mask);
  c.set_gpr<T>(i.reg[0], r);
}
/// Bits of the source where the mask has ones go, in order, to the low bits.
template <class T>
void pext(Cpu& c, const Insn& i) {
  const T source = c.gpr<T>(i.reg[1]);
  T r = 0;
  unsigned n = 0;
  for (T mask = c.read<T>(i, 2); mask; mask &= mask - 1, ++n)
    if (source & mask & (T{0} - mask)) r |= T{1} << n;
  c.set_gpr<T>(i.reg[0], r);
}

/// The high half is written last: it wins if both destinations are the same register.
template <class T>
void mulx(Cpu& c, const Insn& i) {
  const u128 product = u128{c.gpr<T>(8 * RDX)} * c.read<T>(i, 2);
  c.set_gpr<T>(i.reg[1], static_cast<T>(product));
  c.set_gpr<T>(i.reg[0], static_cast<T>(product >> kBits<T>));
}

template <class T>
void rorx(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], std::rotr(c.read<T>(i, 1), static_cast<int>(i.imm & (kBits<T> - 1))));
}
template <class T>
unsigned shift_count(Cpu& c, const Insn& i) {
  return static_cast<unsigned>(c.gpr<T>(i.reg[2]) & (kBits<T> - 1));
}
template <class T>
void sarx(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  c.set_gpr<T>(i.reg[0], static_cast<T>(static_cast<std::make_signed_t<T>>(a) >> shift_count<T>(c, i)));
}
template <class T>
void shlx(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  c.set_gpr<T>(i.reg[0], static_cast<T>(a << shift_count<T>(c, i)));
}
template <class T>
void shrx(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  c.set_gpr<T>(i.reg[0], static_cast<T>(a >> shift_count<T>(c, i)));
}

// ---- ADX ---------------------------------------------------------------------------------------------------------------

/// ADCX carries through CF and touches nothing else, ADOX through OF.
template <class T, bool through_of>
void add_with(Cpu& c, const Insn& i) {
  Flags& f = c.s.flags;
  const T b = c.read<T>(i, 1);
  const u128 sum = u128{c.gpr<T>(i.reg[0])} + b + (through_of ? f.of() : f.cf());
  c.set_gpr<T>(i.reg[0], static_cast<T>(sum));
  const bool carry = (sum >> kBits<T>)&1;
  if constexpr (through_of)
    f.set_of(carry);
  else
    f.set_cf(carry);
}

}  // namespace

Handler bind_lzcnt(const Insn& i) {
  return by_width(i.width, [](auto t) -> Handler { return then_next<count_zeros<decltype(t), true>>; });
}
Handler bind_tzcnt(const Insn& i) {
  return by_width(i.width, [](auto t) -> Handler { return then_next<count_zeros<decltype(t), false>>; });
}
Handler bind_andn(const Insn& i) { return NW_BY_WIDE(i, andn); }
Handler bind_bextr(const Insn& i) { return NW_BY_WIDE(i, bextr); }
Handler bind_blsi(const Insn& i) { return NW_BY_WIDE(i, blsi); }
Handler bind_blsmsk(const Insn& i) { return NW_BY_WIDE(i, blsmsk); }
Handler bind_blsr(const Insn& i) { return NW_BY_WIDE(i, blsr); }
Handler bind_bzhi(const Insn& i) { return NW_BY_WIDE(i, bzhi); }
Handler bind_pdep(const Insn& i) { return NW_BY_WIDE(i, pdep); }
Handler bind_pext(const Insn& i) { return NW_BY_WIDE(i, pext); }
Handler bind_mulx(const Insn& i) { return NW_BY_WIDE(i, mulx); }
Handler bind_rorx(const Insn& i) { return NW_BY_WIDE(i, rorx); }
Handler bind_sarx(const Insn& i) { return NW_BY_WIDE(i, sarx); }
Handler bind_shlx(const Insn& i) { return NW_BY_WIDE(i, shlx); }
Handler bind_shrx(const Insn& i) { return NW_BY_WIDE(i, shrx); }
Handler bind_adcx(const Insn& i) {
  return i.width == 8 ? then_next<add_with<u64, false>> : then_next<add_with<u32, false>>;
}
Handler bind_adox(const Insn& i) { return i.width == 8 ? then_next<add_with<u64, true>> : then_next<add_with<u32, true>>; }

#undef NW_BY_WIDE

}  // namespace nestwalk::cpu
