// Integer names, the three address spaces as three types, and page sizes.
// Linear = guest virtual after segmentation (SDM vol. 3, 3.1); physical = what a guest's tables hold;
// machine = the host's installed memory. Natively physical and machine coincide, but only a Stage may say so.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace nestwalk {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using u128 = unsigned __int128;
using i128 = __int128;

using Cycles = u64;

/// An address that cannot be mistaken for one of another space.
template <class Space>
struct Address {
  u64 value = 0;

  constexpr Address() = default;
  constexpr explicit Address(u64 v) : value(v) {}

  friend constexpr auto operator<=>(Address, Address) = default;
  friend constexpr Address operator+(Address a, u64 n) { return Address(a.value + n); }
  friend constexpr Address operator-(Address a, u64 n) { return Address(a.value - n); }

  constexpr u64 page_offset() const { return value & 0xfff; }
  constexpr Address page() const { return Address(value & ~u64{0xfff}); }
};

using LinearAddr = Address<struct LinearSpace>;
using PhysAddr = Address<struct PhysSpace>;
using MachineAddr = Address<struct MachineSpace>;

inline constexpr unsigned kPageShift = 12;
inline constexpr u64 kPageBytes = 4096;
inline constexpr u64 kPageMask = kPageBytes - 1;

/// A translation's size; the value is log2 of its bytes.
enum class PageSize : u8 { k4K = 12, k2M = 21, k4M = 22, k1G = 30 };

constexpr unsigned shift_of(PageSize s) { return static_cast<unsigned>(s); }
constexpr u64 bytes_of(PageSize s) { return u64{1} << shift_of(s); }
constexpr u64 offset_mask(PageSize s) { return bytes_of(s) - 1; }

constexpr const char* name_of(PageSize s) {
  switch (s) {
    case PageSize::k4K: return "4K";
    case PageSize::k2M: return "2M";
    case PageSize::k4M: return "4M";
    case PageSize::k1G: return "1G";
  }
  return "?";
}

}  // namespace nestwalk
