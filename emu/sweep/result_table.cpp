#include "emu/sweep/result_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/bill.h"
#include "emu/sweep/sweep_file.h"
#include "report/table.h"

namespace nestwalk::emu::sweep {
namespace {

using report::Table;
using Strings = std::vector<std::string>;

/// Cycles that exist for translation's sake: what a first-level TLB miss costs.
constexpr Cause kTranslation[] = {Cause::tlb, Cause::pwc, Cause::walk_read, Cause::walk_update};

bool all_different(const Strings& values) {
  return std::set<std::string>(values.begin(), values.end()).size() == values.size();
}

Strings words_of(const std::string& text) {
  std::istringstream in(text);
  Strings words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

/// How many words all texts begin with alike.
std::size_t common_head(const std::vector<Strings>& texts) {
  std::size_t n = 0;
  const auto has = [&](const Strings& words) { return n < words.size() && words[n] == texts.front()[n]; };
  while (n < texts.front().size() && std::all_of(texts.begin(), texts.end(), has)) ++n;
  return n;
}

Strings without_common_words(const Strings& values) {
  std::vector<Strings> texts;
  for (const std::string& value : values) texts.push_back(words_of(value));
  for (int side = 0; side < 2; ++side) {  // from the front, then from the back
    const std::size_t n = common_head(texts);
    for (Strings& words : texts) {
      words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(n));
      std::reverse(words.begin(), words.end());
    }
  }
  Strings labels;
  for (const Strings& words : texts) labels.push_back(words.empty() ? "-" : fmt::format("{}", fmt::join(words, " ")));
  return labels;
}

/// The metrics of one point by name.
class Numbers {
 public:
  explicit Numbers(const std::vector<report::Metric>& metrics) {
    for (const report::Metric& m : metrics) values_[m.name] = m.value;
  }
  std::string count(const std::string& name) const {
    const auto it = values_.find(name);
    if (it == values_.end()) return "-";
    const u64* n = std::get_if<u64>(&it->second);
    return n ? report::grouped(*n) : fmt::format("{:.3g}", std::get<double>(it->second));
  }
  std::string mean(const std::string& name) const {
    return values_.contains(name) ? fmt::format("{:.1f}", real(name)) : "-";
  }
  std::string translation_share() const {
    double sum = 0;
    for (const Cause c : kTranslation) sum += real(std::string("cycles.") + name_of(c));
    return real("cycles") > 0 ? fmt::format("{:.2f} %", 100 * sum / real("cycles")) : "-";
  }
  double real(const std::string& name) const {
    const auto it = values_.find(name);
    return it == values_.end() ? 0 : std::visit([](auto v) { return static_cast<double>(v); }, it->second);
  }
  /// Names tlb.X.misses without further parts.
  void collect_tlbs(std::set<std::string>& names) const {
    for (const auto& [name, value] : values_)
      if (name.starts_with("tlb.") && name.ends_with(".misses") && std::count(name.begin(), name.end(), '.') == 2)
        names.insert(name);
  }

 private:
  std::map<std::string, std::variant<u64, double>> values_;
};

struct Row {
  const Plan* plan;
  std::string status;
  Numbers numbers;
};

/// For each key its labels by value.
std::map<std::string, std::map<std::string, std::string>> labels_of(const Strings& keys, const std::vector<Plan>& plans) {
  std::map<std::string, std::map<std::string, std::string>> out;
  for (const std::string& key : keys) {
    Strings values;
    for (const Plan& plan : plans)
      for (const auto& [name, value] : plan.point.key_values)
        if (name == key && std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    const Strings labels = short_labels(key, values);
    for (std::size_t i = 0; i < values.size(); ++i) out[key][values[i]] = labels[i];
  }
  return out;
}

}  // namespace

Strings short_labels(const std::string& key, const Strings& values) {
  if (values.size() < 2) return values;
  Strings labels;
  if (key == kMachineKey || key == "guest.kernel" || key == "guest.initrd") {
    for (const std::string& value : values) {
      const std::filesystem::path path(value);
      labels.push_back((path.extension() == ".ini" ? path.stem() : path.filename()).string());
    }
  } else {
    labels = without_common_words(values);
  }
  return all_different(labels) ? labels : values;
}

std::string result_table(const Strings& keys, const std::vector<Plan>& plans, const report::ResultStore& store) {
  std::map<u64, std::string> status;
  for (const report::Point& point : store.points()) status[point.id] = point.status;
  std::vector<Row> rows;
  std::set<std::string> tlbs;
  bool any_status = false;
  for (const Plan& plan : plans) {
    const auto it = status.find(plan.point.id);
    if (it == status.end()) continue;
    rows.push_back({&plan, it->second, Numbers(store.metrics(plan.point.id))});
    rows.back().numbers.collect_tlbs(tlbs);
    if (const double exit = rows.back().numbers.real("run.exit_status"); exit > 0)
      rows.back().status += fmt::format(", guest status {}", exit);
    any_status |= rows.back().status != report::ResultStore::kDone;
  }

  std::vector<Table::Column> columns{{"point"}};
  for (const std::string& key : keys) columns.push_back({key, Table::Align::left});
  columns.push_back({"instructions"});
  columns.push_back({"cycles"});
  for (const std::string& name : tlbs) columns.push_back({name});
  columns.push_back({"walk.count"});
  columns.push_back({"cycles/walk"});
  columns.push_back({"translation"});
  if (any_status) columns.push_back({"status", Table::Align::left});

  Table table(columns);
  auto labels = labels_of(keys, plans);
  for (const Row& row : rows) {
    Strings cells{folder_name(row.plan->point.id)};
    for (const auto& [key, value] : row.plan->point.key_values) cells.push_back(labels[key][value]);
    cells.push_back(row.numbers.count("instructions"));
    cells.push_back(row.numbers.count("cycles"));
    for (const std::string& name : tlbs) cells.push_back(row.numbers.count(name));
    cells.push_back(row.numbers.count("walk.count"));
    cells.push_back(row.numbers.mean("walk.latency.mean"));
    cells.push_back(row.numbers.translation_share());
    if (any_status) cells.push_back(row.status);
    table.row(std::move(cells));
  }
  return table.text();
}

}  // namespace nestwalk::emu::sweep
