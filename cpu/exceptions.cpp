// Delivery of exceptions and interrupts: through the real-mode table, the protected-mode IDT and the 64-bit IDT, with the
// faults that delivery itself may cause (SDM vol. 3, chapter 6; 20.3 for virtual-8086 mode).
#include <fmt/format.h>

#include "cpu/descriptor.h"

namespace nestwalk::cpu {
namespace {

/// Classes of SDM vol. 3, table 6-4.
enum class Severity : u8 { benign, contributory, page_fault, double_fault };

Severity severity(u8 vector) {
  switch (vector) {
    case ex::de:
    case ex::ts:
    case ex::np:
    case ex::ss:
    case ex::gp: return Severity::contributory;
    case ex::pf: return Severity::page_fault;
    case ex::df: return Severity::double_fault;
    default: return Severity::benign;
  }
}

/// Table 6-5: whether `second`, raised while `first` was being delivered, makes a double fault.
bool makes_double_fault(Severity first, Severity second) {
  if (first == Severity::contributory) return second == Severity::contributory;
  if (first == Severity::page_fault) return second != Severity::benign;
  return false;
}

class Delivery {
 public:
  Delivery(Cpu& cpu, const Trap& trap, Cpu::Source source) : c_(cpu), trap_(trap), source_(source) {}

  /// Returns a fault that a task gate's new task meets.
  std::optional<Trap> run() {
    if (c_.real_mode()) return real(), std::nullopt;
    if (c_.long_mode()) return wide(), std::nullopt;
    return legacy();
  }

 private:
  u32 idt_error() const { return trap_.vector * 8u + 2; }

  /// What is pushed as EFLAGS: faults show RF, traps what it is, so that an instruction breakpoint does not strike twice
  /// (SDM 17.3.1.1).
  u64 image() const {
    const bool fault =
        source_ == Cpu::Source::exception && !trap_.after && trap_.vector != ex::df && trap_.vector != ex::mc;
    const bool breakpoint = trap_.vector == ex::db && (trap_.dr6 & 15);
    return c_.rflags() | (fault && !breakpoint ? fl::rf : 0);
  }

  /// Only interrupt gates mask interrupts; RF and trap flags go either way.
  void clear_flags(bool mask_interrupts) {
    c_.s.rflags &= ~(fl::tf | fl::nt | fl::rf | fl::vm | (mask_interrupts ? fl::if_ : 0));
  }

  void real() {
    const u32 offset = trap_.vector * 4u;
    if (offset + 3 > c_.s.idtr.limit) c_.gp(idt_error());
    const u32 target = c_.load_system<u32>(c_.s.idtr.base + offset);
    Rollback rollback(c_);
    const u64 flags = c_.rflags();
    c_.push<u16>(static_cast<u16>(flags));
    c_.push<u16>(c_.s.seg[CS].selector);
    c_.push<u16>(static_cast<u16>(c_.s.rip));
    c_.s.rflags &= ~(fl::if_ | fl::tf | fl::ac | fl::rf);
    set_8086_segment(c_, CS, static_cast<u16>(target >> 16));
    c_.s.rip = static_cast<u16>(target);
    c_.update_mode();
    rollback.commit();
  }

  /// Present, of a type that is one of `types` (a bit per type), and reachable for a software interrupt.
  void check_gate(const Descriptor& gate, u32 types) {
    if (gate.s() || !(types >> gate.type() & 1)) c_.gp(idt_error());
    if (source_ == Cpu::Source::software && gate.dpl() < c_.s.cpl) c_.gp(idt_error());
    if (!gate.present()) c_.raise(ex::np, idt_error());
  }

  /// The handler's code segment.
  Entry read_handler(const Descriptor& gate) {
    const u16 selector = gate.gate_selector();
    if (is_null(selector)) c_.gp();
    const Entry e = read_entry(c_, selector, ex::gp);
    if (!e.d.is_code() || e.d.dpl() > c_.s.cpl) c_.gp(error_of(selector));
    if (c_.long_mode() && (!e.d.l() || e.d.db())) c_.gp(error_of(selector));
    if (!e.d.present()) c_.raise(ex::np, error_of(selector));
    return e;
  }

  // ---- 16 and 32 bits
  // ----------------------------------------------------------------------------------------------------

  std::optional<Trap> legacy() {
    const u32 offset = trap_.vector * 8u;
    if (offset + 7 > c_.s.idtr.limit) c_.gp(idt_error());
    const Descriptor gate{c_.load_system<u64>(c_.s.idtr.base + offset), 0};
    constexpr u32 kTypes =
        1u << sys::task_gate | 1u << sys::interrupt16 | 1u << sys::trap16 | 1u << sys::interrupt | 1u << sys::trap;
    check_gate(gate, kTypes);
    if (gate.type() == sys::task_gate) {
      c_.s.rflags |= image() & fl::rf;  // for the old task's TSS
      return switch_task(c_, gate.gate_selector(), TaskSwitch::gate, trap_.has_error ? &trap_.error : nullptr);
    }
    Entry handler = read_handler(gate);
    const bool inner = !handler.d.conforming() && handler.d.dpl() < c_.s.cpl;
    if (c_.v8086() && (!inner || handler.d.dpl() != 0)) c_.gp(error_of(handler.selector));
    const unsigned width = gate.type() & 8 ? 4 : 2;
    const u64 target = width == 4 ? gate.gate_offset32() : gate.gate_offset16();
    check_target(c_, handler.d, target);
    Rollback rollback(c_);
    const u64 flags = image();
    const u16 old_cs = c_.s.seg[CS].selector;
    if (inner)
      enter_inner(handler, width);
    else
      set_code(c_, handler, c_.s.cpl);
    push_width(c_, flags, width);
    push_width(c_, old_cs, width);
    push_width(c_, c_.s.rip, width);
    if (trap_.has_error) push_width(c_, trap_.error, width);
    clear_flags(gate.type() == sys::interrupt || gate.type() == sys::interrupt16);
    c_.s.rip = target;
    c_.update_mode();
    rollback.commit();
    return std::nullopt;
  }

  /// The inner stack, with the outer SS:SP on it; from virtual-8086 mode also the data segments, which become null.
  void enter_inner(Entry& handler, unsigned width) {
    const u8 level = handler.d.dpl();
    const StackPointer to = stack_from_tss(c_, level);
    Entry stack = read_stack_entry(c_, to.ss, level, ex::ts);
    const std::array<Segment, kSegs> old = c_.s.seg;
    const u64 old_sp = c_.s.gpr[RSP];
    const bool from_virtual = c_.v8086();
    c_.s.rflags &= ~u64{fl::vm};
    set_stack(c_, stack);
    set_code(c_, handler, level);
    c_.set_sp(to.sp);
    if (from_virtual)
      for (Seg n : {GS, FS, DS, ES}) {
        push_width(c_, old[n].selector, width);
        c_.s.seg[n] = Segment{.limit = 0, .present = false, .null = true};
      }
    push_width(c_, old[SS].selector, width);
    push_width(c_, old_sp, width);
  }

  // ---- IA-32e mode
  // -------------------------------------------------------------------------------------------------------

  void wide() {
    const u32 offset = trap_.vector * 16u;
    if (offset + 15 > c_.s.idtr.limit) c_.gp(idt_error());
    const u64 at = c_.s.idtr.base + offset;
    const Descriptor gate{c_.load_system<u64>(at), c_.load_system<u64>(at + 8)};
    check_gate(gate, 1u << sys::interrupt | 1u << sys::trap);
    Entry handler = read_handler(gate);
    const u64 target = gate.gate_offset64();
    check_target(c_, handler.d, target);
    Rollback rollback(c_);
    const u64 flags = image();
    const u16 old_cs = c_.s.seg[CS].selector, old_ss = c_.s.seg[SS].selector;
    const u64 old_sp = c_.s.gpr[RSP];
    const bool inner = !handler.d.conforming() && handler.d.dpl() < c_.s.cpl;
    const u8 level = inner ? handler.d.dpl() : c_.s.cpl;
    u64 sp = old_sp;
    if (const unsigned ist = gate.gate_ist())
      sp = stack_from_tss64(c_, 3 + ist);
    else if (inner)
      sp = stack_from_tss64(c_, level);
    if (inner) set_null_stack(c_, level);
    set_code(c_, handler, level);
    c_.s.gpr[RSP] = align_down(sp, 16);
    c_.push<u64>(old_ss);
    c_.push<u64>(old_sp);
    c_.push<u64>(flags);
    c_.push<u64>(old_cs);
    c_.push<u64>(c_.s.rip);
    if (trap_.has_error) c_.push<u64>(trap_.error);
    clear_flags(gate.type() == sys::interrupt);
    c_.s.rip = target;
    rollback.commit();
  }

  Cpu& c_;
  const Trap& trap_;
  Cpu::Source source_;
};

/// Faults met while delivering something that the program did not ask for say so (SDM vol. 3, 6.13).
Trap with_ext(Trap t, Cpu::Source source) {
  const bool selector_error = t.vector >= ex::ts && t.vector <= ex::gp;
  if (source != Cpu::Source::software && t.has_error && selector_error) t.error |= 1;
  return t;
}

}  // namespace

void Cpu::deliver(const Trap& first, Source source) {
  port.pay(Cause::exception, timing.delivery());
  s.interrupt_shadow = false;
  s.halted = s.waiting = false;
  delivered_ = true;
  if (NW_UNLIKELY(port.monitoring())) port.disarm_monitor();
  if (source == Source::external && first.vector == ex::nmi) s.nmi_blocked = true;
  Trap trap = first;
  while (true) {
    if (source == Source::exception && trap.vector == ex::pf) s.cr2 = trap.address;
    if (source == Source::exception && trap.vector == ex::db) {
      if (trap.dr6) s.dr[6] = (s.dr[6] & ~u64{15}) | trap.dr6;  // cpu/undefined.h: dr6-hits
      s.dr[7] &= ~bit(13);                                      // general detection is off in the handler
    }
    Trap nested;
    try {
      const auto late = Delivery(*this, trap, source).run();
      if (!late) return;
      nested = *late;
      if (source == Source::software) source = Source::external;  // the switch has happened: it is no fault of INT's
    } catch (const Trap& t) {
      // INT n that cannot be delivered is a faulting instruction like any other.
      if (source == Source::software) throw;
      nested = with_ext(t, source);
    }
    const Severity before = source == Source::exception ? severity(trap.vector) : Severity::benign;
    if (before == Severity::double_fault) {
      platform.note(fmt::format("triple fault at {:#x}:{:#x}, cr2 {:#x}: exception {} while delivering a double fault",
                                s.seg[CS].selector, s.rip, s.cr2, nested.vector));
      return stop(Stop::triple_fault);
    }
    if (nested.vector == ex::pf) s.cr2 = nested.address;
    if (makes_double_fault(before, severity(nested.vector)))
      trap = Trap{.vector = ex::df, .has_error = true};
    else
      trap = nested;
    source = Source::exception;
  }
}

}  // namespace nestwalk::cpu
