// Shadow paging, event by event: which of a guest's acts leave the virtual machine, why, and what the hypervisor then does
// (Adams and Agesen, ASPLOS 2006; the events of KVM's shadow MMU).
#include "test/catch.h"
#include "test/conformance/guest_stores.h"
#include "test/models/nested_bench.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using namespace nestwalk::test;

namespace {

using Kind = Invalidation::Kind;
constexpr u64 kA = 0x7f0000001000, kB = 0x7f0000002000, kGlobal = 0x7f0000003000, kLarge = 0x7f0000200000;

/// A machine in long mode with pages A, B and a global one, clean and not accessed, and a 2M page; its tables lie from
/// guest-physical 0x100000 on. No page-walk caches, nothing ahead of its fault.
struct Machine : NestedBench {
  explicit Machine(const std::string& more = "", PageSize host_page = PageSize::k4K)
      : NestedBench({.model = "shadow",
                     .settings = "[pwc]\nenabled = false\n[shadow]\nroots = 1\n" +
                                 (more.find("prefetch") == more.npos ? "prefetch = 0\n" + more : more),
                     .host_page = host_page}),
        stores(space(), *port, {0x100000, 0x300000}),
        tables(stores, 0, 0x100000) {
    for (u64 frame = 0xa000; frame < 0x10000; frame += kPageBytes) {  // memory that is there already
      const u8 byte[1] = {1};
      space().write(PhysAddr(frame), byte);
    }
    tables.map(kA, 0xa000, 7);
    tables.map(kB, 0xb000, 7);
    tables.map(kGlobal, 0xc000, 0x107);
    tables.map(kLarge, 0x800000, 7, 2);
    stores.open();
    port->set_paging(long_mode(tables.root()));
    mark();
  }

  /// Exits since the last mark.
  u64 exits(const char* why) const {
    return value(std::string("vmm.exits.") + why) - before(std::string("vmm.exits.") + why);
  }
  u64 all_exits() const { return value("vmm.exits") - before("vmm.exits"); }
  u64 since(const char* name) const { return value(name) - before(name); }
  u64 before(const std::string& name) const { return stats.value(marked, name); }
  void mark() { marked = stats.snapshot(); }
  void control(PagingState s) { port->set_paging(s); }
  void flush(Kind kind, u64 address = 0, u16 pcid = 0) { port->invalidate({kind, LinearAddr(address), pcid}); }
  void move_cr3(u64 cr3) {
    PagingState s = port->paging();
    s.cr3 = cr3;
    port->set_paging(s);
    port->invalidate({Kind::pcid, LinearAddr(0), pcid_of(s), true});
  }
  u64 load(u64 a) {
    const auto r = port->load<u64>(LinearAddr(a));
    REQUIRE(r.ok());
    return *r;
  }
  void store(u64 a, u64 v) { REQUIRE(port->store(LinearAddr(a), v).ok()); }
  u64 physical(u64 a) {
    u64 v = 0;
    space().read(PhysAddr(a), {reinterpret_cast<u8*>(&v), 8});
    return v;
  }
  u32 error(u64 a, Access access) {
    const auto t = translate(a, access);
    REQUIRE(!t);
    CHECK(t.fault().address == a);
    return t.fault().error;
  }

  GuestStores<Ia32e<4>> stores;
  Tables<Ia32e<4>> tables;
  sim::Snapshot marked;
};

}  // namespace

TEST_CASE(
    "an access that only the shadow refuses is one hidden fault, and later walks read as many entries as native ones") {
  Machine m;
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.exits("hidden_fault") == 1);
  CHECK(m.all_exits() == 1);
  CHECK(m.bill.read_count() == 1 + 4);  // the root's entry was empty
  CHECK(m.bill.of(Cause::exit) == 1009);
  m.mark();
  CHECK(m.hits(kA));
  CHECK(m.bill.total() == 0);
  dynamic_cast<MmuModel&>(*m.model).forget(m.space(), PhysAddr(0x3000000), kPageBytes, m.bill);  // flushes, no more
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.bill.read_count() == 4);
  CHECK(m.all_exits() == 0);
  CHECK(m.lands(kB, 0xb000));
  CHECK(m.bill.read_count() == 4 + 4);  // its table's shadow exists, the entry does not
  CHECK(m.exits("hidden_fault") == 1);
}

TEST_CASE("an access that the guest's tables refuse is one true fault with their error code, and leaves its tables alone") {
  Machine m;
  m.tables.set_entry(kA, 1, 0xa005);
  m.mark();
  CHECK(m.error(kA, kUserStore) == (pf::present | pf::write | pf::user));
  CHECK(m.exits("true_fault") == 1);
  CHECK(m.all_exits() == 1);
  CHECK(m.tables.entry(kA, 1) == 0xa005);
  CHECK(m.error(0x1000, kUserLoad) == pf::user);
  CHECK(m.error(kLarge + 0x200000, kStore) == pf::write);
  CHECK(m.exits("true_fault") == 3);
  CHECK(m.since("shadow.entries_made") == 0);
}

TEST_CASE("A and D are kept in the guest's tables: a clean page is read-only in the shadow until it is written") {
  Machine m;
  CHECK(m.lands(kA, 0xa000, kUserLoad));
  CHECK(m.tables.entry(kA, 1) == 0xa027);
  CHECK((m.tables.entry(kA, 4) & 0x60) == 0x20);
  CHECK(m.lands(kA, 0xa000, kUserStore));
  CHECK(m.tables.entry(kA, 1) == 0xa067);
  CHECK(m.exits("hidden_fault") == 2);
  CHECK(m.translate(kA, kUserStore)->tlb_hit);
  CHECK(m.lands(kB, 0xb000, kUserStore));  // a store at once: one fault
  CHECK(m.exits("hidden_fault") == 3);
  CHECK(m.tables.entry(kB, 1) == 0xb067);
  CHECK(m.lands(kLarge + 0x5123, 0x805123));
  CHECK(m.tables.entry(kLarge, 2) == 0x8000a7);
  CHECK(m.lands(kLarge + 0x5123, 0x805123, kStore));
  CHECK(m.tables.entry(kLarge, 2) == 0x8000e7);
  CHECK(m.exits("hidden_fault") == 5);
}

TEST_CASE("strict: every store to a traced table is an exit and takes effect at the guest's flush") {
  Machine m("variant = strict\nflood = 0\n");
  m.load(kA);
  m.mark();
  for (const u64 frame : {0xd000, 0xe000}) {
    m.tables.set_entry(kA, 1, frame | 7);
    CHECK(m.tables.entry(kA, 1) == (frame | 7));
  }
  CHECK(m.exits("table_write") == 2);
  CHECK(m.lands(kA, 0xa000));  // as natively: not flushed yet
  m.flush(Kind::page, kA);
  CHECK(m.exits("invlpg") == 1);
  CHECK(m.lands(kA, 0xe000));
  CHECK(m.exits("hidden_fault") == 1);  // the entry had been forgotten
  CHECK(m.all_exits() == 4);
  CHECK(m.since("shadow.unsyncs") == 0);
}

TEST_CASE("strict, update: the entry is made of what the store wrote, where that has been accessed before") {
  Machine m("variant = strict\nflood = 0\non_write = update\n");
  m.load(kA);
  m.mark();
  m.tables.set_entry(kA, 1, 0xd027);
  m.flush(Kind::page, kA);
  CHECK(m.lands(kA, 0xd000));
  CHECK(m.since("shadow.updated") == 1);
  CHECK(m.exits("hidden_fault") == 0);
  m.tables.set_entry(kA, 1, 0xe007);  // A is clear: a walk has to set it
  m.flush(Kind::page, kA);
  CHECK(m.lands(kA, 0xe000));
  CHECK(m.exits("hidden_fault") == 1);
}

TEST_CASE("unsync: the first store to a lowest-level table is a hidden fault, others are free until MOV CR3") {
  Machine m;
  m.load(kA), m.load(kB);
  m.tables.set_entry(kB, 1, m.tables.entry(kB, 1));  // unsynchronized from here on
  m.mark();
  m.tables.set_entry(kA, 1, 0xd027);
  m.tables.set_entry(kB, 1, 0xe027);
  CHECK(m.all_exits() == 0);
  CHECK(m.value("shadow.unsynced") == 1);
  m.flush(Kind::page, kA);
  CHECK(m.since("shadow.synced_entries") == 1);
  CHECK(m.lands(kA, 0xd000));
  CHECK(m.lands(kB, 0xb000));  // not flushed
  CHECK(m.exits("invlpg") == 1);
  CHECK(m.value("shadow.unsynced") == 1);
  m.move_cr3(m.tables.root());
  CHECK(m.exits("cr_access") == 1);
  CHECK(m.value("shadow.unsynced") == 0);
  CHECK(m.since("shadow.syncs") == 1);
  CHECK(m.lands(kB, 0xe000));
  m.tables.set_entry(kB, 1, 0xb027);        // traced again
  CHECK(m.exits("hidden_fault") == 1 + 2);  // and the entries of A and B, whose frames had changed
  CHECK(m.value("shadow.unsynced") == 1);
  CHECK(m.exits("table_write") == 0);
}

TEST_CASE("tables above the lowest level are never unsynchronized: each store traps and flushes what hung below") {
  Machine m;
  m.load(kA);
  const u64 pde = m.tables.entry(kA, 2);
  m.mark();
  m.tables.set_entry(kA, 2, pde & ~u64{4});
  CHECK(m.exits("table_write") == 1);
  CHECK(m.since("shadow.flushes") == 1);
  CHECK(m.error(kA, kUserLoad) == (pf::present | pf::user));
  m.tables.set_entry(kA, 2, pde);
  CHECK(m.lands(kA, 0xa000, kUserLoad));
}

TEST_CASE("a table that is written as no table is, is no longer shadowed") {
  Machine m("flood = 3\n");
  m.load(kA);
  const u64 directory = m.tables.where(kA, 2) & ~kPageMask, free_entry = directory + 0xff0;
  m.mark();
  for (unsigned n = 0; n < 5; ++n)
    m.stores.write(PhysAddr(free_entry), {reinterpret_cast<const u8*>("\0\0\0\0\0\0\0\0"), 8});
  CHECK(m.since("shadow.flooded") == 1);
  CHECK(m.exits("table_write") == 3);  // then it could be mapped for writing
  CHECK(m.exits("hidden_fault") == 1);
  CHECK(m.lands(kA, 0xa000));
  m.mark();
  m.stores.write(PhysAddr(free_entry), {reinterpret_cast<const u8*>("\0\0\0\0\0\0\0\0"), 8});
  m.load(kB);  // the table serves a fault: the count begins again
  m.stores.write(PhysAddr(free_entry), {reinterpret_cast<const u8*>("\0\0\0\0\0\0\0\0"), 8});
  m.stores.write(PhysAddr(free_entry), {reinterpret_cast<const u8*>("\0\0\0\0\0\0\0\0"), 8});
  CHECK(m.since("shadow.flooded") == 0);
  REQUIRE(m.port->store_system(LinearAddr(m.stores.linear(directory + 0xff4)), u64{0}).ok());  // across two entries
  CHECK(m.since("shadow.flooded") == 1);
}

TEST_CASE("moves to control registers are exits where the hypervisor owns the bits, and the flush is no second one") {
  Machine m;
  PagingState s = m.port->paging();
  s.cr0 |= cr0::ts;
  s.cr4 |= cr4::tsd;
  m.control(s);
  m.port->set_privilege(false, true);
  m.port->set_privilege(true, false);
  CHECK(m.all_exits() == 0);
  s.ac = false;
  s.cr0 &= ~cr0::wp;
  m.control(s);
  CHECK(m.exits("cr_access") == 1);
  s.cr4 &= ~cr4::pge;
  m.control(s);
  m.port->invalidate({Kind::all, LinearAddr(0), 0, true});
  CHECK(m.exits("cr_access") == 2);
  m.move_cr3(m.tables.root());  // the value it had: only the flush tells
  CHECK(m.exits("cr_access") == 3);
  m.flush(Kind::all);
  CHECK(m.exits("invlpg") == 1);
  CHECK(m.all_exits() == 4);
}

TEST_CASE("former roots are kept: going back needs neither look-up nor faults") {
  Machine m;
  Tables<Ia32e<4>> second(m.space(), 0, 0x300000), third(m.space(), 0, 0x500000);
  second.map(kA, 0x1a000, 7), third.map(kA, 0x2a000, 7);
  const u64 first = m.tables.root();
  m.load(kA);
  m.move_cr3(second.root());
  CHECK(m.lands(kA, 0x1a000));
  m.mark();
  m.move_cr3(first);
  CHECK(m.since("shadow.roots_reused") == 1);
  CHECK(m.since("shadow.roots_loaded") == 0);
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.bill.read_count() == 4);
  m.move_cr3(second.root());
  m.move_cr3(third.root());
  m.mark();
  m.move_cr3(first);  // two are remembered: the present and one more
  CHECK(m.since("shadow.roots_loaded") == 1);
  CHECK(m.since("shadow.pages_made") == 0);  // its pages were still there
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.exits("hidden_fault") == 0);
}

TEST_CASE("PCIDs, globals and INVPCID are to the guest what they are natively") {
  Machine m;
  const u64 root = m.tables.root();
  PagingState s = m.port->paging();
  const auto use = [&](u16 pcid) { s.cr3 = root | pcid, m.control(s); };
  use(1);
  m.load(kA), m.load(kGlobal);
  use(2);
  CHECK(!m.hits(kA));
  CHECK(m.hits(kGlobal));
  use(1);
  CHECK(m.hits(kA));
  m.flush(Kind::pcid, 0, 2);
  CHECK(m.hits(kA));
  m.flush(Kind::non_global);
  CHECK(!m.hits(kA));
  CHECK(m.hits(kGlobal));
  m.flush(Kind::pcid_page, kGlobal, 1);
  CHECK(m.hits(kGlobal));
  m.flush(Kind::page, kGlobal);
  CHECK(!m.hits(kGlobal));
  m.flush(Kind::all);
  CHECK(!m.hits(kGlobal));
}

TEST_CASE("CR0.WP = 0 under a hardware that has it set: the supervisor writes, the user reads, in turns") {
  Machine m;
  m.tables.set_entry(kA, 1, 0xa025);
  PagingState s = m.port->paging();
  s.cr0 &= ~cr0::wp;
  m.control(s);
  m.mark();
  CHECK(m.lands(kA, 0xa000, kUserLoad));
  CHECK(m.lands(kA, 0xa000, kStore));
  CHECK(m.tables.entry(kA, 1) == 0xa065);
  CHECK(m.translate(kA, kStore)->tlb_hit);
  CHECK(m.exits("hidden_fault") == 2);
  CHECK(m.lands(kA, 0xa000, kUserLoad));
  CHECK(m.error(kA, kUserStore) == (pf::present | pf::write | pf::user));
  CHECK(m.lands(kA, 0xa000, kFetch));
  s.cr4 |= cr4::smep;
  m.control(s);
  CHECK(m.lands(kA, 0xa000, kStore));
  CHECK(m.error(kA, kFetch) == (pf::present | pf::fetch));
  CHECK(m.lands(kA, 0xa000, kStore));
  s.cr0 |= cr0::wp;  // no flush is asked for
  m.control(s);
  CHECK(m.error(kA, kStore) == (pf::present | pf::write));
  CHECK(m.lands(kA, 0xa000, kUserLoad));
}

TEST_CASE("a true fault forgets its address: what the guest then writes is seen without a flush") {
  Machine m;
  m.tables.set_entry(kA, 1, 0xa025);
  m.load(kA), m.load(kB);
  m.tables.set_entry(kB, 1, 0xb027);  // unsynchronized from here on
  m.tables.set_entry(kA, 1, 0xd025);
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.error(kA, kUserStore) == (pf::present | pf::write | pf::user));
  CHECK(m.value("shadow.unsynced") == 1);
  CHECK(m.lands(kA, 0xd000));
}

TEST_CASE("a global and an ordinary large page over the same memory are broken apart") {
  Machine m;
  const u64 global = kLarge + 0x200000;
  m.tables.map(global, 0x800000, 0x107, 2);
  PagingState s = m.port->paging();
  const auto use = [&](u16 pcid) { s.cr3 = m.tables.root() | pcid, m.control(s); };
  use(1);
  m.load(kLarge), m.load(global);
  m.flush(Kind::all);
  m.load(kLarge), m.load(global);  // by the hardware, from the shadow
  use(2);
  CHECK(m.hits(global));
  CHECK(!m.hits(kLarge));
}

TEST_CASE(
    "a store that CR0.WP = 0 lets pass sets D in its own leaf, where another large page over the same memory has it") {
  Machine m;
  const u64 other = kLarge + 0x200000;
  m.tables.map(other, 0x800000, 5, 2);
  m.tables.set_entry(kLarge, 2, m.tables.entry(kLarge, 2) & ~LinearFormat::kWrite);
  PagingState s = m.port->paging();
  s.cr0 &= ~cr0::wp;
  m.control(s);
  m.flush(Kind::all);
  for (const u64 page : {kLarge, other}) {
    m.load(page + kPageBytes);  // another piece, so that what both share is linked
    CHECK((m.tables.entry(page, 2) & LinearFormat::kDirty) == 0);
    m.store(page, 1);
    CHECK((m.tables.entry(page, 2) & LinearFormat::kDirty) != 0);
  }
}

TEST_CASE("SMAP holds for pages that CR0.WP = 0 lets the supervisor write: such stores are carried out one by one") {
  Machine m;
  m.tables.set_entry(kA, 1, 0xa065);
  PagingState s = m.port->paging();
  s.cr0 &= ~cr0::wp;
  s.cr4 |= cr4::smap;
  s.ac = true;
  m.control(s);
  m.mark();
  CHECK(m.lands(kA, 0xa000, kStore));
  CHECK(m.lands(kA, 0xa000, kStore));
  CHECK(m.since("shadow.waived_stores") == 2);
  CHECK(m.exits("hidden_fault") == 2);
  CHECK(m.error(kA, Access{Side::load, false, true}) == pf::present);
  s.ac = false;
  m.control(s);
  CHECK(m.error(kA, kLoad) == pf::present);
  CHECK(m.error(kA, kStore) == (pf::present | pf::write));
  CHECK(m.lands(kA, 0xa000, kUserLoad));
}

TEST_CASE("a shadow leaf is as large as the smaller of the guest's and the host's page") {
  Machine small, large("", PageSize::k2M);
  CHECK(small.lands(kLarge + 0x12345, 0x812345));
  CHECK(small.translate(kLarge + 0x12345)->size == PageSize::k4K);
  CHECK(!small.hits(kLarge + 0x13000));
  CHECK(large.lands(kLarge + 0x12345, 0x812345));
  CHECK(large.bill.read_count() == 1 + 3);
  CHECK(large.translate(kLarge + 0x12345)->size == PageSize::k2M);
  CHECK(large.hits(kLarge + 0x13000));
  CHECK(large.lands(kA, 0xa000));  // 4K in the guest
  CHECK(large.translate(kA)->size == PageSize::k4K);
}

TEST_CASE("a frame that becomes a table splits the large page around it, and only that") {
  Machine m("", PageSize::k2M);
  CHECK(m.translate(kLarge, kStore)->size == PageSize::k2M);
  Tables<Ia32e<4>> second(m.space(), 0, 0x810000);  // tables inside the large page
  second.map(kA, 0x1a000, 7);
  second.map(kLarge, 0x800000, 0x67, 2);
  m.move_cr3(second.root());
  m.load(kA);
  m.mark();
  CHECK(m.translate(kLarge, kStore)->size == PageSize::k4K);
  CHECK(m.lands(kLarge + 0x3000, 0x803000, kStore));
  CHECK(m.exits("table_write") == 0);
  // Its own tables, through the page: what they say is followed.
  const u64 entry = second.where(kA, 1);
  m.store(kLarge + (entry - 0x800000), 0x1b007);
  m.flush(Kind::page, kA);
  CHECK(m.lands(kA, 0x1b000));
  m.store(kLarge + (second.where(kA, 4) - 0x800000), 0);
  CHECK(m.exits("table_write") == 1);
  m.flush(Kind::page, kA);
  CHECK(m.error(kA, kUserLoad) == pf::user);
}

TEST_CASE("prefetch fills the neighbours that have been accessed, and marks nothing in the guest's tables") {
  Machine m("prefetch = 8\n");
  m.tables.set_entry(kB, 1, 0xb027);
  m.load(kA);
  CHECK(m.since("shadow.prefetched") == 1);  // B; the global page is not accessed yet
  m.mark();
  CHECK(m.lands(kB, 0xb000));
  CHECK(m.all_exits() == 0);
  CHECK(m.tables.entry(kGlobal, 1) == 0xc107);
  CHECK(m.lands(kGlobal, 0xc000));
  CHECK(m.exits("hidden_fault") == 1);
  CHECK(m.lands(kB, 0xb000, kStore));  // was filled clean
  CHECK(m.tables.entry(kB, 1) == 0xb067);
}

TEST_CASE("the hypervisor takes a frame away without an exit; what mapped it is filled anew") {
  Machine m;
  m.load(kA), m.load(kB), m.load(kLarge);
  m.mark();
  Bill bill;
  m.model->forget(m.space(), PhysAddr(0xa000), kPageBytes, bill);
  CHECK(m.all_exits() == 0);
  CHECK(m.since("shadow.entries_zapped") == 1);
  CHECK(bill.of(Cause::vmm) > 0);
  CHECK(m.lands(kB, 0xb000));
  CHECK(m.all_exits() == 0);
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.exits("hidden_fault") == 1);
  m.model->forget(m.space(), PhysAddr(0), u64{1} << 52, bill);
  CHECK(m.value("shadow.pages") == 1);  // the root, made anew
  CHECK(m.lands(kA, 0xa000));
  CHECK(m.lands(kLarge, 0x800000));
}

TEST_CASE("a device register is found by its walk once and by its entry then; each access is an exit") {
  Machine m;
  m.tables.map(kB, 0xfee00000, 0x67);
  m.flush(Kind::page, kB);
  m.mark();
  for (unsigned n = 0; n < 3; ++n) {
    const auto t = m.translate(kB + 0x30, n ? kStore : kLoad);
    REQUIRE(t.ok());
    CHECK(t->device);
    CHECK(t->address.value == 0xfee00030);
    CHECK(!t->filterable);
  }
  CHECK(m.exits("mmio") == 3);
  CHECK(m.all_exits() == 3);
  CHECK(m.since("shadow.mmio_hits") == 2);
  m.tables.map(kB, 0xb000, 0x67);
  m.flush(Kind::page, kB);
  CHECK(m.lands(kB, 0xb000));
}

TEST_CASE("stores to ROM are lost and exits, loads are neither") {
  Machine m;
  const u8 bytes[kPageBytes] = {1, 2, 3};
  REQUIRE(m.space().install_rom(PhysAddr(0x3c00000), bytes));
  m.tables.map(kB, 0x3c00000, 0x67);
  m.flush(Kind::page, kB);
  m.load(kB);
  m.mark();
  CHECK(m.load(kB) == 0x030201);
  CHECK(m.all_exits() == 0);
  m.store(kB, 77);
  CHECK(m.exits("mmio") == 1);
  CHECK(m.load(kB) == 0x030201);
}

TEST_CASE("with paging off, and in 32-bit and PAE modes, the hardware walks PAE tables") {
  NestedBench b({.model = "shadow", .settings = "[pwc]\nenabled = false\n", .host_page = PageSize::k2M});
  PagingState s;
  s.cr0 = cr0::pe;
  b.port->set_paging(s);
  CHECK(b.lands(0x1234567, 0x1234567, kStore));
  CHECK(b.bill.read_count() == 1 + 1);  // one level: a 2M leaf in the page directory
  CHECK(b.translate(0x1234567)->size == PageSize::k2M);
  CHECK(b.lands(0x1'0123'4567, 0x1234567));  // 32 bits
  CHECK(b.translate(0xfee00000)->device);
  Tables<Legacy32> legacy(b.space(), 0, 0x100000);
  legacy.map(0xc0000000, 0x400000, 0x67, 2);
  legacy.map(0x7ff000, 0x5000, 0x67);
  s.cr0 |= cr0::pg | cr0::wp;
  s.cr3 = legacy.root();
  s.cr4 = cr4::pse;
  b.port->set_paging(s);
  CHECK(b.lands(0xc0212345, 0x612345, kUserStore));
  CHECK(b.translate(0xc0212345)->size == PageSize::k2M);  // half of the guest's 4M
  CHECK(b.lands(0x7ff004, 0x5004));
  CHECK(!b.translate(0x3ff000));
  Tables<Pae> pae(b.space(), 0, 0x200000);
  pae.map(0x5000, 0x6000, 0x67);
  s.cr4 = cr4::pae;
  s.pdpte[0] = pae.root() | 1;
  b.port->set_paging(s);
  CHECK(b.lands(0x5004, 0x6004));
  CHECK(!b.translate(0x40005000));  // its PDPTE is not present
  CHECK(b.value("accesses.unpaged.store") == 0);
}

TEST_CASE("two machines with the same addresses are kept apart, with VPIDs and without") {
  for (const bool tags : {true, false}) {
    NestedBench b({.model = "shadow", .settings = tags ? "" : "[shadow]\nvpid = false\n", .guests = 2});
    for (const unsigned n : {0u, 1u}) {
      Tables<Ia32e<4>> t(b.space(n), 0, 0x100000);
      t.map(kA, 0xa000 + n * 0x1000, 0x67);
    }
    const auto use = [&](unsigned n) { b.enter(n), b.port->resume(), b.port->set_paging(long_mode(0x100000)); };
    use(0);
    CHECK(b.lands(kA, 0xa000, kLoad, 0));
    use(1);
    CHECK(b.lands(kA, 0xb000, kLoad, 1));
    CHECK(b.space(0).look(PhysAddr(0xb000)).kind == Backing::Kind::device);  // never touched
    use(0);
    CHECK(b.hits(kA) == tags);
    CHECK(b.lands(kA, 0xa000, kLoad, 0));
    use(1);
    CHECK(b.lands(kA, 0xb000, kLoad, 1));
  }
}

TEST_CASE("without VPIDs every exit flushes, the platform's too") {
  Machine tagged, bare("vpid = false\n");
  for (Machine* m : {&tagged, &bare}) {
    m->load(kA);
    CHECK(m->hits(kA));
    m->model->left(m->space(), m->bill);
    CHECK(m->hits(kA) == (m == &tagged));
    m->error(0x1000, kUserLoad);
    CHECK(m->hits(kA) == (m == &tagged));
  }
}

TEST_CASE("shadow memory is bounded: the least recently used page goes, and answers stay right") {
  Machine m("memory = 64K\n");
  for (unsigned round = 0; round < 2; ++round)
    for (u64 n = 0; n < 64; ++n) {
      const u64 a = 0x10000000 + n * 0x200000;
      if (!round) m.tables.map(a, 0x1000000 + n * 0x1000, 7);
      CHECK(m.lands(a, 0x1000000 + n * 0x1000, kStore));
    }
  CHECK(m.value("shadow.recycled") > 64);
  CHECK(m.value("shadow.pages") <= 16);
  CHECK(m.value("shadow.pages") == m.value("shadow.pages_made") - m.value("shadow.pages_zapped"));
  CHECK(m.value("shadow.table_bytes") == m.value("mem.tables"));
}

TEST_CASE("work is billed by what was done, and the sum of exit cycles is what the bills say") {
  Machine m("[shadow.cost]\nwalk_read = 7\nentry = 11\npage = 13\nzap = 0\nsync = 0\nroot = 0\nflush = 0\n");
  REQUIRE(m.translate(kA).ok());
  // Four entries read and four marked; three pages below the root; three links and a leaf.
  CHECK(m.bill.of(Cause::vmm) == m.costs.work[static_cast<unsigned>(Exit::hidden_fault)] + 8 * 7 + 4 * 11 + 3 * 13);
  CHECK(m.since("vmm.exit_cycles.hidden_fault") == m.bill.of(Cause::vmm) + m.bill.of(Cause::exit));
}

TEST_CASE("a variant that does not exist is refused by name") {
  CHECK_THROWS_AS(Machine("variant = lazy\n"), sim::ConfigError);
  CHECK_THROWS_AS(Machine("memory = 4K\n"), sim::ConfigError);
}
