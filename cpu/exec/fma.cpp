// FMA3: a * b + c rounded once (SDM vol. 1, 14.5.2; vol. 2, VFMADD132PD ff.). Computed in integers, exactly and then
// rounded, so the host needs no such unit; the product of two significands and room to align an addend fit in 128 bits.
#include <array>
#include <string_view>

#include "cpu/exec/float_bits.h"
#include "cpu/exec/host_sse.h"

namespace nestwalk::cpu {
namespace {

/// What the mnemonic says: VF[N]M(ADD|SUB|ADDSUB|SUBADD)(132|213|231)(PS|PD|SS|SD).
struct Variant {
  u8 multiplicand, multiplier, addend;  ///< operand numbers
  bool negates_product, subtracts_even, subtracts_odd;
};
constexpr Variant variant_of(std::string_view name) {
  Variant v{};
  if (!name.starts_with("VF")) return v;
  const auto has = [&](const char* part) { return name.find(part) != std::string_view::npos; };
  const auto order = [&](u8 a, u8 b, u8 c) { v.multiplicand = a, v.multiplier = b, v.addend = c; };
  if (has("132")) order(0, 2, 1);
  if (has("213")) order(1, 0, 2);
  if (has("231")) order(1, 2, 0);
  v.negates_product = name.starts_with("VFN");
  v.subtracts_even = has("ADDSUB") || (has("MSUB") && !has("SUBADD"));
  v.subtracts_odd = has("SUBADD") || (has("MSUB") && !has("ADDSUB"));
  return v;
}
constexpr Variant kVariants[] = {
#define OP(name, bind, traits) variant_of(#name),
#include "cpu/table.def"
#undef OP
};

/// The leading bit at bit 126: one is left for a carry.
void normalize(Exact& v) {
  const u64 high = static_cast<u64>(v.significand >> 64);
  const int zeros = high ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<u64>(v.significand));
  v.significand = zeros ? v.significand << (zeros - 1) : v.significand >> 1;
  v.exponent -= zeros - 1;
}

/// a + b, at most 107 significant bits each. Bits that fall off the smaller one are remembered in its last bit; they can
/// only do so where the leading bits do not cancel.
Exact sum(Exact a, Exact b) {
  normalize(a);
  normalize(b);
  if (a.exponent < b.exponent) std::swap(a, b);
  const unsigned distance = static_cast<unsigned>(a.exponent - b.exponent);
  const u128 lost = distance > 127 ? b.significand : b.significand & ((u128{1} << distance) - 1);
  const u128 aligned = (distance > 127 ? 0 : b.significand >> distance) | (lost ? 1 : 0);
  if (a.negative == b.negative) {
    a.significand += aligned;
  } else if (a.significand >= aligned) {
    a.significand -= aligned;
  } else {
    a.significand = aligned - a.significand;
    a.negative = b.negative;
  }
  return a;
}

template <class T>
struct Fused {
  using F = Format<T>;
  u32 guest;
  u32 found = 0;

  T operator()(T a, T b, T c, bool negates_product, bool subtracts) {
    if (guest & mxcsr::daz)
      for (T* v : {&a, &b, &c})
        if (F::is_denormal(*v)) *v &= F::sign;
    if (F::is_nan(a) || F::is_nan(b) || F::is_nan(c)) return nan_of(a, b, c);
    if (negates_product) a ^= F::sign;
    if (subtracts) c ^= F::sign;
    const bool product_is_infinite = F::is_infinite(a) || F::is_infinite(b);
    const T product_sign = (a ^ b) & F::sign;
    if (product_is_infinite && (!F::magnitude(a) || !F::magnitude(b))) return invalid();
    if (product_is_infinite && F::is_infinite(c) && product_sign != (c & F::sign)) return invalid();
    if (F::is_denormal(a) || F::is_denormal(b) || F::is_denormal(c)) found |= mxcsr::de;
    if (product_is_infinite) return product_sign | F::infinity;
    if (F::is_infinite(c)) return c;
    return finite(a, b, c, product_sign);
  }

 private:
  T invalid() {
    found |= mxcsr::ie;
    return F::default_nan;
  }
  /// The first NaN in the order of the formula, quiet.
  T nan_of(T a, T b, T c) {
    if (F::is_signalling(a) || F::is_signalling(b) || F::is_signalling(c)) found |= mxcsr::ie;
    const T v = F::is_nan(a) ? a : F::is_nan(b) ? b : c;
    return v | F::quiet;
  }
  unsigned rounding() const { return guest >> mxcsr::rc_shift & 3; }
  T zero(bool negative) const { return negative ? F::sign : T{0}; }

  T finite(T a, T b, T c, T product_sign) {
    const bool no_product = !F::magnitude(a) || !F::magnitude(b), no_addend = !F::magnitude(c);
    if (no_product && no_addend) return product_sign == (c & F::sign) ? c : zero(rounding() == 1);
    Exact v;
    if (no_product) {
      v = taken_apart(c);
    } else {
      const Exact x = taken_apart(a), y = taken_apart(b);
      v = {x.negative != y.negative, x.significand * y.significand, x.exponent + y.exponent};
      if (!no_addend) v = sum(v, taken_apart(c));
      if (!v.significand) return zero(rounding() == 1);
    }
    const u32 unmasked = mxcsr::unmasked(guest);
    return round_to_format<T>(v,
                              {.mode = rounding(),
                               .flush_tiny = static_cast<bool>(guest & mxcsr::ftz),
                               .masks_overflow = !(unmasked & mxcsr::oe),
                               .masks_underflow = !(unmasked & mxcsr::ue)},
                              found);
  }
};

template <class T, bool scalar, class E>
void fused_multiply_add(Cpu& c, const Insn& i) {
  E::require(c);
  const Variant& v = kVariants[static_cast<unsigned>(i.op)];
  using V = typename E::Value;
  const V operands[3] = {E::get(c, i.reg[0]), E::get(c, i.reg[1]), vector_source < E, scalar ? sizeof(T) : E::words * 8,
                         Source::any > (c, i, 2)};
  const V &a = operands[v.multiplicand], &b = operands[v.multiplier], &addend = operands[v.addend];
  V r = operands[0];
  Fused<T> fused{c.s.mxcsr};
  for (unsigned k = 0; k < (scalar ? 1 : V::template count<T>); ++k)
    r.template set<T>(k, fused(a.template get<T>(k), b.template get<T>(k), addend.template get<T>(k), v.negates_product,
                               k & 1 ? v.subtracts_odd : v.subtracts_even));
  merge_flags(c, fused.found);
  E::set(c, i.reg[0], r);
}

template <class T>
Handler packed(const Insn& i) {
  return i.has(Insn::kWide) ? then_next<fused_multiply_add<T, false, Vex256>>
                            : then_next<fused_multiply_add<T, false, Vex128>>;
}

}  // namespace

Handler bind_fma_ps(const Insn& i) { return packed<u32>(i); }
Handler bind_fma_pd(const Insn& i) { return packed<u64>(i); }
Handler bind_fma_ss(const Insn&) { return then_next<fused_multiply_add<u32, true, Vex128>>; }
Handler bind_fma_sd(const Insn&) { return then_next<fused_multiply_add<u64, true, Vex128>>; }

}  // namespace nestwalk::cpu
