#include "emu/sweep/sweep_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "sim/ini.h"

namespace nestwalk::emu::sweep {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSweep = "sweep.";
constexpr std::string_view kZip = "zip.";

/// The file of an origin "file:line".
std::string file_of(const std::string& origin) { return origin.substr(0, origin.rfind(':')); }

std::string machine_path(const Column& column, const std::string& value) {
  return fs::absolute(fs::path(file_of(column.origin)).parent_path() / value).lexically_normal().string();
}

/// Two equal points would only cost time. Within a zip a key may repeat a value as long as the others differ.
void refuse_repetition(const Axis& axis) {
  std::set<std::vector<std::string>> seen;
  for (std::size_t i = 0; i < axis.size(); ++i) {
    std::vector<std::string> row;
    for (const Column& column : axis.columns) row.push_back(column.values[i]);
    if (!seen.insert(row).second)
      throw sim::ConfigError(fmt::format("{}: {}: '{}' is listed twice", axis.columns.front().origin,
                                         axis.columns.front().key,
                                         sim::printable(fmt::format("{}", fmt::join(row, "', '")))));
  }
}

}  // namespace

std::vector<std::string> split_values(const std::string& list, const std::string& key, const std::string& origin) {
  const char separator = list.find(';') == std::string::npos ? ',' : ';';
  std::vector<std::string> values;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(separator, at), list.size());
    const std::string value = sim::trim(std::string_view(list).substr(at, end - at));
    if (value.empty())
      throw sim::ConfigError(fmt::format("{}: {} = {}: a value of the list is empty", origin, key, sim::printable(list)));
    values.push_back(value);
    at = end + 1;
  }
  return values;
}

SweepFile::SweepFile(const std::string& path) : path_(path) {
  sim::read_ini_file(path,
                     [this](const sim::IniLine& line, const std::string& origin) { take(line.key, line.value, origin); });
  check();
}

void SweepFile::take(const std::string& key, const std::string& value, const std::string& origin) {
  if (!key.starts_with(kSweep)) {
    fixed_.push_back({key, value, origin});
    return;
  }
  std::string rest = key.substr(kSweep.size()), zip;
  if (rest.starts_with(kZip)) {
    const std::size_t dot = rest.find('.', kZip.size());
    if (dot == std::string::npos)
      throw sim::ConfigError(
          fmt::format("{}: {}: lists that advance together stand in a section [sweep.zip.NAME]", origin, key));
    zip = rest.substr(kZip.size(), dot - kZip.size());
    rest = rest.substr(dot + 1);
  }
  take_swept(zip, {rest, split_values(value, rest, origin), origin});
}

void SweepFile::take_swept(const std::string& zip, Column column) {
  Axis* home = nullptr;
  for (Axis& axis : axes_) {
    if (!zip.empty() && axis.zip == zip) home = &axis;
    for (Column& old : axis.columns) {
      if (old.key != column.key) continue;
      if (axis.zip != zip)
        throw sim::ConfigError(fmt::format("{}: {} is swept already on {}", column.origin, column.key, old.origin));
      old = std::move(column);  // an included file listed other values
      return;
    }
  }
  if (home)
    home->columns.push_back(std::move(column));
  else
    axes_.push_back({zip, {std::move(column)}});
}

void SweepFile::check() const {
  if (axes_.empty())
    throw sim::ConfigError(
        fmt::format("{}: has no section [sweep]; docs/sweeps.md says what a sweep file looks like", path_));
  u64 points = 1;
  for (const Axis& axis : axes_) {
    points *= axis.size();
    if (points > kMostPoints)
      throw sim::ConfigError(
          fmt::format("{}: the product has over {} points; sweep fewer keys at once", path_, kMostPoints));
    for (const Column& column : axis.columns)
      if (column.values.size() != axis.size())
        throw sim::ConfigError(fmt::format("{}: {} has {} values, {} of the same [sweep.zip.{}] has {}", column.origin,
                                           column.key, column.values.size(), axis.columns.front().key, axis.zip,
                                           axis.size()));
    refuse_repetition(axis);
  }
  // Beneath an include a swept key may have an ordinary value; in the same file one of the two lines is a mistake.
  for (const Assignment& fixed : fixed_)
    if (const Column* swept = find(fixed.key); swept && file_of(swept->origin) == file_of(fixed.origin))
      throw sim::ConfigError(
          fmt::format("{}: {} is swept on {}; remove one of the two", fixed.origin, fixed.key, swept->origin));
}

const Column* SweepFile::find(const std::string& key) const {
  for (const Axis& axis : axes_)
    for (const Column& column : axis.columns)
      if (column.key == key) return &column;
  return nullptr;
}

void SweepFile::override_with(const Assignment& assignment) {
  if (const Column* swept = find(assignment.key); swept && swept->values.size() > 1)
    throw sim::ConfigError(
        fmt::format("{}: {} is swept ({}); change the list there", assignment.origin, assignment.key, swept->origin));
  overrides_.push_back(assignment);
}

std::vector<std::string> SweepFile::keys() const {
  std::vector<std::string> names;
  for (const Axis& axis : axes_)
    for (const Column& column : axis.columns)
      if (axis.size() > 1) names.push_back(column.key);
  return names;
}

std::vector<Point> SweepFile::points() const {
  u64 total = 1;
  for (const Axis& axis : axes_) total *= axis.size();
  std::vector<Point> all;
  all.reserve(total);
  for (u64 n = 0; n < total; ++n) {
    Point point{n + 1, {}, {}, fixed_};
    u64 span = total;  // points for which the axis at hand stands still, times its size
    for (const Axis& axis : axes_) {
      const std::size_t at = n % span / (span / axis.size());
      span /= axis.size();
      for (const Column& column : axis.columns) {
        const std::string& value = column.values[at];
        if (axis.size() > 1) point.key_values.emplace_back(column.key, value);
        if (column.key == kMachineKey)
          point.machine = machine_path(column, value);
        else
          point.settings.push_back({column.key, value, column.origin});
      }
    }
    point.settings.insert(point.settings.end(), overrides_.begin(), overrides_.end());
    all.push_back(std::move(point));
  }
  return all;
}

}  // namespace nestwalk::emu::sweep
