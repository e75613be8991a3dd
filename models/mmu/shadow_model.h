// What designs with shadow tables have in common: virtual machines whose shadow all cores share, exits, the flushes that a
// change of the shadow owes here and elsewhere, and what becomes of memory that is taken away.
#pragma once

#include <map>
#include <memory>

#include "mmu/commons.h"
#include "mmu/model.h"
#include "mmu/stage.h"
#include "mmu/tlb_front.h"
#include "mmu/vpids.h"
#include "models/mmu/shadow_space.h"

namespace nestwalk::models::shadow {

/// `Machine` is what the hypervisor keeps for a virtual machine: its `space`, and `home`, the model of the core that it was
/// on first, which reports how large its tables are. `Below` is what the hardware has below the walk of the shadow: a
/// `stage`, and what of it is to be told.
template <class Machine, class Below>
class ShadowModel : public MmuModel, protected Commons::Member {
 public:
  ~ShadowModel() override {
    if (commons_) commons_->leave(*this);
  }

  bool translates_unpaged() const override { return true; }
  bool needs_guest() const override { return true; }
  bool shares_machines() const override { return true; }

  void enter(Guest& guest, unsigned vcpu, Bill&) override {
    std::unique_ptr<Machine>& m = machines_->by_number[guest.number()];
    if (!m || &m->space.guest() != &guest) m = std::make_unique<Machine>(guest, memory_, options_, this);
    vpids_.enter(guest, vcpu);
    below_.enter(guest);
    now_ = m.get();
    mine_ = &now_->space.registers(vcpu);
  }

  void forget(Guest& guest, PhysAddr first, u64 bytes, Bill& bill) override {
    const auto it = machines_->by_number.find(guest.number());
    if (it == machines_->by_number.end()) return;
    const bool here = it->second.get() == now_;
    ShadowSpace& space = it->second->space;
    turn(*it->second, here ? *mine_ : space.any_registers());
    below_.unmap(guest, first, bytes);
    space.forget(first, bytes, bill);
    bill.charge(Cause::vmm, space.take_work() + options_.flush);
    space.take_flush();
    ++counts_.flushes;
    vpids_.forget(guest);
    if (commons_) commons_->flush_others(*this, guest, bill);
    if (here && mine_->entered) tlb_.set_paging(mine_->hardware);
  }

  Result<Translation> physical(PhysAddr address, Bill& bill) override {
    Translation t;
    const Backing b = now_ ? now_->space.guest().back(address, false, bill) : Backing{};
    t.device = b.kind == Backing::Kind::device;
    t.address = t.device ? MachineAddr(address.value) : b.address;
    return t;
  }

 protected:
  explicit ShadowModel(const ModelParts& parts)
      : memory_(parts.memory),
        commons_(parts.commons),
        below_(parts),
        linear_(below_.stage, parts.memory, parts.caches, parts.settings.section("pwc"), parts.seed + 1),
        tlb_(linear_, parts) {
    const auto make = [] { return std::make_shared<Machines>(); };
    machines_ = commons_ ? commons_->shared<Machines>(make) : make();
    if (commons_) commons_->join(*this);
  }

  /// The processor with these registers is at work in what its machine's processors share.
  virtual void turn(Machine& machine, ShadowSpace::Registers& processor) = 0;
  /// The one that this core runs.
  ShadowSpace& work() {
    turn(*now_, *mine_);
    return now_->space;
  }

  void leave(Exit why, Bill& bill) {
    now_->space.guest().exit(why, bill);
    vpids_.left();
  }

  /// Before the guest runs on: what was worked is paid, what must not stay cached goes.
  void finish(Exit why, Bill& bill) {
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

  bool flush_remotely(Guest& guest, Bill& bill) override {
    if (!vpids_.knows(guest)) return false;
    below_.forget(guest);
    vpids_.forget(guest);
    if (now_ && &now_->space.guest() == &guest && mine_->entered) {
      work().restore_root(bill);
      tlb_.set_paging(mine_->hardware);
    }
    return true;
  }

  /// The answer of the hypervisor where it carries an access out itself.
  static Translation untagged(const Served& served) {
    Translation t;
    t.address = MachineAddr(served.address);
    t.tlb_hit = false;
    t.device = served.kind == Served::Kind::device;
    t.stores_lost = served.lost;
    return t;
  }

  /// By the guest's tables alone.
  Result<Translation> look(u64 linear, Access access) const {
    const ShadowSpace& space = now_->space;
    const Result<Leaf> leaf = look_through(mine_->state, linear, access, space.guest(), memory_);
    if (!leaf) return leaf.fault();
    const Backing b = space.guest().look(PhysAddr(leaf->address));
    if (b.kind == Backing::Kind::device) return Fault{Fault::Kind::violation, 0, leaf->address};
    Translation found;
    found.address = b.address;
    found.tlb_hit = false;
    return found;
  }

  /// Of the machines whose home is here.
  template <class Value>
  u64 sum(Value&& value) const {
    u64 total = 0;
    for (const auto& [number, m] : machines_->by_number)
      if (m->home == this) total += value(*m);
    return total;
  }
  void declare_tables(sim::Stats& stats) const {
    const auto pages = [this] { return sum([](const Machine& m) { return m.space.pages(); }); };
    stats.counter("shadow.pages", pages, "pages", "shadow pages that exist");
    stats.counter(
        "shadow.table_bytes", [pages] { return pages() * kPageBytes; }, "bytes", "machine memory of shadow tables");
  }

  MachineMemory& memory_;
  Commons* commons_;
  Below below_;
  LinearStage linear_;
  TlbFront tlb_;
  Options options_;
  Counts counts_;
  Vpids vpids_{tlb_};
  Machine* now_ = nullptr;
  ShadowSpace::Registers* mine_ = nullptr;  ///< of the processor that the core runs

 private:
  struct Machines {
    std::map<unsigned, std::unique_ptr<Machine>> by_number;  ///< Guest::number
  };
  std::shared_ptr<Machines> machines_;
};

}  // namespace nestwalk::models::shadow
