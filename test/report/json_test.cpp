// stats.json: nesting, flattening, exact numbers, equal bytes.
#include "report/json.h"

#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::report;
using Json = nlohmann::json;

namespace {

/// A small machine's statistics; `prefix_first` varies the order in which `cycles` and what is below it are declared.
struct Machine {
  u64 instructions = 1000, cycles = 3000, idle = 100, user_idle = 60, misses = 7, accesses = 70;
  u64 large = 0xffff'ffff'ffff'ffff;
  sim::Histogram latency;
  sim::Stats stats;

  explicit Machine(bool prefix_first = true) {
    for (const u64 v : {30, 30, 31, 200}) latency.add(v);
    stats.counter("instructions", instructions, "", "");
    if (prefix_first) stats.counter("cycles", cycles, "", "");
    stats.counter("cycles.idle", idle, "", "");
    stats.counter("cycles.user.idle", user_idle, "", "");
    if (!prefix_first) stats.counter("cycles", cycles, "", "");
    stats.counter("tlb.l1d.misses", misses, "", "");
    stats.counter("tlb.l1d.misses.user", misses, "", "");
    stats.counter("tlb.l1d.accesses", accesses, "", "");
    stats.counter("tlb.large", large, "", "");
    stats.histogram("walk.latency", latency, "", "");
    stats.histogram("walk.latency.user", latency, "", "");
    stats.ratio("tlb.l1d.rate", "tlb.l1d.misses", "tlb.l1d.accesses", "");
    stats.ratio("tlb.l1d.third", "instructions", "cycles", "");
  }
  std::string json(const Head& head = {}) const { return stats_json(head, stats, stats.snapshot()); }
};

}  // namespace

TEST_CASE("a dotted name becomes nested objects; what lies below a number's name stands beside the number") {
  for (const bool prefix_first : {true, false}) {
    const Json json = Json::parse(Machine(prefix_first).json());
    CHECK(json["instructions"] == 1000);
    CHECK(json["cycles"] == 3000);
    CHECK(json["cycles.idle"] == 100);
    CHECK(json["cycles.user"]["idle"] == 60);
    CHECK(json["tlb"]["l1d"]["misses"] == 7);
    CHECK(json["tlb"]["l1d"]["misses.user"] == 7);
  }
}

TEST_CASE("a number below a number below a number stands beside both") {
  const u64 n = 1;
  sim::Stats stats;
  for (const char* name : {"a.b.c.d", "a.b", "a.b.c", "a.e.f"}) stats.counter(name, n, "", "");
  const Json json = Json::parse(stats_json({}, stats, stats.snapshot()));
  CHECK(json["a"] == Json::parse(R"({"b": 1, "b.c": 1, "b.c.d": 1, "e": {"f": 1}})"));
}

TEST_CASE("joining nested member names with dots, as a stranger would, gives exactly the declared names") {
  for (const bool prefix_first : {true, false}) {
    const Machine machine(prefix_first);
    std::map<std::string, double> found;
    const std::function<void(const Json&, const std::string&)> join = [&](const Json& object, const std::string& prefix) {
      for (const auto& [key, value] : object.items()) {
        if (value.is_object()) join(value, prefix + key + ".");
        if (value.is_number()) CHECK(found.emplace(prefix + key, value.get<double>()).second);
      }
    };
    Json json = Json::parse(machine.json());
    json.erase("run");
    join(json, "");

    std::map<std::string, double> declared;
    const sim::Snapshot s = machine.stats.snapshot();
    for (const auto& row : machine.stats.counters())
      declared[row.name] = static_cast<double>(machine.stats.value(s, row.name));
    declared["tlb.l1d.rate"] = 0.1;
    declared["tlb.l1d.third"] = 1000.0 / 3000.0;
    for (const char* histogram : {"walk.latency", "walk.latency.user"})
      for (const auto& [part, value] : std::map<std::string, double>{
               {"count", 4}, {"sum", 291}, {"mean", 72.75}, {"p50", 30}, {"p90", 200}, {"p99", 200}, {"max", 200}})
        declared[std::string(histogram) + "." + part] = value;
    CHECK(found == declared);

    const std::vector<Metric> flat = flatten(machine.json());
    CHECK(flat == metrics_of(machine.stats, s));
    CHECK(flat.size() == declared.size());
    for (const Metric& m : flat)
      CHECK(std::visit([](auto v) { return static_cast<double>(v); }, m.value) == declared.at(m.name));
  }
}

TEST_CASE("integers are exact to 64 bits and ratios read back to the same double") {
  const Machine machine;
  const std::string text = machine.json();
  CHECK_THAT(text, Catch::Matchers::Contains("\"large\": 18446744073709551615"));
  CHECK_THAT(text, Catch::Matchers::Contains("\"rate\": 0.1\n") || Catch::Matchers::Contains("\"rate\": 0.1,"));
  CHECK(Json::parse(text)["tlb"]["l1d"]["third"].get<double>() == 1000.0 / 3000.0);
}

TEST_CASE("a histogram lists its percentiles and the buckets that are not empty") {
  const Json h = Json::parse(Machine().json())["walk"]["latency"];
  CHECK(h["count"] == 4);
  CHECK(h["sum"] == 291);
  CHECK(h["mean"] == 72.75);
  CHECK(h["p50"] == 30);
  CHECK(h["p90"] == 200);
  CHECK(h["max"] == 200);
  CHECK(h["buckets"] == Json::parse("[[30,2],[31,1],[200,1]]"));
  CHECK(h["user"]["count"] == 4);
}

TEST_CASE("a ratio over nothing is zero") {
  Machine machine;
  machine.accesses = 0;
  CHECK(Json::parse(machine.json())["tlb"]["l1d"]["rate"] == 0.0);
}

TEST_CASE("the head names version, seed, region, images and the effective configuration") {
  sim::Settings settings;
  settings.load_text("tlb.entries = 0x40", "m.ini");
  u64 entries = 0;
  settings.section("tlb").field("entries", entries, {}, "");
  Head head{"1.2", 9, "region of interest", {{"kernel", "sha256:12"}}, {}, {{"ended", "powered off \"well\"\xff"}}};
  head.take_config(settings);
  const std::string text = Machine().json(head);
  const Json run = Json::parse(text)["run"];
  CHECK(run["version"] == "1.2");
  CHECK(run["seed"] == 9);
  CHECK(run["region"] == "region of interest");
  CHECK(run["images"]["kernel"] == "sha256:12");
  CHECK(run["config"]["tlb.entries"] == "64");
  CHECK(run["facts"]["ended"] == "powered off \"well\"\xef\xbf\xbd");
  CHECK(config_of(text) == Head::Pairs{{"tlb.entries", "64"}});
}

TEST_CASE("equal runs give equal bytes") {
  const Head head{"1", 1, "whole run", {{"kernel", "x"}}, {{"a", "b"}}, {}};
  CHECK(Machine().json(head) == Machine().json(head));
  Machine other;
  ++other.idle;
  CHECK(other.json(head) != Machine().json(head));
}

TEST_CASE("names that cannot stand side by side are refused, not overwritten") {
  const u64 n = 1;
  const sim::Histogram h;
  const auto write = [](const sim::Stats& stats) { return stats_json({}, stats, stats.snapshot()); };
  sim::Stats member;
  member.counter("walk.latency.count", n, "", "");
  member.histogram("walk.latency", h, "", "");
  CHECK_THROWS_AS(write(member), std::logic_error);
  sim::Stats inside;
  inside.histogram("walk.latency", h, "", "");
  inside.counter("walk.latency.buckets.first", n, "", "");
  CHECK_THROWS_AS(write(inside), std::logic_error);
  sim::Stats part;
  part.counter("walk.latency.count.user", n, "", "");
  part.histogram("walk.latency", h, "", "");
  CHECK_THROWS_AS(write(part), std::logic_error);
  sim::Stats reserved;
  reserved.counter("run.seed", n, "", "");
  CHECK_THROWS_AS(write(reserved), std::logic_error);
}

TEST_CASE("a damaged stats.json is refused, whatever the damage") {
  const std::string whole = Machine().json();
  for (std::size_t length = 0; length + 2 < whole.size(); length += 7)
    CHECK_THROWS_AS(flatten(std::string_view(whole).substr(0, length)), ReportError);
  CHECK_THROWS_AS(flatten("[1]"), ReportError);
  CHECK_THROWS_AS(config_of("{\"run\": 5}"), ReportError);
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "{\"a\":";
  CHECK_THROWS_AS(flatten(deep + "1" + std::string(1000, '}')), ReportError);
}
