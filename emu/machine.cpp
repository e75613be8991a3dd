#include "emu/machine.h"

#include <fmt/format.h>

#include <xxhash.h>

#include "emu/board.h"
#include "emu/boot/detect.h"
#include "emu/boot/flat.h"
#include "emu/enter.h"
#include "tlb/policy.h"

namespace nestwalk::emu {

using cpu::Stop;

void GuestImages::declare(sim::Section s) {
  s.field("kernel", kernel, "kernel image: bzImage, ELF (PVH), multiboot-1 ELF; with guest.format also flat code or a ROM");
  s.field("initrd", initrd, "initial RAM disk, handed to the kernel as its first module");
  s.field("append", append, "kernel command line");
  s.field("format", format, {{"auto", Format::automatic}, {"flat", Format::flat}, {"rom", Format::rom}},
          "how the kernel image is loaded");
  s.field("flat_address", flat_address, {0, 0xfffff, "address"}, "where a flat real-mode image is put and entered");
}

void MachineParams::declare(sim::Settings& settings) {
  sim::Section m = settings.section("machine");
  m.field("memory", memory, {u64{16} << 20, u64{1} << 46, "bytes"}, "installed memory of the guest");
  m.field("hpet", hpet, "whether there is an HPET");
  m.field("on_reset", on_reset, {{"stop", OnReset::stop}, {"reboot", OnReset::reboot}}, "what a guest's reset does");
  sim::Section c = settings.section("clock");
  c.field("guest", guest_clock, {{"cycles", sim::Clock::Guest::cycles}, {"instructions", sim::Clock::Guest::instructions}},
          "what drives guest-visible time: modelled cycles, or retired instructions (designs are then compared on the same "
          "work)");
  c.field("hz", hz, {1'000'000, 10'000'000'000, "Hz"}, "ticks of guest time per second; the TSC's frequency");
  c.field("date", date, "date and time at which the real-time clock starts, YYYY-MM-DD hh:mm:ss (UTC)");
  sim::Section r = settings.section("run");
  r.field("seed", seed, {}, "seed of every random choice: RDRAND and random replacement");
  r.field("exact", exact, "switch the L0 filter off; every access asks the model (slower, the report is the same)");
  r.field(
      "code_cache", code_cache, {0, u64{1} << 40, "bytes"},
      "host memory for decoded code, per machine; more is faster, nothing else depends on it; 0: 64M, or 6M for each of "
      "several machines");
  settings.section("mmu").field("model", model, "MMU model (`nestwalk models` lists them)");
  settings.section("core").field("model", core, "core timing model (`nestwalk models` lists them)");
}

Machine::Machine(const Home& home)
    : params_(home.params),
      core_(home.core),
      space_(home.space),
      memory_(space_ ? static_cast<mmu::PhysicalMemory&>(*space_) : home.memory),
      bytes_(home.bytes),
      clock_(params_.guest_clock, params_.hz) {
  sim::Settings& settings = home.settings;
  port_ = std::make_unique<mmu::Port>(*core_.model, core_.caches, home.memory, core_.filter, core_.counts, clock_);
  settings.section("mmu").field("mmio_cycles", port_->mmio_cycles, {0, 1'000'000, "cycles"},
                                "cost of one device register access");
  cpuid_ = std::make_unique<cpu::Cpuid>(settings, params_.hz);
  if (cpuid_->processors() != 1)
    settings.section("cpu").refuse("processors",
                                   "must be 1: this version has one processor, and no guest is promised more");
  timing_ = cpu::Cores::instance().make(params_.core, settings);
  cpu_ = std::make_unique<cpu::Cpu>(*port_, clock_, *this, *cpuid_, *timing_, params_.seed + 3);
  board_ = std::make_unique<Board>(*this, settings);
  port_->set_bus(&board_->mmio());
  port_->declare(stats_);
  if (space_) space_->declare(stats_);
}

Machine::~Machine() = default;

// ---- loading -----------------------------------------------------------------------------------------------------------

void Machine::load(const GuestImages& images) {
  images_ = images;
  const auto take = [&](const char* role, const std::string& path) {
    if (path.empty()) return;
    std::vector<u8> bytes = boot::read_file(path);
    const XXH128_hash_t h = XXH3_128bits(bytes.data(), bytes.size());
    digests_.emplace_back(role, fmt::format("xxh3:{:016x}{:016x}", h.high64, h.low64));
    files_[role] = std::move(bytes);
  };
  if (images_.kernel.empty())
    throw sim::ConfigError("there is nothing to boot: give --kernel FILE or the key guest.kernel");
  take("kernel", images_.kernel);
  take("initrd", images_.initrd);
  boot();
}

void Machine::boot() {
  boot::BootRequest request;
  request.kernel = {images_.kernel, files_["kernel"]};
  if (!images_.initrd.empty()) request.modules.push_back({{images_.initrd, files_["initrd"]}, ""});
  request.command_line = images_.append;
  request.map = boot::pc_memory_map(bytes_);
  boot::BootState state;
  switch (images_.format) {
    case GuestImages::Format::automatic:
      request.rsdp = board_->place_firmware_tables();
      state = boot::load_kernel(memory_, request);
      break;
    case GuestImages::Format::flat:
      state = boot::load_flat(memory_, request, static_cast<u16>(images_.flat_address >> 4 & 0xf000),
                              static_cast<u16>(images_.flat_address & 0xffff));
      break;
    case GuestImages::Format::rom: state = boot::load_rom(memory_, request); break;
  }
  board_->prepare(request, images_.format != GuestImages::Format::rom);
  enter(*cpu_, state);
  // Firmware would have done this too: without MTRRs on, kernels leave the PAT alone (SDM vol. 3, 11.11.2.1).
  if (images_.format != GuestImages::Format::rom) cpu_->s.msr.mtrr_default = 0xc06;
}

// ---- running -----------------------------------------------------------------------------------------------------------

Stop Machine::run(u64 limit) {
  while (true) {
    const Stop why = cpu_->run(limit);
    if (why != Stop::reset || params_.on_reset != MachineParams::OnReset::reboot) return why;
    board_->reset();
    cpu_->reset();
    if (space_) core_.model->forget(*space_, PhysAddr(0), u64{1} << 52, port_->fresh_bill());  // loaders write unheard
    boot();
  }
}

void Machine::stop(Stop why) { cpu_->stop(why); }
void Machine::type(std::string_view bytes) { board_->type(bytes); }
std::string Machine::screen() const { return board_->vga().text(); }

// ---- what the processor asks
// ---------------------------------------------------------------------------------------------

/// What a hypervisor intercepts costs an exit; a bare machine knows none.
void Machine::intercept(mmu::Exit why) {
  if (!space_) return;
  Bill& bill = port_->fresh_bill();
  space_->exit(why, bill);
  core_.model->left(*space_, bill);
  port_->pay(bill);
}

u64 Machine::io_read(u16 port, unsigned bytes) {
  intercept(mmu::Exit::io);
  return board_->ports().read(port, bytes);
}
void Machine::io_write(u16 port, u64 value, unsigned bytes) {
  intercept(mmu::Exit::io);
  board_->ports().write(port, value, bytes);
}
int Machine::acknowledge_interrupt() {
  intercept(mmu::Exit::interrupt);
  return board_->lapic().acknowledge();
}
bool Machine::apic_read(u32 msr, u64& value) { return board_->lapic().read_msr(msr, value); }
bool Machine::apic_write(u32 msr, u64 value) { return board_->lapic().write_msr(msr, value); }
u64 Machine::task_priority() { return board_->lapic().task_priority(); }
void Machine::set_task_priority(u64 value) { board_->lapic().set_task_priority(static_cast<u8>(value & 15)); }
void Machine::magic(u32 command, u64 argument) {
  if (on_magic) on_magic(command, argument);
}
void Machine::x87_error() { board_->x87_error().raise(); }

void Machine::tsc_changed() {
  if (board_) board_->lapic().tsc_changed();
}
void Machine::poll() {
  if (on_poll) on_poll();
}
void Machine::note(const std::string& line) {
  if (on_note) on_note(line);
}

std::vector<std::pair<std::string, std::vector<std::string>>> Machine::named_choices() {
  std::vector<std::pair<std::string, std::vector<std::string>>> kinds(2);
  kinds[0].first = "Replacement policies (tlb.*.policy, pwc.*.policy, cache.*.policy)";
  for (const auto& [name, entry] : tlb::Policies::instance().entries())
    kinds[0].second.push_back(fmt::format("{:<16} {}", name, entry.text));
  kinds[1].first = "Processors (cpu.model)";
  for (const auto& [name, entry] : cpu::CpuModels::instance().entries())
    kinds[1].second.push_back(fmt::format("{:<16} {}", name, entry.text));
  return kinds;
}

}  // namespace nestwalk::emu
