// Where the emulated processor differs from the host's by policy, and not by mistake: rows "reciprocals" and
// "transcendentals" of cpu/undefined.h. Such results must agree within the bounds that the manual gives for them; if they
// do, the host's are taken over before the states are compared. Recognised by the bytes of the snippet.
#pragma once

#include <cmath>
#include <cstring>

#include "test/oracle/host_oracle.h"

namespace nestwalk::test {

inline bool is_segment_or_address(u8 b) { return (b & 0xe7) == 0x26 || b == 0x64 || b == 0x65 || b == 0x67; }

/// (V)RCPPS, (V)RCPSS, (V)RSQRTPS, (V)RSQRTSS: opcodes 52 and 53 of the map 0F without 66 and F2.
inline bool is_reciprocal(std::span<const u8> code) {
  std::size_t n = 0;
  while (n < code.size() && (code[n] == 0xf3 || (code[n] & 0xf0) == 0x40 || is_segment_or_address(code[n]))) ++n;
  if (n + 2 >= code.size()) return false;
  if (code[n] == 0xc5)
    n += 2;
  else if (code[n] == 0xc4 && (code[n + 1] & 31) == 1)
    n += 3;
  else if (code[n] == 0x0f)
    n += 1;
  else
    return false;
  return n < code.size() && (code[n] == 0x52 || code[n] == 0x53);
}

/// F2XM1, FYL2X, FPTAN, FPATAN, FYL2XP1, FSINCOS, FSIN, FCOS.
inline bool is_transcendental(std::span<const u8> code) {
  if (code.size() < 2 || code[0] != 0xd9) return false;
  switch (code[1]) {
    case 0xf0:
    case 0xf1:
    case 0xf2:
    case 0xf3:
    case 0xf9:
    case 0xfb:
    case 0xfe:
    case 0xff: return true;
    default: return false;
  }
}

/// Both err by at most 1.5 * 2^-12; what is about to leave the normal range may be a zero.
inline bool are_near_singles(u32 a, u32 b) {
  float x, y;
  std::memcpy(&x, &a, 4);
  std::memcpy(&y, &b, 4);
  if (!std::isfinite(x) || !std::isfinite(y) || std::signbit(x) != std::signbit(y)) return false;
  return std::fabs(x - y) <= std::fmax(std::fabs(y) * (3.0f / 4096), 0x1p-125f);
}

inline void reconcile_singles(u8* ours, const u8* native, unsigned bytes) {
  for (unsigned n = 0; n < bytes; n += 4) {
    u32 a, b;
    std::memcpy(&a, ours + n, 4);
    std::memcpy(&b, native + n, 4);
    if (a != b && are_near_singles(a, b)) std::memcpy(ours + n, &b, 4);
  }
}

/// At most one unit in the last place apart.
inline bool are_neighbours(const u8* a, const u8* b) {
  const auto ordered = [](const u8* v) {
    u64 significand;
    u16 exponent;
    std::memcpy(&significand, v, 8);
    std::memcpy(&exponent, v + 8, 2);
    const __int128 size = (static_cast<__int128>(exponent & 0x7fff) << 63) + (significand & ~(u64{1} << 63));
    return exponent >> 15 ? -size : size;
  };
  const __int128 d = ordered(a) - ordered(b);
  return d >= -1 && d <= 1;
}

inline void reconcile(const OracleCase& c, OracleCase& ours, const OracleCase& native) {
  const std::span<const u8> code{c.code.data(), c.length};
  if (is_reciprocal(code)) {
    reconcile_singles(&ours.state.fx[160], &native.state.fx[160], 256);
    for (unsigned n = 0; n < 16; ++n)
      reconcile_singles(reinterpret_cast<u8*>(ours.state.high[n].data()),
                        reinterpret_cast<const u8*>(native.state.high[n].data()), 16);
  } else if (is_transcendental(code)) {
    for (unsigned n = 32; n < 160; n += 16)
      if (are_neighbours(&ours.state.fx[n], &native.state.fx[n])) std::memcpy(&ours.state.fx[n], &native.state.fx[n], 10);
    constexpr u8 c1 = 2;  // which way the last bit was rounded
    ours.state.fx[3] = static_cast<u8>((ours.state.fx[3] & ~c1) | (native.state.fx[3] & c1));
  }
}

}  // namespace nestwalk::test
