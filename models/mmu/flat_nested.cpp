// Nested paging over a flat table: Ahn, Jin, Huh, "Revisiting Hardware-Assisted Page Walks for Virtualized Systems", ISCA
// 2012. The hypervisor's table is one array with an entry per guest-physical page, so that a guest-physical address costs
// one read and a cold walk of a 4-level guest 9 instead of 24. Parameters: nested.tlb.* (a nested TLB as in `nested`),
// nested.vpid.
//
// Left out: the speculative inverted shadow table of the same paper; the array's contiguity (its 4K pieces are taken as
// guest memory is mapped and lie where the hypervisor has room; the reads and their lines are the same); accessed and dirty
// flags, so reads of guest tables are reads. Added: an entry can say that the host's page is one of 2M, as the paper's
// evaluation with 4K pages does not need.
#include "mmu/two_dimensional.h"

namespace nestwalk::models {
namespace {

using namespace nestwalk::mmu;

constexpr u64 kEntries = kPageBytes / 8;  // of a piece: one for each 4K of 2M of guest-physical addresses
constexpr u64 kRights = right::read | right::write | right::execute, kLarge = 0x80, kFrame = LinearFormat::kAddress;

/// The array of one machine.
class FlatTable {
 public:
  static constexpr unsigned kWidth = 40;  ///< guest-physical addresses within reach

  FlatTable(MachineMemory& memory, Guest& guest) : memory_(memory), guest_(guest) {}
  const Guest& guest() const { return guest_; }

  /// Where the entry lies; 0: in a piece that is not there.
  u64 place(u64 address) const {
    const u64 piece = address >> 21;
    return piece < pieces_.size() && pieces_[piece] ? pieces_[piece] + 8 * ((address >> kPageShift) % kEntries) : 0;
  }
  u64 get(u64 at) const { return memory_.peek<u64>(MachineAddr(at)); }

  /// True: something cached may be wrong now.
  bool map(u64 address, const Backing& backing) {
    const u64 piece = made(address >> 21), rights = backing.writable ? kRights : kRights & ~u64{right::write};
    if (backing.size >= PageSize::k2M && is_empty(piece)) {
      const u64 first = backing.address.value & ~low_mask(21);
      for (u64 i = 0; i < kEntries; ++i) put(piece + 8 * i, (first + i * kPageBytes) | rights | kLarge);
      return false;
    }
    const u64 at = place(address), old = get(at), now = (backing.address.value & kFrame) | rights;
    if ((old & ~kLarge) == now) return false;
    const bool broken = old & kLarge && break_large(piece);
    put(at, now);
    return broken || (old & kRights & ~now) || ((old & kRights) && (old & kFrame) != (now & kFrame));
  }

  bool unmap(u64 first, u64 bytes) {
    bool changed = false;
    const u64 end = bytes > bit(kWidth) || first + bytes > bit(kWidth) ? bit(kWidth) : first + bytes;
    for (u64 n = first >> 21; n < pieces_.size() && n << 21 < end; ++n) {
      if (!pieces_[n]) continue;
      for (u64 i = 0; i < kEntries; ++i) {
        const u64 page = (n << 21) + i * kPageBytes, at = pieces_[n] + 8 * i;
        if (page < first || page >= end || !get(at)) continue;
        if (get(at) & kLarge) break_large(pieces_[n]);
        put(at, 0);
        changed = true;
      }
      if (is_empty(pieces_[n])) {
        guest_.give_frame(MachineAddr(pieces_[n]));
        pieces_[n] = 0;
      }
    }
    return changed;
  }

 private:
  void put(u64 at, u64 entry) { memory_.write(MachineAddr(at), {reinterpret_cast<const u8*>(&entry), sizeof entry}); }
  u64 made(u64 piece) {
    if (piece >= pieces_.size()) pieces_.resize(piece + 1);
    if (!pieces_[piece]) {
      const u64 frame = guest_.take_frame().value;  // may make the hypervisor take pages back, from this table too
      pieces_[piece] = frame;
    }
    return pieces_[piece];
  }
  bool is_empty(u64 piece) const {
    for (u64 i = 0; i < kEntries; ++i)
      if (get(piece + 8 * i)) return false;
    return true;
  }
  bool break_large(u64 piece) {
    for (u64 i = 0; i < kEntries; ++i) put(piece + 8 * i, get(piece + 8 * i) & ~kLarge);
    return true;
  }

  MachineMemory& memory_;
  Guest& guest_;
  std::vector<u64> pieces_;  ///< by address / 2M
};

class FlatStage final : public HostDimension {
 public:
  FlatStage(sim::Section section, MachineMemory& memory, DataCaches& caches, u64 seed, Commons* commons)
      : memory_(memory), caches_(caches), tlb_(section.child("tlb"), seed) {
    const auto make = [] { return std::make_shared<Machines>(); };
    machines_ = commons ? commons->shared<Machines>(make) : make();
  }

  bool map(Guest& guest, PhysAddr address, const Backing& backing) override {
    return table_of(guest).map(address.value, backing);
  }
  bool unmap(Guest& guest, PhysAddr first, u64 bytes) override { return table_of(guest).unmap(first.value, bytes); }
  void forget(const Guest& guest) override { tlb_.flush_context(tag_of(guest)); }
  void forget_all() override { tlb_.flush_all(); }
  void declare(sim::Stats& stats) override { tlb_.declare(stats, "nested.tlb"); }
  bool reaches(u64 address) const override { return address >> FlatTable::kWidth == 0; }
  bool wrote(const Fault& fault) const override { return fault.error & right::write; }
  Refused describe(const Fault& fault, bool linear) const override {
    const bool table = fault.error & Fault::kOfTable;
    return {fault.address, (fault.error & ~Fault::kOfTable) | (linear ? bit(7) | (table ? 0 : bit(8)) : 0)};
  }

  void serve(unsigned guest_level) override { guest_level_ = static_cast<u8>(guest_level); }

 protected:
  void use_tables(Guest& guest) override {
    table_ = &table_of(guest);
    context_ = tag_of(guest);
  }
  Result<Leaf> peek(u64 address, Access access) const override { return answer(address, access, entry_of(address)); }
  Result<Leaf> find(u64 address, Access access, Bill& bill) override {
    Leaf held;
    const bool asks = tlb_.serves(access);
    if (asks && tlb_.lookup(address, context_, access, held, bill)) return held;
    if (const u64 at = reaches(address) ? table_->place(address) : 0) {
      const CacheAnswer read = caches_.walk_access(MachineAddr(at), false);
      bill.walk_read({MachineAddr(at), static_cast<u32>(read.cycles), guest_level_, 1, read.served_by});
    }
    const Result<Leaf> leaf = answer(address, access, entry_of(address));
    if (!leaf)
      tlb_.flush_page(address, context_);
    else if (asks)
      tlb_.insert(address, context_, *leaf);
    return leaf;
  }

 private:
  struct Machines {
    std::vector<std::unique_ptr<FlatTable>> by_number;
  };
  static u16 tag_of(const Guest& guest) { return static_cast<u16>(guest.number() + 1); }
  FlatTable& table_of(Guest& guest) {
    const unsigned n = guest.number();
    auto& tables = machines_->by_number;
    if (n >= tables.size()) tables.resize(n + 1);
    if (!tables[n] || &tables[n]->guest() != &guest) {
      tables[n] = std::make_unique<FlatTable>(memory_, guest);
      forget(guest);
    }
    return *tables[n];
  }
  u64 entry_of(u64 address) const {
    const u64 at = reaches(address) ? table_->place(address) : 0;
    return at ? table_->get(at) : 0;
  }
  /// What an entry says; refusals are reported as EPT's.
  static Result<Leaf> answer(u64 address, Access access, u64 entry) {
    const u8 rights = entry & kRights;
    if (!(rights & Ept::needed(access))) {
      Fault fault = Ept::fault(rights ? Refusal::rights : Refusal::not_present, address, access, rights, Rules{});
      if (access.implicit) fault.error |= Fault::kOfTable;
      return fault;
    }
    Leaf leaf;
    leaf.size = leaf.whole = entry & kLarge ? PageSize::k2M : PageSize::k4K;
    leaf.address = (entry & kFrame) | (address & kPageMask);
    leaf.rights = rights | right::user;
    leaf.dirty = true;
    leaf.level = 1;
    return leaf;
  }

  MachineMemory& memory_;
  DataCaches& caches_;
  NestedTlb tlb_;
  std::shared_ptr<Machines> machines_;
  FlatTable* table_ = nullptr;  ///< of the machine entered
  u16 context_ = 0;
};

const RegisterModel registered("flat-nested",
                               "two-dimensional walks over a flat host table, one read each (Ahn, Jin, Huh, ISCA 2012)",
                               [](const ModelParts& parts) {
                                 auto host = std::make_unique<FlatStage>(parts.settings.section("nested"), parts.memory,
                                                                         parts.caches, parts.seed + 2, parts.commons);
                                 return std::make_unique<TwoDimensional>(parts, std::move(host));
                               });

}  // namespace
}  // namespace nestwalk::models
