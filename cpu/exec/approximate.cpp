#include "cpu/exec/approximate.h"

namespace nestwalk::cpu {
namespace {

constexpr u32 kSign = 0x80000000, kInfinity = 0x7f800000, kQuiet = 0x00400000, kDefaultNan = 0xffc00000;
constexpr unsigned kBits = 12;  ///< of the significand, the leading one included

constexpr u32 significand(u32 x) { return (x & 0x7fffff) | 0x800000; }
constexpr int exponent(u32 x) { return static_cast<int>((x >> 23) & 0xff) - 127; }
constexpr bool is_nan(u32 x) { return (x & ~kSign) > kInfinity; }
constexpr bool is_small(u32 x) { return (x & kInfinity) == 0; }  ///< zero or denormal

/// q * 2^scale with 2^(kBits-1) <= q <= 2^kBits.
u32 pack(u32 sign, u64 q, int scale) {
  if (q >> kBits) {
    q >>= 1;
    ++scale;
  }
  const int biased = scale + static_cast<int>(kBits) - 1 + 127;
  if (biased <= 0) return sign;
  return sign | static_cast<u32>(biased) << 23 | (static_cast<u32>(q << (24 - kBits)) & 0x7fffff);
}

u64 floor_root(u64 v) {
  u64 r = 0;
  for (u64 step = u64{1} << 31; step; step >>= 1)
    if ((r + step) * (r + step) <= v) r += step;
  return r;
}

}  // namespace

u32 approximate_reciprocal(u32 x) {
  const u32 sign = x & kSign;
  if (is_nan(x)) return x | kQuiet;
  if (is_small(x)) return sign | kInfinity;
  if ((x & ~kSign) == kInfinity) return sign;
  // x = m * 2^(e - 23), 2^23 <= m < 2^24, so 2^35 / m has 12 bits. No quotient lies half-way: that takes an m dividing
  // 2^36.
  const u64 m = significand(x);
  return pack(sign, (((u64{1} << 36) / m) + 1) >> 1, -12 - exponent(x));
}

u32 approximate_reciprocal_root(u32 x) {
  if (is_nan(x)) return x | kQuiet;
  if (is_small(x)) return (x & kSign) | kInfinity;
  if (x & kSign) return kDefaultNan;
  if (x == kInfinity) return 0;
  // x = m * 2^e with e even; q is 2^k / sqrt(m) rounded, from one bit more.
  u64 m = significand(x);
  int e = exponent(x) - 23;
  if (e & 1) {
    m <<= 1;
    --e;
  }
  const unsigned k = m >> 24 ? 24 : 23;
  return pack(0, (floor_root((u64{1} << (2 * k + 2)) / m) + 1) >> 1, -static_cast<int>(k) - e / 2);
}

}  // namespace nestwalk::cpu
