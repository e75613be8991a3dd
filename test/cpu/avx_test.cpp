// What surrounds VEX instructions: the state that must be enabled, the modes they exist in, the upper halves, restarted
// gathers (SDM vol. 2, 2.4, 2.5; vol. 1, 13.3, 14). Fused products are compared with the C library's, halves with their
// definition: both hold on hosts without these units.
#include <bit>
#include <cmath>

#include "test/cpu/sse_bench.h"

using namespace nestwalk;
using namespace nestwalk::bench;

namespace {

constexpr const char* kVaddps256 = "c5 f4 58 c2";  // vaddps ymm0, ymm1, ymm2
constexpr const char* kVpaddb128 = "c5 f1 fc c2";  // vpaddb xmm0, xmm1, xmm2
constexpr const char* kVmovups = "c5 fc 10 03";    // vmovups ymm0, [rbx]
constexpr const char* kVstmxcsr = "c5 f8 ae 1b";   // vstmxcsr [rbx]
constexpr const char* kVzeroall = "c5 fc 77";      // vzeroall
constexpr const char* kAndn = "c4 e2 60 f2 c1";    // andn eax, ebx, ecx

class AvxBench : public SseBench {
 public:
  AvxBench() {
    s().cr4 |= mmu::cr4::osxsave;
    s().xcr0 = 7;
    s().gpr[RBX] = 0x30000;
  }
  void ymm(unsigned n, std::array<u64, 4> v) { std::copy(v.begin(), v.end(), s().vec[n].q); }
  std::array<u64, 4> ymm(unsigned n) {
    std::array<u64, 4> v;
    std::copy(std::begin(s().vec[n].q), std::end(s().vec[n].q), v.begin());
    return v;
  }
};

using Words = std::array<u64, 4>;

}  // namespace

TEST_CASE("VEX vector instructions need OSXSAVE and both SSE and AVX state, not OSFXSR or EM") {
  for (const char* hex : {kVaddps256, kVpaddb128, kVmovups, kVstmxcsr, kVzeroall}) {
    INFO(hex);
    AvxBench b;
    b.s().cr4 &= ~mmu::cr4::osfxsr;
    b.s().cr0 |= mmu::cr0::em;
    CHECK(b.execute(hex).vector == 255);
    for (const u64 xcr0 : {1, 3, 5}) {
      b.s().xcr0 = xcr0;
      CHECK(b.execute(hex).vector == ex::ud);
    }
    b.s().xcr0 = 7;
    b.s().cr0 |= mmu::cr0::ts;
    CHECK(b.execute(hex).vector == ex::nm);
    b.s().cr4 &= ~mmu::cr4::osxsave;
    CHECK(b.execute(hex).vector == ex::ud);
  }
}

TEST_CASE("VEX instructions on general registers need no vector state") {
  AvxBench b;
  b.s().xcr0 = 1;
  b.s().cr4 &= ~mmu::cr4::osxsave;
  b.s().cr0 |= mmu::cr0::ts;
  b.s().gpr[RCX] = 0xffff;
  b.s().gpr[RBX] = 0xf0f;
  CHECK(b.execute(kAndn).vector == 255);
  CHECK(b.s().gpr[RAX] == 0xf0f0);
}

TEST_CASE("VEX exists in protected mode and not in real or virtual-8086 mode") {
  for (const char* hex : {kVaddps256, kAndn}) {
    INFO(hex);
    AvxBench b;
    b.protected_mode();
    CHECK(b.execute(hex).vector == 255);
    b.s().rflags |= fl::vm;
    CHECK(b.execute(hex).vector == ex::ud);
    b.s().rflags &= ~fl::vm;
    b.s().cr0 &= ~mmu::cr0::pe;
    CHECK(b.execute(hex).vector == ex::ud);
  }
}

TEST_CASE("in 32-bit code C4 and C5 with a memory operand still load far pointers") {
  AvxBench b;
  b.protected_mode();
  b.s().gpr[RBX] = 0x30000;
  b.poke<u32>(0x30000, 0x12345678);
  b.poke<u16>(0x30004, kData0);
  CHECK(b.execute("c5 0b").vector == 255);  // lds ecx, [ebx]
  CHECK(b.s().gpr[RCX] == 0x12345678);
}

TEST_CASE("a processor without AVX does not know VEX") {
  Bench old("[cpu]\nmodel = nehalem\n");
  Insn insn;
  for (const char* hex : {kVaddps256, kAndn, kVzeroall}) {
    const std::vector<u8> bytes = test::bytes_of_hex(hex);
    CHECK_FALSE(decode(bytes.data(), static_cast<unsigned>(bytes.size()), CodeSize::k64, 0, *old.id, insn));
  }
}

TEST_CASE("EVEX and the 256-bit forms of VAES and VPCLMULQDQ are not promised and not there") {
  AvxBench b;
  Insn insn;
  for (const char* hex : {"62 f1 74 48 58 c2", "62 f1 74 08 58 c2", "c4 e2 75 dc c2", "c4 e3 75 44 c2 11"}) {
    const std::vector<u8> bytes = test::bytes_of_hex(hex);
    INFO(hex);
    CHECK_FALSE(decode(bytes.data(), static_cast<unsigned>(bytes.size()), CodeSize::k64, 0, *b.id, insn));
  }
}

TEST_CASE("VZEROALL outside 64-bit mode clears eight registers, VZEROUPPER their upper halves") {
  AvxBench b;
  b.protected_mode();
  for (unsigned n = 0; n < 16; ++n) b.ymm(n, {1, 2, 3, 4});
  CHECK(b.execute("c5 f8 77").vector == 255);
  CHECK(b.ymm(7) == Words{1, 2, 0, 0});
  CHECK(b.ymm(8) == Words{1, 2, 3, 4});
  CHECK(b.execute(kVzeroall).vector == 255);
  CHECK(b.ymm(7) == Words{});
  CHECK(b.ymm(8) == Words{1, 2, 3, 4});
}

TEST_CASE("a 128-bit VEX instruction clears the upper half, a fault leaves all of the register") {
  AvxBench b;
  b.ymm(0, {1, 2, 3, 4});
  b.s().mxcsr = 0x1f80 & ~0x200u;  // zero divide unmasked
  b.ymm(1, {0x3f800000, 0, 0, 0});
  b.ymm(2, {});
  CHECK(b.execute("c5 f2 5e c2").vector == ex::xm);  // vdivss xmm0, xmm1, xmm2
  CHECK(b.ymm(0) == Words{1, 2, 3, 4});
  b.s().cr4 &= ~mmu::cr4::osxmmexcpt;
  CHECK(b.execute("c5 f2 5e c2").vector == ex::ud);
  b.s().mxcsr = 0x1f80;
  CHECK(b.execute("c5 f2 5e c2").vector == 255);
  CHECK(b.ymm(0) == Words{0x7f800000, 0, 0, 0});
}

TEST_CASE("only the moves that say so need an aligned YMM operand") {
  AvxBench b;
  b.s().gpr[RBX] = 0x30010;
  for (const char* hex : {"c5 fc 28 03", "c5 fd 6f 03", "c5 fc 29 03", "c5 fd e7 03", "c4 e2 7d 2a 03"}) {
    INFO(hex);
    CHECK(raises(b.execute(hex), ex::gp, 0));
  }
  b.s().gpr[RBX] = 0x30001;
  for (const char* hex : {kVmovups, "c5 fe 6f 03", "c5 f4 58 03", "c5 f1 fc 03", "c5 ff f0 03", "c5 fb 10 03"}) {
    INFO(hex);
    CHECK(b.execute(hex).vector == 255);
  }
}

TEST_CASE("a gather that faults keeps its finished elements and goes on with the others") {
  AvxBench b;
  b.model.missing_pages.insert(0x31);
  for (unsigned n = 0; n < 4; ++n) b.poke<u64>(0x30000 + 8 * n, 0x100 + n);
  b.ymm(1, {0, 1, 0x200, 3});  // the third index lies on the missing page
  b.ymm(2, {~u64{0}, 0, u64{1} << 63, u64{1} << 63});
  b.ymm(0, {9, 9, 9, 9});
  const char* gather = "c4 e2 ed 91 04 cb";  // vpgatherqq ymm0, [rbx + ymm1 * 8], ymm2
  const Trap trap = b.execute(gather);
  CHECK(trap.vector == ex::pf);
  CHECK(trap.address == 0x31000);
  CHECK(b.ymm(0) == Words{0x100, 9, 9, 9});
  CHECK(b.ymm(2) == Words{0, 0, ~u64{0}, ~u64{0}});
  b.model.missing_pages.clear();
  b.poke<u64>(0x31000, 0x555);
  b.poke<u64>(0x30000, 0x777);  // not read again
  CHECK(b.execute(gather).vector == 255);
  CHECK(b.ymm(0) == Words{0x100, 9, 0x555, 0x103});
  CHECK(b.ymm(2) == Words{});
}

TEST_CASE("a masked store writes nothing at all when one of its elements faults") {
  AvxBench b;
  b.model.missing_pages.insert(0x31);
  b.s().gpr[RBX] = 0x30ff0;
  b.poke<u64>(0x30ff0, 0x5555);
  b.ymm(0, {1, 2, 3, 4});
  b.ymm(1, {~u64{0}, 0, ~u64{0}, 0});
  CHECK(b.execute("c4 e2 f5 8e 03").vector == ex::pf);  // vpmaskmovq [rbx], ymm1, ymm0
  CHECK(b.peek<u64>(0x30ff0) == 0x5555);
  b.ymm(1, {~u64{0}, 0, 0, 0});
  CHECK(b.execute("c4 e2 f5 8e 03").vector == 255);
  CHECK(b.peek<u64>(0x30ff0) == 1);
  CHECK(b.peek<u64>(0x30ff8) == 0);
}

TEST_CASE("vector indices obey the address size and the segment") {
  AvxBench b;
  b.poke<u32>(0x30110, 0xabcd);
  b.s().seg[FS].base = 0x100;
  b.s().gpr[RBX] = 0xffffffff00030014;
  b.ymm(1, {0xffffffff, 0, 0, 0});  // -1
  b.ymm(2, {0xffffffff, 0, 0, 0});
  CHECK(b.execute("64 67 c4 e2 69 90 04 8b").vector == 255);  // vpgatherdd xmm0, fs:[ebx + xmm1 * 4], xmm2
  CHECK(b.ymm(0) == Words{0xabcd, 0, 0, 0});
}

TEST_CASE("fused products are those of the C library") {
  AvxBench b;
  Random random(5);
  const auto number = [&] {
    const u64 exponent = random.below(3) ? 1000 + random.below(60) : random.below(2047);
    return (random.next() & (bit(63) | low_mask(52))) | exponent << 52;
  };
  for (unsigned n = 0; n < 20000; ++n) {
    const u64 x = number(), y = number();
    // Now and then what nearly cancels the product.
    const u64 z = random.below(2) ? number() : std::bit_cast<u64>(-std::bit_cast<double>(x) * std::bit_cast<double>(y));
    b.ymm(0, {x, 0, 0, 0});
    b.ymm(1, {y, 0, 0, 0});
    b.ymm(2, {z, 0, 0, 0});
    b.execute("c4 e2 f1 a9 c2");  // vfmadd213sd xmm0, xmm1, xmm2: x * y + z
    const double expected = std::fma(std::bit_cast<double>(x), std::bit_cast<double>(y), std::bit_cast<double>(z));
    INFO(std::hex << x << " * " << y << " + " << z);
    if (std::isnan(expected))
      REQUIRE(std::isnan(std::bit_cast<double>(b.low(0))));
    else
      REQUIRE(b.low(0) == std::bit_cast<u64>(expected));
  }
}

TEST_CASE("every half is the single that its fields say, and comes back as itself") {
  AvxBench b;
  for (unsigned h = 0; h < 0x10000; ++h) {
    b.ymm(1, {h, 0, 0, 0});
    b.s().mxcsr = 0x1f80;
    REQUIRE(b.execute("c4 e2 79 13 c1").vector == 255);  // vcvtph2ps xmm0, xmm1
    const float v = std::bit_cast<float>(static_cast<u32>(b.low(0)));
    const unsigned exponent = h >> 10 & 31, fraction = h & 0x3ff;
    const bool nan = exponent == 31 && fraction;
    if (nan) {
      REQUIRE(std::isnan(v));
      REQUIRE((b.s().mxcsr & 1) == !(fraction & 0x200));
    } else {
      const double size = exponent == 31 ? HUGE_VAL
                          : exponent     ? std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25)
                                         : std::ldexp(fraction, -24);
      REQUIRE(v == (h & 0x8000 ? -size : size));
      REQUIRE(b.s().mxcsr == 0x1f80);
    }
    b.execute("c4 e3 79 1d c0 00");  // vcvtps2ph xmm0, xmm0, 0
    REQUIRE(b.low(0) == (nan ? h | 0x200 : h));
  }
}

TEST_CASE("halves round to even, overflow to infinity and keep the rounding mode of the immediate") {
  struct Line {
    float from;
    u8 imm;
    u16 half;
    u32 flags;
  };
  constexpr u32 overflow = 8, underflow = 16, precision = 32;
  const Line lines[] = {
      {65504, 0, 0x7bff, 0},
      {65519, 0, 0x7bff, precision},
      {65520, 0, 0x7c00, overflow | precision},
      {65520, 3, 0x7bff, precision},
      {70000, 3, 0x7bff, overflow | precision},
      {1 + 0x1p-11f, 0, 0x3c00, precision},
      {1 + 3 * 0x1p-11f, 0, 0x3c02, precision},
      {1 + 0x1p-11f, 2, 0x3c01, precision},
      {0x1p-24f, 0, 0x0001, 0},
      {0x1p-25f, 0, 0x0000, underflow | precision},
      {0x1.8p-25f, 0, 0x0001, underflow | precision},
      {-0x1p-30f, 1, 0x8001, underflow | precision},
      {0x1.ffcp-15f, 0, 0x0400, underflow | precision},
  };
  for (const Line& line : lines) {
    AvxBench b;
    b.s().mxcsr = 0x9f80;  // FTZ, which does not concern halves
    b.ymm(1, {std::bit_cast<u32>(line.from), 0, 0, 0});
    b.execute(line.imm == 0   ? "c4 e3 79 1d c8 00"
              : line.imm == 1 ? "c4 e3 79 1d c8 01"
              : line.imm == 2 ? "c4 e3 79 1d c8 02"
                              : "c4 e3 79 1d c8 03");  // vcvtps2ph xmm0, xmm1, imm
    INFO(line.from << " " << unsigned{line.imm});
    CHECK(b.low(0) == line.half);
    CHECK((b.s().mxcsr & 0x3f) == line.flags);
  }
}
