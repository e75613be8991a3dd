// What the manual leaves to each implementation, defined here, so that a report does not depend on the host: the 12-bit
// approximations of RCPPS and RSQRTPS (SDM vol. 2: relative error at most 1.5 * 2^-12). Ours are the exact values rounded
// to a significand of 12 bits, to nearest (cpu/undefined.h, row "reciprocals").
#pragma once

#include "base/types.h"

namespace nestwalk::cpu {

/// 1/x of a single-precision image. Zeros and denormals give infinities, results below the normal range zeros.
u32 approximate_reciprocal(u32 x);
/// 1/sqrt(x). -0 and negative denormals give -infinity, other negative numbers the default NaN.
u32 approximate_reciprocal_root(u32 x);

}  // namespace nestwalk::cpu
