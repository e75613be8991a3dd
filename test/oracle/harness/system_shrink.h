// How a system case that differs is made small, and how its start is shown: by what it has that its world has not.
#pragma once

#include "test/oracle/harness/shrink.h"
#include "test/oracle/harness/system_draw.h"
#include "test/oracle/harness/system_image.h"

namespace nestwalk::oracle {

using StillDiffer = std::function<std::vector<bool>(std::span<const DrawnSystem>)>;

/// A case of the same world and level that still differs: fewer instructions and prefixes; registers, flags, tables, pages
/// and data as at the world's start. `dear`: each case costs a boot, so that only large changes are tried.
DrawnSystem shrink(const DrawnSystem& c, const StillDiffer& still_differ, bool dear);

/// Its listing, and what its start has that its world's has not; two lines.
std::string show_start(const DrawnSystem& c);
/// Where it ended, and what it changed.
std::string show_end(const DrawnSystem& c, const SystemEnd& end);

}  // namespace nestwalk::oracle
