// Random system cases: worlds with random descriptors, gates, frames, pages and registers, and the instructions that look
// at them. The same for the same seed and number.
#pragma once

#include "test/oracle/harness/system_machine.h"

namespace nestwalk::oracle {

/// What a case needs that not all processors have.
enum Need : unsigned { kNeedsVme = 1, kNeedsPcid = 2 };

struct DrawnSystem {
  SystemCase start;
  World world = World::real;
  unsigned cpl = 0;
  const char* family = "";  ///< "segments", "gates", ...
  std::string text;         ///< its instructions
  unsigned needs = 0;       ///< of Need
};

DrawnSystem draw_system_case(u64 seed, u64 number);
/// "64-bit, CPL 3, gates: int 0x20".
std::string describe(const DrawnSystem& c);

}  // namespace nestwalk::oracle
