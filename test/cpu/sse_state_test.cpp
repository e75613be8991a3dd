// What surrounds vector instructions: device-not-available, undefined and SIMD exceptions, alignment, MMX state, and what
// of a register an instruction leaves alone (SDM vol. 2, 2.4; vol. 3, 2.5, 12.2).
#include "test/cpu/sse_bench.h"

using namespace nestwalk;
using namespace nestwalk::bench;

namespace {
constexpr const char* kAddps = "0f 58 c1";       // addps xmm0, xmm1
constexpr const char* kPaddb = "0f fc c1";       // paddb mm0, mm1
constexpr const char* kMovapsLoad = "0f 28 03";  // movaps xmm0, [rbx]
constexpr u32 kZero32 = 0, kOne32 = 0x3f800000;
}  // namespace

TEST_CASE("TS makes vector instructions raise device-not-available, EM makes them undefined") {
  for (const char* hex : {kAddps, kPaddb, kMovapsLoad, "66 0f 38 17 c1", "66 0f 6e c0", "0f 2e c1", "f2 0f 2d c1"}) {
    SseBench b;
    b.s().gpr[RBX] = 0x30000;
    INFO(hex);
    CHECK(b.execute(hex).vector == 255);
    b.s().cr0 |= mmu::cr0::ts;
    CHECK(b.execute(hex).vector == ex::nm);
    b.s().cr0 |= mmu::cr0::em;
    CHECK(b.execute(hex).vector == ex::ud);
  }
}

TEST_CASE("without OSFXSR XMM instructions are undefined and MMX ones are not") {
  SseBench b;
  b.s().cr4 &= ~mmu::cr4::osfxsr;
  CHECK(b.execute(kAddps).vector == ex::ud);
  CHECK(b.execute(kPaddb).vector == 255);
  b.s().cr0 |= mmu::cr0::ts;
  CHECK(b.execute(kAddps).vector == ex::ud);
}

TEST_CASE("device-not-available comes before the memory operand's page fault") {
  SseBench b;
  b.s().gpr[RBX] = 0x30000;
  b.model.missing_pages.insert(0x30);
  CHECK(b.execute(kMovapsLoad).vector == ex::pf);
  b.s().cr0 |= mmu::cr0::ts;
  CHECK(b.execute(kMovapsLoad).vector == ex::nm);
}

TEST_CASE("aligned operands raise #GP when they are not, and before the page is looked at") {
  SseBench b;
  b.model.missing_pages.insert(0x30);
  b.s().gpr[RBX] = 0x30008;
  for (const char* hex : {kMovapsLoad, "0f 29 03", "66 0f fc 03", "66 0f e7 03", "0f 58 03"}) {
    INFO(hex);
    CHECK(raises(b.execute(hex), ex::gp, 0));
  }
  b.model.missing_pages.clear();
  for (const char* hex : {"0f 10 03", "f3 0f 7f 03", "f2 0f f0 03", "66 0f 3a 63 03 00", "f2 0f 58 03", "66 0f 38 20 03"}) {
    INFO(hex);
    CHECK(b.execute(hex).vector == 255);
  }
}

TEST_CASE("an unmasked SIMD exception is #XM, or #UD without OSXMMEXCPT, and the destination stays") {
  SseBench b;
  b.xmm(0, kOne32, 7);
  b.xmm(1, kZero32);
  b.s().mxcsr = 0x1f80 & ~0x200u;  // zero divide unmasked
  const char* divss = "f3 0f 5e c1";
  CHECK(b.execute(divss).vector == ex::xm);
  CHECK(b.low(0) == kOne32);
  CHECK(b.s().mxcsr == (0x1d80 | 4));
  b.s().cr4 &= ~mmu::cr4::osxmmexcpt;
  CHECK(b.execute(divss).vector == ex::ud);
  b.s().mxcsr = 0x1f80;
  CHECK(b.execute(divss).vector == 255);
  CHECK(b.low(0) == 0x7f800000);
  CHECK(b.high(0) == 7);
}

TEST_CASE("a sticky flag alone raises nothing when its exception is unmasked later") {
  SseBench b;
  b.s().mxcsr = 0x1f80 & ~0x1000u;  // precision unmasked
  b.s().mxcsr |= 0x20;
  b.xmm(0, kOne32);
  b.xmm(1, kOne32);
  CHECK(b.execute("f3 0f 58 c1").vector == 255);
  CHECK(b.low(0) == 0x40000000);
}

TEST_CASE("the host's rounding mode survives a guest that rounds upwards") {
  SseBench b;
  b.s().mxcsr = 0x1f80 | 2 << 13;
  b.xmm(0, kOne32);
  b.xmm(1, 0x40400000);  // 3
  b.execute("f3 0f 5e c1");
  CHECK(b.low(0) == 0x3eaaaaab);
  volatile float one = 1, three = 3;
  CHECK(std::bit_cast<u32>(one / three) == 0x3eaaaaab);  // to nearest
  b.s().mxcsr = 0x1f80 | 3 << 13;
  b.xmm(0, kOne32);
  b.execute("f3 0f 5e c1");
  CHECK(b.low(0) == 0x3eaaaaaa);
  CHECK(std::bit_cast<u32>(one / three) == 0x3eaaaaab);
}

TEST_CASE("legacy instructions leave the upper half of a 256-bit register alone") {
  for (const char* hex : {kAddps, "66 0f fc c1", "f3 0f 7e c1", "66 0f 6e c0", "f2 0f 5a c1", "0f 28 c1"}) {
    SseBench b;
    b.s().vec[0].q[2] = 0x1111;
    b.s().vec[0].q[3] = 0x2222;
    b.execute(hex);
    INFO(hex);
    CHECK(b.s().vec[0].q[2] == 0x1111);
    CHECK(b.s().vec[0].q[3] == 0x2222);
  }
}

TEST_CASE("an MMX instruction sets TOP to 0 and every tag, and EMMS empties the registers") {
  SseBench b;
  b.s().x87.top = 5;
  b.s().x87.valid = 0x10;
  b.set_mm(0, 0x0102030405060708);
  b.set_mm(1, 0x1010101010101010);
  b.s().x87.r[0].sign_exponent = 0x1234;
  CHECK(b.execute(kPaddb).vector == 255);
  CHECK(b.mm(0) == 0x1112131415161718);
  CHECK(b.s().x87.r[0].sign_exponent == 0xffff);
  CHECK(b.s().x87.top == 0);
  CHECK(b.s().x87.valid == 0xff);
  CHECK(b.execute("0f 77").vector == 255);
  CHECK(b.s().x87.valid == 0);
  CHECK(b.mm(0) == 0x1112131415161718);
}

TEST_CASE("an MMX instruction that faults leaves the x87 state as it was") {
  SseBench b;
  b.s().x87.top = 5;
  b.s().x87.valid = 0x10;
  b.s().gpr[RBX] = 0x30000;
  b.model.missing_pages.insert(0x30);
  for (const char* hex : {"0f 6f 03", "0f 7f 03", "0f fc 03"}) {
    CHECK(b.execute(hex).vector == ex::pf);
    CHECK(b.s().x87.top == 5);
    CHECK(b.s().x87.valid == 0x10);
  }
}

TEST_CASE("a masked store writes its bytes and no others, through the segment's base and the address size") {
  SseBench b;
  b.xmm(0, 0x8877665544332211, 0xffeeddccbbaa0099);
  b.xmm(1, 0x80007f0080000000, 0x8000000000000000);
  b.s().gpr[RDI] = 0xffffffff00030000;
  b.s().seg[FS].base = 0x100;
  for (unsigned n = 0; n < 16; ++n) b.poke<u8>(0x30100 + n, 0x55);
  CHECK(b.execute("64 67 66 0f f7 c1").vector == 255);  // maskmovdqu xmm0, xmm1 at fs:[edi]
  CHECK(b.peek<u64>(0x30100) == 0x8855555544555555);
  CHECK(b.peek<u64>(0x30108) == 0xff55555555555555);
}

TEST_CASE("in 32-bit code vector operands obey segment limits") {
  SseBench b;
  b.protected_mode();
  b.s().cr4 |= mmu::cr4::osfxsr;
  b.s().efer = 0;
  b.s().cr0 &= ~mmu::cr0::pg;
  b.cpu->update_paging();
  b.s().seg[DS].limit = 0x3000f;
  b.s().gpr[RBX] = 0x30000;
  CHECK(b.execute("0f 10 03").vector == 255);
  b.s().gpr[RBX] = 0x30001;
  CHECK(raises(b.execute("0f 10 03"), ex::gp, 0));
}
