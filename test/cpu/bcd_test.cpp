// Decimal arithmetic in 32-bit mode against arithmetic on decimal numbers, for every input (SDM vol. 2; vol. 1, 7.3.4).
#include "test/cpu/lines.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

u8 bcd(unsigned n) { return static_cast<u8>((n / 10 % 10) << 4 | n % 10); }

Snippet run(SnippetMachine& machine, const char* code, u64 rax, u64 rcx, u64 flags = 0) {
  Snippet c;
  c.set_code(bytes_of_hex(code));
  c.state.fx = clean_fx();
  c.state.gpr[0] = rax;
  c.state.gpr[1] = rcx;
  c.state.rflags = 0x202 | flags;
  machine.run(c, Mode::k32);
  return c;
}

}  // namespace

TEST_CASE("ADD and DAA, SUB and DAS compute with packed decimals") {
  SnippetMachine machine;
  for (unsigned a = 0; a < 100; a += 3)
    for (unsigned b = 0; b < 100; b += 7) {
      const Snippet sum = run(machine, "00 c8 27", bcd(a), bcd(b));
      REQUIRE((sum.state.gpr[0] & 0xff) == bcd(a + b));
      REQUIRE((sum.state.rflags & 1) == (a + b >= 100));
      const Snippet difference_of = run(machine, "28 c8 2f", bcd(a), bcd(b));
      REQUIRE((difference_of.state.gpr[0] & 0xff) == bcd(a + 100 - b));
      REQUIRE((difference_of.state.rflags & 1) == (a < b));
    }
}

TEST_CASE("ADD and AAA, SUB and AAS compute with digits and carry into AH") {
  SnippetMachine machine;
  for (unsigned a = 0; a < 10; ++a)
    for (unsigned b = 0; b < 10; ++b) {
      const Snippet sum = run(machine, "00 c8 37", 0x500 | a, b);
      REQUIRE((sum.state.gpr[0] & 0xffff) == ((a + b) % 10 | (5 + (a + b) / 10) << 8));
      REQUIRE((sum.state.rflags & 0x11) == (a + b >= 10 ? 0x11 : 0));
      const Snippet less = run(machine, "28 c8 3f", 0x500 | a, b);
      REQUIRE((less.state.gpr[0] & 0xffff) == ((a + 10 - b) % 10 | (a < b ? 4 : 5) << 8));
    }
}

TEST_CASE("AAM divides and AAD multiplies by any base; AAM by 0 is #DE") {
  check_lines(
      {
          "d4 0a : rax=3f => rax=603",
          "d4 10 : rax=a7 => rax=a07",
          "d4 00 : rax=a7 => v=0",
          "d5 0a : rax=603 => rax=3f zf=0",
          "d5 10 : rax=1a07 => rax=a7 sf=1",
      },
      Mode::k32);
}

TEST_CASE("decimal instructions do not exist in 64-bit mode") {
  check_lines({"27 : => v=6", "37 : => v=6", "d4 0a : => v=6", "d5 0a : => v=6", "d6 : => v=6"});
}
