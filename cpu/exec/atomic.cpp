// Exchange and compare-exchange (SDM vol. 2: XCHG, XADD, CMPXCHG, CMPXCHG8B/16B). One processor runs at a time, so a
// read-modify-write through Port::update is atomic with and without LOCK.
//
// `xchg %bx,%bx` (16 bits) is the guest's way to talk to us: a command in EAX, its argument in ECX (RCX in 64-bit mode).
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

template <class T>
void exchange_registers(Cpu& c, const Insn& i) {
  const T a = c.gpr<T>(i.reg[0]), b = c.gpr<T>(i.reg[1]);
  c.set_gpr<T>(i.reg[0], b);
  c.set_gpr<T>(i.reg[1], a);
}
/// Locked with and without the prefix.
template <class T>
void exchange_memory(Cpu& c, const Insn& i) {
  const u8 r = i.reg[i.kind[0] == Operand::mem ? 1 : 0];
  const T v = c.gpr<T>(r);
  c.set_gpr<T>(r, c.update<T>(i, [v](T) { return v; }));
}
void magic(Cpu& c, const Insn&) {
  c.platform.magic(static_cast<u32>(c.s.gpr[RAX]), c.long64() ? c.s.gpr[RCX] : static_cast<u32>(c.s.gpr[RCX]));
}
bool is_magic(const Insn& i) {
  return i.width == 2 && i.kind[0] == Operand::gpr && i.kind[1] == Operand::gpr && i.reg[0] == 8 * RBX &&
         i.reg[1] == 8 * RBX;
}

/// The sum goes to the destination last: XADD of a register with itself doubles it.
template <class T>
void xadd(Cpu& c, const Insn& i) {
  const T b = c.gpr<T>(i.reg[1]);
  T old{}, sum{};
  auto add = [&](T a) {
    old = a;
    return sum = static_cast<T>(a + b);
  };
  if (i.kind[0] == Operand::mem) {
    c.update<T>(i, add);
    c.set_gpr<T>(i.reg[1], old);
  } else {
    add(c.gpr<T>(i.reg[0]));
    c.set_gpr<T>(i.reg[1], old);
    c.set_gpr<T>(i.reg[0], sum);
  }
  c.s.flags.add<T>(old, b, sum);
}

/// Memory is written in both cases, with its old value on a mismatch.
template <class T>
void cmpxchg(Cpu& c, const Insn& i) {
  const T expected = c.gpr<T>(0), wanted = c.gpr<T>(i.reg[1]);
  T old;
  if (i.kind[0] == Operand::mem) {
    old = c.update<T>(i, [=](T v) { return v == expected ? wanted : v; });
  } else {
    old = c.gpr<T>(i.reg[0]);
    if (old == expected) c.set_gpr<T>(i.reg[0], wanted);
  }
  c.s.flags.sub<T>(expected, old, static_cast<T>(expected - old));
  if (old != expected) c.set_gpr<T>(0, old);
}

/// CMPXCHG8B and CMPXCHG16B: halves of width T, pairs of width U.
template <class T, class U>
void cmpxchg_pair(Cpu& c, const Insn& i) {
  const U expected = (static_cast<U>(c.gpr<T>(8 * RDX)) << kBits<T>) | c.gpr<T>(8 * RAX);
  const U wanted = (static_cast<U>(c.gpr<T>(8 * RCX)) << kBits<T>) | c.gpr<T>(8 * RBX);
  const u64 at = c.linear<mmu::Side::store>(i, sizeof(U));
  if (sizeof(U) == 16 && at % 16) c.gp();
  const U old = c.update_at<U>(
      at, [=](U v) { return v == expected ? wanted : v; }, i.segment);
  c.s.flags.set_zf(old == expected);
  if (old != expected) {
    c.set_gpr<T>(8 * RAX, static_cast<T>(old));
    c.set_gpr<T>(8 * RDX, static_cast<T>(old >> kBits<T>));
  }
}

}  // namespace

Handler bind_xchg(const Insn& i) {
  if (is_magic(i)) return leaving<magic>;
  if (i.kind[0] == Operand::mem || i.kind[1] == Operand::mem) return NW_BY_WIDTH(i, then_next, exchange_memory);
  return NW_BY_WIDTH(i, pure, exchange_registers);
}
Handler bind_xadd(const Insn& i) { return NW_BY_WIDTH(i, then_next, xadd); }
Handler bind_cmpxchg(const Insn& i) { return NW_BY_WIDTH(i, then_next, cmpxchg); }
Handler bind_cmpxchg8b(const Insn&) { return then_next<cmpxchg_pair<u32, u64>>; }
Handler bind_cmpxchg16b(const Insn&) { return then_next<cmpxchg_pair<u64, u128>>; }

}  // namespace nestwalk::cpu
