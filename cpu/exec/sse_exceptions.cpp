// MXCSR flags of arithmetic whose overflow or underflow exception is unmasked (SDM vol. 1, 4.9.1.4, 4.9.1.5, 11.5.2). The
// host computes with every exception masked, and three things differ then: FTZ works, an exact tiny result raises nothing,
// and precision is judged after the exponent was forced into range. The last is found by computing in the next wider
// format, where nothing can leave the range: the result is exact iff it is exact there and its significand is short enough.
#include <bit>

#include "cpu/exec/host_sse.h"

namespace nestwalk::cpu {
namespace {

/// Length of the significand from its first to its last one bit.
unsigned significant_bits(u64 significand) {
  return significand ? static_cast<unsigned>(std::bit_width(significand) - std::countr_zero(significand)) : 0;
}
unsigned significant_bits(double v) {
  const u64 raw = std::bit_cast<u64>(v), fraction = raw & low_mask(52);
  return significant_bits(raw >> 52 & 0x7ff ? fraction | bit(52) : fraction);
}

/// Single precision, computed in double.
bool inexact_unbounded(Fp kind, float a, float b) {
  double x = a, y = b;
  const u32 found = under_mxcsr(mxcsr::masks, [&] {
    switch (kind) {
      case Fp::add: asm volatile("addsd %1, %0" : "+x"(x) : "x"(y)); break;
      case Fp::sub: asm volatile("subsd %1, %0" : "+x"(x) : "x"(y)); break;
      case Fp::mul: asm volatile("mulsd %1, %0" : "+x"(x) : "x"(y)); break;
      default: asm volatile("divsd %1, %0" : "+x"(x) : "x"(y)); break;
    }
  });
  return (found & mxcsr::pe) || significant_bits(x) > 24;
}

/// Double precision, computed in the x87 format (the control word's default: 64 bits of precision, all masked).
bool inexact_unbounded(Fp kind, double a, double b) {
  long double x = a;
  const long double y = b;
  asm volatile("fnclex");
  switch (kind) {
    case Fp::add: asm volatile("fadd %1, %0" : "+t"(x) : "f"(y)); break;
    case Fp::sub: asm volatile("fsub %1, %0" : "+t"(x) : "f"(y)); break;
    case Fp::mul: asm volatile("fmul %1, %0" : "+t"(x) : "f"(y)); break;
    default: asm volatile("fdiv %1, %0" : "+t"(x) : "f"(y)); break;
  }
  u16 status;
  asm volatile("fnstsw %0" : "=am"(status) : "t"(x));
  u64 significand;
  __builtin_memcpy(&significand, &x, sizeof significand);
  return (status & fsw::pe) || significant_bits(significand) > 53;
}

template <class Op>
u32 flags_of(u32 guest, Xmm a, Xmm b, Xmm& result) {
  const u32 found = under_mxcsr(guest, [&] { Op::run(a, b); });
  result = a;
  return found;
}

/// One element, masked: flags and the result's raw bits in the lowest element.
u32 run_element(Fp kind, bool is_double, u32 guest, Xmm a, Xmm b, Xmm& r) {
  using namespace host;
  switch (kind) {
    case Fp::add: return is_double ? flags_of<AddSd>(guest, a, b, r) : flags_of<AddSs>(guest, a, b, r);
    case Fp::sub: return is_double ? flags_of<SubSd>(guest, a, b, r) : flags_of<SubSs>(guest, a, b, r);
    case Fp::mul: return is_double ? flags_of<MulSd>(guest, a, b, r) : flags_of<MulSs>(guest, a, b, r);
    case Fp::div: return is_double ? flags_of<DivSd>(guest, a, b, r) : flags_of<DivSs>(guest, a, b, r);
    default: return flags_of<CvtSdSs>(guest, a, b, r);
  }
}

bool is_denormal(u64 raw, bool is_double) {
  return is_double ? !(raw >> 52 & 0x7ff) && (raw & low_mask(52)) : !(raw >> 23 & 0xff) && (raw & low_mask(23));
}

/// DAZ turns denormal operands into zeros of their sign.
u64 operand(u64 raw, bool is_double, u32 guest) {
  if (!(guest & mxcsr::daz) || !is_denormal(raw, is_double)) return raw;
  return raw & (is_double ? bit(63) : bit(31));
}

bool inexact_element(FpShape shape, u64 a, u64 b) {
  if (shape.kind == Fp::narrow) return significant_bits(std::bit_cast<double>(b)) > 24;
  if (shape.is_double) return inexact_unbounded(shape.kind, std::bit_cast<double>(a), std::bit_cast<double>(b));
  return inexact_unbounded(shape.kind, std::bit_cast<float>(static_cast<u32>(a)),
                           std::bit_cast<float>(static_cast<u32>(b)));
}

u32 element_flags(FpShape shape, u32 guest, u64 a, u64 b) {
  const u32 unmasked = mxcsr::unmasked(guest);
  const u32 control = unmasked & mxcsr::ue ? guest & ~mxcsr::ftz : guest;
  Xmm r;
  u32 found = run_element(shape.kind, shape.is_double, control, Xmm{static_cast<i64>(a)}, Xmm{static_cast<i64>(b)}, r);
  if (found & mxcsr::ie || (found & mxcsr::ze)) return found;
  const bool narrow_result = shape.kind == Fp::narrow || !shape.is_double;
  if (unmasked & mxcsr::ue && is_denormal(static_cast<u64>(r[0]), !narrow_result)) found |= mxcsr::ue;
  if (found & unmasked & (mxcsr::oe | mxcsr::ue)) {
    found &= ~mxcsr::pe;
    if (inexact_element(shape, operand(a, shape.is_double, guest), operand(b, shape.is_double, guest))) found |= mxcsr::pe;
  }
  return found;
}

}  // namespace

void raise_simd(Cpu& c, u32 found) {
  constexpr u32 before_computing = mxcsr::ie | mxcsr::de | mxcsr::ze;
  if (found & mxcsr::unmasked(c.s.mxcsr) & before_computing) found &= before_computing;
  c.s.mxcsr |= found;
  if (!(c.s.cr4 & mmu::cr4::osxmmexcpt)) c.ud();
  c.raise(ex::xm);
}

u32 flags_when_unmasked(FpShape shape, u32 guest, const Lanes<2>& a, const Lanes<2>& b) {
  u32 found = 0;
  for (unsigned k = 0; k < shape.elements; ++k)
    found |= shape.is_double ? element_flags(shape, guest, a.q[k], b.q[k])
                             : element_flags(shape, guest, a.get<u32>(k), b.get<u32>(k));
  return found;
}

}  // namespace nestwalk::cpu
