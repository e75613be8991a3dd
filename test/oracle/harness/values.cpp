// Floating-point numbers of every class (SDM vol. 1, 4.8), 80-bit encodings that no operation produces among them (8.2.2).
#include <bit>

#include "test/oracle/harness/draw.h"

namespace nestwalk::oracle {

u32 draw_single(Random& random) {
  switch (random.below(4)) {
    case 0: return kSingleEdges[random.below(std::size(kSingleEdges))];
    case 1: return static_cast<u32>(random.next());
    case 2: return std::bit_cast<u32>(static_cast<float>(static_cast<i64>(draw_integer(random))));
    default: return static_cast<u32>(random.next() & 0x807fffff) | static_cast<u32>(0x70 + random.below(0x20)) << 23;
  }
}

u64 draw_double(Random& random) {
  switch (random.below(5)) {
    case 0: return kDoubleEdges[random.below(std::size(kDoubleEdges))];
    case 1: return random.next();
    case 2: return std::bit_cast<u64>(static_cast<double>(static_cast<i64>(draw_integer(random))));
    case 3: return (random.next() & 0x800fffffffffffff) | (0x3ff - 160 + random.below(320)) << 52;  // around singles' range
    default: return (random.next() & 0x800fffffffffffff) | (0x3f0 + random.below(0x20)) << 52;
  }
}

namespace {

/// A number with `fraction` bits whose products and sums with its like end near each other, near the limits of the format,
/// or in between.
u64 draw_near_number(Random& random, unsigned fraction, u64 bias) {
  u64 exponent = bias + random.below(4);
  switch (random.below(3)) {
    case 0: exponent = random.below(2 * bias + 1); break;
    case 1: exponent = bias / 2 + random.below(2 * fraction); break;
    default: break;
  }
  u64 bits = random.next() & ((u64{1} << fraction) - 1);
  if (random.below(2)) bits &= random.below(3) ? ~((u64{1} << random.below(fraction)) - 1) : 0;  // few ones
  const u64 sign = random.below(2) * 2 * (bias + 1);
  return (sign | exponent) << fraction | bits;
}

}  // namespace

u64 draw_near(Random& random, bool doubles) {
  if (doubles) return draw_near_number(random, 52, 1023);
  const u64 low = draw_near_number(random, 23, 127);
  return low | draw_near_number(random, 23, 127) << 32;
}

u64 draw_halves(Random& random) {
  const auto single = [&]() -> u64 {
    const u64 exponent = 127 - 26 + random.below(44);
    const u64 fraction = random.below(2) ? random.next() & 0x7fffff : (random.next() & 0x7fe000) | (random.below(3) << 12);
    return (random.next() & 1) << 31 | exponent << 23 | fraction;
  };
  if (random.below(2)) return random.next();
  const u64 low = single();
  return low | single() << 32;
}

Registers::Extended draw_extended(Random& random) {
  const u64 sign = random.below(2) ? 0x8000 : 0;
  const auto with = [&](u64 significand, u64 exponent) { return Registers::Extended{significand, sign | exponent}; };
  constexpr u64 j = u64{1} << 63;
  switch (random.below(20)) {
    case 0: return with(0, 0);
    case 1: return with(random.next() >> (1 + random.below(62)), 0);
    case 2: return with(j | random.next(), 0);
    case 3: return with(random.next() & ~j, random.below(0x7fff));
    case 4: return with(j, 0x7fff);
    case 5: return with(j | j >> 1 | random.next(), 0x7fff);
    case 6: return with(j | (random.next() & ((j >> 1) - 1)) | 1, 0x7fff);
    case 7: return with(j | random.next(), random.below(0x7fff));
    case 8: return with(j | random.next(), 1 + random.below(80));
    case 9: return with(j | random.next(), 0x7ffe - random.below(80));
    case 10: return with(j, 0x3fff);
    case 11: return with(j | random.next() << random.below(64), 0x3fff + random.below(66));
    case 12: return with(0xc90fdaa22168c235, 0x3ffe + random.below(5));
    case 13: return with(~u64{0}, 0x3ffe + random.below(64));
    case 14: return with(j | random.next() << 40, 0x3fff - 16382 + random.below(16384));
    case 15: return with(random.below(2) ? 0 : random.next(), random.below(2) ? 0x7fff : 0x4000);
    default: return with(j | random.next(), 0x3fff - 40 + random.below(80));
  }
}

}  // namespace nestwalk::oracle
