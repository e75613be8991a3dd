// Shadow paging: the hypervisor combines the guest's tables (linear to guest-physical) and its own map (guest-physical to
// machine) into shadow tables, which the hardware walks natively. Reads per walk are those of the bare machine; every
// change of an address space that the hypervisor must follow costs an exit. Adams and Agesen, ASPLOS 2006; the details are
// those of KVM's shadow MMU (Linux, Documentation/virt/kvm/x86/mmu.rst).
//
// Left out: stores of devices to tables in use. Hardware and hypervisor never disagree about MAXPHYADDR: the guest's is
// enforced by the hypervisor's walk.
#include <map>

#include "mmu/commons.h"
#include "mmu/model.h"
#include "mmu/stage.h"
#include "mmu/tlb_front.h"
#include "mmu/vpids.h"
#include "models/mmu/shadow_space.h"

namespace nestwalk::models {
namespace {

using namespace shadow;

class Shadow final : public MmuModel, private Commons::Member {
 public:
  explicit Shadow(const ModelParts& parts)
      : memory_(parts.memory),
        commons_(parts.commons),
        linear_(machine_, parts.memory, parts.caches, parts.settings.section("pwc"), parts.seed + 1),
        tlb_(linear_, parts) {
    sim::Section section = parts.settings.section("shadow");
    options_.declare(section);
    section.field("vpid", vpids_.enabled, "TLB entries are tagged with the virtual machine; false: every exit flushes");
    const auto make = [] { return std::make_shared<Machines>(); };
    machines_ = commons_ ? commons_->shared<Machines>(make) : make();
    if (commons_) commons_->join(*this);
  }
  ~Shadow() override {
    if (commons_) commons_->leave(*this);
  }

  void set_paging(const PagingState& state, Bill& bill) override;
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill) override;
  void invalidate(const Invalidation& what, Bill& bill) override;
  Result<Translation> physical(PhysAddr address, Bill& bill) override;
  Result<Translation> probe(LinearAddr address, Access access) const override;
  void declare(sim::Stats& stats) override;

  bool translates_unpaged() const override { return true; }
  bool needs_guest() const override { return true; }
  bool shares_machines() const override { return true; }
  void enter(Guest& guest, unsigned vcpu, Bill& bill) override;
  void left(Guest&, Bill&) override { vpids_.left(); }
  void forget(Guest& guest, PhysAddr first, u64 bytes, Bill& bill) override;

 private:
  struct Machine {
    Machine(Guest& guest, MachineMemory& memory, const Options& options, const Shadow* first)
        : space(guest, memory, options), home(first) {}
    ShadowSpace space;
    const Shadow* home;  ///< the model of the core that it was on first, which reports how large its tables are
  };
  struct Machines {
    std::map<unsigned, std::unique_ptr<Machine>> by_number;  ///< Guest::number
  };
  bool flush_remotely(Guest& guest, Bill& bill) override;
  /// The processor that this core runs is at work in what its machine's processors share.
  ShadowSpace& work() {
    now_->space.turn_to(*mine_, counts_);
    return now_->space;
  }
  void leave(Exit why, Bill& bill);
  void finish(Exit why, Bill& bill);
  Result<Translation> serve(u64 linear, Access access, Fault fault, Bill& bill);
  static Translation untagged(const Served& served);
  template <class Value>
  u64 sum(Value&& value) const;

  MachineMemory& memory_;
  Commons* commons_;
  MachineStage machine_;
  LinearStage linear_;
  TlbFront tlb_;
  Options options_;
  Counts counts_;
  Vpids vpids_{tlb_};
  std::shared_ptr<Machines> machines_;
  Machine* now_ = nullptr;
  ShadowSpace::Registers* mine_ = nullptr;  ///< of the processor that the core runs
  bool cr_exit_open_ = false;               ///< the flush of a MOV to CR may follow
};

// ---- exits ----------------------------------------------------------------------------------------------------------

void Shadow::leave(Exit why, Bill& bill) {
  now_->space.guest().exit(why, bill);
  vpids_.left();
}

/// Before the guest runs on: what was worked is paid, what must not stay cached goes.
void Shadow::finish(Exit why, Bill& bill) {
  ShadowSpace& space = now_->space;
  Cycles flushes = 0;
  // A processor elsewhere whose root went loads another, and that may be a reason to flush again.
  for (auto due = space.take_flush(); due.here || due.elsewhere; due = space.take_flush()) {
    if (due.here) {
      vpids_.forget(space.guest());
      flushes += options_.flush;
      ++counts_.flushes;
    }
    if (due.elsewhere && commons_) commons_->flush_others(*this, space.guest(), bill);
  }
  work();
  space.guest().work(why, space.take_work() + flushes, bill);
}

bool Shadow::flush_remotely(Guest& guest, Bill& bill) {
  if (!vpids_.knows(guest)) return false;
  vpids_.forget(guest);
  if (now_ && &now_->space.guest() == &guest && mine_->entered) {
    work().restore_root(bill);
    tlb_.set_paging(mine_->hardware);
  }
  return true;
}

void Shadow::enter(Guest& guest, unsigned vcpu, Bill&) {
  std::unique_ptr<Machine>& m = machines_->by_number[guest.number()];
  if (!m || &m->space.guest() != &guest) m = std::make_unique<Machine>(guest, memory_, options_, this);
  vpids_.enter(guest, vcpu);
  now_ = m.get();
  mine_ = &now_->space.registers(vcpu);
}

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

Translation Shadow::untagged(const Served& served) {
  Translation t;
  t.address = MachineAddr(served.address);
  t.tlb_hit = false;
  t.device = served.kind == Served::Kind::device;
  t.stores_lost = served.lost;
  return t;
}

Result<Translation> Shadow::physical(PhysAddr address, Bill& bill) {
  Translation t;
  const Backing b = now_ ? now_->space.guest().back(address, false, bill) : Backing{};
  t.device = b.kind == Backing::Kind::device;
  t.address = t.device ? MachineAddr(address.value) : b.address;
  return t;
}

Result<Translation> Shadow::probe(LinearAddr address, Access access) const {
  Result<Translation> t = tlb_.probe(address, access);
  if (t || t.fault().kind != Fault::Kind::page_fault) return t;
  const ShadowSpace& space = now_->space;
  const Result<Leaf> leaf = look_through(mine_->state, t.fault().address, access, space.guest(), memory_);
  if (!leaf) return leaf.fault();
  const Backing b = space.guest().look(PhysAddr(leaf->address));
  if (b.kind == Backing::Kind::device) return Fault{Fault::Kind::violation, 0, leaf->address};
  Translation found;
  found.address = b.address;
  found.tlb_hit = false;
  return found;
}

void Shadow::forget(Guest& guest, PhysAddr first, u64 bytes, Bill& bill) {
  const auto it = machines_->by_number.find(guest.number());
  if (it == machines_->by_number.end()) return;
  const bool here = it->second.get() == now_;
  ShadowSpace& space = it->second->space;
  space.turn_to(here ? *mine_ : space.any_registers(), counts_);
  space.forget(first, bytes, bill);
  bill.charge(Cause::vmm, space.take_work() + options_.flush);
  space.take_flush();
  ++counts_.flushes;
  vpids_.forget(guest);
  if (commons_) commons_->flush_others(*this, guest, bill);
  if (here && mine_->entered) tlb_.set_paging(mine_->hardware);
}

// ---- statistics -----------------------------------------------------------------------------------------------------

template <class Value>
u64 Shadow::sum(Value&& value) const {
  u64 total = 0;
  for (const auto& [number, m] : machines_->by_number)
    if (m->home == this) total += value(m->space);
  return total;
}

void Shadow::declare(sim::Stats& stats) {
  tlb_.declare(stats);
  const auto pages = [this] { return sum([](const ShadowSpace& s) { return s.pages(); }); };
  stats.counter("shadow.pages", pages, "pages", "shadow pages that exist");
  stats.counter(
      "shadow.table_bytes", [pages] { return pages() * kPageBytes; }, "bytes", "machine memory of shadow tables");
  stats.counter(
      "shadow.unsynced", [this] { return sum([](const ShadowSpace& s) { return s.unsynced(); }); }, "pages",
      "shadow pages whose guest's tables may be written without a trap");
  counts_.declare(stats);
}

const RegisterModel registered(
    "shadow", "shadow paging: the hypervisor keeps tables from linear to machine addresses, walked natively",
    [](const ModelParts& parts) { return std::make_unique<Shadow>(parts); });

}  // namespace
}  // namespace nestwalk::models
