// Arithmetic flags, kept lazily as a result and a carry vector.
//
// `result` is the last result, sign-extended: ZF = (result == 0), SF and PF from it. `carry` holds CF in bit 63, CF^OF in
// bit 62, AF in bit 3; for combinations that no result can show (POPF, SAHF): bit 4 inverts SF, bits 8..15 are XORed
// into the byte whose parity is PF.
#pragma once

#include "base/bits.h"

namespace nestwalk::cpu {

namespace fl {
inline constexpr u64 cf = 1, pf = 4, af = 16, zf = 64, sf = 128, tf = 256, if_ = 512, df = 1024, of = 2048, iopl = 3 << 12,
                     nt = 1 << 14, rf = 1 << 16, vm = 1 << 17, ac = 1 << 18, vif = 1 << 19, vip = 1 << 20, id = 1 << 21;
inline constexpr u64 arithmetic = cf | pf | af | zf | sf | of;
inline constexpr u64 fixed = 2;
}  // namespace fl

struct Flags {
  u64 result = 1;
  u64 carry = 0;

  static constexpr u64 kCf = bit(63), kOfXor = bit(62), kAf = bit(3), kSfXor = bit(4);

  bool cf() const { return carry >> 63; }
  bool of() const { return (carry ^ (carry << 1)) >> 63; }
  bool af() const { return carry & kAf; }
  bool zf() const { return result == 0; }
  bool sf() const { return (result >> 63) ^ ((carry >> 4) & 1); }
  bool pf() const { return !(std::popcount(static_cast<u8>(result ^ (carry >> 8))) & 1); }

  /// After r = a + b (+ carry in), width of T. c is the vector of carries out of every bit.
  template <class T>
  NW_INLINE void carries(T r, T c) {
    result = sext(r);
    carry = ((static_cast<u64>(c) << (64 - kBits<T>)) & (kCf | kOfXor)) | (c & kAf);
  }
  template <class T>
  NW_INLINE void add(T a, T b, T r) {
    carries<T>(r, static_cast<T>((a & b) | ((a | b) & ~r)));
  }
  /// After r = a - b (- borrow in): the vector of borrows.
  template <class T>
  NW_INLINE void sub(T a, T b, T r) {
    carries<T>(r, static_cast<T>((~a & b) | ((~a | b) & r)));
  }
  /// Logic: CF = OF = AF = 0 (AF is undefined; the policy is 0).
  template <class T>
  NW_INLINE void logic(T r) {
    result = sext(r);
    carry = 0;
  }
  void set_cf_of(bool c, bool o) { carry = (carry & ~(kCf | kOfXor)) | (c ? kCf : 0) | (c != o ? kOfXor : 0); }
  void set_cf(bool c) { set_cf_of(c, of()); }
  void set_of(bool o) { set_cf_of(cf(), o); }
  void set_af(bool a) { carry = (carry & ~kAf) | (a ? kAf : 0); }
  /// ZF, SF, PF from r; CF, OF, AF stay.
  template <class T>
  void set_szp(T r) {
    carry &= kCf | kOfXor | kAf;
    result = sext(r);
  }
  u64 pack() const {
    return (cf() ? fl::cf : 0) | (pf() ? fl::pf : 0) | (af() ? fl::af : 0) | (zf() ? fl::zf : 0) | (sf() ? fl::sf : 0) |
           (of() ? fl::of : 0);
  }
  void unpack(u64 f) {
    carry = 0;
    set_cf_of(f & fl::cf, f & fl::of);
    set_af(f & fl::af);
    result = f & fl::zf ? 0 : 1;  // parity of the low byte: 0 even, 1 odd
    const bool parity_of_result = f & fl::zf;
    if (static_cast<bool>(f & fl::pf) != parity_of_result) carry |= 1 << 8;
    if (f & fl::sf) carry |= kSfXor;
  }
  void set_zf(bool z) {
    u64 f = pack();
    f = z ? f | fl::zf : f & ~fl::zf;
    unpack(f);
  }
};

}  // namespace nestwalk::cpu
