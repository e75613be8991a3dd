// Which encodings exist: every opcode of every map with every mandatory prefix, LOCK, W, L and ModRM extension (SDM vol. 2,
// appendix A), in 64-bit mode, here and on the processor underneath. The other rungs take the instruction table's word for
// what is an instruction; here the silicon has it. Only whether an encoding raises #UD is compared, not what it does.
#pragma once

#include <functional>
#include <map>

#include "test/oracle/harness/our_side.h"

namespace nestwalk::oracle {

/// How many points the space has; some of them are no encoding (a prefix where an opcode belongs).
u64 opcode_points();
/// The bytes of a point without what follows ModRM and SIB; empty where it is no encoding.
std::vector<u8> encoding_at(u64 point);

struct OpcodeReport {
  static constexpr std::size_t kShown = 40;
  u64 cases = 0, different = 0;
  std::map<std::string, u64> beyond;   ///< what this processor has and no model of ours: encodings
  std::map<std::string, u64> not_run;  ///< why: encodings
  std::vector<std::string> findings;   ///< the first kShown
  double seconds = 0;
};

/// `count` points, spread evenly over the space; all of them when it is not smaller.
OpcodeReport compare_opcodes(OurSide& ours, Side& theirs, u64 count,
                             const std::function<void(u64 done, u64 different)>& progress);

}  // namespace nestwalk::oracle
