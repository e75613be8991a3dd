#include "report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/bill.h"
#include "report/table.h"

namespace nestwalk::report {
namespace {

using Values = std::map<std::string, double>;

Values values_of(const Compared& c) {
  Values v;
  for (const Metric& m : c.metrics) v[m.name] = std::visit([](auto x) { return static_cast<double>(x); }, m.value);
  return v;
}

double at(const Values& v, const std::string& name) {
  const auto it = v.find(name);
  return it == v.end() ? 0 : it->second;
}

std::string whole(double n) { return grouped(static_cast<u64>(n)); }

class Sheet {
 public:
  explicit Sheet(const std::vector<Compared>& reports) {
    for (const Compared& c : reports) names_.push_back(c.name), values_.push_back(values_of(c));
  }
  const std::vector<Values>& values() const { return values_; }

  Table table(const std::string& first) const {
    std::vector<Table::Column> columns{{first, Table::Align::left}};
    for (const std::string& name : names_) columns.push_back({name, Table::Align::right});
    for (std::size_t n = 1; n < names_.size(); ++n) columns.push_back({names_[n] + " - " + names_[0], Table::Align::right});
    return Table(std::move(columns));
  }
  bool any(const std::string& name) const {
    return std::any_of(values_.begin(), values_.end(), [&](const Values& v) { return at(v, name) != 0; });
  }
  /// A count, and how much more it is than the base line's.
  void count(Table& t, const std::string& label, const std::string& name) const {
    std::vector<std::string> row{label};
    for (const Values& v : values_) row.push_back(whole(at(v, name)));
    const double base = at(values_[0], name);
    for (std::size_t n = 1; n < values_.size(); ++n)
      row.push_back(base ? fmt::format("{:+.1f} %", 100 * (at(values_[n], name) / base - 1)) : "-");
    t.row(std::move(row));
  }
  /// Cycles of a thousand instructions, and the difference in the same unit.
  void per_thousand(Table& t, const std::string& label, const std::string& name) const {
    const auto rate = [&](const Values& v) {
      const double i = at(v, "instructions");
      return i ? 1000 * at(v, name) / i : 0;
    };
    std::vector<std::string> row{label};
    for (const Values& v : values_) row.push_back(fmt::format("{:.2f}", rate(v)));
    for (std::size_t n = 1; n < values_.size(); ++n)
      row.push_back(fmt::format("{:+.2f}", rate(values_[n]) - rate(values_[0])));
    t.row(std::move(row));
  }
  void plain(Table& t, const std::string& label, const std::string& name) const {
    std::vector<std::string> row{label};
    for (const Values& v : values_) row.push_back(fmt::format("{:.3f}", at(v, name)));
    for (std::size_t n = 1; n < values_.size(); ++n)
      row.push_back(fmt::format("{:+.3f}", at(values_[n], name) - at(values_[0], name)));
    t.row(std::move(row));
  }

 private:
  std::vector<std::string> names_;
  std::vector<Values> values_;
};

std::string work(const Sheet& s) {
  Table t = s.table("");
  for (const char* name :
       {"instructions", "cycles", "walk.count", "walk.reads", "walk.cycles", "vmm.exits", "mem.consumed", "mem.tables"})
    if (s.any(name)) s.count(t, name, name);
  for (const char* name : {"walk.reads_per_walk", "walk.cycles_per_walk", "walk.latency.p50", "walk.latency.p99"})
    if (s.any(name)) s.plain(t, name, name);
  return t.text(2);
}

std::string causes(const Sheet& s) {
  Table t = s.table("cause");
  for (unsigned c = 0; c < kCauses; ++c) {
    const std::string name = name_of(static_cast<Cause>(c));
    if (s.any("cycles." + name)) s.per_thousand(t, name, "cycles." + name);
  }
  s.per_thousand(t, "all", "cycles");
  return t.text(2);
}

std::string by_prefix(const Sheet& s, const std::string& title, const std::string& prefix) {
  std::set<std::string> names;
  for (const Values& v : s.values())
    for (auto it = v.lower_bound(prefix); it != v.end() && it->first.starts_with(prefix); ++it)
      if (it->second) names.insert(it->first);
  if (names.empty()) return "";
  Table t = s.table(title);
  for (const std::string& name : names) s.count(t, name.substr(prefix.size()), name);
  return t.text(2);
}

}  // namespace

std::vector<std::string> unpaired(const std::vector<Compared>& reports) {
  std::vector<std::string> differences;
  const Compared& base = reports[0];
  const double base_count = at(values_of(base), "instructions");
  for (std::size_t n = 1; n < reports.size(); ++n) {
    if (reports[n].head.images != base.head.images)
      differences.push_back(fmt::format("{} and {} did not run the same guest images", base.name, reports[n].name));
    if (const double count = at(values_of(reports[n]), "instructions"); count != base_count)
      differences.push_back(
          fmt::format("{} retired {} instructions and {} {}; with clock.guest = instructions they are equal", base.name,
                      whole(base_count), reports[n].name, whole(count)));
  }
  return differences;
}

std::string comparison(const std::vector<Compared>& reports) {
  const Sheet s(reports);
  std::string text = work(s) + "\nCycles of a thousand instructions, by cause\n" + causes(s);
  if (const std::string exits = by_prefix(s, "reason", "vmm.exits."); !exits.empty()) text += "\nExits by reason\n" + exits;
  if (const std::string reads = by_prefix(s, "position", "walk.reads_by_position."); !reads.empty())
    text += "\nReads of walks by position (guest level g, host level h)\n" + reads;
  return text;
}

}  // namespace nestwalk::report
