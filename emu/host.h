// The host: machine memory, physical cores, and either one bare machine that owns all of it, or a hypervisor with any
// number of virtual machines whose processors take turns on the cores.
//
// Time: a core's clock is that of the processor that ran last; one that gets the core again is put forward to it, and what
// it missed is booked as `away` or, as far as it slept, as `idle`. With clock.guest = instructions guest time stands still
// meanwhile, and a machine with one processor never sleeps.
//
// Turns (schedule.cpp): the core that is furthest behind goes on. The processors of one machine run a quantum of guest time
// at most, so that none is ahead of another by more; under the instruction clock only that one of a machine may run which
// is furthest behind in guest time, so that their order depends on the guest alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emu/machine.h"
#include "emu/share.h"
#include "mmu/commons.h"
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
  /// Whether guest time goes on while another machine has the core. Several processors of a machine agree on the time, so
  /// it always does for them.
  enum class Steal : u8 { hidden, visible } steal = Steal::hidden;

  void declare(sim::Section section);
};

struct Physical;
struct Tenant;

/// A processor of a machine, as the host schedules it.
struct Vcpu {
  Vcpu(Tenant& t, Processor& p, Physical& c) : tenant(t), processor(p), core(c) {}
  Tenant& tenant;
  Processor& processor;
  Physical& core;
  std::unique_ptr<Share> share;
  Cycles used = 0;  ///< of its core
  u64 world_switches = 0;
};

/// One machine on the host.
struct Tenant {
  unsigned number = 0;
  std::string name;     ///< empty: the only one, named by no section
  std::string console;  ///< file that receives its serial output; empty: none
  u64 memory = 0;
  u32 weight = 100, core = 0, processors = 1;
  GuestImages images;
  std::unique_ptr<vmm::Space> space;  ///< nullptr: a bare machine
  std::unique_ptr<Machine> machine;
  std::vector<std::unique_ptr<Vcpu>> vcpus;

  u64 limit = ~u64{0};                ///< instructions after which `on_limit` is asked
  cpu::Stop ended = cpu::Stop::none;  ///< why it runs no more
  const Vcpu* turn = nullptr;         ///< of several processors under the instruction clock, the one that may run

  /// Puts what its processors have counted on their cores into its statistics; before a snapshot of them.
  void settle();
  Cycles used() const;
  u64 world_switches() const;
};

/// A physical core, and who runs on it.
struct Physical {
  std::unique_ptr<Core> core;
  sim::Stats stats;  ///< of the core
  std::vector<Vcpu*> vcpus;
  Vcpu* current = nullptr;
  Vcpu* holder = nullptr;         ///< whose time slice is not over, though its turn is
  sim::Clock::EventId alarm = 0;  ///< on its clock: the slice's end
  std::size_t turn = 0;           ///< where round robin goes on
  Processor::CoreTime time;
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
  void read_tenants(sim::Settings& settings);
  void check_processors(sim::Settings& settings) const;
  void install_memory();
  void build(Tenant& tenant, sim::Settings& settings);
  void declare();

  Cycles core_cycles() const;
  Cycles busy_cycles() const;
  void declare_machines();

  // schedule.cpp
  bool may_run(const Vcpu& v) const;
  Cycles ready_at(const Vcpu& v) const;
  Cycles ready_at(const Physical& p) const;
  Vcpu* next();
  Vcpu* choose(Physical& p);
  void enter(Vcpu& v, bool billed);
  void catch_up(Vcpu& v);
  void run_turn(Vcpu& v);
  void end_slice(Physical& p);
  void settle(Vcpu& v, cpu::Stop why);
  void take_turns(Tenant& t);

  MachineParams params_;
  HostParams host_;
  vmm::ExitCosts costs_;
  mmu::MachineMemory memory_;
  std::unique_ptr<vmm::Frames> frames_;
  mmu::Commons commons_;
  std::vector<std::unique_ptr<Physical>> cores_;
  std::vector<std::unique_ptr<Tenant>> tenants_;
  unsigned vcpus_ = 0;  ///< of all machines
  sim::Stats stats_;
  cpu::Stop stop_ = cpu::Stop::none;
};

}  // namespace nestwalk::emu
