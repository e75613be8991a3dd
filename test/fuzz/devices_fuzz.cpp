// Fuzz target: a board full of devices under an arbitrary sequence of port, window and MSR accesses, line changes, serial
// input and passing time. Nothing may crash, hang, or strike without bound. Build with -fsanitize=fuzzer, or let
// devices_fuzz_test.cpp drive it with seeded input.
#include <cstdlib>
#include <span>

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

namespace nestwalk::emu::fuzz {

struct Board {
  sim::Clock clock;
  mmu::MachineMemory memory;
  PortBus ports;
  MmioBus mmio;
  u64 output = 0;  ///< bytes, resets, power-offs: whatever leaves the board
  Lapic lapic{clock,
              {},
              {.acknowledge_pic = [this] { return pic.acknowledge(); },
               .tsc_to_clock = [](u64 tsc) { return tsc; },
               .base_changed = [this] { move_apic(); }}};
  IoApic ioapic;
  ApicBus bus;
  Pic8259 pic{[this](bool level) { lapic.set_lint(0, level); }};
  IrqRouter lines{pic, ioapic};
  Pit8254 pit{clock, lines.legacy_timers()};
  Rtc rtc{clock, lines.legacy_timers(), 1'800'000'000};
  Uart16550 uart{clock, lines, {}, [this](u8) { ++output; }};
  Uart16550 slow_uart{clock, lines, {.irq = 3, .timed = true}, [this](u8) { ++output; }};
  Hpet hpet{clock, lines, [this](bool on) { lines.set_legacy_replacement(on); }};
  AcpiPm pm{clock, lines, {.enabled = true}, [this] { ++output; }, [this] { ++output; }};
  Keyboard8042 keyboard{lines, [](bool) {}, [this] { ++output; }};
  PciHost pci;
  HostBridge440fx bridge{[this](u32, u32, bool, bool) { ++output; }};
  IsaBridgePiix3 isa;
  VgaText vga{clock};
  FwCfg fw_cfg{memory};
  DebugConsole console{[this](u8) { ++output; }};
  DebugExit exit{[this](u32) { ++output; }};
  PostCode post;

  Board() {
    memory.install(MachineAddr(0), 0x10000);
    bus.attach(lapic);
    bus.attach(ioapic);
    pci.plug(0, 0, &bridge);
    pci.plug(1, 0, &isa);
    pci.set_reset_control(&pm.reset_control());
    fw_cfg.add_file("etc/e820", std::vector<u8>(5000, 0x5a));
    ports.map(0x20, 0x21, pic.master());
    ports.map(0xa0, 0xa1, pic.slave());
    ports.map(0x4d0, 0x4d1, pic.elcr());
    ports.map(0x40, 0x43, pit);
    ports.map(0x61, 0x61, pit.port61());
    ports.map(0x60, 0x60, keyboard.data_port());
    ports.map(0x64, 0x64, keyboard.command_port());
    ports.map(0x92, 0x92, keyboard.port92());
    ports.map(0x70, 0x71, rtc);
    ports.map(0x80, 0x80, post);
    ports.map(0xb2, 0xb3, pm.smi_command());
    ports.map(0xe9, 0xe9, console);
    ports.map(0xf4, 0xf7, exit, 4);
    ports.map(0x2f8, 0x2ff, slow_uart);
    ports.map(VgaText::kFirstPort, VgaText::kLastPort, vga);
    ports.map(0x3f8, 0x3ff, uart);
    ports.map(0x510, 0x511, fw_cfg, 2);
    ports.map(0x514, 0x51b, fw_cfg.dma(), 8);
    ports.map(0x600, 0x60b, pm, 4);
    ports.map(0xafe0, 0xafe3, pm.gpe(), 4);
    ports.map(0xcf8, 0xcff, pci, 4);
    mmio.map(PhysAddr(IoApic::kDefaultBase), IoApic::kWindowBytes, ioapic);
    mmio.map(PhysAddr(Hpet::kDefaultBase), Hpet::kWindowBytes, hpet, 8);
    mmio.map(PhysAddr(VgaText::kWindowBase), VgaText::kWindowBytes, vga.memory(), 8);
    move_apic();
  }
  void move_apic() {
    if (lapic.window_base())
      mmio.map(PhysAddr(lapic.window_base()), Lapic::kWindowBytes, lapic);
    else
      mmio.unmap(lapic);
  }
  void reset() {
    for (Device* d : std::initializer_list<Device*>{&lapic, &ioapic, &pic, &pit, &rtc, &uart, &slow_uart, &hpet, &pm,
                                                    &keyboard, &pci, &vga, &fw_cfg, &post})
      d->reset();
  }
};

/// Bytes of fuzzer input, zeros at its end.
class Input {
 public:
  explicit Input(std::span<const u8> data) : data_(data) {}
  bool empty() const { return data_.empty(); }
  u64 take(unsigned bytes) {
    u64 v = 0;
    for (unsigned i = 0; i < bytes && !data_.empty(); ++i) {
      v |= u64{data_.front()} << (8 * i);
      data_ = data_.subspan(1);
    }
    return v;
  }

 private:
  std::span<const u8> data_;
};

/// Lets guest time pass as a core would: all events on the way, but no more of them than the promise of alarm.h allows.
inline void pass(Board& b, u64 ticks) {
  const u64 end = b.clock.now() + ticks;
  u64 strikes = 0;
  while (b.clock.deadline() <= end) {
    if (b.clock.deadline() > b.clock.cycles) b.clock.cycles = b.clock.deadline();
    b.clock.run_due();
    // Ten or so periodic sources at 100 kHz, and as many one-shots still waiting.
    if (++strikes > 64 + ticks / 10'000 * 16) std::abort();
  }
  b.clock.cycles = end;
}

inline void step(Board& b, Input& in) {
  constexpr u16 kPorts[] = {0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x40,  0x42,  0x43,  0x61,  0x60,   0x64,  0x92,  0x70,
                            0x71,  0xb2,  0xe9,  0xf4,  0x2f8, 0x2f9, 0x2fa, 0x2fb, 0x3f8, 0x3f9,  0x3fa, 0x3fb, 0x3fc,
                            0x3fd, 0x510, 0x511, 0x514, 0x518, 0x600, 0x602, 0x604, 0x608, 0xafe0, 0xcf8, 0xcf9, 0xcfc,
                            0xcff, 0x3c0, 0x3c1, 0x3c4, 0x3c5, 0x3c7, 0x3c8, 0x3c9, 0x3ce, 0x3cf,  0x3d4, 0x3d5, 0x3da};
  constexpr u64 kWindows[] = {Lapic::kDefaultBase, IoApic::kDefaultBase, Hpet::kDefaultBase, VgaText::kWindowBase + 0x7000};
  const u8 what = static_cast<u8>(in.take(1));
  const unsigned bytes = 1u << (what >> 4 & 3);
  switch (what & 15) {
    case 0:
    case 1:
    case 2: b.ports.write(kPorts[in.take(1) % std::size(kPorts)], in.take(bytes), bytes & 7 ? bytes : 4); break;
    case 3: b.ports.read(kPorts[in.take(1) % std::size(kPorts)], bytes & 7 ? bytes : 4); break;
    case 4: b.ports.write(static_cast<u16>(in.take(2)), in.take(4), 4); break;
    case 5:
    case 6: {
      const u64 at = kWindows[in.take(1) % std::size(kWindows)] + (in.take(2) & 0xff8);
      b.mmio.write(PhysAddr(at), in.take(bytes), what & 0x40 ? 4 : bytes);
      break;
    }
    case 7: b.mmio.read(PhysAddr(kWindows[in.take(1) % std::size(kWindows)] + in.take(2) % 0x1004), bytes); break;
    case 8: b.lapic.write_msr(static_cast<u32>(0x800 + in.take(1)), in.take(8)); break;
    case 9: {
      u64 v;
      b.lapic.read_msr(static_cast<u32>(0x800 + in.take(1)), v);
      b.lapic.write_msr(0x6e0, b.clock.now() + in.take(3));
      break;
    }
    case 10: b.lapic.write_msr(0x1b, Lapic::kDefaultBase | (in.take(2) & 0xd00)); break;
    case 11: b.lines.set(static_cast<unsigned>(in.take(1) % 40), what & 16); break;
    case 12: {
      const u8 text[4] = {'a', 'b', 'c', 'd'};
      b.uart.push(text);
      b.slow_uart.push(text);
      break;
    }
    case 13: pass(b, in.take(what & 0x80 ? 4 : 2) >> (what & 0x80 ? 8 : 0)); break;
    case 14: {
      b.lapic.acknowledge();
      b.lapic.set_task_priority(what >> 4);
      sim::Ticks skipped = 0;
      b.clock.skip_to_next(skipped);
      b.clock.run_due();
      break;
    }
    default:
      if (what == 0xff) b.reset();
      if (what == 0xef) b.output += b.vga.text().size();
      b.memory.write(MachineAddr(in.take(2)), std::array<u8, 4>{static_cast<u8>(in.take(1)), 0, 0, 0x0a});
      break;
  }
}

inline int run(std::span<const u8> data) {
  Board board;
  for (Input in(data); !in.empty();) step(board, in);
  return 0;
}

}  // namespace nestwalk::emu::fuzz

#ifndef NESTWALK_FUZZ_AS_TEST
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  return nestwalk::emu::fuzz::run({data, size});
}
#endif
