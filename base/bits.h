// Bit tools: fields, sign extension, canonical form, alignment.
#pragma once

#include <bit>
#include <type_traits>

#include "base/types.h"

namespace nestwalk {

constexpr u64 bit(unsigned n) { return u64{1} << n; }

/// Bits [low, high] of v, moved down to bit 0.
constexpr u64 bits(u64 v, unsigned high, unsigned low) {
  const unsigned n = high - low + 1;
  return (v >> low) & (n == 64 ? ~u64{0} : bit(n) - 1);
}

constexpr u64 low_mask(unsigned n) { return n >= 64 ? ~u64{0} : bit(n) - 1; }

constexpr u64 align_down(u64 v, u64 a) { return v & ~(a - 1); }
constexpr u64 align_up(u64 v, u64 a) { return (v + a - 1) & ~(a - 1); }

/// Bit `width-1` copied upwards.
constexpr u64 sign_extend(u64 v, unsigned width) {
  const unsigned s = 64 - width;
  return static_cast<u64>(static_cast<i64>(v << s) >> s);
}

/// Canonical for a linear-address width of 48 or 57 bits (SDM vol. 1, 3.3.7.1).
constexpr bool is_canonical(u64 v, unsigned width) { return sign_extend(v, width) == v; }

template <class T>
inline constexpr unsigned kBits = sizeof(T) * 8;

template <class T>
constexpr u64 sext(T v) {
  return static_cast<u64>(static_cast<i64>(static_cast<std::make_signed_t<T>>(v)));
}

}  // namespace nestwalk

#define NW_LIKELY(x) __builtin_expect(!!(x), 1)
#define NW_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NW_INLINE inline __attribute__((always_inline))
#define NW_COLD __attribute__((noinline, cold))
