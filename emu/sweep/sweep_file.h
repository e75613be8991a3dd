// Sweep files (docs/sweeps.md): an INI file whose section [sweep] lists several values a key, whose sections
// [sweep.zip.NAME] hold lists that advance together, and whose other sections are settings of every point.
#pragma once

#include <string>
#include <vector>

#include "emu/sweep/point.h"

namespace nestwalk::emu::sweep {

/// A key and what it runs through.
struct Column {
  std::string key;
  std::vector<std::string> values;
  std::string origin;
};

/// One factor of the product: a key of [sweep], or the keys of a [sweep.zip.NAME], which all have as many values.
struct Axis {
  std::string zip;  ///< NAME; empty for a key of [sweep]
  std::vector<Column> columns;
  std::size_t size() const { return columns.front().values.size(); }
};

/// The swept key that names machine files, seen from the folder of the sweep file.
inline constexpr const char* kMachineKey = "config";
/// A larger product is a mistake: a point takes seconds at least.
inline constexpr u64 kMostPoints = 100'000;

class SweepFile {
 public:
  /// Throws sim::ConfigError with file and line, as every member does.
  explicit SweepFile(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<Axis>& axes() const { return axes_; }
  /// A setting of every point that wins over the file ("--kernel"); refuses a key that the file sweeps.
  void override_with(const Assignment& assignment);
  /// Keys with several values, in the file's order.
  std::vector<std::string> keys() const;
  /// The product: the last axis runs fastest, ids count from 1.
  std::vector<Point> points() const;

 private:
  void take(const std::string& key, const std::string& value, const std::string& origin);
  void take_swept(const std::string& zip, Column column);
  void check() const;
  const Column* find(const std::string& key) const;

  std::string path_;
  std::vector<Axis> axes_;
  std::vector<Assignment> fixed_, overrides_;
};

/// "a, b" is {"a", "b"}; where there is a ';' it separates, and commas belong to the values. Throws sim::ConfigError with
/// `origin` for an empty value.
std::vector<std::string> split_values(const std::string& list, const std::string& key, const std::string& origin);

}  // namespace nestwalk::emu::sweep
