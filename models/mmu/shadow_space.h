// One virtual machine under shadow paging: the shadow tables of its address spaces and what the hypervisor does to keep
// them what a TLB of the guest's might be: lazy fill at faults, traces on the guest's tables, unsynchronized leaf tables,
// roots. The scheme is KVM's shadow MMU (Documentation/virt/kvm/x86/mmu.rst); the terms true fault, hidden fault and trace
// are Adams's and Agesen's (ASPLOS 2006).
//
// The tables, and with them traces and what is unsynchronized, are the machine's. Each of its processors has registers and
// roots of its own; one of them is at work at a time (`turn_to`). What the hypervisor takes from all of them (a zapped
// page, a write right) is flushed on every core, as by kvm_flush_remote_tlbs; an entry that only follows the guest's stays
// in the TLBs of other processors until the guest shoots it down, as it would without a hypervisor.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "models/mmu/shadow_pages.h"
#include "models/mmu/shadow_walk.h"
#include "sim/settings.h"

namespace nestwalk::models::shadow {

struct Options {
  enum class Variant : u8 { strict, unsync };
  enum class OnWrite : u8 { zap, update };
  Variant variant = Variant::unsync;
  OnWrite on_write = OnWrite::zap;
  u64 prefetch = 8;      ///< entries of the aligned group around a faulting one
  u64 flood = 3;         ///< stores without a fault between them after which a table is taken for something else; 0: never
  u64 memory = 8 << 20;  ///< bytes of shadow tables per virtual machine
  u64 roots = 3;         ///< former roots kept
  u64 walk_read = 60, entry = 150, page = 1000, zap = 60, sync = 4, root = 300, flush = 200;  ///< cycles of work

  void declare(sim::Section section);
  /// What a design needs that has no variants.
  void declare_sizes(sim::Section section);
};

/// Whether a move to control registers changes what the hypervisor owns, and so is an exit.
bool leaves(const PagingState& before, const PagingState& after);

/// What became of an access that the hardware refused.
struct Served {
  enum class Kind : u8 {
    mapped,   ///< the shadow serves it now: walk again
    faulted,  ///< the guest's tables forbid it
    direct,   ///< the hypervisor carries it out at `address`
    device,   ///< there is a device register at the guest-physical `address`
  };
  Kind kind = Kind::mapped;
  Exit exit = Exit::hidden_fault;
  u64 address = 0;
  Fault fault{};
  bool lost = false;  ///< direct: of a store nothing is to remain
};

/// Agile paging's say in a shadow: which of the guest's tables the hardware walks itself, in the hypervisor's second
/// dimension, from an entry of the shadow on.
class Nesting {
 public:
  virtual ~Nesting() = default;
  /// Set in machine addresses, to tell them from guest-physical ones; and in those of the guest's own tables.
  static constexpr u64 kMark = bit(50), kGuestsMark = bit(49);
  /// The hardware walks this table of the guest's.
  virtual bool nests(u64 gfn) const = 0;
  /// A traced table is stored to. True: from now on the hardware walks it.
  virtual bool written(u64 gfn) = 0;
  /// The second dimension must not let the frame be written. True: it did until now.
  virtual bool protect(u64 gfn) = 0;
};

class ShadowSpace {
 public:
  ShadowSpace(Guest& guest, MachineMemory& memory, const Options& options, Nesting* nesting = nullptr);

  struct Registers;
  /// Those of a processor, made when it is asked for first; they stay where they are.
  Registers& registers(unsigned vcpu);
  Registers& any_registers() { return *processors_.begin()->second; }
  /// What follows is for this processor, and counted by the model of its core.
  void turn_to(Registers& processor, Counts& counts) {
    r_ = &processor;
    counts_ = &counts;
    pages_.set_counts(counts);
  }
  /// The present processor's root was zapped by another: it gets a new one.
  void restore_root(Bill& bill) {
    if (r_->root_lost) load_root(bill), point_hardware();
  }

  Guest& guest() const { return guest_; }
  /// The guest's registers. Turns to the shadow of its tables, synchronized; true: the hardware's rules differ so much that
  /// nothing in its TLBs holds any more.
  void set_paging(const PagingState& state, Bill& bill);
  const PagingState& paging() const { return r_->state; }
  /// The registers that make the hardware walk the shadow.
  const PagingState& hardware() const { return r_->hardware; }

  Served serve(u64 linear, Access access, u32 error, Bill& bill);
  /// The shadow's part of an invalidation: entries that the guest may have changed unheard.
  void invalidate(const Invalidation& what);
  /// See MmuModel::forget.
  void forget(PhysAddr first, u64 bytes, Bill& bill);
  /// A store that traps is carried out after the model has answered; then its entries may be filled from what it wrote.
  void settle(u64 linear) {
    if (r_->pending.bytes && r_->pending.end != linear) fill_pending();
  }

  // ---- agile paging ------------------------------------------------------------------------------------------------
  /// Whether the registers allow that hardware walks tables of the guest's under the rules that it walks the shadow by.
  bool can_nest() const { return nesting_ && top_level() > 2 && r_->rules.write_protect && r_->rules.nxe; }
  /// The frame's shadows go, and with them its traces: `Nesting::nests` has become true.
  void unshadow(u64 gfn, Bill& bill);
  /// ... has become false.
  void reshadow(u64 gfn, Bill& bill);
  /// The backing of a page as the second dimension may map it: nothing that is traced can be written.
  Backing untraced(PhysAddr address, Backing backing) const;
  bool traced(u64 gfn) const { return pages_.traced(gfn); }
  bool knows_root(u64 cr3) const;

  u64 pages() const { return pages_.live(); }
  u64 unsynced() const { return pages_.unsynced().size(); }
  Cycles take_work() { return std::exchange(work_, 0); }
  /// What must not stay cached: by the present core (every processor's of the machine), and by others.
  struct Flush {
    bool here = false, elsewhere = false;
  };
  Flush take_flush() { return std::exchange(flush_, {}); }

 private:
  void flush_everywhere() { flush_ = {true, true}; }
  template <class Function>
  void for_each_processor(Function&& f) {
    for (auto& [vcpu, registers] : processors_) f(*registers);
  }

  struct Shadowed {  ///< a root
    u64 cr3 = 0, pdpte[4] = {};
    Role role;
    u32 page[4] = {kNone, kNone, kNone, kNone};
    MachineAddr guests{};  ///< without a page: the guest's own root
  };
  /// What the walk of the guest's tables found, and the backing of the page.
  struct Guided {
    Leaf leaf;
    u64 entry[6] = {};
    Backing backing;
    u64 gfn = 0;          ///< of the 4K around the address
    bool global = false;  ///< G of the leaf, whatever CR4.PGE
    bool waived = false;  ///< a supervisor's store that only CR0.WP = 0 allows
  };

  // roots (shadow_space.cpp)
  Role base_role() const;
  /// A supervisor's access to a user's page may be refused because it is one: by SMAP, or by a protection key.
  bool guards_user_pages() const { return r_->state.cr4 & (cr4::smap | cr4::pke); }
  unsigned top_level() const;
  void load_root(Bill& bill);
  void drop_root(Registers& of, std::size_t n);
  void lose_root(Registers& of);
  bool is_in_use(u32 id) const;
  void point_hardware();
  u32 root_page(u64 linear) const;
  bool reaches(u32 id) const;

  // pages
  u32 get_page(u64 gfn, const Role& role, Bill& bill);
  void zap(u32 id);
  void make_room(u64 wanted);
  void clear(u32 slot);

  // faults (shadow_fault.cpp)
  template <class F>
  Result<Guided> walk_guest(u64 linear, Access access, Bill& bill);
  Result<Guided> walk_any(u64 linear, Access access, Bill& bill);
  std::optional<Served> serve_known_device(u64 linear, Access access);
  Served serve_store_to_table(const Guided& g, Access access, u64 linear);
  void build(u64 linear, const Guided& g, Bill& bill);
  unsigned target_level(const Guided& g) const;
  u32 child_for(u32 slot, unsigned level, u64 linear, u8 rights, const Guided& g, Bill& bill);
  u64 leaf_value(const Guided& g, unsigned level) const;
  bool nests(u64 gfn) const { return can_nest() && nesting_->nests(gfn); }
  bool hand_over(u32 slot, unsigned level, u8 rights, const Guided& g);
  void map(u32 slot, u64 value, u64 gfn);
  void remember_device(u64 linear, const Guided& g, Bill& bill);
  u32 leaf_slot(u64 linear) const;
  bool try_unsync(u64 gfn);

  // synchronization (shadow_sync.cpp)
  bool fill(u32 id, u64 index);
  template <class F>
  bool fill_from(u32 id, u64 index);
  void fill_around(u32 slot);
  void fill_pending();
  void table_written(u64 gfn, unsigned offset, unsigned bytes);
  bool is_flood(ShadowPage& p, unsigned offset, unsigned bytes) const;
  void sync_reachable();
  void sync_page(u32 id);
  bool sync_entry(u32 id, u64 index);
  template <class F>
  bool sync_entry_from(u32 id, u64 index);
  void sync_linear(u64 linear);
  u64 table_entry_address(const ShadowPage& p, u64 index, unsigned entry_bytes) const;
  void protect(u64 gfn);

  Guest& guest_;
  MachineMemory& memory_;
  const Options& options_;
  Counts* counts_ = nullptr;
  Nesting* nesting_;
  ShadowPages pages_;
  std::map<unsigned, std::unique_ptr<Registers>> processors_;  ///< by vCPU
  Registers* r_ = nullptr;                                     ///< of the one at work
  std::vector<u32> touched_;                                   ///< for lists of pages, kept so as not to allocate
  Cycles work_ = 0;
  Flush flush_;

 public:
  /// One processor's.
  struct Registers {
    PagingState state, hardware;
    Rules rules;
    PagingMode mode = PagingMode::off;
    Role role;
    std::vector<Shadowed> roots;  ///< the first is the hardware's
    bool root_lost = false;
    bool entered = false;  ///< its registers have been set
    struct Pending {
      u64 gfn = 0, end = 0;
      unsigned offset = 0, bytes = 0;
    } pending;
  };
};

}  // namespace nestwalk::models::shadow
