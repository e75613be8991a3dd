#include "mmu/port.h"

#include <algorithm>

namespace nestwalk::mmu {

namespace {
constexpr u64 kNoContext = 63;  // reserved: no entry is ever filled under it (Filter::context_of)
constexpr u64 kLineBytes = 64;  // granule of instruction fetch
}  // namespace

Port::Port(MmuModel& model, DataCaches& caches, MachineMemory& memory, Filter& filter, tlb::AccessCounts& counts,
           sim::Clock& clock)
    : model_(model),
      caches_(caches),
      memory_(memory),
      filter_(filter),
      counts_(counts),
      clock_(clock),
      row_(counts.unpaged),
      by_line_(caches.model() == CacheModel::full) {
  set_paging({});
}

// ---- context ---------------------------------------------------------------------------------------------------------

void Port::set_paging(const PagingState& state) {
  state_ = state;
  bill_.clear();
  model_.set_paging(state, bill_);
  if (bill_.total()) pay(bill_);
  base_context_ = filter_.context_of(state);
  if (observer_) observer_->paging(state);
  refresh();
}

void Port::set_privilege(bool user, bool ac) {
  if (user != user_) settle();
  user_ = user;
  if (ac != ac_) {
    ac_ = ac;
    state_.ac = ac;
    bill_.clear();
    model_.set_paging(state_, bill_);
    if (bill_.total()) pay(bill_);
    if (observer_) observer_->paging(state_);
  }
  refresh();
}

void Port::refresh() {
  checks_alignment_ = user_ && ac_ && (state_.cr0 & cr0::am);
  const bool watched = watching_ || observer_ || checks_alignment_ || monitoring_;
  context_ = watched ? kNoContext
                     : base_context_ + (user_                             ? Filter::user
                                        : ac_ && (state_.cr4 & cr4::smap) ? Filter::supervisor_ac
                                                                          : Filter::supervisor);
  const bool unpaged = mode_of(state_) == PagingMode::off && !model_.translates_unpaged();
  row_ = unpaged ? counts_.unpaged : counts_.paged[user_];
}

void Port::resume() {
  filter_.drop_all();
  set_paging(state_);
}

void Port::forget_stores() {
  filter_.drop_side(Side::store);
  for (Filter* f : memory_.filters())
    if (f != &filter_) f->drop_side(Side::store);
}

void Port::invalidate(const Invalidation& what) {
  bill_.clear();
  model_.invalidate(what, bill_);
  pay(bill_);
  if (observer_) observer_->invalidate(what);
}

void Port::set_observer(Observer* o) {
  observer_ = o;
  refresh();
}

void Port::set_watches(const std::array<Watch, 4>& watches) {
  watches_ = watches;
  watching_ = std::any_of(watches.begin(), watches.end(), [](const Watch& w) { return w.bytes != 0; });
  refresh();
}

void Port::arm_monitor(MachineAddr address) {
  monitored_ = address.value & ~u64{63};
  const u8* line = memory_.host(MachineAddr(monitored_));
  if (!line) return disarm_monitor();  // a device's register: nothing to watch
  std::memcpy(line_bytes_.data(), line, line_bytes_.size());
  monitoring_ = true;
  refresh();
}

void Port::disarm_monitor() {
  monitoring_ = false;
  refresh();
}

bool Port::monitoring() {
  if (!monitoring_) return false;
  if (std::memcmp(memory_.host(MachineAddr(monitored_)), line_bytes_.data(), line_bytes_.size()) != 0) disarm_monitor();
  return monitoring_;
}

void Port::pay(const Bill& bill) {
  clock_.cycles += bill.total();
  billed_ += bill.total();
  auto& by_cause = account_[user_].by_cause;
  bill.for_each([&](Cause c, Cycles n) { by_cause[static_cast<unsigned>(c)] += n; });
}

void Port::settle() {
  const Cycles fixed = clock_.cycles - billed_;
  account_[user_].instructions += clock_.instructions - settled_instructions_;
  account_[user_].by_cause[static_cast<unsigned>(Cause::instruction)] += fixed - settled_fixed_;
  settled_instructions_ = clock_.instructions;
  settled_fixed_ = fixed;
}

u64 Port::instructions_of(bool user) const {
  return account_[user].instructions + (user == user_ ? clock_.instructions - settled_instructions_ : 0);
}

Cycles Port::fixed_of(bool user) const {
  return account_[user].by_cause[static_cast<unsigned>(Cause::instruction)] +
         (user == user_ ? clock_.cycles - billed_ - settled_fixed_ : 0);
}

/// A walk may find all it needs in its own caches.
void Port::record_walk(Access access, const Result<Translation>& t) {
  if (bill_.read_count() || bill_.of(Cause::pwc) || bill_.of(Cause::nested_tlb))
    walks_.record(bill_, access, t.ok(), t.ok() ? t->size : PageSize::k4K);
}

// ---- the slow half ---------------------------------------------------------------------------------------------------

Result<Place> Port::translate(LinearAddr a, unsigned bytes, Access access) {
  access.bytes = static_cast<u8>(bytes);
  const unsigned side = static_cast<unsigned>(access.side);
  // An implicit access is the supervisor's whatever the CPL.
  u64& count = access.implicit && row_ != counts_.unpaged ? counts_.paged[0][side] : row_[side];
  ++count;
  ++counts_.ordinal;
  bill_.clear();
  const Result<Translation> t = model_.translate(a, access, bill_);
  record_walk(access, t);
  if (!t) {
    // What is not canonical asks no TLB.
    if (t.fault().kind == Fault::Kind::non_canonical)
      --count;
    else
      ++counts_.uncached[side];
    pay(bill_);
    if (observer_) observer_->access(a, bytes, access, t, bill_);
    return t.fault();
  }

  Place place{t->device ? nullptr : memory_.host(t->address), t->address, false, true};
  CacheAnswer line;
  if (place.host) {
    if (by_line_) {
      const unsigned shift = caches_.line_shift();
      const u64 first = t->address.value >> shift, last = (t->address.value + bytes - 1) >> shift;
      const Cause cause = access.side == Side::fetch ? Cause::fetch : Cause::data;
      for (u64 l = first; l <= last; ++l) {
        if (l != first) ++counts_.split[access.user][side], ++counts_.ordinal;
        line = caches_.access(l == first ? t->address : MachineAddr(l << shift), access.side, access.user);
        bill_.charge(cause, line.cycles);
      }
      if (first != last) line.filterable = false;
    }
    if (access.side == Side::store) {
      if (NW_UNLIKELY(monitoring_) && t->address.value < monitored_ + 64 && monitored_ < t->address.value + bytes)
        disarm_monitor();
      place.code = memory_.holds_code(t->address);
      place.writable = !t->stores_lost && memory_.is_writable(t->address);
    }
    const bool known = t->filterable && !place.code && place.writable && (!by_line_ || line.filterable);
    if (known && !access.implicit && context_ != kNoContext) {
      const u64 grain = ~low_mask(filter_.grain_shift());
      u8* host = place.host - (a.value & ~grain);
      filter_.fill(access.side, a.value & grain, context_, host, t->touch, t->handle, line.touch,
                   by_line_ ? line.handle : Filter::kNoHandle);
    }
  } else {
    ++counts_.uncached[side];
    bill_.charge(Cause::mmio, mmio_cycles);
  }
  pay(bill_);
  if (observer_) observer_->access(a, bytes, access, t, bill_);
  if (watching_ && access.side != Side::fetch && !access.implicit)
    for (unsigned n = 0; n < watches_.size(); ++n) {
      const Watch& w = watches_[n];
      const bool overlaps = a.value < w.address + w.bytes && w.address < a.value + bytes;
      if (w.bytes && overlaps && (w.loads || access.side == Side::store)) watch_hits_ |= 1u << n;
    }
  return place;
}

u64 Port::load_physical(PhysAddr a) {
  bill_.clear();
  const Result<Translation> t = model_.physical(a, bill_);
  record_walk(Access{}, t);
  pay(bill_);
  const u8* host = t && !t->device ? memory_.host(t->address) : nullptr;
  return host ? read_host<u64>(host) : ~u64{0};
}

Result<Done> Port::resolve(LinearAddr a, unsigned bytes, Access access, Place& first, Place& second) {
  // Wider operands are those of vector instructions, which check for themselves or not at all (SDM vol. 2, 2.4).
  const bool checked = checks_alignment_ && !access.implicit && bytes <= 8 && std::has_single_bit(bytes);
  if (checked && (a.value & (bytes - 1)) && is_canonical(a.value, state_.cr4 & cr4::la57 ? 57 : 48))
    return Fault{Fault::Kind::alignment, 0, a.value};
  const unsigned here = static_cast<unsigned>(std::min<u64>(bytes, kPageBytes - a.page_offset()));
  auto r = translate(a, here, access);
  if (!r) return r.fault();
  first = *r;
  if (here < bytes) {
    LinearAddr next = a + here;
    if (!(state_.efer & efer::lma)) next = LinearAddr(static_cast<u32>(next.value));
    auto r2 = translate(next, bytes - here, access);
    if (!r2) return r2.fault();
    second = *r2;
  }
  return Done{};
}

Result<Done> Port::load_bytes(LinearAddr a, void* to, unsigned bytes, Access access) {
  Place first, second;
  if (auto r = resolve(a, bytes, access, first, second); !r) return r;
  read_places(a, to, bytes, first, second);
  return Done{};
}

Result<Done> Port::store_bytes(LinearAddr a, const void* from, unsigned bytes, Access access) {
  Place first, second;
  if (auto r = resolve(a, bytes, access, first, second); !r) return r;
  write_places(a, from, bytes, first, second);
  return Done{};
}

Result<Done> Port::probe_write(LinearAddr a, unsigned bytes) {
  Place first, second;
  return resolve(a, bytes, explicit_access(Side::store), first, second);
}

void Port::read_places(LinearAddr a, void* to, unsigned bytes, const Place& first, const Place& second) {
  const unsigned here = static_cast<unsigned>(std::min<u64>(bytes, kPageBytes - a.page_offset()));
  read_place(first, to, here);
  if (here < bytes) read_place(second, static_cast<u8*>(to) + here, bytes - here);
}

void Port::write_places(LinearAddr a, const void* from, unsigned bytes, const Place& first, const Place& second) {
  const unsigned here = static_cast<unsigned>(std::min<u64>(bytes, kPageBytes - a.page_offset()));
  write_place(first, from, here);
  if (here < bytes) write_place(second, static_cast<const u8*>(from) + here, bytes - here);
}

void Port::read_place(const Place& p, void* to, unsigned bytes) {
  if (p.host) {
    std::memcpy(to, p.host, bytes);
    return;
  }
  // A register access keeps its width where there is one (1, 2, 4, 8); others are made of the widest pieces that fit.
  for (unsigned done = 0; done < bytes;) {
    const unsigned n = std::bit_floor(std::min(bytes - done, 8u));
    const u64 v = bus_->read(PhysAddr(p.machine.value + done), n);
    std::memcpy(static_cast<u8*>(to) + done, &v, n);
    done += n;
  }
}

void Port::write_place(const Place& p, const void* from, unsigned bytes) {
  if (p.host) {
    if (!p.writable) return;
    std::memcpy(p.host, from, bytes);
    if (p.code) memory_.code_written(p.machine, bytes);
    return;
  }
  for (unsigned done = 0; done < bytes;) {
    const unsigned n = std::bit_floor(std::min(bytes - done, 8u));
    u64 v = 0;
    std::memcpy(&v, static_cast<const u8*>(from) + done, n);
    bus_->write(PhysAddr(p.machine.value + done), v, n);
    done += n;
  }
}

// ---- fetch -----------------------------------------------------------------------------------------------------------

Result<Place> Port::fetch_line(u64 linear) {
  if (Filter::Entry* e = fetch_entry(linear)) {
    ++row_[static_cast<unsigned>(Side::fetch)];
    replay(e->tlb);
    if (by_line_) replay(e->cache);
    return Place{reinterpret_cast<u8*>(linear + e->addend), MachineAddr(), false, true};
  }
  const unsigned bytes = static_cast<unsigned>(kLineBytes - (linear & (kLineBytes - 1)));
  return translate(LinearAddr(linear), bytes, explicit_access(Side::fetch));
}

Result<Done> Port::fetch_lines(u64 linear, u64 lines) {
  for (; lines; --lines) {
    Filter::Entry* const e = by_line_ ? fetch_entry(linear) : nullptr;
    if (NW_LIKELY(e != nullptr))
      fetch_line_of(*e);
    else if (auto r = fetch_line(linear); !r)
      return r.fault();
    linear = (linear & ~(kLineBytes - 1)) + kLineBytes;
  }
  return Done{};
}

// ---- statistics --------------------------------------------------------------------------------------------------------

void Port::declare(sim::Stats& stats) {
  stats.counter("instructions", clock_.instructions, "instructions", "retired instructions");
  stats.counter("cycles", clock_.cycles, "cycles", "cycles of the core, idle included");
  const char* const who[2] = {"kernel", "user"};
  for (const bool u : {false, true})
    stats.counter(
        std::string("instructions.") + who[u], [this, u] { return instructions_of(u); }, "instructions",
        std::string("retired instructions, ") + who[u]);
  for (unsigned c = 0; c < kCauses; ++c) {
    const auto cause = static_cast<Cause>(c);
    const auto of = [this, c](bool u) {
      return c == static_cast<unsigned>(Cause::instruction) ? fixed_of(u) : account_[u].by_cause[c];
    };
    stats.counter(
        std::string("cycles.") + name_of(cause), [of] { return of(false) + of(true); }, "cycles",
        nestwalk::describe(cause));
    for (const bool u : {false, true})
      stats.counter(
          std::string("cycles.") + who[u] + "." + name_of(cause), [of, u] { return of(u); }, "cycles",
          std::string(nestwalk::describe(cause)) + ", " + who[u]);
  }
  const char* const sides[tlb::kSides] = {"fetch", "load", "store"};
  for (unsigned u = 0; u < 2; ++u)
    for (unsigned s = 0; s < tlb::kSides; ++s)
      stats.counter(std::string("accesses.") + who[u] + "." + sides[s], counts_.paged[u][s], "accesses",
                    std::string("accesses that asked the TLB: ") + sides[s] + ", " + who[u]);
  for (unsigned s = 0; s < tlb::kSides; ++s)
    stats.counter(std::string("accesses.unpaged.") + sides[s], counts_.unpaged[s], "accesses",
                  std::string("accesses with paging off: ") + sides[s]);
  walks_.declare(stats);
}

}  // namespace nestwalk::mmu
