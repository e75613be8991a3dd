// Histograms against sorting, snapshots and their differences.
#include "sim/stats.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/random.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::sim;

namespace {

/// The smallest of `sorted` with at least fraction q of all values at or below it.
u64 by_sorting(const std::vector<u64>& sorted, u64 percent) {
  const u64 rank = std::max<u64>(1, (percent * sorted.size() + 99) / 100);
  return sorted[rank - 1];
}

}  // namespace

TEST_CASE("every value falls into the bucket whose bounds enclose it") {
  for (u64 v = 0; v < Histogram::kExact; ++v) {
    REQUIRE(Histogram::bucket_of(v) == v);
    REQUIRE(Histogram::upper_of(static_cast<unsigned>(v)) == v);
  }
  for (unsigned b = 1; b < Histogram::kBuckets; ++b) {
    REQUIRE(Histogram::bucket_of(Histogram::upper_of(b)) == b);
    REQUIRE(Histogram::bucket_of(Histogram::upper_of(b - 1) + 1) == b);
  }
  CHECK(Histogram::upper_of(Histogram::kBuckets - 1) == ~u64{0});
  Random random(3);
  for (int i = 0; i < 10000; ++i) {
    const u64 v = random.next() >> random.below(64), upper = Histogram::upper_of(Histogram::bucket_of(v));
    REQUIRE(upper >= v);
    REQUIRE(static_cast<double>(upper - v) <= 0.016 * static_cast<double>(v));
  }
}

TEST_CASE("percentiles below 2048 equal those found by sorting") {
  Random random(11);
  for (const std::size_t n : {1u, 2u, 3u, 10u, 99u, 100u, 101u, 5000u}) {
    Histogram h;
    std::vector<u64> values;
    for (std::size_t i = 0; i < n; ++i) {
      values.push_back(random.below(random.below(2) ? 2048 : 40));
      h.add(values.back());
    }
    std::sort(values.begin(), values.end());
    u64 sum = 0;
    for (const u64 v : values) sum += v;
    CHECK(h.count() == n);
    CHECK(h.sum() == sum);
    CHECK(h.mean() == Approx(static_cast<double>(sum) / static_cast<double>(n)));
    CHECK(h.max() == values.back());
    for (u64 percent = 0; percent <= 100; ++percent) {
      CAPTURE(n, percent);
      CHECK(h.percentile(static_cast<double>(percent) / 100) == by_sorting(values, percent));
    }
  }
}

TEST_CASE("percentiles above 2048 are at most 1.6 percent too high") {
  Random random(12);
  Histogram h;
  std::vector<u64> values;
  for (int i = 0; i < 3000; ++i) {
    values.push_back(random.next() >> (random.below(50) + 3));
    h.add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const u64 percent : {1, 10, 50, 90, 99, 100}) {
    const u64 exact = by_sorting(values, percent), told = h.percentile(static_cast<double>(percent) / 100);
    CHECK(told >= exact);
    CHECK(static_cast<double>(told) <= 1.016 * static_cast<double>(exact));
  }
}

TEST_CASE("an empty histogram answers zero") {
  const Histogram h;
  CHECK(h.percentile(0.5) == 0);
  CHECK(h.max() == 0);
  CHECK(h.mean() == 0);
}

TEST_CASE("a region of interest is the difference of two snapshots") {
  u64 misses = 5;
  Histogram latency;
  latency.add(7);
  Stats stats;
  stats.counter("tlb.misses", misses, "accesses", "misses");
  stats.counter(
      "tlb.doubled", [&] { return 2 * misses; }, "accesses", "derived");
  stats.histogram("walk.latency", latency, "cycles", "latency");
  stats.ratio("tlb.rate", "tlb.misses", "tlb.doubled", "a half");
  const Snapshot before = stats.snapshot();
  misses = 12;
  latency.add(7);
  latency.add(9);
  const Snapshot region = stats.snapshot().minus(before);
  CHECK(stats.value(region, "tlb.misses") == 7);
  CHECK(stats.value(region, "tlb.doubled") == 14);
  CHECK(region.histograms[0].count() == 2);
  CHECK(region.histograms[0].sum() == 16);
  CHECK(region.histograms[0].percentile(0.5) == 7);
  CHECK(region.histograms[0].max() == 9);
  CHECK(stats.value(before, "tlb.misses") == 5);  // a snapshot is a copy
  CHECK(stats.ratios()[0].numerator == 0);
  CHECK(stats.ratios()[0].denominator == 1);
}

TEST_CASE("a name is declared once, and only a declared name has a value") {
  u64 n = 0;
  const Histogram h;
  Stats stats;
  stats.counter("a", n, "", "");
  CHECK(stats.has("a"));
  CHECK_FALSE(stats.has("b"));
  CHECK_THROWS_AS(stats.counter("a", n, "", ""), std::logic_error);
  CHECK_THROWS_AS(stats.histogram("a", h, "", ""), std::logic_error);
  CHECK_THROWS_AS(stats.counter("", n, "", ""), std::logic_error);
  CHECK_THROWS_AS(stats.ratio("r", "a", "b", ""), std::out_of_range);
  CHECK_THROWS_AS(stats.value(stats.snapshot(), "b"), std::out_of_range);
  CHECK_THROWS_AS(stats.snapshot().minus(Snapshot{}), std::logic_error);
}

TEST_CASE("sums declare what several objects count alike") {
  u64 a[2] = {3, 4}, b[2] = {10, 20};
  Histogram h[2];
  h[0].add(5);
  h[1].add(5);
  h[1].add(7);
  Stats parts[2], whole;
  for (unsigned n = 0; n < 2; ++n) {
    parts[n].counter("a", a[n], "things", "things");
    parts[n].counter("b", b[n], "things", "more things");
    parts[n].histogram("h", h[n], "cycles", "times");
    parts[n].ratio("r", "a", "b", "share");
  }
  whole.sums({&parts[0], &parts[1]});
  CHECK(whole.value_now("a") == 7);
  CHECK(whole.value_now("b") == 30);
  CHECK(whole.snapshot().histograms[0].count() == 3);
  CHECK(whole.snapshot().histograms[0].sum() == 17);
  CHECK(whole.ratios()[0].numerator == 0);
  a[1] = 40;
  CHECK(whole.value_now("a") == 43);
  Stats other, wrong;
  other.counter("a", a[0], "things", "things");
  CHECK_THROWS_AS(wrong.sums({&parts[0], &other}), std::logic_error);
}
