// The transcendental x87 instructions by an algorithm of our own, so that results do not depend on the host's processor
// (SDM vol. 1, 8.3.5 to 8.3.10; vol. 2). Values are computed to more than 105 bits and rounded once, under the guest's
// rounding control: the error is below 0.501 units in the last place to nearest. Sine, cosine and tangent reduce their
// argument by the 66-bit value of pi that the architecture documents (8.3.8). Out-of-range arguments, infinities, NaNs and
// zeros give what the manual's tables say.
#pragma once

#include "cpu/exec/host_x87.h"

namespace nestwalk::cpu::exact {

using host::Environment;
using host::Outcome;

Outcome sine(const Environment& env, const F80& a);
Outcome cosine(const Environment& env, const F80& a);
/// ST(0) the cosine, ST(1) the sine.
Outcome sine_cosine(const Environment& env, const F80& a);
/// ST(0) is 1, ST(1) the tangent.
Outcome tangent(const Environment& env, const F80& a);
/// arctan(b / a) in the quadrant of (a, b).
Outcome arctangent(const Environment& env, const F80& a, const F80& b);
/// 2^a - 1 for |a| <= 1; beyond, which the manual leaves undefined, a, as on Intel's processors.
Outcome power_of_two(const Environment& env, const F80& a);
/// b * log2(a), b * log2(a + 1).
Outcome y_log2_x(const Environment& env, const F80& a, const F80& b);
Outcome y_log2_x_plus_1(const Environment& env, const F80& a, const F80& b);

}  // namespace nestwalk::cpu::exact
