#include "mmu/host_stage.h"

namespace nestwalk::mmu {

// ---- tables that the hypervisor must read for the guest -------------------------------------------------------------

void HostDimension::emulate_table(u64 address, u64 from) {
  if (emulated_count_ == emulated_.size()) emulated_count_ = 0;
  emulated_[emulated_count_++] = {address & ~kPageMask, from & ~kPageMask};
}

const HostDimension::Emulated* HostDimension::find_emulated(u64 address) const {
  for (unsigned i = 0; i < emulated_count_; ++i)
    if (emulated_[i].page == (address & ~kPageMask)) return &emulated_[i];
  return nullptr;
}

/// Read, but not writable: what a walk wants to write there is lost.
Leaf HostDimension::answer(const Emulated& e, u64 address) {
  Leaf leaf;
  leaf.address = e.from | (address & kPageMask);
  leaf.rights = right::read | right::user;
  return leaf;
}

Result<Leaf> HostDimension::probe(u64 address, Access access) const {
  const Result<Leaf> leaf = peek(address, access);
  if (leaf || leaf.fault().kind != Fault::Kind::violation || !guest_) return leaf;
  const Backing backing = guest_->look(PhysAddr(address));
  if (backing.kind != Backing::Kind::memory || (access.side == Side::store && !backing.writable)) return leaf;
  Leaf would;
  would.address = backing.address.value;
  would.size = would.whole = backing.size;
  would.rights = static_cast<u8>(right::all & ~(backing.writable ? 0 : right::write));
  would.dirty = backing.writable;
  return would;
}

// ---- HostStage ------------------------------------------------------------------------------------------------------

HostStage::HostStage(sim::Section section, MachineMemory& memory, DataCaches& caches, u64 seed, Commons* commons)
    : shape_(read_shape(section, rules_)),
      memory_(memory),
      tlb_(section.child("tlb"), seed),
      walk_caches_(section.child("pwc"), seed + 1),
      ept_(bottom_, memory, caches, &walk_caches_),
      ept5_(bottom_, memory, caches, &walk_caches_),
      npt_(bottom_, memory, caches, &walk_caches_),
      npt5_(bottom_, memory, caches, &walk_caches_) {
  const auto make = [] { return std::make_shared<Machines>(); };
  machines_ = commons ? commons->shared<Machines>(make) : make();
  each_table([](auto& stage) { stage.become_host(); });
  active_ = shape_.format == HostFormat::ept ? (shape_.levels == 5 ? static_cast<Stage*>(&ept5_) : &ept_)
                                             : (shape_.levels == 5 ? static_cast<Stage*>(&npt5_) : &npt_);
}

HostShape HostStage::read_shape(sim::Section& section, Rules& rules) {
  HostShape shape;
  section.field("format", shape.format, {{"ept", HostFormat::ept}, {"npt", HostFormat::npt}},
                "tables of guest-physical addresses: Intel's extended page tables, or AMD's nested ones");
  section.field("levels", shape.levels, {4, 5, "levels"}, "of these tables");
  section.field("gigabyte_pages", shape.gigabyte_pages, "whether they may map 1G at once");
  section.field("accessed_dirty", rules.accessed_dirty,
                "EPT: accessed and dirty flags, which make reads of guest tables count as writes (from Haswell on)");
  section.field("execute_only", rules.execute_only, "EPT: entries that allow nothing but fetches are not malformed");
  rules.physical_width = 52;  // every machine address is within reach
  rules.gigabyte_pages = shape.gigabyte_pages;
  rules.nxe = rules.report_fetch = true;  // nested paging: the host's EFER.NXE
  return shape;
}

HostTables* HostStage::tables(const Guest& guest) {
  const unsigned n = guest.number();
  const auto& all = machines_->by_number;
  return n < all.size() && all[n] && all[n]->guest == &guest ? &all[n]->tables : nullptr;
}

HostTables& HostStage::made_tables(Guest& guest) {
  if (HostTables* t = tables(guest)) return *t;
  const unsigned n = guest.number();
  auto& all = machines_->by_number;
  if (n >= all.size()) all.resize(n + 1);
  all[n] = std::make_unique<Machine>(Machine{&guest, HostTables(shape_, memory_, guest)});
  forget(guest);  // of another machine that had the number
  return all[n]->tables;
}

void HostStage::use_tables(Guest& guest) {
  const Root root{made_tables(guest).root()};
  context_ = tag_of(guest);
  each_table([&](auto& stage) { stage.set(root, rules_, context_); });
}

bool HostStage::map(Guest& guest, PhysAddr address, const Backing& backing) {
  const u8 rights = right::read | right::execute | (backing.writable ? right::write : 0);
  return made_tables(guest).map(address, backing.address, backing.size, rights);
}

bool HostStage::unmap(Guest& guest, PhysAddr first, u64 bytes) {
  HostTables* const t = tables(guest);
  return t && t->unmap(first, bytes);
}

void HostStage::forget(const Guest& guest) {
  tlb_.flush_context(tag_of(guest));
  walk_caches_.flush_context(tag_of(guest));
}

void HostStage::forget_all() {
  tlb_.flush_all();
  walk_caches_.flush_all();
}

Fault HostStage::out_of_reach(u64 address, Access access) const {
  Fault fault = shape_.format == HostFormat::ept
                    ? Ept::fault(Refusal::not_present, address, access, 0, rules_)
                    : LinearFormat::fault(Refusal::not_present, address, {access.side, true, access.implicit}, 0, rules_);
  fault.kind = Fault::Kind::violation;
  if (access.implicit) fault.error |= Fault::kOfTable;
  return fault;
}

Result<Leaf> HostStage::find(u64 address, Access access, Bill& bill) {
  Leaf held;
  const bool asks = tlb_.serves(access);
  if (asks && tlb_.lookup(address, context_, access, held, bill)) return held;
  // EPT refuses wide addresses by itself; the format of linear addresses knows only canonical ones.
  if (!reaches(address)) return out_of_reach(address, access);
  const Result<Leaf> leaf = active_->translate(address, access, bill);
  if (!leaf) {
    // A violation invalidates the guest-physical mappings that it used (29.4.3.1).
    tlb_.flush_page(address, context_);
    walk_caches_.invalidate<Ia32e<5>>({Invalidation::Kind::pcid_page, LinearAddr(address), context_});
    return leaf;
  }
  if (asks) tlb_.insert(address, context_, *leaf);
  return leaf;
}

Result<Leaf> HostStage::peek(u64 address, Access access) const {
  return reaches(address) ? active_->probe(address, access) : out_of_reach(address, access);
}

bool HostStage::wrote(const Fault& fault) const {
  return fault.error & (shape_.format == HostFormat::ept ? u32{right::write} : pf::write);
}

Refused HostStage::describe(const Fault& fault, bool linear) const {
  const bool table = fault.error & Fault::kOfTable;
  const u64 error = fault.error & ~Fault::kOfTable;
  if (shape_.format == HostFormat::npt) return {fault.address, error | bit(table ? 33 : 32)};
  return {fault.address, error | (linear ? bit(7) | (table ? 0 : bit(8)) : 0)};
}

void HostStage::set_entry_cache(EntryCache* cache) {
  each_table([&](auto& stage) { stage.set_entry_cache(cache); });
}

void HostStage::declare(sim::Stats& stats) {
  tlb_.declare(stats, "nested.tlb");
  walk_caches_.declare(stats, "nested.pwc");
}

}  // namespace nestwalk::mmu
