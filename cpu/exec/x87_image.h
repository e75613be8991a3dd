// What the two families of x87 images (FSAVE here, FXSAVE and XSAVE in xsave.cpp) share.
#pragma once

#include "cpu/state.h"

namespace nestwalk::cpu {

/// Two bits a physical register: 0 valid, 1 zero, 2 special, 3 empty (SDM vol. 1, 8.1.7).
u16 full_tag_word(const X87& x);
/// The abridged form: a bit a register, set where it is not empty.
u8 abridged_tag_word(u16 tags);
/// The state after FNINIT.
void initialize(X87& x);

}  // namespace nestwalk::cpu
