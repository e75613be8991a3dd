// Flags, loops, frames, segment moves, bounds, random numbers and hints by the manual's own words (SDM vol. 2).
#include "test/cpu/lines.h"

using namespace nestwalk;
using namespace nestwalk::test;

TEST_CASE("flag instructions change their flag and no other") {
  check_lines({
      "f9 : cf=0 zf=1 of=1 => cf=1 zf=1 of=1",
      "f8 : cf=1 sf=1 of=1 => cf=0 sf=1 of=1",
      "f5 : cf=1 of=0 => cf=0 of=0",
      "fd : df=0 => df=1",
      "fc : df=1 => df=0",
      "9e : rax=d500 of=1 => cf=1 pf=1 af=1 zf=1 sf=1 of=1",
      "9f : cf=1 pf=1 af=0 zf=1 sf=0 rax=0 => rax=4700",
  });
  check_lines({"d6 : cf=1 rax=0 => rax=ff", "d6 : cf=0 rax=1ff => rax=100"}, Mode::k32);
}

TEST_CASE("loops count RCX at the address size and look at ZF behind their own decrement") {
  check_lines({
      "e2 02 ff c2 : rcx=2 rdx=0 => rcx=1 rdx=0 rip=20000004",
      "e2 02 ff c2 : rcx=1 rdx=0 => rcx=0 rdx=1",
      "67 e2 02 ff c2 : rcx=ffffffff00000001 rdx=0 => rcx=0 rdx=1",
      "e1 02 ff c2 : rcx=5 zf=0 rdx=0 => rcx=4 rdx=1",
      "e0 02 ff c2 : rcx=5 zf=0 rdx=0 => rcx=4 rdx=0",
      "e3 02 ff c2 : rcx=0 rdx=0 => rdx=0",
      "67 e3 02 ff c2 : rcx=100000000 rdx=0 => rdx=0",
      "48 ff c2 e2 fb : rcx=1000 rdx=0 => rcx=0 rdx=1000",
  });
}

TEST_CASE("XLAT adds AL to RBX and takes a segment override") { check_lines({"d7 : rbx=W rax=1105 [5]=77 => rax=1177"}); }

TEST_CASE("ENTER builds the display of its nesting level") {
  check_lines({
      "c8 10 00 00 : rsp=W+100 rbp=55 => rsp=W+e8 rbp=W+f8 [f8]=55",
      "c8 08 00 01 : rsp=W+100 rbp=55 => rsp=W+e8 rbp=W+f8 [f8]=55",
      "c8 00 00 03 : rsp=W+100 rbp=W+200 [1f8]=aa [1f0]=bb => rsp=W+e0 rbp=W+f8 [f0]=aa [e8]=bb",
  });
}

TEST_CASE("a fault in the middle of ENTER leaves RSP and RBP alone") {
  // The display lies outside of memory.
  check_lines({"c8 00 00 03 : rsp=W+100 rbp=50000000 => v=e", "c8 ff ff 00 : rsp=W+100 => v=e"});
}

TEST_CASE("PUSHA stores the old stack pointer and POPA skips it") {
  check_lines({"60 61 : rsp=W+100 rax=1 rcx=2 rdx=3 rbx=4 rbp=5 rsi=6 rdi=7 => [fc].4=1 [f0].4=4 [ec].4=W+100 [e0].4=7",
               "60 89 44 24 1c 61 : rsp=W+100 rax=1 rcx=2 rdx=3 rbx=4 rbp=5 rsi=6 rdi=7 => [fc].4=1",
               "66 60 66 61 : rsp=W+100 rax=1 rcx=2 rdx=3 rbx=4 rbp=5 rsi=6 rdi=7 => [fe].2=1 [f0].2=7"},
              Mode::k32);
}

TEST_CASE("BOUND raises #BR outside of its inclusive bounds") {
  check_lines({"62 0f : rdi=W rcx=5 [0]=0000000600000005 =>", "62 0f : rdi=W rcx=6 [0]=0000000600000005 =>",
               "62 0f : rdi=W rcx=7 [0]=0000000600000005 => v=5", "62 0f : rdi=W rcx=fffffff0 [0]=0000000600000005 => v=5",
               "66 62 0f : rdi=W rcx=fff0 [0]=0005ffe0 =>"},
              Mode::k32);
}

TEST_CASE("instructions of the past do not exist in 64-bit mode") {
  check_lines({"60 : => v=6", "61 : => v=6", "c4 07 : => v=6", "0e : => v=6", "06 : => v=6"});
}

TEST_CASE("segment registers are read at the operand size and never CS is written") {
  check_lines({
      "66 8c d8 : rax=ffffffffffffffff => rax=ffffffffffff0023", "8c d8 : rax=ffffffffffffffff => rax=23",
      "48 8c d8 : rax=ffffffffffffffff => rax=23", "8c 1f : rdi=W [0]=ffffffffffffffff => [0]=ffffffffffff0023",
      "8e c8 : => v=6",
      "0f a0 58 : rsp=W+100 rax=-1 => rax=23",             // push fs, pop rax
      "6a 00 0f a9 0f a8 58 : rsp=W+100 rax=-1 => rax=0",  // pop gs, push gs
  });
}

TEST_CASE("real-mode segments are loaded by MOV, POP and LES at once") {
  SnippetMachine m;
  Snippet c;
  // mov ds, ax; mov al, [0]; les di, [2]
  c.set_code(bytes_of_hex("8e d8 a0 00 00 c4 3e 02 00"));
  c.state.fx = clean_fx();
  c.state.gpr[0] = 0x900;
  m.memory().write(MachineAddr(0x9000), std::array<u8, 6>{0x42, 0, 0x34, 0x12, 0x00, 0x0a});
  m.run(c, Mode::real);
  CHECK((c.state.gpr[0] & 0xff) == 0x42);
  CHECK((c.state.gpr[7] & 0xffff) == 0x1234);
  CHECK(m.cpu->s.seg[cpu::ES].base == 0xa000);
}

TEST_CASE("a load of SS holds interrupts back for one instruction") {
  SnippetMachine m;
  // mov ss, ax; the shadow is gone after the next instruction.
  Snippet c;
  c.set_code(bytes_of_hex("8e d0 90"));
  c.state.fx = clean_fx();
  c.state.gpr[0] = 0x100;
  m.run(c, Mode::real);
  CHECK(m.cpu->s.seg[cpu::SS].base == 0x1000);
  CHECK_FALSE(m.cpu->s.interrupt_shadow);
}

TEST_CASE("RDRAND and RDSEED give seeded numbers with CF set and the other flags clear") {
  SnippetMachine first, second;
  Snippet c;
  c.set_code(bytes_of_hex("48 0f c7 f0 0f c7 f9 66 0f c7 f2"));
  c.state.fx = clean_fx();
  c.state.gpr = {};
  c.state.gpr[2] = 0xffff0000;
  c.state.rflags = 0x8d4 | 0x202;
  Snippet again = c;
  first.run(c);
  second.run(again);
  CHECK(c.state.gpr == again.state.gpr);
  CHECK(c.state.gpr[0] > 0xffffffff);
  CHECK(c.state.gpr[1] <= 0xffffffff);
  CHECK((c.state.gpr[2] & ~u64{0xffff}) == 0xffff0000);
  CHECK((c.state.rflags & 0x8d5) == 1);
}

TEST_CASE("prefetches of nowhere and hints do nothing; CLFLUSH of nowhere faults like a load") {
  check_lines({
      "0f 18 0f : rdi=50000000 =>",
      "0f 0d 0f : rdi=50000000 =>",
      "f3 90 : =>",
      "f3 0f 1e fa : =>",
      "0f ae 3f : rdi=W =>",
      "0f ae 3f : rdi=50000000 => v=e",
      "66 0f ae 3f : rdi=W =>",
  });
}
