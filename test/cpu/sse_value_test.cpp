// Results of vector instructions against published or hand-made values, where no host is needed to know them.
#include <bit>
#include <string_view>

#include "test/cpu/sse_bench.h"

using namespace nestwalk;
using namespace nestwalk::bench;

namespace {

/// Sixteen bytes as they stand in memory, from hex digits.
V128 block(const std::string& hex) {
  const std::vector<u8> bytes = test::bytes_of_hex(hex);
  V128 v{};
  std::memcpy(&v, bytes.data(), 16);
  return v;
}
struct CryptoBench : SseBench {
  void load(unsigned n, const std::string& hex) { s().vec[n].set<V128>(0, block(hex)); }
  bool holds(unsigned n, const std::string& hex) {
    const V128 v = block(hex);
    return low(n) == v.q[0] && high(n) == v.q[1];
  }
};

void put_text(SseBench& b, unsigned n, std::string_view text) {
  char bytes[16] = {};
  std::copy(text.begin(), text.end(), bytes);
  V128 v;
  std::memcpy(&v, bytes, 16);
  b.s().vec[n].set<V128>(0, v);
}

u64 bits(double v) { return std::bit_cast<u64>(v); }

}  // namespace

TEST_CASE("AES-128 of FIPS-197 appendix B comes out of AESKEYGENASSIST, AESENC and AESENCLAST") {
  CryptoBench b;
  // The expanded key of FIPS-197, A.1.
  static const char* const keys[] = {
      "2b 7e 15 16 28 ae d2 a6 ab f7 15 88 09 cf 4f 3c", "a0 fa fe 17 88 54 2c b1 23 a3 39 39 2a 6c 76 05",
      "f2 c2 95 f2 7a 96 b9 43 59 35 80 7a 73 59 f6 7f", "3d 80 47 7d 47 16 fe 3e 1e 23 7e 44 6d 7a 88 3b",
      "ef 44 a5 41 a8 52 5b 7f b6 71 25 3b db 0b ad 00", "d4 d1 c6 f8 7c 83 9d 87 ca f2 b8 bc 11 f9 15 bc",
      "6d 88 a3 7a 11 0b 3e fd db f9 86 41 ca 00 93 fd", "4e 54 f7 0e 5f 5f c9 f3 84 a6 4f b2 4e a6 dc 4f",
      "ea d2 73 21 b5 8d ba d2 31 2b f5 60 7f 8d 29 2f", "ac 77 66 f3 19 fa dc 21 28 d1 29 41 57 5c 00 6e",
      "d0 14 f9 a8 c9 ee 25 89 e1 3f 0c c8 b6 63 0c a6"};
  b.load(1, keys[0]);
  b.execute("66 0f 3a df d1 01");  // aeskeygenassist xmm2, xmm1, 1
  // RotWord, SubWord and Rcon of the key's last word give 8b84eb01 (A.1, i = 4); XORed with the first word, the next one.
  CHECK(static_cast<u32>(b.high(2) >> 32) == 0x01eb848b);
  CHECK((static_cast<u32>(b.high(2) >> 32) ^ static_cast<u32>(b.low(1))) == 0x17fefaa0);

  b.load(0, "32 43 f6 a8 88 5a 30 8d 31 31 98 a2 e0 37 07 34");
  b.execute("66 0f ef c1");  // round key 0
  for (unsigned round = 1; round < 10; ++round) {
    b.load(1, keys[round]);
    b.execute("66 0f 38 dc c1");
  }
  b.load(1, keys[10]);
  b.execute("66 0f 38 dd c1");
  CHECK(b.holds(0, "39 25 84 1d 02 dc 09 fb dc 11 85 97 19 6a 0b 32"));

  // And back by the equivalent inverse cipher (FIPS-197, 5.3.5).
  b.execute("66 0f ef c1");
  for (unsigned round = 9; round > 0; --round) {
    b.load(2, keys[round]);
    b.execute("66 0f 38 db ca");  // aesimc xmm1, xmm2
    b.execute("66 0f 38 de c1");
  }
  b.load(1, keys[0]);
  b.execute("66 0f 38 df c1");
  CHECK(b.holds(0, "32 43 f6 a8 88 5a 30 8d 31 31 98 a2 e0 37 07 34"));
}

TEST_CASE("carry-less multiplication gives the product of Intel's white paper for every choice of halves") {
  // The operands and the four products of the worked example in white paper 323640.
  SseBench b;
  const auto product = [&](const char* imm) {
    b.xmm(0, 0x5b477565726f6e5d, 0x4869285368617929);
    b.xmm(1, 0x63746f725d53475d, 0x7b5b546573745665);
    b.execute(std::string("66 0f 3a 44 c1 ") + imm);
    return V128{{b.low(0), b.high(0)}};
  };
  CHECK(product("00").q[1] == 0x1d4d84c85c3440c0);
  CHECK(product("00").q[0] == 0x929633d5d36f0451);
  CHECK(product("01").q[1] == 0x1bd17c8d556ab5a1);
  CHECK(product("01").q[0] == 0x7fa540ac2a281315);
  CHECK(product("10").q[1] == 0x1a2bf6db3a30862f);
  CHECK(product("10").q[0] == 0xbabf262df4b7d5c9);
  CHECK(product("11").q[1] == 0x1d1e1f2c592e7c45);
  CHECK(product("11").q[0] == 0xd66ee03e410fd4ed);
}

TEST_CASE("PCMPISTRI finds a substring, a character of a set, and one outside of ranges") {
  SseBench b;
  put_text(b, 0, "walk");
  put_text(b, 1, "a nested walk");
  b.execute("66 0f 3a 63 c1 0c");  // equal ordered, bytes
  CHECK(b.s().gpr[RCX] == 9);
  CHECK(b.s().flags.pack() == (fl::cf | fl::zf | fl::sf));
  put_text(b, 0, "xyzd");
  b.execute("66 0f 3a 63 c1 00");  // equal any
  CHECK(b.s().gpr[RCX] == 7);
  put_text(b, 0, "az");
  b.execute("66 0f 3a 63 c1 14");  // first byte that is not in a-z
  CHECK(b.s().gpr[RCX] == 1);
  b.execute("66 0f 3a 63 c1 54");  // the last one: behind the text
  CHECK(b.s().gpr[RCX] == 15);
  b.execute("66 0f 3a 63 c1 74");  // the last one within the text
  CHECK(b.s().gpr[RCX] == 8);
}

TEST_CASE("PCMPESTRM takes lengths by absolute value and spreads its mask over the elements") {
  SseBench b;
  put_text(b, 1, "abc");
  put_text(b, 2, "abd");
  b.s().gpr[RAX] = static_cast<u64>(i64{-3});
  b.s().gpr[RDX] = 2;
  b.execute("66 0f 3a 60 ca 48");         // equal each, bytes, to a byte mask
  CHECK(b.low(0) == 0xffffffffff00ffff);  // c against nothing differs; nothing equals nothing
  CHECK(b.high(0) == ~u64{0});
  CHECK(b.s().flags.pack() == (fl::cf | fl::zf | fl::sf | fl::of));
}

TEST_CASE("saturation stops at the limits of the type") {
  SseBench b;
  b.xmm(0, 0x7fff800000017fff);
  b.xmm(1, 0x0001ffff00010001);
  b.execute("66 0f ed c1");  // paddsw
  CHECK(b.low(0) == 0x7fff800000027fff);
  b.xmm(0, 0x00ff010080007fff, 0xffffffff00800081);
  b.xmm(1, 0);
  b.execute("66 0f 67 c1");  // packuswb
  CHECK(b.low(0) == 0x00008081ffff00ff);
  CHECK(b.high(0) == 0);
}

TEST_CASE("shift counts beyond the element shift everything out, or leave signs") {
  SseBench b;
  b.xmm(1, u64{1} << 32);
  b.xmm(0, 0x8000000080000001);
  b.execute("66 0f e2 c1");  // psrad by 2^32
  CHECK(b.low(0) == ~u64{0});
  b.xmm(0, 0x8000000080000001);
  b.execute("66 0f d2 c1");  // psrld
  CHECK(b.low(0) == 0);
  b.xmm(0, 1, 2);
  b.execute("66 0f 73 f8 0f");  // pslldq 15
  CHECK(b.low(0) == 0);
  CHECK(b.high(0) == u64{1} << 56);
}

TEST_CASE("minimum and maximum give the second operand where there is no order") {
  SseBench b;
  const u64 nan = 0x7ff8000000000000, minus_zero = bits(-0.0);
  const auto both = [&](u64 a, u64 second, const char* hex) {
    b.xmm(0, a);
    b.xmm(1, second);
    b.execute(hex);
    return b.low(0);
  };
  const char *minsd = "f2 0f 5d c1", *maxsd = "f2 0f 5f c1";
  CHECK(both(nan, bits(1), minsd) == bits(1));
  CHECK(both(bits(1), nan, maxsd) == nan);
  CHECK(both(0, minus_zero, minsd) == minus_zero);
  CHECK(both(minus_zero, 0, minsd) == 0);
  CHECK(b.s().mxcsr == (0x1f80 | 1));
}

TEST_CASE("a number beyond the integers becomes the indefinite value and is invalid") {
  SseBench b;
  b.xmm(1, bits(0x1p63));
  b.execute("f2 48 0f 2c c1");  // cvttsd2si rax, xmm1
  CHECK(b.s().gpr[RAX] == u64{1} << 63);
  CHECK(b.s().mxcsr == 0x1f81);
  b.s().mxcsr = 0x1f80;
  b.xmm(1, bits(-2147483648.5));
  b.execute("f2 0f 2d c1");  // cvtsd2si eax, xmm1 rounds to even first
  CHECK(b.s().gpr[RAX] == 0x80000000);
  CHECK(b.s().mxcsr == 0x1fa0);
}

TEST_CASE("ROUNDSD takes its mode from the immediate or from MXCSR, and may hide the loss of precision") {
  SseBench b;
  const auto round = [&](double v, const char* imm) {
    b.s().mxcsr = 0x1f80 | 1 << 13;  // down
    b.xmm(1, bits(v));
    b.execute(std::string("66 0f 3a 0b c1 ") + imm);
    return std::bit_cast<double>(b.low(0));
  };
  CHECK(round(2.5, "00") == 2);
  CHECK(b.s().mxcsr & 0x20);
  CHECK(round(3.5, "08") == 4);
  CHECK_FALSE(b.s().mxcsr & 0x20);
  CHECK(round(2.5, "02") == 3);
  CHECK(round(-2.5, "03") == -2);
  CHECK(round(-2.5, "04") == -3);
  CHECK(bits(round(-0.25, "02")) == bits(-0.0));
  CHECK(round(0x1p60, "00") == 0x1p60);
}

TEST_CASE("comparisons tell unordered from less, equal and greater, and clear the other flags") {
  SseBench b;
  const auto flags = [&](double a, double second) {
    b.s().flags.unpack(fl::of | fl::sf | fl::af);
    b.xmm(0, bits(a));
    b.xmm(1, bits(second));
    b.execute("66 0f 2e c1");  // ucomisd
    return b.s().flags.pack();
  };
  CHECK(flags(1, 2) == fl::cf);
  CHECK(flags(2, 1) == 0);
  CHECK(flags(2, 2) == fl::zf);
  CHECK(flags(2, std::bit_cast<double>(0x7ff8000000000000)) == (fl::cf | fl::pf | fl::zf));
  CHECK(b.s().mxcsr == 0x1f80);
  b.execute("66 0f 2f c1");  // comisd: a quiet NaN is invalid
  CHECK(b.s().mxcsr == 0x1f81);
}

TEST_CASE("scalar loads clear the register, scalar moves between registers do not") {
  SseBench b;
  b.poke<u64>(0x30000, 0x1122334455667788);
  b.s().gpr[RBX] = 0x30000;
  b.xmm(0, ~u64{0}, ~u64{0});
  b.execute("f3 0f 10 03");  // movss xmm0, [rbx]
  CHECK(b.low(0) == 0x55667788);
  CHECK(b.high(0) == 0);
  b.xmm(1, ~u64{0}, ~u64{0});
  b.execute("f3 0f 10 c8");  // movss xmm1, xmm0
  CHECK(b.low(1) == 0xffffffff55667788);
  CHECK(b.high(1) == ~u64{0});
  b.execute("f2 0f 10 0b");  // movsd xmm1, [rbx]
  CHECK(b.low(1) == 0x1122334455667788);
  CHECK(b.high(1) == 0);
}
