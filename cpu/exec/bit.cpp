// Single bits, bit scans, byte order and CRC-32C (SDM vol. 2: BT, BTS, BTR, BTC, BSF, BSR, POPCNT, BSWAP, MOVBE, CRC32).
//
// Undefined by the SDM, as Intel cores show it:
//   BT..        all flags but CF unchanged
//   BSF, BSR    source 0: destination unchanged. CF = OF = SF = AF = 0; PF of the result (measured, test/oracle)
//   BSWAP r16   clears the register
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

// ---- bit tests ------------------------------------------------------------------------------------------------------

struct Test {
  static constexpr bool kWrites = false;
  template <class T>
  static T apply(T a, T) {
    return a;
  }
};
struct Set {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(T a, T m) {
    return a | m;
  }
};
struct Reset {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(T a, T m) {
    return a & ~m;
  }
};
struct Complement {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(T a, T m) {
    return a ^ m;
  }
};

template <class Op, class T>
NW_INLINE T tested(Flags& f, T a, u64 n) {
  const T mask = static_cast<T>(T{1} << (n & (kBits<T> - 1)));
  f.set_cf(a & mask);
  return Op::template apply<T>(a, mask);
}

template <class Op, class T>
void bit_of_register(Cpu& c, const Insn& i) {
  const u64 n = i.kind[1] == Operand::imm ? static_cast<u64>(i.imm) : c.gpr<T>(i.reg[1]);
  const T r = tested<Op, T>(c.s.flags, c.gpr<T>(i.reg[0]), n);
  if constexpr (Op::kWrites) c.set_gpr<T>(i.reg[0], r);
}

/// A register bit offset is signed and addresses the whole bit string around the operand.
template <class Op, class T>
void bit_of_memory(Cpu& c, const Insn& i) {
  constexpr auto side = Op::kWrites ? mmu::Side::store : mmu::Side::load;
  i64 n = i.imm;
  u64 at;
  if (i.kind[1] == Operand::imm) {
    at = c.linear<side>(i, sizeof(T));
  } else {
    n = static_cast<i64>(sext(c.gpr<T>(i.reg[1])));
    at = linear_displaced<side>(c, i, (n >> std::countr_zero(kBits<T>)) * static_cast<i64>(sizeof(T)), sizeof(T));
  }
  const u64 bit_number = static_cast<u64>(n);
  if constexpr (Op::kWrites)
    c.update_at<T>(
        at, [&](T a) { return tested<Op, T>(c.s.flags, a, bit_number); }, i.segment);
  else
    tested<Op, T>(c.s.flags, c.load_at<T>(at, i.segment), bit_number);
}

template <class Op>
Handler bind_bit(const Insn& i) {
  return by_width(i.width, [&](auto t) -> Handler {
    using T = decltype(t);
    return i.kind[0] == Operand::gpr ? pure<bit_of_register<Op, T>> : then_next<bit_of_memory<Op, T>>;
  });
}

// ---- scans and counts -----------------------------------------------------------------------------------------------

template <class T, bool forward>
void scan(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  Flags& f = c.s.flags;
  f.logic(a);
  if (a == 0) return;
  const int n = forward ? std::countr_zero(a) : static_cast<int>(kBits<T>) - 1 - std::countl_zero(a);
  c.set_gpr<T>(i.reg[0], static_cast<T>(n));
  f.logic(static_cast<u8>(n));
  if (n == 0) f.set_zf(false);
}

template <class T>
void popcnt(Cpu& c, const Insn& i) {
  const T a = c.read<T>(i, 1);
  c.set_gpr<T>(i.reg[0], static_cast<T>(std::popcount(a)));
  c.s.flags.unpack(a ? 0 : fl::zf);
}

// ---- byte order -----------------------------------------------------------------------------------------------------

template <class T>
T swapped(T v) {
  if constexpr (sizeof(T) == 8)
    return __builtin_bswap64(v);
  else if constexpr (sizeof(T) == 4)
    return __builtin_bswap32(v);
  else
    return __builtin_bswap16(v);
}
template <class T>
void bswap(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], sizeof(T) == 2 ? T{0} : swapped(c.gpr<T>(i.reg[0])));
}
template <class T>
void movbe(Cpu& c, const Insn& i) {
  c.write<T>(i, 0, swapped(c.read<T>(i, 1)));
}

// ---- CRC-32C (polynomial 11EDC6F41h, reflected; as RFC 3720, appendix B.4) ------------------------------------------

constexpr std::array<u32, 256> crc_table() {
  std::array<u32, 256> table{};
  for (u32 n = 0; n < 256; ++n) {
    u32 v = n;
    for (int k = 0; k < 8; ++k) v = v & 1 ? (v >> 1) ^ 0x82f63b78 : v >> 1;
    table[n] = v;
  }
  return table;
}
constexpr auto kCrcTable = crc_table();

template <class T>
void crc32(Cpu& c, const Insn& i) {
  const T data = c.read<T>(i, 1);
  u32 crc = c.gpr<u32>(i.reg[0]);
  for (unsigned n = 0; n < kBits<T>; n += 8) crc = (crc >> 8) ^ kCrcTable[(crc ^ (data >> n)) & 0xff];
  c.set_gpr<u32>(i.reg[0], crc);
}

}  // namespace

Handler bind_bt(const Insn& i) { return bind_bit<Test>(i); }
Handler bind_bts(const Insn& i) { return bind_bit<Set>(i); }
Handler bind_btr(const Insn& i) { return bind_bit<Reset>(i); }
Handler bind_btc(const Insn& i) { return bind_bit<Complement>(i); }
Handler bind_bsf(const Insn& i) {
  return by_width(i.width, [](auto t) -> Handler { return then_next<scan<decltype(t), true>>; });
}
Handler bind_bsr(const Insn& i) {
  return by_width(i.width, [](auto t) -> Handler { return then_next<scan<decltype(t), false>>; });
}
Handler bind_popcnt(const Insn& i) {
  return by_width(i.width, [](auto t) -> Handler { return then_next<popcnt<decltype(t)>>; });
}
Handler bind_bswap(const Insn& i) {
  return i.width == 8 ? pure<bswap<u64>> : i.width == 4 ? pure<bswap<u32>> : pure<bswap<u16>>;
}
Handler bind_movbe(const Insn& i) {
  return i.width == 8 ? then_next<movbe<u64>> : i.width == 4 ? then_next<movbe<u32>> : then_next<movbe<u16>>;
}
Handler bind_crc32(const Insn& i) {
  return by_width(i.size[1], [](auto t) -> Handler { return then_next<crc32<decltype(t)>>; });
}

}  // namespace nestwalk::cpu
