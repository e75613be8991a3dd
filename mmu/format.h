// Table formats as compile-time descriptions: entry width, levels, index extraction, leaf test, reserved bits, rights.
// Legacy32 is SDM vol. 3, 4.3 (with PSE and PSE-36), Pae 4.4, Ia32e<4> and Ia32e<5> 4.5; their rights and error codes are
// 4.6 and 4.7, accessed and dirty 4.8; Ept and Ept5 are 29.3 ("The Extended Page Table Mechanism"). mmu/walk.h walks them
// all. Protection keys (4.6.2) belong to 4- and 5-level paging.
#pragma once

#include <concepts>

#include "base/bits.h"
#include "base/result.h"
#include "mmu/access.h"

namespace nestwalk::mmu {

/// Rights granted by an entry; a translation has the rights that every entry on its way grants.
namespace right {
inline constexpr u8 read = 1, write = 2, execute = 4, user = 8, all = 15;
}

/// The control bits that decide what an entry means and who may use a translation.
struct Rules {
  u64 beyond = 0;          ///< entry bits 51:MAXPHYADDR, which are reserved
  u8 physical_width = 39;  ///< MAXPHYADDR
  bool gigabyte_pages = true;
  bool pse = true;  ///< CR4.PSE: 4M pages in Legacy32
  bool pse36 = true;
  bool global = false;        ///< CR4.PGE
  bool nxe = false;           ///< EFER.NXE
  bool write_protect = true;  ///< CR0.WP
  bool smep = false, smap = false;
  bool ac = false;             ///< EFLAGS.AC
  bool report_fetch = false;   ///< error code bit I/D exists
  bool accessed_dirty = true;  ///< EPTP bit 6; always so in the other formats
  u32 keys = 0;                ///< PKRU, where protection keys apply
  bool execute_only = true;    ///< EPT: entries with X alone are allowed (IA32_VMX_EPT_VPID_CAP bit 0)

  static constexpr Rules of(const PagingState& s) {
    Rules r;
    r.physical_width = s.physical_width;
    r.beyond = low_mask(52) & ~low_mask(s.physical_width);
    r.gigabyte_pages = s.gigabyte_pages;
    r.pse = s.cr4 & cr4::pse;
    r.pse36 = s.pse36;
    r.global = s.cr4 & cr4::pge;
    r.nxe = s.efer & efer::nxe;
    r.write_protect = s.cr0 & cr0::wp;
    r.smep = s.cr4 & cr4::smep;
    r.smap = s.cr4 & cr4::smap;
    r.ac = s.ac;
    r.keys = keys_of(s);
    r.report_fetch = r.smep || ((s.cr4 & cr4::pae) && r.nxe);
    return r;
  }
};

/// Where the tables hang.
struct Root {
  u64 table = 0;      ///< CR3 or EPTP: the bits of the address are taken from it
  u64 pdpte[4] = {};  ///< Pae: the registers loaded by MOV CR3
};

/// Where a walk starts: at the root, or where a page-walk cache says.
struct WalkStart {
  u64 table = 0;           ///< address of the first table, in the space below
  unsigned level = 0;      ///< its level; 1 is the page table
  u8 rights = right::all;  ///< granted by the entries above
};

/// Why a walk has no answer.
enum class Refusal : u8 { not_present, reserved, rights };

template <class F>
concept TableFormat = requires(u64 v, unsigned level, bool leaf, Access access, u8 rights, const Rules& rules,
                               const Root& root) {
  { F::kLevels } -> std::convertible_to<unsigned>;  // entries read by a walk from the root to a 4K page
  { F::kEntryBytes } -> std::convertible_to<unsigned>;
  { F::kAccessed } -> std::convertible_to<u64>;
  { F::kDirty } -> std::convertible_to<u64>;
  { F::in_range(v) } -> std::same_as<bool>;         // the address can be walked at all
  { F::root(root, v) } -> std::same_as<WalkStart>;  // level 0: there is no table
  { F::shift(level) } -> std::same_as<unsigned>;    // log2 of the bytes an entry maps
  { F::index(v, level) } -> std::same_as<u64>;
  { F::present(v) } -> std::same_as<bool>;
  { F::is_leaf(v, level, rules) } -> std::same_as<bool>;
  { F::malformed(v, level, leaf, rules) } -> std::same_as<bool>;  // a reserved bit is set
  { F::grant(v) } -> std::same_as<u8>;
  { F::table(v) } -> std::same_as<u64>;         // address of the table an entry refers to
  { F::frame(v, level) } -> std::same_as<u64>;  // address of the page a leaf maps
  { F::is_global(v, rules) } -> std::same_as<bool>;
  { F::has_accessed_dirty(rules) } -> std::same_as<bool>;
  { F::protection_key(v) } -> std::same_as<u8>;  // of a leaf; 0 in formats that have none
  { F::allows(rights, access, rules) } -> std::same_as<bool>;
  { F::fault(Refusal{}, v, access, rights, rules) } -> std::same_as<Fault>;
};

/// What all formats for linear addresses share.
struct LinearFormat {
  static constexpr u64 kPresent = 1, kWrite = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40, kPageSize = 0x80,
                       kGlobal = 0x100;
  static constexpr u64 kNoExecute = u64{1} << 63;
  static constexpr u64 kAddress = 0x000ffffffffff000;

  static constexpr bool in_range(u64) { return true; }  // canonical form is checked before there is a walk
  static constexpr bool present(u64 e) { return e & kPresent; }
  static constexpr bool is_global(u64 e, const Rules& r) { return r.global && (e & kGlobal); }
  static constexpr bool has_accessed_dirty(const Rules&) { return true; }
  static constexpr u8 grant(u64 e) {
    return static_cast<u8>(right::read | (e & kWrite ? right::write : 0) | (e & kUser ? right::user : 0) |
                           (e & kNoExecute ? 0 : right::execute));
  }

  static constexpr u8 protection_key(u64) { return 0; }

  /// SDM vol. 3, 4.6.1, with the rights of the whole translation.
  static constexpr bool allows(u8 rights, Access a, const Rules& r) {
    if (a.side == Side::fetch && !(rights & right::execute)) return false;
    if (a.user) {
      if (!(rights & right::user)) return false;
      return a.side != Side::store || (rights & right::write);
    }
    if (a.side == Side::fetch) return !(r.smep && (rights & right::user));
    if (r.smap && (rights & right::user) && (a.implicit || !r.ac)) return false;
    return a.side != Side::store || (rights & right::write) || !r.write_protect;
  }

  /// 4.6.2: AD and WD of the page's key, for data accesses to user-mode addresses.
  static constexpr bool key_denies(u8 key, u8 rights, Access a, const Rules& r) {
    if (!r.keys || !(rights & right::user) || a.side == Side::fetch) return false;
    const u32 denied = r.keys >> (2 * key);
    if (denied & 1) return true;
    return (denied & 2) && a.side == Side::store && (a.user || r.write_protect);
  }

  /// #PF and its error code (4.7).
  static constexpr Fault fault(Refusal why, u64 address, Access a, u8 /*rights*/, const Rules& r) {
    u32 error = why == Refusal::not_present ? 0 : pf::present;
    if (why == Refusal::reserved) error |= pf::reserved;
    if (a.side == Side::store) error |= pf::write;
    if (a.user) error |= pf::user;
    if (a.side == Side::fetch && r.report_fetch) error |= pf::fetch;
    return {Fault::Kind::page_fault, error, address};
  }
};

/// 64-bit entries, nine index bits a level.
struct WideEntries {
  static constexpr unsigned kEntryBytes = 8;
  static constexpr unsigned shift(unsigned level) { return 12 + 9 * (level - 1); }
  static constexpr u64 index(u64 address, unsigned level) { return (address >> shift(level)) & 0x1ff; }
  /// Address bits of a large leaf that lie below its size; bit 12 is PAT in the formats for linear addresses.
  static constexpr u64 below_frame(unsigned level, unsigned first) { return low_mask(shift(level)) & ~low_mask(first); }
};

/// 32-bit paging (4.3): 4K pages; 4M pages under CR4.PSE, above 4 GiB under PSE-36.
struct Legacy32 : LinearFormat {
  static constexpr unsigned kLevels = 2;
  static constexpr unsigned kEntryBytes = 4;
  static constexpr unsigned shift(unsigned level) { return 12 + 10 * (level - 1); }
  static constexpr u64 index(u64 address, unsigned level) { return (address >> shift(level)) & 0x3ff; }
  static constexpr WalkStart root(const Root& r, u64) { return {r.table & 0xfffff000, kLevels, right::all}; }
  static constexpr bool is_leaf(u64 e, unsigned level, const Rules& r) { return level == 1 || (r.pse && (e & kPageSize)); }
  static constexpr bool malformed(u64 e, unsigned level, bool leaf, const Rules& r) {
    if (level == 1 || !leaf) return false;
    // Bits (M-20):13 are address bits (M-1):32 with M = min(40, MAXPHYADDR); without PSE-36 M is 32 (table 4-4).
    const unsigned m = !r.pse36 || r.physical_width < 32 ? 32 : r.physical_width > 40 ? 40 : r.physical_width;
    return e & low_mask(22) & ~low_mask(m - 19);
  }
  static constexpr u64 table(u64 e) { return e & 0xfffff000; }
  static constexpr u64 frame(u64 e, unsigned level) {
    return level == 1 ? e & 0xfffff000 : (e & 0xffc00000) | bits(e, 20, 13) << 32;
  }
};

/// PAE paging (4.4): the walk reads page directory and page table; the four PDPTEs are registers and grant everything.
struct Pae : LinearFormat, WideEntries {
  static constexpr unsigned kLevels = 2;
  static constexpr WalkStart root(const Root& r, u64 address) {
    const u64 pdpte = r.pdpte[(address >> 30) & 3];
    return {pdpte & kAddress, present(pdpte) ? kLevels : 0, right::all};
  }
  static constexpr bool is_leaf(u64 e, unsigned level, const Rules&) { return level == 1 || (e & kPageSize); }
  static constexpr bool malformed(u64 e, unsigned level, bool leaf, const Rules& r) {
    u64 reserved = r.beyond | (low_mask(63) & ~low_mask(52));  // bits 62:M (tables 4-9 to 4-11)
    if (!r.nxe) reserved |= kNoExecute;
    if (leaf) reserved |= below_frame(level, 13);
    return e & reserved;
  }
  static constexpr u64 table(u64 e) { return e & kAddress; }
  static constexpr u64 frame(u64 e, unsigned level) { return e & kAddress & ~low_mask(shift(level)); }
};

/// 4-level and 5-level paging (4.5). As the tables of a lower stage it is AMD's nested paging (APM vol. 2, 15.25).
template <unsigned Levels>
requires(Levels == 4 || Levels == 5) struct Ia32e : LinearFormat, WideEntries {
  static constexpr unsigned kLevels = Levels;
  static constexpr WalkStart root(const Root& r, u64) { return {r.table & kAddress, kLevels, right::all}; }
  static constexpr bool is_leaf(u64 e, unsigned level, const Rules& r) {
    return level == 1 || ((e & kPageSize) && (level == 2 || (level == 3 && r.gigabyte_pages)));
  }
  static constexpr bool malformed(u64 e, unsigned level, bool leaf, const Rules& r) {
    u64 reserved = r.beyond;
    if (!r.nxe) reserved |= kNoExecute;
    if (!leaf)
      reserved |= kPageSize;  // PML5E, PML4E, and PDPTE without 1G pages; in a PDE it would have made a leaf
    else if (level > 1)
      reserved |= below_frame(level, 13);
    return e & reserved;
  }
  static constexpr u64 table(u64 e) { return e & kAddress; }
  static constexpr u64 frame(u64 e, unsigned level) { return e & kAddress & ~low_mask(shift(level)); }
  static constexpr u8 protection_key(u64 e) { return static_cast<u8>(bits(e, 62, 59)); }
};

/// Extended page tables with a page-walk length of 4 or 5 (29.3.2): guest-physical addresses, R/W/X, A and D where enabled.
template <unsigned Levels>
requires(Levels == 4 || Levels == 5) struct EptOf : WideEntries {
  static constexpr unsigned kLevels = Levels;
  static constexpr u64 kAccessed = 0x100, kDirty = 0x200, kPageSize = 0x80;
  static constexpr u64 kAddress = LinearFormat::kAddress;

  static constexpr bool in_range(u64 address) { return address < bit(12 + 9 * Levels); }
  static constexpr WalkStart root(const Root& r, u64) { return {r.table & kAddress, kLevels, right::all}; }
  static constexpr bool present(u64 e) { return e & 7; }
  static constexpr bool is_leaf(u64 e, unsigned level, const Rules& r) {
    return level == 1 || ((e & kPageSize) && (level == 2 || (level == 3 && r.gigabyte_pages)));
  }
  /// EPT misconfigurations (29.3.3.1).
  static constexpr bool malformed(u64 e, unsigned level, bool leaf, const Rules& r) {
    if ((e & 3) == right::write || ((e & 7) == right::execute && !r.execute_only)) return true;
    if (e & r.beyond) return true;
    if (!leaf) return e & 0xf8;  // 6:3, and bit 7 where it makes no leaf
    const u64 memory_type = bits(e, 5, 3);
    return memory_type == 2 || memory_type == 3 || memory_type == 7 || (e & below_frame(level, 12));
  }
  static constexpr u8 grant(u64 e) { return static_cast<u8>((e & 7) | right::user); }
  static constexpr u64 table(u64 e) { return e & kAddress; }
  static constexpr u64 frame(u64 e, unsigned level) { return e & kAddress & ~low_mask(shift(level)); }
  static constexpr bool is_global(u64, const Rules&) { return false; }
  static constexpr bool has_accessed_dirty(const Rules& r) { return r.accessed_dirty; }
  static constexpr u8 protection_key(u64) { return 0; }
  static constexpr u8 needed(Access a) {
    return a.side == Side::load ? right::read : a.side == Side::store ? right::write : right::execute;
  }
  static constexpr bool allows(u8 rights, Access a, const Rules&) { return rights & needed(a); }
  /// `error` is the exit qualification (table 28-7): access in bits 2:0, the translation's rights in bits 5:3.
  static constexpr Fault fault(Refusal why, u64 address, Access a, u8 rights, const Rules&) {
    if (why == Refusal::reserved) return {Fault::Kind::misconfigured, 0, address};
    const u32 held = why == Refusal::not_present ? 0 : rights & 7;
    // A read of a guest's table entry that counts as a write is reported as both.
    const u32 both = a.implicit && a.side == Side::store ? right::read : 0;
    return {Fault::Kind::violation, needed(a) | both | held << 3, address};
  }
};

using Ept = EptOf<4>;
using Ept5 = EptOf<5>;

static_assert(TableFormat<Legacy32> && TableFormat<Pae> && TableFormat<Ia32e<4>> && TableFormat<Ia32e<5>> &&
              TableFormat<Ept> && TableFormat<Ept5>);

/// log2 of what a leaf maps is its PageSize.
template <TableFormat F>
constexpr PageSize size_at(unsigned level) {
  return static_cast<PageSize>(F::shift(level));
}

}  // namespace nestwalk::mmu
