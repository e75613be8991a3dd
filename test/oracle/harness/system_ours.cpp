// The tiny machine with Nestwalk's processor and its own page walks.
#include <optional>

#include "test/oracle/harness/our_side.h"
#include "test/oracle/harness/system_machine.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

class OneCycleEach final : public CoreTiming {
 public:
  Cycles cost(const Insn&) const override { return 1; }
  Cycles delivery() const override { return 1; }
};

/// Nobody is there: all ones.
class EmptyBus final : public mmu::Bus {
 public:
  u64 read(PhysAddr, unsigned) override { return ~u64{0}; }
  void write(PhysAddr, u64, unsigned) override {}
};

class OurSystem final : public SystemMachine, public Platform {
 public:
  OurSystem() {
    memory_.install(MachineAddr(0), kSystemBytes);
    model_ = mmu::Models::instance().make("native",
                                          mmu::ModelParts{settings_, memory_, caches_, counts_, filter_.tlb_owners(), 1});
    port_.emplace(*model_, caches_, memory_, filter_, counts_, clock_);
    port_->set_bus(&bus_);
    Platform& platform = *this;
    cpu_.emplace(*port_, clock_, platform, cpuid_, timing_, 1);
  }

  const char* name() const override { return "nestwalk"; }

  Ended run(SystemCase& c) override {
    memory_.write(MachineAddr(0), c.memory);
    load(c.state);
    task_priority_ = 0;
    const Stop why = cpu_->run(clock_.instructions + 1000);
    store(c.state);
    memory_.read(MachineAddr(0), c.memory);
    if (why == Stop::triple_fault) return Ended::shutdown;
    if (why == Stop::halted_forever || cpu_->s.halted) return Ended::halted;
    return why == Stop::limit ? Ended::limit : Ended::other;
  }

 private:
  void load(const SystemState& from) {
    State& s = cpu_->s;
    s = State{};
    std::copy(from.gpr.begin(), from.gpr.end(), s.gpr.begin());
    s.rip = from.rip;
    s.seg = from.seg;
    s.ldtr = from.ldtr;
    s.tr = from.tr;
    s.gdtr = from.gdtr;
    s.idtr = from.idtr;
    s.cr0 = from.cr0, s.cr2 = from.cr2, s.cr3 = from.cr3, s.cr4 = from.cr4, s.efer = from.efer;
    s.dr[0] = from.dr0, s.dr[1] = from.dr1, s.dr[6] = from.dr6, s.dr[7] = from.dr7;
    s.kernel_gs_base = from.kernel_gs_base, s.star = from.star, s.lstar = from.lstar, s.cstar = from.cstar;
    s.sfmask = from.fmask, s.sysenter_cs = from.sysenter_cs;
    s.sysenter_esp = from.sysenter_esp, s.sysenter_eip = from.sysenter_eip;
    if ((s.cr0 & mmu::cr0::pg) && (s.cr4 & mmu::cr4::pae) && !(s.efer & mmu::efer::lma))
      for (unsigned n = 0; n < 4; ++n) s.pdpte[n] = port_->load_physical(PhysAddr((s.cr3 & 0xffffffe0) + 8 * n));
    s.cpl = s.cr0 & mmu::cr0::pe ? s.seg[CS].selector & 3 : 0;
    s.flags.unpack(from.rflags);
    s.rflags = (from.rflags & ~fl::arithmetic) | fl::fixed;
    cpu_->update_paging();
    cpu_->update_breakpoints();
    port_->invalidate(mmu::Invalidation{});
    cpu_->request_attention();
  }
  void store(SystemState& to) const {
    const State& s = cpu_->s;
    std::copy_n(s.gpr.begin(), 16, to.gpr.begin());
    to.rip = s.rip;
    to.seg = s.seg;
    to.ldtr = s.ldtr;
    to.tr = s.tr;
    to.gdtr = s.gdtr;
    to.idtr = s.idtr;
    to.cr0 = s.cr0, to.cr2 = s.cr2, to.cr3 = s.cr3, to.cr4 = s.cr4, to.efer = s.efer;
    to.dr0 = s.dr[0], to.dr1 = s.dr[1], to.dr6 = s.dr[6], to.dr7 = s.dr[7];
    to.kernel_gs_base = s.kernel_gs_base, to.star = s.star, to.lstar = s.lstar, to.cstar = s.cstar;
    to.fmask = s.sfmask, to.sysenter_cs = s.sysenter_cs;
    to.sysenter_esp = s.sysenter_esp, to.sysenter_eip = s.sysenter_eip;
    to.rflags = cpu_->rflags();
  }

  // ---- cpu::Platform
  u64 io_read(u16, unsigned) override { return ~u64{0}; }
  void io_write(u16, u64, unsigned) override {}
  int acknowledge_interrupt() override { return -1; }
  bool apic_read(u32, u64&) override { return false; }
  bool apic_write(u32, u64) override { return false; }
  u64 task_priority() override { return task_priority_; }
  void set_task_priority(u64 value) override { task_priority_ = value; }
  void magic(u32, u64) override {}
  void note(const std::string&) override {}

  sim::Settings settings_ = [] {
    sim::Settings s;
    s.set("cpu.model=golden-cove");
    return s;
  }();
  mmu::MachineMemory memory_;
  EmptyBus bus_;
  sim::Clock clock_;
  mmu::DataCaches caches_{settings_.section("cache"), 1};
  mmu::Filter filter_{kPageShift};
  tlb::AccessCounts counts_;
  std::unique_ptr<mmu::MmuModel> model_;
  std::optional<mmu::Port> port_;
  Cpuid cpuid_{settings_, 1'000'000'000};
  OneCycleEach timing_;
  std::optional<Cpu> cpu_;
  u64 task_priority_ = 0;
};

}  // namespace

std::unique_ptr<SystemMachine> make_our_system() { return std::make_unique<OurSystem>(); }

}  // namespace nestwalk::oracle
