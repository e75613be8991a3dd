// Agile paging: reads per walk for each level that is handed over, what hands a table over and brings it back, and that a
// guest's entries are never taken for the hypervisor's.
#include "test/catch.h"
#include "test/conformance/guest_stores.h"
#include "test/models/nested_bench.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using namespace nestwalk::test;

namespace {

using Kind = Invalidation::Kind;
constexpr u64 kA = 0x7f0000001000, kB = 0x7f0000002000;

struct Machine : NestedBench {
  explicit Machine(const std::string& more = "", PageSize host_page = PageSize::k4K)
      : NestedBench({.model = "agile",
                     .settings = std::string(kBareWalks) + "[agile]\nprefetch = 0\n" + more,
                     .host_page = host_page}),
        stores(space(), *port, {0x100000}),
        tables(stores, 0, 0x100000) {
    for (u64 frame = 0xa000; frame < 0x10000; frame += kPageBytes) {
      const u8 byte[1] = {1};
      space().write(PhysAddr(frame), byte);
    }
    tables.map(kA, 0xa000, 7);
    tables.map(kB, 0xb000, 7);
    stores.open();
    port->set_paging(long_mode(tables.root()));
    REQUIRE(lands(kA, 0xa000));
  }
  /// Stores the entry of this level as it is, so often.
  void rewrite(unsigned level, unsigned times) {
    for (unsigned n = 0; n < times; ++n) tables.set_entry(kA, level, tables.entry(kA, level));
  }
  unsigned cold_reads(u64 a) {
    REQUIRE(translate(a).ok());
    port->invalidate({Kind::all, LinearAddr(0), 0});
    REQUIRE(translate(a).ok());
    return bill.read_count();
  }
  u64 exits(const char* why) const { return value(std::string("vmm.exits.") + why); }

  GuestStores<Ia32e<4>> stores;
  Tables<Ia32e<4>> tables;
};

}  // namespace

TEST_CASE("a walk reads four entries in the shadow and four more for each level that is handed over") {
  Machine m;
  CHECK(m.cold_reads(kA) == 4);
  for (const auto& [level, reads] : {std::pair{1u, 8u}, {2u, 12u}, {3u, 16u}, {4u, 20u}}) {
    m.rewrite(level, 2);
    CHECK(m.cold_reads(kA) == reads);
    CHECK(m.lands(kA, 0xa000));
  }
  CHECK(m.value("agile.to_nested") == 4);
}

TEST_CASE("the second store within an interval hands a table over, then stores are free and follow the guest's flushes") {
  Machine m;
  m.rewrite(1, 1);
  CHECK(m.exits("table_write") == 1);
  CHECK(m.value("agile.tables") == 0);
  m.rewrite(1, 1);
  CHECK(m.exits("table_write") == 2);
  CHECK(m.value("agile.tables") == 1);
  m.rewrite(1, 10);
  CHECK(m.exits("table_write") == 2);
  REQUIRE(m.translate(kA, kUserStore).ok());
  const u64 before = m.value("vmm.exits");
  m.tables.set_entry(kA, 1, 0xc007);
  CHECK(m.lands(kA, 0xa000));  // cached
  m.port->invalidate({Kind::page, LinearAddr(kA), 0});
  CHECK(m.value("vmm.exits") == before);  // neither store nor INVLPG
  CHECK(m.lands(kA, 0xc000));
  CHECK(m.exits("violation") > 0);  // data that the second dimension did not map yet
  CHECK(m.tables.entry(kA, 1) == 0xc027);
  CHECK(m.lands(kA, 0xc000, kUserStore));
  CHECK(m.tables.entry(kA, 1) == 0xc067);
}

TEST_CASE("a fault in a table that hardware walks is the guest's without an exit, one in the shadow is not") {
  Machine m;
  m.rewrite(1, 2);
  REQUIRE(m.translate(kA).ok());
  const u64 before = m.value("vmm.exits");
  const auto t = m.translate(kA + 0x10000, kUserLoad);
  REQUIRE(!t);
  CHECK(t.fault().error == pf::user);
  CHECK(t.fault().address == kA + 0x10000);
  CHECK(m.value("vmm.exits") == before);
  CHECK(!m.translate(kA + 0x40000000, kUserLoad));
  CHECK(m.exits("true_fault") == 1);
}

TEST_CASE("rights that entries above the handed table take away stay away") {
  Machine m;
  m.tables.set_entry(kA, 3, m.tables.entry(kA, 3) & ~u64{6});  // the supervisor's, read-only
  m.tables.set_entry(kA, 2, m.tables.entry(kA, 2) | u64{1} << 63);
  m.rewrite(1, 2);
  REQUIRE(m.translate(kA).ok());
  CHECK(m.cold_reads(kA) == 8);
  CHECK(m.translate(kA, kUserLoad).fault().error == (pf::present | pf::user));
  CHECK(m.translate(kA, kStore).fault().error == (pf::present | pf::write));
  CHECK(m.translate(kA, kFetch).fault().error == (pf::present | pf::fetch));
}

TEST_CASE("what does not change for an interval is shadowed again") {
  Machine m("interval = 64\n");
  const auto idle = [&] {
    for (unsigned n = 0; n < 80; ++n) REQUIRE(m.port->load<u8>(LinearAddr(kB)).ok());
    m.model->left(m.space(), m.bill);  // the hypervisor comes by
  };
  m.rewrite(1, 2);
  m.rewrite(2, 2);
  CHECK(m.cold_reads(kA) == 12);
  const u64 tables = m.value("agile.tables");
  idle();  // their contents become known
  CHECK(m.value("agile.tables") == tables);
  m.tables.set_entry(kA, 1, 0xd027);
  idle();
  CHECK(m.value("agile.to_shadow") == tables - 1);  // all but the lowest
  m.port->invalidate({Kind::page, LinearAddr(kA), 0});
  CHECK(m.lands(kA, 0xd000));
  CHECK(m.cold_reads(kA) == 8);
  idle();
  CHECK(m.value("agile.tables") == 0);
  CHECK(m.cold_reads(kA) == 4);
  m.rewrite(4, 2);
  CHECK(m.cold_reads(kA) == 20);
  idle();
  idle();
  CHECK(m.cold_reads(kA) == 4);
}

TEST_CASE("addresses in a guest's entry that look like the hypervisor's are reserved bits to the guest") {
  Machine m;
  for (unsigned level = 1; level <= 3; ++level) {
    m.rewrite(level, 2);
    const u64 entry = m.tables.entry(kA, level);
    for (const unsigned mark : {49u, 50u}) {
      m.tables.set_entry(kA, level, entry | u64{1} << mark);
      m.port->invalidate({Kind::page, LinearAddr(kA), 0});
      const auto t = m.translate(kA);
      REQUIRE(!t);
      CHECK(t.fault().kind == Fault::Kind::page_fault);
      CHECK(t.fault().error == (pf::present | pf::reserved));
    }
    m.tables.set_entry(kA, level, entry);
    CHECK(m.lands(kA, 0xa000));
  }
}

TEST_CASE("a table shadowed in one place and walked by hardware in another is walked by hardware in both") {
  Machine m;
  const u64 other = kA + 0x8000000000;  // another entry of the root
  const u64 lowest = m.tables.where(kA, 1) & ~kPageMask;
  m.tables.map(other, 0, 0);
  m.tables.set_entry(other, 2, lowest | 7);
  REQUIRE(m.lands(other, 0xa000));
  m.rewrite(2, 2);  // kA's directory, not the other's
  CHECK(m.lands(kA, 0xa000));
  m.tables.set_entry(kA, 1, 0xe007);
  for (const u64 a : {kA, other}) {
    m.port->invalidate({Kind::page, LinearAddr(a), 0});
    CHECK(m.lands(a, 0xe000));
  }
  CHECK(m.cold_reads(kA) == 12);
  CHECK(m.cold_reads(other) == 8);
}

TEST_CASE("moving to a recent root needs no exit") {
  Machine m;
  Tables<Ia32e<4>> second(m.space(), 0, 0x300000);
  second.map(kA, 0xe000, 0x67);
  const auto move = [&](u64 root) {
    m.port->set_paging(long_mode(root)), m.port->invalidate({Kind::pcid, LinearAddr(0), 0, true});
  };
  move(second.root());
  CHECK(m.exits("cr_access") == 1);
  CHECK(m.lands(kA, 0xe000));
  move(m.tables.root());
  CHECK(m.lands(kA, 0xa000));
  move(second.root());
  CHECK(m.exits("cr_access") == 1);
  CHECK(m.lands(kA, 0xe000));
}

TEST_CASE("memory that is taken away from under a handed table or its data is found anew") {
  Machine m;
  m.rewrite(1, 2), m.rewrite(4, 2);
  REQUIRE(m.lands(kA, 0xa000));
  Bill bill;
  m.model->forget(m.space(), PhysAddr(0), u64{1} << 40, bill);
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.lands(kB, 0xb000, kUserStore));
  CHECK(m.cold_reads(kA) == 20);
}
