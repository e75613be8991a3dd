// The hypervisor's own walk of a guest's tables, in software: the entries lie in guest-physical memory, which the
// hypervisor knows the machine frames of. It reads as the processor would, sets A and D as the processor would
// (mmu/walk.h), and keeps the entries it has used. Walks and reads serve every paging mode (SDM vol. 3, 4.3 to 4.5).
#pragma once

#include <cstring>

#include "mmu/guest.h"
#include "mmu/memory.h"
#include "mmu/walk.h"

namespace nestwalk::models::shadow {

using namespace nestwalk::mmu;

/// An entry of a guest's table; all ones where there is no memory, as on the bus.
inline u64 read_guest_entry(const MachineMemory& memory, const Backing& b, unsigned bytes) {
  u64 entry = ~u64{0};
  if (const u8* p = b.kind == Backing::Kind::memory ? memory.host(b.address) : nullptr) {
    if (bytes == 8)
      std::memcpy(&entry, p, 8);  // a call for a length that is known only here would cost more than the rest
    else
      std::memcpy(&entry, p, 4);
  }
  return bytes == 8 ? entry : static_cast<u32>(entry);
}

/// The window of a walk that counts, sets flags and keeps what it saw.
class GuestTables {
 public:
  GuestTables(Guest& guest, MachineMemory& memory, unsigned entry_bytes, Bill& bill)
      : guest_(guest), memory_(memory), bytes_(entry_bytes), bill_(bill) {}

  Result<u64> read(u64 address, unsigned level) {
    ++accesses_;
    const u64 e = read_guest_entry(memory_, guest_.back(PhysAddr(address), false, bill_), bytes_);
    return entry_[level] = e;
  }
  Result<bool> update(u64 address, u64 old, u64 now, unsigned level) {
    ++accesses_;
    const Backing b = guest_.back(PhysAddr(address), true, bill_);
    if (b.kind != Backing::Kind::memory || b.rom) return true;  // the write is lost
    if (read_guest_entry(memory_, b, bytes_) != old) return false;
    std::memcpy(memory_.host(b.address), &now, bytes_);
    if (memory_.holds_code(b.address)) memory_.code_written(b.address, bytes_);
    entry_[level] = now;
    return true;
  }
  u64 entry(unsigned level) const { return entry_[level]; }
  unsigned accesses() const { return accesses_; }

 private:
  Guest& guest_;
  MachineMemory& memory_;
  unsigned bytes_;
  Bill& bill_;
  u64 entry_[6] = {};
  unsigned accesses_ = 0;
};

/// A window through which nothing changes.
class GuestSpectator {
 public:
  GuestSpectator(const Guest& guest, const MachineMemory& memory, unsigned entry_bytes)
      : guest_(guest), memory_(memory), bytes_(entry_bytes) {}
  Result<u64> read(u64 address, unsigned) {
    const Backing b = guest_.look(PhysAddr(address));
    return read_guest_entry(memory_, b, bytes_);
  }
  Result<bool> update(u64, u64, u64, unsigned) { return true; }

 private:
  const Guest& guest_;
  const MachineMemory& memory_;
  unsigned bytes_;
};

/// Calls f<F>() with the format of the guest's tables; not for PagingMode::off.
template <class Function>
decltype(auto) with_format(PagingMode mode, Function&& f) {
  switch (mode) {
    case PagingMode::legacy32: return f.template operator()<Legacy32>();
    case PagingMode::pae: return f.template operator()<Pae>();
    case PagingMode::five_level: return f.template operator()<Ia32e<5>>();
    default: return f.template operator()<Ia32e<4>>();
  }
}

inline Root root_of(const PagingState& s) { return {s.cr3, {s.pdpte[0], s.pdpte[1], s.pdpte[2], s.pdpte[3]}}; }

/// With paging off a linear address is guest-physical, and one leaf is larger than any table's.
inline Leaf unpaged_leaf(u64 linear) {
  return {static_cast<u32>(linear), PageSize::k1G, PageSize::k1G, 3, right::all, true, false};
}

/// By the guest's tables, without any effect.
inline Result<Leaf> look_through(const PagingState& state, u64 linear, Access access, const Guest& guest,
                                 const MachineMemory& memory) {
  if (mode_of(state) == PagingMode::off) return unpaged_leaf(linear);
  return with_format(mode_of(state), [&]<class F>() {
    return walk<F>(F::root(root_of(state), linear), linear, access, Rules::of(state),
                   GuestSpectator(guest, memory, F::kEntryBytes));
  });
}

}  // namespace nestwalk::models::shadow
