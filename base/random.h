// Seeded random numbers (splitmix64; Steele, Lea, Flood, OOPSLA 2014). The same seed gives the same run on every machine.
#pragma once

#include "base/types.h"

namespace nestwalk {

class Random {
 public:
  explicit Random(u64 seed = 1) : state_(seed) {}
  u64 next() {
    u64 z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, n), n > 0.
  u64 below(u64 n) { return static_cast<u64>((static_cast<u128>(next()) * n) >> 64); }

 private:
  u64 state_;
};

}  // namespace nestwalk
