// Bit tests, scans, byte order and CRC-32C by the manual's own words (SDM vol. 2) and published check values.
#include "test/cpu/lines.h"

using namespace nestwalk::test;

TEST_CASE("a register bit offset is taken modulo the width on registers") {
  check_lines({
      "0f a3 c8 : rax=2 rcx=21 => cf=1",
      "48 0f ab c8 : rax=0 rcx=3f => rax=8000000000000000 cf=0",
      "0f b3 c8 : rax=ffffffffffffffff rcx=0 => rax=fffffffe cf=1",
      "0f bb c8 : rax=1 rcx=1 => rax=3 cf=0",
      "0f ba e0 21 : rax=2 => cf=1",
  });
}

TEST_CASE("a register bit offset on memory reaches beyond the operand, both ways") {
  check_lines({
      "0f ab 0f : rdi=W+40 rcx=45 => [48].4=20 cf=0",        // bit 69: eight bytes on
      "0f ab 0f : rdi=W+40 rcx=-1 => [3c].4=80000000 cf=0",  // bit -1: the word before
      "48 0f b3 0f : rdi=W+40 rcx=-40 [38]=ffffffffffffffff => [38]=fffffffffffffffe cf=1",
      "66 0f bb 0f : rdi=W+40 rcx=12 => [42].2=4",
      "0f ba 2f 45 : rdi=W+40 => [40].4=20",  // an immediate does not reach
      "f0 0f ab 0f : rdi=W+40 rcx=1 => [40].4=2",
  });
}

TEST_CASE("a scan of 0 sets ZF and leaves the destination alone") {
  check_lines({
      "48 0f bc c1 : rax=1234567812345678 rcx=0 zf=0 => zf=1",
      "48 0f bd c1 : rax=1234567812345678 rcx=0 zf=0 => zf=1",
      "48 0f bc c1 : rcx=8000000000000000 zf=1 => rax=3f zf=0",
      "0f bd c1 : rcx=10 => rax=4 zf=0",
      "66 0f bc c1 : rax=ffffffff rcx=8000 => rax=ffff000f",
  });
}

TEST_CASE("POPCNT clears every flag but ZF") {
  check_lines({
      "f3 48 0f b8 c1 : rcx=f0f0f0f0f0f0f0f0 cf=1 of=1 sf=1 pf=1 af=1 => rax=20 cf=0 of=0 sf=0 pf=0 af=0 zf=0",
      "f3 0f b8 c1 : rcx=ffffffff00000000 => rax=0 zf=1",
  });
}

TEST_CASE("BSWAP reverses bytes") {
  check_lines({
      "48 0f c8 : rax=0102030405060708 => rax=807060504030201",
      "0f c8 : rax=ffffffff01020304 => rax=4030201",
  });
}

TEST_CASE("CRC32 of '123456789' is E3069283h (RFC 3720's polynomial, reflected, inverted)") {
  // Eight bytes, then one: ~crc32c.
  check_lines({"f2 48 0f 38 f1 c1 f2 0f 38 f0 c2 : rax=ffffffff rcx=3837363534333231 rdx=39 => rax=1cf96d7c"});
  CHECK(static_cast<nestwalk::u32>(~0x1cf96d7c) == 0xe3069283);
}
