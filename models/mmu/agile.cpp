// Agile paging (Gandhi, Hill, Swift, ISCA 2016): a walk begins in the shadow and, where the guest writes its tables often,
// goes on in two dimensions: an entry of the shadow then refers to the guest's own table, at its machine address. A walk
// reads 4 entries while all is shadow, and 4 more for each level that is not: 8, 12, 16, 20 on four levels. (With the root
// at a guest-physical address too it would be 24, the paper's full nested mode.)
//
// Policy: a table that is stored to `agile.writes` times within an interval is handed to the hardware, with all below it.
// At the end of an interval those that have not changed since its beginning come back. The paper's interval is one second;
// here it is counted in accesses, and shorter, for runs are. Reads of walks count as writes in EPT's dirty flags (SDM vol.
// 3, 29.3.5), so the hypervisor compares the tables' contents. MOV CR3 to a recent root needs no exit (the paper's cache of
// shadow roots), nor does INVLPG, for no shadow is ever out of date.
//
// Left out: shadow entries whose A and D hardware keeps in the guest's tables, and starting new address spaces in nested
// mode. Without CR0.WP, EFER.NXE or IA-32e mode everything is shadow.
#include <algorithm>
#include <unordered_map>

#include "mmu/host_stage.h"
#include "models/mmu/shadow_model.h"

namespace nestwalk::models {
namespace {

using namespace shadow;

/// What hardware has below the walk: marked addresses are machine addresses, others the guest's. What a guest's entry holds
/// is guest-physical whatever it looks like, so once a walk has read one there are no marks any more.
class BothWorlds final : public Stage {
 public:
  explicit BothWorlds(HostStage& host) : Stage(nullptr), host_(host) {}

  void begin() { in_guest_ = false; }
  /// The walk has read an entry of the guest's.
  bool in_guest() const { return in_guest_; }
  u64 nested_walks() const { return nested_walks_; }

  Result<Leaf> translate(u64 address, Access access, Bill& bill) override {
    if (!in_guest_ && (address & Nesting::kMark)) return identity(address);
    if (!in_guest_ && access.implicit) {  // the first of the guest's tables, or by a page-walk cache one below
      in_guest_ = true;
      ++nested_walks_;
      if (address & Nesting::kGuestsMark) return identity(address);
    }
    if (address & kMarks) return Fault{Fault::Kind::violation, access.implicit ? Fault::kOfTable : 0, address};
    return host_.translate(address, access, bill);
  }
  Result<Leaf> probe(u64 address, Access access) const override {
    return address & kMarks ? identity(address) : host_.probe(address, access);
  }
  Side entry_access() const override { return host_.entry_access(); }
  void serve(unsigned guest_level) override { host_.serve(guest_level); }

 private:
  static constexpr u64 kMarks = Nesting::kMark | Nesting::kGuestsMark;
  static Leaf identity(u64 address) {
    Leaf leaf;
    leaf.address = address & ~kMarks;
    leaf.size = leaf.whole = PageSize::k1G;
    leaf.rights = right::all;
    leaf.dirty = true;
    return leaf;
  }
  HostStage& host_;
  bool in_guest_ = false;
  u64 nested_walks_ = 0;
};

struct Policy {
  u64 writes = 2, interval = 20'000'000;
  u64 to_nested = 0, to_shadow = 0, intervals = 0;  ///< counts
};

/// Which tables of one machine the hardware walks. The hardware is that of the core whose processor is at work.
class World final : public Nesting {
 public:
  World(Guest& guest, MachineMemory& memory, const Options& options, const void* first)
      : space(guest, memory, options, this), home(first), guest_(guest), memory_(memory) {}
  void turn_to(ShadowSpace::Registers& processor, Counts& counts, HostStage& host, Policy& policy) {
    space.turn_to(processor, counts);
    host_ = &host;
    policy_ = &policy;
  }

  bool nests(u64 gfn) const override { return nested_.contains(gfn); }
  bool written(u64 gfn) override {
    if (++writes_[gfn] < policy_->writes) return false;
    add(gfn);
    return true;
  }
  bool protect(u64 gfn) override {
    HostTables* const tables = host_->tables(guest_);
    if (!tables || !tables->protect(PhysAddr(gfn << kPageShift), kPageBytes, right::read | right::execute)) return false;
    host_->forget(guest_);
    return true;
  }
  /// A walk of the hardware's has come to a table that is also shadowed.
  void nest(u64 gfn, Bill& bill) {
    add(gfn);
    space.unshadow(gfn, bill);
  }
  /// An interval has ended. Returns how many tables were looked at.
  u64 review(Bill& bill) {
    writes_.clear();
    std::vector<u64> calm;
    for (auto& [gfn, before] : nested_) {
      const u64 now = contents(gfn);
      if (now == before) calm.push_back(gfn);
      before = now;
    }
    const u64 looked_at = nested_.size();
    std::sort(calm.begin(), calm.end());
    for (const u64 gfn : calm) {
      nested_.erase(gfn);
      ++policy_->to_shadow;
      space.reshadow(gfn, bill);
    }
    return looked_at;
  }
  u64 nested() const { return nested_.size(); }

  ShadowSpace space;
  const void* const home;  ///< the model of the core that it was on first, which reports how large its tables are

 private:
  void add(u64 gfn) { policy_->to_nested += nested_.emplace(gfn, 0).second; }
  /// A digest of a table without A and D.
  u64 contents(u64 gfn) const {
    const Backing b = guest_.look(PhysAddr(gfn << kPageShift));
    if (b.kind != Backing::Kind::memory) return 0;
    u64 digest = 0x9e3779b97f4a7c15;
    const u8* const bytes = memory_.host(b.address);
    for (unsigned n = 0; n < 512; ++n) {
      u64 e;
      std::memcpy(&e, bytes + n * 8, 8);
      digest = (digest ^ (e & ~(LinearFormat::kAccessed | LinearFormat::kDirty))) * 0x100000001b3;
      digest ^= digest >> 29;
    }
    return digest | 1;  // 0: not known yet
  }

  Guest& guest_;
  MachineMemory& memory_;
  HostStage* host_ = nullptr;
  Policy* policy_ = nullptr;
  std::unordered_map<u64, u64> nested_;  ///< frames of tables, and their contents when the interval began
  std::unordered_map<u64, u64> writes_;  ///< traced stores in this interval
};

struct BothBelow {
  explicit BothBelow(const ModelParts& parts)
      : host(parts.settings.section("nested"), parts.memory, parts.caches, parts.seed + 2, parts.commons), stage(host) {}
  void enter(Guest& guest) { host.enter(guest); }
  void forget(Guest& guest) { host.forget(guest); }
  void unmap(Guest& guest, PhysAddr first, u64 bytes) {
    host.unmap(guest, first, bytes);
    host.forget(guest);
  }
  HostStage host;
  BothWorlds stage;
};

class Agile final : public ShadowModel<World, BothBelow> {
 public:
  explicit Agile(const ModelParts& parts)
      : ShadowModel(parts), accesses_(parts.counts), host_(below_.host), both_(below_.stage) {
    sim::Section section = parts.settings.section("agile");
    section.field("writes", policy_.writes, {1, 1'000'000, "stores"},
                  "stores to a table within an interval after which the hardware walks the guest's own");
    section.field("interval", policy_.interval, {1, u64{1} << 60, "accesses"},
                  "after which tables that have not changed are shadowed again");
    section.field("vpid", vpids_.enabled, "TLB entries are tagged with the virtual machine; false: every exit flushes");
    options_.roots = 8;
    options_.declare_sizes(section);
    options_.variant = Options::Variant::strict;
    options_.flood = 0;
  }

  void set_paging(const PagingState& state, Bill& bill) override;
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill) override;
  void invalidate(const Invalidation& what, Bill& bill) override { tlb_.invalidate(what, bill); }
  Result<Translation> probe(LinearAddr address, Access access) const override;
  void declare(sim::Stats& stats) override;
  void left(Guest& guest, Bill& bill) override;

 private:
  void turn(World& world, ShadowSpace::Registers& processor) override { world.turn_to(processor, counts_, host_, policy_); }
  void go_on(Exit why, Bill& bill);
  void end_interval(Exit why, Bill& bill);
  bool is_guests(const Result<Translation>& t) const;
  Result<Translation> serve(u64 linear, Access access, Fault fault, Bill& bill);
  void map_host(const Fault& fault, Bill& bill);

  const tlb::AccessCounts& accesses_;
  HostStage& host_;
  BothWorlds& both_;
  Policy policy_;
  u64 interval_began_ = 0;
};

// ---- exits ----------------------------------------------------------------------------------------------------------

/// After an exit the root may be another.
void Agile::go_on(Exit why, Bill& bill) {
  finish(why, bill);
  tlb_.set_paging(now_->space.hardware());
}

void Agile::end_interval(Exit why, Bill& bill) {
  if (accesses_.ordinal - interval_began_ < policy_.interval) return;
  interval_began_ = accesses_.ordinal;
  ++policy_.intervals;
  const u64 looked_at = now_->review(bill);
  now_->space.guest().work(why, looked_at * 512 * options_.sync, bill);
}

void Agile::left(Guest& guest, Bill& bill) {
  vpids_.left();
  if (!now_ || !mine_->entered) return;
  work();
  end_interval(Exit::interrupt, bill);
  go_on(Exit::interrupt, bill);
}

// ---- accesses -------------------------------------------------------------------------------------------------------

void Agile::set_paging(const PagingState& state, Bill& bill) {
  if (!now_) return;
  ShadowSpace& space = work();
  PagingState same_root = space.paging();
  same_root.cr3 = state.cr3;
  const bool hardware_alone = !leaves(same_root, state) && space.knows_root(state.cr3);
  if (mine_->entered && leaves(space.paging(), state) && !hardware_alone) leave(Exit::cr_access, bill);
  mine_->entered = state.cr0 != 0;
  space.set_paging(state, bill);
  go_on(Exit::cr_access, bill);
}

/// Whether the translation stands, or the fault is the guest's without the hypervisor's being asked.
bool Agile::is_guests(const Result<Translation>& t) const {
  if (t) return true;
  const Fault::Kind kind = t.fault().kind;
  if (kind == Fault::Kind::page_fault) return both_.in_guest();
  return kind != Fault::Kind::violation && kind != Fault::Kind::misconfigured;
}

Result<Translation> Agile::translate(LinearAddr address, Access access, Bill& bill) {
  work().settle(address.value);
  both_.begin();
  Result<Translation> t = tlb_.translate(address, access, bill);
  if (is_guests(t)) return t;
  const bool wide = linear_.mode() == PagingMode::four_level || linear_.mode() == PagingMode::five_level;
  t = serve(wide ? address.value : static_cast<u32>(address.value), access, t.fault(), bill);
  host_.stop_emulating();
  return t;
}

Result<Translation> Agile::serve(u64 linear, Access access, Fault fault, Bill& bill) {
  // A two-dimensional walk meets a violation for every page it needs.
  for (unsigned attempt = 0; attempt < 64; ++attempt) {
    const bool violation = fault.kind != Fault::Kind::page_fault;
    const Served served = now_->space.serve(linear, access, violation ? 0 : fault.error, bill);
    const bool maps_host = violation && served.kind == Served::Kind::mapped;
    const Exit why = maps_host ? Exit::violation : served.exit;
    leave(why, bill);
    if (maps_host) map_host(fault, bill);
    end_interval(why, bill);
    go_on(why, bill);
    if (served.kind == Served::Kind::faulted) return served.fault;
    if (served.kind != Served::Kind::mapped) return untagged(served);
    both_.begin();
    const Result<Translation> t = tlb_.retranslate(LinearAddr(linear), access, bill);
    if (is_guests(t)) return t;
    fault = t.fault();
  }
  throw std::logic_error("agile paging: an access is refused however often the hypervisor serves it");
}

/// What the second dimension lacked, for a table of the guest's or for its data.
void Agile::map_host(const Fault& fault, Bill& bill) {
  ShadowSpace& space = now_->space;
  const PhysAddr at(fault.address);
  const bool table = fault.error & Fault::kOfTable, store = host_.wrote(fault);
  if (table && space.traced(at.value >> kPageShift)) now_->nest(at.value >> kPageShift, bill);
  const Backing backing = host_.reaches(at.value) ? space.guest().back(at, store, bill) : Backing{};
  const bool device = backing.kind == Backing::Kind::device;
  if (device || (store && !backing.writable)) {
    if (table) host_.emulate_table(at.value, device ? HostDimension::kNowhere : backing.address.value);
    return;
  }
  if (!host_.map(space.guest(), at, space.untraced(at, backing))) return;
  host_.forget(space.guest());
  vpids_.forget(space.guest());
  space.guest().work(Exit::violation, options_.flush, bill);
  if (commons_) commons_->flush_others(*this, space.guest(), bill);
  work();
}

Result<Translation> Agile::probe(LinearAddr address, Access access) const {
  // By the guest's tables alone: what a debugger is told does not hang on marks.
  const unsigned width = linear_.mode() == PagingMode::five_level ? 57 : linear_.mode() == PagingMode::four_level ? 48 : 32;
  const u64 at = width == 32 ? static_cast<u32>(address.value) : address.value;
  if (width > 32 && !is_canonical(at, width)) return Fault{Fault::Kind::non_canonical, 0, at};
  return look(at, access);
}

// ---- statistics -----------------------------------------------------------------------------------------------------

void Agile::declare(sim::Stats& stats) {
  tlb_.declare(stats);
  host_.declare(stats);
  declare_tables(stats);
  counts_.declare(stats);
  stats.counter(
      "agile.tables", [this] { return sum([](const World& w) { return w.nested(); }); }, "tables",
      "tables of guests that hardware walks at present, without those below them");
  stats.counter("agile.to_nested", policy_.to_nested, "tables", "tables handed to the hardware");
  stats.counter("agile.to_shadow", policy_.to_shadow, "tables", "tables that came back into the shadow");
  stats.counter("agile.intervals", policy_.intervals, "intervals", "after which the tables were reviewed");
  stats.counter(
      "agile.nested_walks", [this] { return both_.nested_walks(); }, "walks",
      "walks that came to a table of the guest's own");
}

const RegisterModel registered("agile",
                               "agile paging: shadow tables above, the guest's own in two dimensions where it writes often",
                               [](const ModelParts& parts) { return std::make_unique<Agile>(parts); });

}  // namespace
}  // namespace nestwalk::models
