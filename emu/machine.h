// A PC: one processor, memory, and the devices that kernels look for. It runs on a core, alone (then all memory is its own,
// and physical addresses are machine addresses) or as a virtual machine in memory that a hypervisor backs.
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
#include "mmu/port.h"
#include "sim/settings.h"
#include "sim/stats.h"
#include "vmm/space.h"

namespace nestwalk::emu {

class Board;

struct MachineParams {
  u64 memory = u64{256} << 20;
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
  mmu::MachineMemory& memory;  ///< the host's, installed
  Core& core;
  vmm::Space* space = nullptr;  ///< guest-physical memory of a virtual machine; nullptr: a bare one
  u64 bytes = 0;                ///< of the machine's own memory
};

class Machine final : public cpu::Platform {
 public:
  /// Declares and reads every key of a machine but those of MachineParams and its core. Throws sim::ConfigError. The core's
  /// model has entered `home.space`.
  explicit Machine(const Home& home);
  ~Machine() override;

  /// Loads the guest and puts the processor at its entry. Throws boot::BootError or sim::ConfigError.
  void load(const GuestImages& images);
  /// Runs until clock().instructions == limit or the machine stops. A reset with machine.on_reset = reboot goes on by
  /// itself.
  cpu::Stop run(u64 limit);
  void stop(cpu::Stop why);

  // What the host gives and takes; set before run.
  std::function<void(u8)> on_output;        ///< a byte from the serial line
  std::function<void(u8)> on_debug_output;  ///< a byte from port 0xe9
  std::function<void(u32 command, u64 argument)> on_magic;
  std::function<void(const std::string&)> on_note;
  std::function<void()> on_poll;
  /// Others wait for the core: HLT gives it away (run returns Stop::asleep) instead of letting time pass.
  bool shares_core = false;
  /// Bytes for the serial line, as if typed.
  void type(std::string_view bytes);
  /// What the VGA shows now: 25 lines of text in UTF-8.
  std::string screen() const;

  const MachineParams& params() const { return params_; }
  GuestImages& images() { return images_; }
  sim::Stats& stats() { return stats_; }
  sim::Clock& clock() { return clock_; }
  cpu::Cpu& cpu() { return *cpu_; }
  mmu::Port& port() { return *port_; }
  Core& core() { return core_; }
  vmm::Space* space() { return space_; }
  /// Value that the guest wrote to the debug-exit port.
  u32 exit_value() const { return exit_value_; }
  /// Role and digest (XXH3, 128 bits) of the images loaded.
  const std::vector<std::pair<std::string, std::string>>& digests() const { return digests_; }

  /// For `nestwalk models`: kinds of names that keys accept (replacement policies, CPU models, ...).
  static std::vector<std::pair<std::string, std::vector<std::string>>> named_choices();

  // cpu::Platform
  void intercept(mmu::Exit why) override;
  bool may_let_time_pass() override { return !shares_core; }
  u64 io_read(u16 port, unsigned bytes) override;
  void io_write(u16 port, u64 value, unsigned bytes) override;
  int acknowledge_interrupt() override;
  bool apic_read(u32 msr, u64& value) override;
  bool apic_write(u32 msr, u64 value) override;
  u64 task_priority() override;
  void set_task_priority(u64 value) override;
  void magic(u32 command, u64 argument) override;
  void x87_error() override;
  void tsc_changed() override;
  void poll() override;
  void note(const std::string& line) override;

 private:
  friend class Board;
  void boot();

  const MachineParams& params_;
  Core& core_;
  vmm::Space* space_;
  mmu::PhysicalMemory& memory_;
  u64 bytes_;
  GuestImages images_;
  std::map<std::string, std::vector<u8>> files_;
  std::vector<std::pair<std::string, std::string>> digests_;
  sim::Stats stats_;
  sim::Clock clock_;
  std::unique_ptr<mmu::Port> port_;
  std::unique_ptr<cpu::Cpuid> cpuid_;
  std::unique_ptr<cpu::CoreTiming> timing_;
  std::unique_ptr<cpu::Cpu> cpu_;
  std::unique_ptr<Board> board_;
  u32 exit_value_ = 0;
  bool rebooting_ = false;
};

}  // namespace nestwalk::emu
