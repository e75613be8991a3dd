#include "mmu/nested_tlb.h"

namespace nestwalk::mmu {

NestedTlb::NestedTlb(sim::Section section, u64 seed) {
  section.field("entries", entries_, {0, 1u << 20, "entries"}, "translations of guest-physical addresses; 0: no such TLB");
  section.field("latency", latency_, {0, 1000, "cycles"}, "of one look-up, hit or miss");
  section.field("data", data_, "whether it also holds the pages that accesses end at, not only those of guest tables");
  if (entries_ == 0) {
    section.allow_unused();
    return;
  }
  const tlb::Geometry geometry = tlb::read_geometry(section, entries_);
  array_ = std::make_unique<Array>(geometry, tlb::make_policy(section, geometry.sets, geometry.ways, seed));
}

bool NestedTlb::allows(const Held& held, Access access) {
  switch (access.side) {
    case Side::fetch: return held.rights & right::execute;
    case Side::load: return held.rights & right::read;
    case Side::store: return (held.rights & right::write) && held.dirty;
  }
  return false;
}

bool NestedTlb::lookup(u64 address, u16 context, Access access, Leaf& leaf, Bill& bill) {
  ++lookups_;
  ++now_;
  bill.charge(Cause::nested_tlb, latency_);
  for (const PageSize size : tlb::kAllSizes) {
    if (residents_[tlb::number_of(size)] == 0) continue;
    const u64 number = address >> shift_of(size);
    const u32 set = array_->set_of(number), way = array_->find(set, tag_of(number, size, context));
    if (way == Array::kNone) continue;
    const Held& held = array_->at(set, way);
    // One that would refuse is passed over, as in the other TLBs: rights raised without INVEPT cost a walk.
    if (!allows(held, access)) return false;
    ++hits_;
    array_->touch(set, way, now_);
    leaf.address = held.frame | (address & offset_mask(size));
    leaf.size = leaf.whole = size;
    leaf.rights = held.rights;
    leaf.dirty = held.dirty;
    return true;
  }
  return false;
}

void NestedTlb::insert(u64 address, u16 context, const Leaf& leaf) {
  flush_page(address, context);
  const u64 number = address >> shift_of(leaf.size);
  const u32 set = array_->set_of(number);
  Array::Displaced displaced;
  array_->insert(set, tag_of(number, leaf.size, context),
                 {leaf.address & ~offset_mask(leaf.size), leaf.size, leaf.rights, leaf.dirty}, now_, displaced);
  ++residents_[tlb::number_of(leaf.size)];
  if (displaced.any) --residents_[tlb::number_of(displaced.payload.size)];
}

void NestedTlb::erase(u32 set, u32 way) {
  --residents_[tlb::number_of(array_->at(set, way).size)];
  array_->erase(set, way);
}

void NestedTlb::flush_page(u64 address, u16 context) {
  if (!array_) return;
  for (const PageSize size : tlb::kAllSizes) {
    if (residents_[tlb::number_of(size)] == 0) continue;
    const u64 number = address >> shift_of(size);
    const u32 set = array_->set_of(number), way = array_->find(set, tag_of(number, size, context));
    if (way != Array::kNone) erase(set, way);
  }
}

template <class Matches>
void NestedTlb::flush_if(Matches&& matches) {
  if (!array_) return;
  array_->for_each([&](u32 set, u32 way) {
    if (!matches(array_->tag(set, way))) return;
    erase(set, way);
    ++flushed_;
  });
}

void NestedTlb::flush_context(u16 context) {
  flush_if([&](u64 tag) { return static_cast<u16>(tag) == context; });
}

void NestedTlb::flush_all() {
  flush_if([](u64) { return true; });
}

void NestedTlb::declare(sim::Stats& stats, const std::string& prefix) {
  if (!array_) return;
  stats.counter(prefix + ".lookups", lookups_, "lookups", "guest-physical addresses asked of the nested TLB");
  stats.counter(prefix + ".hits", hits_, "lookups", "answered without a walk of the hypervisor's tables");
  stats.counter(
      prefix + ".misses", [this] { return lookups_ - hits_; }, "lookups", "for which those tables were walked");
  stats.ratio(prefix + ".hit_rate", prefix + ".hits", prefix + ".lookups", "share answered without a walk");
  stats.counter(prefix + ".flushed", flushed_, "entries", "entries that left by INVEPT");
}

}  // namespace nestwalk::mmu
