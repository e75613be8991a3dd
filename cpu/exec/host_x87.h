// x87 arithmetic by the host's x87: exact results and exception flags by construction (SDM vol. 1, 8.4, 8.5).
//
// Each function runs one instruction under the guest's control word and condition codes, unmasked exceptions included: an
// unmasked exception only becomes a signal at the next *waiting* instruction, and the exceptions are cleared before there
// is one. So the host also gives the response to an unmasked overflow or underflow (the scaled result), and the condition
// codes that the manual leaves undefined. Operands and results are 80-bit images, and the host's stack is left empty, as
// the C++ ABI wants it.
//
// The transcendental instructions are as exact as the host's processor makes them.
#pragma once

#include "cpu/state.h"

namespace nestwalk::cpu::host {

/// What an instruction leaves: the status word (exceptions and C0..C3) and up to two values.
struct Outcome {
  F80 value;   ///< ST(0) afterwards
  F80 second;  ///< ST(1) afterwards, for instructions that push
  u16 status = 0;
};

/// What FLDENV loads before the instruction (32-bit protected-mode format): all registers empty, nothing pending.
struct Environment {
  Environment(u16 control_word, u16 conditions) : control(control_word), status(conditions) {}
  u32 control, status, tags = 0xffff;
  u32 pointers[4] = {};
};

inline constexpr u16 kOwnControl = 0x37f;

// The texts of the instructions cannot be template arguments, hence the macros of this file.
#define NW_X87_CLOBBERS "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"
#define NW_X87_BEGIN "fldenv %[env]\n\t"
#define NW_X87_END "\n\tfnstsw %[status]\n\tfnclex\n\tfldcw %[own]\n\tfstpt %[value]\n\tfstpt %[second]\n\tfninit"
#define NW_X87_OUT [status] "=m"(o.status), [value] "=m"(o.value), [second] "=m"(o.second)

/// Nothing in: constants.
#define NW_X87_0(name, text)                                                                                          \
  inline Outcome name(const Environment& env) {                                                                       \
    Outcome o;                                                                                                        \
    asm volatile(NW_X87_BEGIN text NW_X87_END:NW_X87_OUT : [env] "m"(env), [own] "m"(kOwnControl) : NW_X87_CLOBBERS); \
    return o;                                                                                                         \
  }
/// ST(0) in.
#define NW_X87_1(name, text)                                             \
  inline Outcome name(const Environment& env, const F80& a) {            \
    Outcome o;                                                           \
    asm volatile(NW_X87_BEGIN "fldt %[a]\n\t" text NW_X87_END:NW_X87_OUT \
                 : [env] "m"(env), [own] "m"(kOwnControl), [a] "m"(a)    \
                 : NW_X87_CLOBBERS);                                     \
    return o;                                                            \
  }
/// ST(0) = a and ST(1) = b in.
#define NW_X87_2(name, text)                                                          \
  inline Outcome name(const Environment& env, const F80& a, const F80& b) {           \
    Outcome o;                                                                        \
    asm volatile(NW_X87_BEGIN "fldt %[b]\n\tfldt %[a]\n\t" text NW_X87_END:NW_X87_OUT \
                 : [env] "m"(env), [own] "m"(kOwnControl), [a] "m"(a), [b] "m"(b)     \
                 : NW_X87_CLOBBERS);                                                  \
    return o;                                                                         \
  }
/// Memory in, converted by the instruction itself: a load.
#define NW_X87_LOAD(name, T, text)                                    \
  inline Outcome name(const Environment& env, const T& m) {           \
    Outcome o;                                                        \
    asm volatile(NW_X87_BEGIN text " %[m]" NW_X87_END:NW_X87_OUT      \
                 : [env] "m"(env), [own] "m"(kOwnControl), [m] "m"(m) \
                 : NW_X87_CLOBBERS);                                  \
    return o;                                                         \
  }
/// ST(0) and memory in.
#define NW_X87_1M(name, T, text)                                                  \
  inline Outcome name(const Environment& env, const F80& a, const T& m) {         \
    Outcome o;                                                                    \
    asm volatile(NW_X87_BEGIN "fldt %[a]\n\t" text " %[m]" NW_X87_END:NW_X87_OUT  \
                 : [env] "m"(env), [own] "m"(kOwnControl), [a] "m"(a), [m] "m"(m) \
                 : NW_X87_CLOBBERS);                                              \
    return o;                                                                     \
  }
/// ST(0) into memory; `m` is not written where an unmasked exception forbids it. Returns the status word.
#define NW_X87_STORE(name, T, text)                                                      \
  inline u16 name(const Environment& env, const F80& a, T& m) {                          \
    u16 status;                                                                          \
    asm volatile(NW_X87_BEGIN "fldt %[a]\n\t" text " %[m]\n\tfnstsw %[status]\n\tfninit" \
                 : [status] "=m"(status), [m] "+m"(m)                                    \
                 : [env] "m"(env), [a] "m"(a)                                            \
                 : NW_X87_CLOBBERS);                                                     \
    return status;                                                                       \
  }

/// One operation in all its operand forms, as overloads: registers, m32, m64 (reals), m16, m32 (integers). Real operands
/// are float and double, integers i16 and i32; only their bits are moved by C++.
#define NW_X87_FORMS(name, reals, integers) \
  NW_X87_2(name, reals " %%st(1), %%st")    \
  NW_X87_1M(name, float, reals "s")         \
  NW_X87_1M(name, double, reals "l")        \
  NW_X87_1M(name, i16, integers "s")        \
  NW_X87_1M(name, i32, integers "l")

NW_X87_FORMS(add, "fadd", "fiadd")
NW_X87_FORMS(sub, "fsub", "fisub")
NW_X87_FORMS(subr, "fsubr", "fisubr")
NW_X87_FORMS(mul, "fmul", "fimul")
NW_X87_FORMS(div, "fdiv", "fidiv")
NW_X87_FORMS(divr, "fdivr", "fidivr")

NW_X87_2(compare, "fcom %%st(1)")
NW_X87_1M(compare, float, "fcoms")
NW_X87_1M(compare, double, "fcoml")
NW_X87_1M(compare, i16, "ficoms")
NW_X87_1M(compare, i32, "ficoml")
NW_X87_2(compare_quietly, "fucom %%st(1)")
NW_X87_1(compare_zero, "ftst")
NW_X87_1(examine, "fxam")

NW_X87_1(square_root, "fsqrt")
NW_X87_1(round_to_integer, "frndint")
NW_X87_1(power_of_two, "f2xm1")
NW_X87_1(sine, "fsin")
NW_X87_1(cosine, "fcos")
NW_X87_1(sine_cosine, "fsincos")
NW_X87_1(tangent, "fptan")
NW_X87_1(extract, "fxtract")
NW_X87_2(scale, "fscale")
NW_X87_2(remainder_truncated, "fprem")
NW_X87_2(remainder_ieee, "fprem1")
NW_X87_2(arctangent, "fpatan")
NW_X87_2(y_log2_x, "fyl2x")
NW_X87_2(y_log2_x_plus_1, "fyl2xp1")

NW_X87_0(one, "fld1")
NW_X87_0(zero, "fldz")
NW_X87_0(pi, "fldpi")
NW_X87_0(log2_e, "fldl2e")
NW_X87_0(log2_10, "fldl2t")
NW_X87_0(log10_2, "fldlg2")
NW_X87_0(ln_2, "fldln2")

NW_X87_LOAD(load, float, "flds")
NW_X87_LOAD(load, double, "fldl")
NW_X87_LOAD(load, i16, "filds")
NW_X87_LOAD(load, i32, "fildl")
NW_X87_LOAD(load, i64, "fildll")
NW_X87_LOAD(load_decimal, F80, "fbld")

NW_X87_STORE(store, float, "fsts")
NW_X87_STORE(store, double, "fstl")
NW_X87_STORE(store, i16, "fists")
NW_X87_STORE(store, i32, "fistl")
NW_X87_STORE(store, i64, "fistpll")
NW_X87_STORE(truncate, i16, "fisttps")
NW_X87_STORE(truncate, i32, "fisttpl")
NW_X87_STORE(truncate, i64, "fisttpll")
NW_X87_STORE(store_decimal, F80, "fbstp")

#undef NW_X87_CLOBBERS
#undef NW_X87_BEGIN
#undef NW_X87_END
#undef NW_X87_OUT
#undef NW_X87_0
#undef NW_X87_1
#undef NW_X87_2
#undef NW_X87_LOAD
#undef NW_X87_1M
#undef NW_X87_STORE
#undef NW_X87_FORMS

}  // namespace nestwalk::cpu::host
