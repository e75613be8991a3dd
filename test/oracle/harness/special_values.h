// What instructions break on: integers at the limits of every width, floating-point numbers of every class and at the
// limits of conversions (SDM vol. 1, 4.8).
#pragma once

#include <iterator>

#include "base/random.h"

namespace nestwalk::oracle {

// clang-format off
inline constexpr u64 kIntegerEdges[] = {
    0, 1, 2, 0x7f, 0x80, 0xff,
    0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
    0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0x0123456789abcdef};
inline constexpr u32 kSingleEdges[] = {
    0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
    0x7fc00001, 0xffc00123, 0x7f800001, 0xffa00001, 1, 0x80000001,
    0x007fffff, 0x00800000, 0x80800000, 0x7f7fffff, 0xff7fffff, 0x4effffff,
    0x4f000000, 0xcf000000, 0x5f000000, 0x3f000000, 0x3fc00000, 0x40200000,
    0x4b000000, 0x4b7fffff, 0x3effffff, 0x7fa00000, 0x807fffff};
inline constexpr u64 kDoubleEdges[] = {
    0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000, 0xfff0000000000000,
    0x7ff8000000000001, 0xfff8000000000123, 0x7ff0000000000001, 0xfff4000000000001, 1, 0x8000000000000001,
    0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 0x41dfffffffc00000, 0x41e0000000000000,
    0xc1e0000000000000, 0x43e0000000000000, 0xc3e0000000000000, 0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000,
    0x4330000000000000, 0x3810000000000000, 0x3800000000000000, 0x36a0000000000000, 0x47efffffe0000000, 0x47effffff0000000,
    0x800fffffffffffff, 0x41dfffffffe00000, 0x380fffffffffffff};
// clang-format on

/// Integers near the edges of every width.
inline u64 draw_integer(Random& random) {
  switch (random.below(6)) {
    case 0: return kIntegerEdges[random.below(std::size(kIntegerEdges))];
    case 1: return random.below(70);
    case 2: return -random.below(70);
    case 3: return random.next() >> random.below(64);
    default: return random.next();
  }
}

}  // namespace nestwalk::oracle
