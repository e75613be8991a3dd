// x87 arithmetic, comparisons, loads and stores (SDM vol. 2, F*; vol. 1, 8). The host computes (host_x87.h); this file is
// the stack around it: which registers, what is pushed and popped, and what happens on an exception.
#include <limits>
#include <utility>

#include "cpu/exec/transcendental.h"
#include "cpu/exec/x87_stack.h"

namespace nestwalk::cpu {
namespace {

constexpr u16 kCompared = fsw::c0 | fsw::c2 | fsw::c3;

// ---- arithmetic --------------------------------------------------------------------------------------------------------

constexpr auto kAdd = [](const host::Environment& e, const auto&... v) { return host::add(e, v...); };
constexpr auto kSub = [](const host::Environment& e, const auto&... v) { return host::sub(e, v...); };
constexpr auto kSubr = [](const host::Environment& e, const auto&... v) { return host::subr(e, v...); };
constexpr auto kMul = [](const host::Environment& e, const auto&... v) { return host::mul(e, v...); };
constexpr auto kDiv = [](const host::Environment& e, const auto&... v) { return host::div(e, v...); };
constexpr auto kDivr = [](const host::Environment& e, const auto&... v) { return host::divr(e, v...); };

/// ST(d) = ST(d) op ST(s), then perhaps a pop.
template <auto op, bool pops>
void arithmetic(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const unsigned d = i.reg[0], s = i.reg[1];
  if (f.empty(d) || f.empty(s)) {
    if (!f.stack_fault(false)) return;
    f.set(d, kIndefinite);
  } else {
    const auto o = op(f.environment(), f.st(d), f.st(s));
    if (!f.settle(o.status)) return;
    f.set(d, o.value);
  }
  if constexpr (pops) f.pop();
}

/// ST(0) = ST(0) op memory.
template <auto op, class T>
void arithmetic_memory(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  const T m = c.load<T>(i);
  f.operands_ready();
  if (f.empty(0)) {
    if (f.stack_fault(false)) f.set(0, kIndefinite);
    return;
  }
  const auto o = op(f.environment(), f.st(0), m);
  if (f.settle(o.status)) f.set(0, o.value);
}

template <auto op>
Handler bind_real(const Insn& i) {
  if (i.kind[0] != Operand::mem) return then_next<arithmetic<op, false>>;
  return i.size[0] == 4 ? then_next<arithmetic_memory<op, float>> : then_next<arithmetic_memory<op, double>>;
}
template <auto op>
Handler bind_integer(const Insn& i) {
  return i.size[0] == 2 ? then_next<arithmetic_memory<op, i16>> : then_next<arithmetic_memory<op, i32>>;
}

// ---- comparisons ----------------------------------------------------------------------------------------------------

constexpr auto kCompare = [](const host::Environment& e, const auto&... v) { return host::compare(e, v...); };
constexpr auto kCompareQuietly = [](const host::Environment& e, const auto&... v) {
  return host::compare_quietly(e, v...);
};

/// The register operand: the last one that is an x87 register (some forms name ST(0) first); ST(1) where none is named.
unsigned other_register(const Insn& i) {
  unsigned n = 1;
  for (unsigned k = 0; k < 4; ++k)
    if (i.kind[k] == Operand::x87) n = i.reg[k];
  return n;
}

/// The condition codes are set whether or not an exception is masked; an unmasked one only stops the pops.
bool set_compared(X87Work& f, u16 status) {
  f.conditions(kCompared | fsw::c1, status & kCompared);
  return !f.signal(status, kBeforeOperation);
}
bool compare_empty(X87Work& f) {
  f.conditions(kCompared, kCompared);
  return f.stack_fault(false);
}

template <auto op, unsigned pops>
void compare(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const unsigned s = other_register(i);
  const bool done =
      f.empty(0) || f.empty(s) ? compare_empty(f) : set_compared(f, op(f.environment(), f.st(0), f.st(s)).status);
  for (unsigned n = 0; done && n < pops; ++n) f.pop();
}

template <class T, unsigned pops>
void compare_memory(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  const T m = c.load<T>(i);
  f.operands_ready();
  const bool done = f.empty(0) ? compare_empty(f) : set_compared(f, host::compare(f.environment(), f.st(0), m).status);
  for (unsigned n = 0; done && n < pops; ++n) f.pop();
}

/// FCOMI and relatives: C0, C2, C3 go to CF, PF, ZF; the other arithmetic flags are cleared.
template <auto op, bool pops>
void compare_to_flags(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const unsigned s = other_register(i);
  u16 result = kCompared;
  bool done;
  if (f.empty(0) || f.empty(s)) {
    done = f.stack_fault(false);
  } else {
    result = op(f.environment(), f.st(0), f.st(s)).status;
    done = !f.signal(result, kBeforeOperation);
  }
  c.s.flags.unpack((result & fsw::c0 ? fl::cf : 0) | (result & fsw::c2 ? fl::pf : 0) | (result & fsw::c3 ? fl::zf : 0));
  if (pops && done) f.pop();
}

void test(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  if (f.empty(0))
    compare_empty(f);
  else
    set_compared(f, host::compare_zero(f.environment(), f.st(0)).status);
}
void examine(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const u16 sign = f.st(0).sign_exponent >> 15 ? fsw::c1 : 0;
  f.conditions(fsw::conditions, f.empty(0) ? fsw::c3 | fsw::c0 | sign : host::examine(f.environment(), f.st(0)).status);
}

template <unsigned pops>
Handler bind_compare(const Insn& i) {
  if (i.kind[0] != Operand::mem) return then_next<compare<kCompare, pops>>;
  return i.size[0] == 4 ? then_next<compare_memory<float, pops>> : then_next<compare_memory<double, pops>>;
}
template <unsigned pops>
Handler bind_compare_integer(const Insn& i) {
  return i.size[0] == 2 ? then_next<compare_memory<i16, pops>> : then_next<compare_memory<i32, pops>>;
}

// ---- functions of ST(0), of ST(0) and ST(1) -------------------------------------------------------------------------

/// ST(0) = op(ST(0)). `cleared`: condition codes that an empty register clears besides C1.
template <host::Outcome (*op)(const host::Environment&, const F80&), u16 cleared = 0>
void function(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  if (f.empty(0)) {
    f.conditions(cleared, 0);
    if (f.stack_fault(false)) f.set(0, kIndefinite);
    return;
  }
  const auto o = op(f.environment(), f.st(0));
  if (f.settle(o.status)) f.set(0, o.value);
}

/// One value becomes two: FSINCOS, FPTAN, FXTRACT. C2: the argument was out of range and nothing happened.
template <host::Outcome (*op)(const host::Environment&, const F80&), u16 cleared = 0>
void function_pushing(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const bool overflow = !f.empty(7);
  if (f.empty(0) || overflow) {
    f.conditions(cleared, 0);
    if (!f.stack_fault(!f.empty(0))) return;
    f.set(0, kIndefinite);
    f.push(kIndefinite);
    return;
  }
  const auto o = op(f.environment(), f.st(0));
  if (!f.settle(o.status) || (o.status & cleared & fsw::c2)) return;
  f.set(0, o.second);
  f.push(o.value);
}

/// ST(0) = op(ST(0), ST(1)): FPREM, FPREM1, FSCALE.
template <host::Outcome (*op)(const host::Environment&, const F80&, const F80&), u16 cleared = 0>
void function_of_two(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  if (f.empty(0) || f.empty(1)) {
    f.conditions(cleared, 0);
    if (f.stack_fault(false)) f.set(0, kIndefinite);
    return;
  }
  const auto o = op(f.environment(), f.st(0), f.st(1));
  if (f.settle(o.status)) f.set(0, o.value);
}

/// ST(1) = op(ST(0), ST(1)), pop: FPATAN, FYL2X, FYL2XP1.
template <host::Outcome (*op)(const host::Environment&, const F80&, const F80&)>
void function_popping(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  F80 result = kIndefinite;
  if (f.empty(0) || f.empty(1)) {
    if (!f.stack_fault(false)) return;
  } else {
    const auto o = op(f.environment(), f.st(0), f.st(1));
    if (!f.settle(o.status)) return;
    result = o.value;
  }
  f.set(1, result);
  f.pop();
}

// ---- loads -------------------------------------------------------------------------------------------------------------

/// Pushes what `make` gives unless the stack is full. A denormal operand is pushed even if that exception is unmasked.
template <class F>
void push_new(X87Work& f, F&& make) {
  if (!f.empty(7)) {
    if (f.stack_fault(true)) f.push(kIndefinite);
    return;
  }
  const host::Outcome o = make();
  if (f.settle(o.status, fsw::ie)) {
    f.conditions(fsw::c1, 0);
    f.push(o.value);
  }
}

template <class T>
void load(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  const T m = c.load<T>(i);
  f.operands_ready();
  push_new(f, [&] { return host::load(f.environment(), m); });
}
void load_extended(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  const F80 v = value_of(load_m80(c, i));
  f.operands_ready();
  push_new(f, [&] { return host::Outcome{v, {}, static_cast<u16>(f.x.status & fsw::conditions)}; });
}
void load_decimal(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  const F80 v = value_of(load_m80(c, i));
  f.operands_ready();
  push_new(f, [&] { return host::load_decimal(f.environment(), v); });
}
void load_register(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const unsigned s = other_register(i);
  if (f.empty(s)) {
    if (f.stack_fault(false)) f.push(kIndefinite);
    return;
  }
  push_new(f, [&] { return host::Outcome{f.st(s), {}, static_cast<u16>(f.x.status & fsw::conditions)}; });
}
template <host::Outcome (*constant)(const host::Environment&)>
void load_constant(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  push_new(f, [&] { return constant(f.environment()); });
}

// ---- stores ---------------------------------------------------------------------------------------------------------

template <class T>
constexpr T kIndefiniteAs = std::numeric_limits<T>::min();  // integer indefinite
template <>
inline constexpr float kIndefiniteAs<float> = __builtin_bit_cast(float, 0xffc00000);
template <>
inline constexpr double kIndefiniteAs<double> = __builtin_bit_cast(double, 0xfff8000000000000);

/// Converts ST(0) by `convert(environment, value, image)`, stores the image by `put`, and pops. An unmasked exception of
/// the conversion leaves memory and stack alone.
template <bool pops, class T, class Convert, class Put>
void store_as(Cpu& c, const Insn& i, T indefinite, Convert convert, Put put) {
  X87Work f(c, i);
  T image = indefinite;
  u16 status = 0;
  const bool underflow = f.empty(0);
  if (underflow) {
    status = fsw::ie;
  } else {
    status = convert(f.environment(), f.st(0), image);
  }
  // The store may fault, and then nothing has happened: it goes before the flags.
  if (!(status & ~f.x.control & kBeforeStore)) put(image);
  f.operands_ready();
  if (underflow ? !f.stack_fault(false) : !f.settle(status, kBeforeStore)) return;
  if constexpr (pops) f.pop();
}

template <class T, bool pops>
void store(Cpu& c, const Insn& i) {
  store_as<pops>(
      c, i, kIndefiniteAs<T>, [](const host::Environment& e, const F80& v, T& m) { return host::store(e, v, m); },
      [&](const T& m) { c.store<T>(i, m); });
}
template <class T>
void store_truncated(Cpu& c, const Insn& i) {
  store_as<true>(
      c, i, kIndefiniteAs<T>, [](const host::Environment& e, const F80& v, T& m) { return host::truncate(e, v, m); },
      [&](const T& m) { c.store<T>(i, m); });
}
void store_decimal(Cpu& c, const Insn& i) {
  store_as<true>(
      c, i, kIndefinite, [](const host::Environment& e, const F80& v, F80& m) { return host::store_decimal(e, v, m); },
      [&](const F80& m) { store_m80(c, i, image_of(m)); });
}
void store_extended(Cpu& c, const Insn& i) {
  store_as<true>(
      c, i, kIndefinite,
      [](const host::Environment& e, const F80& v, F80& m) {
        m = v;
        return static_cast<u16>(e.status & ~fsw::c1);
      },
      [&](const F80& m) { store_m80(c, i, image_of(m)); });
}
/// D9 D8+i, an FSTP that does not check for an empty ST(0): then it only pops, and nothing is raised.
void store_unchecked(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  f.conditions(fsw::c1, 0);
  if (!f.empty(0)) f.set(i.reg[0], f.st(0));
  f.pop();
}
template <bool pops>
void store_register(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const unsigned d = i.reg[0];
  if (f.empty(0)) {
    if (!f.stack_fault(false)) return;
    f.set(d, kIndefinite);
  } else {
    f.conditions(fsw::c1, 0);
    f.set(d, f.st(0));
  }
  if constexpr (pops) f.pop();
}

template <bool pops>
Handler bind_store(const Insn& i) {
  if (i.kind[0] != Operand::mem) return then_next<store_register<pops>>;
  switch (i.size[0]) {
    case 4: return then_next<store<float, pops>>;
    case 8: return then_next<store<double, pops>>;
    default: return pops ? then_next<store_extended> : nullptr;
  }
}
template <bool pops>
Handler bind_store_integer(const Insn& i) {
  switch (i.size[0]) {
    case 2: return then_next<store<i16, pops>>;
    case 4: return then_next<store<i32, pops>>;
    default: return pops ? then_next<store<i64, true>> : nullptr;
  }
}

// ---- moves between registers ----------------------------------------------------------------------------------------

/// Sign changes touch no other bit and know no exception but an empty register.
template <u16 keep, u16 flip>
void change_sign(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  if (f.empty(0)) {
    if (f.stack_fault(false)) f.set(0, kIndefinite);
    return;
  }
  f.conditions(fsw::c1, 0);
  f.st(0).sign_exponent = (f.st(0).sign_exponent & keep) ^ flip;
}

void exchange(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const unsigned n = other_register(i);
  if (f.empty(0) || f.empty(n)) {
    if (!f.stack_fault(false)) return;
    for (const unsigned r : {0u, n})
      if (f.empty(r)) f.set(r, kIndefinite);
  } else {
    f.conditions(fsw::c1, 0);
  }
  std::swap(f.st(0), f.st(n));
}

/// FCMOVcc: B, E, BE, U test CF, ZF, CF|ZF, PF.
template <u64 flags, bool when>
void move_if(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  const unsigned s = i.reg[1];
  if (f.empty(0) || f.empty(s)) {
    if (f.stack_fault(false)) f.set(0, kIndefinite);
    return;
  }
  if (static_cast<bool>(c.s.flags.pack() & flags) == when) f.set(0, f.st(s));
}

}  // namespace

Handler bind_fadd(const Insn& i) { return bind_real<kAdd>(i); }
Handler bind_fsub(const Insn& i) { return bind_real<kSub>(i); }
Handler bind_fsubr(const Insn& i) { return bind_real<kSubr>(i); }
Handler bind_fmul(const Insn& i) { return bind_real<kMul>(i); }
Handler bind_fdiv(const Insn& i) { return bind_real<kDiv>(i); }
Handler bind_fdivr(const Insn& i) { return bind_real<kDivr>(i); }
Handler bind_fiadd(const Insn& i) { return bind_integer<kAdd>(i); }
Handler bind_fisub(const Insn& i) { return bind_integer<kSub>(i); }
Handler bind_fisubr(const Insn& i) { return bind_integer<kSubr>(i); }
Handler bind_fimul(const Insn& i) { return bind_integer<kMul>(i); }
Handler bind_fidiv(const Insn& i) { return bind_integer<kDiv>(i); }
Handler bind_fidivr(const Insn& i) { return bind_integer<kDivr>(i); }
Handler bind_faddp(const Insn&) { return then_next<arithmetic<kAdd, true>>; }
Handler bind_fsubp(const Insn&) { return then_next<arithmetic<kSub, true>>; }
Handler bind_fsubrp(const Insn&) { return then_next<arithmetic<kSubr, true>>; }
Handler bind_fmulp(const Insn&) { return then_next<arithmetic<kMul, true>>; }
Handler bind_fdivp(const Insn&) { return then_next<arithmetic<kDiv, true>>; }
Handler bind_fdivrp(const Insn&) { return then_next<arithmetic<kDivr, true>>; }

Handler bind_fcom(const Insn& i) { return bind_compare<0>(i); }
Handler bind_fcomp(const Insn& i) { return bind_compare<1>(i); }
Handler bind_fcompp(const Insn&) { return then_next<compare<kCompare, 2>>; }
Handler bind_ficom(const Insn& i) { return bind_compare_integer<0>(i); }
Handler bind_ficomp(const Insn& i) { return bind_compare_integer<1>(i); }
Handler bind_fucom(const Insn&) { return then_next<compare<kCompareQuietly, 0>>; }
Handler bind_fucomp(const Insn&) { return then_next<compare<kCompareQuietly, 1>>; }
Handler bind_fucompp(const Insn&) { return then_next<compare<kCompareQuietly, 2>>; }
Handler bind_fcomi(const Insn&) { return then_next<compare_to_flags<kCompare, false>>; }
Handler bind_fcomip(const Insn&) { return then_next<compare_to_flags<kCompare, true>>; }
Handler bind_fucomi(const Insn&) { return then_next<compare_to_flags<kCompareQuietly, false>>; }
Handler bind_fucomip(const Insn&) { return then_next<compare_to_flags<kCompareQuietly, true>>; }
Handler bind_ftst(const Insn&) { return then_next<test>; }
Handler bind_fxam(const Insn&) { return then_next<examine>; }

Handler bind_fsqrt(const Insn&) { return then_next<function<host::square_root>>; }
Handler bind_frndint(const Insn&) { return then_next<function<host::round_to_integer>>; }
Handler bind_f2xm1(const Insn&) { return then_next<function<exact::power_of_two>>; }
Handler bind_fsin(const Insn&) { return then_next<function<exact::sine, fsw::c2>>; }
Handler bind_fcos(const Insn&) { return then_next<function<exact::cosine, fsw::c2>>; }
Handler bind_fsincos(const Insn&) { return then_next<function_pushing<exact::sine_cosine, fsw::c2>>; }
Handler bind_fptan(const Insn&) { return then_next<function_pushing<exact::tangent, fsw::c2>>; }
Handler bind_fxtract(const Insn&) { return then_next<function_pushing<host::extract>>; }
Handler bind_fscale(const Insn&) { return then_next<function_of_two<host::scale>>; }
Handler bind_fprem(const Insn&) { return then_next<function_of_two<host::remainder_truncated, fsw::c2>>; }
Handler bind_fprem1(const Insn&) { return then_next<function_of_two<host::remainder_ieee, fsw::c2>>; }
Handler bind_fpatan(const Insn&) { return then_next<function_popping<exact::arctangent>>; }
Handler bind_fyl2x(const Insn&) { return then_next<function_popping<exact::y_log2_x>>; }
Handler bind_fyl2xp1(const Insn&) { return then_next<function_popping<exact::y_log2_x_plus_1>>; }

Handler bind_fld(const Insn& i) {
  if (i.kind[0] != Operand::mem) return then_next<load_register>;
  return i.size[0] == 4 ? then_next<load<float>> : i.size[0] == 8 ? then_next<load<double>> : then_next<load_extended>;
}
Handler bind_fild(const Insn& i) {
  return i.size[0] == 2 ? then_next<load<i16>> : i.size[0] == 4 ? then_next<load<i32>> : then_next<load<i64>>;
}
Handler bind_fbld(const Insn&) { return then_next<load_decimal>; }
Handler bind_fld1(const Insn&) { return then_next<load_constant<host::one>>; }
Handler bind_fldz(const Insn&) { return then_next<load_constant<host::zero>>; }
Handler bind_fldpi(const Insn&) { return then_next<load_constant<host::pi>>; }
Handler bind_fldl2e(const Insn&) { return then_next<load_constant<host::log2_e>>; }
Handler bind_fldl2t(const Insn&) { return then_next<load_constant<host::log2_10>>; }
Handler bind_fldlg2(const Insn&) { return then_next<load_constant<host::log10_2>>; }
Handler bind_fldln2(const Insn&) { return then_next<load_constant<host::ln_2>>; }
Handler bind_fst(const Insn& i) { return bind_store<false>(i); }
Handler bind_fstp(const Insn& i) { return bind_store<true>(i); }
Handler bind_fstpnce(const Insn&) { return then_next<store_unchecked>; }
Handler bind_fist(const Insn& i) { return bind_store_integer<false>(i); }
Handler bind_fistp(const Insn& i) { return bind_store_integer<true>(i); }
Handler bind_fisttp(const Insn& i) {
  return i.size[0] == 2   ? then_next<store_truncated<i16>>
         : i.size[0] == 4 ? then_next<store_truncated<i32>>
                          : then_next<store_truncated<i64>>;
}
Handler bind_fbstp(const Insn&) { return then_next<store_decimal>; }

Handler bind_fchs(const Insn&) { return then_next<change_sign<0xffff, 0x8000>>; }
Handler bind_fabs(const Insn&) { return then_next<change_sign<0x7fff, 0>>; }
Handler bind_fxch(const Insn&) { return then_next<exchange>; }
Handler bind_fcmovb(const Insn&) { return then_next<move_if<fl::cf, true>>; }
Handler bind_fcmove(const Insn&) { return then_next<move_if<fl::zf, true>>; }
Handler bind_fcmovbe(const Insn&) { return then_next<move_if<fl::cf | fl::zf, true>>; }
Handler bind_fcmovu(const Insn&) { return then_next<move_if<fl::pf, true>>; }
Handler bind_fcmovnb(const Insn&) { return then_next<move_if<fl::cf, false>>; }
Handler bind_fcmovne(const Insn&) { return then_next<move_if<fl::zf, false>>; }
Handler bind_fcmovnbe(const Insn&) { return then_next<move_if<fl::cf | fl::zf, false>>; }
Handler bind_fcmovnu(const Insn&) { return then_next<move_if<fl::pf, false>>; }

}  // namespace nestwalk::cpu
