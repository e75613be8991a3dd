// stats.json: statistics as nested objects. The name `tlb.l1d.misses` becomes {"tlb": {"l1d": {"misses": 5}}}; what lies
// below the name of a number stands beside it under a dotted member name, {"cycles": 5, "cycles.idle": 2}. So joining the
// names of nested members by dots gives exactly the declared names. Equal inputs give equal bytes.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "report/head.h"
#include "sim/stats.h"

namespace nestwalk::report {

/// A stats.json that cannot be read; what() is one line for a person.
class ReportError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One number of a report under its declared name; of a histogram `walk.latency`: walk.latency.count, .sum, .mean, ...
struct Metric {
  std::string name;
  std::variant<u64, double> value;
  friend bool operator==(const Metric&, const Metric&) = default;
};

/// The object under which stats.json keeps the head, beside the statistics.
inline constexpr const char* kHeadMember = "run";

/// The whole text of stats.json. `snapshot` may be a difference of two (a region of interest). Counters are integers,
/// ratios have the shortest digits that read back exactly, histograms are {count, sum, mean, p50, p90, p99, max, buckets}
/// with buckets as [largest value, count] of those that are not empty. Throws std::logic_error for names that cannot be
/// nested (a statistic called like the head or like a member of a histogram).
std::string stats_json(const Head& head, const sim::Stats& stats, const sim::Snapshot& snapshot);

/// The same numbers without the text: what flatten() makes of stats_json().
std::vector<Metric> metrics_of(const sim::Stats& stats, const sim::Snapshot& snapshot);

/// The numbers of a stats.json under their declared names, in its order. Throws ReportError for text that is none.
std::vector<Metric> flatten(std::string_view text);

/// The head of a stats.json. Throws ReportError for text that is none.
Head head_of(std::string_view text);
/// The head's config of a stats.json, in its order. Throws ReportError for text that is none.
Head::Pairs config_of(std::string_view text);

}  // namespace nestwalk::report
