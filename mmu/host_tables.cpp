#include "mmu/host_tables.h"

namespace nestwalk::mmu {

namespace {
constexpr u64 kAddress = LinearFormat::kAddress;
constexpr u64 kWriteBack = u64{6} << 3;  // memory type of an EPT leaf
constexpr u64 kNptLink = LinearFormat::kPresent | LinearFormat::kWrite | LinearFormat::kUser | LinearFormat::kAccessed;
}  // namespace

HostTables::HostTables(const HostShape& shape, MachineMemory& memory, Guest& guest)
    : shape_(shape), memory_(memory), guest_(guest), root_(guest.take_frame().value) {}

// ---- entries -----------------------------------------------------------------------------------------------------------

void HostTables::put(u64 at, u64 entry) {
  memory_.write(MachineAddr(at), {reinterpret_cast<const u8*>(&entry), sizeof entry});
}

u8 HostTables::rights_of(u64 entry) const {
  if (shape_.format == HostFormat::ept) return entry & (right::read | right::write | right::execute);
  return present(entry) ? LinearFormat::grant(entry) & static_cast<u8>(~right::user) : u8{0};
}

/// A leaf of the nested format is a user page whose A and D are set in advance, as hypervisors do that do not look at them.
u64 HostTables::leaf(u64 frame, unsigned level, u8 rights) const {
  const u64 large = level > 1 ? Ept::kPageSize : 0;
  if (shape_.format == HostFormat::ept) return frame | (rights & 7) | kWriteBack | large;
  const u64 links = rights & right::write ? kNptLink : kNptLink & ~LinearFormat::kWrite;
  const u64 no_execute = rights & right::execute ? 0 : LinearFormat::kNoExecute;
  return frame | links | LinearFormat::kDirty | large | no_execute;
}

u64 HostTables::link(u64 table) const { return table | (shape_.format == HostFormat::ept ? u64{7} : kNptLink); }

void HostTables::stock_up() {
  while (spare_.size() < 2 * (shape_.levels - 1)) spare_.push_back(guest_.take_frame().value);
}

u64 HostTables::new_table() {
  const u64 table = spare_.back();
  spare_.pop_back();
  return table;
}

// ---- mapping -----------------------------------------------------------------------------------------------------------

/// The leaf at `at` becomes a table of leaves that say the same.
void HostTables::break_leaf(u64 at, unsigned level) {
  const u64 entry = get(at), table = new_table(), frame = entry & kAddress & ~low_mask(shift(level));
  const u64 attributes = (entry & ~kAddress) & ~(level == 2 ? Ept::kPageSize : 0);
  for (u64 i = 0; i < kEntries; ++i) put(table + 8 * i, (frame + (i << shift(level - 1))) | attributes);
  put(at, link(table));
}

bool HostTables::map(PhysAddr address, MachineAddr to, PageSize size, u8 rights) {
  stock_up();
  const unsigned whole = size == PageSize::k1G && shape_.gigabyte_pages ? 3 : size >= PageSize::k2M ? 2 : 1;
  bool due = false;
  u64 table = root_;
  for (unsigned level = shape_.levels;; --level) {
    const u64 at = table + 8 * index(address.value, level), old = get(at);
    const bool held = present(old), was_leaf = held && is_leaf(old, level);
    const u64 span = low_mask(shift(level));
    if (level <= whole && (!held || was_leaf)) {
      const u64 frame = to.value & ~span;
      if (was_leaf) due |= (old & kAddress & ~span) != frame || (rights_of(old) & ~rights);
      put(at, leaf(frame, level, rights));
      return due;
    }
    if (was_leaf) {
      const bool same = (old & kAddress & ~span) + (address.value & span) == to.value && rights_of(old) == rights;
      if (same) return due;
      break_leaf(at, level);
      due = true;
    } else {
      const u64 next = link(held ? old & kAddress : new_table());
      if (next & ~old) put(at, next);  // none yet, or one that does not grant what its leaves shall
    }
    table = get(at) & kAddress;
  }
}

// ---- taking away -------------------------------------------------------------------------------------------------------

bool HostTables::restrict_range(PhysAddr first, u64 bytes, u8 rights) {
  const u64 limit = low_mask(shift(shape_.levels + 1));
  if (bytes == 0 || first.value > limit) return false;
  const u64 last = bytes - 1 > limit - first.value ? limit : first.value + (bytes - 1);
  stock_up();
  return restrict_table(root_, shape_.levels, 0, first.value, last, rights);
}

bool HostTables::restrict_table(u64 table, unsigned level, u64 base, u64 first, u64 last, u8 rights) {
  bool changed = false;
  const u64 span = low_mask(shift(level));
  const u64 from = first > base ? (first - base) >> shift(level) : 0;
  for (u64 i = from; i < kEntries; ++i) {
    const u64 begin = base + (i << shift(level)), at = table + 8 * i;
    if (begin > last) break;
    if (!present(get(at))) continue;
    const bool whole = first <= begin && begin + span <= last;
    if (is_leaf(get(at), level)) {
      if (whole || !(rights_of(get(at)) & ~rights)) {
        changed |= restrict_leaf(at, level, rights);
        continue;
      }
      break_leaf(at, level);
    }
    const u64 child = get(at) & kAddress;
    if (whole && rights == 0) {
      drop_tables(get(at), level);
      put(at, 0);
      changed = true;
      continue;
    }
    changed |= restrict_table(child, level - 1, begin, first, last, rights);
    if (rights == 0 && is_empty(child)) {
      guest_.give_frame(MachineAddr(child));
      put(at, 0);
    }
  }
  return changed;
}

bool HostTables::restrict_leaf(u64 at, unsigned level, u8 rights) {
  const u64 old = get(at);
  const u8 had = rights_of(old), now = had & rights;
  if (now == had) return false;
  const u64 flags = shape_.format == HostFormat::ept ? old & (Ept::kAccessed | Ept::kDirty) : 0;
  put(at, now & (right::read | right::execute) ? leaf(old & kAddress & ~low_mask(shift(level)), level, now) | flags : 0);
  return true;
}

void HostTables::drop_tables(u64 entry, unsigned level) {
  const u64 table = entry & kAddress;
  if (level > 2)
    for (u64 i = 0; i < kEntries; ++i) {
      const u64 child = get(table + 8 * i);
      if (present(child) && !is_leaf(child, level - 1)) drop_tables(child, level - 1);
    }
  guest_.give_frame(MachineAddr(table));
}

bool HostTables::is_empty(u64 table) const {
  for (u64 i = 0; i < kEntries; ++i)
    if (get(table + 8 * i)) return false;
  return true;
}

// ---- looking -----------------------------------------------------------------------------------------------------------

std::optional<HostTables::Mapping> HostTables::look(PhysAddr address) const {
  u64 table = root_;
  for (unsigned level = shape_.levels; level; --level) {
    const u64 at = table + 8 * index(address.value, level), entry = get(at);
    if (!present(entry)) return std::nullopt;
    if (is_leaf(entry, level)) {
      const u64 span = low_mask(shift(level));
      const bool ept = shape_.format == HostFormat::ept;
      return Mapping{MachineAddr((entry & kAddress & ~span) | (address.value & span)),
                     static_cast<PageSize>(shift(level)),
                     rights_of(entry),
                     (entry & (ept ? Ept::kAccessed : LinearFormat::kAccessed)) != 0,
                     (entry & (ept ? Ept::kDirty : LinearFormat::kDirty)) != 0,
                     MachineAddr(at)};
    }
    table = entry & kAddress;
  }
  return std::nullopt;
}

MachineAddr HostTables::entry_at(PhysAddr address, unsigned level) const {
  u64 table = root_;
  for (unsigned l = shape_.levels; l > level; --l) table = get(table + 8 * index(address.value, l)) & kAddress;
  return MachineAddr(table + 8 * index(address.value, level));
}

}  // namespace nestwalk::mmu
