// ADD ADC SUB SBB AND OR XOR CMP TEST INC DEC NEG NOT (SDM vol. 2). An operation is written once, over its width; the
// binder picks the operand form: register-register, register-immediate, register-memory, memory-register, memory-immediate.
#include "cpu/bind.h"

namespace nestwalk::cpu {
namespace {

// ---- the operations: r = a op b, with flags ---------------------------------------------------------------------------

struct Add {
  template <class T>
  static T apply(Cpu& c, T a, T b) {
    const T r = static_cast<T>(a + b);
    c.s.flags.add<T>(a, b, r);
    return r;
  }
};
struct Adc {
  template <class T>
  static T apply(Cpu& c, T a, T b) {
    const T r = static_cast<T>(a + b + c.s.flags.cf());
    c.s.flags.add<T>(a, b, r);
    return r;
  }
};
struct Sub {
  template <class T>
  static T apply(Cpu& c, T a, T b) {
    const T r = static_cast<T>(a - b);
    c.s.flags.sub<T>(a, b, r);
    return r;
  }
};
struct Sbb {
  template <class T>
  static T apply(Cpu& c, T a, T b) {
    const T r = static_cast<T>(a - b - c.s.flags.cf());
    c.s.flags.sub<T>(a, b, r);
    return r;
  }
};
struct And {
  template <class T>
  static T apply(Cpu& c, T a, T b) {
    const T r = a & b;
    c.s.flags.logic<T>(r);
    return r;
  }
};
struct Or {
  template <class T>
  static T apply(Cpu& c, T a, T b) {
    const T r = a | b;
    c.s.flags.logic<T>(r);
    return r;
  }
};
struct Xor {
  template <class T>
  static T apply(Cpu& c, T a, T b) {
    const T r = a ^ b;
    c.s.flags.logic<T>(r);
    return r;
  }
};

// One-operand operations.
struct Inc {
  template <class T>
  static T apply(Cpu& c, T a) {
    const bool cf = c.s.flags.cf();
    const T r = static_cast<T>(a + 1);
    c.s.flags.add<T>(a, 1, r);
    c.s.flags.set_cf(cf);
    return r;
  }
};
struct Dec {
  template <class T>
  static T apply(Cpu& c, T a) {
    const bool cf = c.s.flags.cf();
    const T r = static_cast<T>(a - 1);
    c.s.flags.sub<T>(a, 1, r);
    c.s.flags.set_cf(cf);
    return r;
  }
};
struct Neg {
  template <class T>
  static T apply(Cpu& c, T a) {
    const T r = static_cast<T>(0 - a);
    c.s.flags.sub<T>(0, a, r);
    return r;
  }
};
struct Not {
  template <class T>
  static T apply(Cpu&, T a) {
    return static_cast<T>(~a);
  }
};

// ---- the forms ------------------------------------------------------------------------------------------------------

template <class F, class T>
void rr(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], F::template apply<T>(c, c.gpr<T>(i.reg[0]), c.gpr<T>(i.reg[1])));
}
template <class F, class T>
void ri(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], F::template apply<T>(c, c.gpr<T>(i.reg[0]), static_cast<T>(i.imm)));
}
template <class M, class F, class T>
bool rm(Cpu& c, const Insn& i) {
  T b;
  if (!M::load(c, i, b)) return false;
  c.set_gpr<T>(i.reg[0], F::template apply<T>(c, c.gpr<T>(i.reg[0]), b));
  return true;
}
template <class M, class F, class T>
bool mr(Cpu& c, const Insn& i) {
  return M::template update<T>(c, i, [&](T a) { return F::template apply<T>(c, a, c.gpr<T>(i.reg[1])); });
}
template <class M, class F, class T>
bool mi(Cpu& c, const Insn& i) {
  return M::template update<T>(c, i, [&](T a) { return F::template apply<T>(c, a, static_cast<T>(i.imm)); });
}
// Forms whose result goes nowhere (CMP, TEST).
template <class F, class T>
void test_rr(Cpu& c, const Insn& i) {
  F::template apply<T>(c, c.gpr<T>(i.reg[0]), c.gpr<T>(i.reg[1]));
}
template <class F, class T>
void test_ri(Cpu& c, const Insn& i) {
  F::template apply<T>(c, c.gpr<T>(i.reg[0]), static_cast<T>(i.imm));
}
template <class M, class F, class T>
bool test_rm(Cpu& c, const Insn& i) {
  T b;
  if (!M::load(c, i, b)) return false;
  F::template apply<T>(c, c.gpr<T>(i.reg[0]), b);
  return true;
}
template <class M, class F, class T>
bool test_mr(Cpu& c, const Insn& i) {
  T a;
  if (!M::load(c, i, a)) return false;
  F::template apply<T>(c, a, c.gpr<T>(i.reg[1]));
  return true;
}
template <class M, class F, class T>
bool test_mi(Cpu& c, const Insn& i) {
  T a;
  if (!M::load(c, i, a)) return false;
  F::template apply<T>(c, a, static_cast<T>(i.imm));
  return true;
}
template <class F, class T>
void one_r(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], F::template apply<T>(c, c.gpr<T>(i.reg[0])));
}
template <class M, class F, class T>
bool one_m(Cpu& c, const Insn& i) {
  return M::template update<T>(c, i, [&](T a) { return F::template apply<T>(c, a); });
}

template <class F, class T>
Handler form(const Insn& i) {
  if (i.kind[0] == Operand::gpr) {
    if (i.kind[1] == Operand::gpr) return pure<rr<F, T>>;
    if (i.kind[1] == Operand::imm) return pure<ri<F, T>>;
    return NW_MEMORY(rm, F, T);
  }
  return i.kind[1] == Operand::gpr ? NW_MEMORY(mr, F, T) : NW_MEMORY(mi, F, T);
}
template <class F, class T>
Handler test_form(const Insn& i) {
  if (i.kind[0] == Operand::gpr) {
    if (i.kind[1] == Operand::gpr) return pure<test_rr<F, T>>;
    if (i.kind[1] == Operand::imm) return pure<test_ri<F, T>>;
    return NW_MEMORY(test_rm, F, T);
  }
  return i.kind[1] == Operand::gpr ? NW_MEMORY(test_mr, F, T) : NW_MEMORY(test_mi, F, T);
}
template <class F, class T>
Handler one_form(const Insn& i) {
  return i.kind[0] == Operand::gpr ? pure<one_r<F, T>> : NW_MEMORY(one_m, F, T);
}

template <class F>
Handler two(const Insn& i) {
  return i.width == 8 ? form<F, u64>(i) : i.width == 4 ? form<F, u32>(i) : i.width == 2 ? form<F, u16>(i) : form<F, u8>(i);
}
template <class F>
Handler two_test(const Insn& i) {
  return i.width == 8   ? test_form<F, u64>(i)
         : i.width == 4 ? test_form<F, u32>(i)
         : i.width == 2 ? test_form<F, u16>(i)
                        : test_form<F, u8>(i);
}
template <class F>
Handler one(const Insn& i) {
  return i.width == 8   ? one_form<F, u64>(i)
         : i.width == 4 ? one_form<F, u32>(i)
         : i.width == 2 ? one_form<F, u16>(i)
                        : one_form<F, u8>(i);
}

}  // namespace

Handler bind_add(const Insn& i) { return two<Add>(i); }
Handler bind_adc(const Insn& i) { return two<Adc>(i); }
Handler bind_sub(const Insn& i) { return two<Sub>(i); }
Handler bind_sbb(const Insn& i) { return two<Sbb>(i); }
Handler bind_and(const Insn& i) { return two<And>(i); }
Handler bind_or(const Insn& i) { return two<Or>(i); }
Handler bind_xor(const Insn& i) { return two<Xor>(i); }
Handler bind_cmp(const Insn& i) { return two_test<Sub>(i); }
Handler bind_test(const Insn& i) { return two_test<And>(i); }
Handler bind_inc(const Insn& i) { return one<Inc>(i); }
Handler bind_dec(const Insn& i) { return one<Dec>(i); }
Handler bind_neg(const Insn& i) { return one<Neg>(i); }
Handler bind_not(const Insn& i) { return one<Not>(i); }

}  // namespace nestwalk::cpu
