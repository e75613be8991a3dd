// Segment registers: descriptor look-up, the checks of every load, LDTR and TR (SDM vol. 3, chapters 3 and 5).
#include "cpu/descriptor.h"

namespace nestwalk::cpu {

Segment Descriptor::segment(u16 selector) const {
  Segment g;
  g.selector = selector;
  g.base = base();
  g.limit = limit();
  g.type = type();
  g.s = s();
  g.dpl = dpl();
  g.present = present();
  g.l = l();
  g.db = db();
  g.g = this->g();
  g.avl = avl();
  return g;
}

// ---- descriptor tables -----------------------------------------------------------------------------------------------

std::optional<Entry> find_entry(Cpu& c, u16 selector) {
  if (is_null(selector)) return std::nullopt;
  const bool local = selector & 4;
  if (local && c.s.ldtr.null) return std::nullopt;
  const u64 base = local ? c.s.ldtr.base : c.s.gdtr.base;
  const u32 limit = local ? c.s.ldtr.limit : c.s.gdtr.limit;
  const u32 offset = selector & 0xfff8;
  if (offset + 7 > limit) return std::nullopt;
  const auto at = [&](u64 a) { return c.long_mode() ? a : static_cast<u32>(a); };
  Entry e{selector, at(base + offset), {}};
  e.d.low = c.load_system<u64>(e.address);
  const u8 t = e.d.type();
  const bool wide = c.long_mode() && !e.d.s() && t != sys::task_gate && t != sys::tss16 && t != sys::tss16_busy;
  if (wide) {
    if (offset + 15 > limit) return std::nullopt;
    e.d.high = c.load_system<u64>(e.address + 8);
    if (bits(e.d.high, 44, 40)) return std::nullopt;  // a type field where none may be
  }
  return e;
}

Entry read_entry(Cpu& c, u16 selector, u8 vector) {
  if (auto e = find_entry(c, selector)) return *e;
  c.raise(vector, error_of(selector));
}

void mark_accessed(Cpu& c, Entry& e) {
  if (e.d.low & bit(40)) return;
  e.d.low |= bit(40);
  c.store_system<u8>(e.address + 5, static_cast<u8>(e.d.low >> 40));
}

void mark_busy(Cpu& c, const Entry& e, bool busy) {
  const u8 access = c.load_system<u8>(e.address + 5);
  c.store_system<u8>(e.address + 5, static_cast<u8>(busy ? access | 2 : access & ~2));
}

// ---- parts of transfers ----------------------------------------------------------------------------------------------

Entry read_stack_entry(Cpu& c, u16 selector, u8 level, u8 vector) {
  if (is_null(selector)) c.raise(vector, 0);
  Entry e = read_entry(c, selector, vector);
  if (rpl_of(selector) != level || e.d.dpl() != level || !e.d.writable()) c.raise(vector, error_of(selector));
  if (!e.d.present()) c.raise(ex::ss, error_of(selector));
  return e;
}

void set_stack(Cpu& c, Entry& e) {
  mark_accessed(c, e);
  c.s.seg[SS] = e.d.segment(e.selector);
}

void set_null_stack(Cpu& c, u8 level) {
  c.s.seg[SS] = Segment{.selector = level, .limit = 0, .dpl = level, .present = false, .null = true};
}

Segment flat_code(u16 selector, u8 level, bool wide) {
  return Segment{.selector = static_cast<u16>((selector & 0xfffc) | level),
                 .limit = 0xffffffff,
                 .type = 11,
                 .dpl = level,
                 .l = wide,
                 .db = !wide,
                 .g = true};
}

Segment flat_data(u16 selector, u8 level) {
  return Segment{.selector = static_cast<u16>((selector & 0xfffc) | level),
                 .limit = 0xffffffff,
                 .type = 3,
                 .dpl = level,
                 .db = true,
                 .g = true};
}

void check_target(Cpu& c, const Descriptor& d, u64 offset) {
  const bool wide = c.long_mode() && d.l();
  if (wide ? !is_canonical(offset, c.linear_width()) : offset > d.limit()) c.gp();
}

void set_code(Cpu& c, Entry& e, u8 level) {
  mark_accessed(c, e);
  c.s.seg[CS] = e.d.segment(static_cast<u16>((e.selector & 0xfffc) | level));
  c.s.cpl = level;
  c.update_mode();
}

void drop_inner_segments(Cpu& c) {
  for (Seg n : {ES, DS, FS, GS}) {
    Segment& g = c.s.seg[n];
    const bool conforming_code = g.is_code() && g.conforming();
    if (g.null || conforming_code || g.dpl >= c.s.cpl) continue;
    g = Segment{.base = g.base, .limit = 0, .present = false, .null = true};
  }
}

void set_8086_segment(Cpu& c, Seg n, u16 selector) {
  Segment& g = c.s.seg[n];
  if (c.v8086()) {
    g = Segment{.selector = selector, .base = u64{selector} << 4, .limit = 0xffff, .type = 3, .dpl = 3};
    return;
  }
  // Real mode changes selector and base only: the limit that protected mode left stays ("unreal mode").
  g.selector = selector;
  g.base = u64{selector} << 4;
  g.s = g.present = true;
  g.type = n == CS ? 11 : 3;
  g.dpl = 0;
  if (g.null) g.limit = 0xffff;
  g.null = false;
}

void push_width(Cpu& c, u64 value, unsigned width) {
  switch (width) {
    case 2: return c.push<u16>(static_cast<u16>(value));
    case 4: return c.push<u32>(static_cast<u32>(value));
    default: return c.push<u64>(value);
  }
}

StackPointer stack_from_tss(Cpu& c, u8 level) {
  const Segment& tr = c.s.tr;
  const bool narrow = tr.type == sys::tss16 || tr.type == sys::tss16_busy;
  const u32 offset = narrow ? 2 + level * 4u : 4 + level * 8u;
  if (offset + (narrow ? 3 : 5) > tr.limit) c.raise(ex::ts, error_of(tr.selector));
  const u64 at = tr.base + offset;
  if (narrow) return {c.load_system<u16>(at + 2), c.load_system<u16>(at)};
  return {c.load_system<u16>(at + 4), c.load_system<u32>(at)};
}

u64 stack_from_tss64(Cpu& c, unsigned slot) {
  const u32 offset = 4 + slot * 8;
  if (offset + 7 > c.s.tr.limit) c.raise(ex::ts, error_of(c.s.tr.selector));
  const u64 sp = c.load_system<u64>(c.s.tr.base + offset);
  if (!is_canonical(sp, c.linear_width())) c.raise(ex::ss, 0);
  return sp;
}

Rollback::Rollback(Cpu& cpu)
    : cpu_(cpu), seg_(cpu.s.seg), rsp_(cpu.s.gpr[RSP]), rip_(cpu.s.rip), rflags_(cpu.s.rflags), cpl_(cpu.s.cpl) {}

Rollback::~Rollback() {
  if (!armed_) return;
  cpu_.s.seg = seg_;
  cpu_.s.gpr[RSP] = rsp_;
  cpu_.s.rip = rip_;
  cpu_.s.rflags = rflags_;
  cpu_.s.cpl = cpl_;
  cpu_.update_mode();
}

// ---- loads -----------------------------------------------------------------------------------------------------------

namespace {

void load_null(Cpu& c, Seg n, u16 selector) {
  if (n == SS) {
    // Only kernels in 64-bit code run on a null stack segment.
    if (!c.long64() || c.s.cpl == 3 || rpl_of(selector) != c.s.cpl) c.gp();
    set_null_stack(c, c.s.cpl);
    return;
  }
  c.s.seg[n] = Segment{.selector = selector, .limit = 0, .present = false, .null = true};
}

}  // namespace

void Cpu::load_segment(Seg n, u16 selector) {
  if (real_mode() || v8086()) return set_8086_segment(*this, n, selector);
  if (is_null(selector)) return load_null(*this, n, selector);
  if (n == SS) {
    Entry e = read_stack_entry(*this, selector, s.cpl, ex::gp);
    set_stack(*this, e);
    return;
  }
  Entry e = read_entry(*this, selector, ex::gp);
  const Descriptor& d = e.d;
  const bool conforming_code = d.is_code() && d.conforming();
  const bool visible = conforming_code || (s.cpl <= d.dpl() && rpl_of(selector) <= d.dpl());
  if (!d.readable() || !visible) gp(error_of(selector));
  if (!d.present()) raise(ex::np, error_of(selector));
  mark_accessed(*this, e);
  s.seg[n] = d.segment(selector);
}

void Cpu::load_ldtr(u16 selector) {
  if (is_null(selector)) {
    s.ldtr = Segment{.selector = selector, .limit = 0, .type = sys::ldt, .s = false, .present = false, .null = true};
    return;
  }
  if (selector & 4) gp(error_of(selector));
  const Entry e = read_entry(*this, selector, ex::gp);
  if (!e.d.is_system(sys::ldt)) gp(error_of(selector));
  if (!e.d.present()) raise(ex::np, error_of(selector));
  if (long_mode() && !is_canonical(e.d.base(), linear_width())) gp(error_of(selector));
  s.ldtr = e.d.segment(selector);
}

void Cpu::load_tr(u16 selector) {
  if (is_null(selector)) gp();
  if (selector & 4) gp(error_of(selector));
  const Entry e = read_entry(*this, selector, ex::gp);
  const bool available = e.d.is_system(sys::tss) || (!long_mode() && e.d.is_system(sys::tss16));
  if (!available) gp(error_of(selector));
  if (!e.d.present()) raise(ex::np, error_of(selector));
  if (long_mode() && !is_canonical(e.d.base(), linear_width())) gp(error_of(selector));
  mark_busy(*this, e, true);
  s.tr = e.d.segment(selector);
  s.tr.type |= 2;
}

}  // namespace nestwalk::cpu
