// A PC: processors, memory, and the devices that kernels look for. It runs alone (then all memory is its own, and physical
// addresses are machine addresses) or as a virtual machine in memory that a hypervisor backs. Each processor runs on a
// core; who runs when is the host's business. The devices' clock is the boot processor's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cpu/cpu.h"
#include "emu/core.h"
#include "emu/guest_image.h"
#include "emu/processor.h"
#include "sim/settings.h"
#include "sim/stats.h"
#include "vmm/space.h"

namespace nestwalk::emu {

class Board;

struct MachineParams {
  u64 memory = u64{256} << 20;
  u32 processors = 1;
  u64 quantum = 1000;  ///< ticks of guest time that a processor runs before another of its machine has a turn
  bool hpet = true;
  enum class OnReset : u8 { stop, reboot } on_reset = OnReset::stop;
  sim::Clock::Guest guest_clock = sim::Clock::Guest::cycles;
  u64 hz = 1'000'000'000;
  std::string date = "2026-01-01 00:00:00";
  std::string model = "native";
  std::string core = "in-order";
  u64 seed = 1;
  bool exact = false;
  u64 code_cache = 0;

  void declare(sim::Settings& settings);
};

/// Where a machine lives.
struct Home {
  sim::Settings& settings;
  const MachineParams& params;
  mmu::MachineMemory& memory;          ///< the host's, installed
  std::vector<Processor::Seat> seats;  ///< of its processors, one at least
  vmm::Space* space = nullptr;         ///< guest-physical memory of a virtual machine; nullptr: a bare one
  u64 bytes = 0;                       ///< of the machine's own memory
};

class Machine final {
 public:
  /// Declares and reads every key of a machine but those of MachineParams and its cores. Throws sim::ConfigError.
  explicit Machine(const Home& home);
  ~Machine();

  /// Loads the guest and puts the boot processor at its entry; its core has been given to it. Throws boot::BootError or
  /// sim::ConfigError.
  void load(const GuestImages& images);
  /// Of a machine with one processor (Host::run takes turns among several): runs until clock().instructions == limit or the
  /// machine stops. A reset with machine.on_reset = reboot goes on by itself.
  cpu::Stop run(u64 limit);
  void stop(cpu::Stop why);
  /// Whether the machine goes on by `reboot` after a processor has stopped for this.
  bool reboots_after(cpu::Stop why) const {
    return why == cpu::Stop::reset && params_.on_reset == MachineParams::OnReset::reboot;
  }
  /// Power-on state and the guest loaded anew; the boot processor's core has been given to it.
  void reboot();

  // What the host gives and takes; set before run.
  std::function<void(u8)> on_output;        ///< a byte from the serial line
  std::function<void(u8)> on_debug_output;  ///< a byte from port 0xe9
  std::function<void(u32 command, u64 argument)> on_magic;
  std::function<void(const std::string&)> on_note;
  std::function<void()> on_poll;
  /// Bytes for the serial line, as if typed.
  void type(std::string_view bytes);
  /// What the VGA shows now: 25 lines of text in UTF-8.
  std::string screen() const;

  const MachineParams& params() const { return params_; }
  GuestImages& images() { return images_; }
  sim::Stats& stats() { return stats_; }
  std::size_t size() const { return processors_.size(); }
  Processor& processor(std::size_t n) { return *processors_[n]; }
  /// Retired by all processors.
  u64 instructions() const;
  /// How long it has run: the clock of the processor that is furthest.
  Cycles cycles() const;
  /// From another thread: on_poll is called soon.
  void request_poll() {
    for (auto& p : processors_) p->cpu().request_poll();
  }
  /// Every processor sleeps.
  bool is_idle() const;
  /// ... and nothing will ever wake one.
  bool is_dead() const;
  /// The boot processor's.
  sim::Clock& clock() { return processors_[0]->clock(); }
  cpu::Cpu& cpu() { return processors_[0]->cpu(); }
  mmu::Port& port() { return processors_[0]->port(); }
  Core& core() { return processors_[0]->core(); }
  vmm::Space* space() { return space_; }
  /// A machine of several processors: declares their sums, once everybody has declared what each counts, and cpuN.* of
  /// each.
  void declare_sums();
  /// Value that the guest wrote to the debug-exit port.
  u32 exit_value() const { return exit_value_; }
  /// Role and digest (XXH3, 128 bits) of the images loaded.
  const std::vector<std::pair<std::string, std::string>>& digests() const { return digests_; }

  /// For `nestwalk models`: kinds of names that keys accept (replacement policies, CPU models, ...).
  static std::vector<std::pair<std::string, std::vector<std::string>>> named_choices();

 private:
  friend class Board;
  friend class Processor;
  void boot();
  void bring_devices_to(Processor& who);

  const MachineParams& params_;
  mmu::MachineMemory& installed_;
  vmm::Space* space_;
  mmu::PhysicalMemory& memory_;
  u64 bytes_;
  std::size_t count_;  ///< of processors
  GuestImages images_;
  std::map<std::string, std::vector<u8>> files_;
  std::vector<std::pair<std::string, std::string>> digests_;
  sim::Stats stats_;
  Cycles mmio_cycles_ = 200;
  std::unique_ptr<cpu::Cpuid> cpuid_;
  std::unique_ptr<cpu::CoreTiming> timing_;
  std::vector<std::unique_ptr<Processor>> processors_;
  Processor* running_ = nullptr;  ///< whose turn it is
  std::unique_ptr<Board> board_;
  u32 exit_value_ = 0;
};

}  // namespace nestwalk::emu
