// Multiplication, division and sign extension by the manual's own words (SDM vol. 2).
#include "test/cpu/lines.h"

using namespace nestwalk::test;

TEST_CASE("MUL sets CF and OF when the upper half is not zero") {
  check_lines({
      "f6 e1 : rax=10 rcx=10 => rax=100 cf=1 of=1",
      "f6 e1 : rax=f rcx=10 => rax=f0 cf=0 of=0",
      "66 f7 e1 : rax=ffff rcx=ffff rdx=0 => rax=1 rdx=fffe cf=1",
      "f7 e1 : rax=ffffffff rcx=2 rdx=-1 => rax=fffffffe rdx=1 cf=1",
      "48 f7 e1 : rax=-1 rcx=-1 => rax=1 rdx=fffffffffffffffe cf=1 of=1",
  });
}

TEST_CASE("IMUL sets CF and OF when the product does not fit the destination") {
  check_lines({
      "f6 e9 : rax=ff rcx=ff => rax=1 cf=0 of=0",
      "f6 e9 : rax=80 rcx=ff => rax=80 cf=1 of=1",
      "48 f7 e9 : rax=-1 rcx=1 => rax=-1 rdx=-1 cf=0",
      "0f af c1 : rax=10000 rcx=10000 => rax=0 cf=1 of=1",
      "6b c1 fe : rcx=3 => rax=fffffffa cf=0",
      "48 69 c1 00 00 00 80 : rcx=2 => rax=ffffffff00000000 cf=0",
      "66 6b c1 7f : rax=1234567812345678 rcx=7fff => rax=1234567812347f81 cf=1",
  });
}

TEST_CASE("DIV and IDIV truncate towards zero and the remainder follows the dividend") {
  check_lines({
      "f6 f1 : rax=107 rcx=10 => rax=710", "66 f7 f1 : rax=1 rdx=1 rcx=2 => rax=8000 rdx=1",
      "48 f7 f1 : rax=0 rdx=1 rcx=10 => rax=1000000000000000 rdx=0", "48 f7 f9 : rax=-7 rdx=-1 rcx=2 => rax=-3 rdx=-1",
      "48 f7 f9 : rax=7 rdx=0 rcx=-2 => rax=-3 rdx=1",
      "f6 f9 : rax=ff80 rcx=1 => rax=80",  // -128 / 1 just fits
  });
}

TEST_CASE("a quotient that does not fit and a divisor of 0 raise #DE and change nothing") {
  check_lines({
      "f6 f1 : rax=1000 rcx=10 => v=0 rip=20000000", "f7 f1 : rax=0 rdx=0 rcx=0 => v=0",
      "48 f7 f9 : rax=8000000000000000 rdx=-1 rcx=-1 => v=0", "48 f7 f9 : rax=0 rdx=8000000000000000 rcx=-1 => v=0",
      "f6 f9 : rax=80 rcx=1 => v=0",  // +128 does not fit
  });
}

TEST_CASE("the accumulator's sign is extended into its upper half or into RDX") {
  check_lines({
      "66 98 : rax=1122334455667780 => rax=112233445566ff80",
      "98 : rax=ffffffff00008000 => rax=ffff8000",
      "48 98 : rax=80000000 => rax=ffffffff80000000",
      "66 99 : rax=8000 rdx=1122334455667788 => rdx=112233445566ffff",
      "99 : rax=7fffffff rdx=-1 => rdx=0",
      "48 99 : rax=-1 rdx=0 => rdx=-1",
  });
}
