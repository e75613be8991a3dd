// The policy of docs/models.md against a list model, and its touch, replayed as a filter does, against asking the array.
#include "test/example_model/lip.cpp"

#include "base/random.h"
#include "test/catch.h"
#include "tlb/array.h"

using namespace nestwalk;
using namespace nestwalk::tlb;

namespace {

std::unique_ptr<Array<u64>> make_array(u32 sets, u32 ways) {
  sim::Settings settings;
  settings.load_text("[a]\nways = " + std::to_string(ways) + "\npolicy = lip\n", "test");
  sim::Section section = settings.section("a");
  const Geometry geometry = read_geometry(section, sets * ways);
  REQUIRE(geometry.sets == sets);
  return std::make_unique<Array<u64>>(geometry, make_policy(section, sets, ways, 1));
}

/// One set: ways that were hit, least recent first; ways that never were go before them, the lowest first.
struct ListModel {
  std::vector<u32> hit_order;
  u32 ways;

  void forget(u32 way) { hit_order.erase(std::remove(hit_order.begin(), hit_order.end(), way), hit_order.end()); }
  void hit(u32 way) {
    forget(way);
    hit_order.push_back(way);
  }
  u32 victim() const {
    for (u32 way = 0; way < ways; ++way)
      if (std::find(hit_order.begin(), hit_order.end(), way) == hit_order.end()) return way;
    return hit_order.front();
  }
};

}  // namespace

TEST_CASE("LIP gives up what was never hit, then the least recently hit, as the list model does") {
  const u32 ways = 6;
  const auto array = make_array(1, ways);
  ListModel model{{}, ways};
  Random random(3);
  u64 now = 0;
  for (u32 i = 0; i < 20'000; ++i) {
    const u64 tag = random.below(9);
    ++now;
    if (const u32 way = array->find(0, tag); way != Array<u64>::kNone) {
      array->touch(0, way, now);
      model.hit(way);
      continue;
    }
    const bool full = !array->has_room(0);
    const u32 expected = model.victim();
    Array<u64>::Displaced displaced;
    const u32 way = array->insert(0, tag, tag, now, displaced);
    REQUIRE(displaced.any == full);
    if (full) REQUIRE(way == expected);
    model.forget(way);
  }
}

TEST_CASE("a scan passes through one way of LIP and leaves the rest, where true LRU loses everything") {
  const auto array = make_array(1, 4);
  Array<u64>::Displaced displaced;
  u64 now = 0;
  for (u64 tag = 0; tag < 4; ++tag) array->insert(0, tag, tag, ++now, displaced);
  for (u64 tag = 0; tag < 3; ++tag) array->touch(0, array->find(0, tag), ++now);
  for (u64 tag = 100; tag < 200; ++tag) array->insert(0, tag, tag, ++now, displaced);
  for (u64 tag = 0; tag < 3; ++tag) CHECK(array->find(0, tag) != Array<u64>::kNone);
}

TEST_CASE("hits on LIP that a filter replays leave the state that asking leaves") {
  const auto asked = make_array(2, 4), replayed = make_array(2, 4);
  Random random(5);
  u64 now = 0;
  for (u32 i = 0; i < 5'000; ++i) {
    const u64 tag = random.below(14);
    const u32 set = asked->set_of(tag), way = asked->find(set, tag);
    REQUIRE(replayed->find(set, tag) == way);
    ++now;
    if (way != Array<u64>::kNone) {
      asked->touch(set, way, now);
      REQUIRE(replayed->filterable());
      apply(replayed->touch_of(set, way), now);
    } else {
      Array<u64>::Displaced displaced;
      REQUIRE(asked->insert(set, tag, tag, now, displaced) == replayed->insert(set, tag, tag, now, displaced));
    }
  }
}
