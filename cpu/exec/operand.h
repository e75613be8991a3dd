// What the instruction files share: picking instantiations by width, feature gates, and addresses beside the plain
// memory operand (bit strings, multi-part images, hidden operands).
#pragma once

#include "cpu/bind.h"

namespace nestwalk::cpu {

/// The handler for the instruction's width; `pick` is called with a value of the unsigned type of that width.
template <class Pick>
Handler by_width(unsigned width, Pick pick) {
  switch (width) {
    case 8: return pick(u64{});
    case 4: return pick(u32{});
    case 2: return pick(u16{});
    default: return pick(u8{});
  }
}

/// Leaves the running block behind `i`, also in its middle: what follows is fetched and decoded anew.
inline void leave_block(Cpu& c, const Insn& i) {
  c.s.rip = c.next_rip(i);
  c.unretire_from(*(&i + 1));
}
/// For meanings that change what later instructions mean in some of their forms only (ends_block() in misc.cpp names them).
template <Meaning meaning>
void leaving(Cpu& c, const Insn& i) {
  c.current = &i;
  meaning(c, i);
  leave_block(c, i);
}

/// Read-modify-write of operand 0, register or memory: one translation. Returns the old value.
template <class T, class F>
NW_INLINE T update_operand(Cpu& c, const Insn& i, F&& f) {
  if (i.kind[0] != Operand::gpr) return c.update<T>(i, f);
  const T old = c.gpr<T>(i.reg[0]);
  c.set_gpr<T>(i.reg[0], f(old));
  return old;
}

constexpr u64 truncate_to(u64 v, unsigned bytes) {
  return bytes == 8 ? v : bytes == 4 ? static_cast<u32>(v) : static_cast<u16>(v);
}

/// Linear address of segment:offset. The offset is already truncated to the address size.
template <mmu::Side side>
NW_INLINE u64 linear_in(Cpu& c, u8 seg, u64 offset, unsigned bytes) {
  if (NW_LIKELY(c.long64())) return seg >= FS ? c.s.seg[seg].base + offset : offset;
  return c.linear_of(static_cast<Seg>(seg), offset, bytes, side == mmu::Side::store);
}

/// Linear address `delta` bytes away from the memory operand, the offset wrapping at the address size.
template <mmu::Side side>
NW_INLINE u64 linear_displaced(Cpu& c, const Insn& i, i64 delta, unsigned bytes) {
  const u64 offset = truncate_to(c.offset_of(i) + static_cast<u64>(delta), i.address);
  return linear_in<side>(c, i.segment, offset, bytes);
}

/// Linear address `n` bytes into an operand that begins at `linear`; 32 bits wrap outside 64-bit mode.
NW_INLINE u64 linear_step(const Cpu& c, u64 linear, u64 n) {
  return c.long64() ? linear + n : static_cast<u32>(linear + n);
}

/// An index or counter register at the address size (SDM vol. 1, 3.7.5.1). A 32-bit write clears the upper half.
NW_INLINE u64 get_at_size(const Cpu& c, unsigned r, unsigned bytes) { return truncate_to(c.s.gpr[r], bytes); }
NW_INLINE void set_at_size(Cpu& c, unsigned r, u64 v, unsigned bytes) {
  if (bytes == 2)
    c.s.gpr[r] = (c.s.gpr[r] & ~u64{0xffff}) | (v & 0xffff);
  else
    c.s.gpr[r] = truncate_to(v, bytes);
}

}  // namespace nestwalk::cpu
