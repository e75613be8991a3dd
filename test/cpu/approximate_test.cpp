// Reciprocals with 12 bits and the x87 transcendentals: errors against independent references, special values to the bit.
#include "cpu/exec/approximate.h"

#include <cmath>
#include <cstring>

#include "base/random.h"
#include "cpu/exec/transcendental.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::cpu;

namespace {

float single(u32 v) {
  float f;
  std::memcpy(&f, &v, 4);
  return f;
}
u32 image(float f) {
  u32 v;
  std::memcpy(&v, &f, 4);
  return v;
}
F80 extended(long double v) {
  F80 f;
  std::memcpy(&f.significand, &v, 8);
  std::memcpy(&f.sign_exponent, reinterpret_cast<const u8*>(&v) + 8, 2);
  return f;
}
long double number(const F80& f) {
  long double v = 0;
  std::memcpy(&v, &f.significand, 8);
  std::memcpy(reinterpret_cast<u8*>(&v) + 8, &f.sign_exponent, 2);
  return v;
}
const host::Environment kMasked(0x37f, 0);

/// Distance in units of the last place of `expected`.
long double ulps(long double value, long double expected) {
  int e;
  std::frexp(expected, &e);
  return std::fabs(value - expected) / std::ldexp(1.0L, e - 64);
}

/// Against the C library, whose own error is below a unit for most functions: both together below 1.6.
template <class Ours, class Reference>
void compare(Ours ours, Reference reference, long double from, long double to, long double bound = 1.6L) {
  Random random(5);
  for (int n = 0; n < 4000; ++n) {
    const long double x = from + (to - from) * (static_cast<long double>(random.next()) / 0x1p64L);
    if (x == 0) continue;
    const long double expected = reference(x), value = number(ours(extended(x)));
    INFO(static_cast<double>(x));
    REQUIRE(ulps(value, expected) < bound);
  }
}

/// 2^x - 1 with the product x * ln 2 kept to twice the precision.
long double two_to_the_minus_1(long double x) {
  constexpr long double high = 0.693147180559945309417232121458L, low = -1.14583527267987328E-20L;
  const long double product = x * high, rest = std::fma(x, high, -product) + x * low;
  return std::expm1(product) + rest * std::exp(product);
}

}  // namespace

TEST_CASE("approximate reciprocals err by less than 2^-12 everywhere, as the manual's 1.5 * 2^-12 allows") {
  Random random(3);
  for (int n = 0; n < 300000; ++n) {
    const u32 x = static_cast<u32>(random.next());
    const float v = single(x);
    if (!std::isnormal(v) || std::fabs(v) > 0x1p125f) continue;
    REQUIRE(std::fabs(static_cast<double>(single(approximate_reciprocal(x))) * v - 1) < 0x1p-12);
    if (v > 0) {
      const double root = single(approximate_reciprocal_root(x));
      REQUIRE(std::fabs(root * std::sqrt(static_cast<double>(v)) - 1) < 0x1p-12);
    }
  }
}

TEST_CASE("approximate reciprocals of special values are those of the manual") {
  CHECK(approximate_reciprocal(image(1)) == image(1));
  CHECK(approximate_reciprocal(image(-4)) == image(-0.25f));
  CHECK(approximate_reciprocal(0) == 0x7f800000);
  CHECK(approximate_reciprocal(0x80000001) == 0xff800000);  // a denormal is a zero
  CHECK(approximate_reciprocal(0xff800000) == 0x80000000);
  CHECK(approximate_reciprocal(0x7f800001) == 0x7fc00001);
  CHECK(approximate_reciprocal(0x7f7fffff) == 0);  // below the normal range
  CHECK(approximate_reciprocal_root(image(4)) == image(0.5f));
  CHECK(approximate_reciprocal_root(0x80000000) == 0xff800000);
  CHECK(approximate_reciprocal_root(image(-1)) == 0xffc00000);
  CHECK(approximate_reciprocal_root(0x7f800000) == 0);
}

TEST_CASE("x87 transcendentals lie within a unit in the last place of the true value") {
  // Below pi / 2 the 66-bit reduction does not show.
  compare([](const F80& x) { return exact::sine(kMasked, x).value; }, [](long double x) { return std::sin(x); }, -0.78L,
          0.78L);
  compare([](const F80& x) { return exact::cosine(kMasked, x).value; }, [](long double x) { return std::cos(x); }, -0.78L,
          0.78L);
  compare([](const F80& x) { return exact::tangent(kMasked, x).second; }, [](long double x) { return std::tan(x); }, -0.78L,
          0.78L);
  compare([](const F80& x) { return exact::power_of_two(kMasked, x).value; }, two_to_the_minus_1, 0.01L, 1.0L,
          3.6L);  // glibc's expm1l errs by up to three
  compare([](const F80& x) { return exact::arctangent(kMasked, extended(1), x).value; },
          [](long double x) { return std::atan(x); }, -1000.0L, 1000.0L);
  compare([](const F80& x) { return exact::arctangent(kMasked, extended(-3), x).value; },
          [](long double x) { return std::atan2(x, -3.0L); }, -10.0L, 10.0L);
  compare([](const F80& x) { return exact::y_log2_x(kMasked, x, extended(1)).value; },
          [](long double x) { return std::log2(x); }, 0.0L, 50.0L);
}

TEST_CASE("large angles are reduced by the 66-bit pi") {
  // 3 * 2^-65 is what the true pi has and the 66-bit one has not, to a first digit: sin of 64-bit pi shows it.
  const F80 pi{0xc90fdaa22168c235, 0x4000};
  const F80 s = exact::sine(kMasked, pi).value;
  // pi66 - pi64 = C90FDAA22168C234C - C90FDAA22168C2350 = -4 units of 2^-66.
  CHECK(number(s) == -0x1p-64L);
  const auto out = exact::sine(kMasked, F80{u64{1} << 63, 0x403e});  // 2^63
  CHECK((out.status & 0x400) != 0);                                  // C2
}

TEST_CASE("rounding control decides the last bit, and C1 tells") {
  const F80 x = extended(0.5L);
  const host::Environment down(0x77f, 0), up(0xb7f, 0);
  const auto low = exact::sine(down, x), high = exact::sine(up, x);
  CHECK(high.value.significand == low.value.significand + 1);
  CHECK((low.status & 0x200) == 0);
  CHECK((high.status & 0x200) != 0);
  CHECK((low.status & 0x3f) == 0x20);
}

TEST_CASE("underflow of a transcendental is denormal when masked and scaled when not") {
  const F80 tiny{u64{1} << 63, 1}, half = extended(0.5L);
  const auto masked = exact::y_log2_x(kMasked, extended(1.4142135L), tiny);  // about 2^-16382 / 2
  CHECK(masked.value.sign_exponent == 0);
  CHECK((masked.status & 0x30) == 0x30);
  const auto scaled = exact::y_log2_x(host::Environment(0x36f, 0), extended(1.4142135L), tiny);
  CHECK(scaled.value.sign_exponent == 24575);
  CHECK(scaled.value.significand >> 63 == 1);
  CHECK(exact::power_of_two(kMasked, half).value.sign_exponent == 0x3ffd);
}
