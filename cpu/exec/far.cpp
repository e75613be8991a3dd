// Control transfers between segments and privilege levels: far JMP, CALL and RET, IRET, INT n, SYSCALL, SYSENTER and their
// returns (SDM vol. 2; APM vol. 3 where AMD differs). The machinery is in cpu/far.cpp and cpu/exceptions.cpp.
#include "cpu/bind.h"
#include "cpu/descriptor.h"

namespace nestwalk::cpu {
namespace {

// ---- far JMP, CALL, RET ------------------------------------------------------------------------------------------------

struct FarPointer {
  u16 selector;
  u64 offset;
  unsigned width;
};

/// ptr16:16 and ptr16:32 in the instruction, or m16:16, m16:32, m16:64.
FarPointer far_pointer(Cpu& c, const Insn& i) {
  if (i.kind[0] == Operand::imm) return {i.imm2, static_cast<u64>(i.imm), i.width == 2 ? 2u : 4u};
  const unsigned width = i.size[0] - 2u;
  const u64 at = c.linear<mmu::Side::load>(i, i.size[0]);
  const auto step = [&](u64 n) { return c.long64() ? at + n : static_cast<u32>(at + n); };
  const u64 offset = width == 8   ? c.load_at<u64>(at, i.segment)
                     : width == 4 ? u64{c.load_at<u32>(at, i.segment)}
                                  : u64{c.load_at<u16>(at, i.segment)};
  return {c.load_at<u16>(step(width), i.segment), offset, width};
}

void jump_far(Cpu& c, const Insn& i) {
  const FarPointer p = far_pointer(c, i);
  c.far_jump(p.selector, p.offset, p.width);
}

void call_far(Cpu& c, const Insn& i) {
  const FarPointer p = far_pointer(c, i);
  c.far_call(p.selector, p.offset, p.width);
}

void return_far(Cpu& c, const Insn& i) {
  c.far_return(i.width, i.kind[0] == Operand::imm ? static_cast<u16>(i.imm) : u16{0});
}

bool is_far_form(const Insn& i) {
  return i.kind[0] == Operand::imm || (i.kind[0] == Operand::mem && (i.size[0] == 4 || i.size[0] == 6 || i.size[0] == 10));
}

template <unsigned width>
void interrupt_return(Cpu& c, const Insn&) {
  c.interrupt_return(width);
}

// ---- INT n -------------------------------------------------------------------------------------------------------------

Trap software(u8 vector) { return Trap{.vector = vector, .after = true}; }

/// Under CR4.VME the TSS's bitmap, 32 bytes below the I/O permission map, sends an interrupt to the 8086 program's own
/// handler, without leaving virtual-8086 mode (SDM vol. 3, 20.3.3).
bool is_redirected(Cpu& c, u8 vector) {
  const Segment& tr = c.s.tr;
  if (tr.limit < 0x67) c.gp();
  const u32 map = c.load_system<u16>(tr.base + 0x66);
  const u32 at = map - 32 + vector / 8;
  if (map < 32 || at > tr.limit) c.gp();
  return !(c.load_system<u8>(tr.base + at) >> (vector & 7) & 1);
}

void deliver_in_8086(Cpu& c, u8 vector) {
  const bool virtual_flag = c.iopl() < 3;
  u64 flags = c.rflags();
  if (virtual_flag) flags = (flags & ~u64{fl::if_}) | (flags & fl::vif ? fl::if_ : 0) | fl::iopl;
  Rollback rollback(c);
  c.push<u16>(static_cast<u16>(flags));
  c.push<u16>(c.s.seg[CS].selector);
  c.push<u16>(static_cast<u16>(c.s.rip));
  const u32 target = c.load_at<u32>(vector * 4u);
  c.s.rflags &= ~(u64{fl::tf} | (virtual_flag ? u64{fl::vif} : u64{fl::if_}));
  set_8086_segment(c, CS, static_cast<u16>(target >> 16));
  c.s.rip = static_cast<u16>(target);
  rollback.commit();
}

void interrupt(Cpu& c, const Insn& i) {
  const u8 vector = static_cast<u8>(i.imm);
  if (c.v8086()) {
    if ((c.s.cr4 & mmu::cr4::vme) && is_redirected(c, vector)) return deliver_in_8086(c, vector);
    if (c.iopl() < 3) c.gp();
  }
  c.deliver(software(vector), Cpu::Source::software);
}

void breakpoint(Cpu& c, const Insn&) { c.deliver(software(ex::bp), Cpu::Source::software); }

/// ICEBP: like an exception, without a check of the gate's privilege.
void interrupt1(Cpu& c, const Insn&) { c.deliver(software(ex::db), Cpu::Source::exception); }

void interrupt_on_overflow(Cpu& c, const Insn&) {
  if (c.s.flags.of()) c.deliver(software(ex::of), Cpu::Source::software);
}

void undefined(Cpu& c, const Insn&) { c.ud(); }

// ---- fast system calls ----------------------------------------------------------------------------------------------

void enter(Cpu& c, u16 code, u16 stack, bool wide) {
  c.s.seg[CS] = flat_code(code, 0, wide);
  c.s.seg[SS] = flat_data(stack, 0);
  c.s.cpl = 0;
  c.update_mode();
}

/// Intel knows it in 64-bit mode only; AMD outside as well, from compatibility mode to CSTAR, from legacy mode to STAR.EIP.
void system_call(Cpu& c, const Insn&) {
  State& s = c.s;
  if (!(s.efer & mmu::efer::sce) || c.real_mode() || (!c.long64() && !c.cpuid.is_amd())) c.ud();
  const u16 code = static_cast<u16>(s.star >> 32) & 0xfffc;
  const u16 stack = static_cast<u16>(code + 8);
  if (!c.long_mode()) {
    s.gpr[RCX] = static_cast<u32>(s.rip);
    s.rflags &= ~(fl::vm | fl::if_ | fl::rf);
    enter(c, code, stack, false);
    s.rip = static_cast<u32>(s.star);
    return;
  }
  const bool from64 = c.long64();
  s.gpr[RCX] = s.rip;
  s.gpr[R11] = c.rflags() & ~u64{fl::rf};
  c.set_rflags(c.rflags() & ~(s.sfmask | fl::rf));
  enter(c, code, stack, true);
  s.rip = from64 ? s.lstar : s.cstar;
}

/// SYSRET's stack segment: AMD leaves the hidden part as it is.
void return_stack(Cpu& c, u16 selector) {
  if (!c.cpuid.is_amd()) {
    c.s.seg[SS] = flat_data(selector, 3);
    return;
  }
  c.s.seg[SS].selector = selector | 3;
  c.s.seg[SS].dpl = 3;
}

void system_return(Cpu& c, const Insn& i) {
  State& s = c.s;
  const bool amd = c.cpuid.is_amd();
  if (!(s.efer & mmu::efer::sce) || c.real_mode() || (!c.long64() && !amd)) c.ud();
  c.require_cpl0();
  const bool wide = i.width == 8 && c.long64();
  // Intel checks RCX while still at level 0; AMD lets the fetch fault at level 3.
  if (wide && !amd && !is_canonical(s.gpr[RCX], c.linear_width())) c.gp();
  const u16 base = static_cast<u16>(s.star >> 48);
  constexpr u64 kFlags = 0x3c7fd7;
  const u64 flags = c.long_mode() ? (s.gpr[R11] & kFlags) : (c.rflags() | fl::if_);
  s.rip = wide ? s.gpr[RCX] : static_cast<u32>(s.gpr[RCX]);
  s.seg[CS] = flat_code(static_cast<u16>(base + (wide ? 16 : 0)), 3, wide);
  return_stack(c, static_cast<u16>(base + 8));
  s.cpl = 3;
  c.set_rflags(flags | fl::fixed);
  c.update_mode();
}

void fast_enter(Cpu& c, const Insn&) {
  State& s = c.s;
  if (!c.cpuid.has(Feature::sep) || (c.cpuid.is_amd() && c.long_mode())) c.ud();
  if (c.real_mode() || is_null(static_cast<u16>(s.sysenter_cs))) c.gp();
  const bool wide = c.long_mode();
  s.rflags &= ~(fl::vm | fl::if_ | fl::rf);
  const u16 code = static_cast<u16>(s.sysenter_cs);
  enter(c, code, static_cast<u16>((code & 0xfffc) + 8), wide);
  s.gpr[RSP] = wide ? s.sysenter_esp : static_cast<u32>(s.sysenter_esp);
  s.rip = wide ? s.sysenter_eip : static_cast<u32>(s.sysenter_eip);
}

void fast_exit(Cpu& c, const Insn& i) {
  State& s = c.s;
  if (!c.cpuid.has(Feature::sep) || (c.cpuid.is_amd() && c.long_mode())) c.ud();
  if (c.real_mode() || is_null(static_cast<u16>(s.sysenter_cs)) || s.cpl) c.gp();
  const bool wide = i.width == 8 && c.long64();
  if (wide && (!is_canonical(s.gpr[RCX], c.linear_width()) || !is_canonical(s.gpr[RDX], c.linear_width()))) c.gp();
  const u16 base = static_cast<u16>(s.sysenter_cs);
  s.seg[CS] = flat_code(static_cast<u16>(base + (wide ? 32 : 16)), 3, wide);
  s.seg[SS] = flat_data(static_cast<u16>(base + (wide ? 40 : 24)), 3);
  s.gpr[RSP] = wide ? s.gpr[RCX] : static_cast<u32>(s.gpr[RCX]);
  s.rip = wide ? s.gpr[RDX] : static_cast<u32>(s.gpr[RDX]);
  s.cpl = 3;
  c.update_mode();
}

}  // namespace

Handler bind_jmpf(const Insn& i) { return is_far_form(i) ? ending<jump_far> : nullptr; }
Handler bind_callf(const Insn& i) { return is_far_form(i) ? ending<call_far> : nullptr; }
Handler bind_retf(const Insn&) { return ending<return_far>; }
Handler bind_iret(const Insn&) { return ending<interrupt_return<2>>; }
Handler bind_iretd(const Insn&) { return ending<interrupt_return<4>>; }
Handler bind_iretq(const Insn&) { return ending<interrupt_return<8>>; }
Handler bind_int(const Insn&) { return ending<interrupt>; }
Handler bind_int3(const Insn&) { return ending<breakpoint>; }
Handler bind_int1(const Insn&) { return ending<interrupt1>; }
Handler bind_into(const Insn&) { return ending<interrupt_on_overflow>; }
Handler bind_ud(const Insn&) { return ending<undefined>; }
Handler bind_syscall(const Insn&) { return ending<system_call>; }
Handler bind_sysret(const Insn&) { return ending<system_return>; }
Handler bind_sysenter(const Insn&) { return ending<fast_enter>; }
Handler bind_sysexit(const Insn&) { return ending<fast_exit>; }

}  // namespace nestwalk::cpu
