// Several reports side by side, the first one the base line: where the cycles went, per thousand instructions, and the
// difference by cause. Meant for runs of the same work (clock.guest = instructions); it says when they were not.
#pragma once

#include <string>
#include <vector>

#include "report/json.h"

namespace nestwalk::report {

struct Compared {
  std::string name;  ///< of its column
  Head head;
  std::vector<Metric> metrics;
};

/// The text, ended by a newline. At least two reports.
std::string comparison(const std::vector<Compared>& reports);

/// What the reports did not have in common and must for a paired comparison, one sentence each: guest images, the number of
/// instructions retired. Empty: they did the same work.
std::vector<std::string> unpaired(const std::vector<Compared>& reports);

}  // namespace nestwalk::report
