// Statistics: declaration, snapshots and differences. The histogram is log-linear (as HDR histograms are): exact where
// latencies live, with a bounded relative error above.
#include "sim/stats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace nestwalk::sim {
namespace {

constexpr unsigned kExactBits = 11, kSubBits = 6;
static_assert(Histogram::kExact == u64{1} << kExactBits && Histogram::kSub == 1u << kSubBits);

}  // namespace

unsigned Histogram::bucket_of(u64 v) {
  if (v < kExact) return static_cast<unsigned>(v);
  const unsigned exponent = static_cast<unsigned>(std::bit_width(v)) - 1;
  const unsigned sub = static_cast<unsigned>(v >> (exponent - kSubBits)) & (kSub - 1);
  return static_cast<unsigned>(kExact) + (exponent - kExactBits) * kSub + sub;
}

u64 Histogram::upper_of(unsigned b) {
  if (b < kExact) return b;
  const unsigned shift = kExactBits - kSubBits + (b - static_cast<unsigned>(kExact)) / kSub;
  const u64 leading = kSub + (b - kExact) % kSub;
  return (leading << shift) + ((u64{1} << shift) - 1);
}

u64 Histogram::percentile(double q) const {
  if (count_ == 0) return 0;
  u64 rank = count_;
  if (q < 1) {
    // 0.07 * 100 is 7.000000000000001 in binary; a rank must not move because of that.
    const double wanted = std::ceil(std::max(q, 0.0) * static_cast<double>(count_) * (1 - 1e-12));
    rank = std::clamp<u64>(static_cast<u64>(wanted), 1, count_);
  }
  unsigned b = 0;
  for (u64 seen = bucket_[0]; seen < rank; seen += bucket_[b]) ++b;
  return upper_of(b);
}

Histogram Histogram::minus(const Histogram& earlier) const {
  Histogram difference = *this;
  for (unsigned b = 0; b < kBuckets; ++b) difference.bucket_[b] -= earlier.bucket_[b];
  difference.count_ -= earlier.count_;
  difference.sum_ -= earlier.sum_;
  return difference;
}

Snapshot Snapshot::minus(const Snapshot& earlier) const {
  if (counters.size() != earlier.counters.size() || histograms.size() != earlier.histograms.size())
    throw std::logic_error("the difference of two snapshots that were not taken from the same statistics");
  Snapshot difference;
  difference.counters.reserve(counters.size());
  difference.histograms.reserve(histograms.size());
  for (std::size_t i = 0; i < counters.size(); ++i) difference.counters.push_back(counters[i] - earlier.counters[i]);
  for (std::size_t i = 0; i < histograms.size(); ++i)
    difference.histograms.push_back(histograms[i].minus(earlier.histograms[i]));
  return difference;
}

Histogram Histogram::plus(const Histogram& other) const {
  Histogram sum = *this;
  for (unsigned b = 0; b < kBuckets; ++b) sum.bucket_[b] += other.bucket_[b];
  sum.count_ += other.count_;
  sum.sum_ += other.sum_;
  return sum;
}

Snapshot Snapshot::plus(const Snapshot& other) const {
  if (counters.size() != other.counters.size() || histograms.size() != other.histograms.size())
    throw std::logic_error("the sum of two snapshots that were not taken from the same statistics");
  Snapshot sum = *this;
  for (std::size_t i = 0; i < counters.size(); ++i) sum.counters[i] += other.counters[i];
  for (std::size_t i = 0; i < histograms.size(); ++i) sum.histograms[i] = histograms[i].plus(other.histograms[i]);
  return sum;
}

void Stats::counter(std::string name, const u64& value, std::string unit, std::string text) {
  counter(
      std::move(name), [&value] { return value; }, std::move(unit), std::move(text));
}

void Stats::counter(std::string name, std::function<u64()> value, std::string unit, std::string text) {
  claim(name);
  counter_rows_.push_back({std::move(name), std::move(unit), std::move(text)});
  sources_.push_back(std::move(value));
}

void Stats::histogram(std::string name, const Histogram& value, std::string unit, std::string text) {
  histogram(
      std::move(name), [&value] { return value; }, std::move(unit), std::move(text));
}

void Stats::histogram(std::string name, std::function<Histogram()> value, std::string unit, std::string text) {
  claim(name);
  histogram_rows_.push_back({std::move(name), std::move(unit), std::move(text)});
  histograms_.push_back(std::move(value));
}

void Stats::sums(const std::vector<const Stats*>& parts) {
  const Stats& first = *parts.at(0);
  for (const Stats* p : parts)
    if (p->counter_rows_.size() != first.counter_rows_.size() || p->histogram_rows_.size() != first.histogram_rows_.size())
      throw std::logic_error("statistics that are to be added up were not declared alike");
  for (std::size_t n = 0; n < first.counter_rows_.size(); ++n) {
    const auto sum = [parts, n] {
      u64 v = 0;
      for (const Stats* p : parts) v += p->counter_at(n);
      return v;
    };
    counter(first.counter_rows_[n].name, sum, first.counter_rows_[n].unit, first.counter_rows_[n].text);
  }
  for (std::size_t n = 0; n < first.histogram_rows_.size(); ++n) {
    const auto sum = [parts, n] {
      Histogram h = parts[0]->histogram_at(n);
      for (std::size_t i = 1; i < parts.size(); ++i) h = h.plus(parts[i]->histogram_at(n));
      return h;
    };
    histogram(first.histogram_rows_[n].name, sum, first.histogram_rows_[n].unit, first.histogram_rows_[n].text);
  }
  for (const Ratio& r : first.ratio_rows_)
    ratio(r.name, first.counter_rows_[r.numerator].name, first.counter_rows_[r.denominator].name, r.text);
}

void Stats::ratio(std::string name, std::string numerator, std::string denominator, std::string text) {
  claim(name);
  const std::size_t n = index_of(numerator), d = index_of(denominator);
  ratio_rows_.push_back({{std::move(name), "ratio", std::move(text)}, n, d});
}

Snapshot Stats::snapshot() const {
  Snapshot s;
  s.counters.reserve(sources_.size());
  s.histograms.reserve(histograms_.size());
  for (const auto& source : sources_) s.counters.push_back(source());
  for (const auto& h : histograms_) s.histograms.push_back(h());
  return s;
}

u64 Stats::value(const Snapshot& s, const std::string& name) const { return s.counters.at(index_of(name)); }

u64 Stats::value_now(const std::string& name) const { return sources_.at(index_of(name))(); }

bool Stats::has(const std::string& name) const {
  return std::any_of(counter_rows_.begin(), counter_rows_.end(), [&](const Row& r) { return r.name == name; });
}

std::size_t Stats::index_of(const std::string& name) const {
  for (std::size_t i = 0; i < counter_rows_.size(); ++i)
    if (counter_rows_[i].name == name) return i;
  throw std::out_of_range("no counter is called '" + name + "'");
}

void Stats::claim(const std::string& name) {
  const auto taken = [&](const auto& rows) {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return r.name == name; });
  };
  if (name.empty() || taken(counter_rows_) || taken(histogram_rows_) || taken(ratio_rows_))
    throw std::logic_error("the statistic '" + name + "' is declared twice");
}

}  // namespace nestwalk::sim
