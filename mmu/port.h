// The one door to memory: a core loads, stores, updates and fetches through Port and nothing else. A hit in the L0 filter
// is retired here; everything else is one virtual call into the MMU model, whose bill is paid onto the core's clock.
#pragma once

#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/bill.h"
#include "base/bits.h"
#include "base/result.h"
#include "mmu/access.h"
#include "mmu/data_cache.h"
#include "mmu/filter.h"
#include "mmu/memory.h"
#include "mmu/model.h"
#include "mmu/walk_stats.h"
#include "sim/clock.h"
#include "sim/stats.h"

namespace nestwalk::mmu {

/// What a core spent and did under one privilege. Instructions and their fixed costs are not counted here one by one: what
/// the clock gained since the last change of privilege belongs to the present one.
struct Account {
  u64 instructions = 0;
  Cycles by_cause[kCauses] = {};
};

/// Where an access lands.
struct Place {
  u8* host = nullptr;  ///< nullptr: not memory, ask the bus
  MachineAddr machine;
  bool code = false;     ///< the page holds decoded code: tell the memory after writing
  bool writable = true;  ///< false: ROM, drop the store
};

/// A spectator of everything that passes the port; while one is set, the filter is off.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void access(LinearAddr, unsigned /*bytes*/, Access, const Result<Translation>&, const Bill&) {}
  virtual void invalidate(const Invalidation&) {}
  virtual void paging(const PagingState&) {}
};

class Port {
 public:
  Port(MmuModel& model, DataCaches& caches, MachineMemory& memory, Filter& filter, tlb::AccessCounts& counts,
       sim::Clock& clock);

  // ---- context -----------------------------------------------------------------------------------------------------
  /// What answers where there is no memory; must be set before such an access is made.
  void set_bus(Bus* bus) { bus_ = bus; }
  /// The core turns to this port after it served another: nothing that the filter knows is ours.
  void resume();
  /// Control registers changed. Flushes nothing by itself.
  void set_paging(const PagingState& state);
  /// CPL or EFLAGS.AC changed.
  void set_privilege(bool user, bool ac);
  void invalidate(const Invalidation& what);
  const PagingState& paging() const { return state_; }
  bool user() const { return user_; }

  // ---- accesses ----------------------------------------------------------------------------------------------------
  /// Explicit accesses at the current privilege. Little-endian, any alignment; T is trivially copyable, up to 64 bytes.
  template <class T>
  Result<T> load(LinearAddr a) {
    if (u8* p = hit<Side::load>(a.value, sizeof(T))) return read_host<T>(p);
    return load_miss<T>(a, explicit_access(Side::load));
  }
  template <class T>
  Result<Done> store(LinearAddr a, const T& v) {
    if (u8* p = hit<Side::store>(a.value, sizeof(T))) {
      std::memcpy(p, &v, sizeof v);
      return Done{};
    }
    return store_bytes(a, &v, sizeof v, explicit_access(Side::store));
  }
  /// Read-modify-write: one translation with write intent. `f` maps the old value to the new one; returns the old value.
  template <class T, class F>
  Result<T> update(LinearAddr a, F&& f) {
    if (u8* p = hit<Side::store>(a.value, sizeof(T))) {
      const T old = read_host<T>(p);
      const T now = f(old);
      std::memcpy(p, &now, sizeof now);
      return old;
    }
    return update_miss<T>(a, explicit_access(Side::store), f);
  }
  /// Accesses the processor makes for itself (descriptor tables, TSS): supervisor rights whatever the CPL.
  template <class T>
  Result<T> load_system(LinearAddr a) {
    return load_miss<T>(a, Access{Side::load, false, true});
  }
  template <class T>
  Result<Done> store_system(LinearAddr a, const T& v) {
    return store_bytes(a, &v, sizeof v, Access{Side::store, false, true});
  }

  /// By physical address, as the processor reads PDPTEs; all ones where there is no memory.
  u64 load_physical(PhysAddr a);

  /// Fast half of an access: the host address when the filter knows the answer, else nullptr and nothing has happened.
  template <Side side>
  NW_INLINE u8* hit(u64 linear, unsigned bytes) {
    Filter::Entry& e = filter_.at(side, linear);
    if (NW_UNLIKELY(e.key != filter_.key(linear + bytes - 1, context_))) return nullptr;
    ++row_[static_cast<unsigned>(side)];
    replay(e.tlb);
    if (by_line_) replay(e.cache);
    return reinterpret_cast<u8*>(linear + e.addend);
  }
  /// What a hit does to replacement state. Only true LRU needs a new ordinal, and it needs no more than that a later touch
  /// has a larger one.
  NW_INLINE void replay(const tlb::Touch& t) {
    if (t.keep == tlb::Touch::kStamp)
      *t.word = ++counts_.ordinal;
    else
      *t.word = (*t.word & t.keep) | t.set;
  }
  /// The front end fetches a whole block, line by line (64 bytes), before its first instruction executes. The filter's
  /// entry for the first line, or nullptr when the model must be asked (`fetch_line`); touches and counts nothing.
  NW_INLINE Filter::Entry* fetch_entry(u64 linear) {
    Filter::Entry& e = filter_.at(Side::fetch, linear);
    return NW_LIKELY(e.key == filter_.key(linear, context_)) ? &e : nullptr;
  }
  /// The same where the grain is known to be a page.
  NW_INLINE Filter::Entry* fetch_page_entry(u64 linear) {
    Filter::Entry& e = filter_.at_page(Side::fetch, linear);
    return NW_LIKELY(e.key == ((linear & ~kPageMask) | context_)) ? &e : nullptr;
  }
  /// Whether the filter's grain is a line: then every line of a block must be fetched (`fetch_lines`).
  bool by_line() const { return by_line_; }
  /// Retires the fetch of `lines` lines of a block that all lie on the page behind `e`; not when by_line().
  NW_INLINE void fetch_block(Filter::Entry& e, u64 lines) {
    row_[static_cast<unsigned>(Side::fetch)] += lines;
    replay(e.tlb);
  }
  /// Retires the fetch of the one line behind `e`; when by_line().
  NW_INLINE void fetch_line_of(Filter::Entry& e) {
    ++row_[static_cast<unsigned>(Side::fetch)];
    replay(e.tlb);
    replay(e.cache);
  }
  /// One access to the line of `linear` for the instruction bytes in it.
  Result<Place> fetch_line(u64 linear);
  /// `lines` accesses, the first to the line of `linear`.
  Result<Done> fetch_lines(u64 linear, u64 lines);

  /// Slow half: translates one piece that lies in one page, bills it, fills the filter.
  Result<Place> translate(LinearAddr a, unsigned bytes, Access access);
  Result<Done> load_bytes(LinearAddr a, void* to, unsigned bytes, Access access);
  Result<Done> store_bytes(LinearAddr a, const void* from, unsigned bytes, Access access);
  /// Translates all of [a, a + bytes) for writing without writing: faults come before any effect.
  Result<Done> probe_write(LinearAddr a, unsigned bytes);

  // ---- data breakpoints (SDM vol. 3, 17.2.4)
  // -----------------------------------------------------------------------------
  struct Watch {
    u64 address = 0, bytes = 0;  ///< no watch when bytes is 0
    bool loads = false;          ///< reads as well as writes
  };
  /// While any watch is set, the filter is not consulted.
  void set_watches(const std::array<Watch, 4>& watches);
  /// Bit n: watch n was hit since the last call.
  unsigned take_watch_hits() { return std::exchange(watch_hits_, 0u); }

  // ---- address monitoring (MONITOR, MWAIT)
  // -------------------------------------------------------------------------------
  /// Watches the 64-byte line of `address` for stores, by the core or (seen in its bytes) by anybody else. Until then the
  /// filter is not consulted.
  void arm_monitor(MachineAddr address);
  void disarm_monitor();
  /// Whether a line is watched and has not been stored to.
  bool monitoring();

  Access explicit_access(Side side) const { return {side, user_, false}; }
  /// The bill of the present access, for what a platform adds to it.
  Bill& fresh_bill() {
    bill_.clear();
    return bill_;
  }

  // ---- bookkeeping -------------------------------------------------------------------------------------------------
  /// A page is about to hold decoded code: no store to it may be retired by a filter any more.
  void forget_stores();
  void set_observer(Observer* o);
  void pay(const Bill& bill);
  void pay(Cause cause, Cycles cycles) {
    clock_.cycles += cycles;
    book(cause, cycles);
  }
  /// Books cycles that the clock has already taken (a halt that jumped to the next event).
  void book(Cause cause, Cycles cycles) {
    billed_ += cycles;
    account_[user_].by_cause[static_cast<unsigned>(cause)] += cycles;
  }
  /// Settled accounts: exact for every cause but `instruction`, and for that up to the last change of privilege.
  const Account& account(bool user) const { return account_[user]; }
  const tlb::AccessCounts& counts() const { return counts_; }
  MachineMemory& memory() { return memory_; }
  MmuModel& model() { return model_; }
  void declare(sim::Stats& stats);

  Cycles mmio_cycles = 200;  ///< per device register access

 private:
  template <class T>
  static T read_host(const u8* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  template <class T>
  __attribute__((noinline)) Result<T> load_miss(LinearAddr a, Access access) {
    T v;
    if (auto r = load_bytes(a, &v, sizeof v, access); !r) return r.fault();
    return v;
  }
  template <class T, class F>
  Result<T> update_miss(LinearAddr a, Access access, F& f) {
    Place first, second;
    if (auto r = resolve(a, sizeof(T), access, first, second); !r) return r.fault();
    T old;
    read_places(a, &old, sizeof old, first, second);
    const T now = f(old);
    write_places(a, &now, sizeof now, first, second);
    return old;
  }
  Result<Done> resolve(LinearAddr a, unsigned bytes, Access access, Place& first, Place& second);
  void read_places(LinearAddr a, void* to, unsigned bytes, const Place& first, const Place& second);
  void write_places(LinearAddr a, const void* from, unsigned bytes, const Place& first, const Place& second);
  void read_place(const Place& p, void* to, unsigned bytes);
  void write_place(const Place& p, const void* from, unsigned bytes);
  void refresh();
  void record_walk(Access access, const Result<Translation>& t);
  void settle();
  u64 instructions_of(bool user) const;
  Cycles fixed_of(bool user) const;

  MmuModel& model_;
  DataCaches& caches_;
  MachineMemory& memory_;
  Filter& filter_;
  tlb::AccessCounts& counts_;
  sim::Clock& clock_;
  Bus* bus_ = nullptr;
  u64* row_;         ///< counts of the present privilege
  u64 context_ = 0;  ///< filter context of the present privilege; kNoContext: never hits
  u64 base_context_ = 0;
  bool by_line_;
  bool user_ = false;
  bool checks_alignment_ = false;
  bool ac_ = false;
  PagingState state_;
  Observer* observer_ = nullptr;
  std::array<Watch, 4> watches_{};
  bool watching_ = false;
  unsigned watch_hits_ = 0;
  bool monitoring_ = false;
  u64 monitored_ = 0;                ///< machine address of the line
  std::array<u8, 64> line_bytes_{};  ///< as they were
  Bill bill_;
  Account account_[2];            ///< [user], settled up to the last change of privilege
  Cycles billed_ = 0;             ///< of the clock's cycles, those with a cause other than `instruction`
  u64 settled_instructions_ = 0;  ///< clock_.instructions and fixed cycles at that change
  Cycles settled_fixed_ = 0;
  WalkStats walks_;
};

}  // namespace nestwalk::mmu
