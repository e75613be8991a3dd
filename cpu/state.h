// The architectural state of one logical processor (SDM vol. 1, 3.4, 8.1, 10.2; vol. 3, 2.1).
#pragma once

#include <array>

#include "base/types.h"
#include "cpu/flags.h"
#include "cpu/insn.h"
#include "cpu/msrs.h"

namespace nestwalk::cpu {

enum Gpr : u8 { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/// A segment register with its hidden part.
struct Segment {
  u16 selector = 0;
  u64 base = 0;
  u32 limit = 0xffff;  ///< in bytes, granularity applied
  u8 type = 3;         ///< descriptor bits 43:40
  bool s = true;       ///< 1: code or data
  u8 dpl = 0;
  bool present = true;
  bool l = false, db = false, g = false, avl = false;
  bool null = false;  ///< loaded with a null selector: unusable outside 64-bit mode

  bool is_code() const { return s && (type & 8); }
  bool conforming() const { return type & 4; }  ///< code
  bool expand_down() const { return !(type & 8) && (type & 4); }
  bool readable() const { return !(type & 8) || (type & 2); }
  bool writable() const { return !(type & 8) && (type & 2); }
};

struct TableRegister {
  u64 base = 0;
  u32 limit = 0xffff;
};

/// A vector register. 256 bits are kept so that AVX state has its place; SSE leaves the upper half alone.
struct alignas(32) Vec {
  u64 q[4] = {};
  template <class T>
  T get(unsigned i) const {
    T v;
    __builtin_memcpy(&v, reinterpret_cast<const u8*>(q) + i * sizeof(T), sizeof v);
    return v;
  }
  template <class T>
  void set(unsigned i, T v) {
    __builtin_memcpy(reinterpret_cast<u8*>(q) + i * sizeof(T), &v, sizeof v);
  }
};
struct V128 {
  u64 q[2];
};

/// x87 register in the 80-bit format; MMX registers are the significands (SDM vol. 1, 8.1.2, 9.2).
struct F80 {
  u64 significand = 0;
  u16 sign_exponent = 0;
};

struct X87 {
  F80 r[8];  ///< physical registers R0..R7; ST(i) = r[(top + i) & 7]; MMi = r[i].significand
  u16 control = 0x37f;
  u16 status = 0;  ///< without TOP; use status_word()
  u8 top = 0;
  u8 valid = 0;  ///< bit n: Rn is not empty (the abridged tag word of FXSAVE)
  u16 opcode = 0;
  u64 instruction = 0, data = 0;  ///< last instruction and operand pointers
  u16 cs = 0, ds = 0;
  bool ignored = false;  ///< IGNNE# is asserted: under CR0.NE = 0 a pending exception does not stop instructions
  u16 status_word() const { return static_cast<u16>((status & ~0x3800) | (top << 11)); }
  void set_status_word(u16 w) {
    status = static_cast<u16>(w & ~0x3800);
    top = (w >> 11) & 7;
  }
};

struct State {
  std::array<u64, 17> gpr{};  ///< [16] is always 0
  u64 rip = 0;                ///< current between blocks; inside a block see Cpu::rip_of
  Flags flags;                ///< CF PF AF ZF SF OF
  u64 rflags = fl::fixed;     ///< all other flags
  std::array<Segment, kSegs> seg;
  Segment ldtr, tr;
  TableRegister gdtr, idtr;
  u64 cr0 = 0x60000010, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0, efer = 0;
  u64 xcr0 = 1;
  u64 pdpte[4] = {};
  u64 dr[8] = {0, 0, 0, 0, 0, 0, 0xffff0ff0, 0x400};
  std::array<Vec, 16> vec{};
  u32 mxcsr = 0x1f80;
  u32 pkru = 0;  ///< protection keys (SDM vol. 3, 4.6.2)
  X87 x87;
  bool halted = false;
  bool waits_for_startup = false;  ///< halted since INIT: only a SIPI ends it
  bool waiting = false;            ///< halted by MWAIT: a store to the monitored line ends it too
  bool wakes_masked = false;       ///< MWAIT with ECX bit 0: an interrupt ends it though IF = 0
  bool interrupt_shadow = false;   ///< the next instruction runs before interrupts are taken (STI, MOV SS)
  bool nmi_blocked = false;
  u8 cpl = 0;

  // Model-specific registers that kernels use most; the others are in `msr`.
  u64 star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0, tsc_aux = 0;
  u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  u64 tsc_offset = 0;  ///< added to the clock
  u64 pat = 0x0007040600070406;
  MsrBank msr;
};

}  // namespace nestwalk::cpu
