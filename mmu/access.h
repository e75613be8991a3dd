// What is asked of a translation: the access, the paging state it happens under, and invalidations.
#pragma once

#include "base/types.h"
#include "tlb/entry.h"

namespace nestwalk::mmu {

using tlb::Side;

/// One access to a linear address. A read-modify-write is a `store` throughout (one translation, write intent).
struct Access {
  Side side = Side::load;
  bool user = false;      ///< user-mode access (CPL 3, and not implicit)
  bool implicit = false;  ///< implicit supervisor access (GDT, IDT, TSS, ...): SMAP ignores EFLAGS.AC (SDM vol. 3, 4.6.1)
  u8 bytes = 1;           ///< of the access that lie on this page, at most 64
};

/// The registers that decide how a linear address is translated (SDM vol. 3, 4.1).
struct PagingState {
  u64 cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;
  u64 pdpte[4] = {};           ///< loaded by MOV CR3 under PAE paging
  u32 pkru = 0;                ///< counts under CR4.PKE in IA-32e mode (SDM vol. 3, 4.6.2)
  bool ac = false;             ///< EFLAGS.AC: with SMAP, explicit supervisor accesses to user pages
  u8 physical_width = 39;      ///< MAXPHYADDR
  bool gigabyte_pages = true;  ///< CPUID.80000001H:EDX.Page1GB
  bool pse36 = true;           ///< CPUID.01H:EDX.PSE-36
};

namespace cr0 {
inline constexpr u64 pe = 1 << 0, mp = 1 << 1, em = 1 << 2, ts = 1 << 3, et = 1 << 4, ne = 1 << 5, wp = 1 << 16,
                     am = 1 << 18, nw = 1 << 29, cd = 1 << 30, pg = u64{1} << 31;
}
namespace cr4 {
inline constexpr u64 vme = 1 << 0, pvi = 1 << 1, tsd = 1 << 2, de = 1 << 3, pse = 1 << 4, pae = 1 << 5, mce = 1 << 6,
                     pge = 1 << 7, pce = 1 << 8, osfxsr = 1 << 9, osxmmexcpt = 1 << 10, umip = 1 << 11, la57 = 1 << 12,
                     vmxe = 1 << 13, fsgsbase = 1 << 16, pcide = 1 << 17, osxsave = 1 << 18, smep = 1 << 20, smap = 1 << 21,
                     pke = 1 << 22;
}
namespace efer {
inline constexpr u64 sce = 1 << 0, lme = 1 << 8, lma = 1 << 10, nxe = 1 << 11, svme = 1 << 12;
}

enum class PagingMode : u8 { off, legacy32, pae, four_level, five_level };
constexpr PagingMode mode_of(const PagingState& s) {
  if (!(s.cr0 & cr0::pg)) return PagingMode::off;
  if (!(s.cr4 & cr4::pae)) return PagingMode::legacy32;
  if (!(s.efer & efer::lma)) return PagingMode::pae;
  return s.cr4 & cr4::la57 ? PagingMode::five_level : PagingMode::four_level;
}
/// The protection keys in force: 0, which denies nothing, where they do not apply.
constexpr u32 keys_of(const PagingState& s) {
  return (s.cr4 & cr4::pke) && (s.efer & efer::lma) && (s.cr0 & cr0::pg) ? s.pkru : 0;
}
constexpr u16 pcid_of(const PagingState& s) { return s.cr4 & cr4::pcide ? static_cast<u16>(s.cr3 & 0xfff) : u16{0}; }

/// What the guest asked to forget (SDM vol. 3, 4.10.4). One data type for all sources.
struct Invalidation {
  enum class Kind : u8 {
    page,        ///< INVLPG: one linear address, current PCID and globals; all paging-structure caches of the PCID
    pcid_page,   ///< INVPCID type 0: one linear address of one PCID, not globals
    pcid,        ///< INVPCID type 1, MOV CR3 without bit 63: one PCID, not globals
    non_global,  ///< INVPCID type 3: every PCID, not globals
    all,         ///< INVPCID type 2, changes of CR4.PGE/PAE/PSE/..., CR0.PG, reset: everything
  };
  Kind kind = Kind::all;
  LinearAddr address;
  u16 pcid = 0;            ///< inside a model: a context, tlb::kVpidMask included
  bool by_mov_cr = false;  ///< a consequence of MOV to CR0, CR3 or CR4, and not an instruction of its own
};

}  // namespace nestwalk::mmu
