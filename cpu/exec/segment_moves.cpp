// Loads and stores of segment registers (SDM vol. 2: MOV, PUSH, POP, LDS/LES/LFS/LGS/LSS). What a load checks is in
// cpu/segments.cpp; it ends the block, because later addresses mean something else. A load of SS holds interrupts and debug
// traps back for one instruction (vol. 3, 6.8.3); LSS does not.
#include "cpu/exec/misc.h"
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

void shadow_after(Cpu& c, u8 seg) {
  if (seg != SS) return;
  c.s.interrupt_shadow = true;
  c.request_attention();
}

void mov_to_seg(Cpu& c, const Insn& i) {
  c.load_segment(static_cast<Seg>(i.reg[0]), c.read<u16>(i, 1));
  shadow_after(c, i.reg[0]);
}
/// To a register the selector is zero-extended to the operand size; to memory it is always 16 bits.
void mov_from_seg(Cpu& c, const Insn& i) {
  const u16 selector = c.s.seg[i.reg[1]].selector;
  if (i.kind[0] == Operand::mem)
    c.store<u16>(i, selector);
  else if (i.width == 2)
    c.set_gpr<u16>(i.reg[0], selector);
  else
    c.set_gpr<u64>(i.reg[0], selector);
}

template <class T>
void push_seg(Cpu& c, const Insn& i) {
  c.push<T>(c.s.seg[i.reg[0]].selector);
}
/// Of a slot of 32 bits only the lower half is written (cpu/undefined.h: push-selector).
void push_seg_half(Cpu& c, const Insn& i) { c.push_slow(c.s.seg[i.reg[0]].selector, 4, 2); }
template <class T>
void pop_seg(Cpu& c, const Insn& i) {
  const u16 selector = static_cast<u16>(c.peek_stack(0, 2));  // no more is read, at any operand size
  c.load_segment(static_cast<Seg>(i.reg[0]), selector);
  c.set_sp(c.sp() + sizeof(T));
  shadow_after(c, i.reg[0]);
}

/// The far pointer is offset, then selector.
template <class T, Seg seg>
void load_far_pointer(Cpu& c, const Insn& i) {
  const u64 at = c.linear<mmu::Side::load>(i, sizeof(T) + 2);
  const T offset = c.load_at<T>(at, i.segment);
  const u16 selector = c.load_at<u16>(linear_step(c, at, sizeof(T)), i.segment);
  c.load_segment(seg, selector);
  c.set_gpr<T>(i.reg[0], offset);
}
template <Seg seg>
Handler bind_far_pointer(const Insn& i) {
  return i.width == 8   ? ending<load_far_pointer<u64, seg>>
         : i.width == 4 ? ending<load_far_pointer<u32, seg>>
                        : ending<load_far_pointer<u16, seg>>;
}

}  // namespace

Handler bind_mov_seg(const Insn& i) {
  if (i.kind[1] == Operand::seg) return then_next<mov_from_seg>;
  return i.reg[0] == CS ? nullptr : Handler{leaving<mov_to_seg>};
}
Handler bind_push_seg(const Insn& i) {
  return i.width == 8 ? then_next<push_seg<u64>> : i.width == 4 ? then_next<push_seg_half> : then_next<push_seg<u16>>;
}
Handler bind_pop_seg(const Insn& i) {
  if (i.reg[0] == CS) return nullptr;
  return i.width == 8 ? leaving<pop_seg<u64>> : i.width == 4 ? leaving<pop_seg<u32>> : leaving<pop_seg<u16>>;
}
Handler bind_les(const Insn& i) { return bind_far_pointer<ES>(i); }
Handler bind_lds(const Insn& i) { return bind_far_pointer<DS>(i); }
Handler bind_lss(const Insn& i) { return bind_far_pointer<SS>(i); }
Handler bind_lfs(const Insn& i) { return bind_far_pointer<FS>(i); }
Handler bind_lgs(const Insn& i) { return bind_far_pointer<GS>(i); }

}  // namespace nestwalk::cpu
