// Every replacement policy against a list model written from its definition, and every Touch against asking the array.
#include <algorithm>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>

#include "base/random.h"
#include "test/catch.h"
#include "tlb/array.h"

using namespace nestwalk;
using namespace nestwalk::tlb;

namespace {

using TestArray = Array<u64>;

std::unique_ptr<TestArray> make_array(const std::string& text, u32 entries, u64 seed = 7) {
  sim::Settings settings;
  settings.load_text("[a]\n" + text, "test");
  sim::Section section = settings.section("a");
  const Geometry g = read_geometry(section, entries);
  auto array = std::make_unique<TestArray>(g, make_policy(section, g.sets, g.ways, seed));
  settings.refuse_unknown();
  return array;
}

/// A set as a reference sees it: told of hits and fills of ways, asked for the victim of a full set.
struct Reference {
  virtual ~Reference() = default;
  virtual void hit(u32 way) = 0;
  virtual void fill(u32 way) { hit(way); }
  virtual u32 victim() = 0;
};

struct ListLru : Reference {
  std::list<u32> order;  // least recent first
  void hit(u32 way) override {
    order.remove(way);
    order.push_back(way);
  }
  u32 victim() override { return order.front(); }
};

struct ListFifo : ListLru {
  void hit(u32) override {}
  void fill(u32 way) override { ListLru::hit(way); }
};

/// Half by half: give up the half that was used less recently, all the way down.
struct HalvesPlru : Reference {
  u32 ways;
  std::map<std::pair<u32, u32>, bool> upper_next;  // [begin, size) of a node -> its upper half goes next
  explicit HalvesPlru(u32 n) : ways(n) {}
  void hit(u32 way) override {
    for (u32 begin = 0, size = ways; size > 1;) {
      size /= 2;
      const bool upper = way >= begin + size;
      upper_next[{begin, size * 2}] = !upper;
      if (upper) begin += size;
    }
  }
  u32 victim() override {
    u32 begin = 0;
    for (u32 size = ways; size > 1; size /= 2)
      if (upper_next[{begin, size}]) begin += size / 2;
    return begin;
  }
};

struct SetOfMru : Reference {
  u32 ways;
  std::set<u32> recent;
  explicit SetOfMru(u32 n) : ways(n) {}
  void hit(u32 way) override {
    recent.insert(way);
    if (recent.size() == ways) recent = {way};
  }
  u32 victim() override {
    for (u32 w = 0; w < ways; ++w)
      if (!recent.contains(w)) return w;
    return 0;
  }
};

struct StepwiseSrrip : Reference {
  std::vector<int> rrpv;
  explicit StepwiseSrrip(u32 n) : rrpv(n, 0) {}
  void hit(u32 way) override { rrpv[way] = 0; }
  void fill(u32 way) override { rrpv[way] = 2; }
  u32 victim() override {
    for (;;) {
      for (u32 w = 0; w < rrpv.size(); ++w)
        if (rrpv[w] == 3) return w;
      for (int& v : rrpv) ++v;
    }
  }
};

/// (MRU+1)%3PLRU4 as TLB;DR words it: three trees over four ways; the tree after the one used last gives up its victim.
struct ThreeTrees : Reference {
  HalvesPlru tree[3] = {HalvesPlru(4), HalvesPlru(4), HalvesPlru(4)};
  u32 used_last = 2;
  void hit(u32 way) override {
    used_last = way / 4;
    tree[way / 4].hit(way % 4);
  }
  u32 victim() override {
    const u32 t = (used_last + 1) % 3;
    return t * 4 + tree[t].victim();
  }
};

/// Random hits, misses and (optionally) removals in a one-set array; every victim must be the reference's.
void agree(TestArray& array, Reference& reference, bool removals, u64 seed) {
  const u32 ways = array.ways();
  Random random(seed);
  u64 now = 0, evictions = 0;
  for (int step = 0; step < 20'000; ++step) {
    const u64 tag = random.below(ways * 3 / 2 + 1);
    ++now;
    const u32 way = array.find(0, tag);
    if (way != TestArray::kNone) {
      if (removals && random.below(16) == 0) {
        array.erase(0, way);
        continue;
      }
      REQUIRE(array.at(0, way) == tag * 3);
      array.touch(0, way, now);
      reference.hit(way);
      continue;
    }
    std::optional<u32> expected;
    if (!array.has_room(0)) expected = reference.victim();
    TestArray::Displaced displaced;
    const u32 filled = array.insert(0, tag, tag * 3, now, displaced);
    REQUIRE(displaced.any == expected.has_value());
    if (expected) {
      REQUIRE(filled == *expected);
      REQUIRE(displaced.payload == displaced.tag * 3);
      ++evictions;
    }
    reference.fill(filled);
  }
  REQUIRE(evictions > 1000);
}

}  // namespace

TEST_CASE("true LRU gives up what a list keeps last, at any associativity, with and without removals") {
  for (const u32 ways : {1u, 2u, 3u, 4u, 12u, 64u, 100u})
    for (const bool removals : {false, true}) {
      ListLru reference;
      agree(*make_array("policy = lru", ways), reference, removals, ways);
    }
}

TEST_CASE("true LRU tells touches of one and the same access apart by their order") {
  auto array = make_array("policy = lru", 4);
  TestArray::Displaced d;
  for (const u64 tag : {3, 1, 2, 0}) array->insert(0, tag, 0, 5, d);  // one access: a walk's four reads
  array->touch(0, array->find(0, 3), 5);
  array->insert(0, 9, 0, 6, d);
  CHECK(d.tag == 1);
}

TEST_CASE("FIFO gives up the oldest resident whatever is hit") {
  for (const u32 ways : {1u, 4u, 12u, 64u})
    for (const bool removals : {false, true}) {
      ListFifo reference;
      agree(*make_array("policy = fifo", ways), reference, removals, ways);
    }
}

TEST_CASE("tree-PLRU gives up the half used less recently, recursively") {
  for (const u32 ways : {1u, 2u, 4u, 8u, 16u, 64u})
    for (const bool removals : {false, true}) {
      HalvesPlru reference(ways);
      agree(*make_array("policy = tree-plru", ways), reference, removals, ways);
    }
}

TEST_CASE("bit-PLRU gives up the lowest way outside the set of recent ones") {
  for (const u32 ways : {2u, 3u, 8u, 64u})
    for (const bool removals : {false, true}) {
      SetOfMru reference(ways);
      agree(*make_array("policy = bit-plru", ways), reference, removals, ways);
    }
}

TEST_CASE("SRRIP ages step by step until one way is distant, over word boundaries too") {
  for (const u32 ways : {1u, 4u, 16u, 32u, 33u, 80u})
    for (const bool removals : {false, true}) {
      StepwiseSrrip reference(ways);
      agree(*make_array("policy = srrip", ways), reference, removals, ways);
    }
}

namespace {

/// The vectors that TLB;DR measured and prints in its README (vusec/tlbdr, TLB/README.md), by structure.
const char* const kMeasuredDtlb = "permutations = 0 1 2 3 | 1 0 3 2 | 2 1 0 3 | 3 0 1 2\ninsertion = 3 0 1 2";
const char* const kMeasuredItlb =
    "permutations = 0 1 2 3 4 5 6 7 | 1 0 3 2 5 4 7 6 | 2 1 0 3 6 5 4 7 | 3 0 1 2 7 4 5 6 |"
    "4 1 2 3 0 5 6 7 | 5 0 3 2 1 4 7 6 | 6 1 0 3 2 5 4 7 | 7 0 1 2 3 4 5 6\ninsertion = 7 0 1 2 3 4 5 6";
const char* const kMeasuredStlb =
    "permutations = 0 1 2 3 4 5 6 7 8 9 10 11 | 1 2 0 4 5 3 7 8 6 10 11 9 | 2 0 1 5 3 4 8 6 7 11 9 10 |"
    "3 1 2 0 4 5 9 7 8 6 10 11 | 4 2 0 1 5 3 10 8 6 7 11 9 | 5 0 1 2 3 4 11 6 7 8 9 10 |"
    "6 1 2 3 4 5 0 7 8 9 10 11 | 7 2 0 4 5 3 1 8 6 10 11 9 | 8 0 1 5 3 4 2 6 7 11 9 10 |"
    "9 1 2 0 4 5 3 7 8 6 10 11 | 10 2 0 1 5 3 4 8 6 7 11 9 | 11 0 1 2 3 4 5 6 7 8 9 10\n"
    "insertion = 11 0 1 2 3 4 5 6 7 8 9 10";

}  // namespace

TEST_CASE("plru4, plru8 and mru3plru4 evict as the vectors measured on Skylake do") {
  const struct {
    std::string preset, vectors;
    u32 ways;
  } cases[] = {{"plru4", kMeasuredDtlb, 4}, {"plru8", kMeasuredItlb, 8}, {"mru3plru4", kMeasuredStlb, 12}};
  for (const auto& c : cases) {
    INFO(c.preset);
    auto preset = make_array("policy = " + c.preset, c.ways);
    auto vectors = make_array("policy = permutation\n" + c.vectors, c.ways);
    Random random(11);
    u64 evictions = 0;
    // Vectors do not say which way holds what, so tags are compared. The sets are first filled by misses alone, as
    // measured.
    for (u64 now = 1; now < 50'000; ++now) {
      const u64 tag = now <= c.ways ? now : random.below(c.ways * 3 / 2);
      const u32 a = preset->find(0, tag), b = vectors->find(0, tag);
      REQUIRE((a == TestArray::kNone) == (b == TestArray::kNone));
      if (a != TestArray::kNone) {
        preset->touch(0, a, now);
        vectors->touch(0, b, now);
        continue;
      }
      TestArray::Displaced da, db;
      preset->insert(0, tag, tag, now, da);
      vectors->insert(0, tag, tag, now, db);
      REQUIRE(da.any == db.any);
      REQUIRE(da.tag == db.tag);
      evictions += da.any;
    }
    CHECK(evictions > 10'000);
  }
}

TEST_CASE("(MRU+1)%3PLRU4 gives up the victim of the tree after the one used last") {
  for (const bool removals : {false, true}) {
    ThreeTrees reference;
    agree(*make_array("policy = mru3plru4", 12), reference, removals, 4);
  }
}

TEST_CASE("LRU written as permutation vectors is LRU, and the vectors may be given with commas") {
  ListLru reference;
  agree(*make_array("policy = permutation\npermutations = 0 1 2 | 1, 0, 2 | 2 0 1\ninsertion = 2 0 1", 3), reference, false,
        5);
}

TEST_CASE("random fills all ways before it evicts, reaches every way, and is the same for the same seed only") {
  std::vector<u32> victims[3];
  for (int run = 0; run < 3; ++run) {
    auto array = make_array("policy = random", 8, run == 2 ? 99 : 7);
    TestArray::Displaced d;
    for (u64 tag = 0; tag < 1008; ++tag) {
      const u32 way = array->insert(0, tag, 0, tag, d);
      REQUIRE(d.any == (tag >= 8));
      if (d.any) victims[run].push_back(way);
    }
  }
  CHECK(victims[0] == victims[1]);
  CHECK(victims[0] != victims[2]);
  for (u32 way = 0; way < 8; ++way) CHECK(std::count(victims[0].begin(), victims[0].end(), way) > 80);
}

namespace {

/// Drops what it is told to drop.
struct ToyFilter : ResidentListener {
  struct Held {
    u64 tag;
    Touch touch;
  };
  std::map<u32, Held> held;  // by handle
  void resident_left(u32 handle) override { held.erase(handle); }
  const Held* find(u64 tag) const {
    for (const auto& [handle, h] : held)
      if (h.tag == tag) return &h;
    return nullptr;
  }
};

}  // namespace

TEST_CASE("replaying a Touch leaves the same victims as asking the array every time") {
  const std::string vectors = std::string("policy = permutation\nways = 12\n") + kMeasuredStlb;
  const struct {
    std::string text;
    u32 entries;
    bool holds_several;  // of one set
  } cases[] = {{"policy = lru\nways = 4", 32, true},        {"policy = lru", 24, true},
               {"policy = tree-plru\nways = 8", 64, true},  {"policy = srrip\nways = 4", 16, true},
               {"policy = fifo\nways = 4", 16, true},       {"policy = random\nways = 4", 16, true},
               {"policy = bit-plru\nways = 8", 32, false},  {"policy = plru4\nways = 4", 32, true},
               {"policy = mru3plru4\nways = 12", 48, true}, {vectors, 48, false}};
  for (const auto& c : cases) {
    INFO(c.text);
    auto asked = make_array(c.text, c.entries), filtered = make_array(c.text, c.entries);
    ToyFilter filter;
    filtered->set_listener(&filter, 1000);
    REQUIRE(filtered->filterable());
    Random random(3);
    std::vector<u64> victims[2];
    u64 retired = 0;
    std::size_t most_of_a_set = 0;

    const auto access = [&](TestArray& a, u64 tag, u64 now, std::vector<u64>& evicted) {
      const u32 set = a.set_of(tag);
      u32 way = a.find(set, tag);
      if (way != TestArray::kNone) {
        a.touch(set, way, now);
      } else {
        TestArray::Displaced d;
        way = a.insert(set, tag, tag, now, d);
        if (d.any) evicted.push_back(d.tag);
      }
      return std::pair(set, way);
    };
    for (u64 now = 1; now < 30'000; ++now) {
      const u64 tag = random.below(2) ? random.below(c.entries / 2) : random.below(c.entries * 2);
      if (random.below(64) == 0) {
        for (TestArray* a : {asked.get(), filtered.get()})
          if (const u32 set = a->set_of(tag), way = a->find(set, tag); way != TestArray::kNone) a->erase(set, way);
        REQUIRE(filter.find(tag) == nullptr);
        continue;
      }
      access(*asked, tag, now, victims[0]);
      if (const auto* held = filter.find(tag)) {
        apply(held->touch, now);
        ++retired;
        continue;
      }
      const auto [set, way] = access(*filtered, tag, now, victims[1]);
      filter.held[filtered->handle(set, way)] = {tag, filtered->touch_of(set, way)};
      std::size_t of_this_set = 0;
      for (const auto& [handle, h] : filter.held) of_this_set += filtered->set_of(h.tag) == set;
      most_of_a_set = std::max(most_of_a_set, of_this_set);
    }
    CHECK(victims[0] == victims[1]);
    CHECK(victims[0].size() > 1000);
    CHECK(retired > 1000);
    CHECK((most_of_a_set > 1) == c.holds_several);
  }
}

TEST_CASE("vectors under which a second touch still changes something are not filterable") {
  // A hit moves one position up only ("climb"): touching twice is not touching once.
  auto climb = make_array("policy = permutation\npermutations = 0 1 2 | 1 0 2 | 0 2 1\ninsertion = 0 1 2", 3);
  CHECK_FALSE(climb->filterable());
}

TEST_CASE("policies refuse a geometry they cannot serve, naming the key") {
  const auto message = [](const std::string& text, u32 entries) -> std::string {
    try {
      make_array(text, entries);
    } catch (const sim::ConfigError& e) {
      return e.what();
    }
    return "accepted";
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(message("policy = tree-plru\nways = 12", 48), Contains("a.ways") && Contains("power of two"));
  CHECK_THAT(message("policy = tree-plru\nways = 128", 128), Contains("a.ways") && Contains("64"));
  CHECK_THAT(message("policy = bit-plru\nways = 65", 65), Contains("a.ways"));
  CHECK_THAT(message("policy = mru3plru4\nways = 8", 64), Contains("a.ways") && Contains("12"));
  CHECK_THAT(message("policy = lrru\nways = 8", 64), Contains("a.policy") && Contains("mru3plru4") && Contains("srrip"));
  CHECK_THAT(message("policy = permutation\nways = 2", 2), Contains("a.permutations"));
  CHECK_THAT(message("policy = permutation\nways = 2\npermutations = 0 1 | 1 1\ninsertion = 1 0", 2),
             Contains("a.permutations") && Contains("1 1"));
  CHECK_THAT(message("policy = permutation\nways = 2\npermutations = 0 1 | 1 0\ninsertion = 1 x", 2),
             Contains("a.insertion"));
  CHECK_THAT(message("ways = 5", 64), Contains("a.ways") && Contains("64"));
  CHECK_THAT(message("ways = 65", 64), Contains("a.ways"));
  CHECK_THAT(message("ways = 4", 48), Contains("a.index") && Contains("modulo"));
  CHECK_THAT(message("ways = 4\nindex = xor", 48), Contains("a.index"));
  CHECK(message("ways = 4\nindex = modulo", 48) == "accepted");
}

TEST_CASE("index functions: low bits, XOR-7, remainder") {
  const auto set_of = [](const std::string& text, u32 entries, u64 number) {
    return make_array(text, entries)->set_of(number);
  };
  CHECK(set_of("ways = 4", 64, 0x1234567) == 7);
  // 128 sets: bits 6:0 XOR bits 13:7, nothing above.
  const u64 number = 0xabcd'0000 | (0x55 << 7) | 0x0f;
  CHECK(set_of("ways = 12\nindex = xor", 1536, number) == (0x55 ^ 0x0f));
  CHECK(set_of("ways = 12\nindex = modulo", 1200, 12345) == 45);
  CHECK(set_of("ways = 0", 48, 12345) == 0);
  CHECK(make_array("ways = 0", 48)->ways() == 48);
  CHECK(make_array("ways = 1", 64)->sets() == 64);
}
