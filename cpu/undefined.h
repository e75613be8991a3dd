// The one policy for what the architecture leaves open, and for where others differ from us: undefined flags and results,
// choices left to each implementation, known differences between makers, and what emulators that the oracle asks do against
// the manual. docs/isa-policy.md is written from this table. The processor follows Intel's, as measured on real parts where
// test/oracle can; AMD's parts differ from ours only where a row says so.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/types.h"

namespace nestwalk::cpu {

struct Policy {
  const char* id;            ///< named by the oracle's lines (test/oracle/harness/policy.cpp)
  const char* instructions;  ///< whom it concerns
  const char* open;          ///< what the manual does not say, with its place
  const char* ours;          ///< what we do
  const char* why;           ///< where that comes from, and who does otherwise
  const char* shown;  ///< the title of the test that shows what we do; "": the oracle leaves it out by lines that name it
};

std::span<const Policy> policies();
/// Throws std::invalid_argument for a name that is not in the table.
const Policy& policy(const std::string& id);
bool is_policy(const std::string& id);
/// docs/isa-policy.md; `left_out`: what the oracle does not compare because of a row.
std::string policy_page(const std::function<std::string(const Policy&)>& left_out);

}  // namespace nestwalk::cpu
