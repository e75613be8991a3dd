#include "mmu/stage.h"

#include <algorithm>
#include <cstring>

namespace nestwalk::mmu {

namespace {

/// Entries of tables that lie where no memory is read as all ones, like any unclaimed bus cycle; registers of devices are
/// not disturbed by walks.
template <unsigned Bytes>
u64 read_entry(const MachineMemory& memory, MachineAddr a) {
  u64 entry = low_mask(Bytes * 8);
  if (const u8* p = memory.host(a)) std::memcpy(&entry, p, Bytes);
  return entry;
}

/// Compare and swap; where nothing can be written the write is lost, as on the bus.
template <unsigned Bytes>
bool swap_entry(MachineMemory& memory, MachineAddr a, u64 old, u64 now) {
  if (!memory.is_writable(a)) return true;
  if (read_entry<Bytes>(memory, a) != old) return false;
  std::memcpy(memory.host(a), &now, Bytes);
  if (memory.holds_code(a)) memory.code_written(a, Bytes);
  return true;
}

/// What two stages together grant. A page that the lower stage does not let be written counts as clean: the first store
/// walks again, and the stage that objects says so itself. The upper stage's write right stays: CR0.WP may waive it.
Leaf combine(const Leaf& upper, const Leaf& lower) {
  Leaf leaf = upper;
  leaf.address = lower.address;
  leaf.size = std::min(upper.size, lower.size);
  leaf.rights &= lower.rights | right::write;
  leaf.dirty = upper.dirty && lower.dirty && (lower.rights & right::write);
  return leaf;
}

/// Whether some translation below an entry with these rights could serve the access: every right but `user` only shrinks
/// towards the leaf, and so does `user`, whose absence may be what a supervisor access needs.
template <TableFormat F>
bool may_serve(u8 rights, Access access, const Rules& rules) {
  return F::allows(rights, access, rules) || F::allows(rights & static_cast<u8>(~right::user), access, rules);
}

}  // namespace

/// The walk's window on the tables: translates an entry's address by the stage below, bills, reads and swaps.
template <TableFormat F>
class RadixStage<F>::Tables {
 public:
  Tables(RadixStage& stage, Bill& bill) : stage_(stage), bill_(bill) {}

  Result<u64> read(u64 address, unsigned level) {
    const Side side = stage_.below_->entry_access();
    if (auto r = locate(address, level, side); !r) return r.fault();
    const MachineAddr where = place_[level].where;
    WalkRead read{where, 0, static_cast<u8>(level)};
    if (stage_.host_) read.guest_level = stage_.guest_level_, read.host_level = static_cast<u8>(level);
    if (!stage_.entry_cache_ || !stage_.entry_cache_->serve(read, bill_)) {
      const CacheAnswer answer = stage_.caches_.walk_access(where, false);
      read.cycles = static_cast<u32>(answer.cycles);
      read.served_by = answer.served_by;
      bill_.walk_read(read);
    }
    return entry_[level] = read_entry<F::kEntryBytes>(stage_.memory_, where);
  }

  Result<bool> update(u64 address, u64 old, u64 now, unsigned level) {
    if (!place_[level].writable) {
      if (auto r = locate(address, level, Side::store); !r) return r.fault();
      if (!place_[level].writable) return true;  // answered for a table that cannot be written: the flag is lost
    }
    const MachineAddr where = place_[level].where;
    bill_.charge(Cause::walk_update, stage_.caches_.walk_access(where, true).cycles);
    return swap_entry<F::kEntryBytes>(stage_.memory_, where, old, now);
  }

  u64 entry(unsigned level) const { return entry_[level]; }

 private:
  struct Place {
    MachineAddr where;
    bool writable = false;  ///< nothing remains to be asked or marked below before the entry is written
  };

  Result<Done> locate(u64 address, unsigned level, Side side) {
    if (stage_.on_machine_) {  // nothing to ask
      place_[level] = {MachineAddr(address), true};
      return Done{};
    }
    Stage& below = *stage_.below_;
    below.serve(stage_.host_ ? stage_.guest_level_ : level);
    const Result<Leaf> leaf = below.translate(address, Access{side, false, true}, bill_);
    if (!leaf) return leaf.fault();
    place_[level] = {MachineAddr(leaf->address), leaf->dirty && (leaf->rights & right::write)};
    return Done{};
  }

  RadixStage& stage_;
  Bill& bill_;
  Place place_[F::kLevels + 1];
  u64 entry_[F::kLevels + 1];
};

/// A window through which nothing changes.
template <TableFormat F>
class RadixStage<F>::Spectator {
 public:
  explicit Spectator(const RadixStage& stage) : stage_(stage) {}
  Result<u64> read(u64 address, unsigned) {
    const Result<Leaf> leaf = stage_.below_->probe(address, Access{Side::load, false, true});
    if (!leaf) return leaf.fault();
    return read_entry<F::kEntryBytes>(stage_.memory_, MachineAddr(leaf->address));
  }
  Result<bool> update(u64, u64, u64, unsigned) { return true; }

 private:
  const RadixStage& stage_;
};

template <TableFormat F>
RadixStage<F>::RadixStage(Stage& below, MachineMemory& memory, DataCaches& caches, PageWalkCaches* walk_caches)
    : Stage(&below),
      memory_(memory),
      caches_(caches),
      walk_caches_(walk_caches),
      on_machine_(dynamic_cast<MachineStage*>(&below)) {
  below.become_host();
}

template <TableFormat F>
void RadixStage<F>::set(const Root& root, const Rules& rules, u16 context) {
  root_ = root;
  rules_ = rules;
  context_ = context;
}

template <TableFormat F>
Fault RadixStage<F>::owned(Fault fault, Access access) const {
  if (!host_) return fault;
  if (fault.kind == Fault::Kind::page_fault) fault.kind = Fault::Kind::violation;
  if (access.implicit) fault.error |= Fault::kOfTable;
  return fault;
}

template <TableFormat F>
Result<Leaf> RadixStage<F>::translate(u64 address, Access access, Bill& bill) {
  const Access here = seen_from_here(access);
  const WalkStart root = F::root(root_, address);
  WalkStart start = root;
  const bool cached = walk_caches_ && walk_caches_->active() && root.level;
  if (cached) {
    bill.charge(Cause::pwc, walk_caches_->latency());
    // An entry that would deny the access is passed over: rights raised without a flush cost reads, never a fault.
    const auto usable = [&](u8 rights) { return may_serve<F>(rights, here, rules_); };
    start = walk_caches_->lookup<F>(address, context_, root, usable);
  }

  Tables tables(*this, bill);
  const Result<Leaf> leaf = walk<F>(start, address, here, rules_, tables);
  if (!leaf) return owned(leaf.fault(), access);
  if (cached) {
    u8 rights = start.rights;
    for (unsigned level = start.level; level > leaf->level; --level) {
      rights &= F::grant(tables.entry(level));
      walk_caches_->insert<F>(level, address, context_, F::table(tables.entry(level)), rights);
    }
  }
  if (on_machine_) return leaf;
  below_->serve(host_ ? guest_level_ : 0);
  const Result<Leaf> lower = below_->translate(leaf->address, Access{access.side, access.user, false}, bill);
  if (!lower) return lower.fault();
  return combine(*leaf, *lower);
}

template <TableFormat F>
Result<Leaf> RadixStage<F>::probe(u64 address, Access access) const {
  const Result<Leaf> leaf = walk<F>(F::root(root_, address), address, seen_from_here(access), rules_, Spectator(*this));
  if (!leaf) return owned(leaf.fault(), access);
  const Result<Leaf> lower = below_->probe(leaf->address, Access{access.side, access.user, false});
  if (!lower) return lower.fault();
  return combine(*leaf, *lower);
}

template class RadixStage<Legacy32>;
template class RadixStage<Pae>;
template class RadixStage<Ia32e<4>>;
template class RadixStage<Ia32e<5>>;
template class RadixStage<Ept>;
template class RadixStage<Ept5>;

LinearStage::LinearStage(Stage& below, MachineMemory& memory, DataCaches& caches, sim::Section walk_caches, u64 seed)
    : Stage(&below),
      walk_caches_(walk_caches, seed),
      legacy32_(below, memory, caches, &walk_caches_),
      pae_(below, memory, caches, &walk_caches_),
      four_level_(below, memory, caches, &walk_caches_),
      five_level_(below, memory, caches, &walk_caches_),
      active_(&below) {}

void LinearStage::set_entry_cache(EntryCache* cache) {
  legacy32_.set_entry_cache(cache);
  pae_.set_entry_cache(cache);
  four_level_.set_entry_cache(cache);
  five_level_.set_entry_cache(cache);
}

void LinearStage::set_paging(const PagingState& s, u16 vpid) {
  mode_ = mode_of(s);
  rules_ = Rules::of(s);
  const Root root{s.cr3, {s.pdpte[0], s.pdpte[1], s.pdpte[2], s.pdpte[3]}};
  const u16 context = static_cast<u16>(vpid | pcid_of(s));
  const auto use = [&](auto& stage) {
    stage.set(root, rules_, context);
    active_ = &stage;
  };
  switch (mode_) {
    case PagingMode::off: active_ = below_; break;
    case PagingMode::legacy32: use(legacy32_); break;
    case PagingMode::pae: use(pae_); break;
    case PagingMode::four_level: use(four_level_); break;
    case PagingMode::five_level: use(five_level_); break;
  }
}

}  // namespace nestwalk::mmu
