#include "emu/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/bits.h"
#include "emu/boot/boot.h"

namespace nestwalk::emu {

using cpu::Stop;

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
  if (colours & (colours - 1)) s.refuse("colours", "must be a power of two");
}

Host::Host(sim::Settings& settings) {
  params_.declare(settings);
  host_.declare(settings.section("host"));
  costs_.declare(settings.section("vmm.cost"));
  cores_.resize(host_.cores);
  for (Physical& p : cores_) p.core = std::make_unique<Core>(settings, params_, memory_);
  // A layer that describes one design stays where it is when mmu.model names another.
  for (const auto& [name, entry] : mmu::Models::instance().entries()) {
    std::string section = name;
    std::replace(section.begin(), section.end(), '-', '_');
    settings.allow_unused(section);
  }
  read_tenants(settings);
  install_memory();
  for (auto& t : tenants_) build(*t, settings);
  declare();
}

Host::~Host() = default;

// ---- building ----------------------------------------------------------------------------------------------------------

void Host::read_tenants(sim::Settings& settings) {
  const bool needs_guest = cores_[0].core->model->needs_guest();
  sim::Section all = settings.section("vm");
  const std::vector<std::string> names = all.children();
  if (names.empty()) {
    auto t = std::make_unique<Tenant>();
    t->memory = params_.memory;
    t->images.declare(settings.section("guest"));
    tenants_.push_back(std::move(t));
    if (host_.cores > 1) settings.section("host").refuse("cores", "must be 1: there is one machine, with one processor");
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
    u32 processors = 1;
    s.field("memory", t->memory, {u64{16} << 20, u64{1} << 46, "bytes"}, "guest-physical memory of this virtual machine");
    t->images.declare(s);
    s.field("console", t->console, "file that receives its serial output; default: console.txt in its part of --out");
    s.field("weight", t->weight, {1, 1'000'000, ""},
            "its part of a core under scheduler = weighted, relative to the others'");
    s.field("core", t->core, {0, 63, ""}, "the physical core it runs on; default: each in turn");
    s.field("processors", processors, {1, 255, "processors"}, "virtual CPUs");
    if (processors != 1) s.refuse("processors", "must be 1: this version has one processor a machine");
    if (t->core >= host_.cores)
      s.refuse("core", fmt::format("names a core that host.cores = {} does not have", host_.cores));
    tenants_.push_back(std::move(t));
  }
}

void Host::install_memory() {
  if (!cores_[0].core->model->needs_guest()) {
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
  Physical& p = cores_[t.core];
  p.tenants.push_back(&t);
  if (frames_) {
    std::vector<vmm::Space::Span> spans;
    for (const boot::MemorySpan& s : boot::pc_installed_memory(t.memory)) spans.push_back({s.begin, s.bytes});
    t.space = std::make_unique<vmm::Space>(t.number, spans, memory_, *frames_, host_.page_size, costs_);
    Bill unpaid;
    p.core->model->enter(*t.space, unpaid);
  }
  t.machine = std::make_unique<Machine>(Home{settings, params_, memory_, *p.core, t.space.get(), t.memory});
  t.machine->images() = t.images;
  const u64 standard = u64{tenants_.size() > 1 ? 6u : 64u} << 20;
  t.machine->cpu().limit_blocks(params_.code_cache ? params_.code_cache : standard);
}

void Host::declare() {
  for (Physical& p : cores_) {
    p.core->declare(p.stats);
    for (Tenant* t : p.tenants) {
      if (tenants_.size() == 1) {
        p.core->declare(t->machine->stats());
        continue;
      }
      t->share = std::make_unique<Share>(p.stats);
      t->share->declare(t->machine->stats());
    }
  }
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
        for (const auto& t : tenants_) n += t->world_switches;
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
    stats_.counter("host.core" + std::to_string(n) + ".cycles", cores_[n].now, "cycles", "time of this core");
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
    stats_.counter(prefix + "world_switches", t->world_switches, "switches", "times it was given its core");
  }
}

Cycles Host::core_cycles() const {
  Cycles n = 0;
  for (const Physical& p : cores_) n += p.now;
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
    enter(cores_[t->core], *t, false);
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

// ---- running -----------------------------------------------------------------------------------------------------------

bool Host::is_ready(const Tenant& t, Cycles now) const {
  return t.ended == Stop::none && (!t.asleep || t.machine->clock().deadline() <= now);
}

Tenant* Host::choose(Physical& p) {
  const std::size_t n = p.tenants.size();
  Tenant* best = nullptr;
  for (std::size_t i = 0; i < n; ++i) {
    Tenant* const t = p.tenants[(p.turn + i) % n];
    if (!is_ready(*t, p.now)) continue;
    if (host_.scheduler == HostParams::Scheduler::round_robin) {
      p.turn = (p.turn + i + 1) % n;
      return t;
    }
    const auto share = [](const Tenant& x) { return static_cast<u128>(x.used) * 1'000'000 / x.weight; };
    if (!best || share(*t) < share(*best)) best = t;
  }
  return best;
}

/// All that have not ended sleep: the core's time goes on to the first event of theirs. False: all have ended.
bool Host::rest(Physical& p) {
  Cycles next = std::numeric_limits<Cycles>::max();
  bool any = false;
  for (const Tenant* t : p.tenants)
    if (t->ended == Stop::none) any = true, next = std::min(next, t->machine->clock().deadline());
  if (any) p.now = std::max(p.now, next);
  return any;
}

/// The machine's clock goes to the core's time. What it slept of that is idle, the rest it waited for the others.
void Host::catch_up(Physical& p, Tenant& t) {
  sim::Clock& clock = t.machine->clock();
  if (clock.cycles >= p.now) return;
  const Cycles woke = t.asleep ? std::clamp(clock.deadline(), clock.cycles, p.now) : clock.cycles;
  t.machine->port().book(Cause::idle, woke - clock.cycles);
  t.machine->port().book(Cause::away, p.now - woke);
  clock.cycles = p.now;
}

void Host::enter(Physical& p, Tenant& t, bool billed) {
  if (billed) catch_up(p, t);
  if (p.current == &t) return;
  if (p.current && p.current->share) p.current->share->end();
  const bool switched = billed && p.current;
  p.current = &t;
  if (t.share) t.share->begin();
  if (!t.space) return;
  Bill bill;
  p.core->model->enter(*t.space, bill);
  if (switched) {
    bill.charge(Cause::world, costs_.world_switch);
    t.machine->port().pay(bill);
    ++t.world_switches;
  }
  t.machine->port().resume();
}

void Host::run_slice(Physical& p, Tenant& t) {
  Machine& m = *t.machine;
  const auto alive = [](const Tenant* x) { return x->ended == Stop::none; };
  const bool others = std::count_if(p.tenants.begin(), p.tenants.end(), alive) > 1;
  m.shares_core = others && params_.guest_clock == sim::Clock::Guest::cycles;
  const sim::Clock::EventId alarm = others ? m.clock().at(m.clock().now() + m.clock().from_hz(host_.slice_us, 1'000'000),
                                                          [&m] { m.stop(Stop::preempted); })
                                           : 0;
  const Cycles before = m.clock().cycles;
  Stop why;
  try {
    why = m.run(t.limit);
  } catch (const vmm::OutOfMemory&) {
    why = Stop::crashed;
  }
  if (alarm) m.clock().cancel(alarm);
  if (why == Stop::preempted) m.intercept(mmu::Exit::interrupt);
  p.now = std::max(p.now, m.clock().cycles);
  t.used += m.clock().cycles - before;
  settle(t, why);
}

void Host::settle(Tenant& t, Stop why) {
  t.asleep = why == Stop::asleep;
  if (why == Stop::asleep || why == Stop::preempted) return;
  if (why != Stop::limit)
    t.ended = why;
  else if (on_limit)
    on_limit(t);
  else
    t.ended = Stop::limit;
}

void Host::run() {
  while (true) {
    Physical* next = nullptr;
    for (Physical& p : cores_) {
      const bool alive =
          std::any_of(p.tenants.begin(), p.tenants.end(), [](const Tenant* t) { return t->ended == Stop::none; });
      if (alive && (!next || p.now < next->now)) next = &p;
    }
    if (!next) return;
    Tenant* const t = choose(*next);
    if (!t) {
      rest(*next);
      continue;
    }
    enter(*next, *t, true);
    run_slice(*next, *t);
    if (stop_ == Stop::none) continue;
    for (auto& each : tenants_)
      if (each->ended == Stop::none) each->ended = stop_;
  }
}

void Host::stop(Stop why) {
  stop_ = why;
  for (auto& t : tenants_) t->machine->stop(why);
}

}  // namespace nestwalk::emu
