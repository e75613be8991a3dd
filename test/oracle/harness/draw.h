// Random cases: an encoding of a form with random operands, and a state in which it does something worth comparing.
#pragma once

#include "test/oracle/harness/atlas.h"
#include "test/oracle/harness/special_values.h"

namespace nestwalk::oracle {

/// Case `number` of the stream of `seed`: the same on every run. Encodings that the processor refuses are drawn too,
/// seldom.
Case draw_case(const Atlas& atlas, const cpu::Cpuid& cpuid, u32 form, u64 seed, u64 number);

/// Bytes of a random encoding. `noise`: prefixes in all places and numbers, as only decoders care for them.
std::vector<u8> draw_encoding(const Form& form, Mode mode, bool noise, Random& random);

/// Values that each format breaks on (integers: special_values.h).
u32 draw_single(Random& random);
u64 draw_double(Random& random);
Registers::Extended draw_extended(Random& random);
/// One double or two singles for fused products, which cancel, overflow and underflow.
u64 draw_near(Random& random, bool doubles);
/// Four halves of every kind, or two singles about the limits of half precision.
u64 draw_halves(Random& random);

}  // namespace nestwalk::oracle
