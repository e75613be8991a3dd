// Building blocks of integer vector meanings: element by element, saturation, pairs within a lane. All are templates over
// the element type and the number of 64-bit words, so MMX, SSE and AVX forms share them.
#pragma once

#include <algorithm>
#include <limits>

#include "cpu/exec/vector.h"

namespace nestwalk::cpu {

/// The value of To that lies nearest to v.
template <class To, class From>
constexpr To saturate(From v) {
  return static_cast<To>(
      std::clamp<From>(v, From{std::numeric_limits<To>::min()}, static_cast<From>(std::numeric_limits<To>::max())));
}

/// r[k] = F(a[k], b[k]) for elements of type T.
template <class T, class F>
struct Each {
  template <unsigned N>
  NW_INLINE Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k)
      r.template set<T>(k, static_cast<T>(F{}(a.template get<T>(k), b.template get<T>(k))));
    return r;
  }
};

/// r[k] = F(b[k]): the destination's old value does not matter.
template <class T, class F>
struct EachOf {
  template <unsigned N>
  NW_INLINE Lanes<N> operator()(const Lanes<N>&, const Lanes<N>& b) const {
    Lanes<N> r;
    for (unsigned k = 0; k < Lanes<N>::template count<T>; ++k)
      r.template set<T>(k, static_cast<T>(F{}(b.template get<T>(k))));
    return r;
  }
};

/// In every lane: the pairs of a, then the pairs of b, each made one by F.
template <class T, class F>
struct Horizontal {
  template <unsigned N>
  NW_INLINE Lanes<N> operator()(const Lanes<N>& a, const Lanes<N>& b) const {
    constexpr unsigned n = Lanes<N>::template per_lane<T>;
    Lanes<N> r;
    for (unsigned lane = 0; lane < Lanes<N>::template count<T>; lane += n)
      for (unsigned k = 0; k < n; ++k) {
        const Lanes<N>& from = k < n / 2 ? a : b;
        const unsigned pair = lane + 2 * (k % (n / 2));
        r.template set<T>(lane + k, static_cast<T>(F{}(from.template get<T>(pair), from.template get<T>(pair + 1))));
      }
    return r;
  }
};

}  // namespace nestwalk::cpu
