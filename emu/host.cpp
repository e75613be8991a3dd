#include "emu/host.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bits.h"
#include "emu/boot/boot.h"

namespace nestwalk::emu {

void HostParams::declare(sim::Section s) {
  s.field("memory", memory, {0, u64{1} << 46, "bytes"},
          "machine memory that a hypervisor shares out; 0: what its virtual machines need. A bare machine has "
          "machine.memory");
  s.field("cores", cores, {1, 64, "cores"}, "physical cores, each with TLBs and caches of its own");
  s.field("page_size", page_size, {{"4K", PageSize::k4K}, {"2M", PageSize::k2M}, {"1G", PageSize::k1G}},
          "largest page with which a hypervisor backs guest-physical memory");
  s.field(
      "placement", placement,
      {{"first-fit", vmm::Placement::first_fit}, {"random", vmm::Placement::random}, {"colour", vmm::Placement::colour}},
      "which machine frame a guest frame is given: the lowest free one, any, or the lowest of the same colour");
  s.field("colours", colours, {1, 1 << 16, "colours"}, "page colours of placement = colour, a power of two");
  s.field("scheduler", scheduler, {{"round-robin", Scheduler::round_robin}, {"weighted", Scheduler::weighted}},
          "who gets a core next: each in turn, or the one that has had least of it for its weight");
  s.field("slice", slice_us, {1, 60'000'000, "microseconds"},
          "guest time after which another virtual machine has its turn");
  s.field(
      "steal", steal, {{"hidden", Steal::hidden}, {"visible", Steal::visible}},
      "whether a virtual machine's own time (TSC, timers) stands still while another has its core, so that ticks are not "
      "lost and time-outs hold; it goes on for machines of several processors");
  if (colours & (colours - 1)) s.refuse("colours", "must be a power of two");
}

Host::Host(sim::Settings& settings) {
  params_.declare(settings);
  if (settings.section("vm").children().empty()) host_.cores = params_.processors;  // unless it says something else
  host_.declare(settings.section("host"));
  costs_.declare(settings.section("vmm.cost"));
  for (unsigned n = 0; n < host_.cores; ++n) {
    cores_.push_back(std::make_unique<Physical>());
    cores_[n]->core = std::make_unique<Core>(settings, params_, memory_, host_.cores > 1 ? &commons_ : nullptr);
  }
  // A layer that describes one design stays where it is when mmu.model names another.
  for (const auto& [name, entry] : mmu::Models::instance().entries()) {
    std::string section = name;
    std::replace(section.begin(), section.end(), '-', '_');
    settings.allow_unused(section);
  }
  read_tenants(settings);
  check_processors(settings);
  install_memory();
  for (auto& t : tenants_) build(*t, settings);
  declare();
}

Host::~Host() = default;

// ---- building ----------------------------------------------------------------------------------------------------------

void Host::read_tenants(sim::Settings& settings) {
  const bool needs_guest = cores_[0]->core->model->needs_guest();
  GuestImages images;
  images.declare(settings.section("guest"));
  sim::Section all = settings.section("vm");
  const std::vector<std::string> names = all.children();
  if (names.empty()) {
    auto t = std::make_unique<Tenant>();
    t->memory = params_.memory;
    t->processors = params_.processors;
    t->images = images;
    tenants_.push_back(std::move(t));
    if (!needs_guest && host_.cores != params_.processors)
      settings.section("host").refuse(
          "cores",
          fmt::format("must be {}: a bare machine has a core for each of its machine.processors", params_.processors));
    return;
  }
  if (!needs_guest)
    settings.section("mmu").refuse(
        "model", "runs a bare machine; virtual machines ([vm.NAME]) need one with a hypervisor: nested, shadow, ...");
  for (const std::string& name : names) {
    sim::Section s = all.child(name);
    auto t = std::make_unique<Tenant>();
    t->name = name;
    t->number = static_cast<unsigned>(tenants_.size());
    t->memory = params_.memory;
    t->core = static_cast<u32>(tenants_.size()) % host_.cores;
    t->processors = params_.processors;
    t->images = images;
    s.field("memory", t->memory, {u64{16} << 20, u64{1} << 46, "bytes"}, "guest-physical memory of this virtual machine");
    t->images.declare(s);
    s.field("console", t->console, "file that receives its serial output; default: console.txt in its part of --out");
    s.field("weight", t->weight, {1, 1'000'000, ""},
            "its part of a core under scheduler = weighted, relative to the others'");
    s.field("core", t->core, {0, 63, ""},
            "the physical core of its first processor, the others following in turn; default: each machine's in turn");
    s.field("processors", t->processors, {1, 64, "processors"}, "virtual CPUs");
    if (t->core >= host_.cores)
      s.refuse("core", fmt::format("names a core that host.cores = {} does not have", host_.cores));
    tenants_.push_back(std::move(t));
  }
}

void Host::check_processors(sim::Settings& settings) const {
  if (cores_[0]->core->model->shares_machines()) return;
  for (const auto& t : tenants_) {
    if (t->processors == 1) continue;
    const std::string why =
        fmt::format("must be 1: under mmu.model = {} a virtual machine has one processor", params_.model);
    sim::Section own = settings.section("vm." + t->name);
    if (!t->name.empty() && own.given("processors")) own.refuse("processors", why);
    settings.section("machine").refuse("processors", why);
  }
}

void Host::install_memory() {
  if (!cores_[0]->core->model->needs_guest()) {
    for (const boot::MemorySpan& span : boot::pc_installed_memory(tenants_[0]->memory))
      memory_.install(MachineAddr(span.begin), span.bytes);
    return;
  }
  u64 promised = 0;
  for (const auto& t : tenants_) {
    promised += t->memory;
    if (bytes_of(host_.page_size) > t->memory)
      throw sim::ConfigError(fmt::format("host.page_size = {}: {} has only {} of memory, no page of this size fits in",
                                         name_of(host_.page_size), t->name.empty() ? "the guest" : "vm." + t->name,
                                         boot::mebibytes(t->memory)));
  }
  // Beside what is promised: tables (a 512th of it for each level-1 table that is fully used, shadow tables a few times
  // that), and firmware images.
  const u64 own = promised / 16 + (u64{32} << 20) * tenants_.size();
  u64 bytes = host_.memory ? host_.memory : promised + own;
  bytes = align_up(bytes, bytes_of(PageSize::k2M));
  if (host_.memory && host_.memory < promised)
    throw sim::ConfigError(
        fmt::format("host.memory = {}: the virtual machines were promised {} together; give the host more, or them less",
                    boot::mebibytes(host_.memory), boot::mebibytes(promised)));
  try {
    memory_.install(MachineAddr(0), bytes);
  } catch (const std::runtime_error& e) {
    throw sim::ConfigError(fmt::format("host.memory: {}", e.what()));
  }
  frames_ = std::make_unique<vmm::Frames>(memory_, bytes, host_.placement, host_.colours, params_.seed + 4);
}

void Host::build(Tenant& t, sim::Settings& settings) {
  if (frames_) {
    std::vector<vmm::Space::Span> spans;
    for (const boot::MemorySpan& s : boot::pc_installed_memory(t.memory)) spans.push_back({s.begin, s.bytes});
    t.space = std::make_unique<vmm::Space>(t.number, spans, memory_, *frames_, host_.page_size, costs_);
  }
  std::vector<Processor::Seat> seats;
  const auto core_of = [&](u32 n) -> Physical& { return *cores_[(t.core + n) % cores_.size()]; };
  for (u32 n = 0; n < t.processors; ++n) seats.push_back({*core_of(n).core, vcpus_++});
  t.machine = std::make_unique<Machine>(Home{settings, params_, memory_, seats, t.space.get(), t.memory});
  t.machine->images() = t.images;
  const u64 standard = u64{tenants_.size() > 1 ? 6u : 64u} << 20;
  for (u32 n = 0; n < t.processors; ++n) {
    Physical& p = core_of(n);
    Processor& processor = t.machine->processor(n);
    processor.core_time = &p.time;
    processor.leaves_pause_loops = t.processors > cores_.size() && params_.guest_clock == sim::Clock::Guest::cycles;
    processor.cpu().limit_blocks(params_.code_cache ? params_.code_cache : standard);
    t.vcpus.push_back(std::make_unique<Vcpu>(t, processor, p));
    p.vcpus.push_back(t.vcpus.back().get());
  }
  // Several cores reach the same pages: then code that one decodes is no business of another's store filter.
  if (t.processors > 1 && memory_.filters().empty())
    for (auto& p : cores_) memory_.add_filter(p->core->filter);
}

void Host::declare() {
  for (auto& p : cores_) {
    p->core->declare(p->stats);
    for (Vcpu* v : p->vcpus) {
      if (tenants_.size() == 1 && p->vcpus.size() == 1) {
        p->core->declare(v->processor.stats());
        continue;
      }
      v->share = std::make_unique<Share>(p->stats);
      v->share->declare(v->processor.stats());
    }
  }
  for (auto& t : tenants_)
    if (t->processors > 1) t->machine->declare_sums();
  declare_machines();
}

void Host::declare_machines() {
  // The host's own report: what its machines did together, and each one's part.
  const auto sum = [this](const std::string& name) {
    return [this, name] {
      u64 n = 0;
      for (const auto& t : tenants_) n += t->machine->stats().value_now(name);
      return n;
    };
  };
  stats_.counter("instructions", sum("instructions"), "instructions", "instructions of all machines together");
  stats_.counter(
      "cycles", [this] { return core_cycles(); }, "cycles", "time of all cores together");
  for (unsigned c = 0; c < kCauses; ++c) {
    const auto cause = static_cast<Cause>(c);
    const std::string name = std::string("cycles.") + name_of(cause);
    if (cause == Cause::away) continue;  // to a machine, not to a core
    if (cause == Cause::idle)
      stats_.counter(
          name, [this] { return core_cycles() - busy_cycles(); }, "cycles", "no machine had anything to do");
    else
      stats_.counter(name, sum(name), "cycles", describe(cause));
  }
  stats_.counter(
      "host.world_switches",
      [this] {
        u64 n = 0;
        for (const auto& t : tenants_) n += t->world_switches();
        return n;
      },
      "switches", "times a core turned from one virtual machine to another");
  if (frames_) {
    stats_.counter(
        "host.memory.used", [this] { return (frames_->total() - frames_->free()) << kPageShift; }, "bytes",
        "machine memory given away");
    stats_.counter(
        "host.memory.free", [this] { return frames_->free() << kPageShift; }, "bytes", "machine memory that nobody has");
  }
  for (std::size_t n = 0; n < cores_.size(); ++n)
    stats_.counter("host.core" + std::to_string(n) + ".cycles", cores_[n]->time.now, "cycles", "time of this core");
  for (const auto& t : tenants_) {
    const sim::Stats& own = t->machine->stats();
    const std::string prefix = "vm." + t->name + ".";
    for (const sim::Stats::Row& row : own.counters()) {
      const bool wanted = row.name == "instructions" || row.name.starts_with("cycles") || row.name.starts_with("vmm.") ||
                          row.name.starts_with("mem.") || row.name == "walk.count" || row.name == "walk.reads";
      if (wanted)
        stats_.counter(
            prefix + row.name, [&own, name = row.name] { return own.value_now(name); }, row.unit, row.text);
    }
    stats_.counter(
        prefix + "world_switches", [&t = *t] { return t.world_switches(); }, "switches", "times it was given a core");
  }
}

Cycles Host::core_cycles() const {
  Cycles n = 0;
  for (const auto& p : cores_) n += p->time.now;
  return n;
}

/// What the machines did on the cores: all of their time but what they slept or waited.
Cycles Host::busy_cycles() const {
  Cycles n = 0;
  for (const auto& t : tenants_) {
    const sim::Stats& s = t->machine->stats();
    n += s.value_now("cycles") - s.value_now("cycles.away") - s.value_now("cycles.idle");
  }
  return n;
}

void Host::load() {
  for (auto& t : tenants_) {
    t->images.demand_kernel(t->name);
    enter(*t->vcpus[0], false);
    try {
      t->machine->load(t->images);
    } catch (const boot::BootError& e) {
      throw boot::BootError(t->name.empty() ? e.what() : fmt::format("vm.{}: {}", t->name, e.what()));
    } catch (const vmm::OutOfMemory&) {
      throw sim::ConfigError(
          fmt::format("host.memory: too little is left to load {}", t->name.empty() ? "the guest" : "vm." + t->name));
    }
  }
}

}  // namespace nestwalk::emu
