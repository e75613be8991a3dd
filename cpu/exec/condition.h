// The sixteen conditions (SDM vol. 2, B.1.4.7) over the lazy flags, chosen at compile time.
#pragma once

#include "cpu/cpu.h"

namespace nestwalk::cpu {

enum class Cc : u8 { O, NO, B, NB, Z, NZ, BE, NBE, S, NS, P, NP, L, NL, LE, NLE };

template <Cc cc>
NW_INLINE bool holds(const Flags& f) {
  constexpr unsigned n = static_cast<unsigned>(cc);
  bool v;
  if constexpr (n / 2 == 0)
    v = f.of();
  else if constexpr (n / 2 == 1)
    v = f.cf();
  else if constexpr (n / 2 == 2)
    v = f.zf();
  else if constexpr (n / 2 == 3)
    v = f.cf() | f.zf();
  else if constexpr (n / 2 == 4)
    v = f.sf();
  else if constexpr (n / 2 == 5)
    v = f.pf();
  else if constexpr (n / 2 == 6)
    v = f.sf() != f.of();
  else
    v = f.zf() | (f.sf() != f.of());
  return v != (n & 1);
}

/// Calls make<cc>() for the condition of a Jcc, SETcc or CMOVcc whose first Op is `first` (they stand in Cc order).
template <class Make>
Handler by_condition(Op op, Op first, Make make) {
  switch (static_cast<Cc>(static_cast<unsigned>(op) - static_cast<unsigned>(first))) {
    case Cc::O: return make.template operator()<Cc::O>();
    case Cc::NO: return make.template operator()<Cc::NO>();
    case Cc::B: return make.template operator()<Cc::B>();
    case Cc::NB: return make.template operator()<Cc::NB>();
    case Cc::Z: return make.template operator()<Cc::Z>();
    case Cc::NZ: return make.template operator()<Cc::NZ>();
    case Cc::BE: return make.template operator()<Cc::BE>();
    case Cc::NBE: return make.template operator()<Cc::NBE>();
    case Cc::S: return make.template operator()<Cc::S>();
    case Cc::NS: return make.template operator()<Cc::NS>();
    case Cc::P: return make.template operator()<Cc::P>();
    case Cc::NP: return make.template operator()<Cc::NP>();
    case Cc::L: return make.template operator()<Cc::L>();
    case Cc::NL: return make.template operator()<Cc::NL>();
    case Cc::LE: return make.template operator()<Cc::LE>();
    case Cc::NLE: return make.template operator()<Cc::NLE>();
  }
  return nullptr;
}

}  // namespace nestwalk::cpu
