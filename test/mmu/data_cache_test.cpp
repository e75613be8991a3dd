// The data caches: latencies at hit and miss of every level, write-backs, the walker's entry, and a list-model reference.
#include "mmu/data_cache.h"

#include <algorithm>
#include <list>
#include <map>
#include <set>

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using Catch::Matchers::Contains;
using tlb::Side;

namespace {

struct Listener : tlb::ResidentListener {
  std::vector<u32> left;
  void resident_left(u32 handle) override { left.push_back(handle); }
};

struct Bench {
  sim::Settings settings;
  tlb::AccessCounts counts;
  Listener listener;
  std::unique_ptr<DataCaches> caches;
  sim::Stats stats;

  explicit Bench(const std::string& text) {
    settings.load_text(text, "test.ini");
    caches = std::make_unique<DataCaches>(settings.section("cache"), 1);
    settings.refuse_unknown();
    caches->set_listener(&listener);
    caches->set_access_counts(&counts);
    caches->declare(stats);
  }
  CacheAnswer core(u64 address, Side side = Side::load) {
    ++counts.ordinal;
    ++counts.paged[1][static_cast<unsigned>(side)];
    return caches->access(MachineAddr(address), side, true);
  }
  CacheAnswer walk(u64 address, bool write = false) { return caches->walk_access(MachineAddr(address), write); }
  u64 value(const std::string& name) { return stats.value(stats.snapshot(), "cache." + name); }
};

/// Split first level of 2 sets x 2 ways, second of 4 x 2, third of 8 lines, fully associative.
const std::string kLevels = R"(
memory_latency = 200
[cache.l1d]
serves = data
bytes = 256
ways = 2
latency = 4
[cache.l1i]
serves = instruction
bytes = 256
ways = 2
latency = 3
[cache.l2]
bytes = 512
ways = 2
latency = 14
[cache.l3]
bytes = 512
latency = 50
)";
const std::string kFull = "[cache]\nmodel = full\n" + kLevels;
const std::string kWalks = "[cache]\nmodel = walks\n" + kLevels;

std::string refusal(const std::string& text) {
  try {
    Bench b(text);
  } catch (const sim::ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("model = none charges every walk access one flat latency") {
  Bench b("[cache]\nmodel = none\nwalk_latency = 33\n");
  for (int i = 0; i < 2; ++i) {
    const CacheAnswer a = b.walk(0x1000, i);
    CHECK((a.cycles == 33 && a.served_by == kFlat));
  }
}

TEST_CASE("without caches every walk access goes to memory") {
  Bench b("[cache]\nmemory_latency = 123\n");
  CHECK(b.caches->model() == CacheModel::walks);
  for (int i = 0; i < 2; ++i) CHECK(b.walk(0x1000).cycles == 123);
  CHECK(b.walk(0x1000).served_by == kMemory);
  CHECK(b.value("memory.walk_reads") == 3);
}

TEST_CASE("an access costs the latency of the level that serves it, at its hit and at its miss") {
  Bench b(kFull);
  CacheAnswer a = b.core(0x1000);
  CHECK((a.served_by == kMemory && a.cycles == 200 - 4));
  a = b.core(0x103f);
  CHECK((a.served_by == 1 && a.cycles == 0));
  a = b.core(0x1040);  // the next line
  CHECK(a.served_by == kMemory);
  a = b.core(0x1000, Side::fetch);  // l1i has it not, l2 has
  CHECK((a.served_by == 2 && a.cycles == 14 - 3));
  a = b.core(0x1000, Side::fetch);
  CHECK((a.served_by == 1 && a.cycles == 0));
  // Lines 0x1000 + k * 0x80 share a set of l1d and every other one a set of l2: two more push it out of l1d, not of l2.
  b.core(0x1080), b.core(0x1180);
  a = b.core(0x1000);
  CHECK((a.served_by == 2 && a.cycles == 14 - 4));
  // 0x1100 and 0x1200 share l2's set with 0x1000 and push it out there and in front; l3 still has it.
  b.core(0x1100), b.core(0x1200), b.core(0x1300);
  a = b.core(0x1000);
  CHECK((a.served_by == 3 && a.cycles == 50 - 4));
}

TEST_CASE("the walker pays whole latencies and enters at walk_level") {
  Bench first(kWalks);
  CHECK((first.walk(0x1000).cycles == 200 && first.walk(0x1008).cycles == 4));
  Bench second(kWalks + "[cache]\nwalk_level = 2\n");
  CHECK(second.walk(0x1000).served_by == kMemory);
  const CacheAnswer a = second.walk(0x1000);
  CHECK((a.served_by == 2 && a.cycles == 14));
  CHECK(second.value("l1d.accesses") == 0);
  CHECK(second.value("l2.walk_accesses") == 2);
  CHECK(second.value("l2.walk_misses") == 1);
  CHECK(second.value("l2.accesses") == 2);
  CHECK(second.value("l2.hits") == 1);
}

TEST_CASE("walks and the core share the caches in the full model, and each is counted for itself") {
  Bench b(kFull);
  b.walk(0x1000);
  CHECK(b.core(0x1000).served_by == 1);
  b.core(0x2000);
  CHECK(b.walk(0x2000).served_by == 1);
  CHECK(b.value("l1d.accesses") == 4);
  CHECK(b.value("l1d.walk_accesses") == 2);
  CHECK(b.value("l1d.misses") == 2);
  CHECK(b.value("l1d.walk_misses") == 1);
  CHECK(b.value("l1d.hits") == 2);
  CHECK(b.value("l2.accesses") == 2);
}

TEST_CASE("the first level's core accesses are what the port counted, less what reached no cache") {
  Bench b(kFull);
  b.counts.paged[0][1] = 10, b.counts.paged[1][2] = 20, b.counts.unpaged[1] = 5, b.counts.split[1][1] = 3;
  b.counts.uncached[2] = 2, b.counts.paged[1][0] = 100;
  CHECK(b.value("l1d.accesses") == 10 + 20 + 5 + 3 - 2);
  CHECK(b.value("l1i.accesses") == 100);
  CHECK(b.value("l2.accesses") == 0);
}

TEST_CASE("a dirty victim is written to the next level, a clean one is not, and neither costs latency") {
  Bench b(kFull);
  b.core(0x1000, Side::store);
  b.core(0x1080);
  CHECK(b.core(0x1180).cycles == 200 - 4);  // evicts 0x1000 from l1d
  CHECK(b.value("l1d.writebacks") == 1);
  CHECK(b.value("l1d.evictions") == 1);
  b.core(0x1280);  // evicts 0x1080, clean
  CHECK(b.value("l1d.writebacks") == 1);
  CHECK(b.value("l1d.evictions") == 2);
  CHECK(b.value("memory.writes") == 0);
  // Once it has left l2 and l3 as well, memory has been written exactly once.
  for (u64 a = 0x10'0000; a < 0x10'1000; a += 64) b.core(a);
  CHECK(b.value("l2.writebacks") == 1);
  CHECK(b.value("l3.writebacks") == 1);
  CHECK(b.value("memory.writes") == 1);
}

TEST_CASE("the walker's A and D writes make lines dirty") {
  Bench b(kWalks);
  b.walk(0x1000, true);
  b.walk(0x2000, false);
  for (u64 a = 0x10'0000; a < 0x10'1000; a += 64) b.walk(a);
  CHECK(b.value("memory.writes") == 1);
}

TEST_CASE("a line that a lower level no longer has is allocated there by the write-back") {
  Bench b("[cache]\nmodel = full\n[cache.l1d]\nbytes = 256\n[cache.l2]\nbytes = 128\nways = 2\n");  // l2 smaller than l1d
  b.core(0x1000, Side::store);
  b.core(0x2000), b.core(0x3000);  // 0x1000 has left l2
  b.core(0x4000), b.core(0x5000);  // and now l1d
  CHECK(b.value("l1d.writebacks") == 1);
  CHECK(b.core(0x1000).served_by == 2);
}

TEST_CASE("three levels hit and miss like list models and write memory as often") {
  struct ListCache {
    u64 sets, ways;
    std::map<u64, std::list<std::pair<u64, bool>>> set;  // line, dirty; least recent first
    std::pair<u64, bool>* find(u64 line, bool touch) {
      auto& l = set[line % sets];
      for (auto it = l.begin(); it != l.end(); ++it)
        if (it->first == line) {
          if (touch) l.splice(l.end(), l, it);
          return &*it;
        }
      return nullptr;
    }
    std::pair<u64, bool> insert(u64 line, bool dirty) {
      auto& l = set[line % sets];
      std::pair<u64, bool> out{~u64{0}, false};
      if (l.size() == ways) out = l.front(), l.pop_front();
      l.emplace_back(line, dirty);
      return out;
    }
  };
  ListCache levels[3] = {{2, 2, {}}, {4, 2, {}}, {1, 8, {}}};
  u64 memory_writes = 0;
  const std::function<void(int, u64)> write_back = [&](int level, u64 line) {
    if (level == 3) {
      ++memory_writes;
    } else if (auto* held = levels[level].find(line, false)) {
      held->second = true;
    } else if (const auto out = levels[level].insert(line, true); out.second) {
      write_back(level + 1, out.first);
    }
  };
  Bench b(kFull);
  Random random(8);
  u64 served[4] = {};
  for (int step = 0; step < 50'000; ++step) {
    const u64 line = random.below(2) ? random.below(5) : random.below(14);
    const bool store = random.below(3) == 0;
    int at = 0;
    while (at < 3 && !levels[at].find(line, true)) ++at;
    if (at == 0 && store) levels[0].find(line, false)->second = true;
    for (int i = at; i-- > 0;)
      if (const auto out = levels[i].insert(line, i == 0 && store); out.second) write_back(i + 1, out.first);
    REQUIRE(b.core(line << 6, store ? Side::store : Side::load).served_by == (at == 3 ? kMemory : at + 1));
    ++served[at];
  }
  for (const u64 n : served) CHECK(n > 500);
  CHECK(b.value("memory.writes") == memory_writes);
  CHECK(memory_writes > 500);
  CHECK(b.value("l2.hits") == served[1]);
  CHECK(b.value("l1d.hits") == served[0]);
}

TEST_CASE("an inclusive level's victims leave the levels in front, with their dirty bytes") {
  Bench b(
      "[cache]\nmodel = full\n[cache.l1d]\nserves = data\nbytes = 256\n[cache.l1i]\nserves = instruction\nbytes = 256\n"
      "[cache.l2]\nbytes = 256\npolicy = fifo\ninclusive = true\n");
  const CacheAnswer a = b.core(0x1000, Side::store);
  const CacheAnswer i = b.core(0x1000, Side::fetch);
  CHECK(a.handle != i.handle);
  for (const u64 line : {0x2000, 0x3000, 0x1000, 0x4000, 0x5000}) b.core(line);  // 0x1000 recent in l1d, oldest in l2
  CHECK(b.listener.left == std::vector<u32>{a.handle, i.handle});
  CHECK(b.value("memory.writes") == 1);
  CHECK(b.value("l1d.back_invalidations") == 1);
  CHECK(b.core(0x1000).served_by == kMemory);
}

TEST_CASE("a first-level line is filterable until it leaves; replaying its touch is accessing it") {
  for (const std::string policy : {"lru", "tree-plru", "bit-plru", "srrip"}) {
    INFO(policy);
    const std::string text = "[cache]\nmodel = full\n[cache.l1d]\nbytes = 512\nways = 4\npolicy = " + policy +
                             "\n[cache.l2]\nbytes = 2K\nways = 4\n";
    Bench asked(text), filtered(text);
    std::map<std::pair<u64, bool>, CacheAnswer> held;  // by line and whether for stores
    Random random(2);
    u64 retired = 0;
    for (int step = 0; step < 20'000; ++step) {
      const u64 line = random.below(2) ? random.below(4) : random.below(40);
      const bool store = random.below(3) == 0;
      const Side side = store ? Side::store : Side::load;
      if (random.below(10) == 0) {
        REQUIRE(asked.walk(line << 6).cycles == filtered.walk(line << 6).cycles);
      } else {
        const CacheAnswer expected = asked.core(line << 6, side);
        if (const auto it = held.find({line, store}); it != held.end()) {
          REQUIRE(expected.cycles == 0);
          ++filtered.counts.paged[1][static_cast<unsigned>(side)], ++retired;
          apply(it->second.touch, ++filtered.counts.ordinal);
          continue;
        }
        const CacheAnswer a = filtered.core(line << 6, side);
        REQUIRE(a.cycles == expected.cycles);
        REQUIRE(a.filterable);
        for (const u32 h : filtered.listener.left) std::erase_if(held, [&](const auto& e) { return e.second.handle == h; });
        filtered.listener.left.clear();
        held[{line, store}] = a;
      }
      for (const u32 h : filtered.listener.left) std::erase_if(held, [&](const auto& e) { return e.second.handle == h; });
      filtered.listener.left.clear();
    }
    CHECK(retired > 1000);
    for (const std::string name :
         {"l1d.accesses", "l1d.hits", "l1d.misses", "l1d.writebacks", "l2.hits", "l2.writebacks", "memory.writes"})
      CHECK(asked.value(name) == filtered.value(name));
  }
}

TEST_CASE("lines may be 64 to 256 bytes") {
  Bench b("[cache]\nmodel = full\nline = 256\n[cache.l1d]\nbytes = 1K\n");
  CHECK(b.caches->line_shift() == 8);
  b.core(0x1000);
  CHECK(b.core(0x10ff).served_by == 1);
  CHECK(b.core(0x1100).served_by == kMemory);
}

TEST_CASE("impossible caches are refused, naming the key") {
  CHECK_THAT(refusal("[cache]\nline = 96\n"), Contains("cache.line") && Contains("128"));
  CHECK_THAT(refusal("[cache]\nline = 32\n"), Contains("cache.line"));
  CHECK_THAT(refusal("[cache.l1d]\nways = 8\n"), Contains("cache.l1d.bytes"));
  CHECK_THAT(refusal("[cache.l1d]\nbytes = 1000\n"), Contains("cache.l1d.bytes") && Contains("64"));
  CHECK_THAT(refusal("[cache.l1d]\nbytes = 48K\nways = 8\n"), Contains("cache.l1d.index") && Contains("96 sets"));
  CHECK(refusal("[cache.l1d]\nbytes = 48K\nways = 12\n") == "accepted");
  CHECK_THAT(refusal("[cache.l1d]\nbytes = 32K\nways = 8\nlatency = 20\n[cache.l2]\nbytes = 1M\nways = 16\nlatency = 14\n"),
             Contains("cache.l2.latency") && Contains("cache.l1d"));
  CHECK_THAT(refusal("[cache]\nmemory_latency = 10\n[cache.l2]\nbytes = 1M\nways = 16\n"),
             Contains("cache.memory_latency"));
  CHECK_THAT(refusal("[cache.l1d]\nbytes = 32K\n[cache.l1x]\nbytes = 32K\n"),
             Contains("cache.l1x.level") && Contains("cache.l1d"));
  CHECK_THAT(refusal("[cache]\nwalk_level = 3\n[cache.l1d]\nbytes = 32K\n"), Contains("cache.walk_level"));
  CHECK_THAT(refusal("[cache.memory]\nbytes = 32K\n"), Contains("cache.memory"));
  CHECK_THAT(refusal("[cache]\nmodel = some\n"), Contains("cache.model") && Contains("walks"));
}
