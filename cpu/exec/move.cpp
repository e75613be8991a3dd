// MOV MOVZX MOVSX MOVSXD LEA NOP PUSH POP LEAVE (SDM vol. 2). Forms with control, debug and segment registers are bound in
// exec/system.cpp and exec/misc.cpp.
#include "cpu/bind.h"

namespace nestwalk::cpu {

Handler bind_mov_seg(const Insn&);   // exec/misc.cpp
Handler bind_push_seg(const Insn&);  // exec/misc.cpp
Handler bind_pop_seg(const Insn&);   // exec/misc.cpp
Handler bind_mov_cr(const Insn&);    // exec/system.cpp
Handler bind_mov_dr(const Insn&);    // exec/system.cpp

namespace {

template <class T>
void mov_rr(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], c.gpr<T>(i.reg[1]));
}
template <class T>
void mov_ri(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], static_cast<T>(i.imm));
}
template <class M, class T>
bool mov_rm(Cpu& c, const Insn& i) {
  T v;
  if (!M::load(c, i, v)) return false;
  c.set_gpr<T>(i.reg[0], v);
  return true;
}
template <class M, class T>
bool mov_mr(Cpu& c, const Insn& i) {
  return M::store(c, i, c.gpr<T>(i.reg[1]));
}
template <class M, class T>
bool mov_mi(Cpu& c, const Insn& i) {
  return M::store(c, i, static_cast<T>(i.imm));
}

template <class T>
Handler mov(const Insn& i) {
  if (i.kind[0] == Operand::gpr) {
    if (i.kind[1] == Operand::gpr) return pure<mov_rr<T>>;
    if (i.kind[1] == Operand::imm) return pure<mov_ri<T>>;
    return NW_MEMORY(mov_rm, T);
  }
  return i.kind[1] == Operand::gpr ? NW_MEMORY(mov_mr, T) : NW_MEMORY(mov_mi, T);
}

/// From S to the wider T, both unsigned (MOVZX) or both signed (MOVSX).
template <class T, class S>
void extend_r(Cpu& c, const Insn& i) {
  c.set_gpr<std::make_unsigned_t<T>>(i.reg[0], static_cast<std::make_unsigned_t<T>>(static_cast<T>(c.gpr<S>(i.reg[1]))));
}
template <class M, class T, class S>
bool extend_m(Cpu& c, const Insn& i) {
  S v;
  if (!M::load(c, i, v)) return false;
  c.set_gpr<std::make_unsigned_t<T>>(i.reg[0], static_cast<std::make_unsigned_t<T>>(static_cast<T>(v)));
  return true;
}
template <class T, class S>
Handler extend(const Insn& i) {
  return i.kind[1] == Operand::gpr ? pure<extend_r<T, S>> : NW_MEMORY(extend_m, T, S);
}

template <class T>
void lea(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], static_cast<T>(c.offset_of(i)));
}
/// The usual LEA: 64-bit addresses need no truncation before the destination's.
template <class T>
void lea64(Cpu& c, const Insn& i) {
  c.set_gpr<T>(i.reg[0], static_cast<T>(c.s.gpr[i.base] + (c.s.gpr[i.index] << i.scale) + static_cast<u64>(i.disp)));
}

void nop(Cpu&, const Insn&) {}

/// Outside 64-bit mode the stack is the whole way's business.
template <class M, class T>
NW_INLINE bool push_value(Cpu& c, T v) {
  if constexpr (std::is_same_v<M, Filtered>) {
    const u64 sp = c.s.gpr[RSP] - sizeof(T);
    if (!c.long64() || !M::store_at(c, sp, SS, v)) return false;
    c.s.gpr[RSP] = sp;
  } else {
    c.push<T>(v);
  }
  return true;
}
template <class M, class T>
bool push_r(Cpu& c, const Insn& i) {
  return push_value<M, T>(c, c.gpr<T>(i.reg[0]));
}
template <class M, class T>
bool push_i(Cpu& c, const Insn& i) {
  return push_value<M, T>(c, static_cast<T>(i.imm));
}
template <class T>
void push_m(Cpu& c, const Insn& i) {
  c.push<T>(c.load<T>(i));
}
template <class M, class T>
bool pop_r(Cpu& c, const Insn& i) {
  T v;
  if constexpr (std::is_same_v<M, Filtered>) {
    if (!c.long64() || !M::load_at(c, c.s.gpr[RSP], SS, v)) return false;
    c.s.gpr[RSP] += sizeof(T);
  } else {
    v = c.pop<T>();
  }
  c.set_gpr<T>(i.reg[0], v);
  return true;
}
/// An address that uses the stack pointer sees it already moved; on a fault it goes back.
template <class T>
void pop_m(Cpu& c, const Insn& i) {
  const u64 before = c.s.gpr[RSP];
  const T v = c.pop<T>();
  try {
    c.store<T>(i, v);
  } catch (...) {
    c.s.gpr[RSP] = before;
    throw;
  }
}

template <class T>
void leave(Cpu& c, const Insn&) {
  const u64 before = c.s.gpr[RSP];
  c.set_sp(c.s.gpr[RBP]);
  try {
    c.set_gpr<T>(8 * RBP, c.pop<T>());
  } catch (...) {
    c.s.gpr[RSP] = before;
    throw;
  }
}

}  // namespace

Handler bind_mov(const Insn& i) {
  for (unsigned n = 0; n < 2; ++n) {
    if (i.kind[n] == Operand::seg) return bind_mov_seg(i);
    if (i.kind[n] == Operand::cr) return bind_mov_cr(i);
    if (i.kind[n] == Operand::dr) return bind_mov_dr(i);
  }
  return i.width == 8 ? mov<u64>(i) : i.width == 4 ? mov<u32>(i) : i.width == 2 ? mov<u16>(i) : mov<u8>(i);
}

Handler bind_movzx(const Insn& i) {
  const bool byte = i.size[1] == 1;
  if (i.width == 8) return byte ? extend<u64, u8>(i) : extend<u64, u16>(i);
  if (i.width == 4) return byte ? extend<u32, u8>(i) : extend<u32, u16>(i);
  return byte ? extend<u16, u8>(i) : extend<u16, u16>(i);
}

Handler bind_movsx(const Insn& i) {
  const u8 from = i.size[1];
  if (i.width == 8) return from == 1 ? extend<i64, i8>(i) : from == 2 ? extend<i64, i16>(i) : extend<i64, i32>(i);
  if (i.width == 4) return from == 1 ? extend<i32, i8>(i) : from == 2 ? extend<i32, i16>(i) : extend<i32, i32>(i);
  return from == 1 ? extend<i16, i8>(i) : extend<i16, i16>(i);
}

Handler bind_lea(const Insn& i) {
  if (i.kind[1] != Operand::mem) return nullptr;
  if (i.address == 8) return i.width == 8 ? pure<lea64<u64>> : i.width == 4 ? pure<lea64<u32>> : pure<lea64<u16>>;
  return i.width == 8 ? pure<lea<u64>> : i.width == 4 ? pure<lea<u32>> : pure<lea<u16>>;
}

Handler bind_nop(const Insn&) { return pure<nop>; }

Handler bind_push(const Insn& i) {
  if (i.kind[0] == Operand::seg) return bind_push_seg(i);
  if (i.kind[0] == Operand::gpr)
    return i.width == 8 ? NW_MEMORY(push_r, u64) : i.width == 4 ? NW_MEMORY(push_r, u32) : NW_MEMORY(push_r, u16);
  if (i.kind[0] == Operand::imm)
    return i.width == 8 ? NW_MEMORY(push_i, u64) : i.width == 4 ? NW_MEMORY(push_i, u32) : NW_MEMORY(push_i, u16);
  return i.width == 8 ? then_next<push_m<u64>> : i.width == 4 ? then_next<push_m<u32>> : then_next<push_m<u16>>;
}

Handler bind_pop(const Insn& i) {
  if (i.kind[0] == Operand::seg) return bind_pop_seg(i);
  if (i.kind[0] == Operand::gpr)
    return i.width == 8 ? NW_MEMORY(pop_r, u64) : i.width == 4 ? NW_MEMORY(pop_r, u32) : NW_MEMORY(pop_r, u16);
  return i.width == 8 ? then_next<pop_m<u64>> : i.width == 4 ? then_next<pop_m<u32>> : then_next<pop_m<u16>>;
}

Handler bind_leave(const Insn& i) {
  return i.width == 8 ? then_next<leave<u64>> : i.width == 4 ? then_next<leave<u32>> : then_next<leave<u16>>;
}

}  // namespace nestwalk::cpu
