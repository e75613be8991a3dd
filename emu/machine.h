// A PC: one processor behind its MMU model, memory, and the devices that kernels look for. Built from settings alone; two
// machines in one process do not know of each other.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cpu/cpu.h"
#include "emu/guest_image.h"
#include "mmu/data_cache.h"
#include "mmu/filter.h"
#include "mmu/port.h"
#include "sim/settings.h"
#include "sim/stats.h"

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

  void declare(sim::Settings& settings);
};

class Machine final : public cpu::Platform {
 public:
  /// Declares and reads every key of a machine. Throws sim::ConfigError. Memory is reserved, not touched.
  explicit Machine(sim::Settings& settings);
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
  /// Bytes for the serial line, as if typed.
  void type(std::string_view bytes);

  const MachineParams& params() const { return params_; }
  GuestImages& images() { return images_; }
  sim::Stats& stats() { return stats_; }
  sim::Clock& clock() { return clock_; }
  cpu::Cpu& cpu() { return *cpu_; }
  mmu::Port& port() { return *port_; }
  mmu::MachineMemory& memory() { return memory_; }
  /// Value that the guest wrote to the debug-exit port.
  u32 exit_value() const { return exit_value_; }
  /// Role and digest (XXH3, 128 bits) of the images loaded.
  const std::vector<std::pair<std::string, std::string>>& digests() const { return digests_; }

  /// For `nestwalk models`: kinds of names that keys accept (replacement policies, CPU models, ...).
  static std::vector<std::pair<std::string, std::vector<std::string>>> named_choices();

  // cpu::Platform
  u64 io_read(u16 port, unsigned bytes) override;
  void io_write(u16 port, u64 value, unsigned bytes) override;
  int acknowledge_interrupt() override;
  bool apic_read(u32 msr, u64& value) override;
  bool apic_write(u32 msr, u64 value) override;
  u64 task_priority() override;
  void set_task_priority(u64 value) override;
  void magic(u32 command, u64 argument) override;
  void tsc_changed() override;
  void poll() override;
  void note(const std::string& line) override;

 private:
  friend class Board;
  void boot();

  MachineParams params_;
  GuestImages images_;
  std::map<std::string, std::vector<u8>> files_;
  std::vector<std::pair<std::string, std::string>> digests_;
  sim::Stats stats_;
  sim::Clock clock_;
  mmu::MachineMemory memory_;
  tlb::AccessCounts counts_;
  std::unique_ptr<mmu::DataCaches> caches_;
  std::unique_ptr<mmu::Filter> filter_;
  std::unique_ptr<mmu::MmuModel> model_;
  std::unique_ptr<mmu::Port> port_;
  std::unique_ptr<cpu::Cpuid> cpuid_;
  std::unique_ptr<cpu::CoreTiming> timing_;
  std::unique_ptr<cpu::Cpu> cpu_;
  std::unique_ptr<Board> board_;
  u32 exit_value_ = 0;
  bool rebooting_ = false;
};

}  // namespace nestwalk::emu
