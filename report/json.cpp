// Nesting and flattening are inverse to one another; nlohmann-json prints numbers so that they read back exactly.
#include "report/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

namespace nestwalk::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr unsigned kDeepest = 64;  // objects within objects; ours reach six

[[noreturn]] void clash(const std::string& name) {
  throw std::logic_error(fmt::format("the statistic '{}' cannot be nested beside the others: a name clashes", name));
}

/// Puts `leaf` at the dotted `name` below `root`. `numbers` are the names under which a number stands: it cannot hold what
/// lies below its name, which therefore stands beside it.
void place(Json& root, const std::set<std::string_view>& numbers, const std::string& name, Json leaf) {
  Json* node = &root;
  std::size_t member = 0;
  for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    if (numbers.count(std::string_view(name).substr(0, dot))) continue;
    node = &(*node)[name.substr(member, dot - member)];
    if (!node->is_object() && !node->is_null()) clash(name);
    member = dot + 1;
  }
  Json& slot = (*node)[name.substr(member)];
  if (slot.is_null()) {
    slot = std::move(leaf);
    return;
  }
  if (!slot.is_object() || !leaf.is_object()) clash(name);
  for (auto& [key, value] : leaf.items()) {
    if (slot.contains(key)) clash(name);
    slot[key] = std::move(value);
  }
}

Json json_of(const sim::Histogram& h) {
  Json buckets = Json::array();
  for (unsigned b = 0; b < sim::Histogram::kBuckets; ++b)
    if (h.buckets()[b]) buckets.push_back({sim::Histogram::upper_of(b), h.buckets()[b]});
  return {{"count", h.count()},       {"sum", h.sum()},
          {"mean", h.mean()},         {"p50", h.percentile(0.5)},
          {"p90", h.percentile(0.9)}, {"p99", h.percentile(0.99)},
          {"max", h.max()},           {"buckets", std::move(buckets)}};
}

void place_all(Json& root, const sim::Stats& stats, const sim::Snapshot& s) {
  std::set<std::string_view> numbers;
  for (const auto& c : stats.counters()) numbers.insert(c.name);
  for (const auto& r : stats.ratios()) numbers.insert(r.name);
  for (std::size_t i = 0; i < stats.counters().size(); ++i)
    place(root, numbers, stats.counters()[i].name, s.counters.at(i));
  for (const auto& r : stats.ratios()) {
    const u64 n = s.counters.at(r.numerator), d = s.counters.at(r.denominator);
    place(root, numbers, r.name, d ? static_cast<double>(n) / static_cast<double>(d) : 0.0);
  }
  for (std::size_t i = 0; i < stats.histograms().size(); ++i)
    place(root, numbers, stats.histograms()[i].name, json_of(s.histograms.at(i)));
}

Json json_of(const Head::Pairs& pairs) {
  Json object = Json::object();
  for (const auto& [key, value] : pairs) object[key] = value;
  return object;
}

/// Objects one member a line, everything else on one: buckets stay readable, and short.
void print(const Json& value, std::string& out, unsigned indent) {
  const auto flat = [](const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); };
  if (!value.is_object() || value.empty()) {
    out += flat(value);
    return;
  }
  out += "{";
  const char* separator = "\n";
  for (const auto& [key, member] : value.items()) {
    out += fmt::format("{}{:{}}{}: ", separator, "", indent + 2, flat(key));
    print(member, out, indent + 2);
    separator = ",\n";
  }
  out += fmt::format("\n{:{}}}}", "", indent);
}

void collect(const Json& object, const std::string& prefix, unsigned depth, std::vector<Metric>& out) {
  if (depth > kDeepest) throw ReportError("stats.json: objects nested too deeply");
  for (const auto& [key, value] : object.items()) {
    if (prefix.empty() && key == kHeadMember) continue;
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (value.is_object())
      collect(value, name, depth + 1, out);
    else if (value.is_number_unsigned())
      out.push_back({name, value.get<u64>()});
    else if (value.is_number())
      out.push_back({name, value.get<double>()});
  }
}

Json parse(std::string_view text) {
  Json root = Json::parse(text, nullptr, false);
  if (!root.is_object()) throw ReportError("stats.json: this is not a JSON object; the file is damaged or of another kind");
  return root;
}

}  // namespace

std::string stats_json(const Head& head, const sim::Stats& stats, const sim::Snapshot& snapshot) {
  Json root = Json::object();
  place_all(root, stats, snapshot);
  if (root.contains(kHeadMember)) clash(kHeadMember);
  Json whole{{kHeadMember,
              {{"version", head.version},
               {"seed", head.seed},
               {"region", head.region},
               {"images", json_of(head.images)},
               {"facts", json_of(head.facts)},
               {"config", json_of(head.config)}}}};
  whole.update(root);
  std::string out;
  print(whole, out, 0);
  return out + "\n";
}

std::vector<Metric> metrics_of(const sim::Stats& stats, const sim::Snapshot& snapshot) {
  Json root = Json::object();
  place_all(root, stats, snapshot);
  std::vector<Metric> metrics;
  collect(root, "", 0, metrics);
  return metrics;
}

std::vector<Metric> flatten(std::string_view text) {
  std::vector<Metric> metrics;
  collect(parse(text), "", 0, metrics);
  return metrics;
}

Head::Pairs config_of(std::string_view text) { return head_of(text).config; }

Head head_of(std::string_view text) {
  const Json root = parse(text);
  const auto run = root.find(kHeadMember);
  if (run == root.end() || !run->is_object() || !run->contains("config") || !(*run)["config"].is_object())
    throw ReportError("stats.json: the head with its configuration is missing");
  const auto word = [&](const char* name) {
    const auto it = run->find(name);
    return it != run->end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  const auto pairs = [&](const char* name) {
    Head::Pairs out;
    const auto it = run->find(name);
    if (it == run->end() || !it->is_object()) return out;
    for (const auto& [key, value] : it->items())
      out.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
    return out;
  };
  Head head;
  head.version = word("version");
  head.region = word("region");
  if (const auto seed = run->find("seed"); seed != run->end() && seed->is_number_unsigned()) head.seed = seed->get<u64>();
  head.images = pairs("images");
  head.facts = pairs("facts");
  head.config = pairs("config");
  return head;
}

}  // namespace nestwalk::report
