// x87 control, exceptions and images by the manual's own words (SDM vol. 1, 8); test/oracle compares all instructions with
// silicon at random.
#include "test/cpu/lines.h"

using namespace nestwalk;
using namespace nestwalk::test;

using Run = SnippetRun;

TEST_CASE("1 + 1 is 2: constants, addition, store as an integer") {
  Run r("d9 e8 d9 e8 de c1 db 1f");  // fld1; fld1; faddp; fistp dword [rdi]
  r.machine.run(r.c);
  CHECK(r.word<u32>(0) == 2);
  CHECK(r.fx<u8>(4) == 0);  // the stack is empty again
}

TEST_CASE("a push onto a full stack is a stack overflow: IE, SF, C1, and the indefinite") {
  Run r("d9 ee d9 ee d9 ee d9 ee d9 ee d9 ee d9 ee d9 ee d9 e8");  // eight zeros, then 1
  r.machine.run(r.c);
  CHECK((r.fx<u16>(2) & 0x241) == 0x241);
  CHECK(r.fx<u64>(32) == 0xc000000000000000);
  CHECK(r.fx<u16>(40) == 0xffff);
}

TEST_CASE("an operation on an empty register is a stack underflow: IE and SF without C1") {
  Run r("d9 e8 d9 fa dd d8 d9 fa");  // fld1; fsqrt; fstp st0; fsqrt of nothing
  r.machine.run(r.c);
  CHECK((r.fx<u16>(2) & 0x241) == 0x41);
}

TEST_CASE("an unmasked exception strikes at the next waiting instruction with #MF") {
  Run r("d9 2f d9 e8 d9 ee de f9 90 d9 e8");  // fldcw [rdi]; fld1; fldz; fdivp; nop; fld1
  r.put<u16>(0, 0x37b);                       // ZM clear
  r.machine.run(r.c);
  CHECK(r.c.vector == 16);
  CHECK(r.c.state.rip == kSnippetCode + 9);
  CHECK((r.fx<u16>(2) & 0x8084) == 0x8084);
  CHECK(r.fx<u8>(4) == 0xc0);  // no pop
}

TEST_CASE("FNCLEX, FNSTSW and FNINIT do not wait") {
  Run r("d9 2f d9 e8 d9 ee de f9 df e0 db e2 d9 e8");
  r.put<u16>(0, 0x37b);
  r.machine.run(r.c);
  CHECK(r.c.vector == -1);
  CHECK((r.c.state.gpr[0] & 0x84) == 0x84);
  CHECK((r.fx<u16>(2) & 0x80ff) == 0);
}

TEST_CASE("CR0.TS and CR0.EM give #NM; FWAIT looks at TS only under MP") {
  SnippetMachine m;
  const auto vector_of = [&](const char* code, u64 cr0) {
    // The bits are set by a snippet's own machine, whose run begins by setting CR0: go through the processor.
    Snippet c;
    c.set_code(bytes_of_hex(code));
    c.state.fx = clean_fx();
    m.extra_cr0 = cr0;
    m.run(c);
    return c.vector;
  };
  CHECK(vector_of("d9 e8", mmu::cr0::ts) == 7);
  CHECK(vector_of("d9 e8", mmu::cr0::em) == 7);
  CHECK(vector_of("db e3", mmu::cr0::ts) == 7);
  CHECK(vector_of("9b", mmu::cr0::ts) == -1);
  CHECK(vector_of("9b", mmu::cr0::ts | mmu::cr0::mp) == 7);
  CHECK(vector_of("9b", mmu::cr0::mp) == -1);
}

TEST_CASE("FNSTENV tells the last instruction, its operand and the tags, and masks all exceptions") {
  Run r("d9 e8 d9 ee d9 47 20 d9 37");  // fld1; fldz; fld dword [rdi+20h]; fnstenv [rdi]
  r.put<u32>(0x20, 0x7f800000);         // infinity
  r.c.state.fx[0] = 0x40;               // everything unmasked
  r.machine.run(r.c);
  CHECK(r.word<u32>(0) == 0xffff0340);
  CHECK(r.word<u16>(4) >> 11 == 5);
  CHECK(r.word<u16>(8) == 0x1bff);  // R7 valid, R6 zero, R5 special, the rest empty
  CHECK(r.word<u32>(12) == kSnippetCode + 4);
  CHECK(r.word<u32>(20) == kSnippetWindow + 0x20);
  CHECK((r.fx<u16>(0) & 0x3f) == 0x3f);
}

TEST_CASE("FNSAVE initialises and FRSTOR brings back, in 16- and 32-bit formats") {
  for (const char* code : {"d9 eb d9 e8 dd 37 dd 27", "d9 eb d9 e8 66 dd 37 66 dd 27"}) {
    Run r(code);
    r.machine.run(r.c);
    CHECK(r.fx<u8>(4) == 0xc0);
    CHECK(r.fx<u64>(32) == 0x8000000000000000);
    CHECK(r.fx<u64>(48) == 0xc90fdaa22168c235);  // pi
    CHECK(((r.fx<u16>(2) >> 11) & 7) == 6);
  }
}

TEST_CASE("the real-mode environment holds linear addresses") {
  Run r("d9 e8 d9 74 10");  // fld1; fnstenv [si+16]
  r.c.state.gpr[6] = 0x9000;
  r.machine.run(r.c, Mode::real);
  const auto& memory = r.machine.memory();
  CHECK(memory.peek<u16>(MachineAddr(0x9016)) == SnippetMachine::kRealCode % 0x10000);
  CHECK((memory.peek<u16>(MachineAddr(0x9018)) & 0xf000) == 0);
}

TEST_CASE("an MMX instruction makes every register valid with TOP 0, and EMMS empties them") {
  Run r("d9 e8 0f ef c0");  // fld1; pxor mm0, mm0
  r.machine.run(r.c);
  CHECK(r.fx<u8>(4) == 0xff);
  CHECK((r.fx<u16>(2) & 0x3800) == 0);
  CHECK(r.fx<u64>(32) == 0);
  CHECK(r.fx<u16>(40) == 0xffff);
  Run e("0f ef c0 0f 77");
  e.machine.run(e.c);
  CHECK(e.fx<u8>(4) == 0);
}

TEST_CASE("a store that faults leaves flags, stack and pointers alone") {
  Run r("d9 eb df 1f");  // fldpi; fistp word [rdi]
  r.c.state.gpr[7] = 0x50000000;
  r.machine.run(r.c);
  CHECK(r.c.vector == 14);
  CHECK(r.fx<u8>(4) == 0x80);
  CHECK((r.fx<u16>(2) & 0x3f) == 0);  // no PE from a store that did not happen
}
