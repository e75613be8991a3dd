// The walk, written once for every table format (mmu/format.h). Order of refusals, SDM vol. 3, 4.6 and 4.7: at each entry
// not present, then reserved bits; rights only when the leaf is reached, combined over all levels.
//
// Accessed and dirty (4.8): hardware may set A in the entries it used even when the access then faults. We choose the least
// it may do: A is set, from the root down, in every entry used once the leaf is reached and the rights suffice; D in the
// leaf with it, for a store. A faulting access leaves memory as it was.
#pragma once

#include <array>
#include <concepts>

#include "mmu/format.h"

namespace nestwalk::mmu {

/// What a completed walk found.
struct Leaf {
  u64 address = 0;  ///< of the accessed byte, in the space below (after Stage::translate: machine)
  PageSize size = PageSize::k4K;
  PageSize whole = PageSize::k4K;  ///< as the uppermost stage has it: `size` may be a piece of it
  u8 level = 0;                    ///< of the leaf entry
  u8 rights = 0;                   ///< right::, combined over all levels
  bool dirty = false;              ///< a store needs nothing further: D is set, or the format has no D
  bool global = false;
  u8 protection_key = 0;
};

/// Where entries are read and written. `level` is the level of the table that holds the entry.
template <class M>
concept TableMemory = requires(M& m, u64 v, unsigned level) {
  { m.read(v, level) } -> std::same_as<Result<u64>>;           // the entry at address v
  { m.update(v, v, v, level) } -> std::same_as<Result<bool>>;  // (address, old, new): compare and swap; false: changed
};

/// An entry used by a walk.
struct UsedEntry {
  u64 address = 0, value = 0;
};

/// Sets A in used[from..leaf level] and, for a store, D in the leaf. False: an entry has changed since it was read.
template <TableFormat F, class M, std::size_t N>
Result<bool> mark_used(std::array<UsedEntry, N>& used, unsigned from, unsigned leaf, bool store, M& memory) {
  for (unsigned level = from; level >= leaf; --level) {
    auto& [address, value] = used[level];
    const u64 marked = value | F::kAccessed | (store && level == leaf ? F::kDirty : 0);
    if (marked == value) continue;
    const Result<bool> swapped = memory.update(address, value, marked, level);
    if (!swapped || !*swapped) return swapped;
    value = marked;
  }
  return true;
}

/// Translates `address` by the tables from `start` on. Faults carry `address` and come in the terms of the format, or
/// are those of `memory`, passed on.
template <TableFormat F, TableMemory M>
Result<Leaf> walk(const WalkStart& start, u64 address, Access access, const Rules& rules, M&& memory) {
  if (start.level == 0 || !F::in_range(address)) return F::fault(Refusal::not_present, address, access, 0, rules);
  std::array<UsedEntry, F::kLevels + 1> used;
  for (;;) {  // once, but for entries that another processor changed under our eyes
    u64 table = start.table;
    u8 rights = start.rights;
    unsigned level = start.level;
    u64 entry;
    for (;; --level) {
      const u64 where = table + F::index(address, level) * F::kEntryBytes;
      const Result<u64> read = memory.read(where, level);
      if (!read) return read.fault();
      entry = *read;
      if (!F::present(entry)) return F::fault(Refusal::not_present, address, access, 0, rules);
      const bool leaf = F::is_leaf(entry, level, rules);
      if (F::malformed(entry, level, leaf, rules)) return F::fault(Refusal::reserved, address, access, 0, rules);
      rights &= F::grant(entry);
      used[level] = {where, entry};
      if (leaf) break;
      table = F::table(entry);
    }
    const u8 key = F::protection_key(entry);
    const bool denied = LinearFormat::key_denies(key, rights, access, rules);
    if (denied || !F::allows(rights, access, rules)) {
      Fault fault = F::fault(Refusal::rights, address, access, rights, rules);
      if (denied) fault.error |= pf::protection_key;
      return fault;
    }

    Leaf leaf;
    leaf.address = F::frame(entry, level) | (address & low_mask(F::shift(level)));
    leaf.size = leaf.whole = size_at<F>(level);
    leaf.level = static_cast<u8>(level);
    leaf.rights = rights;
    leaf.global = F::is_global(entry, rules);
    leaf.protection_key = key;
    leaf.dirty = true;
    if (F::has_accessed_dirty(rules)) {
      const Result<bool> marked = mark_used<F>(used, start.level, level, access.side == Side::store, memory);
      if (!marked) return marked.fault();
      if (!*marked) continue;
      leaf.dirty = used[level].value & F::kDirty;
    }
    return leaf;
  }
}

}  // namespace nestwalk::mmu
