// Where two outcomes of one case differ, how a difference is made small, and how it is shown.
#pragma once

#include <functional>

#include "test/oracle/harness/policy.h"

namespace nestwalk::oracle {

/// What differs and counts; empty: nothing.
std::string difference(const Case& c, const Outcome& ours, const Outcome& theirs, const Ignored& ignored);

/// "#GP", "no exception".
const char* exception_name(int vector);

/// Runs cases on both sides.
struct Both {
  Outcome ours, theirs;
};
using RunBoth = std::function<std::vector<Both>(std::span<const Case>)>;

/// A simpler case of the same Op that still differs: fewer prefixes; registers, memory, immediates zero. Many
/// simplifications are tried at once, since a side may have to boot to run any.
Case shrink(const Case& c, Rung rung, const cpu::Cpuid& cpuid, const RunBoth& run);

/// Listing, state before, what each side made of it, and what differs; several lines.
std::string show(const Case& c, const Both& both, Rung rung, const char* their_name);

}  // namespace nestwalk::oracle
