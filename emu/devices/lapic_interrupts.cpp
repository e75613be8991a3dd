// How the local APIC accepts, orders and ends interrupts: SDM vol. 3, 11.6 (interprocessor interrupts), 11.8 (handling).
#include "base/bits.h"
#include "emu/devices/lapic.h"

namespace nestwalk::emu {
namespace {

constexpr u32 kMasked = 1 << 16, kLevel = 1 << 15, kRemoteIrr = 1 << 14;
constexpr u32 kSendIllegal = 1 << 5, kReceiveIllegal = 1 << 6;  // ESR

template <class V>
int highest(const V& v) {
  for (int i = 7; i >= 0; --i)
    if (v[static_cast<unsigned>(i)]) return 32 * i + 31 - std::countl_zero(v[static_cast<unsigned>(i)]);
  return -1;
}
template <class V>
void set(V& v, unsigned n, bool on) {
  u32& word = v[n / 32];
  word = on ? word | u32{1} << (n % 32) : word & ~(u32{1} << (n % 32));
}
template <class V>
bool test(const V& v, unsigned n) {
  return v[n / 32] >> (n % 32) & 1;
}

}  // namespace

u8 Lapic::processor_priority() const {
  const int serving = highest(isr_);
  const u8 in_service = serving < 0 ? 0 : static_cast<u8>(serving & 0xf0);
  return (tpr_ & 0xf0) >= in_service ? tpr_ : in_service;
}

bool Lapic::extint_pending() const {
  if (mode() == Mode::disabled) return lint_level_[0];  // LINT0 is the processor's INTR pin then
  const bool wired = !(lvt_[lint0] & kMasked) && static_cast<Delivery>(bits(lvt_[lint0], 10, 8)) == Delivery::extint;
  return extint_message_ || (wired && lint_level_[0]);
}

void Lapic::update() {
  const int top = mode() == Mode::disabled ? -1 : highest(irr_);
  const bool now = extint_pending() || (top >= 0 && (top & 0xf0) > (processor_priority() & 0xf0));
  if (now == pending_) return;
  pending_ = now;
  if (wires_.set_interrupt) wires_.set_interrupt(now);
}

int Lapic::acknowledge() {
  if (!pending_) return -1;
  if (extint_pending()) {  // ExtINT passes by all priorities
    extint_message_ = false;
    const int vector = wires_.acknowledge_pic ? wires_.acknowledge_pic() : -1;
    update();
    return vector;
  }
  const int vector = highest(irr_);
  set(irr_, static_cast<unsigned>(vector), false);
  set(isr_, static_cast<unsigned>(vector), true);
  update();
  return vector;
}

void Lapic::set_task_priority(u8 priority_class) {
  tpr_ = static_cast<u8>(priority_class << 4);
  update();
}

void Lapic::end_of_interrupt() {
  const int vector = highest(isr_);
  if (vector < 0) return;
  set(isr_, static_cast<unsigned>(vector), false);
  if (test(tmr_, static_cast<unsigned>(vector))) {
    for (const Lvt which : {lint0, lint1})
      if ((lvt_[which] & kRemoteIrr) && (lvt_[which] & 0xff) == static_cast<u32>(vector)) {
        lvt_[which] &= ~kRemoteIrr;
        service_lint(which - lint0);
      }
    if (broadcast_eoi_) broadcast_eoi_(static_cast<u8>(vector));
  }
  update();
}

void Lapic::accept_fixed(u8 vector, bool level) {
  if (vector < 16) return raise_error(kReceiveIllegal);
  if (!software_enabled()) return;
  set(irr_, vector, true);
  set(tmr_, vector, level);
  update();
}

void Lapic::raise_error(u32 esr_bit) {
  const bool news = !(esr_collected_ & esr_bit);
  esr_collected_ |= esr_bit;
  if (news) local_interrupt(error);  // once per collection: an error entry with an illegal vector must not feed itself
}

bool Lapic::addressed_by(const ApicMessage& m) const {
  if (mode() == Mode::disabled) return false;
  if (m.broadcast) return true;
  if (!m.logical) return m.destination == id_;
  const u32 mine = logical_id();
  if (mode() == Mode::x2apic) return m.destination >> 16 == mine >> 16 && (m.destination & mine & 0xffff);
  if (dfr_ >> 28 == 15) return m.destination & (mine >> 24);  // flat
  const u32 d = m.destination, l = mine >> 24;                // cluster
  return (d >> 4 == l >> 4 || d >> 4 == 15) && (d & l & 15);
}

void Lapic::accept(const ApicMessage& m) {
  if (mode() == Mode::disabled) return;
  switch (m.delivery) {
    case Delivery::fixed:
    case Delivery::lowest_priority: accept_fixed(m.vector, m.level); break;
    case Delivery::nmi:
      if (wires_.nmi) wires_.nmi();
      break;
    case Delivery::init:
      init();
      if (wires_.init) wires_.init();
      break;
    case Delivery::startup:
      if (wires_.startup) wires_.startup(m.vector);
      break;
    case Delivery::extint:
      extint_message_ = true;
      update();
      break;
    case Delivery::smi:
    case Delivery::reserved: break;  // no system-management mode
  }
}

void Lapic::write_icr(u64 value) {
  icr_ = value & ~u64{0x1000};  // sent at once: delivery status is always idle
  const auto delivery = static_cast<Delivery>(bits(value, 10, 8));
  const unsigned shorthand = static_cast<unsigned>(bits(value, 19, 18));
  const bool vectored = delivery == Delivery::fixed || delivery == Delivery::lowest_priority;
  if (vectored && (value & 0xff) < 16) return raise_error(kSendIllegal);
  if (delivery == Delivery::init && (value & kLevel) && !(value & 0x4000))
    return;  // INIT level de-assert: no effect since P4
  if (delivery == Delivery::reserved) return;

  ApicMessage m;
  const bool x2 = mode() == Mode::x2apic;
  m.destination = static_cast<u32>(x2 ? value >> 32 : value >> 56);
  m.logical = value & 0x800;
  m.broadcast = shorthand >= 2 || m.destination == (x2 ? 0xffffffff : 0xff);
  m.exclude_sender = shorthand == 3;
  m.delivery = delivery;
  m.vector = static_cast<u8>(value);
  // The trigger bit counts for INIT only; IPIs are edges (11.6.1).
  if (shorthand == 1) {
    if (delivery == Delivery::fixed) accept(m);  // other modes to oneself are invalid (table 11-4)
  } else if (send_) {
    send_(m);
  }
}

void Lapic::local_interrupt(Lvt which) {
  const u32 entry = lvt_[which];
  if ((entry & kMasked) || mode() == Mode::disabled) return;
  const bool has_delivery = which != timer && which != error;
  ApicMessage m;
  m.delivery = has_delivery ? static_cast<Delivery>(bits(entry, 10, 8)) : Delivery::fixed;
  m.vector = static_cast<u8>(entry);
  m.level = lint_is_level(which);
  if (m.delivery == Delivery::fixed || m.delivery == Delivery::nmi || m.delivery == Delivery::init) accept(m);
}

bool Lapic::lint_is_level(Lvt which) const {
  return (which == lint0 || which == lint1) && (lvt_[which] & kLevel) &&
         static_cast<Delivery>(bits(lvt_[which], 10, 8)) == Delivery::fixed;
}

void Lapic::set_lint(unsigned pin, bool level) {
  if (pin > 1 || lint_level_[pin] == level) return;
  lint_level_[pin] = level;
  const Lvt which = static_cast<Lvt>(lint0 + pin);
  const bool direct = mode() == Mode::disabled && pin == 1;  // the NMI pin
  if (direct && level && wires_.nmi) wires_.nmi();
  if (lint_is_level(which))
    service_lint(pin);
  else if (level)
    local_interrupt(which);
  update();
}

void Lapic::service_lint(unsigned pin) {
  const Lvt which = static_cast<Lvt>(lint0 + pin);
  if (!lint_is_level(which) || !lint_level_[pin] || (lvt_[which] & (kMasked | kRemoteIrr))) return;
  lvt_[which] |= kRemoteIrr;
  local_interrupt(which);
}

}  // namespace nestwalk::emu
