// SHA extensions (SDM vol. 2: SHA1MSG1 ... SHA256RNDS2; FIPS 180-4 for the functions). Words are named as in the manual:
// the oldest word of a block lies in the highest element for SHA-1, in the lowest for SHA-256's schedule.
#include <array>

#include "cpu/exec/lanes.h"

namespace nestwalk::cpu {
namespace {

using L = Lanes<2>;

// ---- SHA-1 -------------------------------------------------------------------------------------------------------------

/// Ch, Parity, Maj, Parity (FIPS 180-4, 4.1.1) and their constants (4.2.1).
constexpr u32 f1(unsigned stage, u32 b, u32 c, u32 d) {
  switch (stage) {
    case 0: return (b & c) ^ (~b & d);
    case 2: return (b & c) ^ (b & d) ^ (c & d);
    default: return b ^ c ^ d;
  }
}
constexpr u32 kSha1Constant[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};

/// Four rounds on A..D; E enters with the first message word (SHA1NEXTE has added it).
struct Sha1Rounds {
  L operator()(const L& state, const L& words, u8 imm) const {
    const unsigned stage = imm & 3;
    u32 a = state.get<u32>(3), b = state.get<u32>(2), c = state.get<u32>(1), d = state.get<u32>(0), e = 0;
    for (unsigned round = 0; round < 4; ++round) {
      const u32 next = std::rotl(a, 5) + f1(stage, b, c, d) + e + words.get<u32>(3 - round) + kSha1Constant[stage];
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    L r;
    r.set<u32>(3, a);
    r.set<u32>(2, b);
    r.set<u32>(1, c);
    r.set<u32>(0, d);
    return r;
  }
};

struct Sha1NextE {
  L operator()(const L& state, const L& words) const {
    L r = words;
    r.set<u32>(3, words.get<u32>(3) + std::rotl(state.get<u32>(3), 30));
    return r;
  }
};

struct Sha1Message1 {
  L operator()(const L& a, const L& b) const {
    const u32 w[6] = {a.get<u32>(3), a.get<u32>(2), a.get<u32>(1), a.get<u32>(0), b.get<u32>(3), b.get<u32>(2)};
    L r;
    for (unsigned n = 0; n < 4; ++n) r.set<u32>(3 - n, w[n + 2] ^ w[n]);
    return r;
  }
};

struct Sha1Message2 {
  L operator()(const L& a, const L& b) const {
    // w[n - 3] of the last of the four is the first of them.
    const u32 w16 = std::rotl(a.get<u32>(3) ^ b.get<u32>(2), 1);
    L r;
    r.set<u32>(3, w16);
    r.set<u32>(2, std::rotl(a.get<u32>(2) ^ b.get<u32>(1), 1));
    r.set<u32>(1, std::rotl(a.get<u32>(1) ^ b.get<u32>(0), 1));
    r.set<u32>(0, std::rotl(a.get<u32>(0) ^ w16, 1));
    return r;
  }
};

// ---- SHA-256 -----------------------------------------------------------------------------------------------------------

constexpr u32 small_sigma0(u32 x) { return std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3); }
constexpr u32 small_sigma1(u32 x) { return std::rotr(x, 17) ^ std::rotr(x, 19) ^ (x >> 10); }
constexpr u32 big_sigma0(u32 x) { return std::rotr(x, 2) ^ std::rotr(x, 13) ^ std::rotr(x, 22); }
constexpr u32 big_sigma1(u32 x) { return std::rotr(x, 6) ^ std::rotr(x, 11) ^ std::rotr(x, 25); }

/// Two rounds. The destination holds C D G H, the source A B E F, XMM0 two words with their constants added; the result is
/// the new A B E F.
struct Sha256Rounds {
  L operator()(Cpu& cpu, const L& cdgh, const L& abef) const {
    const L wk = vector_reg<2>(cpu, 0);
    u32 a = abef.get<u32>(3), b = abef.get<u32>(2), c = cdgh.get<u32>(3), d = cdgh.get<u32>(2);
    u32 e = abef.get<u32>(1), f = abef.get<u32>(0), g = cdgh.get<u32>(1), h = cdgh.get<u32>(0);
    for (unsigned round = 0; round < 2; ++round) {
      const u32 t1 = h + big_sigma1(e) + ((e & f) ^ (~e & g)) + wk.get<u32>(round);
      const u32 t2 = big_sigma0(a) + ((a & b) ^ (a & c) ^ (b & c));
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + t2;
    }
    L r;
    r.set<u32>(3, a);
    r.set<u32>(2, b);
    r.set<u32>(1, e);
    r.set<u32>(0, f);
    return r;
  }
};

struct Sha256Message1 {
  L operator()(const L& a, const L& b) const {
    L r;
    for (unsigned n = 0; n < 4; ++n) r.set<u32>(n, a.get<u32>(n) + small_sigma0(n < 3 ? a.get<u32>(n + 1) : b.get<u32>(0)));
    return r;
  }
};

struct Sha256Message2 {
  L operator()(const L& a, const L& b) const {
    L r;
    r.set<u32>(0, a.get<u32>(0) + small_sigma1(b.get<u32>(2)));
    r.set<u32>(1, a.get<u32>(1) + small_sigma1(b.get<u32>(3)));
    r.set<u32>(2, a.get<u32>(2) + small_sigma1(r.get<u32>(0)));
    r.set<u32>(3, a.get<u32>(3) + small_sigma1(r.get<u32>(1)));
    return r;
  }
};

}  // namespace

Handler bind_sha(const Insn& i) {
  switch (i.op) {
    case Op::SHA1RNDS4: return xmm_only<Sha1Rounds>(i);
    case Op::SHA1NEXTE: return xmm_only<Sha1NextE>(i);
    case Op::SHA1MSG1: return xmm_only<Sha1Message1>(i);
    case Op::SHA1MSG2: return xmm_only<Sha1Message2>(i);
    case Op::SHA256RNDS2: return xmm_only<Sha256Rounds>(i);
    case Op::SHA256MSG1: return xmm_only<Sha256Message1>(i);
    case Op::SHA256MSG2: return xmm_only<Sha256Message2>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
