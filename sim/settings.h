// Settings: dotted keys in layered INI files (Boost.Program_options reads them), overridden by --set. A key's type,
// range, unit, default and sentence are declared once, in the call that fills the member it belongs to; the same
// declaration validates, documents (`nestwalk describe`) and prints the effective configuration.
#pragma once

#include <concepts>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"

namespace nestwalk::sim {

/// A mistake in the configuration; what() is one line for a person: file, line, key, value, what is allowed.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a numeric key accepts. `unit` is free text ("entries", "cycles", "bytes"); with unit "bytes" or "Hz" the suffixes
/// K, M, G (and KiB, MiB, GiB) are understood: powers of 1024 for bytes, K, M and G are powers of 1000 for Hz ("2.1G").
struct Limits {
  u64 min = 0;
  u64 max = ~u64{0};
  const char* unit = "";
};

/// A choice among names: the value's index in `names` is what the member receives.
struct Choice {
  const char* name;
  u64 value;
};

class Settings;

/// One dotted prefix of the settings ("tlb.l2"), through which a component declares and reads its keys.
class Section {
 public:
  Section(Settings& settings, std::string prefix) : settings_(&settings), prefix_(std::move(prefix)) {}

  /// Each call declares the key `prefix.name`; the member keeps its present value as the default when the key is absent.
  /// Throws ConfigError for a bad value, std::logic_error for a default that the key itself would refuse.
  void field(const char* name, u64& member, Limits limits, const char* text);
  void field(const char* name, u32& member, Limits limits, const char* text);
  void field(const char* name, double& member, double min, double max, const char* unit, const char* text);
  void field(const char* name, bool& member, const char* text);
  void field(const char* name, std::string& member, const char* text);
  /// Comma-separated list.
  void field(const char* name, std::vector<std::string>& member, const char* text);
  template <class E>
  requires std::is_enum_v<E>
  void field(const char* name, E& member, std::initializer_list<std::pair<const char*, E>> choices, const char* text) {
    std::vector<Choice> list;
    for (const auto& [n, v] : choices) list.push_back({n, static_cast<u64>(v)});
    u64 value = static_cast<u64>(member);
    choose(name, value, list, text);
    member = static_cast<E>(value);
  }

  /// Whether the user gave `prefix.name`.
  bool given(const char* name) const;
  /// Names N for which some key `prefix.N.*` is given, in the order in which they were first given.
  std::vector<std::string> children() const;
  Section child(std::string_view name) const;
  const std::string& prefix() const { return prefix_; }
  /// The part that the section describes is not there: its other keys may be given all the same.
  void allow_unused() const;
  /// A refusal that names `prefix.name`, its file and line, its value, and what is wrong.
  [[noreturn]] void refuse(const char* name, const std::string& why) const;

 private:
  void choose(const char* name, u64& value, const std::vector<Choice>& choices, const char* text);
  std::string key(std::string_view name) const;

  Settings* settings_;
  std::string prefix_;
};

/// A declared key, for `describe` and for the head of a report.
struct Declared {
  std::string key;
  std::string value;     ///< effective
  std::string standard;  ///< default
  std::string type;      ///< "integer 1..4096 entries", "one of lru, fifo", "true or false", ...
  std::string text;
};

class Settings {
 public:
  /// Later files win over earlier ones, a file wins over those that its `include = other.ini` lines name (at the top, seen
  /// from its own folder). Throws ConfigError (cannot read, bad syntax, a key twice in one file; with file and line).
  void load_file(const std::string& path);
  /// The same for text in memory; `name` stands for the file in messages.
  void load_text(const std::string& text, const std::string& name);
  /// "key=value" from the command line; wins over all files. Throws ConfigError.
  void set(std::string_view assignment);
  /// Sets a key as if it stood in a file called `origin`; an origin that begins with "--" is the command line and wins over
  /// files.
  void put(const std::string& key, const std::string& value, const std::string& origin);

  Section section(std::string prefix) { return Section(*this, std::move(prefix)); }
  /// The given (not the effective) value, or nullptr.
  const std::string* find(const std::string& key) const;

  /// After every component has declared its keys: throws ConfigError for a given key that nobody declared, with the
  /// file, the line and the nearest declared name.
  void refuse_unknown() const;
  /// Keys below `prefix` may be given though nobody declares them: they belong to a part that is not in use.
  void allow_unused(const std::string& prefix) { unused_.push_back(prefix + "."); }
  const std::vector<Declared>& declared() const { return declared_; }
  /// All declared keys with their effective values as an INI file that load_text reads back to the same settings.
  std::string effective() const;

 private:
  friend class Section;
  struct Given {
    std::string value;
    std::string origin;  ///< "file:line" or "--set"
    u64 order = 0;
  };
  void declare(Declared d);

  std::map<std::string, Given> given_;
  std::vector<Declared> declared_;
  std::vector<std::string> unused_;
  u64 order_ = 0;
};

}  // namespace nestwalk::sim
