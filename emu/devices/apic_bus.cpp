#include "emu/devices/apic_bus.h"

#include "emu/devices/ioapic.h"
#include "emu/devices/lapic.h"

namespace nestwalk::emu {

void ApicBus::attach(Lapic& lapic) {
  lapics_.push_back(&lapic);
  lapic.set_bus([this, sender = &lapic](const ApicMessage& m) { deliver(m, sender); },
                [this](u8 v) { end_of_interrupt(v); });
}

void ApicBus::attach(IoApic& ioapic) {
  ioapics_.push_back(&ioapic);
  ioapic.set_send([this](const ApicMessage& m) { deliver(m, nullptr); });
}

void ApicBus::deliver(const ApicMessage& message, Lapic* sender) {
  Lapic* lowest = nullptr;
  for (Lapic* l : lapics_) {
    if ((message.exclude_sender && l == sender) || !l->addressed_by(message)) continue;
    if (message.delivery != Delivery::lowest_priority)
      l->accept(message);
    else if (!lowest || l->processor_priority() < lowest->processor_priority())
      lowest = l;
  }
  if (lowest) lowest->accept(message);
}

void ApicBus::end_of_interrupt(u8 vector) {
  for (IoApic* i : ioapics_) i->end_of_interrupt(vector);
}

}  // namespace nestwalk::emu
