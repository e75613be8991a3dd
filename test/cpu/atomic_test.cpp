// Exchanges by the manual's own words (SDM vol. 2), and the guest's magic instruction.
#include "test/cpu/lines.h"

using namespace nestwalk;
using namespace nestwalk::test;

TEST_CASE("XCHG and XADD swap, with and without LOCK") {
  check_lines({
      "48 87 c8 : rax=1 rcx=2 => rax=2 rcx=1", "87 c8 : rax=ffffffff00000001 rcx=ffffffff00000002 => rax=2 rcx=1",
      "86 e0 : rax=1234 => rax=3412",  // xchg al, ah
      "48 87 0f : rdi=W rcx=5 [0]=9 => rcx=9 [0]=5", "f0 86 0f : rdi=W rcx=5 [0]=1109 => rcx=9 [0]=1105",
      "f0 48 0f c1 0f : rdi=W rcx=5 [0]=-1 => rcx=-1 [0]=4 cf=1 zf=0",
      "48 0f c1 c0 : rax=8 => rax=10",  // with itself: doubled
  });
}

TEST_CASE("CMPXCHG compares with the accumulator and sets flags as CMP does") {
  check_lines({
      "48 0f b1 0f : rax=9 rdi=W rcx=5 [0]=9 => zf=1 [0]=5",
      "48 0f b1 0f : rax=8 rdi=W rcx=5 [0]=9 => rax=9 zf=0 cf=1 [0]=9",
      "0f b1 cb : rax=ffffffff00000007 rbx=ffffffff00000007 rcx=1 => rbx=1 zf=1",
      "0f b0 0f : rax=1180 rdi=W rcx=5 [0]=7f => rax=117f zf=0 of=1 cf=0",
  });
}

TEST_CASE("a failed CMPXCHG is still a write") {
  SnippetMachine m;
  const u64 before = m.counts().paged[1][static_cast<unsigned>(tlb::Side::store)];
  Line("48 0f b1 0f : rax=8 rdi=W rcx=5 [0]=9 => rax=9").check(m);
  CHECK(m.counts().paged[1][static_cast<unsigned>(tlb::Side::store)] == before + 1);
}

TEST_CASE("CMPXCHG8B and CMPXCHG16B change ZF only; the latter wants alignment") {
  check_lines({
      "0f c7 0f : rax=11 rdx=22 rbx=33 rcx=44 rdi=W [0]=2200000011 cf=1 => zf=1 cf=1 [0]=4400000033",
      "0f c7 0f : rax=11 rdx=23 rdi=W [0]=2200000011 => rdx=22 zf=0 [0]=2200000011",
      "f0 48 0f c7 0f : rax=11 rdx=22 rbx=33 rcx=44 rdi=W [0]=11 [8]=22 => zf=1 [0]=33 [8]=44",
      "48 0f c7 0f : rax=1 rdx=22 rdi=W [0]=11 [8]=22 => rax=11 zf=0",
      "48 0f c7 0f : rdi=W+8 => v=d",
  });
}

TEST_CASE("LOCK is refused on registers and on instructions that do not read, modify and write") {
  check_lines({
      "f0 01 c8 : => v=6",        // add eax, ecx
      "f0 8b 0f : rdi=W => v=6",  // mov ecx, [rdi]
      "f0 3b 0f : rdi=W => v=6",  // cmp ecx, [rdi]
      "f0 0f a3 0f : rdi=W rcx=0 => v=6",
      "f0 c1 27 01 : rdi=W => v=6",
      "f0 01 0f : rdi=W rcx=2 [0]=3 => [0]=5",
  });
}

TEST_CASE("xchg %bx,%bx hands EAX and RCX to the platform and changes nothing") {
  SnippetMachine m;
  Line("66 87 db 48 ff c2 : rax=123456789 rcx=abcdef0123 rdx=1 => rdx=2").check(m);
  // The snippet's own end is the same instruction: it comes last with the same registers.
  CHECK(m.magic_command == 0x23456789);
  CHECK(m.magic_argument == 0xabcdef0123);
}
