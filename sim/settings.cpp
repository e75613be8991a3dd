// Declared keys and their values: what a value means, which values are allowed, and the one line that refuses the others.
#include "sim/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

#include "sim/ini.h"
#include "sim/registry.h"

namespace nestwalk::sim {
namespace {

struct Suffix {
  std::string_view name;
  u64 factor;
};
constexpr Suffix kByteSuffixes[] = {{"", 1},
                                    {"B", 1},
                                    {"K", u64{1} << 10},
                                    {"k", u64{1} << 10},
                                    {"KiB", u64{1} << 10},
                                    {"M", u64{1} << 20},
                                    {"MiB", u64{1} << 20},
                                    {"G", u64{1} << 30},
                                    {"GiB", u64{1} << 30},
                                    {"T", u64{1} << 40},
                                    {"TiB", u64{1} << 40}};
constexpr Suffix kHertzSuffixes[] = {{"", 1},
                                     {"Hz", 1},
                                     {"K", 1'000},
                                     {"k", 1'000},
                                     {"kHz", 1'000},
                                     {"M", 1'000'000},
                                     {"MHz", 1'000'000},
                                     {"G", 1'000'000'000},
                                     {"GHz", 1'000'000'000},
                                     {"KiB", u64{1} << 10},
                                     {"MiB", u64{1} << 20},
                                     {"GiB", u64{1} << 30}};
constexpr Suffix kNoSuffixes[] = {{"", 1}};

std::span<const Suffix> suffixes_of(std::string_view unit) {
  if (unit == "bytes") return kByteSuffixes;
  if (unit == "Hz") return kHertzSuffixes;
  return kNoSuffixes;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Decimal digits with at most one point, times a suffix; nothing unless the product is a whole number below 2^64.
std::optional<u64> parse_decimal(std::string_view text, std::string_view unit) {
  u128 digits = 0, scale = 1;
  bool point = false;
  std::size_t at = 0, seen = 0;
  for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !point)); ++at) {
    if (text[at] == '.') {
      point = true;
      continue;
    }
    digits = digits * 10 + static_cast<u64>(text[at] - '0');
    if (point) scale *= 10;
    if (digits >> 64 || scale >> 64) return std::nullopt;
    ++seen;
  }
  if (seen == 0 || text[at - 1] == '.') return std::nullopt;
  const std::string tail = trim(text.substr(at));
  for (const Suffix& suffix : suffixes_of(unit)) {
    if (suffix.name != tail) continue;
    const u128 product = digits * suffix.factor;  // both below 2^64
    if (product % scale || (product / scale) >> 64) return std::nullopt;
    return static_cast<u64>(product / scale);
  }
  return std::nullopt;
}

std::optional<u64> parse_integer(std::string_view text, std::string_view unit) {
  if (!text.starts_with("0x") && !text.starts_with("0X")) return parse_decimal(text, unit);
  u64 value = 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_real(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<bool> parse_truth(std::string_view text) {
  for (const char* yes : {"true", "yes", "on", "1"})
    if (text == yes) return true;
  for (const char* no : {"false", "no", "off", "0"})
    if (text == no) return false;
  return std::nullopt;
}

std::optional<std::vector<std::string>> parse_list(const std::string& text) {
  std::vector<std::string> items;
  if (text.empty()) return items;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    items.push_back(trim(std::string_view(text).substr(at, comma - at)));
    if (items.back().empty()) return std::nullopt;
    at = comma + 1;
  }
  return items;
}

std::string type_of(const Limits& limits) {
  const std::string unit = *limits.unit ? fmt::format(" {}", limits.unit) : "";
  const std::string range = limits.max == ~u64{0} ? (limits.min ? fmt::format(" {} or more", limits.min) : "")
                                                  : fmt::format(" {}..{}", limits.min, limits.max);
  const bool scaled = suffixes_of(limits.unit).size() > 1;
  return "integer" + range + unit + (scaled ? " (suffixes K, M, G)" : "");
}

bool within(u64 value, const Limits& limits) { return value >= limits.min && value <= limits.max; }

/// A default that its own key would refuse is our mistake, not the user's.
void demand_default(bool good, const std::string& key, const std::string& value) {
  if (!good)
    throw std::logic_error(fmt::format("the default '{}' of {} is not among the values that {} allows", value, key, key));
}

}  // namespace

std::string Section::key(std::string_view name) const {
  return prefix_.empty() ? std::string(name) : fmt::format("{}.{}", prefix_, name);
}

Section Section::child(std::string_view name) const { return Section(*settings_, key(name)); }

void Section::allow_unused() const { settings_->allow_unused(prefix_); }

bool Section::given(const char* name) const { return settings_->find(key(name)) != nullptr; }

void Section::field(const char* name, u64& member, Limits limits, const char* text) {
  const std::string standard = fmt::to_string(member), type = type_of(limits);
  demand_default(within(member, limits), key(name), standard);
  if (const std::string* given = settings_->find(key(name))) {
    const auto value = parse_integer(*given, limits.unit);
    if (!value || !within(*value, limits)) refuse(name, "allowed is: " + type);
    member = *value;
  }
  settings_->declare({key(name), fmt::to_string(member), standard, type, text});
}

void Section::field(const char* name, u32& member, Limits limits, const char* text) {
  limits.max = std::min<u64>(limits.max, ~u32{0});
  u64 value = member;
  field(name, value, limits, text);
  member = static_cast<u32>(value);
}

void Section::field(const char* name, double& member, double min, double max, const char* unit, const char* text) {
  const std::string standard = fmt::format("{}", member);
  const std::string type = fmt::format("number {}..{}{}{}", min, max, *unit ? " " : "", unit);
  demand_default(member >= min && member <= max, key(name), standard);
  if (const std::string* given = settings_->find(key(name))) {
    const auto value = parse_real(*given);
    if (!value || *value < min || *value > max) refuse(name, "allowed is: " + type);
    member = *value;
  }
  settings_->declare({key(name), fmt::format("{}", member), standard, type, text});
}

void Section::field(const char* name, bool& member, const char* text) {
  const std::string standard = fmt::format("{}", member);
  if (const std::string* given = settings_->find(key(name))) {
    const auto value = parse_truth(*given);
    if (!value) refuse(name, "allowed is: true or false (also yes, no, on, off, 1, 0)");
    member = *value;
  }
  settings_->declare({key(name), fmt::format("{}", member), standard, "true or false", text});
}

void Section::field(const char* name, std::string& member, const char* text) {
  const std::string standard = member;
  demand_default(is_value(standard) && trim(standard) == standard, key(name), standard);
  if (const std::string* given = settings_->find(key(name))) member = *given;
  settings_->declare({key(name), member, standard, "text", text});
}

void Section::field(const char* name, std::vector<std::string>& member, const char* text) {
  const auto join = [](const std::vector<std::string>& items) { return fmt::format("{}", fmt::join(items, ", ")); };
  const std::string standard = join(member);
  demand_default(is_value(standard) && parse_list(standard) == member, key(name), standard);
  if (const std::string* given = settings_->find(key(name))) {
    auto items = parse_list(*given);
    if (!items) refuse(name, "an item of the list is empty; allowed is: list of names with commas between them");
    member = std::move(*items);
  }
  settings_->declare({key(name), join(member), standard, "list of names with commas between them", text});
}

void Section::choose(const char* name, u64& value, const std::vector<Choice>& choices, const char* text) {
  std::vector<std::string> names;
  std::string standard;
  for (const Choice& choice : choices) {
    names.emplace_back(choice.name);
    if (choice.value == value && standard.empty()) standard = choice.name;
  }
  demand_default(!standard.empty(), key(name), fmt::to_string(value));
  const std::string type = fmt::format("one of {}", fmt::join(names, ", "));
  std::string effective = standard;
  if (const std::string* given = settings_->find(key(name))) {
    const auto chosen = std::find(names.begin(), names.end(), *given);
    if (chosen == names.end()) {
      const std::string near = nearest_name(*given, names);
      refuse(name, "allowed is: " + type + (near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
    }
    value = choices[static_cast<std::size_t>(chosen - names.begin())].value;
    effective = *chosen;
  }
  settings_->declare({key(name), effective, standard, type, text});
}

std::vector<std::string> Section::children() const {
  const std::string head = prefix_.empty() ? "" : prefix_ + ".";
  std::map<std::string, u64> first;  // child -> order of its first key
  for (auto it = settings_->given_.lower_bound(head); it != settings_->given_.end() && it->first.starts_with(head); ++it) {
    const std::size_t dot = it->first.find('.', head.size());
    if (dot == std::string::npos) continue;
    const auto [entry, is_new] = first.emplace(it->first.substr(head.size(), dot - head.size()), it->second.order);
    if (!is_new) entry->second = std::min(entry->second, it->second.order);
  }
  std::vector<std::string> names;
  for (const auto& [name, order] : first) names.push_back(name);
  std::sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return first.at(a) < first.at(b); });
  return names;
}

void Section::refuse(const char* name, const std::string& why) const {
  const std::string full = key(name);
  if (const auto it = settings_->given_.find(full); it != settings_->given_.end())
    throw ConfigError(fmt::format("{}: {} = {}: {}", it->second.origin, full, printable(it->second.value), why));
  for (const Declared& d : settings_->declared_)
    if (d.key == full) throw ConfigError(fmt::format("{} = {} (the default): {}", full, printable(d.value), why));
  throw ConfigError(fmt::format("{} (not given): {}", full, why));
}

void Settings::load_file(const std::string& path) {
  read_ini_file(path, [this](const IniLine& line, const std::string& origin) { put(line.key, line.value, origin); });
}

void Settings::load_text(const std::string& text, const std::string& name) {
  for (const IniLine& line : parse_ini(text, name)) {
    const std::string origin = fmt::format("{}:{}", name, line.line);
    if (line.key == "include")
      throw ConfigError(fmt::format("{}: include = {}: only a file can include", origin, printable(line.value)));
    put(line.key, line.value, origin);
  }
}

void Settings::set(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos)
    throw ConfigError(fmt::format("--set '{}': must be key=value", printable(assignment)));
  put(trim(assignment.substr(0, equals)), std::string(assignment.substr(equals + 1)), "--set");
}

void Settings::put(const std::string& key, const std::string& value, const std::string& origin) {
  if (!is_key(key)) throw ConfigError(fmt::format("{}: '{}' is no key", origin, printable(key)));
  const std::string text = trim(value);
  if (!is_value(text))
    throw ConfigError(fmt::format("{}: {} = {}: a value holds no '#', no control characters and at most 32 KiB", origin,
                                  key, printable(text)));
  const auto from_command_line = [](const std::string& o) { return o.starts_with("--"); };
  const auto [it, is_new] = given_.emplace(key, Given{text, origin, order_});
  if (is_new) {
    ++order_;
  } else if (from_command_line(origin) || !from_command_line(it->second.origin)) {
    it->second.value = text;
    it->second.origin = origin;
  }
}

const std::string* Settings::find(const std::string& key) const {
  const auto it = given_.find(key);
  return it == given_.end() ? nullptr : &it->second.value;
}

void Settings::declare(Declared d) {
  // Several cores or machines may read the same key from one Settings; it is one declaration all the same.
  for (const Declared& old : declared_)
    if (old.key == d.key) return;
  declared_.push_back(std::move(d));
}

void Settings::refuse_unknown() const {
  std::vector<std::string> names;
  for (const Declared& d : declared_) names.push_back(d.key);
  const std::pair<const std::string, Given>* first = nullptr;
  std::size_t more = 0;
  for (const auto& entry : given_) {
    if (std::find(names.begin(), names.end(), entry.first) != names.end()) continue;
    const auto begins = [&](const std::string& prefix) { return entry.first.starts_with(prefix); };
    if (std::any_of(unused_.begin(), unused_.end(), begins)) continue;
    if (first) ++more;
    if (!first || entry.second.order < first->second.order) first = &entry;
  }
  if (!first) return;

  const std::string& word = first->first;
  std::string near = nearest_name(word, names);
  if (near.empty()) {  // the section was forgotten, or stands in front of a key that needs none
    const auto tail = [](std::string_view a, std::string_view b) {
      return a.size() > b.size() && a.ends_with(b) && a[a.size() - b.size() - 1] == '.';
    };
    const auto it = std::find_if(names.begin(), names.end(), [&](const auto& n) { return tail(n, word) || tail(word, n); });
    if (it != names.end()) near = *it;
  }
  throw ConfigError(fmt::format("{}: {} = {}: there is no such key{}{}", first->second.origin, word,
                                printable(first->second.value), near.empty() ? "" : fmt::format("; did you mean {}?", near),
                                more ? fmt::format(" ({} more unknown key{})", more, more > 1 ? "s" : "") : ""));
}

std::string Settings::effective() const {
  std::vector<std::pair<std::string, std::string>> sections{{"", ""}};  // keys without a section must come first
  for (const Declared& d : declared_) {
    // Absent and empty are told apart by Section::given.
    if (d.value.empty() && !find(d.key)) continue;
    const std::size_t dot = d.key.rfind('.');
    const std::string section = dot == std::string::npos ? "" : d.key.substr(0, dot);
    auto it = std::find_if(sections.begin(), sections.end(), [&](const auto& s) { return s.first == section; });
    if (it == sections.end()) it = sections.emplace(sections.end(), section, "");
    it->second += fmt::format("{} ={}{}\n", d.key.substr(dot + 1), d.value.empty() ? "" : " ", d.value);
  }
  std::string out;
  for (const auto& [section, body] : sections) {
    if (body.empty()) continue;
    if (!section.empty()) out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    out += body;
  }
  return out;
}

}  // namespace nestwalk::sim
