#include "cpu/exec/transcendental.h"

#include <array>
#include <bit>

#include "base/bits.h"
#include "cpu/exec/mmx_state.h"

namespace nestwalk::cpu::exact {
namespace {

using Quad = __float128;  // 113 bits, computed in integers by the compiler's library: the same on every host

// ---- quads as bits -----------------------------------------------------------------------------------------------------

constexpr int kQuadBias = 16383;
constexpr unsigned kQuadFraction = 112;

u128 image(Quad q) { return __builtin_bit_cast(u128, q); }
int exponent_of(Quad q) { return static_cast<int>((image(q) >> kQuadFraction) & 0x7fff) - kQuadBias; }
/// q * 2^n; the result must be normal.
Quad scaled(Quad q, int n) {
  return __builtin_bit_cast(Quad, image(q) + (static_cast<u128>(static_cast<i128>(n)) << kQuadFraction));
}
Quad magnitude(Quad q) { return q < 0 ? -q : q; }

// ---- operands ----------------------------------------------------------------------------------------------------------

/// A finite number that is not zero: significand * 2^(exponent - 63), the leading bit set.
struct Finite {
  bool negative;
  bool denormal;
  u64 significand;
  int exponent;
  /// In [1, 2).
  Quad fraction() const { return scaled(static_cast<Quad>(significand), -63); }
  /// Only where the exponent is that of a normal quad.
  Quad value() const { return scaled(negative ? -fraction() : fraction(), exponent); }
};

constexpr u64 kLeading = u64{1} << 63;

bool is_finite(const F80& v) {  // and not zero, and of a supported encoding
  const unsigned e = v.sign_exponent & 0x7fff;
  return e == 0 ? v.significand != 0 : e != 0x7fff && (v.significand & kLeading);
}
bool is_zero(const F80& v) { return !(v.sign_exponent & 0x7fff) && v.significand == 0; }
bool is_infinite(const F80& v) { return (v.sign_exponent & 0x7fff) == 0x7fff && v.significand == kLeading; }
bool is_negative(const F80& v) { return v.sign_exponent >> 15; }

Finite finite(const F80& v) {
  const int e = v.sign_exponent & 0x7fff;
  const int shift = std::countl_zero(v.significand);
  return {is_negative(v), e == 0, v.significand << shift, (e ? e : 1) - 16383 - shift};
}

// ---- results -----------------------------------------------------------------------------------------------------------

/// |q| * 2^scale, and whether what q stands for lies a trace below or above it.
struct Exact {
  bool negative = false;
  Quad q = 0;
  int scale = 0;
  enum Trace : i8 { below = -1, none = 0, above = 1 } trace = none;
};

enum Rounding : u8 { nearest, down, up, to_zero };

/// Rounds up a significand whose cut-off part is `rest` in units where one in the last place is `unit`?
bool rounds_up(Rounding mode, bool negative, bool odd, u128 rest, u128 unit) {
  switch (mode) {
    case nearest: return rest > unit / 2 || (rest == unit / 2 && odd);
    case down: return negative && rest;
    case up: return !negative && rest;
    default: return false;
  }
}

struct Rounded {
  u64 significand;
  int exponent;
  bool upwards;
};

/// To 64 bits, or as many fewer as the exponent lies below `least`.
Rounded round_at(const Exact& x, Rounding mode, int least) {
  // Three bits below the quad's for the trace.
  u128 bits = ((image(magnitude(x.q)) & ((u128{1} << kQuadFraction) - 1)) | u128{1} << kQuadFraction) << 3;
  bits += static_cast<u128>(static_cast<i128>(x.trace));
  int exponent = exponent_of(x.q) + x.scale;
  if (!(bits >> (kQuadFraction + 3))) {
    bits <<= 1;
    --exponent;
  }
  unsigned cut = kQuadFraction + 3 - 63;
  if (exponent < least) {
    const int more = least - exponent;
    if (more > 64)
      bits = 1, cut = 64;
    else
      cut += static_cast<unsigned>(more);
    exponent = least;
  }
  const u128 unit = u128{1} << cut;
  u64 kept = cut < 128 ? static_cast<u64>(bits >> cut) : 0;
  const u128 rest = bits & (unit - 1);
  const bool upwards = rounds_up(mode, x.negative, kept & 1, rest, unit);
  if (upwards && ++kept == 0) {
    kept = kLeading;
    ++exponent;
  }
  return {kept, exponent, upwards};
}

constexpr int kLeast = -16382, kMost = 16383, kWrap = 24576;

F80 packed(bool negative, u64 significand, int exponent) {
  const int biased = significand & kLeading ? exponent + 16383 : 0;
  return {significand, static_cast<u16>(biased | (negative ? 0x8000 : 0))};
}

/// Rounds, and answers underflow and overflow as they are masked (SDM vol. 1, 4.9.1.4, 4.9.1.5, 8.5.4, 8.5.5). Precision is
/// always lost, even where the result happens to be exact, as on Intel's processors.
F80 rounded(const Environment& env, const Exact& x, u16& status) {
  const Rounding mode = static_cast<Rounding>((env.control >> 10) & 3);
  Rounded r = round_at(x, mode, -1'000'000);
  if (r.exponent < kLeast) {
    if (env.control & fsw::ue) {
      r = round_at(x, mode, kLeast);
    } else {
      r.exponent += kWrap;
    }
    status |= fsw::ue;
  } else if (r.exponent > kMost) {
    status |= fsw::oe;
    if (env.control & fsw::oe) {
      const bool to_infinity = mode == nearest || mode == (x.negative ? down : up);
      status = static_cast<u16>((status & ~fsw::c1) | fsw::pe | (to_infinity ? fsw::c1 : 0));
      return to_infinity ? packed(x.negative, kLeading, kMost + 1) : packed(x.negative, ~u64{0}, kMost);
    }
    r.exponent -= kWrap;
  }
  status = static_cast<u16>((status & ~fsw::c1) | fsw::pe | (r.upwards ? fsw::c1 : 0));
  return packed(x.negative, r.significand, r.exponent);
}

Exact exactly(Quad q, int scale = 0, Exact::Trace trace = Exact::none) { return {q < 0, magnitude(q), scale, trace}; }

/// The status word that an instruction starts from: conditions as they were but for C1.
u16 begin(const Environment& env) { return static_cast<u16>(env.status & ~fsw::c1); }
/// With a denormal operand reported, which stops the instruction if it is unmasked.
Outcome begin(const Environment& env, bool denormal, bool& goes_on) {
  Outcome o{{}, {}, static_cast<u16>(begin(env) | (denormal ? fsw::de : 0))};
  goes_on = !denormal || (env.control & fsw::de);
  return o;
}

// ---- series ------------------------------------------------------------------------------------------------------------

constexpr auto kInverseFactorial = [] {
  std::array<Quad, 40> t{};
  Quad f = 1;
  for (int n = 0; n < 40; ++n) {
    if (n) f *= n;
    t[static_cast<unsigned>(n)] = 1 / f;
  }
  return t;
}();

/// The sum over k of +-z^k / (2k + first)!: sin(y) / y and cos(y) in z = y * y, |y| < 0.8.
Quad alternating(Quad z, unsigned first) {
  Quad sum = 0;
  for (unsigned k = 16; k--;) sum = kInverseFactorial[2 * k + first] - z * sum;
  return sum;
}
Quad sine_over(Quad y) { return alternating(y * y, 1); }
Quad cosine_of(Quad y) { return alternating(y * y, 0); }

/// e^z - 1 for |z| < 0.7, without cancellation near 0.
Quad exponential_minus_1(Quad z) {
  Quad sum = 0;
  for (unsigned n = 36; n; --n) sum = kInverseFactorial[n] + z * sum;
  return z * sum;
}

/// atanh(s) / s, |s| < 0.18, in z = s * s; with z = -s * s: atan(s) / s.
constexpr Quad odd_series(Quad z, int terms) {
  Quad sum = 0;
  for (int n = terms; n >= 0; --n) sum = 1 / static_cast<Quad>(2 * n + 1) + z * sum;
  return sum;
}

/// arctan(k / 16), each from the one before by the addition theorem.
constexpr auto kArctangent = [] {
  std::array<Quad, 17> t{};
  for (int k = 0; k < 16; ++k) {
    const Quad u = static_cast<Quad>(16) / (256 + k * (k + 1));
    t[static_cast<unsigned>(k) + 1] = t[static_cast<unsigned>(k)] + u * odd_series(-u * u, 16);
  }
  return t;
}();
constexpr Quad kPi = 4 * kArctangent[16];

/// ln 2 = 2 atanh(1/3).
constexpr Quad kLn2 = 2 * odd_series(static_cast<Quad>(1) / 9, 40) / 3;

/// arctan(t), 0 <= t <= 1.
Quad arctangent_of(Quad t) {
  const int k = static_cast<int>(t * 16 + static_cast<Quad>(0.5));
  const Quad c = static_cast<Quad>(k) / 16;
  const Quad u = (t - c) / (1 + t * c);
  return kArctangent[static_cast<unsigned>(k)] + u * odd_series(-u * u, 14);
}

/// log2(1 + x) for x close enough to 0.
Quad log2_near_1(Quad x) {
  const Quad s = x / (2 + x);
  return 2 * s * odd_series(s * s, 26) / kLn2;
}

// ---- sine, cosine, tangent ---------------------------------------------------------------------------------------------

/// y = |x| - quadrant * pi / 2, |y| <= pi / 4, by the 66-bit pi: exact.
struct Reduced {
  Quad y;
  unsigned quadrant;
};

constexpr u128 kHalfPi = u128{0xc} << 64 | 0x90fdaa22168c234c;  ///< * 2^-67

Reduced reduce(const Finite& x) {
  const int shift = x.exponent - 63 + 67;
  if (shift < 0) return {Finite{false, false, x.significand, x.exponent}.value(), 0};  // |x| < 1/8
  u128 rest = x.significand;
  unsigned quadrant = 0;
  for (int n = 0; n < shift; ++n) {
    rest <<= 1;
    quadrant <<= 1;
    if (rest >= kHalfPi) {
      rest -= kHalfPi;
      ++quadrant;
    }
  }
  const bool beyond = rest > kHalfPi / 2;
  const u128 size = beyond ? kHalfPi - rest : rest;
  const Quad y = size ? scaled(static_cast<Quad>(size), -67) : Quad{0};
  return {beyond ? -y : y, (quadrant + beyond) & 3};
}

/// The argument is smaller than any term of a series beyond the first could show.
constexpr int kTiny = -70;

Exact sine_exactly(const Finite& x) {
  if (x.exponent < kTiny) return {x.negative, x.fraction(), x.exponent, Exact::below};
  const Reduced r = reduce(x);
  Quad s = r.quadrant & 1 ? cosine_of(r.y) : r.y * sine_over(r.y);
  if (r.quadrant & 2) s = -s;
  return exactly(x.negative ? -s : s);
}
Exact cosine_exactly(const Finite& x) {
  if (x.exponent < kTiny) return {false, 1, 0, Exact::below};
  const Reduced r = reduce(x);
  const Quad c = r.quadrant & 1 ? -r.y * sine_over(r.y) : cosine_of(r.y);
  return exactly(r.quadrant & 2 ? -c : c);
}
Exact tangent_exactly(const Finite& x) {
  if (x.exponent < kTiny) return {x.negative, x.fraction(), x.exponent, Exact::above};
  const Reduced r = reduce(x);
  const Quad s = r.y * sine_over(r.y), c = cosine_of(r.y);
  const Quad t = r.quadrant & 1 ? -c / s : s / c;
  return exactly(x.negative ? -t : t);
}

/// Zeros, infinities, NaNs, unsupported encodings and arguments from 2^63 on: defined by the manual to the bit.
bool is_ordinary_angle(const F80& a) { return is_finite(a) && (a.sign_exponent & 0x7fff) < 16383 + 63; }

/// C2 clear: the argument is in range.
Outcome begin_angle(const Environment& env, const Finite& x, bool& goes_on) {
  Outcome o = begin(env, x.denormal, goes_on);
  o.status &= static_cast<u16>(~fsw::c2);
  return o;
}

// ---- arctangent --------------------------------------------------------------------------------------------------------

/// arctan(y / x) for y and x above 0, with the quadrants of a negative x; y and x finite.
Exact arctangent_exactly(const Finite& y, const Finite& x) {
  const int scale = y.exponent - x.exponent;
  const Quad ratio = y.fraction() / x.fraction();
  if (scale < kTiny && !x.negative) return {y.negative, ratio, scale, Exact::below};
  const bool steep = scale > 0 || (scale == 0 && ratio > 1);
  Quad angle;
  if (steep) {
    const Quad small = scale > 200 ? Quad{0} : arctangent_of(scaled(1 / ratio, -scale));
    angle = x.negative ? kPi / 2 + small : kPi / 2 - small;
  } else {
    const Quad small = scale < -200 ? Quad{0} : arctangent_of(scaled(ratio, scale));
    angle = x.negative ? kPi - small : small;
  }
  return {y.negative, angle, 0};
}

/// Angles between the axes, for zeros and infinities, in eighths of a turn; sign of y.
F80 eighths(const Environment& env, bool negative, int n, u16& status) {
  if (n == 0) return packed(negative, 0, 0);
  return rounded(env, {negative, kPi * n / 4, 0}, status);
}

// ---- logarithms --------------------------------------------------------------------------------------------------------

/// log2(m * 2^e), 1 <= m < 2.
Quad log2_of(Quad m, int e) {
  if (m > static_cast<Quad>(1.41421356)) {
    m = scaled(m, -1);
    ++e;
  }
  return e + log2_near_1(m - 1);
}

/// y * logarithm; a logarithm of 0 has the sign of plus.
F80 product(const Environment& env, const Finite& y, Quad logarithm, int scale, u16& status) {
  if (logarithm == 0) return packed(y.negative, 0, 0);
  Exact x = exactly(y.fraction() * logarithm, y.exponent + scale);
  x.negative = y.negative != (logarithm < 0);
  return rounded(env, x, status);
}

}  // namespace

Outcome sine(const Environment& env, const F80& a) {
  if (!is_ordinary_angle(a)) return host::sine(env, a);
  const Finite x = finite(a);
  bool goes_on;
  Outcome o = begin_angle(env, x, goes_on);
  if (!goes_on) return o;
  o.value = rounded(env, sine_exactly(x), o.status);
  return o;
}

Outcome cosine(const Environment& env, const F80& a) {
  if (!is_ordinary_angle(a)) return host::cosine(env, a);
  const Finite x = finite(a);
  bool goes_on;
  Outcome o = begin_angle(env, x, goes_on);
  if (!goes_on) return o;
  o.value = rounded(env, cosine_exactly(x), o.status);
  return o;
}

Outcome sine_cosine(const Environment& env, const F80& a) {
  if (!is_ordinary_angle(a)) return host::sine_cosine(env, a);
  const Finite x = finite(a);
  bool goes_on;
  Outcome o = begin_angle(env, x, goes_on);
  if (!goes_on) return o;
  o.second = rounded(env, sine_exactly(x), o.status);
  o.value = rounded(env, cosine_exactly(x), o.status);
  return o;
}

Outcome tangent(const Environment& env, const F80& a) {
  if (!is_ordinary_angle(a)) return host::tangent(env, a);
  const Finite x = finite(a);
  bool goes_on;
  Outcome o = begin_angle(env, x, goes_on);
  if (!goes_on) return o;
  o.value = packed(false, kLeading, 0);
  o.second = rounded(env, tangent_exactly(x), o.status);
  return o;
}

Outcome arctangent(const Environment& env, const F80& a, const F80& b) {
  const auto number = [](const F80& v) { return is_finite(v) || is_zero(v) || is_infinite(v); };
  if (!number(a) || !number(b)) return host::arctangent(env, a, b);
  const bool denormal = (is_finite(a) && finite(a).denormal) || (is_finite(b) && finite(b).denormal);
  bool goes_on;
  Outcome o = begin(env, denormal, goes_on);
  if (!goes_on) return o;
  if (is_finite(a) && is_finite(b)) {
    o.value = rounded(env, arctangent_exactly(finite(b), finite(a)), o.status);
  } else if (is_infinite(a) && is_infinite(b)) {
    o.value = eighths(env, is_negative(b), is_negative(a) ? 3 : 1, o.status);
  } else if (is_zero(b) || is_infinite(a)) {
    o.value = eighths(env, is_negative(b), is_negative(a) ? 4 : 0, o.status);
  } else {
    o.value = eighths(env, is_negative(b), 2, o.status);
  }
  return o;
}

Outcome power_of_two(const Environment& env, const F80& a) {
  if (is_infinite(a)) return {is_negative(a) ? packed(true, kLeading, 0) : a, {}, begin(env)};
  if (!is_finite(a)) return host::power_of_two(env, a);
  const Finite x = finite(a);
  bool goes_on;
  Outcome o = begin(env, x.denormal, goes_on);
  if (!goes_on) return o;
  const bool at_most_1 = x.exponent < 0 || (x.exponent == 0 && x.significand == kLeading);
  if (!at_most_1) {
    o.value = a;
    o.status |= fsw::pe;
  } else if (x.exponent == 0) {
    o.value = rounded(env, {x.negative, 1, x.negative ? -1 : 0}, o.status);
  } else if (x.exponent < -120) {
    o.value = rounded(env, {x.negative, x.fraction() * kLn2, x.exponent}, o.status);
  } else {
    o.value = rounded(env, exactly(exponential_minus_1(x.value() * kLn2)), o.status);
  }
  return o;
}

Outcome y_log2_x(const Environment& env, const F80& a, const F80& b) {
  if (!is_finite(a) || !is_finite(b) || is_negative(a)) return host::y_log2_x(env, a, b);
  const Finite x = finite(a), y = finite(b);
  bool goes_on;
  Outcome o = begin(env, x.denormal || y.denormal, goes_on);
  if (!goes_on) return o;
  o.value = product(env, y, log2_of(x.fraction(), x.exponent), 0, o.status);
  return o;
}

Outcome y_log2_x_plus_1(const Environment& env, const F80& a, const F80& b) {
  if (!is_finite(a) || !is_finite(b)) return host::y_log2_x_plus_1(env, a, b);
  const Finite x = finite(a), y = finite(b);
  bool goes_on;
  Outcome o = begin(env, x.denormal || y.denormal, goes_on);
  if (!goes_on) return o;
  // The manual defines |x| < 1 - sqrt(1/2). Beyond, the function simply goes on; below its domain it gives back x.
  if (x.negative && x.exponent >= 0) {
    o.value = a;
    o.status |= fsw::pe;
  } else if (x.exponent < -120) {  // log2(1 + x) is x / ln 2 to all the bits there are
    const Quad slope = x.fraction() / kLn2;
    o.value = product(env, y, x.negative ? -slope : slope, x.exponent, o.status);
  } else {
    const Quad v = x.value(), u = 1 + v;
    const bool near_1 = v > static_cast<Quad>(-0.3) && v < static_cast<Quad>(0.42);
    const Quad logarithm = near_1 ? log2_near_1(v) : log2_of(scaled(u, -exponent_of(u)), exponent_of(u));
    o.value = product(env, y, logarithm, 0, o.status);
  }
  return o;
}

}  // namespace nestwalk::cpu::exact
