// Shifts and rotates by the manual's own words (SDM vol. 2); test/oracle compares them with silicon at random.
#include "test/cpu/lines.h"

using namespace nestwalk::test;

TEST_CASE("a shift's count is taken modulo 32, or 64 for 64-bit operands") {
  check_lines({
      "c1 e0 21 : rax=ffffffff00000001 => rax=2",   // shl eax, 33
      "48 c1 e0 21 : rax=1 => rax=200000000",       // shl rax, 33
      "48 c1 e0 41 : rax=1 => rax=2",               // shl rax, 65
      "c0 e0 09 : rax=ff cf=1 => rax=0 cf=0 zf=1",  // shl al, 9: all bits are gone
      "66 d3 e0 : rax=5 rcx=21 => rax=a",           // shl ax, cl = 33
  });
}

TEST_CASE("a shift by 0 changes no flag but clears the upper half of a 32-bit register") {
  check_lines({
      "c1 e0 20 : rax=ffffffff80000000 cf=1 of=1 zf=1 sf=0 => rax=80000000 cf=1 of=1 zf=1 sf=0",
      "d3 e8 : rax=ffffffff80000000 rcx=40 cf=1 => rax=80000000 cf=1",
      "0f a4 d8 00 : rax=ffffffff80000000 of=1 => rax=80000000 of=1",
  });
}

TEST_CASE("the last bit shifted out is CF and OF tells a changed sign for a shift by 1") {
  check_lines({
      "d1 e0 : rax=c0000000 => rax=80000000 cf=1 of=0 sf=1 zf=0",
      "d1 e0 : rax=80000000 => rax=0 cf=1 of=1 zf=1 pf=1",
      "d1 e0 : rax=40000000 => rax=80000000 cf=0 of=1",
      "d1 e8 : rax=80000001 => rax=40000000 cf=1 of=1",
      "d1 f8 : rax=80000001 => rax=c0000000 cf=1 of=0",
      "c1 f8 1f : rax=80000000 => rax=ffffffff cf=0 sf=1",
      "c0 f8 1f : rax=80 => rax=ff cf=1",
      "c1 e0 04 : rax=12345678 => rax=23456780 cf=1",
  });
}

TEST_CASE("rotates change CF and OF only") {
  check_lines({
      "d0 c0 : rax=81 zf=1 sf=1 => rax=3 cf=1 of=1 zf=1 sf=1",
      "d0 c8 : rax=1 => rax=80 cf=1 of=1",
      "c0 c0 08 : rax=81 cf=0 => rax=81 cf=1",               // a full turn still sets CF
      "48 d1 d0 : rax=8000000000000000 cf=1 => rax=1 cf=1",  // rcl
      "48 d1 d8 : rax=1 cf=0 => rax=0 cf=1",                 // rcr
      "c0 d0 09 : rax=81 cf=1 => rax=81 cf=1",               // rcl al, 9: a full turn of nine bits
      "66 c1 d0 11 : rax=8001 cf=1 => rax=8001 cf=1",
  });
}

TEST_CASE("double shifts take their new bits from the second operand") {
  check_lines({
      "0f a4 d8 08 : rax=12345678 rbx=abcdef01 => rax=345678ab cf=0",
      "0f ac d8 08 : rax=12345678 rbx=abcdef01 => rax=1123456 cf=0",
      "48 0f a5 d8 : rax=1 rbx=8000000000000000 rcx=1 => rax=3",
      "0f a4 1f 04 : rdi=W rbx=f0000000 [0]=2222222211111111 => [0]=222222221111111f",
  });
}

TEST_CASE("a shift in memory touches its own width only") {
  check_lines({
      "c0 27 04 : rdi=W [0]=1111111111111111 => [0]=1111111111111110",
      "66 d1 27 : rdi=W [0]=1111111111118001 => [0]=1111111111110002 cf=1",
      "48 d3 2f : rdi=W rcx=8 [0]=8877665544332211 => [0]=88776655443322",
  });
}
