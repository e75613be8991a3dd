// String instructions: elements, addresses, faults in the middle, how accesses and instructions are counted (SDM vol. 2;
// vol. 1, 7.3.9; fast strings: cpu/exec/string.cpp).
#include "test/cpu/lines.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

struct Counted {
  Snippet after;
  u64 loads, stores, instructions;
  Cycles cycles;
};

/// Runs `code` with RSI, RDI, RCX and AL given, and counts what it did. The `xchg` at the end is not counted.
Counted run(SnippetMachine& m, const char* code, u64 rsi, u64 rdi, u64 rcx, u64 flags = 0, u64 rax = 0) {
  Snippet c;
  c.set_code(bytes_of_hex(code));
  c.state.fx = clean_fx();
  c.state.rflags = 0x202 | flags;
  c.state.gpr[0] = rax;
  c.state.gpr[1] = rcx;
  c.state.gpr[4] = kSnippetWindow + 512;
  c.state.gpr[6] = rsi;
  c.state.gpr[7] = rdi;
  for (unsigned n = 0; n < kWindow; ++n) c.memory[n] = static_cast<u8>(n * 7 + n / 256);
  const tlb::AccessCounts before = m.counts();
  const u64 instructions = m.clock.instructions;
  const Cycles cycles = m.clock.cycles;
  m.run(c);
  const auto side = [&](tlb::Side s) {
    const auto n = static_cast<unsigned>(s);
    return m.counts().paged[1][n] - before.paged[1][n];
  };
  return {c, side(tlb::Side::load), side(tlb::Side::store), m.clock.instructions - instructions - 1,
          m.clock.cycles - cycles - 1};
}

constexpr u64 kW = kSnippetWindow;
constexpr u64 kDf = 0x400;

}  // namespace

TEST_CASE("each element of a string instruction is one load and one store") {
  SnippetMachine m;
  const Counted movsd = run(m, "f3 a5", kW, kW + 512, 20);
  CHECK(movsd.loads == 20);
  CHECK(movsd.stores == 20);
  CHECK(movsd.instructions == 1);
  CHECK(movsd.after.state.gpr[6] == kW + 80);
  CHECK(movsd.after.state.gpr[7] == kW + 592);
  CHECK(movsd.after.state.gpr[1] == 0);
  const Counted cmpsb = run(m, "f3 a6", kW, kW + 1, 20);
  CHECK(cmpsb.loads == 2);  // the first pair differs
  CHECK(cmpsb.stores == 0);
  const Counted stosq = run(m, "f3 48 ab", 0, kW, 5);
  CHECK(stosq.loads == 0);
  CHECK(stosq.stores == 5);
}

TEST_CASE("fast strings move aligned 32-byte chunks, single bytes before and behind them") {
  SnippetMachine m;
  // 3 bytes to the alignment, 14 chunks for what is 64 or more then (448 of 509 bytes leave 61), 61 single bytes.
  const Counted movsb = run(m, "f3 a4", kW, kSnippetData + 0x1d, 512);
  CHECK(movsb.stores == 3 + 14 + 61);
  CHECK(movsb.loads == movsb.stores);
  CHECK(movsb.cycles == movsb.stores);  // one a round, on a core of one cycle an instruction
  const Counted stosb = run(m, "f3 aa", 0, kSnippetData + 64, 128, 0, 0x5a);
  CHECK(stosb.stores == 3 + 32);
  for (unsigned n = 0; n < 128; ++n) REQUIRE(m.memory().peek<u8>(MachineAddr(kSnippetData + 64 + n)) == 0x5a);
  CHECK(m.memory().peek<u8>(MachineAddr(kSnippetData + 192)) == 0);
}

TEST_CASE("neither short, nor downward, nor closely overlapping strings are moved in chunks") {
  SnippetMachine m;
  CHECK(run(m, "f3 a4", kW, kSnippetData + 64, 63).stores == 63);
  CHECK(run(m, "f3 a4", kW + 300, kSnippetData + 364, 200, kDf).stores == 200);
  const Counted spread = run(m, "f3 a4", kW, kW + 1, 200);  // spreads the first byte
  CHECK(spread.stores == 200);
  for (unsigned n = 0; n <= 200; ++n) REQUIRE(spread.after.memory[n] == spread.after.memory[0]);
}

TEST_CASE("a long string instruction is interrupted every 256 rounds and retires once") {
  SnippetMachine m;
  const Counted stosd = run(m, "f3 ab", 0, kSnippetData, 1500, 0, 0xa5a5a5a5);
  CHECK(stosd.stores == 1500);
  CHECK(stosd.instructions == 1);
  CHECK(stosd.cycles == 1500);
  CHECK(stosd.after.state.gpr[7] == kSnippetData + 6000);
  CHECK(m.memory().peek<u32>(MachineAddr(kSnippetData + 5996)) == 0xa5a5a5a5);
  CHECK(m.memory().peek<u32>(MachineAddr(kSnippetData + 6000)) == 0);
}

TEST_CASE("a fault leaves RSI, RDI and RCX at the first element that was not moved") {
  SnippetMachine m;
  const u64 end = kSnippetData + kSnippetDataBytes;
  const Counted movsb = run(m, "f3 a4", kW, end - 100, 200);
  CHECK(movsb.after.vector == 14);
  CHECK(m.fault_address() == end);
  CHECK(movsb.after.state.rip == kSnippetCode);
  CHECK(movsb.after.state.gpr[1] == 100);
  CHECK(movsb.after.state.gpr[6] == kW + 100);
  CHECK(movsb.after.state.gpr[7] == end);
  CHECK(m.memory().peek<u8>(MachineAddr(end - 1)) == movsb.after.memory[99]);
  // A source chunk that would touch the missing page is read byte by byte up to it.
  const Counted source = run(m, "f3 a4", end - 70, kSnippetData + 32, 200);
  CHECK(source.after.vector == 14);
  CHECK(source.after.state.gpr[1] == 130);
  CHECK(source.after.state.gpr[6] == end);
  // An element that crosses into the missing page is not moved at all.
  const Counted crossing = run(m, "f3 48 ab", 0, end - 20, 10);
  CHECK(crossing.after.vector == 14);
  CHECK(crossing.after.state.gpr[1] == 8);
  CHECK(crossing.after.state.gpr[7] == end - 4);
}

TEST_CASE("REPE stops at the first difference and REPNE at the first match, with the flags of that comparison") {
  check_lines({
      "f3 a6 : rsi=W rdi=W+10 rcx=8 [0]=1122334455667788 [10]=1122334455aa7788 zf=0 => rsi=W+3 rdi=W+13 rcx=5 zf=0 cf=1",
      "f3 a6 : rsi=W rdi=W+10 rcx=8 [0]=1122334455667788 [10]=1122334455667788 zf=0 => rsi=W+8 rdi=W+18 rcx=0 zf=1",
      "f2 ae : rax=55 rdi=W rcx=8 [0]=1122334455667788 => rdi=W+4 rcx=4 zf=1",
      "f3 ae : rax=0 rdi=W rcx=0 zf=1 cf=1 => zf=1 cf=1",  // no round, no flag
      "f2 48 af : rax=7 rdi=W rcx=3 [8]=7 => rdi=W+10 rcx=1 zf=1",
  });
}

TEST_CASE("strings run downwards with DF and wrap at the address size") {
  check_lines({
      "a5 : rsi=W+10 rdi=W+20 df=1 [10]=44332211 => rsi=W+c rdi=W+1c [20].4=44332211",
      "66 ad : rsi=W+10 df=1 rax=ffffffffffffffff [10]=1234 => rax=ffffffffffff1234 rsi=W+e",
      "67 aa : rdi=ffffffff10000f00 rax=77 => rdi=10000f01",
      "67 f3 aa : rdi=ffffffff10000f00 rcx=ffffffff00000002 => rdi=10000f02 rcx=0",
      "67 f3 aa : rdi=ffffffff10000f00 rcx=ffffffff00000000 => rdi=10000f00 rcx=0",  // ECX = 0: as Intel's do
                                                                                     // (docs/isa-policy.md)
  });
}

TEST_CASE("an override moves the source's segment and not the destination's") {
  SnippetMachine m;
  Snippet c;
  c.set_code(bytes_of_hex("8e e0 64 a4"));  // mov fs, ax; movs byte [di], fs:[si]
  c.state.fx = clean_fx();
  c.state.gpr[0] = 0x900;
  c.state.gpr[6] = 0x20;
  c.state.gpr[7] = 0x9010;
  m.memory().write(MachineAddr(0x9020), std::array<u8, 1>{0x42});
  m.run(c, Mode::real);
  CHECK(m.memory().peek<u8>(MachineAddr(0x9010)) == 0x42);
  CHECK(c.state.gpr[6] == 0x21);
}

TEST_CASE("16-bit strings wrap inside their segment") {
  SnippetMachine m;
  Snippet c;
  c.set_code(bytes_of_hex("f3 aa"));
  c.state.fx = clean_fx();
  c.state.gpr[0] = 0x33;
  c.state.gpr[1] = 0x10004;  // CX = 4
  c.state.gpr[7] = 0xabcdfffe;
  m.run(c, Mode::real);
  CHECK(c.state.gpr[7] == 0xabcd0002);
  CHECK(c.state.gpr[1] == 0x10000);
  CHECK(m.memory().peek<u8>(MachineAddr(0xffff)) == 0x33);
  CHECK(m.memory().peek<u8>(MachineAddr(0x1)) == 0x33);
  CHECK(m.memory().peek<u8>(MachineAddr(0x10000)) == 0);
}
