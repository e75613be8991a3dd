// F16C: between half and single precision (SDM vol. 1, 14.4; vol. 2, VCVTPH2PS, VCVTPS2PH). Every half is exact in single
// precision. MXCSR.DAZ does not concern halves, FTZ does not concern half results.
#include "cpu/exec/float_bits.h"
#include "cpu/exec/host_sse.h"

namespace nestwalk::cpu {
namespace {

using Half = Format<u16>;
using Single = Format<u32>;

u32 single_of(u16 h, u32& found) {
  constexpr unsigned shift = Single::fraction_bits - Half::fraction_bits;
  const u32 sign = static_cast<u32>(h & Half::sign) << 16, magnitude = Half::magnitude(h);
  if (Half::is_nan(h)) {
    if (Half::is_signalling(h)) found |= mxcsr::ie;
    return sign | Single::infinity | Single::quiet | (magnitude - Half::infinity) << shift;
  }
  if (Half::is_infinite(h)) return sign | Single::infinity;
  if (!magnitude) return sign;
  u32 none = 0;
  return round_to_format<u32>(taken_apart(h),
                              {.mode = 0, .flush_tiny = false, .masks_overflow = true, .masks_underflow = true}, none);
}

u16 half_of(u32 v, unsigned mode, u32 guest, u32& found) {
  constexpr unsigned shift = Single::fraction_bits - Half::fraction_bits;
  const u16 sign = static_cast<u16>((v & Single::sign) >> 16);
  if (Single::is_nan(v)) {
    if (Single::is_signalling(v)) found |= mxcsr::ie;
    const u16 payload = static_cast<u16>((Single::magnitude(v) - Single::infinity) >> shift);
    return static_cast<u16>(sign | Half::infinity | Half::quiet | payload);
  }
  if (Single::is_infinite(v)) return sign | Half::infinity;
  const bool denormal = Single::is_denormal(v);
  if (!Single::magnitude(v) || (denormal && (guest & mxcsr::daz))) return sign;
  if (denormal) found |= mxcsr::de;
  const u32 unmasked = mxcsr::unmasked(guest);
  // Measured on Intel cores: an unmasked underflow of a denormal source counts as rounded, whatever its bits.
  if (denormal && (unmasked & mxcsr::ue)) found |= mxcsr::pe;
  return round_to_format<u16>(taken_apart(v),
                              {.mode = mode,
                               .flush_tiny = false,
                               .masks_overflow = !(unmasked & mxcsr::oe),
                               .masks_underflow = !(unmasked & mxcsr::ue)},
                              found);
}

struct FromHalf {
  template <unsigned N>
  Lanes<N> operator()(Cpu& c, const Lanes<N>&, const Lanes<N>& b) const {
    u32 found = 0;
    Lanes<N> r;
    for (unsigned k = 0; k < N * 2; ++k) r.template set<u32>(k, single_of(b.template get<u16>(k), found));
    merge_flags(c, found);
    return r;
  }
};

/// VCVTPS2PH: imm bit 2 takes MXCSR's rounding mode, else bits 1:0 are the mode. The result is half as long as the source.
template <class E>
void to_half(Cpu& c, const Insn& i) {
  E::require(c);
  const typename E::Value v = E::get(c, i.reg[1]);
  const unsigned mode = i.imm & 4 ? c.s.mxcsr >> mxcsr::rc_shift & 3 : i.imm & 3;
  u32 found = 0;
  Lanes<2> r = Lanes<2>::zero();
  for (unsigned k = 0; k < E::words * 2; ++k) r.set<u16>(k, half_of(v.template get<u32>(k), mode, c.s.mxcsr, found));
  merge_flags(c, found);
  if (i.kind[0] != Operand::mem)
    Vex128::set(c, i.reg[0], r);
  else if constexpr (E::words == 2)
    c.store<u64>(i, r.q[0]);
  else
    c.store(i, r);
}

}  // namespace

Handler bind_f16c(const Insn& i) {
  if (i.op == Op::VCVTPH2PS) return xmm_or_ymm<FromHalf, 8>(i);
  return i.has(Insn::kWide) ? then_next<to_half<Vex256>> : then_next<to_half<Vex128>>;
}

}  // namespace nestwalk::cpu
