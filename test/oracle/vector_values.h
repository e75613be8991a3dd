// Values for vector registers: what floating point and packed integers break on, where they lie in an OracleCase, and
// which bytes of its FXSAVE image are compared.
#pragma once

#include <bit>

#include "base/random.h"
#include "test/oracle/host_oracle.h"

namespace nestwalk::test {

/// Bit patterns that floating point cares about, and integers at their limits.
inline u64 special_vector_word(Random& random) {
  static constexpr u64 doubles[] = {0,
                                    0x8000000000000000,
                                    0x3ff0000000000000,
                                    0xbff0000000000000,
                                    0x7ff0000000000000,
                                    0xfff0000000000000,
                                    0x7ff8000000000001,
                                    0xfff8000000000123,
                                    0x7ff0000000000001,
                                    0xfff4000000000001,
                                    1,
                                    0x8000000000000001,
                                    0x000fffffffffffff,
                                    0x0010000000000000,
                                    0x7fefffffffffffff,
                                    0xffefffffffffffff,
                                    0x41dfffffffc00000,
                                    0x41e0000000000000,
                                    0xc1e0000000000000,
                                    0x43e0000000000000,
                                    0xc3e0000000000000,
                                    0x3fe0000000000000,
                                    0x3ff8000000000000,
                                    0x4004000000000000,
                                    0x4330000000000000,
                                    0x3810000000000000,
                                    0x3800000000000000,
                                    0x36a0000000000000,
                                    0x47efffffe0000000,
                                    0x47effffff0000000};
  static constexpr u32 singles[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00001,
                                    0xffc00123, 0x7f800001, 0xffa00001, 1,          0x80000001, 0x007fffff, 0x00800000,
                                    0x80800000, 0x7f7fffff, 0xff7fffff, 0x4effffff, 0x4f000000, 0xcf000000, 0x5f000000,
                                    0x3f000000, 0x3fc00000, 0x40200000, 0x4b000000, 0x4b7fffff, 0x3effffff};
  const auto single = [&] { return u64{singles[random.below(std::size(singles))]}; };
  return random.below(2) ? doubles[random.below(std::size(doubles))] : single() | single() << 32;
}

inline u64 draw_vector_word(Random& random) {
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2: return special_vector_word(random);
    case 3: return random.next() & 0x0f0f0f0f0f0f0f0f;
    case 4: return random.below(40) - 20;
    case 5: return std::bit_cast<u64>(static_cast<double>(static_cast<i64>(random.next())) * 0x1p-50);
    case 6: return random.next() & ~(u64{0xffff} << (8 * random.below(7)));
    default: return random.next();
  }
}

template <class T>
void put_fx(OracleCase& c, unsigned at, T v) {
  std::memcpy(&c.state.fx[at], &v, sizeof v);
}
template <class T>
T get_fx(const OracleCase& c, unsigned at) {
  T v;
  std::memcpy(&v, &c.state.fx[at], sizeof v);
  return v;
}
inline constexpr unsigned kMxcsr = 24;

/// Bytes of the FXSAVE image that count: x87 status, tags, MXCSR, MMX registers with their exponents, XMM registers.
inline constexpr std::array<u8, 512> kComparedFx = [] {
  std::array<u8, 512> mask{};
  const auto span = [&](unsigned at, unsigned bytes) { std::fill_n(mask.begin() + at, bytes, u8{0xff}); };
  span(2, 3);
  span(kMxcsr, 4);
  for (unsigned n = 0; n < 8; ++n) span(32 + 16 * n, 10);
  span(160, 256);
  return mask;
}();

}  // namespace nestwalk::test
