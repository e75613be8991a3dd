// AES-NI and PCLMULQDQ (SDM vol. 2; FIPS-197; Intel's carry-less multiplication white paper). The S-box is computed, not
// copied: the inverse in GF(2^8) followed by the affine map of FIPS-197, 5.1.1. The state is column-major: byte 4c+r is row
// r, column c.
#include <array>

#include "cpu/exec/lanes.h"

namespace nestwalk::cpu {
namespace {

/// Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
constexpr u8 gf_multiply(u8 a, u8 b) {
  u8 r = 0;
  for (; b; b = static_cast<u8>(b >> 1)) {
    if (b & 1) r ^= a;
    a = static_cast<u8>((a << 1) ^ (a & 0x80 ? 0x1b : 0));
  }
  return r;
}

using Bytes256 = std::array<u8, 256>;
constexpr Bytes256 kSubstitute = [] {
  Bytes256 t{};
  // p runs through all non-zero elements as powers of 3, q through their inverses as powers of 1/3 = f6H.
  u8 p = 1, q = 1;
  do {
    p = gf_multiply(p, 3);
    q = gf_multiply(q, 0xf6);
    t[p] = static_cast<u8>(q ^ std::rotl(q, 1) ^ std::rotl(q, 2) ^ std::rotl(q, 3) ^ std::rotl(q, 4) ^ 0x63);
  } while (p != 1);
  t[0] = 0x63;
  return t;
}();
constexpr Bytes256 kInvSubstitute = [] {
  Bytes256 t{};
  for (unsigned k = 0; k < 256; ++k) t[kSubstitute[k]] = static_cast<u8>(k);
  return t;
}();
constexpr Bytes256 multiples_of(u8 factor) {
  Bytes256 t{};
  for (unsigned k = 0; k < 256; ++k) t[k] = gf_multiply(static_cast<u8>(k), factor);
  return t;
}
/// A row of the MixColumns matrix, or of its inverse: the tables of multiples in order of rotation.
struct Mix {
  Bytes256 factor[4];
};
constexpr Mix kMix{{multiples_of(2), multiples_of(3), multiples_of(1), multiples_of(1)}};
constexpr Mix kInvMix{{multiples_of(14), multiples_of(11), multiples_of(13), multiples_of(9)}};

/// ShiftRows (direction 1) or InvShiftRows (3), then the byte substitution.
Lanes<2> shift_and_substitute(const Lanes<2>& s, unsigned direction, const Bytes256& box) {
  Lanes<2> r;
  for (unsigned k = 0; k < 16; ++k) {
    const unsigned row = k & 3, column = k >> 2;
    r.set<u8>(k, box[s.get<u8>(4 * ((column + direction * row) & 3) + row)]);
  }
  return r;
}

Lanes<2> mix_columns(const Lanes<2>& s, const Mix& mix) {
  Lanes<2> r;
  for (unsigned k = 0; k < 16; ++k) {
    u8 v = 0;
    for (unsigned n = 0; n < 4; ++n) v ^= mix.factor[n][s.get<u8>((k & ~3u) + ((k + n) & 3))];
    r.set<u8>(k, v);
  }
  return r;
}

Lanes<2> add_key(const Lanes<2>& s, const Lanes<2>& key) { return {{s.q[0] ^ key.q[0], s.q[1] ^ key.q[1]}}; }

using Encrypt = decltype([](const Lanes<2>& s, const Lanes<2>& key) {
  return add_key(mix_columns(shift_and_substitute(s, 1, kSubstitute), kMix), key);
});
using EncryptLast = decltype([](const Lanes<2>& s, const Lanes<2>& key) {
  return add_key(shift_and_substitute(s, 1, kSubstitute), key);
});
using Decrypt = decltype([](const Lanes<2>& s, const Lanes<2>& key) {
  return add_key(mix_columns(shift_and_substitute(s, 3, kInvSubstitute), kInvMix), key);
});
using DecryptLast = decltype([](const Lanes<2>& s, const Lanes<2>& key) {
  return add_key(shift_and_substitute(s, 3, kInvSubstitute), key);
});
using InvMixColumns = decltype([](const Lanes<2>&, const Lanes<2>& b) { return mix_columns(b, kInvMix); });

/// AESKEYGENASSIST: SubWord of words 1 and 3, and the same rotated and with the round constant.
struct KeygenAssist {
  Lanes<2> operator()(const Lanes<2>&, const Lanes<2>& b, u8 round_constant) const {
    Lanes<2> r;
    for (unsigned k = 0; k < 2; ++k) {
      u32 word = 0;
      for (unsigned n = 0; n < 4; ++n) word |= u32{kSubstitute[b.get<u8>(8 * k + 4 + n)]} << (8 * n);
      r.set<u32>(2 * k, word);
      r.set<u32>(2 * k + 1, std::rotr(word, 8) ^ round_constant);
    }
    return r;
  }
};

/// PCLMULQDQ: imm bit 0 selects the quadword of a, bit 4 that of b.
struct CarrylessMultiply {
  Lanes<2> operator()(const Lanes<2>& a, const Lanes<2>& b, u8 imm) const {
    const u64 x = a.q[imm & 1];
    u128 r = 0;
    for (u64 y = b.q[imm >> 4 & 1]; y; y &= y - 1) r ^= u128{x} << std::countr_zero(y);
    return {{static_cast<u64>(r), static_cast<u64>(r >> 64)}};
  }
};

}  // namespace

Handler bind_aes(const Insn& i) {
  switch (i.op) {
    case Op::AESENC: return xmm_only<Encrypt>(i);
    case Op::AESENCLAST: return xmm_only<EncryptLast>(i);
    case Op::AESDEC: return xmm_only<Decrypt>(i);
    case Op::AESDECLAST: return xmm_only<DecryptLast>(i);
    case Op::AESIMC: return xmm_only<InvMixColumns>(i);
    case Op::AESKEYGENASSIST: return xmm_only<KeygenAssist>(i);
    case Op::PCLMULQDQ: return xmm_only<CarrylessMultiply>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
