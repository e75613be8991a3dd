// `models`, `describe` and `configs`: what exists, with schema and defaults.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "cpu/timing.h"
#include "emu/cli.h"
#include "emu/exit_status.h"
#include "emu/host.h"
#include "emu/run_params.h"
#include "emu/tracing.h"
#include "mmu/model.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace nestwalk::emu {
namespace {

template <class R>
void list(const char* kind, const char* key) {
  std::cout << kind << " (" << key << "):\n";
  for (const auto& [name, entry] : R::instance().entries()) std::cout << fmt::format("  {:<16} {}\n", name, entry.text);
}

/// Where the shipped configurations lie: beside the source tree that holds the program, or in the working directory.
std::vector<fs::path> config_roots() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return {fs::path("configs"), self.parent_path().parent_path() / "configs"};
}

std::string first_comment(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line))
    if (line.starts_with("# ")) return line.substr(2);
  return {};
}

}  // namespace

int models_command(const std::vector<std::string>& arguments) {
  po::variables_map vm;
  if (!parse(arguments, "models", "Lists the models that configurations can name.", {}, {}, vm)) return kOk;
  list<mmu::Models>("MMU models", "mmu.model");
  list<cpu::Cores>("Core timing models", "core.model");
  for (const auto& [kind, names] : Machine::named_choices()) {
    std::cout << kind << ":\n";
    for (const std::string& n : names) std::cout << "  " << n << '\n';
  }
  return kOk;
}

int describe_command(const std::vector<std::string>& arguments) {
  po::options_description options("Options");
  options.add_options()("positional", po::value<std::vector<std::string>>(), "")(
      "set", po::value<std::vector<std::string>>()->composing(), "override a key (K=V)");
  po::positional_options_description positional;
  positional.add("positional", -1);
  po::variables_map vm;
  if (!parse(arguments, "describe [CONFIG...|PREFIX] [--set K=V]...",
             "Prints the keys that a machine of these configurations reads: effective value, type and range, default, "
             "meaning.\n"
             "A word that is not a file is a prefix: `nestwalk describe configs/machines/skylake.ini tlb`.",
             options, positional, vm))
    return kOk;
  sim::Settings settings;
  std::string prefix;
  if (vm.count("positional"))
    for (const std::string& word : vm["positional"].as<std::vector<std::string>>()) {
      if (fs::is_regular_file(word))
        settings.load_file(word);
      else
        prefix = word;
    }
  if (vm.count("set"))
    for (const std::string& s : vm["set"].as<std::vector<std::string>>()) settings.set(s);
  Host host(settings);
  Machine& machine = host.machine();
  RunParams().declare(settings.section("run"));
  const Tracing tracing(settings, machine);
  bool any = false;
  for (const sim::Declared& d : settings.declared()) {
    if (!prefix.empty() && d.key != prefix && !d.key.starts_with(prefix + ".")) continue;
    any = true;
    std::cout << fmt::format("{} = {}\n    {} (default {})\n    {}\n", d.key, d.value, d.type, d.standard, d.text);
  }
  if (!any) {
    std::vector<std::string> names;  // the keys and everything that they begin with
    for (const sim::Declared& d : settings.declared())
      for (std::size_t at = d.key.find('.'); names.emplace_back(d.key.substr(0, at)), at != std::string::npos;)
        at = d.key.find('.', at + 1);
    const std::string near = sim::nearest_name(prefix, names);
    throw sim::ConfigError(
        fmt::format("no key begins with '{}'{}", prefix, near.empty() ? "" : fmt::format(" (nearest: {})", near)));
  }
  return kOk;
}

int configs_command(const std::vector<std::string>& arguments) {
  po::variables_map vm;
  if (!parse(arguments, "configs", "Lists the configurations that come with Nestwalk.", {}, {}, vm)) return kOk;
  for (const fs::path& root : config_roots()) {
    std::error_code error;
    if (!fs::is_directory(root, error)) continue;
    std::vector<fs::path> files;
    for (const auto& e : fs::recursive_directory_iterator(root))
      if (e.path().extension() == ".ini") files.push_back(e.path());
    std::sort(files.begin(), files.end());
    for (const fs::path& f : files) std::cout << fmt::format("{:<36} {}\n", f.string(), first_comment(f));
    return kOk;
  }
  throw sim::ConfigError("no folder `configs` here or beside the program; run from the source tree");
}

}  // namespace nestwalk::emu
