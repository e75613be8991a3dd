// AVX and AVX2 moves without a legacy form: broadcasts, 128-bit halves, masked moves, clearing registers (SDM vol. 2, 5).
#include "cpu/exec/operand.h"
#include "cpu/exec/vector.h"

namespace nestwalk::cpu {
namespace {

/// VBROADCASTx, VPBROADCASTx: the lowest element to all.
template <class T>
struct Broadcast {
  template <unsigned N>
  Lanes<N> operator()(const Lanes<N>&, const Lanes<N>& b) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k) r.template set<T>(k, b.template get<T>(0));
    return r;
  }
};
template <class T>
Handler broadcast(const Insn& i) {
  return xmm_or_ymm<Broadcast<T>, sizeof(T), sizeof(T)>(i);
}

/// VINSERTF128, VINSERTI128.
struct InsertHalf {
  template <unsigned N>
  Lanes<N> operator()(Lanes<N> a, const Lanes<N>& b, u8 imm) const {
    a.template set<Lanes<2>>(imm % (N / 2), b.template get<Lanes<2>>(0));
    return a;
  }
};

/// VEXTRACTF128, VEXTRACTI128.
void extract_half(Cpu& c, const Insn& i) {
  require_avx(c);
  const Lanes<2> v = Vex256::get(c, i.reg[1]).get<Lanes<2>>(i.imm & 1);
  if (i.kind[0] == Operand::mem)
    c.store(i, v);
  else
    Vex128::set(c, i.reg[0], v);
}

// ---- masked moves: elements whose mask is not negative are not touched, and cannot fault ----------------------------

template <class T, class E>
constexpr unsigned kCount = E::Value::template count<T>;

/// VMASKMOVPS, VPMASKMOVD, ... from memory: other elements become zero.
template <class T, class E>
void masked_load(Cpu& c, const Insn& i) {
  E::require(c);
  const typename E::Value mask = E::get(c, i.reg[1]);
  typename E::Value r = E::Value::zero();
  for (unsigned k = 0; k < kCount<T, E>; ++k)
    if (mask.template get<T>(k) < 0) {
      const u64 at = linear_displaced<mmu::Side::load>(c, i, k * sizeof(T), sizeof(T));
      r.template set<T>(k, c.load_at<T>(at, i.segment));
    }
  E::set(c, i.reg[0], r);
}
/// The same to memory. Nothing is written before all of it can be.
template <class T, class E>
void masked_store(Cpu& c, const Insn& i) {
  E::require(c);
  const typename E::Value mask = E::get(c, i.reg[1]), v = E::get(c, i.reg[2]);
  u64 at[kCount<T, E>];
  for (unsigned k = 0; k < kCount<T, E>; ++k) {
    if (mask.template get<T>(k) >= 0) continue;
    at[k] = linear_displaced<mmu::Side::store>(c, i, k * sizeof(T), sizeof(T));
    if (auto r = c.port.probe_write(LinearAddr(at[k]), sizeof(T)); !r) c.fail(r.fault(), i.segment);
  }
  for (unsigned k = 0; k < kCount<T, E>; ++k)
    if (mask.template get<T>(k) < 0) c.store_at<T>(at[k], v.template get<T>(k), i.segment);
}
template <class T>
Handler masked(const Insn& i) {
  return by_encoding(i, [&]<class E>(E) {
    return i.kind[0] == Operand::mem ? then_next<masked_store<T, E>> : then_next<masked_load<T, E>>;
  });
}

// ---- VZEROALL, VZEROUPPER ----------------------------------------------------------------------------------------------

/// Outside 64-bit mode there are eight registers, and the others keep what they have.
template <unsigned from>
void clear_words(Cpu& c, const Insn&) {
  require_avx(c);
  for (unsigned n = 0; n < (c.long64() ? 16 : 8); ++n)
    for (unsigned k = from; k < 4; ++k) c.s.vec[n].q[k] = 0;
}

}  // namespace

Handler bind_avx_move(const Insn& i) {
  switch (i.op) {
    case Op::VBROADCASTSS:
    case Op::VPBROADCASTD: return broadcast<u32>(i);
    case Op::VBROADCASTSD:
    case Op::VPBROADCASTQ: return broadcast<u64>(i);
    case Op::VBROADCASTF128:
    case Op::VBROADCASTI128: return broadcast<Lanes<2>>(i);
    case Op::VPBROADCASTB: return broadcast<u8>(i);
    case Op::VPBROADCASTW: return broadcast<u16>(i);
    case Op::VINSERTF128:
    case Op::VINSERTI128: return xmm_or_ymm<InsertHalf, 16, 16>(i);
    case Op::VEXTRACTF128:
    case Op::VEXTRACTI128: return then_next<extract_half>;
    case Op::VMASKMOVPS:
    case Op::VPMASKMOVD: return masked<i32>(i);
    case Op::VMASKMOVPD:
    case Op::VPMASKMOVQ: return masked<i64>(i);
    case Op::VZEROALL: return then_next<clear_words<0>>;
    case Op::VZEROUPPER: return then_next<clear_words<2>>;
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
