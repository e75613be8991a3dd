// Shifts and rotates (SDM vol. 2: SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD). A masked count of 0 changes no flag.
//
// Flags that the SDM leaves undefined, as measured on Intel cores (test/oracle):
//   AF                  cleared by shifts and double shifts, kept by rotates
//   OF, count > 1       as if the count were 1; a rotate of a register by an immediate (not RCL, RCR) keeps it
//   CF, count > width   SHL, SHR: 0; SAR: the sign
//   SHLD, SHRD          16 bits, counts above 16: the first operand goes on behind the second (dst:src:dst)
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

template <class T>
constexpr unsigned kCountMask = sizeof(T) == 8 ? 63 : 31;

template <class T>
constexpr bool msb(T v) {
  return v >> (kBits<T> - 1);
}

/// ZF, SF, PF from r; AF = 0.
template <class T>
NW_INLINE void shifted(Flags& f, T r, bool cf, bool of) {
  f.result = sext(r);
  f.carry = u64{cf} << 63 | u64{cf != of} << 62;  // Flags::kCf, Flags::kOfXor
}

// Each takes the masked count, which is not 0.
struct Shl {
  static constexpr bool kKeepsOf = false;
  template <class T>
  static T apply(Flags& f, T a, unsigned n) {
    const T r = n < kBits<T> ? static_cast<T>(u64{a} << n) : T{0};
    shifted(f, r, n <= kBits<T> && ((a >> (kBits<T> - n)) & 1), msb(static_cast<T>(a ^ (a << 1))));
    return r;
  }
};
struct Shr {
  static constexpr bool kKeepsOf = false;
  template <class T>
  static T apply(Flags& f, T a, unsigned n) {
    const T r = n < kBits<T> ? static_cast<T>(a >> n) : T{0};
    shifted(f, r, (u64{a} >> (n - 1)) & 1, msb(a));
    return r;
  }
};
struct Sar {
  static constexpr bool kKeepsOf = false;
  template <class T>
  static T apply(Flags& f, T a, unsigned n) {
    const i64 wide = static_cast<i64>(sext(a));
    const T r = static_cast<T>(wide >> n);
    shifted(f, r, (wide >> (n - 1)) & 1, false);
    return r;
  }
};
struct Rol {
  static constexpr bool kKeepsOf = true;
  template <class T>
  static T apply(Flags& f, T a, unsigned n) {
    const T r = std::rotl(a, static_cast<int>(n % kBits<T>));
    f.set_cf_of(r & 1, msb(static_cast<T>(a ^ (a << 1))));
    return r;
  }
};
struct Ror {
  static constexpr bool kKeepsOf = true;
  template <class T>
  static T apply(Flags& f, T a, unsigned n) {
    const T r = std::rotr(a, static_cast<int>(n % kBits<T>));
    f.set_cf_of(msb(r), msb(a) != (a & 1));
    return r;
  }
};
struct Rcl {
  static constexpr bool kKeepsOf = false;
  template <class T>
  static T apply(Flags& f, T a, unsigned count) {
    const unsigned n = count % (kBits<T> + 1);
    if (n == 0) return a;
    const u128 ring = (u128{f.cf()} << kBits<T>) | a;  // width + 1 bits, CF on top
    const u128 turned = (ring << n) | (ring >> (kBits<T> + 1 - n));
    f.set_cf_of((turned >> kBits<T>)&1, msb(static_cast<T>(a ^ (a << 1))));
    return static_cast<T>(turned);
  }
};
struct Rcr {
  static constexpr bool kKeepsOf = false;
  template <class T>
  static T apply(Flags& f, T a, unsigned count) {
    const unsigned n = count % (kBits<T> + 1);
    if (n == 0) return a;
    const u128 ring = (u128{f.cf()} << kBits<T>) | a;
    const u128 turned = (ring >> n) | (ring << (kBits<T> + 1 - n));
    f.set_cf_of((turned >> kBits<T>)&1, msb(a) != f.cf());
    return static_cast<T>(turned);
  }
};

// The three operand forms. CL is read at run time, an immediate was masked by nobody yet.
template <class Op, class T>
void by_immediate(Cpu& c, const Insn& i) {
  const unsigned n = i.imm & kCountMask<T>;
  const T a = c.gpr<T>(i.reg[0]);
  Flags& f = c.s.flags;
  [[maybe_unused]] const bool of = f.of();
  c.set_gpr<T>(i.reg[0], n ? Op::template apply<T>(f, a, n) : a);
  if constexpr (Op::kKeepsOf)
    if (n > 1) f.set_of(of);
}
template <class Op, class T>
void by_cl(Cpu& c, const Insn& i) {
  const unsigned n = c.s.gpr[RCX] & kCountMask<T>;
  const T a = c.gpr<T>(i.reg[0]);
  c.set_gpr<T>(i.reg[0], n ? Op::template apply<T>(c.s.flags, a, n) : a);
}
template <class Op, class T>
void in_memory(Cpu& c, const Insn& i) {
  const unsigned n = (i.kind[1] == Operand::imm ? i.imm : c.s.gpr[RCX]) & kCountMask<T>;
  c.update<T>(i, [&](T a) { return n ? Op::template apply<T>(c.s.flags, a, n) : a; });
}

template <class Op>
Handler bind_shift(const Insn& i) {
  return by_width(i.width, [&](auto t) -> Handler {
    using T = decltype(t);
    if (i.kind[0] != Operand::gpr) return then_next<in_memory<Op, T>>;
    return i.kind[1] == Operand::imm ? pure<by_immediate<Op, T>> : pure<by_cl<Op, T>>;
  });
}

// ---- double shifts -----------------------------------------------------------------------------------------------------

struct Shld {
  template <class T>
  static T apply(Flags& f, T dst, T src, unsigned n) {
    T r;
    bool cf;
    if constexpr (sizeof(T) == 2) {
      const u64 row = (u64{dst} << 32) | (u64{src} << 16) | dst;
      r = static_cast<T>((row << n) >> 32);
      cf = (row >> (48 - n)) & 1;
    } else {
      r = static_cast<T>((dst << n) | (src >> (kBits<T> - n)));
      cf = (dst >> (kBits<T> - n)) & 1;
    }
    shifted(f, r, cf, msb(static_cast<T>(dst ^ (dst << 1))));
    return r;
  }
};
struct Shrd {
  template <class T>
  static T apply(Flags& f, T dst, T src, unsigned n) {
    T r;
    bool cf;
    if constexpr (sizeof(T) == 2) {
      const u64 row = (u64{dst} << 32) | (u64{src} << 16) | dst;
      r = static_cast<T>(row >> n);
      cf = (row >> (n - 1)) & 1;
    } else {
      r = static_cast<T>((dst >> n) | (src << (kBits<T> - n)));
      cf = (dst >> (n - 1)) & 1;
    }
    shifted(f, r, cf, msb(dst) != (src & 1));
    return r;
  }
};

template <class Op, class T>
void double_shift(Cpu& c, const Insn& i) {
  const unsigned n = (i.kind[2] == Operand::imm ? i.imm : c.s.gpr[RCX]) & kCountMask<T>;
  const T src = c.gpr<T>(i.reg[1]);
  update_operand<T>(c, i, [&](T dst) { return n ? Op::template apply<T>(c.s.flags, dst, src, n) : dst; });
}

template <class Op>
Handler bind_double_shift(const Insn& i) {
  return i.width == 8   ? then_next<double_shift<Op, u64>>
         : i.width == 4 ? then_next<double_shift<Op, u32>>
                        : then_next<double_shift<Op, u16>>;
}

}  // namespace

Handler bind_shl(const Insn& i) { return bind_shift<Shl>(i); }
Handler bind_shr(const Insn& i) { return bind_shift<Shr>(i); }
Handler bind_sar(const Insn& i) { return bind_shift<Sar>(i); }
Handler bind_rol(const Insn& i) { return bind_shift<Rol>(i); }
Handler bind_ror(const Insn& i) { return bind_shift<Ror>(i); }
Handler bind_rcl(const Insn& i) { return bind_shift<Rcl>(i); }
Handler bind_rcr(const Insn& i) { return bind_shift<Rcr>(i); }
Handler bind_shld(const Insn& i) { return bind_double_shift<Shld>(i); }
Handler bind_shrd(const Insn& i) { return bind_double_shift<Shrd>(i); }

}  // namespace nestwalk::cpu
