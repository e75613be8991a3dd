// x87 control and state: control and status words, environments, FSAVE images, stack pointer (SDM vol. 2; vol. 1,
// 8.1.10, figures 8-9 to 8-12).
#include <array>

#include "cpu/exec/x87_image.h"
#include "cpu/exec/x87_stack.h"

namespace nestwalk::cpu {

u16 full_tag_word(const X87& x) {
  u16 tags = 0;
  for (unsigned n = 0; n < 8; ++n) {
    const F80& v = x.r[n];
    const u16 exponent = v.sign_exponent & 0x7fff;
    unsigned tag = 2;  // special: infinity, NaN, denormal, unsupported
    if (!((x.valid >> n) & 1))
      tag = 3;
    else if (exponent == 0 && v.significand == 0)
      tag = 1;
    else if (exponent != 0 && exponent != 0x7fff && v.significand >> 63)
      tag = 0;
    tags = static_cast<u16>(tags | (tag << (2 * n)));
  }
  return tags;
}

u8 abridged_tag_word(u16 tags) {
  u8 valid = 0;
  for (unsigned n = 0; n < 8; ++n)
    if (((tags >> (2 * n)) & 3) != 3) valid = static_cast<u8>(valid | (1 << n));
  return valid;
}

void freeze_for_x87_error(Cpu& c) {
  c.platform.x87_error();
  c.raise(ex::frozen);
}

void initialize(X87& x) {
  x.ignored = false;
  x.control = 0x37f;
  x.status = 0;
  x.top = 0;
  x.valid = 0;
  x.opcode = 0;
  x.instruction = x.data = 0;
  x.cs = x.ds = 0;
}

namespace {

/// Control instructions know #NM; the waiting ones #MF too.
void need_x87(Cpu& c) {
  if (c.s.cr0 & (mmu::cr0::em | mmu::cr0::ts)) c.raise(ex::nm);
}
void need_x87_waiting(Cpu& c) {
  need_x87(c);
  check_pending_x87(c);
}

// ---- environments ---------------------------------------------------------------------------------------------------

/// Seven words of 2 or 4 bytes: control, status, tags, and the instruction and operand pointers in the mode's layout.
using Environment = std::array<u32, 7>;

bool real_layout(const Cpu& c) { return c.real_mode() || c.v8086(); }

Environment environment_of(const Cpu& c, unsigned word) {
  const X87& x = c.s.x87;
  Environment e{x.control, x.status_word(), full_tag_word(x), 0, 0, 0, 0};
  const u32 reserved = word == 4 ? 0xffff0000 : 0;
  for (unsigned n = 0; n < 3; ++n) e[n] |= reserved;
  if (real_layout(c)) {
    // Linear addresses, cut in two: 16 low bits, and the rest at bit 12 (16 bits wide in the 32-bit form).
    const u32 ip = static_cast<u32>(x.cs * 16 + x.instruction), dp = static_cast<u32>(x.ds * 16 + x.data);
    const u32 high = word == 4 ? 0xffff : 0xf;
    e[3] = (ip & 0xffff) | reserved;
    e[4] = (((ip >> 16) & high) << 12) | x.opcode;
    e[5] = (dp & 0xffff) | reserved;
    e[6] = ((dp >> 16) & high) << 12;
  } else {
    e[3] = static_cast<u32>(x.instruction);
    e[4] = x.cs | (word == 4 ? u32{x.opcode} << 16 : 0);
    e[5] = static_cast<u32>(x.data);
    e[6] = x.ds | reserved;
  }
  return e;
}

void set_environment(Cpu& c, const Environment& e, unsigned word) {
  X87& x = c.s.x87;
  x.control = static_cast<u16>((e[0] & 0x1f3f) | 0x40);
  x.set_status_word(static_cast<u16>(e[1]));
  x.valid = abridged_tag_word(static_cast<u16>(e[2]));
  if (real_layout(c)) {
    x.instruction = (e[3] & 0xffff) | ((e[4] >> 12) << 16);
    x.opcode = e[4] & 0x7ff;
    x.data = (e[5] & 0xffff) | ((e[6] >> 12) << 16);
    x.cs = x.ds = 0;
  } else {
    x.instruction = e[3];
    x.cs = static_cast<u16>(e[4]);
    x.opcode = word == 4 ? (e[4] >> 16) & 0x7ff : 0;
    x.data = e[5];
    x.ds = static_cast<u16>(e[6]);
  }
  update_summary(x);
}

/// Writes an image of many words. Every byte is known to be writable before the first is written.
template <mmu::Side side>
u64 begin_image(Cpu& c, const Insn& i, unsigned bytes, unsigned word) {
  const u64 at = c.linear<side>(i, bytes);
  check_alignment(c, at, word);
  if (side == mmu::Side::store)
    if (auto r = c.port.probe_write(LinearAddr(at), bytes); !r) c.fail(r.fault(), i.segment);
  return at;
}
void store_environment(Cpu& c, const Insn& i, u64 at, unsigned word) {
  const Environment e = environment_of(c, word);
  for (unsigned n = 0; n < 7; ++n) {
    const u64 to = linear_step(c, at, n * word);
    if (word == 4)
      c.store_at<u32>(to, e[n], i.segment);
    else
      c.store_at<u16>(to, static_cast<u16>(e[n]), i.segment);
  }
}
Environment load_environment(Cpu& c, const Insn& i, u64 at, unsigned word) {
  Environment e;
  for (unsigned n = 0; n < 7; ++n) {
    const u64 from = linear_step(c, at, n * word);
    e[n] = word == 4 ? c.load_at<u32>(from, i.segment) : c.load_at<u16>(from, i.segment);
  }
  return e;
}

template <unsigned word>
void fnstenv(Cpu& c, const Insn& i) {
  need_x87(c);
  const u64 at = begin_image<mmu::Side::store>(c, i, 7 * word, word);
  store_environment(c, i, at, word);
  c.s.x87.control |= fsw::exceptions;
  update_summary(c.s.x87);
}
template <unsigned word>
void fldenv(Cpu& c, const Insn& i) {
  need_x87_waiting(c);
  const u64 at = begin_image<mmu::Side::load>(c, i, 7 * word, word);
  set_environment(c, load_environment(c, i, at, word), word);
}
template <unsigned word>
void fnsave(Cpu& c, const Insn& i) {
  need_x87(c);
  X87& x = c.s.x87;
  const u64 at = begin_image<mmu::Side::store>(c, i, 7 * word + 80, word);
  store_environment(c, i, at, word);
  for (unsigned n = 0; n < 8; ++n)
    c.store_at<Bytes10>(linear_step(c, at, 7 * word + 10 * n), image_of(x.r[(x.top + n) & 7]), i.segment);
  initialize(x);
}
template <unsigned word>
void frstor(Cpu& c, const Insn& i) {
  need_x87_waiting(c);
  X87& x = c.s.x87;
  const u64 at = begin_image<mmu::Side::load>(c, i, 7 * word + 80, word);
  const Environment e = load_environment(c, i, at, word);
  std::array<F80, 8> values;
  for (unsigned n = 0; n < 8; ++n)
    values[n] = value_of(c.load_at<Bytes10>(linear_step(c, at, 7 * word + 10 * n), i.segment));
  set_environment(c, e, word);
  for (unsigned n = 0; n < 8; ++n) x.r[(x.top + n) & 7] = values[n];
}

// ---- control -----------------------------------------------------------------------------------------------------------

void fninit(Cpu& c, const Insn&) {
  need_x87(c);
  initialize(c.s.x87);
}
void fnclex(Cpu& c, const Insn&) {
  need_x87(c);
  c.s.x87.status &= fsw::conditions;
  c.s.x87.ignored = false;
}
void fldcw(Cpu& c, const Insn& i) {
  need_x87_waiting(c);
  // Bit 6 always reads as 1; 7 and 13-15 as 0 (the infinity control, bit 12, is kept and means nothing).
  c.s.x87.control = static_cast<u16>((c.load<u16>(i) & 0x1f3f) | 0x40);
  update_summary(c.s.x87);
}
void fnstcw(Cpu& c, const Insn& i) {
  need_x87(c);
  c.store<u16>(i, c.s.x87.control);
}
void fnstsw(Cpu& c, const Insn& i) {
  need_x87(c);
  c.write<u16>(i, 0, c.s.x87.status_word());
}
template <int step>
void rotate_stack(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  f.x.top = static_cast<u8>((f.x.top + step) & 7);
  f.conditions(fsw::c1, 0);
}
template <bool pops>
void ffree(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
  f.conditions(fsw::c1, 0);
  f.free(i.reg[0]);
  if constexpr (pops) f.pop();
}
void fnop(Cpu& c, const Insn& i) {
  X87Work f(c, i);
  f.operands_ready();
}
/// FENI, FDISI and FSETPM meant something to the 8087 and 80287 only; a pending exception stays pending.
void fnop_of_old(Cpu& c, const Insn&) { need_x87(c); }
/// FWAIT looks at TS only where CR0.MP says that it monitors the coprocessor.
void fwait(Cpu& c, const Insn&) {
  constexpr u64 both = mmu::cr0::mp | mmu::cr0::ts;
  if ((c.s.cr0 & both) == both) c.raise(ex::nm);
  check_pending_x87(c);
}
}  // namespace

Handler bind_fnstenv(const Insn& i) { return i.size[0] == 14 ? then_next<fnstenv<2>> : then_next<fnstenv<4>>; }
Handler bind_fldenv(const Insn& i) { return i.size[0] == 14 ? then_next<fldenv<2>> : then_next<fldenv<4>>; }
Handler bind_fnsave(const Insn& i) { return i.size[0] == 94 ? then_next<fnsave<2>> : then_next<fnsave<4>>; }
Handler bind_frstor(const Insn& i) { return i.size[0] == 94 ? then_next<frstor<2>> : then_next<frstor<4>>; }
Handler bind_fninit(const Insn&) { return then_next<fninit>; }
Handler bind_fnclex(const Insn&) { return then_next<fnclex>; }
Handler bind_fldcw(const Insn&) { return then_next<fldcw>; }
Handler bind_fnstcw(const Insn&) { return then_next<fnstcw>; }
Handler bind_fnstsw(const Insn&) { return then_next<fnstsw>; }
Handler bind_fincstp(const Insn&) { return then_next<rotate_stack<1>>; }
Handler bind_fdecstp(const Insn&) { return then_next<rotate_stack<-1>>; }
Handler bind_ffree(const Insn&) { return then_next<ffree<false>>; }
Handler bind_ffreep(const Insn&) { return then_next<ffree<true>>; }
Handler bind_fnop(const Insn&) { return then_next<fnop>; }
Handler bind_fnop_of_old(const Insn&) { return then_next<fnop_of_old>; }
Handler bind_fwait(const Insn&) { return then_next<fwait>; }

}  // namespace nestwalk::cpu
