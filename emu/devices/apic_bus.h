// Messages between local APICs and IOAPICs (SDM vol. 3, 11.6 "Issuing interprocessor interrupts", 11.7 "System and APIC
// bus arbitration"), and the bus that carries them to whoever they address.
#pragma once

#include <vector>

#include "base/types.h"

namespace nestwalk::emu {

class Lapic;
class IoApic;

/// Delivery modes, as encoded in ICR, LVT and redirection entries.
enum class Delivery : u8 {
  fixed = 0,
  lowest_priority = 1,
  smi = 2,
  reserved = 3,
  nmi = 4,
  init = 5,
  startup = 6,
  extint = 7
};

struct ApicMessage {
  u32 destination = 0;  ///< APIC ID, or logical destination
  bool logical = false;
  bool broadcast = false;       ///< everybody, whatever `destination` says
  bool exclude_sender = false;  ///< ICR shorthand "all excluding self"
  Delivery delivery = Delivery::fixed;
  u8 vector = 0;
  bool level = false;  ///< level triggered: its EOI is told to the IOAPICs
};

class ApicBus {
 public:
  /// Both must outlive the bus; their call-backs are set to it.
  void attach(Lapic& lapic);
  void attach(IoApic& ioapic);

  /// `sender` may be nullptr (an IOAPIC). A lowest-priority message goes to the addressed APIC of the lowest processor
  /// priority, the first among equals.
  void deliver(const ApicMessage& message, Lapic* sender);
  void end_of_interrupt(u8 vector);

 private:
  std::vector<Lapic*> lapics_;
  std::vector<IoApic*> ioapics_;
};

}  // namespace nestwalk::emu
