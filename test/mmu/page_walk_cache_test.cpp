// Page-walk caches: alone against a list model, and before a stage, where a hit must shorten the walk by the right number
// of reads and never change what is translated.
#include "mmu/page_walk_cache.h"

#include <deque>

#include "base/random.h"
#include "mmu/stage.h"
#include "test/catch.h"
#include "test/mmu/tables.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using test::Tables;

namespace {

const auto kAny = [](u8) { return true; };
const WalkStart kRoot{0x1000, 4, right::all};

struct Caches {
  explicit Caches(const std::string& text) {
    settings.load_text(text, "test");
    caches = std::make_unique<PageWalkCaches>(settings.section("pwc"), 1);
    settings.refuse_unknown();
    caches->declare(stats);
  }
  u64 value(const std::string& name) const { return stats.value(stats.snapshot(), name); }
  sim::Settings settings;
  std::unique_ptr<PageWalkCaches> caches;
  sim::Stats stats;
};

/// A native machine with 4- or 5-level tables; `walk` gives the number of entries read.
template <TableFormat F>
struct Walker {
  explicit Walker(const std::string& text = "[pwc]\nlatency = 3\n") {
    settings.load_text(text, "test");
    data = std::make_unique<DataCaches>(settings.section("cache"), 1);
    memory.install(MachineAddr(0), 0x4000000);
    tables = std::make_unique<Tables<F>>(memory, 0, 0x100000);
    stage = std::make_unique<LinearStage>(bottom, memory, *data, settings.section("pwc"), 1);
    stage->declare(stats);
    use(1);
  }
  void use(u16 pcid) {
    stage->set_paging({.cr0 = cr0::pg | cr0::pe | cr0::wp,
                       .cr3 = tables->root() | pcid,
                       .cr4 = cr4::pae | cr4::pcide | (F::kLevels == 5 ? cr4::la57 : 0),
                       .efer = efer::lma | efer::nxe});
  }
  Result<Leaf> translate(u64 address, Access access = {}) {
    bill.clear();
    return stage->translate(address, access, bill);
  }
  unsigned walk(u64 address) {
    REQUIRE(translate(address).ok());
    return bill.read_count();
  }
  u64 value(const std::string& name) const { return stats.value(stats.snapshot(), name); }

  sim::Settings settings;
  MachineMemory memory;
  std::unique_ptr<DataCaches> data;
  MachineStage bottom;
  std::unique_ptr<Tables<F>> tables;
  std::unique_ptr<LinearStage> stage;
  sim::Stats stats;
  Bill bill;
};

constexpr u64 k4K = 0x1000, k2M = 0x200000, k1G = 0x40000000, k512G = k1G * 512, k256T = k512G * 512;

}  // namespace

TEST_CASE("the deepest entry held says where a walk starts") {
  Caches c("[pwc]\n");
  const u64 a = 0x7f1234567000;
  CHECK(c.caches->lookup<Ia32e<4>>(a, 0, kRoot, kAny).level == 4);
  c.caches->insert<Ia32e<4>>(4, a, 0, 0x4000, right::all);
  CHECK(c.caches->lookup<Ia32e<4>>(a, 0, kRoot, kAny).level == 3);
  c.caches->insert<Ia32e<4>>(2, a, 0, 0x2000, 5);
  const WalkStart start = c.caches->lookup<Ia32e<4>>(a, 0, kRoot, kAny);
  CHECK(start.level == 1);
  CHECK(start.table == 0x2000);
  CHECK(start.rights == 5);
  CHECK(c.caches->lookup<Ia32e<4>>(a + k2M, 0, kRoot, kAny).level == 3);
  CHECK(c.caches->lookup<Ia32e<4>>(a, 1, kRoot, kAny).level == 4);  // another PCID
  CHECK(c.caches->lookup<Ia32e<4>>(a, 0, kRoot, [](u8 rights) { return rights == right::all; }).table == 0x4000);
  CHECK(c.value("pwc.lookups") == 6);
  CHECK(c.value("pwc.hits") == 4);
  CHECK(c.value("pwc.misses") == 2);
  CHECK(c.value("pwc.pd.hits") == 1);
  CHECK(c.value("pwc.pml4.hits") == 3);
  CHECK(c.value("pwc.pml4.lookups") == 5);
}

TEST_CASE("a fully associative LRU page-walk cache agrees with a list model") {
  Caches c("[pwc]\npml4.entries = 0\npdpt.entries = 0\npml5.entries = 0\n[pwc.pd]\nentries = 6\nways = 6\npolicy = lru\n");
  struct Model {
    u64 prefix;
    u16 pcid;
    u64 table;
  };
  std::deque<Model> list;  // most recent first
  Random r(11);
  unsigned hits = 0;
  for (unsigned n = 0; n < 20000; ++n) {
    const u64 address = r.below(10) * k2M + r.below(k2M);
    const u16 pcid = static_cast<u16>(r.below(2));
    if (r.below(200) == 0) {
      c.caches->flush_context(pcid);
      std::erase_if(list, [&](const Model& m) { return m.pcid == pcid; });
    }
    const auto it =
        std::find_if(list.begin(), list.end(), [&](const Model& m) { return m.prefix == address / k2M && m.pcid == pcid; });
    const WalkStart start = c.caches->lookup<Ia32e<4>>(address, pcid, kRoot, kAny);
    REQUIRE((start.level == 1) == (it != list.end()));
    if (it != list.end()) {
      const Model m = *it;
      REQUIRE(start.table == m.table);
      list.erase(it);
      list.push_front(m);
      ++hits;
    } else {
      c.caches->insert<Ia32e<4>>(2, address, pcid, n * k4K, right::all);
      list.push_front({address / k2M, pcid, n * k4K});
      if (list.size() > 6) list.pop_back();
    }
  }
  CHECK(c.value("pwc.pd.hits") == hits);
}

TEST_CASE("impossible geometries are refused by name") {
  CHECK_THROWS_WITH(Caches("[pwc.pd]\nentries = 32\nways = 5\n"), Catch::Contains("pwc.pd.ways"));
  CHECK_THROWS_WITH(Caches("[pwc.pte]\nentries = 32\n"), Catch::Contains("pwc.pte.entries"));
  CHECK_THROWS_WITH(Caches("[pwc.pd]\npolicy = oracle\n"), Catch::Contains("oracle"));
}

TEST_CASE("a cache that a sweep takes away keeps its other keys") {
  const Caches c("[pwc.pd]\nentries = 0\nways = 4\npolicy = tree-plru\n");
  CHECK(c.caches->active());
  CHECK_THROWS_AS(Caches("[pwc.pdp]\nentries = 0\nways = 4\n"), sim::ConfigError);
}

TEST_CASE("a hit shortens the walk by the levels above it") {
  Walker<Ia32e<5>> w;
  for (const u64 a : {u64{0}, k4K, k2M, k1G, k512G, k256T}) w.tables->map(a, 0x3000000, 0x67);
  CHECK(w.walk(0) == 5);
  CHECK(w.bill.of(Cause::pwc) == 3);  // one latency for all levels, hit or miss
  CHECK(w.walk(k4K) == 1);
  CHECK(w.bill.of(Cause::pwc) == 3);
  CHECK(w.walk(k2M) == 2);
  CHECK(w.walk(k1G) == 3);
  CHECK(w.walk(k512G) == 4);
  CHECK(w.walk(k256T) == 5);
  CHECK(w.value("pwc.lookups") == 6);
  CHECK(w.value("pwc.hits") == 4);
  for (const char* name : {"pd", "pdpt", "pml4", "pml5"}) CHECK(w.value(std::string("pwc.") + name + ".hits") == 1);
}

TEST_CASE("large pages are not held: their walks still read the leaf") {
  Walker<Ia32e<4>> w;
  w.tables->map(0, 0, 0x67, 2);
  w.tables->map(k1G, 0, 0x67, 3);
  CHECK(w.walk(0) == 3);
  CHECK(w.walk(0x1234) == 1);
  CHECK(w.walk(k1G) == 1);  // the PML4 entry is held
  CHECK(w.value("pwc.pd.hits") == 0);
  CHECK(w.walk(k1G) == 1);
}

TEST_CASE("switched off, every walk reads every level and pays nothing for look-ups") {
  Walker<Ia32e<4>> w("[pwc]\nenabled = false\n[pwc.pd]\nentries = 64\n");
  w.tables->map(0, 0x3000000, 0x67);
  CHECK(w.walk(0) == 4);
  CHECK(w.walk(0) == 4);
  CHECK(w.bill.of(Cause::pwc) == 0);
}

TEST_CASE("INVLPG forgets every entry of its PCID and none of another") {
  Walker<Ia32e<4>> w;
  w.tables->map(0, 0x3000000, 0x67);
  w.tables->map(k512G, 0x3000000, 0x67);
  w.walk(0), w.walk(k512G);
  w.use(2);
  CHECK(w.walk(0) == 4);
  w.use(1);
  w.stage->invalidate({Invalidation::Kind::page, LinearAddr(0x5000000000), 1});
  CHECK(w.walk(0) == 4);
  CHECK(w.walk(k512G) == 4);
  w.use(2);
  CHECK(w.walk(0) == 1);
  CHECK(w.value("pwc.pd.flushed") == 2);
}

TEST_CASE("INVPCID of one address forgets only what would translate it") {
  Walker<Ia32e<4>> w;
  for (const u64 a : {u64{0}, k2M, k512G}) w.tables->map(a, 0x3000000, 0x67), w.walk(a);
  w.stage->invalidate({Invalidation::Kind::pcid_page, LinearAddr(0), 1});
  CHECK(w.walk(k512G) == 1);
  CHECK(w.walk(k2M) == 1);
  CHECK(w.walk(0) == 4);
  w.stage->invalidate({Invalidation::Kind::pcid, LinearAddr(0), 2});
  CHECK(w.walk(0) == 1);
  w.stage->invalidate({Invalidation::Kind::pcid, LinearAddr(0), 1});
  CHECK(w.walk(0) == 4);
  w.stage->invalidate({Invalidation::Kind::non_global, LinearAddr(0), 0});
  CHECK(w.walk(0) == 4);
  w.stage->invalidate({Invalidation::Kind::all, LinearAddr(0), 0});
  CHECK(w.walk(0) == 4);
}

TEST_CASE("a faulting walk leaves nothing behind") {
  Walker<Ia32e<4>> w;
  w.tables->map(0, 0x3000000, 0x66);  // not present
  CHECK(!w.translate(0));
  CHECK(w.bill.read_count() == 4);
  CHECK((w.tables->entry(0, 4) & 0x20) == 0);
  w.tables->map(0, 0x3000000, 0x67);
  CHECK(w.walk(0) == 4);
}

TEST_CASE("a cached table stays in use until the guest flushes it") {
  Walker<Ia32e<4>> w;
  w.tables->map(0, 0x3000000, 0x67);
  w.walk(0);
  const u64 other = 0x2000000;  // another page table, to which the PDE now points
  w.tables->put(other, 0x3555067);
  w.tables->set_entry(0, 2, other | 7);
  CHECK(w.translate(0)->address == 0x3000000);
  w.stage->invalidate({Invalidation::Kind::page, LinearAddr(0), 1});
  CHECK(w.translate(0)->address == 0x3555000);
}

TEST_CASE("rights accumulate in what is held, and rights raised without a flush cost reads, never a fault") {
  Walker<Ia32e<4>> w;
  const Access store{Side::store, true, false};
  w.tables->map(0, 0x3000000, 0x67);
  w.tables->set_entry(0, 3, w.tables->entry(0, 3) & ~u64{2});  // PDPTE read-only
  CHECK(w.walk(0) == 4);
  CHECK(w.walk(0) == 1);
  CHECK((w.translate(0)->rights & right::write) == 0);
  CHECK(w.translate(0, store).fault().error == (pf::present | pf::write | pf::user));
  w.tables->set_entry(0, 3, w.tables->entry(0, 3) | 2);
  REQUIRE(w.translate(0, store).ok());
  CHECK(w.bill.read_count() == 3);  // the PML4 entry already granted it
  REQUIRE(w.translate(0, store).ok());
  CHECK(w.bill.read_count() == 1);  // and the new rights are held
}

TEST_CASE("under SMEP and SMAP a supervisor page below user entries is still found half-way") {
  Walker<Ia32e<4>> w;
  w.tables->map(0, 0x3000000, 0x63);  // a supervisor page; the entries above it have U/S set
  w.stage->set_paging({.cr0 = cr0::pg | cr0::pe | cr0::wp,
                       .cr3 = w.tables->root(),
                       .cr4 = cr4::pae | cr4::smep | cr4::smap,
                       .efer = efer::lma | efer::nxe});
  CHECK(w.walk(0) == 4);
  CHECK(w.walk(0) == 1);
  REQUIRE(w.translate(0, Access{Side::fetch, false, false}).ok());
  CHECK(w.bill.read_count() == 1);
}

TEST_CASE("cold, warm and disabled walks translate alike on random tables") {
  Walker<Ia32e<4>> warm, cold("[pwc]\nenabled = false\n");
  Random r(3);
  std::vector<u64> addresses;
  for (unsigned n = 0; n < 200; ++n) {
    const u64 a = r.below(4) * k512G + r.below(4) * k1G + r.below(6) * k2M + r.below(512) * k4K;
    const u64 target = r.below(0x2000) * k4K, flags = 1 | (r.next() & 0x66);
    addresses.push_back(a);
    for (auto* w : {&warm, &cold}) w->tables->map(a, target, flags);
  }
  for (unsigned n = 0; n < 5000; ++n) {
    const u64 a = addresses[r.below(addresses.size())] + r.below(k4K);
    const Access access{static_cast<Side>(r.below(3)), r.below(2) == 0, false};
    const auto x = warm.translate(a, access), y = cold.translate(a, access);
    REQUIRE(x.ok() == y.ok());
    if (x) {
      REQUIRE(x->address == y->address);
      REQUIRE(x->rights == y->rights);
      REQUIRE(warm.bill.read_count() <= cold.bill.read_count());
    } else {
      REQUIRE(x.fault().error == y.fault().error);
    }
  }
  CHECK(warm.value("pwc.hits") > 4000);
}
