// x87 instructions on the emulated processor and on the host's: registers, tags, status and control word, memory and
// exceptions, masked and unmasked, under every precision and rounding control. Reference: the silicon.
#include "test/oracle/compare.h"
#include "test/oracle/forms.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

constexpr unsigned kRounds = 800;

template <class T>
void put(OracleCase& c, unsigned at, T v) {
  std::memcpy(&c.state.fx[at], &v, sizeof v);
}

struct Extended {
  u64 significand;
  u16 sign_exponent;
};

/// 80-bit values of every class: zeros, denormals, pseudo-denormals, normals near and far, unsupported encodings,
/// infinities, NaNs of both kinds, integers near the limits of the integer formats.
Extended draw_extended(Random& random) {
  const u16 sign = random.below(2) ? 0x8000 : 0;
  const auto with = [&](u64 significand, unsigned exponent) {
    return Extended{significand, static_cast<u16>(sign | exponent)};
  };
  constexpr u64 j = u64{1} << 63;
  switch (random.below(20)) {
    case 0: return with(0, 0);
    case 1: return with(random.next() >> (1 + random.below(62)), 0);
    case 2: return with(j | random.next(), 0);
    case 3: return with(random.next() & ~j, static_cast<unsigned>(random.below(0x7fff)));
    case 4: return with(j, 0x7fff);
    case 5: return with(j | j >> 1 | random.next(), 0x7fff);
    case 6: return with(j | (random.next() & ((j >> 1) - 1)) | 1, 0x7fff);
    case 7: return with(j | random.next(), static_cast<unsigned>(random.below(0x7fff)));
    case 8: return with(j | random.next(), 1 + static_cast<unsigned>(random.below(80)));
    case 9: return with(j | random.next(), 0x7ffe - static_cast<unsigned>(random.below(80)));
    case 10: return with(j, 0x3fff);
    case 11: return with(j | random.next() << random.below(64), 0x3fff + static_cast<unsigned>(random.below(66)));
    case 12: return with(0xc90fdaa22168c235, 0x3ffe + static_cast<unsigned>(random.below(5)));
    case 13: return with(~u64{0}, 0x3ffe + static_cast<unsigned>(random.below(64)));
    case 14: return with(j | random.next() << 40, 0x3fff - 16382 + static_cast<unsigned>(random.below(16384)));
    case 15: return with(random.below(2) ? 0 : random.next(), random.below(2) ? 0x7fff : 0x4000);
    default: return with(j | random.next(), 0x3fff - 40 + static_cast<unsigned>(random.below(80)));
  }
}

u32 draw_single(Random& random) {
  static constexpr u32 list[] = {0,          0x80000000, 0x3f800000, 0x7f800000, 0xff800000,
                                 0x7fc00001, 0xffa00001, 1,          0x007fffff, 0x7f7fffff};
  return random.below(2) ? list[random.below(std::size(list))] : static_cast<u32>(random.next());
}
u64 draw_double(Random& random) {
  static constexpr u64 list[] = {
      0, u64{1} << 63,       0x3ff0000000000000, 0x7ff0000000000000, 0x7ff8000000000001, 0x7ff0000000000001,
      1, 0x000fffffffffffff, 0x7fefffffffffffff, 0x43e0000000000000};
  return random.below(2) ? list[random.below(std::size(list))] : random.next();
}

/// The memory operand's bytes, of a kind that its size suggests.
void draw_operand(OracleCase& c, unsigned at, unsigned bytes, Random& random) {
  u8* const to = &c.memory[at];
  if (bytes == 4 && random.below(2)) {
    const u32 v = draw_single(random);
    std::memcpy(to, &v, 4);
  } else if (bytes == 8 && random.below(2)) {
    const u64 v = draw_double(random);
    std::memcpy(to, &v, 8);
  } else if (bytes == 10 && random.below(2)) {
    const Extended v = draw_extended(random);
    std::memcpy(to, &v.significand, 8);
    std::memcpy(to + 8, &v.sign_exponent, 2);
  } else if (bytes == 10) {
    for (unsigned n = 0; n < 9; ++n) to[n] = static_cast<u8>(random.below(10) << 4 | random.below(10));
    to[9] = random.below(2) ? 0x80 : 0;
  } else if (random.below(2)) {
    const u64 v = draw_integer(random);
    std::memcpy(to, &v, std::min(bytes, 8u));
  }
}

/// Random control word, tags, top and registers; now and then an exception is already pending.
void draw_x87(OracleCase& c, Random& random) {
  u16 control = static_cast<u16>(0x40 | (random.next() & 0xf00));
  control |= random.below(3) ? 0x3f : random.next() & 0x3f;
  u16 status = static_cast<u16>(random.next() & 0x7f00);
  if (random.below(4) == 0) status |= random.next() & 0x7f;
  if (status & ~control & 0x3f) status |= random.below(3) ? 0 : 0x8080;
  if (!(status & 0x80)) status &= static_cast<u16>(~0x3f | control);  // unmasked and not summarised cannot be
  put<u16>(c, 0, control);
  put<u16>(c, 2, status);
  put<u8>(c, 4, static_cast<u8>(random.below(3) ? 0xff & ~(random.next() & random.next() & random.next()) : random.next()));
  if (random.below(2)) {  // room for a push
    const unsigned top = (status >> 11) & 7;
    c.state.fx[4] &= static_cast<u8>(~(1 << ((top + 7) & 7)));
  }
  for (unsigned n = 0; n < 8; ++n) {
    const Extended v = draw_extended(random);
    put<u64>(c, 32 + 16 * n, v.significand);
    put<u64>(c, 40 + 16 * n, v.sign_exponent);
  }
}

/// Control, status, tag words and the eight registers; pointers and opcode differ by design.
const std::array<u8, 512>& x87_mask() {
  static const std::array<u8, 512> mask = [] {
    std::array<u8, 512> m{};
    for (unsigned n = 0; n < 5; ++n) m[n] = 0xff;
    for (unsigned r = 0; r < 8; ++r)
      for (unsigned n = 0; n < 10; ++n) m[32 + 16 * r + n] = 0xff;
    return m;
  }();
  return mask;
}

/// `prelude` is run before each form.
void check(std::initializer_list<const char*> forms, const char* prelude = "") {
  SnippetMachine machine;
  Random random(30);
  for (const char* text : forms) {
    const Form form(text);
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < kRounds; ++n) {
      Encoding e = encode(form, random);
      const std::vector<u8> before = bytes_of_hex(prelude);
      e.bytes.insert(e.bytes.begin(), before.begin(), before.end());
      const bool waits = random.below(4) == 0;
      if (waits) e.bytes.push_back(0x9b);  // FWAIT: what is pending strikes
      OracleCase c = draw_case(form, e, random);
      draw_x87(c, random);
      if (e.base >= 0) {
        const u64 at = c.state.gpr[static_cast<unsigned>(e.base)] + static_cast<u64>(e.displacement) - kOracleWindow;
        if (at + 16 < kWindow) draw_operand(c, static_cast<unsigned>(at), form.memory_bytes, random);
      }
      cases.push_back(c);
    }
    compare_with_host(
        machine, text, cases, [](const OracleCase&) { return kVisibleFlags; }, &x87_mask());
  }
}

}  // namespace

TEST_CASE("x87 arithmetic between registers agrees with the host") {
  check({"d8 c0 +r", "d8 c8 +r", "d8 e0 +r", "d8 e8 +r", "d8 f0 +r", "d8 f8 +r"});
  check({"dc c0 +r", "dc c8 +r", "dc e0 +r", "dc e8 +r", "dc f0 +r", "dc f8 +r"});
  check({"de c0 +r", "de c8 +r", "de e0 +r", "de e8 +r", "de f0 +r", "de f8 +r"});
}

TEST_CASE("x87 arithmetic with memory agrees with the host") {
  check({"d8 /0 m4", "d8 /1 m4", "d8 /4 m4", "d8 /5 m4", "d8 /6 m4", "d8 /7 m4"});
  check({"dc /0 m8", "dc /1 m8", "dc /4 m8", "dc /5 m8", "dc /6 m8", "dc /7 m8"});
  check({"da /0 m4", "da /1 m4", "da /4 m4", "da /5 m4", "da /6 m4", "da /7 m4"});
  check({"de /0 m2", "de /1 m2", "de /4 m2", "de /5 m2", "de /6 m2", "de /7 m2"});
}

TEST_CASE("x87 comparisons agree with the host") {
  check({"d8 d0 +r", "d8 d8 +r", "de d9",    "dd e0 +r", "dd e8 +r", "da e9",    "d8 /2 m4",
         "d8 /3 m4", "dc /2 m8", "dc /3 m8", "da /2 m4", "da /3 m4", "de /2 m2", "de /3 m2",
         "db f0 +r", "df f0 +r", "db e8 +r", "df e8 +r", "d9 e4",    "d9 e5"});
}

TEST_CASE("x87 loads and constants agree with the host") {
  check({"d9 /0 m4", "dd /0 m8", "db /5 m10", "d9 c0 +r", "df /0 m2", "db /0 m4", "df /5 m8", "df /4 m10", "d9 e8", "d9 e9",
         "d9 ea", "d9 eb", "d9 ec", "d9 ed", "d9 ee"});
}

TEST_CASE("x87 stores agree with the host and leave memory alone on unmasked exceptions") {
  check({"d9 /2 m4", "d9 /3 m4", "dd /2 m8", "dd /3 m8", "db /7 m10", "dd d0 +r", "dd d8 +r", "df /2 m2", "df /3 m2",
         "db /2 m4", "db /3 m4", "df /7 m8", "df /1 m2", "db /1 m4", "dd /1 m8", "df /6 m10"});
}

TEST_CASE("x87 functions agree with the host") {
  check({"d9 fa", "d9 fc", "d9 fd", "d9 f8", "d9 f5", "d9 f4", "d9 f0", "d9 f1", "d9 f9", "d9 f2", "d9 f3", "d9 fe",
         "d9 ff", "d9 fb"});
}

TEST_CASE("x87 moves and stack control agree with the host") {
  check({"d9 c8 +r", "d9 e0", "d9 e1", "da c0 +r", "da c8 +r", "da d0 +r", "da d8 +r", "db c0 +r", "db c8 +r", "db d0 +r",
         "db d8 +r", "d9 f6", "d9 f7", "dd c0 +r", "df c0 +r", "d9 d0", "9b"});
}

TEST_CASE("x87 control instructions agree with the host") {
  check({"db e3", "db e2", "d9 /5 m2", "d9 /7 m2", "dd /7 m2", "df e0"});
}

TEST_CASE("x87 environments and states make the round trip of the host") {
  // The pointers are cleared first (FNINIT), so that the images can be compared whole; FNSTENV masks all exceptions.
  check({"d9 /6 m28", "dd /6 m108", "66 d9 /6 m14", "66 dd /6 m94"}, "db e3");
  check({"d9 /4 m28", "dd /4 m108", "66 d9 /4 m14", "66 dd /4 m94"});
}
