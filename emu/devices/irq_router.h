// The board's wiring of interrupt lines: an ISA line reaches the 8259 pair and the IOAPIC at once, IRQ0 at input 2 as on
// every PC (the MADT says so with an interrupt source override); lines from 16 on are IOAPIC inputs only. When the HPET
// replaces the legacy timers, the 8254 and the RTC are off lines 0 and 8.
#pragma once

#include "emu/device.h"
#include "emu/devices/ioapic.h"
#include "emu/devices/pic8259.h"

namespace nestwalk::emu {

class IrqRouter final : public IrqLines {
 public:
  static constexpr unsigned kTimerInput = 2;  ///< IOAPIC input of IRQ0

  IrqRouter(Pic8259& pic, IoApic& ioapic) : pic_(pic), ioapic_(ioapic) {}

  void set(unsigned line, bool level) override {
    if (line < 16) pic_.set(line, level);
    ioapic_.set(line == 0 ? kTimerInput : line, level);
  }

  /// What the 8254 and the RTC are wired to.
  IrqLines& legacy_timers() { return legacy_; }
  void set_legacy_replacement(bool on) { legacy_.cut(on); }

 private:
  class Legacy final : public IrqLines {
   public:
    explicit Legacy(IrqRouter& router) : router_(router) {}
    void set(unsigned line, bool level) override {
      const u32 mask = u32{1} << (line & 31);
      levels_ = level ? levels_ | mask : levels_ & ~mask;
      if (!cut_) router_.set(line, level);
    }
    void cut(bool on) {
      if (on == cut_) return;
      cut_ = on;
      for (const unsigned line : {0u, 8u}) router_.set(line, !on && (levels_ >> line & 1));
    }

   private:
    IrqRouter& router_;
    u32 levels_ = 0;
    bool cut_ = false;
  };

  Pic8259& pic_;
  IoApic& ioapic_;
  Legacy legacy_{*this};
};

}  // namespace nestwalk::emu
