// summary.txt from invented counts whose shares can be worked out by hand.
#include "report/summary.h"

#include <iterator>
#include <sstream>

#include "base/bill.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::report;

namespace {

/// Counters by name, with the lines of the summary to look into.
class Fixture {
 public:
  void count(const std::string& name, u64 value) {
    stats_.counter(
        name, [value] { return value; }, "", "");
  }
  void histogram(const std::string& name, const sim::Histogram& h) { stats_.histogram(name, h, "", ""); }
  std::string text() const {
    return summary({"1.0", 3, "whole run", {{"kernel", "sha256:ab"}}, {}, {{"ended", "powered off"}}}, stats_,
                   stats_.snapshot());
  }
  /// The words of the first line of `title`'s section that begins with `first`.
  std::vector<std::string> row(const std::string& title, const std::string& first) const {
    std::istringstream in(text());
    bool inside = false;
    for (std::string line; std::getline(in, line);) {
      if (line == title) inside = true;
      if (line.empty()) inside = false;
      if (!inside || line.find("  " + first) != 0) continue;
      std::istringstream words(line);
      return {std::istream_iterator<std::string>(words), {}};
    }
    return {};
  }

 private:
  sim::Stats stats_;
};

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("sections appear only when their names are declared") {
  Fixture f;
  f.count("instructions", 1000);
  f.count("cycles", 2500);
  const std::string text = f.text();
  CHECK_THAT(text, Catch::Matchers::StartsWith("nestwalk 1.0, whole run, seed 3\n"));
  CHECK(f.row("Instructions and cycles", "cycles per") == Words{"cycles", "per", "instruction", "2.500"});
  for (const char* title :
       {"TLBs", "Page walks", "Page-walk", "Data caches", "served", "cause", "Page sizes", "in spite"}) {
    CAPTURE(title);
    CHECK(text.find(title) == std::string::npos);
  }
}

TEST_CASE("cycles are split by cause and by mode") {
  Fixture f;
  f.count("instructions", 1000);
  f.count("instructions.user", 600);
  f.count("instructions.kernel", 400);
  f.count("cycles", 4000);
  for (unsigned c = 0; c < kCauses; ++c) {
    const std::string name = name_of(static_cast<Cause>(c));
    const bool walk = name == "walk_read", plain = name == "instruction";
    f.count("cycles." + name, walk ? 1000 : plain ? 3000 : 0);
    f.count("cycles.user." + name, walk ? 750 : plain ? 1000 : 0);
    f.count("cycles.kernel." + name, walk ? 250 : plain ? 2000 : 0);
  }
  CHECK(f.row("Instructions and cycles", "instructions") == Words{"instructions", "1,000", "600", "400"});
  CHECK(f.row("Instructions and cycles", "cycles ") == Words{"cycles", "4,000", "1,750", "2,250"});
  const Words row = f.row("Cycles by cause", "walk_read");
  REQUIRE(row.size() > 8);
  CHECK(Words(row.begin(), row.begin() + 8) == Words{"walk_read", "1,000", "25.0", "%", "75.0", "%", "25.0", "%"});
}

TEST_CASE("a TLB's line holds accesses, misses, their rate and misses per thousand instructions") {
  Fixture f;
  f.count("instructions", 10'000);
  f.count("tlb.l1d.accesses", 4000);
  f.count("tlb.l1d.misses", 100);
  f.count("tlb.l1d.misses.user", 70);
  f.count("tlb.l1d.misses.kernel", 30);
  f.count("tlb.l1d.load_misses", 60);
  f.count("tlb.l1d.store_misses", 40);
  f.count("tlb.rewalks.dirty", 5);
  CHECK(f.row("TLBs", "l1d") == Words{"l1d", "4,000", "100", "2.500", "%", "10.000"});
  CHECK(f.row("TLB misses by access", "l1d") == Words{"l1d", "100", "70", "30", "60", "40"});
  CHECK(f.row("Walks made in spite of a TLB entry", "dirty") == Words{"dirty", "5", "0.500"});
}

TEST_CASE("a page-walk cache's line holds its hit rate, each level and all together") {
  Fixture f;
  f.count("pwc.lookups", 100);
  f.count("pwc.hits", 90);
  f.count("pwc.misses", 10);
  f.count("pwc.pde.lookups", 100);
  f.count("pwc.pde.hits", 75);
  f.count("pwc.pde.misses", 25);
  CHECK(f.row("Page-walk caches", "pde") == Words{"pde", "100", "75", "25", "75.0", "%"});
  CHECK(f.row("Page-walk caches", "any") == Words{"any", "100", "90", "10", "90.0", "%"});
}

TEST_CASE("walks have reads and cycles per walk, percentiles, sizes and who served each level") {
  sim::Histogram latency;
  for (u64 v = 1; v <= 100; ++v) latency.add(v);
  Fixture f;
  f.count("instructions", 100'000);
  f.count("walk.count", 100);
  f.count("walk.reads", 250);
  f.count("walk.cycles", 5050);
  f.count("walk.faults", 4);
  f.histogram("walk.latency", latency);
  f.count("walk.by.user.load.count", 100);
  f.count("walk.by.user.load.reads", 250);
  f.count("walk.by.user.load.cycles", 5050);
  f.count("walk.page_size.4K", 72);
  f.count("walk.page_size.2M", 24);
  for (const char* position : {"g1h0", "g2h0", "g1h4"}) {
    const bool leaf = std::string(position) == "g1h0", host = std::string(position) == "g1h4";
    f.count(std::string("walk.reads_by_position.") + position, host ? 0 : leaf ? 200 : 50);
    f.count(std::string("walk.served_by.") + position + ".flat", 0);
    f.count(std::string("walk.served_by.") + position + ".l2", host ? 0 : leaf ? 150 : 50);
    f.count(std::string("walk.served_by.") + position + ".memory", leaf ? 50 : 0);
  }
  CHECK(f.row("Page walks (latency in cycles)", "all") ==
        Words{"all", "100", "1.000", "2.50", "50.5", "50", "90", "99", "100"});
  CHECK(f.row("Page walks (latency in cycles)", "user load") ==
        Words{"user", "load", "100", "1.000", "2.50", "50.5", "-", "-", "-", "-"});
  CHECK(f.row("Page walks (latency in cycles)", "4 ended") == Words{"4", "ended", "in", "a", "fault"});
  CHECK(f.row("Page sizes in use", "completed") == Words{"completed", "walks", "72", "75.0", "%", "24", "25.0", "%"});
  const char* const served = "Who served the reads of page walks";
  CHECK(f.row(served, " ") == Words{"reads", "l2", "memory"});
  CHECK(f.row(served, "PTE") == Words{"PTE", "(level", "1)", "200", "75.0", "%", "25.0", "%"});
  CHECK(f.row(served, "PDE") == Words{"PDE", "(level", "2)", "50", "100.0", "%", "0.0", "%"});
  CHECK(f.row(served, "PTE, host").empty());
}

TEST_CASE("a cache's accesses follow from its hits and misses") {
  Fixture f;
  f.count("instructions", 1000);
  f.count("cache.l1d.hits", 30);
  f.count("cache.l1d.misses", 10);
  CHECK(f.row("Data caches", "l1d") == Words{"l1d", "40", "10", "25.000", "%", "10.000"});
}
