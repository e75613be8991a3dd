// summary.txt: the report for a person. It knows statistics by their names only: a section appears when its names are
// declared, so a run without page-walk caches has no empty table of them.
#pragma once

#include <string>

#include "report/head.h"
#include "sim/stats.h"

namespace nestwalk::report {

/// The text, ended by a newline. `snapshot` may be a difference of two (a region of interest).
std::string summary(const Head& head, const sim::Stats& stats, const sim::Snapshot& snapshot);

}  // namespace nestwalk::report
