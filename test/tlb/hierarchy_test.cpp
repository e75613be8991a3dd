// The hierarchy: a Skylake-like pair of levels against list models, page sizes, inclusion, flushes, listeners, refusals.
#include "tlb/hierarchy.h"

#include <algorithm>
#include <list>
#include <map>
#include <set>

#include "base/bits.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::tlb;
using Catch::Matchers::Contains;

namespace {

struct Listener : ResidentListener {
  std::vector<u32> left;
  void resident_left(u32 handle) override { left.push_back(handle); }
  bool heard(u32 handle) const { return std::find(left.begin(), left.end(), handle) != left.end(); }
};

struct Bench {
  sim::Settings settings;
  AccessCounts counts;
  Listener listener;
  std::unique_ptr<Hierarchy> tlb;
  sim::Stats stats;

  explicit Bench(const std::string& text, u64 seed = 1) {
    settings.load_text(text, "test.ini");
    tlb = std::make_unique<Hierarchy>(settings.section("tlb"), seed);
    settings.refuse_unknown();
    tlb->set_listener(&listener);
    tlb->set_access_counts(&counts);
    tlb->declare(stats);
  }
  /// One access as a port makes it, without the walk.
  Found look(u64 linear, u16 pcid = 0, Side side = Side::load, bool user = true) {
    ++counts.ordinal;
    ++counts.paged[user][static_cast<unsigned>(side)];
    return tlb->lookup(linear, pcid, side, user);
  }
  /// One access; on a miss, a walk inserts `size`d page. Returns the level that hit, 0 for a walk.
  unsigned access(u64 linear, u16 pcid = 0, Side side = Side::load, PageSize size = PageSize::k4K, bool global = false) {
    if (const Found f = look(linear, pcid, side); f.entry) {
      REQUIRE(f.entry->frame + (linear >> 12) - f.entry->page == frame_of(linear));
      return f.level;
    }
    tlb->insert(entry(linear, pcid, size, global), side);
    return 0;
  }
  static u64 frame_of(u64 linear) { return (linear >> 12) + 0x100'0000; }
  static Entry entry(u64 linear, u16 pcid = 0, PageSize size = PageSize::k4K, bool global = false) {
    Entry e;
    e.page = align_down(linear, bytes_of(size)) >> 12;
    e.frame = frame_of(e.page << 12);
    e.pcid = pcid;
    e.size = size;
    e.rights.global = global;
    return e;
  }
  u64 value(const std::string& name) { return stats.value(stats.snapshot(), name); }
  std::multiset<std::string> contents() {
    std::multiset<std::string> all;
    tlb->for_each([&](const std::string& array, const Entry& e) {
      all.insert(array + ":" + std::to_string(e.page) + ":" + name_of(e.size));
    });
    return all;
  }
  u64 residents() { return contents().size(); }
};

const char* const kSkylake = R"(
[tlb.l1i]
level = 1
serves = instruction
pages = 4K
entries = 128
ways = 8
policy = lru
[tlb.l1d]
level = 1
serves = data
pages = 4K
entries = 64
ways = 4
[tlb.l1d.2m]
pages = 2M, 4M
entries = 32
ways = 4
[tlb.l1d.1g]
pages = 1G
entries = 4
[tlb.l2]
level = 2
latency = 7
pages = 4K, 2M, 4M
entries = 1536
ways = 12
index = xor
)";

/// Lists, least recent first, one per set.
struct ListTlb {
  u64 sets, ways;
  bool exclusive_or;
  std::map<u64, std::list<u64>> set;
  std::list<u64>& of(u64 page) { return set[(exclusive_or ? page ^ page / sets : page) % sets]; }
  bool touch(u64 page) {
    auto& l = of(page);
    const auto it = std::find(l.begin(), l.end(), page);
    if (it == l.end()) return false;
    l.splice(l.end(), l, it);
    return true;
  }
  void insert(u64 page) {
    auto& l = of(page);
    l.push_back(page);
    if (l.size() > ways) l.pop_front();
  }
  void remove(u64 page) { of(page).remove(page); }
};

std::string refusal(const std::string& text) {
  try {
    Bench b(text);
  } catch (const sim::ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("two levels of LRU hit and miss like list models, filled by walks, refilled by hits, deaf to evictions") {
  Bench b(kSkylake);
  ListTlb l1i{16, 8, false, {}}, l1d{16, 4, false, {}}, l2{128, 12, true, {}};
  Random random(42);
  u64 seen[3] = {};
  for (int step = 0; step < 200'000; ++step) {
    const bool fetch = random.below(3) == 0;
    const u64 page = random.below(4) ? random.below(150) : random.below(4000);
    ListTlb& l1 = fetch ? l1i : l1d;
    if (random.below(500) == 0) {
      b.tlb->flush_page(page << 12, 0, true);
      for (ListTlb* t : {&l1i, &l1d, &l2}) t->remove(page);
      continue;
    }
    const unsigned expected = l1.touch(page) ? 1 : l2.touch(page) ? 2 : 0;
    if (expected == 0) l2.insert(page);
    if (expected != 1) l1.insert(page);
    REQUIRE(b.access(page << 12 | 0x123, 0, fetch ? Side::fetch : random.below(2) ? Side::load : Side::store) == expected);
    ++seen[expected];
  }
  for (const u64 n : seen) CHECK(n > 10'000);
  CHECK(b.value("tlb.l2.hits") == seen[2]);
  CHECK(b.value("tlb.l2.misses") == seen[0]);
  CHECK(b.value("tlb.l2.accesses") == seen[0] + seen[2]);
  CHECK(b.value("tlb.l1i.misses") + b.value("tlb.l1d.misses") == seen[0] + seen[2]);
  CHECK(b.value("tlb.l1i.hits") + b.value("tlb.l1d.hits") == seen[1]);
  CHECK(b.value("tlb.l1d.load_misses") + b.value("tlb.l1d.store_misses") == b.value("tlb.l1d.misses"));
  CHECK(b.value("tlb.l1d.misses.user") == b.value("tlb.l1d.misses"));
  u64 balance = 0;
  for (const std::string g : {"tlb.l1i", "tlb.l1d", "tlb.l2"})
    balance += b.value(g + ".fills") - b.value(g + ".evictions") - b.value(g + ".flushes") - b.value(g + ".dropped");
  CHECK(balance == b.residents());
}

TEST_CASE("a hit costs the latencies of the levels behind the first that were asked, and so does a miss") {
  Bench b(std::string(kSkylake) + "[tlb.l3]\nlevel = 3\nlatency = 20\nentries = 4096\nways = 4\n");
  CHECK(b.tlb->first_level_latency(Side::load) == 1);
  Found f = b.look(0x5000);
  CHECK(f.entry == nullptr);
  CHECK(f.cycles == 27);
  f = b.tlb->insert(Bench::entry(0x5000), Side::load);
  CHECK((f.level == 1 && f.cycles == 0 && f.filterable));
  CHECK(b.look(0x5000).cycles == 0);
  f = b.look(0x5000, 0, Side::fetch);  // not in l1i, but in l2
  CHECK((f.level == 2 && f.cycles == 7 && f.filterable));
  CHECK(b.look(0x5000, 0, Side::fetch).level == 1);
}

TEST_CASE("page sizes live side by side: separate arrays in front, one array behind") {
  Bench b(kSkylake);
  CHECK(b.access(0x4000'0000, 0, Side::load, PageSize::k4K) == 0);
  CHECK(b.access(0x4020'0000, 0, Side::load, PageSize::k2M) == 0);
  CHECK(b.access(0x8000'0000, 0, Side::load, PageSize::k1G) == 0);
  CHECK(b.contents() == std::multiset<std::string>{"tlb.l1d:262144:4K", "tlb.l1d.2m:262656:2M", "tlb.l1d.1g:524288:1G",
                                                   "tlb.l2:262144:4K", "tlb.l2:262656:2M"});
  CHECK(b.access(0x403f'ffff) == 1);
  CHECK(b.access(0xbfff'ffff) == 1);
  CHECK(b.access(0x4000'1000) == 0);
  // A 2M page for fetches: l1i takes 4K only, so it stays behind and no filter may hold it.
  const Found f = b.look(0x4020'1000, 0, Side::fetch);
  CHECK((f.level == 2 && !f.filterable));
  REQUIRE(f.entry);
  CHECK(f.entry->size == PageSize::k2M);
  // Nobody takes 1G fetches: every one of them walks.
  CHECK(b.access(0x8000'0000, 0, Side::fetch, PageSize::k1G) == 0);
  CHECK(b.access(0x8000'0000, 0, Side::fetch, PageSize::k1G) == 0);
}

TEST_CASE("a page too large is smashed into the largest size taken, around the address, and INVLPG forgets all pieces") {
  Bench b(
      "[tlb.l1]\nentries = 8\npages = 4K, 2M, 4M\nsmash = true\n[tlb.l2]\nlevel = 2\nentries = 64\nways = 4\npages = 4K, "
      "2M\nsmash = yes\n");
  const u64 base = 0x1'4000'0000;
  CHECK(b.access(base + 0x20'0000 * 5 + 0x1234, 0, Side::load, PageSize::k1G) == 0);
  CHECK(b.access(base + 0x20'0000 * 5 + 0x1f'ffff) == 1);
  CHECK(b.access(base + 0x20'0000 * 6, 0, Side::load, PageSize::k1G) == 0);
  CHECK(b.access(base + 0x4000'0000, 0, Side::load, PageSize::k1G) == 0);  // another page
  CHECK(b.residents() == 6);
  for (const auto& line : b.contents()) CHECK_THAT(line, Catch::EndsWith("2M"));
  CHECK(b.tlb->flush_page(base + 0x123'4567, 0, true) == 4);
  CHECK(b.residents() == 2);
}

TEST_CASE("pieces of a page that a second stage broke leave together, but only those of the PCID, and globals when meant") {
  Bench b(kSkylake);
  const auto piece = [&](u64 linear, u16 pcid, bool global) {
    Entry e = Bench::entry(linear, pcid, PageSize::k4K, global);
    e.whole = PageSize::k2M;
    b.look(linear, pcid);
    b.tlb->insert(e, Side::load);
  };
  piece(0x20'1000, 1, false), piece(0x20'2000, 1, false), piece(0x20'3000, 2, false), piece(0x20'4000, 1, true);
  piece(0x40'1000, 1, false);
  CHECK(b.tlb->flush_page(0x2f'f000, 1, false) == 4);
  CHECK(b.look(0x20'3000, 2).entry);
  CHECK(b.look(0x20'4000, 1).entry);
  CHECK(b.tlb->flush_page(0x2f'f000, 1, true) == 2);
  CHECK(b.look(0x20'3000, 2).entry);
  CHECK(b.look(0x40'1000, 1).entry);
}

TEST_CASE("an insertion without a look-up before it is for the page's first address") {
  Bench b("[tlb.l1]\nentries = 8\npages = 2M\nsmash = true\n");
  b.look(0x1234'5000);
  const Found f = b.tlb->insert(Bench::entry(0x4000'0000, 0, PageSize::k1G), Side::load);
  REQUIRE(f.filterable);
  CHECK((f.entry->page == 0x4000'0000 >> 12 && f.entry->size == PageSize::k2M && f.entry->whole == PageSize::k1G));
  CHECK(b.look(0x401f'f000).entry);
  CHECK_FALSE(b.look(0x4020'0000).entry);
}

TEST_CASE("a 4M page takes 2M entries where an array knows 2M but not 4M") {
  Bench b("[tlb.l1]\nentries = 8\npages = 4K, 2M\n");
  CHECK(b.access(0x0060'0000, 0, Side::load, PageSize::k4M) == 0);
  CHECK(b.access(0x007f'f000) == 1);
  CHECK(b.access(0x0040'0000, 0, Side::load, PageSize::k4M) == 0);
  CHECK(b.residents() == 2);
  CHECK(b.tlb->flush_page(0x0040'0000, 0, true) == 2);
}

TEST_CASE("an entry with other rights replaces the old one of its page on every level, whatever the sizes") {
  Bench b(kSkylake);
  b.access(0x60'3000, 3);
  Entry e = Bench::entry(0x60'3000, 3);
  e.rights.write = true;
  b.look(0x60'3000, 3);
  const Found f = b.tlb->insert(e, Side::store);
  REQUIRE(f.entry);
  CHECK(f.entry->rights.write);
  CHECK(b.residents() == 2);
  CHECK(b.listener.heard(f.handle));

  // The page becomes part of a 2M page without a flush. The address looked up must see the new entry; its neighbour may
  // not.
  b.access(0x60'4000, 3);
  b.look(0x60'3000, 3);
  b.tlb->insert(Bench::entry(0x60'3000, 3, PageSize::k2M), Side::load);
  const Found now = b.look(0x60'3000, 3);
  REQUIRE(now.entry);
  CHECK(now.entry->size == PageSize::k2M);
  CHECK(b.look(0x60'4000, 3).entry->size == PageSize::k4K);
  CHECK(b.look(0x60'5000, 3).entry->size == PageSize::k2M);

  // And back: the 2M entry goes, its neighbours' translations with it.
  b.look(0x60'5000, 3);
  b.tlb->insert(Bench::entry(0x60'5000, 3), Side::load);
  CHECK(b.look(0x60'5000, 3).entry->size == PageSize::k4K);
  CHECK(b.look(0x60'6000, 3).entry == nullptr);
}

TEST_CASE("of several entries that match, the one a filter may hold from before keeps answering") {
  SECTION("the smaller page, in whatever order the arrays stand") {
    Bench b("[tlb.l1]\nentries = 8\npages = 2M\n[tlb.l1.4k]\nentries = 8\npages = 4K\n");
    b.access(0x60'4000);
    const Found before = b.look(0x60'4000);
    b.access(0x60'3000, 0, Side::load, PageSize::k2M);
    CHECK(b.look(0x60'4000).handle == before.handle);
    CHECK_FALSE(b.listener.heard(before.handle));
  }
  SECTION("the PCID's own entry, in whatever way the global one is") {
    Bench b("[tlb.l1]\nentries = 64\npolicy = fifo\n");
    for (u64 page = 1; page < 40; ++page) b.access(page << 12, 9);
    b.access(0x60'4000, 1);
    const Found before = b.look(0x60'4000, 1);
    b.tlb->flush_pcid(9);  // so that the global one takes a lower way
    b.access(0x60'4000, 2, Side::load, PageSize::k4K, true);
    CHECK(b.look(0x60'4000, 1).handle == before.handle);
    CHECK(b.look(0x60'4000, 2).handle != before.handle);
  }
}

TEST_CASE("what a look-up returned may be changed and inserted again") {
  Bench b("[tlb.l1]\nentries = 2\n[tlb.l2]\nlevel = 2\nentries = 4\ninclusion = exclusive\n");
  b.access(0x1000), b.access(0x2000), b.access(0x3000);
  const Found f = b.look(0x1000);
  REQUIRE(f.entry);
  const_cast<Entry*>(f.entry)->rights.dirty = true;
  const Found g = b.tlb->insert(*f.entry, Side::store);
  CHECK((g.entry->page == 1 && g.entry->frame == Bench::frame_of(0x1000) && g.entry->rights.dirty));
}

TEST_CASE("flushes remove what the SDM says and no more") {
  Bench b(kSkylake);
  const auto fill = [&] {
    b.tlb->flush_all();
    b.access(0x1000, 1), b.access(0x2000, 1), b.access(0x1000, 2), b.access(0x9000, 1, Side::load, PageSize::k4K, true);
    REQUIRE(b.residents() == 8);
  };
  const auto has = [&](u64 linear, u16 pcid) { return b.look(linear, pcid).entry != nullptr; };

  fill();
  CHECK(has(0x9000, 77));       // global: every PCID
  CHECK_FALSE(has(0x2000, 2));  // tagged with PCID 1
  CHECK(b.tlb->flush_page(0x1fff, 1, true) == 2);
  CHECK_FALSE(has(0x1000, 1));
  CHECK(has(0x1000, 2));
  CHECK(has(0x2000, 1));

  fill();
  CHECK(b.tlb->flush_page(0x9000, 5, false) == 0);  // INVPCID type 0 leaves globals
  CHECK(b.tlb->flush_page(0x9000, 5, true) == 2);   // INVLPG does not
  CHECK_FALSE(has(0x9000, 1));

  fill();
  CHECK(b.tlb->flush_pcid(1) == 4);
  CHECK(has(0x9000, 1));
  CHECK(has(0x1000, 2));
  CHECK_FALSE(has(0x2000, 1));

  fill();
  CHECK(b.tlb->flush_vpid(0, false) == 6);
  CHECK(has(0x9000, 1));
  CHECK(b.residents() == 2);

  fill();
  CHECK(b.tlb->flush_all() == 8);
  CHECK(b.residents() == 0);
  CHECK(b.value("tlb.l1d.flushes") + b.value("tlb.l2.flushes") >= 8 + 6 + 4 + 2 + 2);
}

TEST_CASE("a high canonical address and its low counterpart are different pages, on 57 bits") {
  Bench b(kSkylake);
  CHECK(b.access(0xffff'8000'0000'1000) == 0);
  CHECK(b.access(0x0000'8000'0000'1000) == 0);
  CHECK(b.access(0xff00'0000'0000'1000) == 0);
  CHECK(b.access(0x0000'0000'0000'1000) == 0);
  CHECK(b.access(0xffff'8000'0000'1000) == 1);
}

TEST_CASE("untagged TLBs lose their non-global entries when the PCID changes, tagged ones keep them") {
  Bench b("[tlb.l1]\nentries = 16\ntags = none\n[tlb.l2]\nlevel = 2\nentries = 64\ntags = pcid\n");
  b.access(0x1000, 1), b.access(0x2000, 1, Side::load, PageSize::k4K, true);
  CHECK(b.access(0x1000, 1) == 1);
  b.tlb->set_pcid(2);
  b.tlb->set_pcid(1);
  CHECK(b.access(0x2000, 1) == 1);  // global
  CHECK(b.access(0x1000, 1) == 2);
  CHECK(b.access(0x3000, 2) == 0);  // a look-up for another PCID does it too
  CHECK(b.access(0x1000, 1) == 2);
  CHECK(b.value("tlb.l1.flushes") == 3);
}

TEST_CASE("an exclusive level holds what the front evicted, and nothing twice") {
  Bench b("[tlb.l1]\nentries = 4\n[tlb.l2]\nlevel = 2\nentries = 8\ninclusion = exclusive\n");
  ListTlb l1{1, 4, false, {}}, l2{1, 8, false, {}};
  Random random(9);
  for (int step = 0; step < 20'000; ++step) {
    const u64 page = random.below(16);
    const unsigned expected = l1.touch(page) ? 1 : l2.touch(page) ? 2 : 0;
    if (expected == 2) l2.remove(page);
    if (expected != 1) {
      auto& list = l1.of(0);
      if (list.size() == 4) l2.insert(list.front());
      l1.insert(page);
    }
    REQUIRE(b.access(page << 12) == expected);
    if (step % 100 == 0) {
      std::set<u64> pages;
      b.tlb->for_each([&](const std::string&, const Entry& e) { REQUIRE(pages.insert(e.page).second); });
    }
  }
  CHECK(b.residents() == 12);
}

TEST_CASE("an exclusive level behind two TLBs holds a page once, whoever evicted it last") {
  Bench b(
      "[tlb.l1i]\nserves = instruction\nentries = 2\n[tlb.l1d]\nserves = data\nentries = 2\n"
      "[tlb.l2]\nlevel = 2\nentries = 8\ninclusion = exclusive\n");
  for (const Side side : {Side::fetch, Side::load}) b.access(0x1000, 0, side);  // walks twice: nothing is behind
  for (const u64 linear : {0x2000, 0x3000}) b.access(linear, 0, Side::fetch), b.access(linear + 0x8000);
  CHECK(b.contents().count("tlb.l2:1:4K") == 1);
  CHECK(b.value("tlb.l2.fills") == 2);
  CHECK(b.access(0x1000) == 2);
  CHECK(b.contents().count("tlb.l2:1:4K") == 0);
}

TEST_CASE("an exclusive level keeps sizes that nobody in front takes") {
  Bench b("[tlb.l1]\nentries = 4\npages = 4K\n[tlb.l2]\nlevel = 2\nentries = 8\ninclusion = exclusive\n");
  CHECK(b.access(0x20'0000, 0, Side::load, PageSize::k2M) == 0);
  CHECK(b.access(0x20'1000) == 2);
  CHECK(b.access(0x20'2000) == 2);
}

TEST_CASE("an inclusive level's victims leave the levels in front") {
  Bench b(
      "[tlb.l1i]\nserves = instruction\nentries = 4\n[tlb.l1d]\nserves = data\nentries = 4\n"
      "[tlb.l2]\nlevel = 2\nentries = 4\npolicy = fifo\ninclusion = inclusive\n");
  Random random(5);
  for (int step = 0; step < 20'000; ++step) {
    const bool large = random.below(5) == 0;
    const u64 linear = large ? 0x4000'0000 + random.below(3) * 0x20'0000 : random.below(8) << 12;
    b.access(linear, 0, random.below(2) ? Side::fetch : Side::load, large ? PageSize::k2M : PageSize::k4K);
    std::set<u64> behind;
    std::vector<u64> front;
    b.tlb->for_each([&](const std::string& array, const Entry& e) {
      if (array == "tlb.l2")
        behind.insert(e.page);
      else
        front.push_back(e.page);
    });
    for (const u64 page : front) REQUIRE(behind.contains(page));
  }
  CHECK(b.value("tlb.l1i.dropped") > 100);
  CHECK(b.value("tlb.l1d.dropped") > 100);
}

TEST_CASE("a size that two arrays take fills both before either evicts") {
  Bench b("[tlb.l1]\nentries = 4\npages = 4K, 2M\n[tlb.l1.b]\nentries = 4\npages = 4K, 1G\n");
  for (u64 page = 0; page < 8; ++page) CHECK(b.access(page << 12) == 0);
  for (u64 page = 0; page < 8; ++page) CHECK(b.access(page << 12) == 1);
  b.access(8 << 12), b.access(9 << 12);
  std::map<std::string, int> per_array;
  b.tlb->for_each([&](const std::string& array, const Entry& e) { per_array[array] += e.page >= 8; });
  CHECK(per_array == std::map<std::string, int>{{"tlb.l1", 1}, {"tlb.l1.b", 1}});
}

TEST_CASE(
    "listeners hear of first-level residents that are evicted, flushed, or touched last no longer; handles are unique") {
  SECTION("evictions and flushes, and nothing of the second level") {
    Bench b(
        "[tlb.l1i]\nserves = instruction\nentries = 2\n[tlb.l1d]\nserves = data\nentries = 2\n[tlb.l2]\nlevel = 2\nentries "
        "= 4\n");
    b.access(0x1000), b.access(0x2000), b.access(0x1000, 0, Side::fetch);
    const u32 h1 = b.look(0x1000).handle, h2 = b.look(0x2000).handle, hi = b.look(0x1000, 0, Side::fetch).handle;
    CHECK(std::set<u32>{h1, h2, hi}.size() == 3);
    CHECK(b.listener.left.empty());
    b.access(0x3000);
    CHECK(b.listener.left == std::vector<u32>{h1});
    b.listener.left.clear();
    b.tlb->flush_page(0x1000, 0, true);
    CHECK(b.listener.left == std::vector<u32>{hi});
    b.listener.left.clear();
    b.tlb->flush_all();
    CHECK(b.listener.left.size() == 2);
  }
  SECTION("last touched") {
    Bench b("[tlb.l1]\nentries = 8\nways = 4\npolicy = bit-plru\n");
    b.access(0x2000);
    const Found two = b.look(0x2000);
    CHECK(two.filterable);
    b.access(0x3000);  // the other set
    CHECK(b.listener.left.empty());
    b.access(0x4000);
    CHECK(b.listener.left == std::vector<u32>{two.handle});
    CHECK(b.look(0x2000).filterable);
  }
}

TEST_CASE("replayed touches keep the hierarchy's victims equal to asking it always, page sizes and flushes included") {
  for (const std::string policy : {"lru", "tree-plru", "bit-plru", "srrip", "fifo", "random", "plru4"}) {
    INFO(policy);
    const std::string text = "[tlb.l1]\nentries = 16\nways = 4\npages = 4K\npolicy = " + policy +
                             "\n[tlb.l1.2m]\nentries = 4\nways = 4\npages = 2M\npolicy = " + policy +
                             "\n[tlb.l2]\nlevel = 2\nentries = 32\nways = 4\nindex = xor\npolicy = " + policy + "\n";
    Bench asked(text), filtered(text);
    struct Held {
      u64 linear;
      u16 pcid;
      PageSize size;
      Touch touch;
    };
    std::multimap<u32, Held> filter;
    u64 retired = 0;
    Random random(1);
    const auto drop = [&] {
      for (const u32 h : filtered.listener.left) filter.erase(h);
      filtered.listener.left.clear();
    };
    for (int step = 0; step < 30'000; ++step) {
      const bool large = random.below(4) == 0;
      const u64 linear = large ? 0x1000'0000 + random.below(8) * 0x20'0000 : random.below(random.below(2) ? 10 : 60) << 12;
      const u16 pcid = static_cast<u16>(1 + random.below(20) / 19);
      const PageSize size = large ? PageSize::k2M : PageSize::k4K;
      if (random.below(300) == 0) {
        REQUIRE(asked.tlb->flush_page(linear, pcid, true) == filtered.tlb->flush_page(linear, pcid, true));
        drop();
        continue;
      }
      const unsigned level = asked.access(linear, pcid, Side::load, size);
      const auto it = std::find_if(filter.begin(), filter.end(),
                                   [&](const auto& h) { return h.second.linear == linear && h.second.pcid == pcid; });
      if (it != filter.end()) {
        REQUIRE(level == 1);
        ++filtered.counts.ordinal, ++filtered.counts.paged[1][1], ++retired;
        apply(it->second.touch, filtered.counts.ordinal);
        continue;
      }
      Found f = filtered.look(linear, pcid);
      REQUIRE(f.level == level);
      if (!f.entry) f = filtered.tlb->insert(Bench::entry(linear, pcid, size), Side::load);
      drop();
      REQUIRE(f.filterable);
      filter.insert({f.handle, {linear, pcid, size, f.touch}});
    }
    CHECK(retired > 2000);
    CHECK(asked.contents() == filtered.contents());
    CHECK(asked.value("tlb.l1.hits") == filtered.value("tlb.l1.hits"));
    CHECK(asked.value("tlb.l2.misses") == filtered.value("tlb.l2.misses"));
  }
}

TEST_CASE("a first level that does not serve a side is skipped for it and does not count its accesses") {
  Bench b("[tlb.l1d]\nserves = load, store\nentries = 4\n[tlb.l2]\nlevel = 2\nlatency = 9\nentries = 8\n");
  CHECK(b.tlb->first_level_latency(Side::fetch) == 0);
  CHECK(b.access(0x1000, 0, Side::fetch) == 0);
  const Found f = b.look(0x1000, 0, Side::fetch);
  CHECK((f.level == 2 && f.cycles == 9 && !f.filterable));
  CHECK(b.value("tlb.l1d.accesses") == 0);
  b.access(0x1000);
  CHECK(b.value("tlb.l1d.accesses") == 1);
  CHECK(b.value("tlb.l1d.misses") == 1);
  CHECK(b.value("tlb.l2.accesses") == 3);
}

TEST_CASE("without any TLB every access walks") {
  Bench b("");
  CHECK(b.access(0x1000) == 0);
  CHECK(b.access(0x1000) == 0);
  CHECK(b.tlb->flush_all() == 0);
}

TEST_CASE("impossible hierarchies are refused, naming the key") {
  CHECK_THAT(refusal("[tlb.l1d]\nways = 4\n"), Contains("tlb.l1d.entries"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 0\n"), Contains("test.ini:2") && Contains("tlb.l1d.entries"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 48\nways = 4\n"), Contains("tlb.l1d.index") && Contains("modulo"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 64\nways = 4\n[tlb.l1d.2m]\nentries = 30\nways = 4\n"),
             Contains("tlb.l1d.2m.ways"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 64\npages = 8K\n"),
             Contains("tlb.l1d.pages") && Contains("8K") && Contains("4K, 2M, 4M, 1G"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 64\nserves = date\n"), Contains("tlb.l1d.serves") && Contains("date"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 64\n[tlb.l1x]\nserves = store\nentries = 64\n"),
             Contains("tlb.l1x.serves") && Contains("tlb.l1d") && Contains("stores"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 64\npolicy = clock\n"), Contains("tlb.l1d.policy"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 64\nlevel = 5\n"), Contains("tlb.l1d.level"));
  CHECK_THAT(refusal("[tlb.l1]\nentries = 4\n[tlb.l2d]\nlevel = 2\nserves = data\nentries = 8\ninclusion = exclusive\n"),
             Contains("tlb.l2d.inclusion") && Contains("tlb.l1"));
  CHECK_THAT(refusal("[tlb.l1d]\nentries = 64\nway = 4\n"), Contains("tlb.l1d.way"));
}
