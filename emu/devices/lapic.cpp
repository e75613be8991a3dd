// Registers and modes of the local APIC: SDM vol. 3, 11.4 (local APIC, IA32_APIC_BASE), 11.5 (local vector table), 11.12
// (x2APIC: which registers exist, which bits are reserved, which mode changes are legal).
#include "emu/devices/lapic.h"

#include <utility>

#include "base/bits.h"

namespace nestwalk::emu {
namespace {

// Register numbers: x2APIC MSR - 0x800, MMIO offset / 16.
enum Register : unsigned {
  kId = 0x02,
  kVersion = 0x03,
  kTpr = 0x08,
  kApr = 0x09,
  kPpr = 0x0a,
  kEoi = 0x0b,
  kLdr = 0x0d,
  kDfr = 0x0e,
  kSvr = 0x0f,
  kIsr = 0x10,
  kTmr = 0x18,
  kIrr = 0x20,
  kEsr = 0x28,
  kIcrLow = 0x30,
  kIcrHigh = 0x31,
  kLvtFirst = 0x32,
  kLvtLast = 0x37,
  kInitialCount = 0x38,
  kCurrentCount = 0x39,
  kDivide = 0x3e,
  kSelfIpi = 0x3f,
};
constexpr u32 kMsrBase = 0x1b, kMsrDeadline = 0x6e0, kMsrX2apic = 0x800;
constexpr u32 kMasked = 1 << 16;
constexpr u32 kVersionValue = 5 << 16 | 0x14;  // six LVT entries, integrated APIC
constexpr u32 kIllegalRegister = 1 << 7;       // ESR
// Bits software may set: timer, thermal, performance, LINT0, LINT1, error.
constexpr u32 kLvtWritable[] = {0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

}  // namespace

Lapic::Lapic(sim::Clock& clock, Options options, Wires wires)
    : clock_(clock), options_(options), wires_(std::move(wires)), alarm_(clock, [this] { timer_strikes(); }) {
  power_on();
}

void Lapic::reset() {
  power_on();
  if (wires_.base_changed) wires_.base_changed();
}

void Lapic::power_on() {
  base_ = kDefaultBase | kBaseEnable | (options_.bootstrap ? kBaseBootstrap : 0);
  id_ = options_.id;
  lint_level_[0] = lint_level_[1] = false;
  init();
}

void Lapic::init() {
  alarm_.cancel();
  tpr_ = 0;
  ldr_ = 0;
  dfr_ = ~u32{0};
  spurious_ = 0xff;
  esr_ = esr_collected_ = 0;
  icr_ = 0;
  lvt_.fill(kMasked);
  irr_ = isr_ = tmr_ = {};
  extint_message_ = false;
  initial_ = divide_ = first_ = 0;
  deadline_ = 0;
  update();
}

void Lapic::virtual_wire() {
  write_spurious(0x1ff);
  write_lvt(lint0, 0x700);
  write_lvt(lint1, 0x400);
}

Lapic::Mode Lapic::mode() const {
  if (!(base_ & kBaseEnable)) return Mode::disabled;
  return base_ & kBaseX2apic ? Mode::x2apic : Mode::xapic;
}

bool Lapic::write_base(u64 value) {
  const u64 reserved = ~(low_mask(options_.physical_width) & ~u64{0xfff}) & ~(kBaseBootstrap | kBaseX2apic | kBaseEnable);
  if ((value & reserved) || ((value & kBaseX2apic) && !options_.x2apic)) return false;
  const u64 was = base_ & (kBaseEnable | kBaseX2apic), is = value & (kBaseEnable | kBaseX2apic);
  if (is == kBaseX2apic) return false;                                        // x2APIC without APIC
  if (was == 0 && is == (kBaseEnable | kBaseX2apic)) return false;            // disabled -> x2APIC
  if (was == (kBaseEnable | kBaseX2apic) && is == kBaseEnable) return false;  // x2APIC -> xAPIC
  base_ = value;
  if (was != is) {
    if (is == 0) init();
    if (was == 0 || mode() == Mode::x2apic) id_ = options_.id;
    update();
  }
  if (wires_.base_changed) wires_.base_changed();
  return true;
}

u32 Lapic::logical_id() const { return mode() == Mode::x2apic ? (id_ & 0xffff0) << 12 | u32{1} << (id_ & 15) : ldr_; }

u32 Lapic::read_register(unsigned n) {
  if (n >= kIsr && n < kIsr + 8) return isr_[n - kIsr];
  if (n >= kTmr && n < kTmr + 8) return tmr_[n - kTmr];
  if (n >= kIrr && n < kIrr + 8) return irr_[n - kIrr];
  if (n >= kLvtFirst && n <= kLvtLast) return lvt_[n - kLvtFirst];
  switch (n) {
    case kId: return mode() == Mode::x2apic ? id_ : id_ << 24;
    case kVersion: return kVersionValue;
    case kTpr: return tpr_;
    case kApr:
    case kPpr: return processor_priority();
    case kEoi: return 0;
    case kLdr: return logical_id();
    case kDfr: return dfr_;
    case kSvr: return spurious_;
    case kEsr: return esr_;
    case kIcrLow: return static_cast<u32>(icr_);
    case kIcrHigh: return static_cast<u32>(icr_ >> 32);
    case kInitialCount: return initial_;
    case kCurrentCount: return current_count();
    case kDivide: return divide_;
    default: raise_error(kIllegalRegister); return 0;
  }
}

void Lapic::write_register(unsigned n, u32 value) {
  if (n >= kLvtFirst && n <= kLvtLast) return write_lvt(static_cast<Lvt>(n - kLvtFirst), value);
  switch (n) {
    case kId: id_ = value >> 24; break;
    case kVersion:
    case kApr:
    case kPpr:
    case kCurrentCount: break;
    case kTpr:
      tpr_ = static_cast<u8>(value);
      update();
      break;
    case kEoi: end_of_interrupt(); break;
    case kLdr: ldr_ = value & 0xff000000; break;
    case kDfr: dfr_ = value | 0x0fffffff; break;
    case kSvr: write_spurious(value); break;
    case kEsr: esr_ = std::exchange(esr_collected_, 0); break;
    case kIcrLow: write_icr((icr_ & ~u64{0xffffffff}) | value); break;
    case kIcrHigh: icr_ = (icr_ & 0xffffffff) | u64{value & 0xff000000} << 32; break;
    case kInitialCount:
      if (timer_mode() == TimerMode::deadline) break;  // 11.5.4.1: ignored
      initial_ = value;
      start_timer(value);
      break;
    case kDivide:
      rebase_timer();
      divide_ = value & 0xb;
      schedule_timer();
      break;
    default:
      if (n < kIsr || n >= kEsr) raise_error(kIllegalRegister);
      break;
  }
}

void Lapic::write_lvt(Lvt which, u32 value) {
  const u32 old = lvt_[which];
  value &= kLvtWritable[which];
  if (!software_enabled()) value |= kMasked;
  if (which == timer && ((old ^ value) & 0x60000)) rebase_timer();
  lvt_[which] = value | (old & 0x4000);  // a LINT's remote IRR is the APIC's own
  if (which == timer) {
    const auto was = static_cast<TimerMode>((old >> 17) & 3);
    if ((was == TimerMode::deadline) != (timer_mode() == TimerMode::deadline)) deadline_ = first_ = 0;
    schedule_timer();
  }
  if (which == lint0 || which == lint1) {
    if (!lint_is_level(which)) lvt_[which] &= ~u32{0x4000};
    service_lint(which - lint0);
  }
  update();
}

void Lapic::write_spurious(u32 value) {
  spurious_ = value & 0x3ff;
  if (!software_enabled())
    for (u32& l : lvt_) l |= kMasked;  // and they stay so until written again (11.4.7.2)
  schedule_timer();
  update();
}

u64 Lapic::read(u64 offset, unsigned bytes) {
  if (mode() != Mode::xapic || offset >= kWindowBytes) return ~u64{0};
  if ((offset & 0xf) >= 4) return 0;  // registers lie 16 bytes apart, the rest between them is undefined
  return u64{read_register(static_cast<unsigned>(offset >> 4))} >> (8 * (offset & 3));
}

void Lapic::write(u64 offset, u64 value, unsigned bytes) {
  if (mode() != Mode::xapic || offset >= kWindowBytes || (offset & 0xf) != 0 || bytes != 4) return;
  write_register(static_cast<unsigned>(offset >> 4), static_cast<u32>(value));
}

bool Lapic::readable_x2apic(unsigned n) const {
  if (n == kEoi || n == kDfr || n == kApr || n == kIcrHigh || n == kSelfIpi) return false;
  return n == kId || n == kVersion || n == kTpr || n == kPpr || n == kLdr || (n >= kSvr && n <= kEsr) || n == kIcrLow ||
         (n >= kLvtFirst && n <= kCurrentCount) || n == kDivide;
}

/// Bits that may be written (11.12.1.2, table 11-6); 0 for a read-only or missing register, which is #GP as well.
u64 Lapic::writable_x2apic(unsigned n) {
  // Delivery status and remote IRR of an LVT entry are read-only, not reserved: a guest may write back what it read.
  if (n >= kLvtFirst && n <= kLvtLast)
    return kLvtWritable[n - kLvtFirst] | 0x1000 | (kLvtWritable[n - kLvtFirst] & 0x8000) >> 1;
  switch (n) {
    case kTpr:
    case kSelfIpi: return 0xff;
    case kSvr: return 0x3ff;
    case kIcrLow: return 0xffffffff'000ccfff;
    case kInitialCount: return 0xffffffff;
    case kDivide: return 0xb;
    default: return 0;
  }
}

bool Lapic::read_msr(u32 msr, u64& value) {
  if (msr == kMsrBase) return value = base_, true;
  if (msr == kMsrDeadline) return value = deadline_, true;
  const unsigned n = msr - kMsrX2apic;
  if (msr < kMsrX2apic || n > 0xff || mode() != Mode::x2apic || !readable_x2apic(n)) return false;
  value = n == kIcrLow ? icr_ : read_register(n);
  return true;
}

bool Lapic::write_msr(u32 msr, u64 value) {
  if (msr == kMsrBase) return write_base(value);
  if (msr == kMsrDeadline) return write_deadline(value), true;
  const unsigned n = msr - kMsrX2apic;
  if (msr < kMsrX2apic || n > 0xff || mode() != Mode::x2apic) return false;
  if (n == kEoi || n == kEsr) return value == 0 && (write_register(n, 0), true);  // anything but 0 is #GP
  if (writable_x2apic(n) == 0 || (value & ~writable_x2apic(n))) return false;
  if (n == kIcrLow)
    write_icr(value);
  else if (n == kSelfIpi)
    write_icr(u64{1} << 18 | value);
  else
    write_register(n, static_cast<u32>(value));
  return true;
}

}  // namespace nestwalk::emu
