// The board of the emulated PC: which devices there are, where they answer, and how they are wired.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "emu/acpi_tables.h"
#include "emu/boot/boot.h"
#include "emu/devices/acpi_pm.h"
#include "emu/devices/apic_bus.h"
#include "emu/devices/debug_ports.h"
#include "emu/devices/fw_cfg.h"
#include "emu/devices/hpet.h"
#include "emu/devices/ioapic.h"
#include "emu/devices/irq_router.h"
#include "emu/devices/keyboard8042.h"
#include "emu/devices/lapic.h"
#include "emu/devices/mmio_bus.h"
#include "emu/devices/pci.h"
#include "emu/devices/pic8259.h"
#include "emu/devices/pit8254.h"
#include "emu/devices/port_bus.h"
#include "emu/devices/rtc.h"
#include "emu/devices/uart16550.h"
#include "emu/devices/vga_text.h"
#include "emu/devices/x87_error.h"
#include "sim/settings.h"

namespace nestwalk::emu {

class Machine;
class Processor;

class Board {
 public:
  Board(Machine& machine, sim::Settings& settings);

  PortBus& ports() { return ports_; }
  MmioBus& mmio() { return mmio_; }
  Lapic& lapic(unsigned processor) { return *lapics_[processor]; }
  X87Error& x87_error() { return x87_error_; }
  const VgaText& vga() const { return vga_; }

  /// Writes the ACPI tables into the firmware area; returns the RSDP's address.
  u64 place_firmware_tables();
  /// What firmware would have left behind: memory sizes in CMOS, fw_cfg's items, and, unless real firmware comes, an APIC
  /// in virtual-wire mode.
  void prepare(const boot::BootRequest& request, bool as_firmware);
  /// Power-on state of every device.
  void reset();
  /// Input for the serial line.
  void type(std::string_view bytes);

 private:
  void add_lapic(Processor& processor);
  void map_ports();
  void map_windows();
  AcpiTables tables() const;

  Machine& machine_;
  PortBus ports_;
  MmioBus mmio_;
  std::vector<std::unique_ptr<Lapic>> lapics_;  ///< by processor, each of which sees its own
  IoApic ioapic_;
  ApicBus apic_bus_;
  Pic8259 pic_;
  IrqRouter router_;
  Pit8254 pit_;
  Rtc rtc_;
  Uart16550 uart_;
  Hpet hpet_;
  AcpiPm pm_;
  Keyboard8042 keyboard_;
  X87Error x87_error_;
  PciHost pci_;
  HostBridge440fx host_bridge_;
  IsaBridgePiix3 isa_bridge_;
  VgaText vga_;
  FwCfg fw_cfg_;
  DebugConsole debug_console_;
  DebugConsole firmware_console_;
  DebugExit debug_exit_;
  PostCode post_;
};

}  // namespace nestwalk::emu
