// Statistics: plain integer members, declared once with name, unit and one sentence. A snapshot copies their values; a
// region of interest is the difference of two snapshots. Nothing here is touched between two instructions.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "base/types.h"

namespace nestwalk::sim {

/// Counts of values: exact below 2048, above that 64 buckets per power of two (error under 1.6 %).
class Histogram {
 public:
  static constexpr u64 kExact = 2048;
  static constexpr unsigned kSub = 64;
  static constexpr unsigned kBuckets = kExact + (64 - 11) * kSub;

  void add(u64 v) {
    ++bucket_[bucket_of(v)];
    ++count_;
    sum_ += v;
  }
  static unsigned bucket_of(u64 v);
  /// Largest value that falls into bucket b.
  static u64 upper_of(unsigned b);

  u64 count() const { return count_; }
  u64 sum() const { return sum_; }
  double mean() const { return count_ ? static_cast<double>(sum_) / static_cast<double>(count_) : 0; }
  /// Smallest recorded value v such that at least fraction q of all values are <= v (0 when empty); from 2048 on, the upper
  /// bound of its bucket.
  u64 percentile(double q) const;
  u64 max() const { return percentile(1.0); }
  const std::array<u64, kBuckets>& buckets() const { return bucket_; }
  /// This histogram without what `earlier` (a former state of it) already held.
  Histogram minus(const Histogram& earlier) const;
  Histogram plus(const Histogram& other) const;

 private:
  std::array<u64, kBuckets> bucket_{};
  u64 count_ = 0;
  u64 sum_ = 0;
};

/// Values of all statistics at one moment, in the order of their declaration.
struct Snapshot {
  std::vector<u64> counters;
  std::vector<Histogram> histograms;
  Snapshot minus(const Snapshot& earlier) const;
  /// Sums, of two disjoint intervals.
  Snapshot plus(const Snapshot& other) const;
};

class Stats {
 public:
  struct Row {
    std::string name;  ///< dotted
    std::string unit;
    std::string text;
  };

  /// `value` must outlive this object. Throws std::logic_error on a name that is empty or declared twice.
  void counter(std::string name, const u64& value, std::string unit, std::string text);
  /// For a count that is derived: called when a snapshot is taken.
  void counter(std::string name, std::function<u64()> value, std::string unit, std::string text);
  void histogram(std::string name, const Histogram& value, std::string unit, std::string text);
  /// For one that is derived.
  void histogram(std::string name, std::function<Histogram()> value, std::string unit, std::string text);
  /// Declares everything that the `parts` declare alike, as their sums; they must outlive this object.
  void sums(const std::vector<const Stats*>& parts);
  /// numerator / denominator of two declared counters (0 when the denominator is 0).
  void ratio(std::string name, std::string numerator, std::string denominator, std::string text);

  Snapshot snapshot() const;
  /// Value of a counter in a snapshot; throws std::out_of_range for a name nobody declared.
  u64 value(const Snapshot& s, const std::string& name) const;
  /// The same at this moment.
  u64 value_now(const std::string& name) const;
  /// Of the counter or histogram at a place in the order of declaration.
  u64 counter_at(std::size_t n) const { return sources_[n](); }
  Histogram histogram_at(std::size_t n) const { return histograms_[n](); }
  /// Whether a counter of this name is declared.
  bool has(const std::string& name) const;

  struct Ratio : Row {
    std::size_t numerator, denominator;
  };
  const std::vector<Row>& counters() const { return counter_rows_; }
  const std::vector<Row>& histograms() const { return histogram_rows_; }
  const std::vector<Ratio>& ratios() const { return ratio_rows_; }

 private:
  std::size_t index_of(const std::string& name) const;
  void claim(const std::string& name);

  std::vector<Row> counter_rows_;
  std::vector<std::function<u64()>> sources_;
  std::vector<Row> histogram_rows_;
  std::vector<std::function<Histogram()>> histograms_;
  std::vector<Ratio> ratio_rows_;
};

}  // namespace nestwalk::sim
