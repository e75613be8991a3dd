// The x87 register stack, its exceptions and their masked and unmasked responses (SDM vol. 1, 8.1, 8.5).
#pragma once

#include "cpu/exec/host_x87.h"
#include "cpu/exec/mmx_state.h"
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {

/// The QNaN that masked invalid operations give ("real indefinite").
inline constexpr F80 kIndefinite{0xc000000000000000, 0xffff};

/// Exceptions found before an operation: unmasked, they leave the operands alone. Overflow and underflow do so only for
/// results in memory.
inline constexpr u16 kBeforeOperation = fsw::ie | fsw::de | fsw::ze;
inline constexpr u16 kBeforeStore = kBeforeOperation | fsw::oe | fsw::ue;

struct Bytes10 {
  u8 b[10];
};
static_assert(sizeof(Bytes10) == 10);
inline Bytes10 image_of(const F80& v) {
  Bytes10 m;
  __builtin_memcpy(m.b, &v.significand, 8);
  __builtin_memcpy(m.b + 8, &v.sign_exponent, 2);
  return m;
}
inline F80 value_of(const Bytes10& m) {
  F80 v;
  __builtin_memcpy(&v.significand, m.b, 8);
  __builtin_memcpy(&v.sign_exponent, m.b + 8, 2);
  return v;
}

/// EFLAGS.AC checks operands of 80 bits for 8 bytes and x87 images for their words, as a whole and before anything else
/// (SDM vol. 3, table 6-7; measured on Intel cores).
inline void check_alignment(Cpu& c, u64 at, unsigned boundary) {
  const bool checked = c.s.cpl == 3 && (c.s.rflags & fl::ac) && (c.s.cr0 & mmu::cr0::am);
  if (checked && at % boundary && is_canonical(at, c.linear_width())) c.raise(ex::ac, 0);
}
inline Bytes10 load_m80(Cpu& c, const Insn& i) {
  const u64 at = c.linear<mmu::Side::load>(i, 10);
  check_alignment(c, at, 8);
  return c.load_at<Bytes10>(at, i.segment);
}
inline void store_m80(Cpu& c, const Insn& i, const Bytes10& v) {
  const u64 at = c.linear<mmu::Side::store>(i, 10);
  check_alignment(c, at, 8);
  c.store_at<Bytes10>(at, v, i.segment);
}

/// One x87 instruction at work. The constructor raises #NM and a pending #MF; nothing changes before `operands_ready`.
class X87Work {
 public:
  X87Work(Cpu& c, const Insn& i) : x(c.s.x87), cpu_(c), insn_(i) {
    if (NW_UNLIKELY(c.s.cr0 & (mmu::cr0::em | mmu::cr0::ts))) c.raise(ex::nm);
    check_pending_x87(c);
  }

  X87& x;

  /// Records the instruction and operand pointers: every memory access has succeeded.
  void operands_ready() {
    x.instruction = cpu_.rip_of(insn_);
    x.cs = cpu_.s.seg[CS].selector;
    x.opcode = insn_.imm2 & 0x7ff;
    for (const Operand k : insn_.kind)
      if (k == Operand::mem) {
        x.data = cpu_.offset_of(insn_);
        x.ds = cpu_.s.seg[insn_.segment].selector;
      }
  }

  F80& st(unsigned n) { return x.r[(x.top + n) & 7]; }
  bool empty(unsigned n) const { return !((x.valid >> ((x.top + n) & 7)) & 1); }
  void set(unsigned n, const F80& v) {
    st(n) = v;
    x.valid |= static_cast<u8>(1 << ((x.top + n) & 7));
  }
  void free(unsigned n) { x.valid &= static_cast<u8>(~(1 << ((x.top + n) & 7))); }
  void push(const F80& v) {
    x.top = (x.top - 1) & 7;
    set(0, v);
  }
  void pop() {
    free(0);
    x.top = (x.top + 1) & 7;
  }

  /// Condition codes in `mask` become those of `value`.
  void conditions(u16 mask, u16 value) { x.status = static_cast<u16>((x.status & ~mask) | (value & mask)); }

  /// Notes exceptions; true if one of `decisive` is unmasked.
  bool signal(u16 flags, u16 decisive) {
    x.status |= flags & fsw::exceptions;
    if (flags & ~x.control & fsw::exceptions) x.status |= fsw::es | fsw::busy;
    return flags & ~x.control & decisive;
  }
  /// Stack overflow or underflow. True: the exception is masked, so the response is an indefinite.
  bool stack_fault(bool overflow) {
    conditions(fsw::c1, overflow ? fsw::c1 : 0);
    x.status |= fsw::sf;
    return !signal(fsw::ie, fsw::ie);
  }
  /// Under what the host is to run the instruction.
  host::Environment environment() const { return {x.control, static_cast<u16>(x.status & fsw::conditions)}; }
  /// Takes over the host's exceptions and conditions. True: the result is to be written.
  bool settle(u16 host_status, u16 decisive = kBeforeOperation) {
    conditions(fsw::conditions, host_status);
    return !signal(host_status, decisive);
  }

 private:
  Cpu& cpu_;
  const Insn& insn_;
};

/// Error summary and busy follow from exceptions and masks: after either was loaded.
inline void update_summary(X87& x) {
  x.status &= static_cast<u16>(~(fsw::es | fsw::busy));
  if (x.status & ~x.control & fsw::exceptions)
    x.status |= fsw::es | fsw::busy;
  else
    x.ignored = false;
}

}  // namespace nestwalk::cpu
