// A TLB of guest-physical addresses ("nested TLB": Bhargava et al., ASPLOS 2008; "guest-physical mappings": SDM vol. 3,
// 29.4.2). It is asked wherever a two-dimensional walk needs a machine address, belongs to no linear address, and therefore
// survives INVLPG and MOV to CR3; its entries are tagged with the tables they come from (EPTRTA, nCR3).
#pragma once

#include <memory>

#include "base/bill.h"
#include "mmu/walk.h"
#include "sim/settings.h"
#include "sim/stats.h"
#include "tlb/array.h"
#include "tlb/group.h"

namespace nestwalk::mmu {

class NestedTlb {
 public:
  /// Reads entries, ways, index, policy, latency and data below `section`. Throws sim::ConfigError.
  NestedTlb(sim::Section section, u64 seed);

  /// Whether it holds translations of this kind of access: those to entries of the guest's tables, or (key `data`) all.
  bool serves(Access access) const { return array_ && (access.implicit || data_); }
  /// Pays for a look-up. True: `leaf` is the translation, and its rights and dirty flag suffice for the access.
  bool lookup(u64 address, u16 context, Access access, Leaf& leaf, Bill& bill);
  void insert(u64 address, u16 context, const Leaf& leaf);

  void flush_page(u64 address, u16 context);
  void flush_context(u16 context);
  void flush_all();
  void declare(sim::Stats& stats, const std::string& prefix);

 private:
  struct Held {
    u64 frame = 0;  ///< machine address of the page
    PageSize size = PageSize::k4K;
    u8 rights = 0;
    bool dirty = false;
  };
  using Array = tlb::Array<Held>;
  static u64 tag_of(u64 number, PageSize size, u16 context) {
    return number << 18 | u64{tlb::number_of(size)} << 16 | context;
  }
  static bool allows(const Held& held, Access access);
  void erase(u32 set, u32 way);
  template <class Matches>
  void flush_if(Matches&& matches);

  u32 entries_ = 64;
  Cycles latency_ = 1;
  bool data_ = true;
  std::unique_ptr<Array> array_;
  u32 residents_[tlb::kPageSizes] = {};
  u64 now_ = 0, lookups_ = 0, hits_ = 0, flushed_ = 0;
};

}  // namespace nestwalk::mmu
