// One decoded instruction, ready to execute: its meaning (a handler) and its operands in the form handlers read. No Zydis
// type leaves cpu/decode.cpp.
#pragma once

#include "base/types.h"

namespace nestwalk::cpu {

class Cpu;
struct Insn;

/// A bound meaning: executes `insn` and, unless it ends the block, tail-calls the handler of the instruction behind it.
using Handler = void (*)(Cpu&, const Insn&);

/// Instructions by mnemonic, from the table (cpu/table.def).
enum class Op : u16 {
#define OP(name, bind, traits) name,
#include "cpu/table.def"
#undef OP
  count_
};

enum class Operand : u8 { none, gpr, mem, imm, vec, mmx, x87, seg, cr, dr, rel };

/// Segment registers in encoding order (SDM vol. 2, B.1.4.?: ES CS SS DS FS GS).
enum Seg : u8 { ES, CS, SS, DS, FS, GS, kSegs };

struct Insn {
  Handler fn = nullptr;
  i64 disp = 0;  ///< displacement; for RIP-relative operands the absolute address (base and index are then kZero)
  i64 imm = 0;  ///< immediate, sign- or zero-extended as the instruction says; for `rel` the target RIP (not yet truncated)
  Op op{};
  u16 offset = 0;  ///< of the instruction from the block's first byte
  u16 cost = 0;    ///< cycles, from the core's timing model
  u16 imm2 = 0;    ///< second immediate (ENTER's level, the selector of a far pointer)
  u8 length = 0;
  u8 width = 0;    ///< effective operand size in bytes (1, 2, 4, 8): of the main operand for integer instructions
  u8 address = 8;  ///< effective address size in bytes
  u8 flags = 0;
  Operand kind[4] = {};
  /// gpr: byte offset into State::gpr (8*n, 8*n+1 for AH..BH); mem: the vector index register, if it has one (VSIB);
  /// others: register number
  u8 reg[4] = {};
  /// Bytes of each operand (10 for m80, 28/108/... for state images as Zydis gives them, capped at 255); of the index
  /// register for memory with VSIB.
  u8 size[4] = {};
  u8 base = 16, index = 16;  ///< numbers into State::gpr; 16 is the constant zero
  u8 scale = 0;              ///< shift count
  u8 segment = DS;           ///< effective segment of the memory operand, override applied

  enum Flag : u8 {
    kLock = 1,
    kRep = 2,            ///< F3 as a repeat prefix
    kRepne = 4,          ///< F2 as a repeat prefix
    kSlowAddress = 8,    ///< the address needs truncation, a segment base or segment checks
    kVex = 16,           ///< VEX encoded
    kWide = 32,          ///< an operand of 256 bits: the YMM form
    kEnds = 64,          ///< ends its block
    kSegmentBase = 128,  ///< 64-bit mode, FS or GS: the address needs the segment's base and nothing else
  };
  bool has(Flag f) const { return flags & f; }
};

inline constexpr u8 kZero = 16;

/// Bits of the traits column of the table.
enum Trait : u32 {
  kNone = 0,
  kEnd = 1,  ///< ends the block: control transfer, or it changes what later instructions mean (mode, paging, IF, ...)
  kInterruptible = 2,  ///< repeated string instruction
};

}  // namespace nestwalk::cpu
