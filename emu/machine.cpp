#include "emu/machine.h"

#include <fmt/format.h>

#include <xxhash.h>

#include <algorithm>

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

void GuestImages::demand_kernel(const std::string& vm) const {
  if (!kernel.empty()) return;
  if (vm.empty()) throw sim::ConfigError("there is nothing to boot: give --kernel FILE or the key guest.kernel");
  throw sim::ConfigError(
      fmt::format("vm.{0} has nothing to boot: give the key vm.{0}.kernel, or --kernel FILE for all machines", vm));
}

void MachineParams::declare(sim::Settings& settings) {
  sim::Section m = settings.section("machine");
  m.field("memory", memory, {u64{16} << 20, u64{1} << 46, "bytes"}, "installed memory of the guest");
  m.field("processors", processors, {1, 64, "processors"},
          "of the machine, or of each virtual machine that says nothing else");
  m.field(
      "quantum", quantum, {1, 1'000'000'000, "ticks"},
      "guest time (cycles or instructions, as clock.guest says) after which another processor of the machine has its turn");
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
      installed_(home.memory),
      space_(home.space),
      memory_(space_ ? static_cast<mmu::PhysicalMemory&>(*space_) : home.memory),
      bytes_(home.bytes),
      count_(home.seats.size()) {
  sim::Settings& settings = home.settings;
  settings.section("mmu").field("mmio_cycles", mmio_cycles_, {0, 1'000'000, "cycles"},
                                "cost of one device register access");
  cpuid_ = std::make_unique<cpu::Cpuid>(settings, params_.hz, static_cast<u32>(count_));
  timing_ = cpu::Cores::instance().make(params_.core, settings);
  for (unsigned n = 0; n < count_; ++n) processors_.push_back(std::make_unique<Processor>(*this, n, home.seats[n]));
  board_ = std::make_unique<Board>(*this, settings);
  for (auto& p : processors_) p->port().declare(p->stats());
  if (space_) space_->declare(stats_, static_cast<unsigned>(count_));
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
  take("kernel", images_.kernel);
  take("initrd", images_.initrd);
  boot();
  // Kept for a reboot only: ten machines with a copy of Debian's kernel each are 170 MiB.
  if (params_.on_reset == MachineParams::OnReset::stop) files_.clear();
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
  enter(cpu(), state);
  // Firmware would have done this too: without MTRRs on, kernels leave the PAT alone (SDM vol. 3, 11.11.2.1). On the other
  // processors as well, which INIT leaves them to.
  for (auto& p : processors_) p->cpu().s.msr.mtrr_default = images_.format != GuestImages::Format::rom ? 0xc06 : 0;
}

// ---- running -----------------------------------------------------------------------------------------------------------

Stop Machine::run(u64 limit) {
  while (true) {
    const Stop why = processors_[0]->run(limit);
    if (!reboots_after(why)) return why;
    reboot();
  }
}

void Machine::reboot() {
  board_->reset();
  for (auto& p : processors_)
    if (p->number()) p->restart();
  cpu().reset();
  if (space_) core().model->forget(*space_, PhysAddr(0), u64{1} << 52, port().fresh_bill());  // loaders write unheard
  boot();
}

void Machine::stop(Stop why) {
  if (running_) return running_->cpu().stop(why);
  for (auto& p : processors_) p->cpu().stop(why);
}

u64 Machine::instructions() const {
  u64 n = 0;
  for (const auto& p : processors_) n += p->clock().instructions;
  return n;
}

Cycles Machine::cycles() const {
  Cycles n = 0;
  for (const auto& p : processors_) n = std::max(n, p->clock().cycles);
  return n;
}

bool Machine::is_idle() const {
  return std::all_of(processors_.begin(), processors_.end(), [](const auto& p) { return p->cpu().s.halted; });
}

bool Machine::is_dead() const {
  bool events = false, wakeable = false;
  for (const auto& p : processors_) {
    if (!p->is_asleep() || p->is_awaited()) return false;
    events |= p->clock().has_events();
    wakeable |= p->cpu().is_wakeable();
  }
  return !events || !wakeable;
}

/// The devices' time is that of a processor which may sleep, or wait for its core, while `who` comes to a later one.
void Machine::bring_devices_to(Processor& who) {
  Processor& boot = *processors_[0];
  if (&boot == &who) return;
  const sim::Ticks now = who.clock().now();
  sim::Clock& clock = boot.clock();
  const bool by_cycles = clock.guest() == sim::Clock::Guest::cycles;
  sim::Ticks until = std::min(now, boot.is_asleep() ? boot.ready_at() : clock.now());
  if (!boot.is_asleep() && by_cycles && &boot.core() == &who.core()) until = now;  // it waits for this very core
  if (until <= clock.now()) return;
  if (by_cycles) boot.port().book(boot.is_asleep() ? Cause::idle : Cause::away, until - clock.cycles);
  clock.skip_to(until);
}

void Machine::type(std::string_view bytes) { board_->type(bytes); }
std::string Machine::screen() const { return board_->vga().text(); }

// ---- statistics --------------------------------------------------------------------------------------------------------

namespace {

/// What each processor of several shows of itself.
bool is_main_figure(const std::string& name) {
  const auto ends = [&](const char* what) { return name.ends_with(what); };
  if (name == "instructions" || name == "cycles" || name == "walk.count" || name == "walk.reads" || name == "walk.cycles")
    return true;
  if (name.starts_with("cycles.")) return name.find('.', 7) == std::string::npos;
  if (!name.starts_with("tlb.") || std::count(name.begin(), name.end(), '.') != 2) return false;
  return ends(".accesses") || ends(".hits") || ends(".misses");
}

}  // namespace

void Machine::declare_sums() {
  std::vector<const sim::Stats*> parts;
  for (auto& p : processors_) parts.push_back(&p->stats());
  stats_.sums(parts);
  for (auto& p : processors_) {
    const sim::Stats& own = p->stats();
    const std::string prefix = fmt::format("cpu{}.", p->number());
    for (std::size_t n = 0; n < own.counters().size(); ++n)
      if (const sim::Stats::Row& row = own.counters()[n]; is_main_figure(row.name))
        stats_.counter(
            prefix + row.name, [&own, n] { return own.counter_at(n); }, row.unit, row.text);
  }
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
