// The SHA extensions: the standard's own examples (FIPS 180-4; NIST's "abc"), and random messages, both against a
// straightforward SHA written from the standard's formulas. Whole blocks are hashed with one instruction at a time.
#include <bit>

#include "base/random.h"
#include "test/cpu/lines.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

using Words = std::array<u32, 4>;  ///< element 0 first

/// XMM1 = op(XMM1, XMM2), XMM0 beside them.
class ShaUnit {
 public:
  Words operator()(const char* code, const Words& a, const Words& b, const Words& implicit = {}) {
    Snippet c;
    c.set_code(bytes_of_hex(code));
    c.state.fx = clean_fx();
    put(c, 0, implicit);
    put(c, 1, a);
    put(c, 2, b);
    machine_.run(c);
    REQUIRE(c.vector == -1);
    Words r;
    std::memcpy(r.data(), &c.state.fx[176], 16);
    return r;
  }

 private:
  static void put(Snippet& c, unsigned n, const Words& v) { std::memcpy(&c.state.fx[160 + 16 * n], v.data(), 16); }
  SnippetMachine machine_;
};

using Block = std::array<u32, 16>;

// ---- with the instructions ---------------------------------------------------------------------------------------------

std::array<u32, 5> sha1_by_unit(ShaUnit& unit, std::array<u32, 5> h, const Block& m) {
  const char* const rounds[4] = {"0f 3a cc ca 00", "0f 3a cc ca 01", "0f 3a cc ca 02", "0f 3a cc ca 03"};
  std::vector<Words> w;
  for (unsigned g = 0; g < 4; ++g) w.push_back({m[4 * g + 3], m[4 * g + 2], m[4 * g + 1], m[4 * g]});
  for (unsigned g = 4; g < 20; ++g) {
    Words t = unit("0f 38 c9 ca", w[g - 4], w[g - 3]);  // sha1msg1
    for (unsigned n = 0; n < 4; ++n) t[n] ^= w[g - 2][n];
    w.push_back(unit("0f 38 ca ca", t, w[g - 1]));  // sha1msg2
  }
  Words abcd{h[3], h[2], h[1], h[0]}, before = abcd;
  for (unsigned g = 0; g < 20; ++g) {
    Words e = w[g];
    if (g == 0)
      e[3] += h[4];
    else
      e = unit("0f 38 c8 ca", before, w[g]);  // sha1nexte
    before = abcd;
    abcd = unit(rounds[g / 5], abcd, e);
  }
  const Words last = unit("0f 38 c8 ca", before, {0, 0, 0, h[4]});
  return {h[0] + abcd[3], h[1] + abcd[2], h[2] + abcd[1], h[3] + abcd[0], last[3]};
}

constexpr std::array<u32, 64> kSha256Constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::array<u32, 8> sha256_by_unit(ShaUnit& unit, std::array<u32, 8> h, const Block& m) {
  std::vector<Words> w;
  for (unsigned g = 0; g < 4; ++g) w.push_back({m[4 * g], m[4 * g + 1], m[4 * g + 2], m[4 * g + 3]});
  for (unsigned g = 4; g < 16; ++g) {
    Words t = unit("0f 38 cc ca", w[g - 4], w[g - 3]);  // sha256msg1
    for (unsigned n = 0; n < 4; ++n) t[n] += n < 3 ? w[g - 2][n + 1] : w[g - 1][0];
    w.push_back(unit("0f 38 cd ca", t, w[g - 1]));  // sha256msg2
  }
  Words abef{h[5], h[4], h[1], h[0]}, cdgh{h[7], h[6], h[3], h[2]};
  for (unsigned g = 0; g < 16; ++g)
    for (unsigned half = 0; half < 2; ++half) {
      Words wk{};
      for (unsigned n = 0; n < 2; ++n) wk[n] = w[g][2 * half + n] + kSha256Constants[4 * g + 2 * half + n];
      const Words next = unit("0f 38 cb ca", cdgh, abef, wk);  // sha256rnds2
      cdgh = abef;
      abef = next;
    }
  return {h[0] + abef[3], h[1] + abef[2], h[2] + cdgh[3], h[3] + cdgh[2],
          h[4] + abef[1], h[5] + abef[0], h[6] + cdgh[1], h[7] + cdgh[0]};
}

// ---- by the standard's text --------------------------------------------------------------------------------------------

std::array<u32, 5> sha1_by_text(std::array<u32, 5> h, const Block& m) {
  u32 w[80];
  for (unsigned t = 0; t < 80; ++t) w[t] = t < 16 ? m[t] : std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  u32 a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
  for (unsigned t = 0; t < 80; ++t) {
    const u32 f = t < 20 ? (b & c) | (~b & d) : t < 40 || t >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
    const u32 k = t < 20 ? 0x5a827999 : t < 40 ? 0x6ed9eba1 : t < 60 ? 0x8f1bbcdc : 0xca62c1d6;
    const u32 next = std::rotl(a, 5) + f + e + k + w[t];
    e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
  }
  return {h[0] + a, h[1] + b, h[2] + c, h[3] + d, h[4] + e};
}

std::array<u32, 8> sha256_by_text(std::array<u32, 8> h, const Block& m) {
  const auto r = [](u32 x, int n) { return std::rotr(x, n); };
  u32 w[64];
  for (unsigned t = 0; t < 64; ++t)
    w[t] = t < 16 ? m[t]
                  : (r(w[t - 2], 17) ^ r(w[t - 2], 19) ^ w[t - 2] >> 10) + w[t - 7] +
                        (r(w[t - 15], 7) ^ r(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 16];
  std::array<u32, 8> v = h;
  for (unsigned t = 0; t < 64; ++t) {
    const u32 t1 =
        v[7] + (r(v[4], 6) ^ r(v[4], 11) ^ r(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + kSha256Constants[t] + w[t];
    const u32 t2 = (r(v[0], 2) ^ r(v[0], 13) ^ r(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    v = {t1 + t2, v[0], v[1], v[2], v[3] + t1, v[4], v[5], v[6]};
  }
  for (unsigned n = 0; n < 8; ++n) v[n] += h[n];
  return v;
}

constexpr std::array<u32, 5> kSha1Start = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
constexpr std::array<u32, 8> kSha256Start = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
/// "abc", padded to one block.
constexpr Block kAbc = {0x61626380, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24};

}  // namespace

TEST_CASE("the SHA instructions give FIPS 180-4's digests of 'abc'") {
  ShaUnit unit;
  CHECK(sha1_by_unit(unit, kSha1Start, kAbc) ==
        std::array<u32, 5>{0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c, 0x9cd0d89d});
  CHECK(sha256_by_unit(unit, kSha256Start, kAbc) ==
        std::array<u32, 8>{0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad});
}

TEST_CASE("the SHA instructions agree with a SHA written from the standard's text on random blocks and states") {
  ShaUnit unit;
  Random random(71);
  for (unsigned n = 0; n < 12; ++n) {
    Block m;
    for (u32& w : m) w = static_cast<u32>(random.next());
    std::array<u32, 5> one;
    for (u32& w : one) w = static_cast<u32>(random.next());
    std::array<u32, 8> two;
    for (u32& w : two) w = static_cast<u32>(random.next());
    CHECK(sha1_by_unit(unit, one, m) == sha1_by_text(one, m));
    CHECK(sha256_by_unit(unit, two, m) == sha256_by_text(two, m));
  }
}

TEST_CASE("SHA operands in memory must be aligned, and without the feature there is no instruction") {
  SnippetMachine machine;
  Snippet c;
  c.set_code(bytes_of_hex("0f 38 c8 0b"));  // sha1nexte xmm1, [rbx]
  c.state.fx = clean_fx();
  c.state.gpr[3] = kSnippetWindow + 16;
  c.memory[16 + 15] = 0x40;
  Snippet aligned = c;
  machine.run(aligned);
  CHECK(aligned.vector == -1);
  CHECK(aligned.state.fx[176 + 15] == 0x40);
  c.state.gpr[3] += 8;
  machine.run(c);
  CHECK(c.vector == 13);

  sim::Settings plain;
  plain.load_text("[cpu]\nmodel = skylake\n", "test");
  cpu::Insn insn;
  const u8 bytes[] = {0x0f, 0x38, 0xc8, 0x0b};
  CHECK_FALSE(cpu::decode(bytes, 4, cpu::CodeSize::k64, 0, cpu::Cpuid(plain, 1'000'000'000), insn));
}
