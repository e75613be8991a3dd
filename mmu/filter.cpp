#include "mmu/filter.h"

namespace nestwalk::mmu {

Filter::Filter(unsigned grain_shift) : shift_(grain_shift), mask_(~low_mask(grain_shift)) {
  for (unsigned kind = 0; kind < 2; ++kind) {
    owners_[kind].filter = this;
    owners_[kind].kind = kind;
  }
}

u64 Filter::context_of(const PagingState& s) {
  // Only what decides rights or which TLB entries match; CR3's base does not: what it changes, an invalidation tells.
  const u64 controls = (s.cr0 & (cr0::pg | cr0::wp)) | (s.cr4 & (cr4::pae | cr4::la57 | cr4::pge | cr4::pse)) << 32 |
                       (s.cr4 & (cr4::smep | cr4::smap | cr4::pcide)) << 32 | (s.efer & (efer::nxe | efer::lma));
  const u16 pcid = pcid_of(s);
  const u32 keys = keys_of(s);
  for (std::size_t i = 0; i < groups_.size(); ++i)
    if (groups_[i].controls == controls && groups_[i].pcid == pcid && groups_[i].keys == keys) return i * 3;
  constexpr std::size_t kGroups = 21;  // 3 variants each in the 6 bits below a line address; 63 stays for kNoKey
  if (groups_.size() == kGroups) {
    drop_all();
    groups_.clear();
  }
  groups_.push_back({controls, pcid, keys});
  return (groups_.size() - 1) * 3;
}

void Filter::fill(Side side, u64 linear, u64 context, u8* host, const tlb::Touch& tlb, u32 tlb_handle,
                  const tlb::Touch& cache, u32 cache_handle) {
  if (!enabled) return;
  Entry& e = at(side, linear);
  const i32 slot = static_cast<i32>(static_cast<unsigned>(side) * kEntries + ((linear >> shift_) & (kEntries - 1)));
  drop(slot);
  e.key = key(linear, context);
  e.addend = reinterpret_cast<u64>(host) - linear;
  e.tlb = tlb.word ? tlb : tlb::Touch{&idle_word_};
  e.cache = cache.word ? cache : tlb::Touch{&idle_word_};
  if (tlb_handle != kNoHandle) link(0, slot, tlb_handle);
  if (cache_handle != kNoHandle) link(1, slot, cache_handle);
}

void Filter::drop(i32 slot) {
  table_[static_cast<unsigned>(slot) / kEntries][static_cast<unsigned>(slot) % kEntries].key = kNoKey;
  for (unsigned kind = 0; kind < 2; ++kind) unlink(kind, slot);
}

void Filter::link(unsigned kind, i32 slot, u32 handle) {
  auto& heads = heads_[kind];
  if (handle >= heads.size()) heads.resize(handle + 1, kNone);
  Link& l = links_[kind][static_cast<unsigned>(slot)];
  l.handle = handle;
  l.previous = kNone;
  l.next = heads[handle];
  if (l.next != kNone) links_[kind][static_cast<unsigned>(l.next)].previous = slot;
  heads[handle] = slot;
}

void Filter::unlink(unsigned kind, i32 slot) {
  Link& l = links_[kind][static_cast<unsigned>(slot)];
  if (l.handle == kNoHandle) return;
  if (l.previous != kNone)
    links_[kind][static_cast<unsigned>(l.previous)].next = l.next;
  else
    heads_[kind][l.handle] = l.next;
  if (l.next != kNone) links_[kind][static_cast<unsigned>(l.next)].previous = l.previous;
  l = Link{};
}

void Filter::drop_owner(unsigned kind, u32 handle) {
  if (handle >= heads_[kind].size()) return;
  while (heads_[kind][handle] != kNone) drop(heads_[kind][handle]);
}

void Filter::drop_side(Side side) {
  for (unsigned i = 0; i < kEntries; ++i) drop(static_cast<i32>(static_cast<unsigned>(side) * kEntries + i));
}

void Filter::drop_all() {
  for (unsigned side = 0; side < tlb::kSides; ++side) drop_side(static_cast<Side>(side));
}

}  // namespace nestwalk::mmu
