// The host: machine memory, physical cores, and either one bare machine that owns all of it, or a hypervisor with any
// number of virtual machines that take turns on the cores.
//
// Time: a core's clock is that of the machine that ran last; a machine that gets the core again is put forward to it, and
// what it missed is booked as `away` or, as far as it slept, as `idle`. With clock.guest = instructions guest time stands
// still meanwhile, and no machine ever sleeps.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emu/machine.h"
#include "emu/share.h"
#include "vmm/frames.h"

namespace nestwalk::emu {

struct HostParams {
  u64 memory = 0;  ///< 0: what the machines need
  u32 cores = 1;
  PageSize page_size = PageSize::k4K;
  vmm::Placement placement = vmm::Placement::first_fit;
  u32 colours = 64;
  enum class Scheduler : u8 { round_robin, weighted } scheduler = Scheduler::round_robin;
  u64 slice_us = 10'000;

  void declare(sim::Section section);
};

/// One machine on the host.
struct Tenant {
  unsigned number = 0;
  std::string name;     ///< empty: the only one, named by no section
  std::string console;  ///< file that receives its serial output; empty: none
  u64 memory = 0;
  u32 weight = 100, core = 0;
  GuestImages images;
  std::unique_ptr<vmm::Space> space;  ///< nullptr: a bare machine
  std::unique_ptr<Machine> machine;
  std::unique_ptr<Share> share;

  u64 limit = ~u64{0};                ///< instructions after which `on_limit` is asked
  cpu::Stop ended = cpu::Stop::none;  ///< why it runs no more
  bool asleep = false;
  Cycles used = 0;  ///< of its core
  u64 world_switches = 0;
};

class Host {
 public:
  /// Declares and reads every key of a host and its machines ([host], [vm.NAME], and those of a machine). Throws
  /// sim::ConfigError. Memory is reserved, not touched.
  explicit Host(sim::Settings& settings);
  ~Host();

  std::size_t size() const { return tenants_.size(); }
  Tenant& tenant(std::size_t n) { return *tenants_[n]; }
  Machine& machine(std::size_t n = 0) { return *tenants_[n]->machine; }
  const MachineParams& params() const { return params_; }
  bool virtualized() const { return frames_ != nullptr; }

  /// Loads all guests. Throws boot::BootError, sim::ConfigError.
  void load();
  /// Runs until every machine has ended. A machine that reaches its `limit` is handed to `on_limit`, which sets a further
  /// one or `ended`.
  void run();
  std::function<void(Tenant&)> on_limit;
  /// Ends the run as soon as possible: machines that have not ended get this reason.
  void stop(cpu::Stop why);

  /// Statistics of the host: sums over its machines, and each machine's main figures below vm.NAME.
  sim::Stats& stats() { return stats_; }

 private:
  struct Physical {
    std::unique_ptr<Core> core;
    sim::Stats stats;  ///< of the core
    std::vector<Tenant*> tenants;
    Tenant* current = nullptr;
    std::size_t turn = 0;  ///< where round robin goes on
    Cycles now = 0;
  };
  void read_tenants(sim::Settings& settings);
  void install_memory();
  void build(Tenant& tenant, sim::Settings& settings);
  void declare();

  Cycles core_cycles() const;
  Cycles busy_cycles() const;
  bool is_ready(const Tenant& t, Cycles now) const;
  Tenant* choose(Physical& p);
  bool rest(Physical& p);
  void enter(Physical& p, Tenant& t, bool billed);
  void catch_up(Physical& p, Tenant& t);
  void run_slice(Physical& p, Tenant& t);
  void settle(Tenant& t, cpu::Stop why);

  MachineParams params_;
  HostParams host_;
  vmm::ExitCosts costs_;
  mmu::MachineMemory memory_;
  std::unique_ptr<vmm::Frames> frames_;
  std::vector<Physical> cores_;
  std::vector<std::unique_ptr<Tenant>> tenants_;
  sim::Stats stats_;
  cpu::Stop stop_ = cpu::Stop::none;
};

}  // namespace nestwalk::emu
