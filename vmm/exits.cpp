#include "vmm/exits.h"

#include <numeric>
#include <string>

namespace nestwalk::vmm {

using mmu::Exit;
using mmu::kExits;

ExitCosts::ExitCosts() {
  const auto set = [this](Exit e, u64 cycles) { work[static_cast<unsigned>(e)] = cycles; };
  set(Exit::interrupt, 1500);
  set(Exit::hlt, 1500);
  set(Exit::cpuid, 500);
  set(Exit::io, 1500);
  set(Exit::msr, 700);
  set(Exit::mmio, 2500);
  set(Exit::violation, 1500);
  set(Exit::misconfiguration, 1500);
  set(Exit::cr_access, 1000);
  set(Exit::invlpg, 700);
  set(Exit::true_fault, 1500);
  set(Exit::hidden_fault, 2000);
  set(Exit::table_write, 3000);
}

void ExitCosts::declare(sim::Section s) {
  constexpr u64 most = 100'000'000;
  s.field("round_trip", round_trip, {0, most, "cycles"}, "VM exit and VM entry, the hardware's part");
  for (unsigned e = 0; e < kExits; ++e)
    s.field(name_of(static_cast<Exit>(e)), work[e], {0, most, "cycles"}, describe(static_cast<Exit>(e)));
  s.field("allocate", allocate, {0, most, "cycles"}, "finding a machine frame for a guest frame and mapping it");
  s.field("zero_page", zero_page, {0, most, "cycles"}, "wiping a frame that was in use, per 4K");
  s.field("copy_page", copy_page, {0, most, "cycles"}, "copying a page, per 4K");
  s.field("world_switch", world_switch, {0, most, "cycles"}, "from one virtual machine to another, beyond the exit");
  s.field("invalidate", invalidate, {0, most, "cycles"}, "INVEPT, INVVPID or INVLPGA of one context");
  // An assumption: an interrupt to another core and its exit take about 2000 cycles each way.
  s.field("remote_flush", remote_flush, {0, most, "cycles"},
          "having another core flush what it has cached of a machine, and waiting for it");
}

void Exits::declare_remote(sim::Stats& stats) {
  stats.counter("vmm.remote_flushes", remote_flushes_, "flushes",
                "times that another core was interrupted to flush what it had cached of the machine");
}

void Exits::declare(sim::Stats& stats) {
  stats.counter(
      "vmm.exits", [this] { return std::accumulate(count_, count_ + kExits, u64{0}); }, "exits",
      "times the virtual machine was left for its hypervisor");
  for (unsigned e = 0; e < kExits; ++e) {
    const std::string name = name_of(static_cast<Exit>(e)), text = describe(static_cast<Exit>(e));
    stats.counter("vmm.exits." + name, count_[e], "exits", text);
    stats.counter("vmm.exit_cycles." + name, cycles_[e], "cycles", text + ": round trips and the hypervisor's work");
  }
}

}  // namespace nestwalk::vmm
