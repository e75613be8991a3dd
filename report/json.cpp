// Nesting and flattening are inverse to one another; nlohmann-json prints numbers so that they read back exactly.
#include "report/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace nestwalk::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTotal = "total";
constexpr unsigned kDeepest = 64;  // objects within objects; ours reach six

[[noreturn]] void clash(const std::string& name) {
  throw std::logic_error(fmt::format("the statistic '{}' cannot be nested beside the others: a name clashes", name));
}

/// Puts `leaf` at the dotted `name` below `root`.
void place(Json& root, const std::string& name, Json leaf) {
  Json* node = &root;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t dot = std::min(name.find('.', at), name.size());
    if (node->is_number()) *node = Json{{kTotal, *node}};  // so far without names below it
    if (!node->is_object() && !node->is_null()) clash(name);
    node = &(*node)[name.substr(at, dot - at)];
    at = dot + 1;
  }
  if (node->is_null()) {
    *node = std::move(leaf);
    return;
  }
  if (!node->is_object()) clash(name);
  const Json members = leaf.is_object() ? std::move(leaf) : Json{{kTotal, std::move(leaf)}};
  for (const auto& [member, value] : members.items()) {
    if (node->contains(member)) clash(name);
    (*node)[member] = value;
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
  for (std::size_t i = 0; i < stats.counters().size(); ++i) place(root, stats.counters()[i].name, s.counters.at(i));
  for (const auto& r : stats.ratios()) {
    const u64 n = s.counters.at(r.numerator), d = s.counters.at(r.denominator);
    place(root, r.name, d ? static_cast<double>(n) / static_cast<double>(d) : 0.0);
  }
  for (std::size_t i = 0; i < stats.histograms().size(); ++i)
    place(root, stats.histograms()[i].name, json_of(s.histograms.at(i)));
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
    const std::string name = prefix.empty() ? key : key == kTotal ? prefix : prefix + "." + key;
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

Head::Pairs config_of(std::string_view text) {
  const Json root = parse(text);
  const auto pointer = Json::json_pointer(std::string("/") + kHeadMember + "/config");
  if (!root.contains(pointer) || !root[pointer].is_object())
    throw ReportError("stats.json: the head with its configuration is missing");
  Head::Pairs config;
  for (const auto& [key, value] : root[pointer].items())
    config.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
  return config;
}

}  // namespace nestwalk::report
