#include "emu/sweep/point.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/ini.h"

namespace nestwalk::emu::sweep {

std::string describe(const Point& point) {
  std::string out;
  for (const auto& [key, value] : point.key_values)
    out += fmt::format("{}{}={}", out.empty() ? "" : ", ", key, sim::printable(value));
  return out;
}

std::string folder_name(u64 id) { return fmt::format("{:03}", id); }

std::string ini_of(const Point& point, const std::string& comment) {
  std::string out = fmt::format("# {}\n", sim::printable(comment));
  if (!point.machine.empty()) out += fmt::format("include = {}\n", point.machine);
  // A file holds a key once: at its first place, with its last value, which is how sim::Settings sees the list.
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Assignment& a : point.settings) {
    const auto it = std::find_if(lines.begin(), lines.end(), [&](const auto& l) { return l.first == a.key; });
    if (it == lines.end())
      lines.emplace_back(a.key, a.value);
    else
      it->second = a.value;
  }
  for (const auto& [key, value] : lines) out += fmt::format("{} = {}\n", key, value);
  return out;
}

sim::Settings settings_of(const Point& point) {
  if (!sim::is_value(point.machine))
    throw sim::ConfigError(
        fmt::format("{}: a path with '#' or control characters cannot be swept; rename it", sim::printable(point.machine)));
  sim::Settings settings;
  if (!point.machine.empty()) settings.load_file(point.machine);
  for (const Assignment& a : point.settings) settings.put(a.key, a.value, a.origin);
  return settings;
}

}  // namespace nestwalk::emu::sweep
