// The hypervisor's own tables: guest-physical to machine, as real bytes in machine memory that hardware walks. Two formats:
// EPT (SDM vol. 3, 29.3.2) and AMD's nested paging, which uses the host's ordinary table format (APM vol. 2, 15.25).
// Changes announce whether something cached may now be wrong, which is when software owes an INVEPT (SDM vol. 3, 29.4.3.4).
#pragma once

#include <optional>
#include <vector>

#include "mmu/format.h"
#include "mmu/guest.h"
#include "mmu/memory.h"

namespace nestwalk::mmu {

enum class HostFormat : u8 { ept, npt };

/// What the processor's tables of the second dimension can be.
struct HostShape {
  HostFormat format = HostFormat::ept;
  u32 levels = 4;              ///< 4 or 5
  bool gigabyte_pages = true;  ///< IA32_VMX_EPT_VPID_CAP bit 17; CPUID Page1GB
};

class HostTables {
 public:
  /// Frames of tables come from `guest` and return to it when a table is emptied; the last ones stay until it ends.
  HostTables(const HostShape& shape, MachineMemory& memory, Guest& guest);

  u64 root() const { return root_; }

  /// From now on the byte `to` stands behind `address`, and with it the page of `size` around both (or the largest part of
  /// it that the shape and finer mappings made before allow), with `rights` (right::read, write, execute). True: what was
  /// there led elsewhere, granted more or was a larger page, so an invalidation is due.
  bool map(PhysAddr address, MachineAddr to, PageSize size, u8 rights);
  /// Takes all mappings of [first, first + bytes), page aligned; larger pages across its ends are broken. True: there were
  /// some.
  bool unmap(PhysAddr first, u64 bytes) { return restrict_range(first, bytes, 0); }
  /// Leaves the mappings of [first, first + bytes) no other rights than these. True: some had more.
  bool protect(PhysAddr first, u64 bytes, u8 rights) { return restrict_range(first, bytes, rights); }

  struct Mapping {
    MachineAddr address;  ///< of the byte asked for
    PageSize size = PageSize::k4K;
    u8 rights = 0;
    bool accessed = false, dirty = false;
    MachineAddr entry;  ///< where the leaf lies
  };
  std::optional<Mapping> look(PhysAddr address) const;
  /// Machine address of the entry of table level `level` on the way to the address; it must be reached.
  MachineAddr entry_at(PhysAddr address, unsigned level) const;

 private:
  static constexpr u64 kEntries = 512;

  static unsigned shift(unsigned level) { return 12 + 9 * (level - 1); }
  static u64 index(u64 address, unsigned level) { return (address >> shift(level)) & (kEntries - 1); }
  u64 get(u64 at) const { return memory_.peek<u64>(MachineAddr(at)); }
  void put(u64 at, u64 entry);
  bool present(u64 entry) const { return shape_.format == HostFormat::ept ? Ept::present(entry) : entry & 1; }
  bool is_leaf(u64 entry, unsigned level) const { return level == 1 || (entry & Ept::kPageSize); }
  u8 rights_of(u64 entry) const;
  u64 leaf(u64 frame, unsigned level, u8 rights) const;
  u64 link(u64 table) const;

  void stock_up();
  u64 new_table();
  void break_leaf(u64 at, unsigned level);
  void drop_tables(u64 entry, unsigned level);
  bool restrict_range(PhysAddr first, u64 bytes, u8 rights);
  bool restrict_table(u64 table, unsigned level, u64 base, u64 first, u64 last, u8 rights);
  bool restrict_leaf(u64 at, unsigned level, u8 rights);
  bool is_empty(u64 table) const;

  HostShape shape_;
  MachineMemory& memory_;
  Guest& guest_;
  u64 root_;
  /// Frames in hand. Taking one may make the hypervisor reclaim memory and change these very tables, so none is taken while
  /// a change is under way.
  std::vector<u64> spare_;
};

}  // namespace nestwalk::mmu
