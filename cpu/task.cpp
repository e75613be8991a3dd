// Hardware task switches with 16-bit and 32-bit TSSs, outside IA-32e mode (SDM vol. 3, chapter 7).
#include "cpu/descriptor.h"

namespace nestwalk::cpu {
namespace {

/// The registers a TSS holds, whatever its width (SDM vol. 3, figures 7-2 and 7-10).
struct Task {
  bool narrow = false;
  u32 cr3 = 0, eip = 0, eflags = 0;
  u32 gpr[8] = {};
  u16 seg[kSegs] = {};
  u16 ldt = 0;
  bool debug_trap = false;
};

struct Layout {
  u32 eip, eflags, gpr, gpr_step, seg, seg_step, segs, ldt, least_limit;
};
constexpr Layout kNarrow{14, 16, 18, 2, 34, 2, 4, 42, 0x2b};
constexpr Layout kWide{32, 36, 40, 4, 72, 4, 6, 96, 0x67};
const Layout& layout(bool narrow) { return narrow ? kNarrow : kWide; }

bool is_narrow(u8 type) { return type == sys::tss16 || type == sys::tss16_busy; }

Task read_task(Cpu& c, u64 base, bool narrow) {
  Task t;
  t.narrow = narrow;
  const Layout& l = layout(narrow);
  const auto word = [&](u32 at) { return narrow ? u32{c.load_system<u16>(base + at)} : c.load_system<u32>(base + at); };
  t.eip = word(l.eip);
  t.eflags = word(l.eflags);
  for (unsigned n = 0; n < 8; ++n) t.gpr[n] = word(l.gpr + n * l.gpr_step) | (narrow ? 0xffff0000 : 0);
  for (unsigned n = 0; n < l.segs; ++n) t.seg[n] = c.load_system<u16>(base + l.seg + n * l.seg_step);
  t.ldt = c.load_system<u16>(base + l.ldt);
  if (!narrow) {
    t.cr3 = c.load_system<u32>(base + 28);
    t.debug_trap = c.load_system<u16>(base + 100) & 1;
  }
  return t;
}

void save_task(Cpu& c, u64 base, bool narrow, u64 eflags) {
  const Layout& l = layout(narrow);
  const auto word = [&](u32 at, u64 v) {
    if (narrow)
      c.store_system<u16>(base + at, static_cast<u16>(v));
    else
      c.store_system<u32>(base + at, static_cast<u32>(v));
  };
  word(l.eip, c.s.rip);
  word(l.eflags, eflags);
  for (unsigned n = 0; n < 8; ++n) word(l.gpr + n * l.gpr_step, c.s.gpr[n]);
  for (unsigned n = 0; n < l.segs; ++n) c.store_system<u16>(base + l.seg + n * l.seg_step, c.s.seg[n].selector);
}

/// The new TSS's descriptor: available, or busy for a return (SDM vol. 3, table 7-1).
Entry read_tss(Cpu& c, u16 selector, bool returning) {
  const u8 vector = returning ? ex::ts : ex::gp;
  if (is_null(selector) || (selector & 4)) c.raise(vector, error_of(selector));
  const Entry e = read_entry(c, selector, vector);
  const bool right_type = returning ? e.d.is_system(sys::tss_busy) || e.d.is_system(sys::tss16_busy)
                                    : e.d.is_system(sys::tss) || e.d.is_system(sys::tss16);
  if (!right_type) c.raise(vector, error_of(selector));
  if (!e.d.present()) c.raise(ex::np, error_of(selector));
  if (e.d.limit() < layout(is_narrow(e.d.type())).least_limit) c.raise(ex::ts, error_of(selector));
  return e;
}

/// A data segment of the new task: as MOV would load it, but faults are #TS.
void load_data_segment(Cpu& c, Seg n, u16 selector) {
  if (is_null(selector)) return;
  Entry e = read_entry(c, selector, ex::ts);
  const bool conforming_code = e.d.is_code() && e.d.conforming();
  const bool visible = conforming_code || (c.s.cpl <= e.d.dpl() && rpl_of(selector) <= e.d.dpl());
  if (!e.d.readable() || !visible) c.raise(ex::ts, error_of(selector));
  if (!e.d.present()) c.raise(ex::np, error_of(selector));
  mark_accessed(c, e);
  c.s.seg[n] = e.d.segment(selector);
}

void load_code_segment(Cpu& c, u16 selector) {
  if (is_null(selector)) c.raise(ex::ts, 0);
  Entry e = read_entry(c, selector, ex::ts);
  const u8 level = rpl_of(selector);
  if (!e.d.is_code() || (e.d.conforming() ? e.d.dpl() > level : e.d.dpl() != level)) c.raise(ex::ts, error_of(selector));
  if (!e.d.present()) c.raise(ex::np, error_of(selector));
  set_code(c, e, level);
}

void load_local_table(Cpu& c, u16 selector) {
  if (is_null(selector)) return;
  if (selector & 4) c.raise(ex::ts, error_of(selector));
  const Entry e = read_entry(c, selector, ex::ts);
  if (!e.d.is_system(sys::ldt) || !e.d.present()) c.raise(ex::ts, error_of(selector));
  c.s.ldtr = e.d.segment(selector);
}

/// SS of the new task: whether it is there comes before its levels (SDM vol. 3, table 7-1), as nowhere else.
Entry read_stack(Cpu& c, u16 selector, u8 level) {
  if (is_null(selector)) c.raise(ex::ts, 0);
  const Entry e = read_entry(c, selector, ex::ts);
  if (e.d.writable() && !e.d.present()) c.raise(ex::ss, error_of(selector));
  return read_stack_entry(c, selector, level, ex::ts);
}

/// Segments of the new task, in its context: the selectors are in place, the hidden parts not yet valid. Until there is a
/// stack the level is 3, so that the handler of a fault gets one from the TSS (the manual leaves it open; Bochs does so
/// too).
void load_segments(Cpu& c, const Task& t) {
  c.s.cpl = 3;
  c.update_mode();
  load_local_table(c, t.ldt);
  if (c.v8086()) {
    for (unsigned n = 0; n < kSegs; ++n) set_8086_segment(c, static_cast<Seg>(n), t.seg[n]);
    return;
  }
  const u8 level = rpl_of(t.seg[CS]);
  Entry stack = read_stack(c, t.seg[SS], level);
  set_stack(c, stack);
  c.s.cpl = level;
  c.update_mode();
  load_code_segment(c, t.seg[CS]);
  for (Seg n : {ES, DS, FS, GS}) load_data_segment(c, n, t.seg[n]);
}

/// Everything that no check guards: general registers, flags, selectors with empty hidden parts, paging.
void load_registers(Cpu& c, const Task& t, u64 eflags) {
  if (!t.narrow && (c.s.cr0 & mmu::cr0::pg) && t.cr3 != c.s.cr3) c.write_cr(3, t.cr3);
  for (unsigned n = 0; n < 8; ++n) c.s.gpr[n] = t.gpr[n];
  c.s.rip = t.eip;
  for (unsigned n = 0; n < kSegs; ++n)
    c.s.seg[n] = Segment{.selector = t.seg[n], .limit = 0, .present = false, .null = true};
  c.s.ldtr = Segment{.selector = t.ldt, .limit = 0, .type = sys::ldt, .s = false, .present = false, .null = true};
  c.set_rflags(eflags & (t.narrow ? 0x7fd7 : 0x3f7fd7));
  c.s.dr[7] &= ~u64{0x155};  // local breakpoints end with their task
  c.update_breakpoints();
  c.s.cr0 |= mmu::cr0::ts;
}

/// In the new task: its segments, the error code, EIP, and the debug trap.
std::optional<Trap> settle(Cpu& c, const Task& t, const u32* error) {
  try {
    load_segments(c, t);
    if (error) push_width(c, *error, t.narrow ? 2 : 4);
    if (c.s.rip > c.s.seg[CS].limit) c.gp();
  } catch (const Trap& late) {
    return late;
  }
  if (!t.debug_trap) return std::nullopt;
  return Trap{.vector = ex::db, .after = true, .dr6 = bit(15)};
}

}  // namespace

std::optional<Trap> switch_task(Cpu& c, u16 selector, TaskSwitch why, const u32* error) {
  const bool returning = why == TaskSwitch::iret;
  const bool nested = why == TaskSwitch::call || why == TaskSwitch::gate;
  const Entry to = read_tss(c, selector, returning);
  const bool narrow = is_narrow(to.d.type());
  const u64 base = to.d.base();
  Task task = read_task(c, base, narrow);
  const u16 old_selector = c.s.tr.selector;
  const auto old = find_entry(c, old_selector);

  // A page fault in what follows leaves the old task running; what was saved by then is only a newer copy of it.
  save_task(c, c.s.tr.base, is_narrow(c.s.tr.type), c.rflags() & ~(returning ? u64{fl::nt} : 0));
  if (base == c.s.tr.base) task = read_task(c, base, narrow);  // a task that is its own successor
  if (nested) c.store_system<u16>(base, old_selector);
  if (!nested && old) mark_busy(c, *old, false);
  if (!returning) mark_busy(c, to, true);

  // The commit point.
  c.s.tr = to.d.segment(selector);
  c.s.tr.type |= 2;
  try {
    load_registers(c, task, task.eflags | (nested ? fl::nt : 0));
  } catch (const Trap& late) {
    return late;
  }
  return settle(c, task, error);
}

std::optional<Trap> return_from_task(Cpu& c) {
  const u16 link = c.load_system<u16>(c.s.tr.base);
  return switch_task(c, link, TaskSwitch::iret);
}

}  // namespace nestwalk::cpu
