// FXSAVE and XSAVE images and their rules (SDM vol. 1, 10.5, 13).
#include "test/cpu/lines.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

struct Run : SnippetRun {
  explicit Run(const char* code, u64 components = 3) : SnippetRun(code) {
    for (unsigned n = 0; n < 256; ++n) c.state.fx[160 + n] = static_cast<u8>(n + 1);
    c.state.gpr[cpu::RAX] = components;
    c.state.gpr[cpu::RDX] = 0;
  }
};

}  // namespace

TEST_CASE("FXSAVE64 writes the documented layout and FXRSTOR64 reads it back") {
  Run save("d9 eb 48 0f ae 07");  // fldpi; fxsave64
  save.put<u64>(512, 0x1234);
  REQUIRE(save.run() == -1);
  CHECK(save.word<u16>(0) == 0x37f);
  CHECK(save.word<u8>(4) == 0x80);
  CHECK(save.word<u64>(8) == kSnippetCode);
  CHECK(save.word<u32>(24) == 0x1f80);
  CHECK(save.word<u32>(28) == 0xffff);
  CHECK(save.word<u64>(32) == 0xc90fdaa22168c235);
  CHECK(std::memcmp(&save.c.memory[160], &save.c.state.fx[160], 256) == 0);
  CHECK(save.word<u64>(512) == 0x1234);

  Run load("48 0f ae 0f");
  std::copy_n(save.c.memory.begin(), 512, load.c.memory.begin());
  std::fill_n(load.c.state.fx.begin() + 160, 256, u8{0});
  REQUIRE(load.run() == -1);
  CHECK(load.fx<u64>(32) == 0xc90fdaa22168c235);
  CHECK(load.fx<u8>(4) == 0x80);
  CHECK(std::memcmp(&load.c.state.fx[160], &save.c.state.fx[160], 256) == 0);
}

TEST_CASE("FXSAVE and FXRSTOR want 16-byte alignment and a legal MXCSR") {
  Run unaligned("0f ae 07");
  unaligned.c.state.gpr[7] += 8;
  CHECK(unaligned.run() == 13);
  Run reserved("0f ae 0f");
  reserved.put<u16>(0, 0x37f);
  reserved.put<u32>(24, 0x10000);
  CHECK(reserved.run() == 13);
  CHECK(reserved.fx<u32>(24) == 0x1f80);
}

TEST_CASE("an FXSAVE that would fault in its middle writes nothing") {
  Run r("0f ae 07");
  r.c.state.gpr[7] = kSnippetData + kSnippetDataBytes - 256;
  CHECK(r.run() == 14);
  CHECK(r.machine.memory().peek<u16>(MachineAddr(kSnippetData + kSnippetDataBytes - 256)) == 0);
}

TEST_CASE("XSAVE writes what is asked for and marks what is in use") {
  Run both("48 0f ae 27");
  both.put<u64>(512, 4);  // AVX was there: not asked for, so it stays
  REQUIRE(both.run() == -1);
  CHECK(both.word<u64>(512) == (4 | 2));  // x87 is in its initial state
  CHECK(both.word<u64>(160) == 0x0807060504030201);
  Run only_x87("d9 e8 48 0f ae 27", 1);
  REQUIRE(only_x87.run() == -1);
  CHECK(only_x87.word<u64>(512) == 1);
  CHECK(only_x87.word<u64>(160) == 0);
  CHECK(only_x87.word<u32>(24) == 0);  // MXCSR belongs to SSE and AVX
}

TEST_CASE("XSAVEOPT leaves out what is in its initial configuration") {
  Run r("48 0f ae 37");
  r.put<u16>(0, 0x1234);
  REQUIRE(r.run() == -1);
  CHECK(r.word<u64>(512) == 2);
  CHECK(r.word<u16>(0) == 0x1234);
  CHECK(r.word<u64>(160) == 0x0807060504030201);
}

TEST_CASE("XRSTOR initialises what is asked for and not there, and leaves the rest") {
  Run r("d9 e8 48 0f ae 2f", 3);  // XSTATE_BV = 0: both to their initial state
  r.put<u32>(24, 0x1fa0);
  REQUIRE(r.run() == -1);
  CHECK(r.fx<u8>(4) == 0);
  CHECK(r.fx<u64>(160) == 0);
  CHECK(r.fx<u32>(24) == 0x1fa0);  // MXCSR comes from memory whatever XSTATE_BV says
  Run only_sse("d9 e8 48 0f ae 2f", 2);
  only_sse.put<u64>(512, 2);
  only_sse.put<u32>(24, 0x1f80);
  only_sse.put<u64>(160, 0x77);
  REQUIRE(only_sse.run() == -1);
  CHECK(only_sse.fx<u8>(4) == 0x80);
  CHECK(only_sse.fx<u64>(160) == 0x77);
}

TEST_CASE("XRSTOR refuses bad headers, bad alignment and a bad MXCSR with #GP") {
  const auto vector_of = [](auto&& change) {
    Run r("48 0f ae 2f");
    r.put<u32>(24, 0x1f80);
    change(r);
    return r.run();
  };
  CHECK(vector_of([](Run&) {}) == -1);
  CHECK(vector_of([](Run& r) { r.put<u64>(512, u64{1} << 10); }) == 13);
  CHECK(vector_of([](Run& r) { r.put<u64>(520, 1); }) == 13);
  CHECK(vector_of([](Run& r) { r.put<u64>(528, 1); }) == 13);
  CHECK(vector_of([](Run& r) { r.put<u32>(24, 0x20000); }) == 13);
  CHECK(vector_of([](Run& r) { r.c.state.gpr[7] += 16; }) == 13);
}

TEST_CASE("XSAVE does not exist without CR4.OSXSAVE") {
  Run r("48 0f ae 27");
  r.machine.missing_cr4 = mmu::cr4::osxsave;
  CHECK(r.run() == 6);
}

TEST_CASE("LDMXCSR refuses reserved bits and STMXCSR reads back") {
  Run r("0f ae 17 0f ae 5f 10");
  r.put<u32>(0, 0xffff & ~0x1f);
  CHECK(r.run() == -1);
  CHECK(r.word<u32>(16) == (0xffff & ~0x1f));
  Run reserved("0f ae 17");
  reserved.put<u32>(0, 0x10000);
  CHECK(reserved.run() == 13);
}

TEST_CASE("XSAVEC puts PKRU behind the last component asked for, and XRSTOR finds it there") {
  // wrpkru(54h); xsavec64 [rdi]; wrpkru(0); xrstor64 [rdi]; rdpkru
  Run r(
      "b8 54 00 00 00 31 c9 31 d2 0f 01 ef b8 02 02 00 00 48 0f c7 27 31 c0 0f 01 ef b8 00 02 00 00 48 0f ae 2f 0f 01 ee");
  REQUIRE(r.run() == -1);
  CHECK(r.word<u64>(512) == 0x202);
  CHECK(r.word<u64>(520) == (0x202 | u64{1} << 63));
  CHECK(r.word<u64>(576) == 0x54);
  CHECK(r.c.state.gpr[0] == 0x54);
}

TEST_CASE("XRSTOR of an image without PKRU clears it") {
  Run r("b8 54 00 00 00 31 c9 31 d2 0f 01 ef b8 00 02 00 00 48 0f ae 2f 0f 01 ee");
  REQUIRE(r.run() == -1);
  CHECK(r.c.state.gpr[0] == 0);
}

TEST_CASE("XGETBV(1) names the enabled components that are in use") {
  Run r("b9 01 00 00 00 0f 01 d0");  // XMM is in use, x87, AVX and PKRU are not
  REQUIRE(r.run() == -1);
  CHECK(r.c.state.gpr[0] == 2);
}

TEST_CASE("XSAVES and XRSTORS are the kernel's") {
  Run save("48 0f c7 2f");
  CHECK(save.run() == 13);
  Run load("48 0f c7 1f");
  CHECK(load.run() == 13);
}
