// Far JMP, CALL, RET and IRET: code segments, call gates, task gates and TSSs, changes of privilege, virtual-8086 mode
// (SDM vol. 2, JMP, CALL, RET, IRET; vol. 3, 5.8, 6.12, 20.2).
#include "cpu/descriptor.h"

namespace nestwalk::cpu {
namespace {

bool is_8086(const Cpu& c) { return c.real_mode() || c.v8086(); }

/// Real and virtual-8086 mode: no descriptors, but the limit of CS holds.
void set_8086_target(Cpu& c, u16 selector, u64 offset) {
  if (offset > (c.v8086() ? 0xffff : c.s.seg[CS].limit)) c.gp();
  set_8086_segment(c, CS, selector);
  c.s.rip = offset;
  c.update_mode();
}

/// Checks of a code segment that is named directly, by JMP or CALL (SDM vol. 3, 5.8.1).
void check_direct(Cpu& c, const Entry& e) {
  const Descriptor& d = e.d;
  const bool allowed = d.conforming() ? d.dpl() <= c.s.cpl : rpl_of(e.selector) <= c.s.cpl && d.dpl() == c.s.cpl;
  if (!allowed || (c.long_mode() && d.l() && d.db())) c.gp(error_of(e.selector));
  if (!d.present()) c.raise(ex::np, error_of(e.selector));
}

/// The gate itself is visible and present (SDM vol. 3, 5.8.4).
void check_gate(Cpu& c, const Entry& gate) {
  if (gate.d.dpl() < c.s.cpl || gate.d.dpl() < rpl_of(gate.selector)) c.gp(error_of(gate.selector));
  if (!gate.d.present()) c.raise(ex::np, error_of(gate.selector));
}

/// The code segment a call gate leads to.
Entry read_gate_target(Cpu& c, const Entry& gate) {
  const u16 selector = gate.d.gate_selector();
  if (is_null(selector)) c.gp();
  const Entry e = read_entry(c, selector, ex::gp);
  if (!e.d.is_code() || e.d.dpl() > c.s.cpl) c.gp(error_of(selector));
  if (c.long_mode() && (!e.d.l() || e.d.db())) c.gp(error_of(selector));
  if (!e.d.present()) c.raise(ex::np, error_of(selector));
  return e;
}

unsigned gate_width(const Cpu& c, const Descriptor& gate) { return c.long_mode() ? 8 : gate.type() == sys::call16 ? 2 : 4; }

u64 gate_offset(const Cpu& c, const Descriptor& gate) {
  return c.long_mode() ? gate.gate_offset64() : gate.type() == sys::call16 ? gate.gate_offset16() : gate.gate_offset32();
}

/// JMP and CALL through a task gate or straight to a TSS.
void switch_by(Cpu& c, const Entry& e, TaskSwitch why) {
  check_gate(c, e);
  const u16 tss = e.d.type() == sys::task_gate ? e.d.gate_selector() : e.selector;
  const auto late = switch_task(c, tss, why);
  if (late) c.deliver(*late, Cpu::Source::exception);
}

enum class SystemTarget : u8 { call_gate, task };
SystemTarget classify(Cpu& c, const Entry& e) {
  const u8 t = e.d.type();
  if (t == sys::call || (!c.long_mode() && t == sys::call16)) return SystemTarget::call_gate;
  const bool local = e.selector & 4;  // where a TSS is none, be it present or not
  const bool task = t == sys::task_gate || (!local && (t == sys::tss || t == sys::tss16));
  if (c.long_mode() || !task) c.gp(error_of(e.selector));
  return SystemTarget::task;
}

void jump_gate(Cpu& c, const Entry& gate) {
  check_gate(c, gate);
  Entry e = read_gate_target(c, gate);
  if (!e.d.conforming() && e.d.dpl() != c.s.cpl) c.gp(error_of(e.selector));
  const u64 offset = gate_offset(c, gate.d);
  check_target(c, e.d, offset);
  set_code(c, e, c.s.cpl);
  c.s.rip = offset;
}

/// CALL through a gate to an inner level: the new stack comes from the TSS and receives SS:SP, the parameters, CS:IP.
void call_inner(Cpu& c, const Entry& gate, Entry& code) {
  const unsigned width = gate_width(c, gate.d);
  const u8 level = code.d.dpl();
  const u16 old_cs = c.s.seg[CS].selector, old_ss = c.s.seg[SS].selector;
  const u64 old_sp = c.s.gpr[RSP], old_rip = c.s.rip;
  const u64 offset = gate_offset(c, gate.d);
  Rollback rollback(c);
  u64 parameters[31];
  unsigned count = 0;
  u64 sp;
  if (width == 8) {
    sp = stack_from_tss64(c, level);
    check_target(c, code.d, offset);
    set_null_stack(c, level);
  } else {
    const StackPointer to = stack_from_tss(c, level);
    Entry stack = read_stack_entry(c, to.ss, level, ex::ts);
    sp = to.sp;
    for (; count < gate.d.gate_parameters(); ++count) parameters[count] = c.peek_stack(u64{count} * width, width);
    check_target(c, code.d, offset);
    set_stack(c, stack);
  }
  set_code(c, code, level);
  c.set_sp(sp);
  push_width(c, old_ss, width);
  push_width(c, old_sp, width);
  while (count-- > 0) push_width(c, parameters[count], width);
  push_width(c, old_cs, width);
  push_width(c, old_rip, width);
  c.s.rip = offset;
  rollback.commit();
}

void call_gate(Cpu& c, const Entry& gate) {
  check_gate(c, gate);
  Entry e = read_gate_target(c, gate);
  if (!e.d.conforming() && e.d.dpl() < c.s.cpl) return call_inner(c, gate, e);
  const unsigned width = gate_width(c, gate.d);
  const u64 offset = gate_offset(c, gate.d);
  check_target(c, e.d, offset);
  Rollback rollback(c);
  const u16 old_cs = c.s.seg[CS].selector;
  set_code(c, e, c.s.cpl);
  push_width(c, old_cs, width);
  push_width(c, c.s.rip, width);
  c.s.rip = offset;
  rollback.commit();
}

}  // namespace

void Cpu::far_jump(u16 selector, u64 offset, unsigned width) {
  offset = truncated(offset, width);
  if (is_8086(*this)) return set_8086_target(*this, selector, offset);
  if (is_null(selector)) gp();
  Entry e = read_entry(*this, selector, ex::gp);
  if (!e.d.s()) {
    if (classify(*this, e) == SystemTarget::task) return switch_by(*this, e, TaskSwitch::jump);
    return jump_gate(*this, e);
  }
  if (!e.d.is_code()) gp(error_of(selector));
  check_direct(*this, e);
  if (!(long_mode() && e.d.l())) offset = truncated(offset, 4);  // a 64-bit pointer to code of 32 bits
  check_target(*this, e.d, offset);
  set_code(*this, e, s.cpl);
  s.rip = offset;
}

void Cpu::far_call(u16 selector, u64 offset, unsigned width) {
  offset = truncated(offset, width);
  Rollback rollback(*this);
  const u16 old_cs = s.seg[CS].selector;
  const u64 old_rip = s.rip;
  if (is_8086(*this)) {
    push_width(*this, old_cs, width);
    push_width(*this, old_rip, width);
    set_8086_target(*this, selector, offset);
    return rollback.commit();
  }
  if (is_null(selector)) gp();
  Entry e = read_entry(*this, selector, ex::gp);
  if (!e.d.s()) {
    const bool task = classify(*this, e) == SystemTarget::task;
    rollback.commit();  // both look after themselves
    return task ? switch_by(*this, e, TaskSwitch::call) : call_gate(*this, e);
  }
  if (!e.d.is_code()) gp(error_of(selector));
  check_direct(*this, e);
  if (!(long_mode() && e.d.l())) offset = truncated(offset, 4);  // a 64-bit pointer to code of 32 bits
  check_target(*this, e.d, offset);
  push_width(*this, old_cs, width);
  push_width(*this, old_rip, width);
  set_code(*this, e, s.cpl);
  s.rip = offset;
  rollback.commit();
}

// ---- returns -----------------------------------------------------------------------------------------------------------

namespace {

/// The code segment a RET or IRET goes back to.
Entry read_return_code(Cpu& c, u16 selector) {
  if (is_null(selector)) c.gp();
  const Entry e = read_entry(c, selector, ex::gp);
  const u8 level = rpl_of(selector);
  const bool allowed = e.d.is_code() && level >= c.s.cpl && (e.d.conforming() ? e.d.dpl() <= level : e.d.dpl() == level);
  if (!allowed || (c.long_mode() && e.d.l() && e.d.db())) c.gp(error_of(selector));
  if (!e.d.present()) c.raise(ex::np, error_of(selector));
  return e;
}

/// The stack segment it goes back to; nothing for the null one that 64-bit code below level 3 may have.
std::optional<Entry> read_return_stack(Cpu& c, u16 selector, const Entry& code) {
  const u8 level = rpl_of(code.selector);
  if (is_null(selector) && c.long_mode() && code.d.l() && level != 3 && rpl_of(selector) == level) return std::nullopt;
  return read_stack_entry(c, selector, level, ex::gp);
}

/// CS:RIP and SS:RSP of another level, all checked before.
void return_outer(Cpu& c, Entry& code, u64 rip, std::optional<Entry>& stack, u64 sp) {
  const u8 level = rpl_of(code.selector);
  if (stack)
    set_stack(c, *stack);
  else
    set_null_stack(c, level);
  const bool inner = level > c.s.cpl;
  set_code(c, code, level);
  c.s.rip = rip;
  c.set_sp(sp);
  if (inner) drop_inner_segments(c);
}

}  // namespace

void Cpu::far_return(unsigned width, u16 release) {
  u64 rip = peek_stack(0, width);
  const u16 selector = static_cast<u16>(peek_stack(width, width));
  const u64 consumed = 2 * width + release;
  if (is_8086(*this)) {
    set_8086_target(*this, selector, rip);
    return set_sp(sp() + consumed);
  }
  Entry code = read_return_code(*this, selector);
  if (!(long_mode() && code.d.l())) rip = truncated(rip, 4);
  Rollback rollback(*this);
  if (rpl_of(selector) == s.cpl) {
    check_target(*this, code.d, rip);
    set_sp(sp() + consumed);
    set_code(*this, code, s.cpl);
    s.rip = rip;
    return rollback.commit();
  }
  const u64 outer_sp = peek_stack(consumed, width);
  const u16 outer_ss = static_cast<u16>(peek_stack(consumed + width, width));
  auto stack = read_return_stack(*this, outer_ss, code);
  check_target(*this, code.d, rip);
  return_outer(*this, code, rip, stack, outer_sp + release);
  rollback.commit();
}

namespace {

/// The flags that IRET and POPF may change at this privilege.
u64 writable_flags(const Cpu& c, unsigned width, u8 cpl, unsigned iopl) {
  u64 mask = fl::arithmetic | fl::tf | fl::df | fl::nt;
  if (width > 2) mask |= fl::rf | fl::ac | fl::id;
  if (cpl <= iopl) mask |= fl::if_;
  if (cpl == 0) mask |= fl::iopl;
  if (cpl == 0 && width > 2) mask |= fl::vif | fl::vip;
  return mask;
}

void merge_flags(Cpu& c, u64 value, u64 mask) { c.set_rflags((c.rflags() & ~mask) | (value & mask)); }

void iret_real(Cpu& c, unsigned width) {
  const u64 rip = c.peek_stack(0, width);
  const u16 selector = static_cast<u16>(c.peek_stack(width, width));
  const u64 flags = c.peek_stack(2 * width, width);
  set_8086_target(c, selector, rip);
  c.set_sp(c.sp() + 3 * width);
  merge_flags(c, flags, width == 2 ? 0xffff : 0x257fd5);
}

/// Below IOPL 3 only the 16-bit form exists, and only under VME, where VIF stands for IF (SDM vol. 3, table 20-2).
void iret_virtual(Cpu& c, unsigned width) {
  const bool vme = c.iopl() < 3;
  if (vme && (width != 2 || !(c.s.cr4 & mmu::cr4::vme))) c.gp();
  const u64 rip = c.peek_stack(0, width);
  const u16 selector = static_cast<u16>(c.peek_stack(width, width));
  const u64 flags = c.peek_stack(2 * width, width);
  if (vme && ((flags & fl::tf) || ((flags & fl::if_) && (c.s.rflags & fl::vip)))) c.gp();
  set_8086_target(c, selector, rip);
  c.set_sp(c.sp() + 3 * width);
  u64 mask = writable_flags(c, width, 3, c.iopl());
  if (!vme) return merge_flags(c, flags, mask);
  merge_flags(c, (flags & ~u64{fl::vif}) | (flags & fl::if_ ? fl::vif : 0), mask | fl::vif);
}

/// EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS are on the stack.
void iret_to_virtual(Cpu& c, u64 rip, u16 cs, u64 flags) {
  u32 more[6];
  for (unsigned n = 0; n < 6; ++n) more[n] = static_cast<u32>(c.peek_stack(12 + 4 * n, 4));
  if (rip > 0xffff) c.gp();
  c.set_rflags(flags & 0x3f7fd7);
  set_8086_segment(c, CS, cs);
  set_8086_segment(c, SS, static_cast<u16>(more[1]));
  constexpr Seg kOrder[] = {ES, DS, FS, GS};
  for (unsigned n = 0; n < 4; ++n) set_8086_segment(c, kOrder[n], static_cast<u16>(more[2 + n]));
  c.s.cpl = 3;
  c.s.gpr[RSP] = more[0];
  c.s.rip = rip;
  c.update_mode();
}

void iret_protected(Cpu& c, unsigned width) {
  const u64 rip = c.peek_stack(0, width);
  const u16 selector = static_cast<u16>(c.peek_stack(width, width));
  const u64 flags = c.peek_stack(2 * width, width);
  if (!c.long_mode() && width == 4 && (flags & fl::vm) && c.s.cpl == 0) return iret_to_virtual(c, rip, selector, flags);
  Entry code = read_return_code(c, selector);
  u64 mask = writable_flags(c, width, c.s.cpl, c.iopl());
  if (!(c.s.dr[7] & 0xff)) mask &= ~u64{fl::rf};  // it would only keep a breakpoint of the next instruction quiet
  Rollback rollback(c);
  if (rpl_of(selector) == c.s.cpl && !c.long64()) {
    check_target(c, code.d, rip);
    c.set_sp(c.sp() + 3 * width);
    set_code(c, code, c.s.cpl);
    c.s.rip = rip;
  } else {
    const u64 sp = c.peek_stack(3 * width, width);
    const u16 ss = static_cast<u16>(c.peek_stack(4 * width, width));
    auto stack = read_return_stack(c, ss, code);
    check_target(c, code.d, rip);
    return_outer(c, code, rip, stack, sp);
  }
  rollback.commit();
  merge_flags(c, flags, mask);
}

}  // namespace

void Cpu::interrupt_return(unsigned width) {
  // NMIs are let in again even if the return faults (SDM vol. 3, 6.7.1).
  s.nmi_blocked = false;
  if (nmi_) request_attention();
  if (real_mode()) return iret_real(*this, width);
  if (v8086()) return iret_virtual(*this, width);
  if (!(s.rflags & fl::nt)) return iret_protected(*this, width);
  if (long_mode()) gp();
  if (const auto late = return_from_task(*this)) deliver(*late, Source::exception);
}

}  // namespace nestwalk::cpu
