// Results of a sweep in one SQLite database (WAL): a row per point and a row per point and metric. A point is added whole
// or not at all, so a sweep that is killed at any moment resumes with the points it had finished. How a point is run is not
// known here.
//
//   keys(position, name)                       the swept keys, in the order of the sweep file
//   points(id, key_values, status, digest)     key_values: a JSON object; digest: of everything that determines the result
//   metrics(point, name, value)                value: INTEGER for counters, REAL for ratios, means and counts over 2^63
#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "report/json.h"

namespace nestwalk::report {

/// A database that cannot be opened, read or written, or that belongs to something else; one line that names the file.
class StoreError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Point {
  u64 id = 0;  ///< the point's number in its sweep
  std::vector<std::pair<std::string, std::string>> key_values;
  std::string status;  ///< kDone, or why there are no results
  std::string digest;
};

class ResultStore {
 public:
  static constexpr const char* kDone = "done";

  /// Creates the database or opens it. Throws StoreError, as every member does.
  explicit ResultStore(const std::string& path);
  ~ResultStore();
  ResultStore(const ResultStore&) = delete;
  ResultStore& operator=(const ResultStore&) = delete;

  /// Sets the swept keys of a new database; refuses a database that already holds the results of other keys.
  void set_keys(const std::vector<std::string>& keys);
  std::vector<std::string> keys() const;

  /// Adds a point and its metrics in one transaction; replaces an earlier result of the same id.
  void add(const Point& point, const std::vector<Metric>& metrics);
  /// Forgets a point, if there is such a one.
  void remove(u64 point);
  /// Forgets all points (a sweep that starts anew).
  void clear();

  /// By id.
  std::vector<Point> points() const;
  /// Whether a result of this point with status kDone is stored: same id, same key values, same digest.
  bool finished(const Point& point) const;
  /// By name.
  std::vector<Metric> metrics(u64 point) const;
  std::optional<Metric> metric(u64 point, const std::string& name) const;

  /// All points as CSV (RFC 4180): point, the keys, status, then the metrics `names` (all that occur, by name, when empty).
  std::string csv(const std::vector<std::string>& names = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One CSV field, quoted where it must be.
std::string csv_field(const std::string& text);
/// Digits that read back exactly.
std::string to_text(const Metric& metric);

}  // namespace nestwalk::report
