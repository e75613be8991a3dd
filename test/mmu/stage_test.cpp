// Stages on real tables: the textbook numbers of reads, where each read stands in the two-dimensional walk, and what
// happens when a lower stage objects.
#include "mmu/stage.h"

#include <vector>

#include "test/catch.h"
#include "test/mmu/tables.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using test::Tables;

namespace {

constexpr u64 kGuestBase = 0x4000000;  // machine address of guest-physical 0
constexpr u64 kGuestBytes = 0x1000000;
constexpr u64 kMachineBytes = 0x8000000;

struct Machine {
  Machine() {
    settings.load_text("[cache]\nmodel = none\nwalk_latency = 10\n", "test");
    caches = std::make_unique<DataCaches>(settings.section("cache"), 1);
    memory.install(MachineAddr(0), kMachineBytes);
  }
  sim::Settings settings;
  MachineMemory memory;
  std::unique_ptr<DataCaches> caches;
  MachineStage bottom;
};

const PagingState kLong{.cr0 = cr0::pg | cr0::wp, .cr4 = cr4::pae | cr4::pse | cr4::pge, .efer = efer::lma | efer::nxe};
const Rules kRules = Rules::of(kLong);

constexpr u64 kEptLeaf = 0x37;   // R, W, X, write-back
constexpr u64 kHostLeaf = 0x67;  // P, R/W, U/S, A, D
template <class H>
constexpr u64 kLeafOf = std::is_same_v<H, Ept> ? kEptLeaf : kHostLeaf;

/// Guest tables of format G in guest-physical memory, which tables of format H map, page by page of level `host_leaf`.
template <class G, class H>
struct TwoDimensional : Machine {
  explicit TwoDimensional(unsigned host_leaf = 1)
      : host_tables(memory, 0, 0x100000),
        guest_tables(memory, kGuestBase, 0x200000),
        host(bottom, memory, *caches),
        guest(host, memory, *caches) {
    for (u64 a = 0; a < kGuestBytes; a += bit(H::shift(host_leaf)))
      host_tables.map(a, kGuestBase + a, kLeafOf<H>, host_leaf);
    host.set(Root{host_tables.root()}, kRules);
    guest.set(Root{guest_tables.root()}, kRules);
  }
  unsigned reads(u64 address) {
    Bill bill;
    REQUIRE(guest.translate(address, Access{}, bill).ok());
    return bill.read_count();
  }
  Tables<H> host_tables;
  Tables<G> guest_tables;
  RadixStage<H> host;
  RadixStage<G> guest;
};

template <class G, class H>
unsigned cold_reads(unsigned guest_leaf, unsigned host_leaf) {
  TwoDimensional<G, H> m(host_leaf);
  m.guest_tables.map(0x400000, 0x600000, 0x67, guest_leaf);
  return m.reads(0x400123);
}

template <class F>
unsigned native_reads(unsigned leaf) {
  Machine m;
  Tables<F> tables(m.memory, 0, 0x100000);
  RadixStage<F> stage(m.bottom, m.memory, *m.caches);
  tables.map(0, 0x40000000, 0x67, leaf);
  stage.set(Root{tables.root(), {tables.root() | 1}}, kRules);
  Bill bill;
  const auto leaf_found = stage.translate(0x123, Access{}, bill);
  REQUIRE(leaf_found.ok());
  CHECK(leaf_found->address == 0x40000123);
  CHECK(bill.of(Cause::walk_read) == 10 * bill.read_count());
  for (const WalkRead& r : bill.reads()) CHECK(r.host_level == 0);
  return bill.read_count();
}

std::vector<std::pair<unsigned, unsigned>> positions(const Bill& bill) {
  std::vector<std::pair<unsigned, unsigned>> list;
  for (const WalkRead& r : bill.reads()) list.push_back({r.guest_level, r.host_level});
  return list;
}

}  // namespace

TEST_CASE("native walks read as many entries as there are levels above the page") {
  CHECK(native_reads<Ia32e<4>>(1) == 4);
  CHECK(native_reads<Ia32e<4>>(2) == 3);
  CHECK(native_reads<Ia32e<4>>(3) == 2);
  CHECK(native_reads<Ia32e<5>>(1) == 5);
  CHECK(native_reads<Pae>(1) == 2);
  CHECK(native_reads<Legacy32>(1) == 2);
}

TEST_CASE("two-dimensional walks read (g+1)(h+1)-1 entries") {
  CHECK(cold_reads<Ia32e<4>, Ept>(1, 1) == 24);
  CHECK(cold_reads<Ia32e<4>, Ia32e<4>>(1, 1) == 24);
  CHECK(cold_reads<Ia32e<5>, Ept>(1, 1) == 29);
  CHECK(cold_reads<Ia32e<4>, Ia32e<5>>(1, 1) == 29);
  CHECK(cold_reads<Ia32e<5>, Ia32e<5>>(1, 1) == 35);
  CHECK(cold_reads<Ia32e<4>, Ept>(1, 2) == 19);
  CHECK(cold_reads<Ia32e<4>, Ept>(2, 2) == 15);
  CHECK(cold_reads<Legacy32, Ept>(1, 1) == 14);
}

TEST_CASE("the reads of a two-dimensional walk stand in hardware's order") {
  TwoDimensional<Ia32e<4>, Ept> m;
  m.guest_tables.map(0x400000, 0x600000, 0x67);
  Bill bill;
  const auto leaf = m.guest.translate(0x400abc, Access{}, bill);
  REQUIRE(leaf.ok());
  CHECK(leaf->address == kGuestBase + 0x600abc);
  std::vector<std::pair<unsigned, unsigned>> expected;
  for (unsigned guest = 4; guest >= 1; --guest) {
    for (unsigned host = 4; host >= 1; --host) expected.push_back({guest, host});
    expected.push_back({guest, 0});
  }
  for (unsigned host = 4; host >= 1; --host) expected.push_back({0, host});
  CHECK(positions(bill) == expected);
  // The guest's page-table entry is read where the host has put it.
  CHECK(bill.reads()[19].address.value == kGuestBase + m.guest_tables.where(0x400000, 1));
}

TEST_CASE("three stages of four levels read 124 entries") {
  TwoDimensional<Ia32e<4>, Ept> m;
  m.guest_tables.map(0x400000, 0x600000, 0x67);
  Tables<Ept> lowest(m.memory, 0, 0x3000000);  // maps everything to itself
  for (u64 a = 0; a < kMachineBytes; a += kPageBytes) lowest.map(a, a, kEptLeaf);
  RadixStage<Ept> bottom(m.bottom, m.memory, *m.caches), middle(bottom, m.memory, *m.caches);
  RadixStage<Ia32e<4>> top(middle, m.memory, *m.caches);
  bottom.set(Root{lowest.root()}, kRules);
  middle.set(Root{m.host_tables.root()}, kRules);
  top.set(Root{m.guest_tables.root()}, kRules);
  Bill bill;
  const auto leaf = top.translate(0x400abc, Access{}, bill);
  REQUIRE(leaf.ok());
  CHECK(leaf->address == kGuestBase + 0x600abc);
  CHECK(bill.read_count() == 124);
}

TEST_CASE("page-walk caches of the host shorten each of its walks") {
  TwoDimensional<Ia32e<4>, Ept> m;
  m.guest_tables.map(0x400000, 0x600000, 0x67);
  PageWalkCaches held(m.settings.section("host_pwc"), 1);
  RadixStage<Ept> host(m.bottom, m.memory, *m.caches, &held);
  RadixStage<Ia32e<4>> guest(host, m.memory, *m.caches);
  host.set(Root{m.host_tables.root()}, kRules);
  guest.set(Root{m.guest_tables.root()}, kRules);
  Bill bill;
  REQUIRE(guest.translate(0x400000, Access{}, bill).ok());
  // The guest's tables lie in one 2M region (4 reads, then 1 each), its data in another one of the same 1G (2 reads).
  CHECK(bill.read_count() == (4 + 1) + 3 * (1 + 1) + 2);
  CHECK(bill.of(Cause::pwc) == 5 * held.latency());
}

TEST_CASE("the effective page is the smaller of the two stages'") {
  TwoDimensional<Ia32e<4>, Ept> small_host(1), large_host(2);
  small_host.guest_tables.map(0x400000, 0x600000, 0x67, 2);
  large_host.guest_tables.map(0x400000, 0x600000, 0x67, 2);
  Bill bill;
  CHECK(small_host.guest.translate(0x400000, Access{}, bill)->size == PageSize::k4K);
  CHECK(small_host.guest.translate(0x400000, Access{}, bill)->whole == PageSize::k2M);
  CHECK(large_host.guest.translate(0x400000, Access{}, bill)->size == PageSize::k2M);
}

TEST_CASE("a guest table that the host does not map is a violation at its guest-physical address") {
  TwoDimensional<Ia32e<4>, Ept> m;
  m.guest_tables.map(0x400000, 0x600000, 0x67);
  const u64 entry = m.guest_tables.where(0x400000, 2);
  m.host_tables.set_entry(entry, 1, 0);
  Bill bill;
  const auto leaf = m.guest.translate(0x400abc, Access{}, bill);
  REQUIRE(!leaf);
  CHECK(leaf.fault().kind == Fault::Kind::violation);
  CHECK(leaf.fault().address == entry);
  CHECK(leaf.fault().error == (3u | Fault::kOfTable));  // a read that counts as a write, of a page that grants nothing
  CHECK(bill.read_count() == 14);                       // two whole rows of five, then four reads of the host
}

TEST_CASE("a host in the guest's format reports violations, never page faults") {
  TwoDimensional<Ia32e<4>, Ia32e<4>> m;
  m.guest_tables.map(0x400000, 0x600000, 0x67);
  m.host_tables.set_entry(0x600000, 1,
                          kGuestBase + 0x600000 + 0x63);  // supervisor only: every guest access is a user access
  Bill bill;
  const auto leaf = m.guest.translate(0x400abc, Access{}, bill);
  REQUIRE(!leaf);
  CHECK(leaf.fault().kind == Fault::Kind::violation);
  CHECK(leaf.fault().error == (pf::present | pf::user));
  CHECK(leaf.fault().address == 0x600abc);
}

TEST_CASE("a page that the host write-protects reads as clean, and storing to it is the host's violation") {
  TwoDimensional<Ia32e<4>, Ept> m;
  m.guest_tables.map(0x400000, 0x600000, 0x67);
  m.host_tables.map(0x600000, kGuestBase + 0x600000, kEptLeaf & ~u64{2});
  Bill bill;
  const auto load = m.guest.translate(0x400000, Access{}, bill);
  REQUIRE(load.ok());
  CHECK((load->rights & right::write));
  CHECK(!load->dirty);
  const auto store = m.guest.translate(0x400000, Access{Side::store, false, false}, bill);
  REQUIRE(!store);
  CHECK(store.fault().kind == Fault::Kind::violation);
  CHECK(store.fault().error == (2u | 5u << 3));
}

TEST_CASE("accessed and dirty flags of the guest are written through the host, which marks its own pages dirty") {
  TwoDimensional<Ia32e<4>, Ept> m;
  m.guest_tables.map(0x400000, 0x600000, 7);
  const u64 table_page = m.guest_tables.where(0x400000, 1) & ~kPageMask;
  CHECK((m.host_tables.entry(table_page, 1) & Ept::kDirty) == 0);
  CHECK((m.host_tables.entry(0x600000, 1) & Ept::kDirty) == 0);
  Bill bill;
  REQUIRE(m.guest.translate(0x400000, Access{Side::store, false, false}, bill).ok());
  for (unsigned level = 4; level >= 2; --level) CHECK((m.guest_tables.entry(0x400000, level) & 0x60) == 0x20);
  CHECK((m.guest_tables.entry(0x400000, 1) & 0x60) == 0x60);
  CHECK((m.host_tables.entry(table_page, 1) & Ept::kDirty) != 0);
  CHECK((m.host_tables.entry(0x600000, 1) & Ept::kDirty) != 0);
  CHECK(bill.of(Cause::walk_update) > 0);
  bill.clear();
  REQUIRE(m.guest.translate(0x400000, Access{Side::store, false, false}, bill).ok());
  CHECK(bill.of(Cause::walk_update) == 0);
  CHECK(bill.read_count() == 24);
}

TEST_CASE("without accessed and dirty flags in the host, reading a guest table needs no write right there") {
  for (const bool accessed_dirty : {false, true}) {
    TwoDimensional<Ia32e<4>, Ept> m;
    m.guest_tables.map(0x400000, 0x600000, 0x67);
    for (unsigned level = 4; level >= 1; --level)
      m.guest_tables.set_entry(0x400000, level, m.guest_tables.entry(0x400000, level) | 0x20);
    Rules rules = kRules;
    rules.accessed_dirty = accessed_dirty;
    m.host.set(Root{m.host_tables.root()}, rules);
    const u64 table_page = m.guest_tables.where(0x400000, 1) & ~kPageMask;
    m.host_tables.map(table_page, kGuestBase + table_page, kEptLeaf & ~u64{2});
    Bill bill;
    const auto leaf = m.guest.translate(0x400000, Access{}, bill);
    CHECK(leaf.ok() != accessed_dirty);
    if (!leaf) CHECK(leaf.fault().error == (3u | 5u << 3 | Fault::kOfTable));
  }
}

TEST_CASE("accessed and dirty writes are billed one cache access each") {
  Machine m;
  Tables<Ia32e<4>> tables(m.memory, 0, 0x100000);
  RadixStage<Ia32e<4>> stage(m.bottom, m.memory, *m.caches);
  tables.map(0x1000, 0x5000, 7);
  stage.set(Root{tables.root()}, kRules);
  Bill bill;
  REQUIRE(stage.translate(0x1000, Access{}, bill).ok());
  const Cycles one = m.caches->walk_access(MachineAddr(0), true).cycles;
  CHECK(bill.of(Cause::walk_update) == 4 * one);
  bill.clear();
  REQUIRE(stage.translate(0x1000, Access{Side::store, false, false}, bill).ok());
  CHECK(bill.of(Cause::walk_update) == one);
}

TEST_CASE("the walker's writes to a page that holds code are told") {
  struct : CodeListener {
    void code_written(MachineAddr a, unsigned bytes) override { told.push_back({a.value, bytes}); }
    std::vector<std::pair<u64, unsigned>> told;
  } listener;
  Machine m;
  m.memory.add_code_listener(&listener);
  Tables<Ia32e<4>> tables(m.memory, 0, 0x100000);
  RadixStage<Ia32e<4>> stage(m.bottom, m.memory, *m.caches);
  tables.map(0x1000, 0x5000, 7);
  stage.set(Root{tables.root()}, kRules);
  m.memory.mark_code(MachineAddr(tables.where(0x1000, 2)), true);
  Bill bill;
  REQUIRE(stage.translate(0x1000, Access{}, bill).ok());
  CHECK(listener.told == std::vector<std::pair<u64, unsigned>>{{tables.where(0x1000, 2), 8}});
}

TEST_CASE("tables where there is no memory fault and harm nobody") {
  Machine m;
  RadixStage<Ia32e<4>> four(m.bottom, m.memory, *m.caches);
  RadixStage<Legacy32> legacy(m.bottom, m.memory, *m.caches);
  Bill bill;
  four.set(Root{0xff0000000000}, kRules);
  const auto leaf = four.translate(0x1000, Access{Side::store, false, false}, bill);
  REQUIRE(!leaf);
  CHECK(leaf.fault().error == (pf::present | pf::reserved | pf::write));  // all ones, as from an unclaimed bus
  legacy.set(Root{0xfffff000}, Rules::of({.cr0 = cr0::pg}));
  CHECK(legacy.translate(0x1234, Access{Side::store, false, false}, bill)->address == 0xfffff234);
}

TEST_CASE("a probe gives the walk's answer and leaves everything as it was") {
  TwoDimensional<Ia32e<4>, Ept> m;
  m.guest_tables.map(0x400000, 0x600000, 3);
  const auto leaf = m.guest.probe(0x400abc, Access{Side::store, false, false});
  REQUIRE(leaf.ok());
  CHECK(leaf->address == kGuestBase + 0x600abc);
  CHECK((m.guest_tables.entry(0x400000, 1) & 0x60) == 0);
  CHECK((m.host_tables.entry(0x600000, 1) & 0x300) == 0);
  CHECK(m.guest.probe(0x400abc, Access{Side::load, true, false}).fault().error == (pf::present | pf::user));
}

TEST_CASE("a PDPTE register that is not present faults without a read") {
  Machine m;
  RadixStage<Pae> stage(m.bottom, m.memory, *m.caches);
  stage.set(Root{0, {0x1001, 0x2000, 0x3001, 0x4001}}, kRules);
  Bill bill;
  const auto leaf = stage.translate(0x40000000, Access{Side::load, true, false}, bill);
  REQUIRE(!leaf);
  CHECK(leaf.fault().error == pf::user);
  CHECK(bill.read_count() == 0);
}

TEST_CASE("the linear stage walks as the control registers say") {
  Machine m;
  LinearStage stage(m.bottom, m.memory, *m.caches, m.settings.section("pwc"), 1);
  Tables<Ia32e<4>> four(m.memory, 0, 0x100000);
  Tables<Ia32e<5>> five(m.memory, 0, 0x200000);
  Tables<Pae> pae(m.memory, 0, 0x300000);
  Tables<Legacy32> legacy(m.memory, 0, 0x400000);
  four.map(0x1000, 0x4000, 0x67), five.map(0x1000, 0x5000, 0x67), pae.map(0x1000, 0x2000, 0x67),
      legacy.map(0x1000, 0x3000, 0x67);
  const auto target = [&](PagingState s) {
    stage.set_paging(s);
    stage.invalidate({});  // as every change of mode does
    Bill bill;
    return stage.translate(0x1008, Access{}, bill)->address;
  };
  const u64 on = cr0::pg | cr0::pe;
  CHECK(target({}) == 0x1008);
  CHECK(target({.cr0 = on, .cr3 = legacy.root()}) == 0x3008);
  CHECK(target({.cr0 = on, .cr4 = cr4::pae, .pdpte = {pae.root() | 1}}) == 0x2008);
  CHECK(target({.cr0 = on, .cr3 = four.root(), .cr4 = cr4::pae, .efer = efer::lma}) == 0x4008);
  CHECK(target({.cr0 = on, .cr3 = five.root(), .cr4 = cr4::pae | cr4::la57, .efer = efer::lma}) == 0x5008);
}
