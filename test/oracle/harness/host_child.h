// What runs in the child of HostSide.
#pragma once

#include "test/oracle/harness/case.h"

namespace nestwalk::oracle::child {

/// Maps code, data and control pages at their places; false when one is taken or may not be executed.
bool prepare();
/// Runs one case on the processor underneath.
void run(const Case& c, Outcome& o);

}  // namespace nestwalk::oracle::child
