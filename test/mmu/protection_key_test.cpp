// Protection keys (SDM vol. 3, 4.6.2) through the whole door: walk, TLB entry, filter. PKRU is a register: writing it
// flushes nothing, and what it forbids must be forbidden all the same on entries that were cached before.
#include <optional>

#include "mmu/filter.h"
#include "mmu/port.h"
#include "test/catch.h"
#include "test/mmu/tables.h"

using namespace nestwalk;
using namespace nestwalk::mmu;

namespace {

constexpr u64 kUserPage = 0x7f0000001000, kKernelPage = 0x7f0000002000;
constexpr u64 kKey5 = u64{5} << 59;
constexpr u32 kDenyAccess = 1u << 10, kDenyWrite = 2u << 10;  // of key 5

struct Rig {
  Rig() {
    settings.load_text(
        "[tlb.l1d]\nentries = 16\nways = 4\nserves = data\n[tlb.l1i]\nentries = 16\nways = 4\nserves = instruction\n",
        "test");
    memory.install(MachineAddr(0), 0x400000);
    tables.emplace(memory, u64{0}, u64{0x100000});
    tables->map(kUserPage, 0xa000, 0x67 | kKey5);
    tables->map(kKernelPage, 0xb000, 0x63 | kKey5);
    caches = std::make_unique<DataCaches>(settings.section("cache"), 1);
    model = Models::instance().make("native", ModelParts{settings, memory, *caches, counts, filter.tlb_owners(), 1});
    port = std::make_unique<Port>(*model, *caches, memory, filter, counts, clock);
    state = {.cr0 = cr0::pg | cr0::pe | cr0::wp,
             .cr3 = tables->root(),
             .cr4 = cr4::pae | cr4::pke,
             .efer = efer::lma | efer::nxe};
    port->set_privilege(true, false);
  }
  void pkru(u32 value) {
    state.pkru = value;
    port->set_paging(state);
  }
  /// The error code of a fault, or -1.
  int load(u64 a) {
    const auto r = port->load<u32>(LinearAddr(a));
    return r ? -1 : static_cast<int>(r.fault().error);
  }
  int store(u64 a) {
    const auto r = port->store<u32>(LinearAddr(a), 1);
    return r ? -1 : static_cast<int>(r.fault().error);
  }
  int fetch(u64 a) {
    const auto r = port->fetch_line(a);
    return r ? -1 : static_cast<int>(r.fault().error);
  }

  sim::Settings settings;
  MachineMemory memory;
  std::optional<test::Tables<Ia32e<4>>> tables;
  Filter filter{kPageShift};
  tlb::AccessCounts counts;
  sim::Clock clock;
  std::unique_ptr<DataCaches> caches;
  std::unique_ptr<MmuModel> model;
  std::unique_ptr<Port> port;
  PagingState state;
};

constexpr int kRead = pf::present | pf::user | pf::protection_key, kWrite = kRead | pf::write;

}  // namespace

TEST_CASE("a key's access-disable forbids loads and stores and never fetches", "[pku]") {
  Rig r;
  r.pkru(kDenyAccess);
  CHECK(r.load(kUserPage) == kRead);
  CHECK(r.store(kUserPage) == kWrite);
  CHECK(r.fetch(kUserPage) == -1);
}

TEST_CASE("a key's write-disable forbids stores only, and the supervisor's only under CR0.WP", "[pku]") {
  Rig r;
  r.pkru(kDenyWrite);
  CHECK(r.load(kUserPage) == -1);
  CHECK(r.store(kUserPage) == kWrite);
  r.port->set_privilege(false, false);
  CHECK(r.store(kUserPage) == (pf::present | pf::write | pf::protection_key));
  r.state.cr0 &= ~u64{cr0::wp};
  r.pkru(kDenyWrite);
  CHECK(r.store(kUserPage) == -1);
  r.pkru(kDenyAccess);
  CHECK(r.load(kUserPage) == (pf::present | pf::protection_key));
}

TEST_CASE("supervisor pages know no keys, and other keys do not matter", "[pku]") {
  Rig r;
  r.port->set_privilege(false, false);
  r.pkru(~0u);
  CHECK(r.load(kKernelPage) == -1);
  CHECK(r.store(kKernelPage) == -1);
  r.port->set_privilege(true, false);
  r.pkru(~(3u << 10));
  CHECK(r.store(kUserPage) == -1);
}

TEST_CASE("without CR4.PKE, or outside IA-32e mode, PKRU means nothing", "[pku]") {
  Rig r;
  r.state.cr4 &= ~u64{cr4::pke};
  r.pkru(~0u);
  CHECK(r.load(kUserPage) == -1);
  CHECK(r.store(kUserPage) == -1);
  CHECK(keys_of({.cr0 = cr0::pg, .cr4 = cr4::pke | cr4::pae, .pkru = 4}) == 0);
}

TEST_CASE("a write to PKRU forbids what TLB and filter hold, and allows it again without a walk", "[pku]") {
  Rig r;
  r.pkru(0);
  for (int n = 0; n < 3; ++n) REQUIRE(r.store(kUserPage) == -1);  // now the filter knows it
  r.pkru(kDenyWrite);
  CHECK(r.store(kUserPage) == kWrite);
  CHECK(r.load(kUserPage) == -1);
  r.pkru(0);
  REQUIRE(r.store(kUserPage) == -1);  // the fault took the entry with it: one walk
  const auto cycles = r.clock.cycles;
  for (int n = 0; n < 3; ++n) {
    r.pkru(kDenyWrite << 2);  // another key's
    CHECK(r.store(kUserPage) == -1);
    r.pkru(0);
    CHECK(r.store(kUserPage) == -1);
  }
  CHECK(r.clock.cycles == cycles);
}

TEST_CASE("a page changes its key with its table entry, and a denial says PK beside what else is wrong", "[pku]") {
  Rig r;
  r.tables->map(kUserPage, 0xa000, 0x65 | kKey5);  // read-only
  r.pkru(kDenyWrite);
  CHECK(r.store(kUserPage) == kWrite);
  r.pkru(0);
  CHECK(r.store(kUserPage) == (kWrite & ~static_cast<int>(pf::protection_key)));
  r.tables->map(kUserPage, 0xa000, 0x67);
  r.pkru(kDenyAccess);
  CHECK(r.load(kUserPage) == -1);
}
