// The native model as a guest sees it: stale entries, invalidations that do what the SDM says and no more, accessed and
// dirty flags, faults; and as the port sees it: with and without the filter everything is the same to the last digit.
#include <sstream>

#include "base/random.h"
#include "mmu/filter.h"
#include "mmu/port.h"
#include "test/catch.h"
#include "test/mmu/tables.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using test::Tables;

namespace {

const char* const kTlbs = R"(
[tlb.l1i]
entries = 16
ways = 4
serves = instruction
pages = 4K, 2M, 4M, 1G
[tlb.l1d]
entries = 16
ways = 4
serves = data
pages = 4K, 2M, 4M, 1G
[tlb.l2]
level = 2
entries = 64
ways = 4
latency = 7
pages = 4K, 2M, 4M, 1G
[mmu]
flush_page_cycles = 11
flush_all_cycles = 22
[cache]
model = none
walk_latency = 10
)";

/// Counts how often the port asks the model.
struct Counting final : MmuModel {
  explicit Counting(MmuModel& m) : model(m) {}
  void set_paging(const PagingState& s, Bill& bill) override { model.set_paging(s, bill); }
  Result<Translation> translate(LinearAddr a, Access access, Bill& bill) override {
    ++asked;
    return model.translate(a, access, bill);
  }
  void invalidate(const Invalidation& what, Bill& bill) override { model.invalidate(what, bill); }
  void declare(sim::Stats& stats) override { model.declare(stats); }
  Result<Translation> probe(LinearAddr a, Access access) const override { return model.probe(a, access); }
  MmuModel& model;
  u64 asked = 0;
};

/// A native machine: the model, and a port before it.
struct Rig {
  explicit Rig(bool filtered = true, const std::string& more = "") : settings(load(more)), filter_(grain()) {
    filter_.enabled = filtered;
    memory.install(MachineAddr(0), 0x4000000);
    model = Models::instance().make("native", ModelParts{settings, memory, caches, counts, filter_.tlb_owners(), 1});
    caches.set_listener(&filter_.cache_owners());
    caches.set_access_counts(&counts);
    counting = std::make_unique<Counting>(*model);
    port = std::make_unique<Port>(*counting, caches, memory, filter_, counts, clock);
    settings.refuse_unknown();
    port->declare(stats);
    model->declare(stats);
    caches.declare(stats);
  }
  static sim::Settings load(const std::string& more) {
    sim::Settings s;
    s.load_text(kTlbs, "test");
    s.load_text(more, "more");
    return s;
  }
  unsigned grain() const { return caches.model() == CacheModel::full ? caches.line_shift() : kPageShift; }

  Result<Translation> translate(u64 a, Access access = {}) {
    bill.clear();
    return model->translate(LinearAddr(a), access, bill);
  }
  u64 target(u64 a, Access access = {}) {
    const auto t = translate(a, access);
    REQUIRE(t.ok());
    return t->address.value;
  }
  u32 error(u64 a, Access access) {
    const auto t = translate(a, access);
    REQUIRE(!t);
    CHECK(t.fault().kind == Fault::Kind::page_fault);
    CHECK(t.fault().address == a);
    return t.fault().error;
  }
  bool hits(u64 a) {
    const auto t = translate(a);
    REQUIRE(t.ok());
    CHECK(t->tlb_hit == (bill.read_count() == 0));
    return t->tlb_hit;
  }
  void invalidate(Invalidation::Kind kind, u64 address = 0, u16 pcid = 0) {
    bill.clear();
    model->invalidate({kind, LinearAddr(address), pcid}, bill);
  }
  u64 value(const std::string& name) const { return stats.value(stats.snapshot(), name); }

  sim::Settings settings;
  MachineMemory memory;
  DataCaches caches{settings.section("cache"), 1};
  Filter filter_;
  tlb::AccessCounts counts;
  sim::Clock clock;
  std::unique_ptr<MmuModel> model;
  std::unique_ptr<Counting> counting;
  std::unique_ptr<Port> port;
  sim::Stats stats;
  Bill bill;
};

constexpr Access kUserLoad{Side::load, true, false}, kUserStore{Side::store, true, false},
    kStore{Side::store, false, false}, kUserFetch{Side::fetch, true, false};
constexpr u64 kA = 0x7f0000001000, kB = 0x7f0000002000, kGlobalPage = 0x7f0000003000;
using Kind = Invalidation::Kind;

PagingState long_mode(u64 root, u16 pcid = 0) {
  return {.cr0 = cr0::pg | cr0::pe | cr0::wp,
          .cr3 = root | pcid,
          .cr4 = cr4::pae | cr4::pge | cr4::pcide,
          .efer = efer::lma | efer::nxe};
}

/// 4-level paging with pages A and B, and a global page.
struct LongMode : Rig {
  explicit LongMode(bool filtered = true, const std::string& more = "") : Rig(filtered, more), tables(memory, 0, 0x100000) {
    tables.map(kA, 0xa000, 0x67);
    tables.map(kB, 0xb000, 0x67);
    tables.map(kGlobalPage, 0xc000, 0x167);
    use(0);
  }
  void use(u16 pcid) { port->set_paging(long_mode(tables.root(), pcid)); }
  Tables<Ia32e<4>> tables;
};

}  // namespace

TEST_CASE("with paging off a linear address is a machine address and no TLB is asked") {
  Rig r;
  const auto t = r.translate(0x1'2345'6789, kStore);
  REQUIRE(t.ok());
  CHECK(t->address.value == 0x23456789);  // 32 bits
  CHECK(t->filterable);
  CHECK(t->handle == Filter::kNoHandle);
  CHECK(r.bill.total() == 0);
  CHECK(r.value("tlb.l2.misses") == 0);
}

TEST_CASE("a miss walks, a hit does not, and each pays its own") {
  LongMode r;
  CHECK(!r.hits(kA));
  CHECK(r.bill.read_count() == 4);
  CHECK(r.bill.of(Cause::walk_read) == 40);
  CHECK(r.bill.of(Cause::tlb) == 7);
  CHECK(r.hits(kA));
  CHECK(r.bill.total() == 0);
  CHECK(r.target(kA + 0x123) == 0xa123);
  CHECK(!r.hits(kB));
  CHECK(r.bill.read_count() == 1);                                              // the PDE is held by the page-walk cache
  REQUIRE(r.translate(kA, Access{Side::fetch, false, false})->tlb_level == 2);  // the second level serves both sides
  CHECK(r.bill.of(Cause::tlb) == 7);
}

TEST_CASE("linear addresses must be canonical for the width of the mode") {
  LongMode r;
  for (const u64 a : {u64{0x800000000000}, u64{0xffff7fffffffffff}}) {
    const auto t = r.translate(a);
    REQUIRE(!t);
    CHECK(t.fault().kind == Fault::Kind::non_canonical);
  }
  CHECK(r.error(0xffff800000000000, kUserLoad) == pf::user);
  PagingState five = long_mode(r.tables.root());
  five.cr4 |= cr4::la57;
  r.port->set_paging(five);
  r.invalidate(Kind::all);
  CHECK(r.translate(0x800000000000).fault().kind == Fault::Kind::page_fault);
  CHECK(r.translate(u64{1} << 56).fault().kind == Fault::Kind::non_canonical);
}

TEST_CASE("a stale translation stays visible until the guest flushes it") {
  LongMode r;
  CHECK(r.target(kA) == 0xa000);
  r.tables.set_entry(kA, 1, 0xd067);
  CHECK(r.target(kA) == 0xa000);
  r.tables.set_entry(kA, 1, 0);
  CHECK(r.target(kA, kUserStore) == 0xa000);
  r.tables.set_entry(kA, 1, 0xd067);
  r.invalidate(Kind::page, kA);
  CHECK(r.bill.of(Cause::flush) == 11);
  CHECK(r.target(kA) == 0xd000);
}

TEST_CASE("an entry that is not present is never cached") {
  LongMode r;
  r.tables.set_entry(kA, 1, 0xa066);
  CHECK(r.error(kA, kUserStore) == (pf::write | pf::user));
  r.tables.set_entry(kA, 1, 0xa067);  // from not present to present: no flush is needed
  CHECK(r.target(kA, kUserStore) == 0xa000);
}

TEST_CASE("INVLPG forgets one page, globals too, and no other page") {
  LongMode r;
  r.hits(kA), r.hits(kB), r.hits(kGlobalPage);
  r.invalidate(Kind::page, kA + 0xfff);
  CHECK(r.hits(kB));
  CHECK(!r.hits(kA));
  CHECK(r.bill.read_count() == 4);  // but every page-walk-cache entry of the PCID
  r.invalidate(Kind::page, kGlobalPage);
  CHECK(!r.hits(kGlobalPage));
}

TEST_CASE("INVLPG of any address in a large page forgets it whole") {
  LongMode r;
  r.tables.map(0x40000000, 0x2000000, 0x67, 2);
  CHECK(r.target(0x40012345) == 0x2012345);
  CHECK(r.translate(0x40012345)->size == PageSize::k2M);
  CHECK(r.hits(0x401ff000));
  r.invalidate(Kind::page, 0x40100000);
  CHECK(!r.hits(0x40000000));
}

TEST_CASE("translations belong to their PCID, global ones to all") {
  LongMode r;
  r.use(1);
  r.hits(kA), r.hits(kGlobalPage);
  r.use(2);
  CHECK(!r.hits(kA));
  CHECK(r.hits(kGlobalPage));
  r.use(1);
  CHECK(r.hits(kA));

  r.invalidate(Kind::page, kA);  // PCID 1 only
  r.use(2);
  CHECK(r.hits(kA));
  r.invalidate(Kind::pcid_page, kA, 1);
  CHECK(r.hits(kA));
  r.invalidate(Kind::pcid_page, kGlobalPage, 2);  // not globals
  CHECK(r.hits(kGlobalPage));
  r.invalidate(Kind::pcid_page, kA, 2);
  CHECK(!r.hits(kA));
}

TEST_CASE("flushes of one PCID, of all but globals, and of everything") {
  LongMode r;
  for (const u16 pcid : {1, 2}) r.use(pcid), r.hits(kA), r.hits(kGlobalPage);
  r.invalidate(Kind::pcid, 0, 1);
  CHECK(r.bill.of(Cause::flush) == 22);
  CHECK(r.hits(kA));  // PCID 2
  CHECK(r.hits(kGlobalPage));
  r.use(1);
  CHECK(!r.hits(kA));
  CHECK(r.bill.read_count() == 4);  // the page-walk caches of PCID 1 went with it
  r.invalidate(Kind::non_global);
  CHECK(r.hits(kGlobalPage));
  CHECK(!r.hits(kA));
  r.use(2);
  CHECK(!r.hits(kA));
  r.invalidate(Kind::all);
  CHECK(!r.hits(kGlobalPage));
}

TEST_CASE("the global flag counts only under CR4.PGE") {
  LongMode r;
  PagingState s = long_mode(r.tables.root(), 1);
  s.cr4 &= ~cr4::pge;
  r.port->set_paging(s);
  r.hits(kGlobalPage);
  r.invalidate(Kind::pcid, 0, 1);
  CHECK(!r.hits(kGlobalPage));
}

TEST_CASE("the first store to a page cached clean walks again, sets D and then hits") {
  LongMode r;
  r.tables.set_entry(kA, 1, 0xa007);
  CHECK(r.target(kA, kUserLoad) == 0xa000);
  CHECK(r.tables.entry(kA, 1) == 0xa027);
  CHECK(!r.translate(kA, kUserStore)->tlb_hit);
  CHECK(r.bill.of(Cause::walk_update) > 0);
  CHECK(r.tables.entry(kA, 1) == 0xa067);
  CHECK(r.translate(kA, kUserStore)->tlb_hit);
  CHECK(r.value("tlb.rewalks.dirty") == 1);
  CHECK(r.value("tlb.rewalks.permission") == 0);
}

TEST_CASE("a dirty flag cleared without a flush is not set again, as on hardware") {
  LongMode r;
  r.target(kA, kUserStore);
  r.tables.set_entry(kA, 1, 0xa007);
  CHECK(r.translate(kA, kUserStore)->tlb_hit);
  CHECK(r.tables.entry(kA, 1) == 0xa007);
  r.invalidate(Kind::page, kA);
  r.target(kA, kUserStore);
  CHECK(r.tables.entry(kA, 1) == 0xa067);
}

TEST_CASE("rights raised without a flush cost a walk, rights that are still missing a fault with P set") {
  LongMode r;
  r.tables.set_entry(kA, 1, 0xa025);  // read-only
  r.target(kA, kUserLoad);
  CHECK(r.error(kA, kUserStore) == (pf::present | pf::write | pf::user));
  CHECK(r.value("tlb.rewalks.permission") == 1);
  r.target(kA, kUserLoad);
  r.tables.set_entry(kA, 1, 0xa027);
  CHECK(!r.translate(kA, kUserStore)->tlb_hit);
  CHECK(r.value("tlb.rewalks.permission") == 2);
  CHECK(r.translate(kA, kUserStore)->tlb_hit);
}

TEST_CASE("rights lowered without a flush stay in force as cached") {
  LongMode r;
  r.target(kA, kUserStore);
  r.tables.set_entry(kA, 1, 0xa065);
  CHECK(r.translate(kA, kUserStore)->tlb_hit);
  r.invalidate(Kind::page, kA);
  CHECK(r.error(kA, kUserStore) == (pf::present | pf::write | pf::user));
}

TEST_CASE("a page fault forgets what was cached for its address and nothing else") {
  LongMode r;
  r.tables.set_entry(kA, 1, 0xa025);
  r.target(kA, kUserLoad), r.target(kB, kUserLoad);
  r.error(kA, kUserStore);
  r.tables.set_entry(kA, 1, 0xd025);
  CHECK(r.hits(kB));
  CHECK(r.target(kA, kUserLoad) == 0xd000);
  CHECK(r.bill.read_count() == 4);
  CHECK(r.value("tlb.fault_flushes") > 0);
}

TEST_CASE("rights of a hit follow the control bits of the moment") {
  LongMode r;
  r.tables.set_entry(kA, 1, 0xa065);                 // user, read-only
  r.tables.set_entry(kB, 1, 0xb063 | u64{1} << 63);  // supervisor, no execute
  const auto with = [&](u64 cr0_bits, u64 cr4_bits, bool ac) {
    PagingState s = long_mode(r.tables.root());
    s.cr0 = cr0::pg | cr0::pe | cr0_bits;
    s.cr4 |= cr4_bits;
    s.ac = ac;
    Bill bill;
    r.model->set_paging(s, bill);
  };
  with(0, 0, false);
  CHECK(r.target(kA, kStore) == 0xa000);  // CR0.WP clear
  CHECK(r.target(kA, Access{Side::fetch, false, false}) == 0xa000);
  with(cr0::wp, 0, false);
  CHECK(r.error(kA, kStore) == (pf::present | pf::write));
  with(cr0::wp, cr4::smep, false);
  r.target(kA, kUserFetch);
  CHECK(r.error(kA, Access{Side::fetch, false, false}) == (pf::present | pf::fetch));
  with(cr0::wp, cr4::smap, false);
  r.target(kA, kUserLoad);
  CHECK(r.error(kA, Access{}) == pf::present);
  with(cr0::wp, cr4::smap, true);
  CHECK(r.target(kA, Access{}) == 0xa000);
  CHECK(r.error(kA, Access{Side::load, false, true}) == pf::present);  // implicit: AC does not help
  CHECK(r.target(kB, Access{}) == 0xb000);
  CHECK(r.error(kB, Access{Side::fetch, false, false}) == (pf::present | pf::fetch));
  CHECK(r.error(kB, kUserLoad) == (pf::present | pf::user));
}

TEST_CASE("32-bit and PAE paging translate through the same TLBs, with 4M and 2M pages") {
  Rig r;
  Tables<Legacy32> legacy(r.memory, 0, 0x100000);
  Tables<Pae> pae(r.memory, 0, 0x200000);
  legacy.map(0x1000, 0x5000, 0x67);
  legacy.map(0xc0000000, 0x400000, 0x67, 2);
  pae.map(0x1000, 0x6000, 0x67);
  pae.map(0x200000, 0x600000, 0x67, 2);
  r.port->set_paging({.cr0 = cr0::pg | cr0::pe, .cr3 = legacy.root(), .cr4 = cr4::pse});
  CHECK(r.target(0x1234) == 0x5234);
  CHECK(r.bill.read_count() == 2);
  CHECK(r.target(0x1'c0312345) == 0x712345);  // linear addresses are 32 bits
  CHECK(r.bill.read_count() == 1);
  CHECK(r.translate(0xc0000000)->size == PageSize::k4M);
  CHECK(r.hits(0xc03ff000));
  r.invalidate(Kind::all);
  r.port->set_paging({.cr0 = cr0::pg | cr0::pe, .cr4 = cr4::pae, .efer = efer::nxe, .pdpte = {pae.root() | 1}});
  CHECK(r.target(0x1234) == 0x6234);
  CHECK(r.target(0x234567) == 0x634567);
  CHECK(r.error(0x40000000, kUserFetch) == (pf::user | pf::fetch));
}

TEST_CASE("a probe sees what an access would see and changes nothing") {
  LongMode r;
  r.tables.set_entry(kA, 1, 0xa007);
  const auto before = r.stats.snapshot();
  CHECK(r.model->probe(LinearAddr(kA + 5), kUserStore)->address.value == 0xa005);
  CHECK(r.model->probe(LinearAddr(0x1000), kUserLoad).fault().error == pf::user);
  CHECK(r.model->probe(LinearAddr(u64{1} << 50), kUserLoad).fault().kind == Fault::Kind::non_canonical);
  CHECK(r.tables.entry(kA, 1) == 0xa007);
  CHECK(r.stats.snapshot().counters == before.counters);
  CHECK(!r.hits(kA));
  r.tables.set_entry(kA, 1, 0xd007);
  CHECK(r.model->probe(LinearAddr(kA), kUserLoad)->address.value == 0xa000);  // stale, as the guest has it
}

namespace {

/// One machine under random loads, stores, fetches, table edits and flushes; returns what the guest saw.
class Storm {
 public:
  Storm(bool filtered, const std::string& more, u64 seed) : rig_(filtered, more), random_(seed) {
    for (u64 i = 0; i < kPages; ++i) edit(i);
    rig_.tables.map(0x40000000, 0x2000000, 0x67, 2);
  }
  void run(unsigned steps) {
    for (unsigned n = 0; n < steps; ++n) step();
  }
  std::string seen() const { return seen_.str(); }
  sim::Snapshot statistics() const { return rig_.stats.snapshot(); }
  const sim::Stats& stats() const { return rig_.stats; }
  u64 asked() const { return rig_.counting->asked; }

 private:
  static constexpr u64 kPages = 24, kBase = 0x7f0000000000;
  static u64 page(u64 i) { return kBase + (i % 3) * 0x200000 + i * kPageBytes; }
  u64 address() {
    const u64 offset = random_.below(4) ? random_.below(64) * 8 : kPageBytes - random_.below(9);
    return (random_.below(5) ? page(random_.below(kPages)) : 0x40000000 + random_.below(512) * kPageBytes) + offset;
  }
  void edit(u64 i) {
    rig_.tables.map(page(i), 0x800000 + random_.below(kPages) * kPageBytes,
                    (random_.below(8) ? 1 : 0) | (random_.below(4) ? 2 : 0) | (random_.below(4) ? 4 : 0) |
                        (random_.below(8) ? 0 : 0x100) | (random_.below(2) ? 0x60 : 0));
  }
  template <class R>
  void note(const R& r) {
    if (!r) seen_ << 'f' << r.fault().error << '@' << r.fault().address << '\n';
  }
  void step() {
    Port& port = *rig_.port;
    switch (const u64 what = random_.below(400)) {
      case 0: edit(random_.below(kPages)); break;
      case 1: port.invalidate({Kind::page, LinearAddr(page(random_.below(kPages))), pcid_}); break;
      case 2:
        port.invalidate({Kind::pcid_page, LinearAddr(page(random_.below(kPages))), static_cast<u16>(random_.below(3))});
        break;
      case 3: port.invalidate({Kind::pcid, LinearAddr(0), static_cast<u16>(random_.below(3))}); break;
      case 4: port.invalidate({random_.below(2) ? Kind::all : Kind::non_global, LinearAddr(0), 0}); break;
      case 5:
      case 6:
      case 7:
        pcid_ = static_cast<u16>(random_.below(3));
        port.set_paging(long_mode(rig_.tables.root(), pcid_));
        break;
      case 8:
      case 9:
      case 10: port.set_privilege(random_.below(2), false); break;
      default: {
        const LinearAddr a(address());
        if (what < 200) {
          const auto r = port.load<u64>(a);
          note(r);
          if (r) seen_ << *r << '\n';
        } else if (what < 300) {
          note(port.store<u64>(a, random_.next()));
        } else if (what < 340) {
          note(port.update<u64>(a, [](u64 v) { return v + 1; }));
        } else {
          fetch(a.value & ~u64{63}, 1 + random_.below(3));
        }
      }
    }
  }
  void fetch(u64 linear, u64 lines) {
    lines = std::min(lines, (kPageBytes - (linear & kPageMask)) / 64);
    auto* const e = rig_.port->by_line() ? nullptr : rig_.port->fetch_entry(linear);
    if (e) {  // as the run loop does it
      rig_.port->fetch_block(*e, lines);
      note(Result<Done>(Done{}));
    } else {
      note(rig_.port->fetch_lines(linear, lines));
    }
  }

  LongMode rig_;
  Random random_;
  u16 pcid_ = 0;
  std::ostringstream seen_;
};

void same_with_and_without_filter(const std::string& more) {
  Storm on(true, more, 42), off(false, more, 42);
  on.run(40000);
  off.run(40000);
  REQUIRE((on.seen() == off.seen()));
  const sim::Snapshot a = on.statistics(), b = off.statistics();
  for (const auto& row : on.stats().counters()) {
    INFO(row.name);
    CHECK(on.stats().value(a, row.name) == off.stats().value(b, row.name));
  }
  CHECK(on.asked() < off.asked());  // and the filter did retire accesses
}

}  // namespace

TEST_CASE("with and without the filter a guest sees the same and the statistics are equal (LRU)") {
  same_with_and_without_filter("");
}
TEST_CASE("with and without the filter a guest sees the same and the statistics are equal (tree-PLRU, FIFO, SRRIP)") {
  same_with_and_without_filter("[tlb.l1d]\npolicy = tree-plru\n[tlb.l1i]\npolicy = fifo\n[tlb.l2]\npolicy = srrip\n");
}
TEST_CASE("with and without the filter a guest sees the same and the statistics are equal (data caches)") {
  same_with_and_without_filter(
      "[cache]\nmodel = full\n[cache.l1i]\nbytes = 4K\nways = 4\nserves = instruction\n[cache.l1d]\nbytes = 4K\nways = "
      "4\nserves = "
      "data\n[cache.l2]\nlevel = 2\nbytes = 32K\nways = 8\n");
}

TEST_CASE("what the guest reads does not depend on geometry when it flushes what it changes") {
  // A guest that flushes after each edit must see its tables, whatever the TLBs are.
  const auto run = [](const std::string& more) {
    LongMode r(true, more);
    Random random(9);
    std::ostringstream seen;
    for (unsigned n = 0; n < 5000; ++n) {
      const u64 a = kA + random.below(40) * kPageBytes;
      if (random.below(3) == 0) {
        r.tables.map(a, 0x800000 + random.below(64) * kPageBytes, 1 | (random.next() & 6));
        r.port->invalidate({Kind::page, LinearAddr(a), 0});
      }
      const Access access{static_cast<Side>(random.below(3)), random.below(2) == 0, false};
      const auto t = r.translate(a, access);
      seen << (t ? t->address.value : t.fault().error) << '\n';
    }
    return seen.str();
  };
  const std::string reference = run("[pwc]\nenabled = false\n");
  CHECK((run("") == reference));
  CHECK((run("[tlb.l1d]\nentries = 1\nways = 1\n[tlb.l2]\nentries = 1\nways = 1\n[pwc.pd]\nentries = 1\n") == reference));
}
