#include "emu/enter.h"

namespace nestwalk::emu {
namespace {

cpu::Segment segment_of(const boot::BootSegment& b) {
  cpu::Segment s;
  s.selector = b.selector;
  s.base = b.base;
  s.limit = b.limit;
  s.type = b.attributes & 15;
  s.s = b.attributes & 0x10;
  s.dpl = (b.attributes >> 5) & 3;
  s.present = b.attributes & 0x80;
  s.avl = b.attributes & 0x1000;
  s.l = b.attributes & 0x2000;
  s.db = b.attributes & 0x4000;
  s.g = b.attributes & 0x8000;
  return s;
}

}  // namespace

void enter(cpu::Cpu& cpu, const boot::BootState& b) {
  using namespace cpu;
  cpu.reset();
  State& s = cpu.s;
  s.gpr.fill(0);
  s.gpr[RAX] = b.rax;
  s.gpr[RBX] = b.rbx;
  s.gpr[RCX] = b.rcx;
  s.gpr[RDX] = b.rdx;
  s.gpr[RSI] = b.rsi;
  s.gpr[RDI] = b.rdi;
  s.gpr[RBP] = b.rbp;
  s.gpr[RSP] = b.rsp;
  s.rip = b.rip;
  s.cr0 = b.cr0;
  s.cr3 = b.cr3;
  s.cr4 = b.cr4;
  s.efer = b.efer;
  s.seg[CS] = segment_of(b.cs);
  for (const Seg seg : {DS, ES, SS, FS, GS}) s.seg[seg] = segment_of(b.data);
  s.tr = segment_of(b.tr);
  s.gdtr = {b.gdt.base, b.gdt.limit};
  s.idtr = {b.idt.base, b.idt.limit};
  cpu.set_rflags(b.rflags);
  cpu.update_paging();
}

}  // namespace nestwalk::emu
