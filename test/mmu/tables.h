// Page tables in real memory, for tests: builds them entry by entry, as a guest kernel would.
#pragma once

#include <span>

#include "mmu/format.h"
#include "mmu/memory.h"

namespace nestwalk::test {

using namespace nestwalk::mmu;

/// Tables of format F in a bare machine's memory, or in a virtual one's. Their space begins at address `base` of it; tables
/// are taken from `next` upwards (in that space).
template <class F>
class Tables {
 public:
  static constexpr u64 kLinks = 7;  ///< P, R/W, U/S of upper entries; R, W, X of EPT's

  Tables(PhysicalMemory& memory, u64 base, u64 next) : memory_(memory), base_(base), next_(next), root_(take()) {}

  u64 root() const { return root_; }
  /// Maps the page at `address` to `target` by a leaf of `level`; missing tables are made, entries above stay as they are.
  void map(u64 address, u64 target, u64 flags, unsigned level = 1) {
    u64 table = root_;
    for (unsigned l = F::kLevels; l > level; --l) {
      const u64 where = table + F::index(address, l) * F::kEntryBytes;
      if (!(get(where) & kLinks)) put(where, take() | kLinks);
      table = F::table(get(where));
    }
    put(table + F::index(address, level) * F::kEntryBytes, target | flags | (level > 1 ? 0x80 : 0));
  }
  /// Address, in the tables' space, of the entry of table level `level` on the way to `address`.
  u64 where(u64 address, unsigned level) const {
    u64 table = root_;
    for (unsigned l = F::kLevels; l > level; --l) table = F::table(get(table + F::index(address, l) * F::kEntryBytes));
    return table + F::index(address, level) * F::kEntryBytes;
  }
  u64 entry(u64 address, unsigned level) const { return get(where(address, level)); }
  void set_entry(u64 address, unsigned level, u64 value) { put(where(address, level), value); }

  u64 get(u64 at) const {
    u64 v = 0;
    memory_.read(PhysAddr(base_ + at), {reinterpret_cast<u8*>(&v), F::kEntryBytes});
    return v;
  }
  void put(u64 at, u64 v) { memory_.write(PhysAddr(base_ + at), {reinterpret_cast<const u8*>(&v), F::kEntryBytes}); }

 private:
  u64 take() {
    next_ += kPageBytes;
    return next_ - kPageBytes;
  }
  PhysicalMemory& memory_;
  u64 base_, next_, root_;
};

}  // namespace nestwalk::test
