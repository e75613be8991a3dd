// The standard XSAVE area (SDM vol. 1, 13.4): how the child of the host, signal frames and images carry x87, XMM and YMM.
#pragma once

#include <cstring>

#include "test/oracle/harness/case.h"

namespace nestwalk::oracle {

inline constexpr unsigned kXsaveBytes = 576 + 256;
inline constexpr u64 kX87Sse = 3, kComponents = 7;  ///< XCR0: x87, SSE, AVX

template <class T>
void put(u8* area, unsigned at, const T& v) {
  std::memcpy(area + at, &v, sizeof v);
}
template <class T>
T get(const u8* area, unsigned at) {
  T v;
  std::memcpy(&v, area + at, sizeof v);
  return v;
}

inline void to_xsave(const Registers& r, u8* area, u64 components = kComponents) {
  std::memset(area, 0, kXsaveBytes);
  put(area, 0, r.fcw);
  put(area, 2, r.fsw);
  put(area, 4, r.tags);
  put(area, 24, r.mxcsr);
  for (unsigned n = 0; n < 8; ++n) {
    put(area, 32 + 16 * n, r.st[n].significand);
    put(area, 40 + 16 * n, static_cast<u16>(r.st[n].sign_exponent));
  }
  for (unsigned n = 0; n < 16; ++n) {
    std::memcpy(area + 160 + 16 * n, r.ymm[n].q.data(), 16);
    std::memcpy(area + 576 + 16 * n, r.ymm[n].q.data() + 2, 16);
  }
  put(area, 512, components);
}

/// `components`: XSTATE_BV; the others are in their initial state.
inline void from_xsave(const u8* area, u64 components, Registers& r) {
  const Registers initial;
  r.fcw = components & 1 ? get<u16>(area, 0) : initial.fcw;
  r.fsw = components & 1 ? get<u16>(area, 2) : initial.fsw;
  r.tags = components & 1 ? get<u8>(area, 4) : initial.tags;
  r.mxcsr = get<u32>(area, 24);
  for (unsigned n = 0; n < 8; ++n)
    r.st[n] = components & 1 ? Registers::Extended{get<u64>(area, 32 + 16 * n), get<u16>(area, 40 + 16 * n)}
                             : Registers::Extended{};
  for (unsigned n = 0; n < 16; ++n) {
    r.ymm[n] = {};
    if (components & 2) std::memcpy(r.ymm[n].q.data(), area + 160 + 16 * n, 16);
    if (components & 4) std::memcpy(r.ymm[n].q.data() + 2, area + 576 + 16 * n, 16);
  }
}

}  // namespace nestwalk::oracle
