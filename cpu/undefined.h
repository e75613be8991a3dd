// The one policy for what the architecture leaves open: undefined flags and results, choices left to each implementation,
// and known differences between makers (docs/isa-policy.md is written from this table). The processor follows Intel's, as
// measured on real parts where test/oracle can; AMD's parts differ from ours only where a row says so.
#pragma once

#include <span>
#include <string>

#include "base/types.h"

namespace nestwalk::cpu {

struct Policy {
  const char* id;            ///< named by the oracle's marks (test/oracle/forms.h: ~id)
  const char* instructions;  ///< whom it concerns
  const char* open;          ///< what the manual does not say, with its place
  const char* ours;          ///< what we do
  const char* why;           ///< where that comes from, and who does otherwise
  /// Flags that the oracle leaves out on a processor of another maker; with `varies` on every one.
  u64 flags = 0;
  bool varies = false;
};

std::span<const Policy> policies();
/// Throws std::invalid_argument for a name that is not in the table.
const Policy& policy(const std::string& id);
/// docs/isa-policy.md.
std::string policy_page();

}  // namespace nestwalk::cpu
