// Virtual machines under a two-dimensional model: their memory scattered over a host's, one core's model before it.
#pragma once

#include "mmu/filter.h"
#include "mmu/port.h"
#include "mmu/two_dimensional.h"
#include "test/catch.h"
#include "test/mmu/tables.h"
#include "vmm/space.h"

namespace nestwalk::test {

inline const char* const kNestedSettings = R"(
[tlb.l1i]
entries = 16
ways = 4
serves = instruction
[tlb.l1d]
entries = 16
ways = 4
serves = data
[tlb.l2]
level = 2
entries = 64
ways = 4
latency = 7
[cache]
model = none
walk_latency = 10
)";
/// Nothing that shortens a walk.
inline const char* const kBareWalks = "[pwc]\nenabled = false\n[nested.pwc]\nenabled = false\n[nested.tlb]\nentries = 0\n";

inline constexpr Access kLoad{}, kStore{Side::store, false, false}, kFetch{Side::fetch, false, false},
    kUserLoad{Side::load, true, false}, kUserStore{Side::store, true, false};

inline PagingState long_mode(u64 root, u16 pcid = 0) {
  return {.cr0 = cr0::pg | cr0::pe | cr0::wp,
          .cr3 = root | pcid,
          .cr4 = cr4::pae | cr4::pge | cr4::pcide,
          .efer = efer::lma | efer::nxe};
}

/// A paging state that walks tables of format G.
template <class G>
PagingState paging_of(u64 root) {
  PagingState s = long_mode(root);
  s.cr4 &= ~cr4::pcide;
  if constexpr (G::kLevels == 5) s.cr4 |= cr4::la57;
  if constexpr (G::kLevels == 2) {
    s.efer = efer::nxe;
    for (u64& p : s.pdpte) p = root | 1;
  }
  if constexpr (G::kEntryBytes == 4) s.cr4 = cr4::pse, s.efer = 0;
  return s;
}

struct NestedBench {
  struct Shape {
    std::string model = "nested";
    std::string settings = "";
    unsigned guests = 1;
    PageSize host_page = PageSize::k4K;
    u64 guest_bytes = u64{64} << 20;
    bool filtered = true;
  };
  explicit NestedBench(const Shape& shape) : settings(load(shape.settings)), filter(kPageShift) {
    const u64 bytes = 2 * shape.guests * shape.guest_bytes + (u64{2} << shift_of(shape.host_page)) + (u64{32} << 20);
    memory.install(MachineAddr(0), bytes & ~kPageMask);
    frames = std::make_unique<vmm::Frames>(memory, bytes & ~kPageMask, vmm::Placement::random, 1, 7);
    for (unsigned n = 0; n < shape.guests; ++n)
      spaces.push_back(std::make_unique<vmm::Space>(n, std::vector<vmm::Space::Span>{{0, shape.guest_bytes}}, memory,
                                                    *frames, shape.host_page, costs));
    filter.enabled = shape.filtered;
    model = Models::instance().make(shape.model, ModelParts{settings, memory, caches, counts, filter.tlb_owners(), 1});
    caches.set_access_counts(&counts);
    enter(0);
    port = std::make_unique<Port>(*model, caches, memory, filter, counts, clock);
    settings.refuse_unknown();
    port->declare(stats);
    model->declare(stats);
    spaces[0]->declare(stats);
  }
  static sim::Settings load(const std::string& more) {
    sim::Settings s;
    s.load_text(kNestedSettings, "bench");
    s.load_text(more, "test");
    return s;
  }

  vmm::Space& space(unsigned n = 0) { return *spaces[n]; }
  TwoDimensional& two() { return dynamic_cast<TwoDimensional&>(*model); }
  HostTables& tables(unsigned n = 0) { return *dynamic_cast<HostStage&>(two().host()).tables(space(n)); }

  void enter(unsigned n) {
    Bill unpaid;
    model->enter(space(n), n, unpaid);
  }
  void paging(const PagingState& s) {
    Bill unpaid;
    model->set_paging(s, unpaid);
  }
  Result<Translation> translate(u64 a, Access access = {}) {
    bill.clear();
    return model->translate(LinearAddr(a), access, bill);
  }
  /// Where the access lands, in guest-physical terms: the backing of `physical` must be what it answers with.
  bool lands(u64 a, u64 physical, Access access = {}, unsigned n = 0) {
    const auto t = translate(a, access);
    return t && !t->device && t->address == space(n).look(PhysAddr(physical)).address;
  }
  bool hits(u64 a, Access access = {}) {
    const auto t = translate(a, access);
    REQUIRE(t.ok());
    return t->tlb_hit;
  }
  /// Entries that a walk reads once the hypervisor has mapped all it needs and everything cached is forgotten.
  unsigned cold_reads(u64 a, Access access = {}) {
    REQUIRE(translate(a, access).ok());
    two().invalidate({HypervisorInvalidation::Kind::ept_all});
    REQUIRE(translate(a, access).ok());
    return bill.read_count();
  }
  void invalidate(Invalidation::Kind kind, u64 address = 0, u16 pcid = 0) {
    bill.clear();
    model->invalidate({kind, LinearAddr(address), pcid}, bill);
  }
  void invept(unsigned n = 0) { two().invalidate({HypervisorInvalidation::Kind::ept_context, spaces[n].get()}); }
  u64 value(const std::string& name) const { return stats.value(stats.snapshot(), name); }

  sim::Settings settings;
  MachineMemory memory;
  vmm::ExitCosts costs;
  std::unique_ptr<vmm::Frames> frames;
  std::vector<std::unique_ptr<vmm::Space>> spaces;
  DataCaches caches{settings.section("cache"), 1};
  Filter filter;
  tlb::AccessCounts counts;
  sim::Clock clock;
  std::unique_ptr<MmuModel> model;
  std::unique_ptr<Port> port;
  sim::Stats stats;
  Bill bill;
};

/// One machine in long mode with pages A and B and a global one.
struct NestedLongMode : NestedBench {
  static constexpr u64 kA = 0x7f0000001000, kB = 0x7f0000002000, kGlobal = 0x7f0000003000;
  explicit NestedLongMode(const std::string& more = "", const std::string& name = "nested")
      : NestedBench({.model = name, .settings = more}), guest(space(), 0, 0x100000) {
    guest.map(kA, 0xa000, 0x67);
    guest.map(kB, 0xb000, 0x67);
    guest.map(kGlobal, 0xc000, 0x167);
    use(0);
  }
  void use(u16 pcid) { paging(long_mode(guest.root(), pcid)); }
  Tables<Ia32e<4>> guest;
};

}  // namespace nestwalk::test
