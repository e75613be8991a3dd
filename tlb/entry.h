// What a TLB holds and what it is asked. The TLB knows no page tables: rights are the walk's combined result.
#pragma once

#include "base/types.h"

namespace nestwalk::tlb {

/// Rights and state of a cached translation.
struct Rights {
  bool user : 1 = false;     ///< user-mode accesses allowed (U/S set at every level)
  bool write : 1 = false;    ///< R/W set at every level
  bool execute : 1 = false;  ///< no XD at any level
  bool dirty : 1 = false;    ///< D was set when cached: a store needs no walk
  bool global : 1 = false;   ///< G with CR4.PGE: matches every PCID, survives CR3 loads
  bool read : 1 = true;      ///< false: a second stage lets it be executed only
};

/// A context is a VPID or ASID (0: no virtual machine) and a PCID.
inline constexpr u16 kVpidMask = 0xf000;
inline constexpr unsigned kVpidShift = 12, kVpids = 16;
constexpr bool same_vpid(u16 a, u16 b) { return ((a ^ b) & kVpidMask) == 0; }

struct Entry {
  u64 page = 0;                   ///< linear address >> 12, aligned to the size
  u64 frame = 0;                  ///< machine address >> 12, aligned to the size
  u16 pcid = 0;                   ///< context: VPID or ASID in bits 15:12, PCID below
  PageSize size = PageSize::k4K;  ///< effective size
  Rights rights;
  u8 protection_key = 0;
  /// Size of the page this is a piece of, where the TLB or a second stage of translation made pieces of it (any smaller
  /// value: the whole page). INVLPG of an address in that page forgets all its pieces (SDM vol. 3, 4.10.4.1).
  PageSize whole = PageSize::k4K;
  bool operator==(const Entry&) const = default;
};
inline bool operator==(const Rights& a, const Rights& b) {
  return a.user == b.user && a.write == b.write && a.execute == b.execute && a.dirty == b.dirty && a.global == b.global &&
         a.read == b.read;
}

/// Which port of the core asks.
enum class Side : u8 { fetch, load, store };
inline constexpr unsigned kSides = 3;

/// Every access of the core, counted where it is made (mmu::Port), whoever answers it. An access that crosses a page
/// counts twice; a block of instructions counts one fetch per 64-byte line it lies in. The ordinal is the number of
/// accesses so far, the clock of true LRU.
struct AccessCounts {
  u64 ordinal = 0;
  u64 paged[2][kSides] = {};  ///< [user][side] accesses that asked a TLB
  u64 unpaged[kSides] = {};   ///< with paging off: no TLB is asked
  u64 split[2][kSides] = {};  ///< [user][side] further cache accesses of those that cross a line within a page
  u64 uncached[kSides] = {};  ///< of all these, what reached no cache: faults of translation, device registers
};

}  // namespace nestwalk::tlb
