// Floating-point numbers as bits: the fields of the interchange formats (IEEE 754-2019, 3.4), for meanings that compute in
// integers.
#pragma once

#include <bit>

#include "base/bits.h"
#include "base/types.h"

namespace nestwalk::cpu {

/// The fields of binary16, binary32 or binary64 in a word of T.
template <class T>
struct Format {
  static constexpr unsigned fraction_bits = sizeof(T) == 2 ? 10 : sizeof(T) == 4 ? 23 : 52;
  static constexpr int bias = sizeof(T) == 2 ? 15 : sizeof(T) == 4 ? 127 : 1023;
  static constexpr T sign = static_cast<T>(T{1} << (kBits<T> - 1));
  static constexpr T quiet = static_cast<T>(T{1} << (fraction_bits - 1));
  static constexpr T infinity = static_cast<T>(static_cast<T>(2 * bias + 1) << fraction_bits);
  static constexpr T one = static_cast<T>(static_cast<T>(bias) << fraction_bits);
  static constexpr T default_nan = static_cast<T>(sign | infinity | quiet);  ///< "real indefinite"
  static constexpr T magnitude(T v) { return static_cast<T>(v & ~sign); }
  static constexpr bool is_nan(T v) { return magnitude(v) > infinity; }
  static constexpr bool is_signalling(T v) { return is_nan(v) && !(v & quiet); }
  static constexpr bool is_infinite(T v) { return magnitude(v) == infinity; }
  static constexpr bool is_denormal(T v) { return magnitude(v) && !(v & infinity); }
};

/// How a result is made: MXCSR's rounding (0 nearest even, 1 down, 2 up, 3 to zero), whether tiny results become zero, and
/// which of overflow and underflow are masked.
struct RoundingRules {
  unsigned mode;
  bool flush_tiny, masks_overflow, masks_underflow;
};

/// A number that is not zero and not rounded: (-1)^negative * significand * 2^exponent. The last bit may stand for any
/// bits below it ("sticky") if at least two bits lie between it and the last one that a format keeps.
struct Exact {
  bool negative = false;
  u128 significand = 0;
  int exponent = 0;
};

namespace float_flag {  // as in MXCSR
inline constexpr u32 overflow = 8, underflow = 16, precision = 32;
}

/// The upper part of a significand, its last `dropped` bits rounded away; tells whether they were zero.
inline u128 round_away(u128 v, unsigned dropped, bool negative, unsigned mode, bool& inexact) {
  if (!dropped) return v;
  if (dropped > 128) v = v != 0, dropped = 128;  // something below half a unit
  const u128 kept = dropped < 128 ? v >> dropped : 0, half = u128{1} << (dropped - 1), rest = v - (kept << (dropped & 127));
  if (!rest) return kept;
  inexact = true;
  const bool up = mode == 0 ? rest > half || (rest == half && (kept & 1)) : mode == (negative ? 1u : 2u);
  return kept + up;
}

/// The nearest number of T's format, adding to `found` what MXCSR would show (SDM vol. 1, 4.9.1.4 to 4.9.1.6). Tininess is
/// detected after rounding.
template <class T>
T round_to_format(Exact v, const RoundingRules& rules, u32& found) {
  using F = Format<T>;
  constexpr unsigned precision = F::fraction_bits + 1;
  const unsigned spare = static_cast<unsigned>(std::countl_zero(static_cast<u64>(v.significand >> 64)));
  const unsigned shift =
      v.significand >> 64 ? spare : 64 + static_cast<unsigned>(std::countl_zero(static_cast<u64>(v.significand)));
  v.significand <<= shift;
  int exponent = v.exponent - static_cast<int>(shift) + 127;  // of the leading bit
  const T sign = v.negative ? F::sign : T{0};

  bool inexact = false;
  u128 kept = round_away(v.significand, 128 - precision, v.negative, rules.mode, inexact);
  const bool carried = kept >> precision;
  const int rounded = exponent + carried;
  if (rounded < 1 - F::bias) {
    if (!rules.masks_underflow) {
      found |= float_flag::underflow | (inexact ? float_flag::precision : 0);
      return sign;
    }
    if (rules.flush_tiny) {
      found |= float_flag::underflow | float_flag::precision;
      return sign;
    }
    inexact = false;
    kept = round_away(v.significand, 128 - precision + static_cast<unsigned>(1 - F::bias - exponent), v.negative,
                      rules.mode, inexact);
    if (inexact) found |= float_flag::underflow | float_flag::precision;
    return static_cast<T>(sign | static_cast<T>(kept));  // a carry makes the smallest normal number
  }
  if (rounded > F::bias) {
    found |= float_flag::overflow;
    if (!rules.masks_overflow) {
      if (inexact) found |= float_flag::precision;
      return sign;
    }
    found |= float_flag::precision;
    const bool to_infinity = rules.mode == 0 || rules.mode == (v.negative ? 1u : 2u);
    return static_cast<T>(sign | (to_infinity ? F::infinity : F::infinity - 1));
  }
  if (inexact) found |= float_flag::precision;
  if (carried) kept >>= 1;
  const T fraction = static_cast<T>(static_cast<T>(kept) & ((T{1} << F::fraction_bits) - 1));
  return static_cast<T>(sign | static_cast<T>(static_cast<T>(rounded + F::bias) << F::fraction_bits) | fraction);
}

/// A finite number that is not zero, taken apart.
template <class T>
Exact taken_apart(T v) {
  using F = Format<T>;
  const T fraction = static_cast<T>(v & ((T{1} << F::fraction_bits) - 1));
  const int biased = static_cast<int>(F::magnitude(v) >> F::fraction_bits);
  const T hidden = static_cast<T>(biased ? T{1} << F::fraction_bits : 0);
  return {static_cast<bool>(v & F::sign), static_cast<u128>(static_cast<T>(fraction | hidden)),
          (biased ? biased : 1) - F::bias - static_cast<int>(F::fraction_bits)};
}

}  // namespace nestwalk::cpu
