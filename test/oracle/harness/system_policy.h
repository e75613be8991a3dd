// What of system cases is not compared, and with whom: one line for each rule, which names the row of the one table
// (cpu/undefined.h) that says why.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "test/oracle/harness/policy.h"
#include "test/oracle/harness/system_draw.h"
#include "test/oracle/harness/system_image.h"

namespace nestwalk::oracle {

/// A case and its two ends.
struct SystemEnds {
  const DrawnSystem& drawn;
  const SystemEnd& ours;
  const SystemEnd& theirs;
};

struct SystemLine {
  const char* row;  ///< of the table in cpu/undefined.h
  unsigned rungs;
  const char* about;  ///< which cases, for docs/isa-policy.md
  bool (*explains)(const SystemEnds&, const SystemDifference&);
};
std::span<const SystemLine> system_policy();

/// Cases that are not run.
struct SystemExclusion {
  const char* row;
  unsigned rungs;
  const char* about;
  bool (*concerns)(const DrawnSystem&);
};
std::span<const SystemExclusion> system_exclusions();

/// The row for which a case is not run on a rung; nullptr: it is.
const char* not_run(Rung rung, const DrawnSystem& drawn);
/// The differences that no line explains.
std::vector<SystemDifference> unexplained(Rung rung, const SystemEnds& ends, std::vector<SystemDifference> all);

}  // namespace nestwalk::oracle
