#include "emu/board.h"

#include <chrono>
#include <cstdio>

#include "emu/machine.h"

namespace nestwalk::emu {
namespace {

i64 parse_date(sim::Settings& settings, const std::string& text) {
  CalendarTime t;
  int used = 0;
  const int fields = std::sscanf(text.c_str(), "%4u-%2u-%2u %2u:%2u:%2u%n", &t.year, &t.month, &t.day, &t.hour, &t.minute,
                                 &t.second, &used);
  const bool fits = fields == 6 && static_cast<std::size_t>(used) == text.size() && t.year >= 1970 && t.month >= 1 &&
                    t.month <= 12 && t.day >= 1 && t.day <= 31 && t.hour < 24 && t.minute < 60 && t.second < 60;
  if (!fits) settings.section("clock").refuse("date", "is no date: write YYYY-MM-DD hh:mm:ss, from 1970 on");
  return t.to_unix();
}

}  // namespace

Board::Board(Machine& m, sim::Settings& settings)
    : machine_(m),
      pic_([this](bool level) { lapics_[0]->set_lint(0, level); }),
      router_(pic_, ioapic_),
      pit_(m.clock(), router_.legacy_timers()),
      rtc_(m.clock(), router_.legacy_timers(), parse_date(settings, m.params_.date)),
      uart_(m.clock(), router_, {},
            [&m](u8 byte) {
              if (m.on_output) m.on_output(byte);
            }),
      hpet_(m.clock(), router_, [this](bool on) { router_.set_legacy_replacement(on); }),
      pm_(
          m.clock(), router_, {.sci = acpi::sci_line, .s5_type = acpi::sleep_type_s5, .enabled = true},
          [&m] { m.stop(cpu::Stop::power_off); }, [&m] { m.stop(cpu::Stop::reset); }),
      keyboard_(
          router_, [](bool) {}, [&m] { m.stop(cpu::Stop::reset); }),
      x87_error_(router_, [&m] { m.cpu().ignore_x87_error(); }),
      vga_(m.clock()),
      fw_cfg_(m.memory_),
      debug_console_([&m](u8 byte) {
        if (m.on_debug_output) m.on_debug_output(byte);
      }),
      firmware_console_([&m](u8 byte) {
        if (m.on_debug_output) m.on_debug_output(byte);
      }),
      debug_exit_([&m](u32 value) {
        m.exit_value_ = value;
        m.stop(cpu::Stop::debug_exit);
      }) {
  pci_.plug(0, 0, &host_bridge_);
  pci_.plug(1, 0, &isa_bridge_);
  pci_.set_reset_control(&pm_.reset_control());
  for (auto& p : m.processors_) add_lapic(*p);
  apic_bus_.attach(ioapic_);
  map_ports();
  map_windows();
}

/// What an APIC does to its processor may come out of another's turn.
void Board::add_lapic(Processor& p) {
  const bool boots = p.number() == 0;
  const Lapic::Options options{.id = p.number(),
                               .bus_hz = machine_.cpuid_->apic_hz() ? machine_.cpuid_->apic_hz() : 100'000'000,
                               .bootstrap = boots,
                               .x2apic = machine_.cpuid_->has(cpu::Feature::x2apic),
                               .physical_width = machine_.cpuid_->physical_width()};
  Lapic::Wires wires;
  wires.set_interrupt = [&p](bool on) { p.reach([on](cpu::Cpu& c) { c.set_interrupt(on); }); };
  wires.nmi = [&p] { p.reach([](cpu::Cpu& c) { c.raise_nmi(); }); };
  // There is no firmware that the boot processor could come back to.
  if (boots)
    wires.init = [&m = machine_] { m.stop(cpu::Stop::reset); };
  else
    wires.init = [&p] { p.reach([](cpu::Cpu& c) { c.raise_init(); }); };
  wires.startup = [&p](u8 vector) { p.reach([vector](cpu::Cpu& c) { c.raise_startup(vector); }); };
  if (boots) wires.acknowledge_pic = [this] { return static_cast<int>(pic_.acknowledge()); };
  wires.tsc_to_clock = [&p](u64 tsc) {
    // A deadline that the TSC has passed is a time that has passed, however large the offset.
    const u64 now = p.cpu().tsc();
    return static_cast<i64>(tsc - now) <= 0 ? p.clock().now() : p.clock().now() + (tsc - now);
  };
  lapics_.push_back(std::make_unique<Lapic>(p.clock(), options, std::move(wires)));
  apic_bus_.attach(*lapics_.back());
}

void Board::map_ports() {
  ports_.map(0x20, 0x21, pic_.master());
  ports_.map(0x40, 0x43, pit_);
  ports_.map(0x60, 0x60, keyboard_.data_port());
  ports_.map(0x61, 0x61, pit_.port61());
  ports_.map(0x64, 0x64, keyboard_.command_port());
  ports_.map(0x70, 0x71, rtc_);
  ports_.map(0x80, 0x80, post_);
  ports_.map(0x92, 0x92, keyboard_.port92());
  ports_.map(0xa0, 0xa1, pic_.slave());
  ports_.map(acpi::smi_command, acpi::smi_command + 1, pm_.smi_command());
  ports_.map(0xe9, 0xe9, debug_console_);
  ports_.map(X87Error::kPort, X87Error::kPort + 1, x87_error_);
  ports_.map(0xf4, 0xf7, debug_exit_, 4);
  ports_.map(VgaText::kFirstPort, VgaText::kLastPort, vga_);
  ports_.map(0x3f8, 0x3ff, uart_);
  ports_.map(0x402, 0x402, firmware_console_);
  ports_.map(0x4d0, 0x4d1, pic_.elcr());
  ports_.map(0x510, 0x511, fw_cfg_, 2);
  ports_.map(0x514, 0x51b, fw_cfg_.dma(), 8);
  ports_.map(acpi::pm1_event, acpi::pm1_event + AcpiPm::kBlockBytes - 1, pm_, 4);
  ports_.map(acpi::gpe0, acpi::gpe0 + acpi::gpe0_bytes - 1, pm_.gpe(), 4);
  ports_.map(0xcf8, 0xcff, pci_, 4);
}

void Board::map_windows() {
  mmio_.map(PhysAddr(VgaText::kWindowBase), VgaText::kWindowBytes, vga_.memory(), 8);
  mmio_.map(PhysAddr(IoApic::kDefaultBase), IoApic::kWindowBytes, ioapic_, 4);
  if (machine_.params_.hpet) mmio_.map(PhysAddr(Hpet::kDefaultBase), Hpet::kWindowBytes, hpet_, 8);
}

AcpiTables Board::tables() const {
  return build_acpi_tables({.cpus = static_cast<unsigned>(machine_.size()), .hpet = machine_.params_.hpet});
}

u64 Board::place_firmware_tables() { return place_acpi_tables(machine_.memory_, tables()); }

void Board::prepare(const boot::BootRequest& request, bool as_firmware) {
  u64 below = 0, above = 0;
  for (const boot::MemorySpan& s : boot::pc_installed_memory(machine_.bytes_))
    if (s.begin >= boot::kFourGiB)
      above += s.bytes;
    else
      below = s.begin + s.bytes;
  rtc_.set_memory(below, above);
  fw_cfg_.add_u16(FwCfg::nb_cpus, static_cast<u16>(machine_.size()));
  fw_cfg_.add_u16(FwCfg::max_cpus, static_cast<u16>(machine_.size()));
  fw_cfg_.add_u64(FwCfg::ram_size, machine_.bytes_);
  fw_cfg_.add_u16(FwCfg::nographic, 1);
  std::vector<u8> map;
  for (const boot::E820Entry& e : request.map.entries()) {
    const u64 words[2] = {e.base, e.size};
    const u32 type = static_cast<u32>(e.type);
    map.insert(map.end(), reinterpret_cast<const u8*>(words), reinterpret_cast<const u8*>(words) + sizeof words);
    map.insert(map.end(), reinterpret_cast<const u8*>(&type), reinterpret_cast<const u8*>(&type) + sizeof type);
  }
  fw_cfg_.add_file("etc/e820", std::move(map));
  AcpiFiles files = acpi_fw_cfg_files(tables());
  fw_cfg_.add_file("etc/acpi/rsdp", std::move(files.rsdp));
  fw_cfg_.add_file("etc/acpi/tables", std::move(files.tables));
  fw_cfg_.add_file("etc/table-loader", std::move(files.loader));
  if (!as_firmware) return;
  lapics_[0]->virtual_wire();
  ports_.write(0x4d1, 1u << (acpi::sci_line - 8), 1);  // the SCI is a level
}

void Board::reset() {
  for (auto& l : lapics_) l->reset();
  for (Device* d : std::initializer_list<Device*>{&ioapic_, &pic_, &pit_, &rtc_, &uart_, &hpet_, &pm_, &keyboard_,
                                                  &x87_error_, &pci_, &vga_, &fw_cfg_, &post_})
    d->reset();
  map_windows();
}

void Board::type(std::string_view bytes) { uart_.push({reinterpret_cast<const u8*>(bytes.data()), bytes.size()}); }

}  // namespace nestwalk::emu
