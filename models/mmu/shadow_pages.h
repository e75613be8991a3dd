// The shadow pages of one virtual machine: tables in machine memory that the hardware walks, each the shadow of a guest's
// table (or of a piece of memory that the guest maps by a larger page), found by guest frame and role; the reverse map from
// guest frames to the entries that map them; and which guest frames are traced because a shadow must follow them.
// After the Linux kernel's documentation of KVM's shadow MMU (Documentation/virt/kvm/x86/mmu.rst).
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "mmu/format.h"
#include "mmu/guest.h"
#include "mmu/memory.h"
#include "sim/stats.h"

namespace nestwalk::models::shadow {

using namespace nestwalk::mmu;

/// What the hypervisor did, over all virtual machines.
struct Counts {
  u64 pages_made = 0, pages_zapped = 0, entries_made = 0, entries_zapped = 0;
  u64 traces = 0;  ///< times that mappings of a frame lost their write right because it became a table
  u64 protected_entries = 0;
  u64 unsyncs = 0, syncs = 0, synced_entries = 0, prefetched = 0, updated = 0;
  u64 flooded = 0, recycled = 0, roots_loaded = 0, roots_reused = 0;
  u64 flushes = 0, mmio_cached = 0, mmio_hits = 0, waived_stores = 0;
  void declare(sim::Stats& stats) const;
};

/// Bits of shadow entries that the hardware ignores.
inline constexpr u64 kWaived = bit(9);  ///< CR0.WP = 0: made the supervisor's, so that it may write
/// Agile paging: the entry refers to a table of the guest's own, at a guest-physical address.
inline constexpr u64 kGuests = bit(10);
/// Reserved in the shadow's format, so that the hardware refuses: a device register at the guest-physical address.
inline constexpr u64 kDevice = bit(51);
inline constexpr u8 kHardwareWidth = 51;

/// What makes two shadows of one guest frame different (KVM's kvm_mmu_page_role).
struct Role {
  u8 level = 1;            ///< of the shadow table
  u8 quadrant = 0;         ///< 32-bit paging: which piece of the guest's larger table
  u8 rights = right::all;  ///< granted by the entries above; of a direct page: by the guest's leaf too
  bool direct = false;     ///< maps memory from `gfn` on, there is no guest table
  bool global = false;     ///< direct: the guest's leaf has G
  bool dirty = false;      ///< direct, where CR0.WP = 0 lets a store pass: the guest's leaf has D
  u8 key = 0;              ///< direct: its protection key
  PagingMode mode = PagingMode::off;
  bool nxe = false, pse = false;
  bool waives = false;       ///< CR0.WP = 0
  bool smep_waived = false;  ///< CR4.SMEP and CR0.WP = 0
  bool smap_waived = false;  ///< CR4.SMAP or CR4.PKE, and CR0.WP = 0
  bool operator==(const Role&) const = default;
};

inline constexpr u32 kNone = ~u32{0};

struct ShadowPage {
  u64 gfn = 0;
  Role role;
  MachineAddr frame;
  u64* entries = nullptr;  ///< its bytes in machine memory
  u32 same_gfn = kNone;    ///< next page of the frame
  u32 newer = kNone, older = kNone;
  u32 parents = kNone;  ///< chain of the slots that refer to it
  u16 present = 0;      ///< entries in use
  u16 pins = 0;         ///< roots that it belongs to
  u8 writes = 0;        ///< traced stores to its frame since it last served a fault
  bool unsync = false;
  /// Of each entry: the guest frame a leaf maps or the page a link refers to, and its neighbours in that one's chain.
  u32 target[512];
  u32 next[512], prev[512];
};

/// An entry of a shadow page is named by a slot: page number * 512 + index.
class ShadowPages {
 public:
  /// `mark` is set in every machine address that an entry holds.
  ShadowPages(Guest& guest, MachineMemory& memory, u64 mark = 0) : guest_(guest), memory_(memory), mark_(mark) {}
  /// Who counts what is done from now on: the model of the core that runs.
  void set_counts(Counts& counts) { counts_ = &counts; }

  ShadowPage& page(u32 id) { return *pages_[id]; }
  const ShadowPage& page(u32 id) const { return *pages_[id]; }
  u32 live() const { return live_; }
  u32 find(u64 gfn, const Role& role) const;
  /// An empty page. Its frame's being traced from now on is the caller's business (`protect`).
  u32 make(u64 gfn, const Role& role);
  /// Frees a page: its entries, its parents' links to it. Nothing of it may stay in a TLB or a page-walk cache.
  void zap(u32 id);
  template <class Function>
  void for_each_of(u64 gfn, Function&& f) const {
    const auto it = frames_.find(gfn);
    if (it == frames_.end()) return;
    for (u32 id = it->second.pages, next; id != kNone; id = next) next = pages_[id]->same_gfn, f(id);
  }
  /// Recently used pages are recycled last.
  void use(u32 id);
  u32 oldest() const { return oldest_; }
  u32 newer_than(u32 id) const { return pages_[id]->newer; }

  // ---- entries -----------------------------------------------------------------------------------------------------
  static u32 slot(u32 id, u64 index) { return id << 9 | static_cast<u32>(index); }
  static u32 page_of(u32 slot) { return slot >> 9; }
  u64 entry(u32 slot) const { return pages_[slot >> 9]->entries[slot & 511]; }
  u32 target(u32 slot) const { return pages_[slot >> 9]->target[slot & 511]; }
  bool is_leaf(u32 slot) const { return pages_[slot >> 9]->role.level == 1 || (entry(slot) & LinearFormat::kPageSize); }
  /// Fills an empty slot.
  void map(u32 slot, u64 value, u64 gfn);
  void link(u32 slot, u32 child);
  void link_guests(u32 slot, u64 value, u64 gfn);
  u64 mark() const { return mark_; }
  /// Changes the rights of a leaf.
  void rewrite(u32 slot, u64 value) { pages_[slot >> 9]->entries[slot & 511] = value; }
  void clear(u32 slot);

  // ---- frames ------------------------------------------------------------------------------------------------------
  /// Some shadow must hear of stores to the frame.
  bool traced(u64 gfn) const {
    const auto it = frames_.find(gfn);
    return it != frames_.end() && (it->second.upper || it->second.synced);
  }
  /// Some shadow of it is of a table above the lowest level, which are always traced.
  bool traced_above(u64 gfn) const {
    const auto it = frames_.find(gfn);
    return it != frames_.end() && it->second.upper;
  }
  /// Some table lies in the 2M (level 2) or 1G (level 3) around the frame.
  bool tables_within(u64 gfn, unsigned level) const {
    const auto& regions = regions_[level - 2];
    const auto it = regions.find(gfn >> 9 * (level - 1));
    return it != regions.end() && it->second.tables;
  }
  /// Takes the write right from whatever maps the frame. Returns how many entries had it.
  unsigned protect(u64 gfn);
  /// Removes the entries that refer to the guest's own table there.
  unsigned drop_guests_links(u64 gfn);
  /// Removes what maps the frame; returns how many entries did.
  unsigned drop(u64 gfn);
  /// A lowest-level page that stores no longer announce themselves to, and the reverse.
  void set_unsync(u32 id);
  void set_synced(u32 id);
  const std::vector<u32>& unsynced() const { return unsynced_; }
  /// Guest frames in [first, first + count) that are mapped or shadowed, for removal.
  std::vector<u64> known_within(u64 first, u64 count) const;

 private:
  struct Frame {
    u32 mapped = kNone;  ///< chain of 4K leaves
    u32 pages = kNone;   ///< chain of shadow pages
    u32 guests = kNone;  ///< chain of links to the guest's table
    u32 tables = 0;      ///< of these, shadows of a guest's table
    u32 upper = 0;       ///< ... above the lowest level
    u32 synced = 0;      ///< ... of the lowest level and not unsync
    bool idle() const { return mapped == kNone && pages == kNone && guests == kNone; }
  };
  struct Region {
    u32 mapped = kNone;  ///< chain of large leaves
    u32 tables = 0;      ///< frames in it with tables
    bool idle() const { return mapped == kNone && tables == 0; }
  };
  u32& next(u32 s) { return pages_[s >> 9]->next[s & 511]; }
  u32& prev(u32 s) { return pages_[s >> 9]->prev[s & 511]; }
  void enchain(u32& head, u32 slot);
  void dechain(u32& head, u32 slot);
  u32& mapped(u64 gfn, unsigned level);
  void forget_if_idle(u64 gfn, unsigned level);
  void count_table(u64 gfn, Frame& frame, const ShadowPage& p, int by);
  template <class Function>
  void for_each_mapping(u64 gfn, Function&& f);
  void unlink_by_age(ShadowPage& p);
  void link_newest(u32 id);

  Guest& guest_;
  MachineMemory& memory_;
  Counts* counts_ = nullptr;
  u64 mark_;
  std::vector<std::unique_ptr<ShadowPage>> pages_;
  std::vector<u32> free_;
  std::vector<u32> unsynced_;
  std::unordered_map<u64, Frame> frames_;
  std::unordered_map<u64, Region> regions_[2];  ///< 2M, 1G
  u32 newest_ = kNone, oldest_ = kNone;
  u32 live_ = 0;
};

}  // namespace nestwalk::models::shadow
