// Shadow paging: the hypervisor combines the guest's tables (linear to guest-physical) and its own map (guest-physical to
// machine) into shadow tables, which the hardware walks natively. Reads per walk are those of the bare machine; every
// change of an address space that the hypervisor must follow costs an exit. Adams and Agesen, ASPLOS 2006; the details are
// those of KVM's shadow MMU (Linux, Documentation/virt/kvm/x86/mmu.rst).
//
// Left out: stores of devices to tables in use. Hardware and hypervisor never disagree about MAXPHYADDR: the guest's is
// enforced by the hypervisor's walk.
#include "models/mmu/shadow_model.h"

namespace nestwalk::models {
namespace {

using namespace shadow;

struct Machine {
  Machine(Guest& guest, MachineMemory& memory, const Options& options, const void* first)
      : space(guest, memory, options), home(first) {}
  ShadowSpace space;
  const void* const home;
};

/// The shadow leads to machine addresses, of which there is nothing to know.
struct Bare {
  explicit Bare(const ModelParts&) {}
  void enter(Guest&) {}
  void forget(Guest&) {}
  void unmap(Guest&, PhysAddr, u64) {}
  MachineStage stage;
};

class Shadow final : public ShadowModel<Machine, Bare> {
 public:
  explicit Shadow(const ModelParts& parts) : ShadowModel(parts) {
    sim::Section section = parts.settings.section("shadow");
    options_.declare(section);
    section.field("vpid", vpids_.enabled, "TLB entries are tagged with the virtual machine; false: every exit flushes");
  }

  void set_paging(const PagingState& state, Bill& bill) override;
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill) override;
  void invalidate(const Invalidation& what, Bill& bill) override;
  Result<Translation> probe(LinearAddr address, Access access) const override;
  void declare(sim::Stats& stats) override;
  void left(Guest&, Bill&) override { vpids_.left(); }

 private:
  void turn(Machine& machine, ShadowSpace::Registers& processor) override { machine.space.turn_to(processor, counts_); }
  Result<Translation> serve(u64 linear, Access access, Fault fault, Bill& bill);

  bool cr_exit_open_ = false;  ///< the flush of a MOV to CR may follow
};

// ---- registers ------------------------------------------------------------------------------------------------------

void Shadow::set_paging(const PagingState& state, Bill& bill) {
  if (!now_) return;  // the processor is reset before it is given a machine
  ShadowSpace& space = work();
  const bool exits = mine_->entered && leaves(space.paging(), state);
  if (exits) leave(Exit::cr_access, bill);
  cr_exit_open_ = exits;
  mine_->entered = state.cr0 != 0;  // before the processor's reset there is no register to change
  space.set_paging(state, bill);
  finish(Exit::cr_access, bill);
  tlb_.set_paging(space.hardware());
}

void Shadow::invalidate(const Invalidation& what, Bill& bill) {
  if (!now_) return;
  Exit why = Exit::invlpg;
  if (what.by_mov_cr) why = Exit::cr_access;
  if (!what.by_mov_cr || !std::exchange(cr_exit_open_, false)) leave(why, bill);
  work().invalidate(what);
  tlb_.invalidate(what, bill);
  finish(why, bill);
}

// ---- accesses -------------------------------------------------------------------------------------------------------

Result<Translation> Shadow::translate(LinearAddr address, Access access, Bill& bill) {
  work().settle(address.value);
  Result<Translation> t = tlb_.translate(address, access, bill);
  if (t || t.fault().kind != Fault::Kind::page_fault) return t;
  return serve(t.fault().address, access, t.fault(), bill);
}

Result<Translation> Shadow::serve(u64 linear, Access access, Fault fault, Bill& bill) {
  // A fill may be cut short only by what it recycles itself, and that leaves room for the next.
  for (unsigned attempt = 0; attempt < 4; ++attempt) {
    const Served served = now_->space.serve(linear, access, fault.error, bill);
    leave(served.exit, bill);
    finish(served.exit, bill);
    if (served.kind == Served::Kind::faulted) return served.fault;
    if (served.kind != Served::Kind::mapped) {
      tlb_.set_paging(now_->space.hardware());  // the root may have gone with a table
      return untagged(served);
    }
    Result<Translation> t = tlb_.retranslate(LinearAddr(linear), access, bill);
    if (t || t.fault().kind != Fault::Kind::page_fault) return t;
    fault = t.fault();
  }
  throw std::logic_error("shadow paging: a filled entry does not serve the access it was filled for");
}

Result<Translation> Shadow::probe(LinearAddr address, Access access) const {
  Result<Translation> t = tlb_.probe(address, access);
  if (t || t.fault().kind != Fault::Kind::page_fault) return t;
  return look(t.fault().address, access);
}

// ---- statistics -----------------------------------------------------------------------------------------------------

void Shadow::declare(sim::Stats& stats) {
  tlb_.declare(stats);
  declare_tables(stats);
  stats.counter(
      "shadow.unsynced", [this] { return sum([](const Machine& m) { return m.space.unsynced(); }); }, "pages",
      "shadow pages whose guest's tables may be written without a trap");
  counts_.declare(stats);
}

const RegisterModel registered(
    "shadow", "shadow paging: the hypervisor keeps tables from linear to machine addresses, walked natively",
    [](const ModelParts& parts) { return std::make_unique<Shadow>(parts); });

}  // namespace
}  // namespace nestwalk::models
