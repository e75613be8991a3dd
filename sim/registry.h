// Plug-ins by name: a model registers a factory from its own file; a name taken twice or not known is an error that says
// so.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/settings.h"

namespace nestwalk::sim {

/// Nearest of `names` to `word` by edit distance, or "" when none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& names);

/// Factories of one kind of plug-in. `Interface` names its kind: static constexpr const char* kKind = "MMU model".
/// `Args` is what every factory of that kind receives.
template <class Interface, class... Args>
class Registry {
 public:
  using Factory = std::function<std::unique_ptr<Interface>(Args...)>;
  struct Entry {
    std::string text;  ///< one sentence, for `nestwalk models`
    Factory make;
  };

  static Registry& instance() {
    static Registry registry;
    return registry;
  }
  void add(const std::string& name, const std::string& text, Factory make) {
    if (!entries_.emplace(name, Entry{text, std::move(make)}).second)
      throw std::logic_error(std::string(Interface::kKind) + " '" + name + "' is registered twice");
  }
  std::unique_ptr<Interface> make(const std::string& name, Args... args) const {
    const auto it = entries_.find(name);
    if (it == entries_.end()) {
      std::string all;
      for (const auto& [n, e] : entries_) all += (all.empty() ? "" : ", ") + n;
      throw ConfigError("there is no " + std::string(Interface::kKind) + " '" + name + "'; there are: " + all);
    }
    return it->second.make(args...);
  }
  const std::map<std::string, Entry>& entries() const { return entries_; }

 private:
  std::map<std::string, Entry> entries_;
};

/// `static Register<...> r("name", "sentence", factory);` at namespace scope of the plug-in's file.
template <class Interface, class... Args>
struct Register {
  Register(const char* name, const char* text, typename Registry<Interface, Args...>::Factory make) {
    Registry<Interface, Args...>::instance().add(name, text, std::move(make));
  }
};

}  // namespace nestwalk::sim
