// Two-dimensional models on virtual machines with scattered memory: textbook numbers of reads, what wins when several
// things are wrong, accessed and dirty flags of both dimensions, devices and ROM.
#include "test/models/nested_bench.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using namespace nestwalk::test;

namespace {

constexpr u64 kPage = 0x40000000;

/// Reads of a cold walk of a guest page at table level `leaf`, over host pages of a size.
template <class G>
unsigned cold(unsigned leaf, PageSize host_page, const std::string& more = "", const std::string& model = "nested") {
  const bool huge = host_page == PageSize::k1G;
  NestedBench b({.model = model,
                 .settings = kBareWalks + more,
                 .host_page = host_page,
                 .guest_bytes = huge ? u64{1} << 30 : u64{64} << 20});
  Tables<G> guest(b.space(), 0, 0x100000);
  guest.map(kPage, leaf == 3 ? 0 : 0x1000000, 0x67, leaf);
  b.paging(paging_of<G>(guest.root()));
  CHECK(b.lands(kPage + 0x123, (leaf == 3 ? 0 : 0x1000000) + 0x123));
  return b.cold_reads(kPage + 0x123);
}

}  // namespace

TEST_CASE("a cold walk over EPT reads (n+1)(m+1)-1 entries for every pair of page sizes") {
  const PageSize host_sizes[] = {PageSize::k4K, PageSize::k2M, PageSize::k1G};
  for (unsigned leaf = 1; leaf <= 3; ++leaf)
    for (unsigned h = 0; h < 3; ++h) {
      const unsigned n = 4 - leaf + 1, m = 4 - h;
      INFO("guest levels " << n << ", host levels " << m);
      CHECK(cold<Ia32e<4>>(leaf, host_sizes[h]) == (n + 1) * (m + 1) - 1);
      CHECK(cold<Ia32e<5>>(leaf, host_sizes[h]) == (n + 2) * (m + 1) - 1);
    }
}

TEST_CASE("the numbers of the textbooks: 24, 19, 19, 15, 8; 29 and 35 with fifth levels; 14 for two-level guests") {
  CHECK(cold<Ia32e<4>>(1, PageSize::k4K) == 24);
  CHECK(cold<Ia32e<4>>(2, PageSize::k4K) == 19);
  CHECK(cold<Ia32e<4>>(1, PageSize::k2M) == 19);
  CHECK(cold<Ia32e<4>>(2, PageSize::k2M) == 15);
  CHECK(cold<Ia32e<4>>(3, PageSize::k1G) == 8);
  CHECK(cold<Ia32e<5>>(1, PageSize::k4K) == 29);
  CHECK(cold<Ia32e<4>>(1, PageSize::k4K, "[nested]\nlevels = 5\n") == 29);
  CHECK(cold<Ia32e<5>>(1, PageSize::k4K, "[nested]\nlevels = 5\n") == 35);
  CHECK(cold<Legacy32>(1, PageSize::k4K) == 14);
  CHECK(cold<Pae>(1, PageSize::k4K) == 14);
  CHECK(cold<Pae>(2, PageSize::k2M) == 7);
}

TEST_CASE("nested page tables read as many as EPT") {
  for (const char* levels : {"4", "5"}) {
    const std::string npt = std::string("[nested]\nformat = npt\nlevels = ") + levels + "\n";
    const unsigned more = levels[0] == '5';
    CHECK(cold<Ia32e<4>>(1, PageSize::k4K, npt) == 24 + 5 * more);
    CHECK(cold<Ia32e<4>>(2, PageSize::k2M, npt) == 15 + 4 * more);
    CHECK(cold<Ia32e<5>>(1, PageSize::k4K, npt) == 29 + 6 * more);
  }
}

TEST_CASE("a host without 1G pages maps 2M of a 1G page at a time") {
  CHECK(cold<Ia32e<4>>(3, PageSize::k1G, "[nested]\ngigabyte_pages = false\n") == 11);
}

TEST_CASE("a flat host table makes one read of every guest-physical address: 9 for a four-level guest") {
  const std::string flat = "[pwc]\nenabled = false\n[nested.tlb]\nentries = 0\n";
  const auto reads = [&](PageSize host_page, unsigned leaf) {
    NestedBench b({.model = "flat-nested", .settings = flat, .host_page = host_page});
    Tables<Ia32e<4>> guest(b.space(), 0, 0x100000);
    guest.map(kPage, 0x1000000, 0x67, leaf);
    b.paging(paging_of<Ia32e<4>>(guest.root()));
    const unsigned count = b.cold_reads(kPage);
    CHECK(b.lands(kPage + 0x1234, 0x1001234 - (leaf == 1 ? 0x1000 : 0)) == (leaf == 2));
    CHECK(b.translate(kPage)->size == (leaf == 2 ? host_page : PageSize::k4K));
    return count;
  };
  CHECK(reads(PageSize::k4K, 1) == 9);
  CHECK(reads(PageSize::k4K, 2) == 7);
  CHECK(reads(PageSize::k2M, 2) == 7);
}

TEST_CASE("a walk cache of both dimensions leaves the lowest levels to memory, one of the guest's the host's as well") {
  const auto second_walk = [](const char* holds) {
    NestedBench b(
        {.model = "walk-cache-2d",
         .settings = std::string(kBareWalks) + "[walk_cache_2d]\nentries = 64\nlatency = 2\nholds = " + holds + "\n"});
    Tables<Ia32e<4>> guest(b.space(), 0, 0x100000);
    guest.map(kPage, 0x1000000, 0x67);
    b.paging(paging_of<Ia32e<4>>(guest.root()));
    const unsigned reads = b.cold_reads(kPage);
    CHECK(b.bill.of(Cause::pwc) == 2 * (std::string(holds) == "2d" ? 18 : 3));
    CHECK(b.value("walk_cache.lookups") == b.value("walk_cache.hits") + b.value("walk_cache.misses"));
    return reads;
  };
  CHECK(second_walk("2d") == 6);   // five leaves of the host's tables and one of the guest's
  CHECK(second_walk("1d") == 21);  // all but three entries of the guest's
}

TEST_CASE("with paging off every access is translated by the host alone, and cached") {
  NestedBench b({.settings = kBareWalks});
  b.paging({.cr0 = cr0::pe});
  CHECK(b.cold_reads(0x5123, kStore) == 4);
  for (const WalkRead& r : b.bill.reads()) CHECK(r.guest_level == 0);
  CHECK(b.lands(0x5123, 0x5123));
  CHECK(b.hits(0x5123));
  CHECK(b.lands(0x1'0000'5123, 0x5123));  // 32 bits
  const auto gdt = b.translate(0x6000, Access{Side::load, false, true});
  REQUIRE(gdt.ok());
  CHECK(gdt->address == b.space().look(PhysAddr(0x6000)).address);
}

TEST_CASE("PDPTEs are loaded by guest-physical address") {
  for (const char* model : {"nested", "flat-nested"}) {
    NestedBench b({.model = model});
    const u64 pdpte = 0x1122334455667001;
    b.space().write(PhysAddr(0x8018), {reinterpret_cast<const u8*>(&pdpte), 8});
    CHECK(b.port->load_physical(PhysAddr(0x8018)) == pdpte);
    CHECK(b.port->load_physical(PhysAddr(0xfee00000)) == ~u64{0});
    CHECK(b.value("vmm.exits.mmio") == 1);
  }
}

TEST_CASE("memory is given at the first touch, one violation a page, and never again") {
  NestedLongMode b(kBareWalks);
  CHECK(b.lands(b.kA, 0xa000));
  CHECK(b.value("vmm.exits.violation") == 5);  // four tables and the page itself
  CHECK(b.value("vmm.exits") == 5);
  CHECK(b.bill.of(Cause::exit) == 5 * b.costs.round_trip);
  CHECK(b.bill.of(Cause::backing) == b.costs.allocate + b.costs.zero_page);  // the tables were written before
  b.invept();
  CHECK(b.lands(b.kA, 0xa000));
  CHECK(b.lands(b.kB, 0xb000));
  CHECK(b.value("vmm.exits.violation") == 6);
}

TEST_CASE("the effective page is the smaller of both, and INVLPG anywhere in the guest's forgets all of it") {
  NestedBench small({}), large({.host_page = PageSize::k2M});
  for (NestedBench* b : {&small, &large}) {
    Tables<Ia32e<4>> guest(b->space(), 0, 0x100000);
    guest.map(kPage, 0x1000000, 0x67, 2);
    b->paging(paging_of<Ia32e<4>>(guest.root()));
    CHECK(b->translate(kPage)->size == (b == &small ? PageSize::k4K : PageSize::k2M));
    CHECK(b->hits(kPage + 0x5000) == (b == &large));
    CHECK(b->hits(kPage));
    b->invalidate(Invalidation::Kind::page, kPage + 0x123456);
    CHECK(!b->hits(kPage));
  }
}

// ---- what wins when several things are wrong ---------------------------------------------------------------------------

TEST_CASE("a guest's page fault wins over a violation of the page, and loses to one of its tables") {
  NestedLongMode b(kBareWalks);
  b.guest.map(b.kA, 0x2000000, 0x65);  // read-only; nothing stands behind the page yet
  CHECK(b.translate(b.kA, kUserStore).fault().error == (pf::present | pf::write | pf::user));
  CHECK(b.space().look(PhysAddr(0x2000000)).kind == Backing::Kind::device);
  const u64 violations = b.value("vmm.exits.violation");
  CHECK(violations == 4);

  b.guest.set_entry(b.kA, 1, 0);
  Bill unpaid;
  b.model->forget(b.space(), PhysAddr(b.guest.where(b.kA, 1) & ~kPageMask), kPageBytes, unpaid);
  CHECK(b.translate(b.kA, kUserStore).fault().kind == Fault::Kind::page_fault);
  CHECK(b.value("vmm.exits.violation") == violations + 1);
}

TEST_CASE("a malformed entry is a misconfiguration even where what follows would be a violation") {
  NestedLongMode b(kBareWalks);
  REQUIRE(b.translate(b.kA).ok());
  const u64 violations = b.value("vmm.exits.violation");
  Bill unpaid;
  b.model->forget(b.space(), PhysAddr(0xa000), kPageBytes, unpaid);
  const MachineAddr entry = b.tables().entry_at(PhysAddr(0xa000), 2);
  const u64 bad = (b.memory.peek<u64>(entry) & ~u64{7}) | 2;  // W without R
  b.memory.write(entry, {reinterpret_cast<const u8*>(&bad), 8});
  b.invept();
  // The hypervisor mends what it finds malformed; the table serves every page below 2M, so the root is met first.
  CHECK(b.lands(b.kA, 0xa000));
  CHECK(b.value("vmm.exits.misconfiguration") == 1);
  CHECK(b.value("vmm.exits.violation") == violations + 1);
}

// ---- accessed and dirty ------------------------------------------------------------------------------------------------

TEST_CASE("with EPT's flags a read sets D of the four pages that hold guest tables, and only A of the data's") {
  NestedLongMode b(kBareWalks);
  REQUIRE(b.translate(b.kA).ok());
  for (unsigned level = 4; level >= 1; --level) {
    const auto m = b.tables().look(PhysAddr(b.guest.where(b.kA, level)));
    REQUIRE(m);
    CHECK(m->accessed);
    CHECK(m->dirty);
  }
  const auto data = b.tables().look(PhysAddr(0xa000));
  REQUIRE(data);
  CHECK(data->accessed);
  CHECK(!data->dirty);
  REQUIRE(b.translate(b.kA, kStore).ok());
  CHECK(b.tables().look(PhysAddr(0xa000))->dirty);
}

TEST_CASE("without EPT's flags nothing is marked in the host's tables, and the guest's own flags are all the same") {
  NestedLongMode b(std::string(kBareWalks) + "[nested]\naccessed_dirty = false\n");
  b.guest.set_entry(b.kA, 1, 0xa007);
  REQUIRE(b.translate(b.kA, kStore).ok());
  CHECK((b.guest.entry(b.kA, 1) & 0x60) == 0x60);
  for (const u64 physical : {b.guest.where(b.kA, 1), u64{0xa000}}) {
    CHECK(!b.tables().look(PhysAddr(physical))->accessed);
    CHECK(!b.tables().look(PhysAddr(physical))->dirty);
  }
}

TEST_CASE("the first store through a page cached clean sets D of both dimensions, once") {
  NestedLongMode b(kBareWalks);
  b.guest.set_entry(b.kA, 1, 0xa027);
  REQUIRE(b.translate(b.kA).ok());
  CHECK(!b.hits(b.kA, kStore));
  CHECK((b.guest.entry(b.kA, 1) & 0x40) != 0);
  CHECK(b.tables().look(PhysAddr(0xa000))->dirty);
  CHECK(b.hits(b.kA, kStore));
}

// ---- devices and ROM ---------------------------------------------------------------------------------------------------

TEST_CASE("an access to a device walks, exits and is never cached") {
  for (const char* model : {"nested", "flat-nested", "walk-cache-2d"}) {
    NestedLongMode b("", model);
    b.guest.map(b.kB, 0xfee00000, 0x67);
    for (const Access access : {kLoad, kStore, kLoad}) {
      const u64 exits = b.value("vmm.exits.mmio");
      const auto t = b.translate(b.kB + 0x20, access);
      REQUIRE(t.ok());
      CHECK(t->device);
      CHECK(t->address == MachineAddr(0xfee00020));
      CHECK(!t->filterable);
      CHECK(!t->tlb_hit);
      CHECK(b.value("vmm.exits.mmio") == exits + 1);
      CHECK(b.bill.of(Cause::exit) >= b.costs.round_trip);
    }
    CHECK((b.guest.entry(b.kB, 1) & 0x60) == 0x60);
  }
}

TEST_CASE("stores to ROM are lost, loads are not, and a read-modify-write sees what is there") {
  for (const char* model : {"nested", "flat-nested", "walk-cache-2d"})
    for (const PageSize host_page : {PageSize::k4K, PageSize::k2M}) {
      NestedBench b({.model = model, .host_page = host_page});
      const u8 image[] = {1, 2, 3, 4, 5, 6, 7, 8};
      REQUIRE(b.space().install_rom(PhysAddr(0x1f000), image));
      b.port->set_paging({.cr0 = cr0::pe});
      CHECK(*b.port->load<u32>(LinearAddr(0x1f000)) == 0x04030201);
      REQUIRE(b.port->store<u32>(LinearAddr(0x1f000), ~0u).ok());
      CHECK(*b.port->update<u32>(LinearAddr(0x1f000), [](u32 v) { return v + 1; }) == 0x04030201);
      CHECK(*b.port->load<u32>(LinearAddr(0x1f000)) == 0x04030201);
      REQUIRE(b.port->store<u32>(LinearAddr(0x1e000), 77u).ok());  // its neighbour is memory
      CHECK(*b.port->load<u32>(LinearAddr(0x1e000)) == 77);
      REQUIRE(b.port->store<u32>(LinearAddr(0x1f004), 77u).ok());
      CHECK(*b.port->load<u32>(LinearAddr(0x1f004)) == 0x08070605);
    }
}

TEST_CASE("guest tables in ROM translate, and flags that a walk would set are lost") {
  for (const char* format : {"ept", "npt"}) {
    NestedBench b({.settings = std::string("[nested]\nformat = ") + format + "\n"});
    Tables<Ia32e<4>> guest(b.space(), 0, 0x100000);
    guest.map(kPage, 0x1000000, 7);
    for (unsigned level = 1; level <= 4; ++level) {
      const u64 page = guest.where(kPage, level) & ~kPageMask;
      std::vector<u8> bytes(kPageBytes);
      b.space().read(PhysAddr(page), bytes);
      REQUIRE(b.space().install_rom(PhysAddr(page), bytes));
    }
    b.paging(paging_of<Ia32e<4>>(guest.root()));
    CHECK(b.lands(kPage + 8, 0x1000008, kStore));
    CHECK(b.hits(kPage, kStore));
    for (unsigned level = 1; level <= 4; ++level) CHECK((guest.entry(kPage, level) & 0x60) == 0);
    b.two().invalidate({HypervisorInvalidation::Kind::ept_all});
    CHECK(b.lands(kPage + 8, 0x1000008));
  }
}

TEST_CASE("guest tables where a device is read as all ones") {
  for (const char* model : {"nested", "flat-nested"}) {
    NestedBench b({.model = model});
    b.paging(paging_of<Ia32e<4>>(0xfe000000));
    const auto t = b.translate(kPage, kUserStore);
    REQUIRE(!t);
    CHECK(t.fault().kind == Fault::Kind::page_fault);
    CHECK(t.fault().error == (pf::present | pf::reserved | pf::write | pf::user));
    CHECK(b.value("vmm.exits.mmio") == 1);
    CHECK(!b.model->probe(LinearAddr(kPage), kUserLoad).ok());
  }
}

TEST_CASE("a guest-physical address beyond the host's tables is nobody's") {
  for (const char* format : {"ept", "npt"}) {
    NestedBench b({.settings = std::string("[nested]\nformat = ") + format + "\n"});
    Tables<Ia32e<4>> guest(b.space(), 0, 0x100000);
    guest.map(kPage, (u64{1} << 48) | 0x100000, 0x67);
    PagingState s = paging_of<Ia32e<4>>(guest.root());
    s.physical_width = 52;
    b.paging(s);
    const auto t = b.translate(kPage);
    REQUIRE(t.ok());
    CHECK(t->device);
    CHECK(t->address.value == ((u64{1} << 48) | 0x100000));
  }
}

// ---- a debugger's questions -----------------------------------------------------------------------------------------

TEST_CASE("a probe is answered without mapping, marking or counting anything") {
  for (const char* model : {"nested", "flat-nested", "walk-cache-2d"}) {
    NestedLongMode b("", model);
    b.guest.set_entry(b.kA, 1, 0xa007);
    b.space().write(PhysAddr(0xa000), std::vector<u8>{1});
    const auto before = b.stats.snapshot();
    const auto t = b.model->probe(LinearAddr(b.kA + 5), kUserStore);
    REQUIRE(t.ok());
    CHECK(t->address == b.space().look(PhysAddr(0xa005)).address);
    CHECK(b.model->probe(LinearAddr(0x1000), kUserLoad).fault().error == pf::user);
    CHECK(b.stats.snapshot().counters == before.counters);
    CHECK(b.guest.entry(b.kA, 1) == 0xa007);
    CHECK(b.value("vmm.exits") == 0);
  }
}
