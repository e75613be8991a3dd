#include "mmu/tlb_front.h"

#include "mmu/filter.h"

namespace nestwalk::mmu {

namespace {

u8 mask_of(const tlb::Rights& r) {
  return static_cast<u8>((r.read ? right::read : 0) | (r.write ? right::write : 0) | (r.execute ? right::execute : 0) |
                         (r.user ? right::user : 0));
}

tlb::Entry entry_of(u64 linear, u16 pcid, const Leaf& leaf) {
  const u64 page = ~offset_mask(leaf.size);
  tlb::Entry e;
  e.page = (linear & page) >> kPageShift;
  e.frame = (leaf.address & page) >> kPageShift;
  e.pcid = pcid;
  e.size = leaf.size;
  e.whole = leaf.whole;
  e.rights.read = leaf.rights & right::read;
  e.rights.user = leaf.rights & right::user;
  e.rights.write = leaf.rights & right::write;
  e.rights.execute = leaf.rights & right::execute;
  e.rights.dirty = leaf.dirty;
  e.rights.global = leaf.global;
  e.protection_key = leaf.protection_key;
  return e;
}

}  // namespace

TlbFront::TlbFront(LinearStage& stage, const ModelParts& parts, Unpaged unpaged)
    : stage_(stage), tlb_(parts.settings.section("tlb"), parts.seed), unpaged_(unpaged) {
  // Instruction and microcode time of an invalidation beyond the refills it causes. Assumptions: MOV CR3 measures at
  // 200 to 300 cycles on Intel parts, INVLPG at about half of that.
  sim::Section section = parts.settings.section("mmu");
  section.field("flush_page_cycles", flush_page_cycles_, {0, 1'000'000, "cycles"}, "INVLPG, INVPCID of one address");
  section.field("flush_all_cycles", flush_all_cycles_, {0, 1'000'000, "cycles"},
                "MOV CR3 that flushes, other INVPCID, CR4");
  tlb_.set_listener(&parts.filter);
  tlb_.set_access_counts(&parts.counts);
}

void TlbFront::set_paging(const PagingState& state) {
  stage_.set_paging(state, vpid_);
  context_ = static_cast<u16>(vpid_ | pcid_of(state));
  if (!asks_no_tlb()) tlb_.set_pcid(context_);
  switch (stage_.mode()) {
    case PagingMode::four_level: linear_width_ = 48; break;
    case PagingMode::five_level: linear_width_ = 57; break;
    default: linear_width_ = 32; break;
  }
}

void TlbFront::set_vpid(unsigned vpid) {
  vpid_ = static_cast<u16>(vpid << tlb::kVpidShift);
  context_ = static_cast<u16>(vpid_ | (context_ & ~tlb::kVpidMask));
}

void TlbFront::forget_vpid(unsigned vpid, bool with_global) {
  const u16 context = static_cast<u16>(vpid << tlb::kVpidShift);
  tlb_.flush_vpid(context, with_global);
  stage_.invalidate({Invalidation::Kind::all, {}, context});
}

void TlbFront::forget_page(unsigned vpid, LinearAddr address) {
  const u16 context = static_cast<u16>(vpid << tlb::kVpidShift);
  tlb_.flush_vpid_page(address.value, context);
  stage_.invalidate({Invalidation::Kind::all, {}, context});
}

void TlbFront::forget_all() {
  tlb_.flush_all();
  stage_.forget_all();
}

Translation TlbFront::untranslated(u64 address) {
  Translation t;
  t.address = MachineAddr(address);
  t.rights = {true, true, true, true, false};
  t.filterable = true;
  t.handle = Filter::kNoHandle;
  return t;
}

Translation TlbFront::describe(u64 linear, const tlb::Entry& entry, const tlb::Found& found) {
  Translation t;
  t.address = MachineAddr(entry.frame << kPageShift | (linear & offset_mask(entry.size)));
  t.size = entry.size;
  t.rights = entry.rights;
  t.filterable = found.filterable;
  t.handle = found.handle;
  t.touch = found.touch;
  return t;
}

/// While paging is off only the stage below has a say, and it does not tell users from supervisors.
bool TlbFront::allows(const tlb::Entry& entry, Access access) const {
  const tlb::Rights& rights = entry.rights;
  if (stage_.mode() != PagingMode::off) return stage_.allows(mask_of(rights), entry.protection_key, access);
  return access.side == Side::fetch ? rights.execute : access.side == Side::load ? rights.read : rights.write;
}

bool TlbFront::serves(const tlb::Entry& entry, Access access) {
  if (!allows(entry, access)) return ++permission_rewalks_, false;
  if (access.side == Side::store && !entry.rights.dirty) return ++dirty_rewalks_, false;
  if (access.side == Side::load && !entry.rights.read) return ++permission_rewalks_, false;
  return true;
}

Result<Translation> TlbFront::translate(LinearAddr address, Access access, Bill& bill) {
  const u64 linear = truncate(address.value);
  if (asks_no_tlb()) return untranslated(linear);
  if (!is_canonical_here(linear)) return Fault{Fault::Kind::non_canonical, 0, linear};

  const tlb::Found found = tlb_.lookup(linear, context_, access.side, access.user);
  bill.charge(Cause::tlb, found.cycles);
  if (!found.entry || !serves(*found.entry, access)) return walk_and_insert(linear, access, bill);
  Translation t = describe(linear, *found.entry, found);
  t.tlb_level = found.level;
  return t;
}

/// By the stage; while paging is off there is only the one below it, which must allow stores without waiting for CR0.WP.
Result<Leaf> TlbFront::walk(u64 linear, Access access, Bill& bill) {
  Result<Leaf> leaf = stage_.translate(linear, access, bill);
  if (leaf && stage_.mode() == PagingMode::off && !(leaf->rights & right::write)) leaf.value().dirty = false;
  return leaf;
}

Result<Translation> TlbFront::retranslate(LinearAddr address, Access access, Bill& bill) {
  return walk_and_insert(truncate(address.value), access, bill);
}

Result<Translation> TlbFront::walk_and_insert(u64 linear, Access access, Bill& bill) {
  const Result<Leaf> leaf = walk(linear, access, bill);
  if (!leaf) {
    const Fault& fault = leaf.fault();
    // A page fault forgets what would translate its address, so that it does not recur for a stale entry's sake
    // (4.10.4.1), and so does a violation of the address itself (29.4.3.1); the latter spares the other pieces of a guest's
    // page that the host has in smaller ones.
    const bool page_fault = fault.kind == Fault::Kind::page_fault;
    if (page_fault || (fault.kind == Fault::Kind::violation && !(fault.error & Fault::kOfTable))) {
      fault_flushes_ += page_fault ? tlb_.flush_page(linear, context_, true) : tlb_.flush_address(linear, context_);
      stage_.invalidate({Invalidation::Kind::pcid_page, LinearAddr(linear), context_});
    }
    return fault;
  }
  const tlb::Entry entry = entry_of(linear, context_, *leaf);
  Translation t = describe(linear, entry, tlb_.insert(entry, access.side));
  t.tlb_hit = false;
  return t;
}

Result<Translation> TlbFront::probe(LinearAddr address, Access access) const {
  const u64 linear = truncate(address.value);
  if (asks_no_tlb()) return untranslated(linear);
  if (!is_canonical_here(linear)) return Fault{Fault::Kind::non_canonical, 0, linear};

  tlb::Entry entry;
  bool hit = false;
  tlb_.for_each([&](const std::string&, const tlb::Entry& e) {
    const bool same_page = e.page == (linear & ~offset_mask(e.size)) >> kPageShift;
    if (hit || !same_page || (e.rights.global ? !tlb::same_vpid(e.pcid, context_) : e.pcid != context_)) return;
    hit = allows(e, access);
    entry = e;
  });
  if (!hit) {
    const Result<Leaf> leaf = stage_.probe(linear, access);
    if (!leaf) return leaf.fault();
    entry = entry_of(linear, context_, *leaf);
  }
  Translation t = describe(linear, entry, {});
  t.tlb_hit = hit;
  return t;
}

void TlbFront::invalidate(const Invalidation& asked, Bill& bill) {
  Invalidation what = asked;
  what.pcid = static_cast<u16>(vpid_ | what.pcid);
  bool one_page = false;
  switch (what.kind) {
    case Invalidation::Kind::page: what.pcid = context_; [[fallthrough]];
    case Invalidation::Kind::pcid_page:
      one_page = true;
      what.address = LinearAddr(truncate(what.address.value));
      tlb_.flush_page(what.address.value, what.pcid, what.kind == Invalidation::Kind::page);
      break;
    case Invalidation::Kind::pcid: tlb_.flush_pcid(what.pcid); break;
    case Invalidation::Kind::non_global: tlb_.flush_vpid(what.pcid, false); break;
    case Invalidation::Kind::all: tlb_.flush_vpid(what.pcid, true); break;
  }
  stage_.invalidate(what);
  bill.charge(Cause::flush, one_page ? flush_page_cycles_ : flush_all_cycles_);
}

void TlbFront::declare(sim::Stats& stats) {
  tlb_.declare(stats);
  stats.counter("tlb.rewalks.permission", permission_rewalks_, "walks",
                "hits whose cached rights did not allow the access");
  stats.counter("tlb.rewalks.dirty", dirty_rewalks_, "walks", "stores that hit a page cached with its dirty flag clear");
  stats.counter("tlb.fault_flushes", fault_flushes_, "entries", "entries that a page fault on their page took with it");
  stage_.declare(stats);
}

}  // namespace nestwalk::mmu
