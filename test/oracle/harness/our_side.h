// The emulated processor as one side of the oracle: Nestwalk's decoder, blocks, meanings and exception delivery in a
// machine of a few pages. Segments and tables are what Linux gives a 64-bit process, so that selectors mean the same on
// both sides.
#pragma once

#include <functional>
#include <optional>

#include "cpu/decode.h"
#include "test/oracle/harness/case.h"

namespace nestwalk::oracle {

/// Settings of a processor with everything that we implement, less the features that `lacks` says a peer has not.
sim::Settings every_feature(const std::function<bool(cpu::Feature)>& lacks);
/// A processor that lacks nothing, to decode for.
const cpu::Cpuid& every_cpuid();

/// Pages with rights, one to one; what is not listed faults.
class PageRights final : public mmu::MmuModel {
 public:
  explicit PageRights(const mmu::MachineMemory& memory) : memory_(memory) {}
  void set_paging(const mmu::PagingState&, Bill&) override {}
  Result<mmu::Translation> translate(LinearAddr a, mmu::Access access, Bill&) override { return probe(a, access); }
  Result<mmu::Translation> probe(LinearAddr a, mmu::Access access) const override;
  void invalidate(const mmu::Invalidation&, Bill&) override {}
  void declare(sim::Stats&) override {}

 private:
  const mmu::MachineMemory& memory_;
};

class OurSide final : public Side, private cpu::Platform {
 public:
  /// `settings`: of the processor (every_feature()).
  explicit OurSide(sim::Settings settings);

  const char* name() const override { return "nestwalk"; }
  void start(std::span<const Case> cases, std::span<Outcome> outcomes) override;
  void finish() override {}

  const cpu::Cpuid& cpuid() const { return cpuid_; }

 private:
  static constexpr u64 kSystem = 0x40000, kIdt = kSystem, kGdt = kSystem + 0x1000, kTss = kSystem + 0x2000,
                       kHandlers = kSystem + 0x3000, kStackTop = kSystem + 0x5000;
  static constexpr unsigned kVectors = 32, kHandlerBytes = 16;

  void install();
  void put_tables();
  template <class T>
  void put(u64 at, const T& v) {
    memory_.write(MachineAddr(at), {reinterpret_cast<const u8*>(&v), sizeof v});
  }
  void run_one(const Case& c, Outcome& o);
  void enter(const Case& c);
  void load(const Registers& r);
  void store(Registers& r) const;
  void collect(Outcome& o);

  // ---- cpu::Platform
  u64 io_read(u16, unsigned) override { return ~u64{0}; }
  void io_write(u16, u64, unsigned) override {}
  int acknowledge_interrupt() override { return -1; }
  bool apic_read(u32, u64&) override { return false; }
  bool apic_write(u32, u64) override { return false; }
  u64 task_priority() override { return 0; }
  void set_task_priority(u64) override {}
  void magic(u32, u64) override;
  void note(const std::string&) override {}

  sim::Settings settings_;
  mmu::MachineMemory memory_;
  sim::Clock clock_;
  PageRights model_{memory_};
  mmu::DataCaches caches_{settings_.section("cache"), 1};
  mmu::Filter filter_{kPageShift};
  tlb::AccessCounts counts_;
  mmu::Port port_{model_, caches_, memory_, filter_, counts_, clock_};
  cpu::Cpuid cpuid_{settings_, 1'000'000'000};
  std::unique_ptr<cpu::CoreTiming> timing_;
  std::optional<cpu::Cpu> cpu_;
  bool ended_ = false;
};

}  // namespace nestwalk::oracle
