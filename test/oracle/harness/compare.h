// Where two outcomes of one case differ, how a difference is made small, and how it is shown.
#pragma once

#include <functional>

#include "test/oracle/harness/policy.h"

namespace nestwalk::oracle {

/// What differs and counts; empty: nothing.
std::string difference(const Case& c, const Outcome& ours, const Outcome& theirs, const Ignored& ignored);

/// Runs one case on both sides.
struct Both {
  Outcome ours, theirs;
};
using RunBoth = std::function<Both(const Case&)>;

/// The simplest case that still differs (fewer prefixes; registers, memory, immediates zero one by one), of the same Op.
Case shrink(Case c, Rung rung, const cpu::Cpuid& cpuid, const RunBoth& run);

/// Listing, state before, and what differs after; several lines.
std::string show(const Case& c, const Both& both, Rung rung, const char* their_name);

}  // namespace nestwalk::oracle
