// Values for vector registers: what floating point and packed integers break on, where they lie in an OracleCase, and
// which bytes of its FXSAVE image are compared.
#pragma once

#include <bit>

#include "base/random.h"
#include "test/oracle/host_oracle.h"
#include "test/oracle/special_values.h"

namespace nestwalk::test {

/// Bit patterns that floating point cares about, and integers at their limits.
inline u64 special_vector_word(Random& random) {
  const auto single = [&] { return u64{oracle::kSingleEdges[random.below(std::size(oracle::kSingleEdges))]}; };
  return random.below(2) ? oracle::kDoubleEdges[random.below(std::size(oracle::kDoubleEdges))] : single() | single() << 32;
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

/// Memory, MXCSR, flags; `base` points at a multiple of `bytes`, RSP into the data, RDI to what MASKMOVDQU may store to.
inline void draw_surroundings(OracleCase& c, unsigned base, unsigned bytes, Random& random) {
  for (unsigned n = 0; n < kWindow; n += 8) {
    const u64 v = draw_vector_word(random);
    std::memcpy(&c.memory[n], &v, 8);
  }
  const u32 modes = random.below(2) ? static_cast<u32>(random.next()) & 0xe07f : 0;  // RC, FTZ, DAZ, sticky flags
  put_fx(c, kMxcsr, 0x1f80 | modes);
  c.state.rflags = 0x202 | (random.next() & 0x8d5);
  c.state.gpr[base] = kOracleWindow + 64 + bytes * random.below(800 / bytes);
  c.state.gpr[4] = kOracleData + 2048;
  c.state.gpr[7] = kOracleWindow + random.below(kWindow - 16);
}

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
