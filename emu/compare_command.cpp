// `nestwalk compare`: reports of runs side by side.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

#include "emu/cli.h"
#include "emu/exit_status.h"
#include "report/comparison.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace nestwalk::emu {
namespace {

report::Compared read_report(const std::string& folder) {
  const fs::path file = fs::is_directory(folder) ? fs::path(folder) / "stats.json" : fs::path(folder);
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    throw sim::ConfigError(
        fmt::format("{}: cannot be read; compare takes folders that `nestwalk run --out` has written", file.string()));
  try {
    return {"", report::head_of(text.str()), report::flatten(text.str())};
  } catch (const report::ReportError& e) {
    throw sim::ConfigError(fmt::format("{}: {}", file.string(), e.what()));
  }
}

/// Columns are called by the end of their folder's name, or by the whole of it where two are alike.
void name_columns(std::vector<report::Compared>& reports, const std::vector<std::string>& folders) {
  std::set<std::string> names;
  for (std::size_t n = 0; n < reports.size(); ++n) {
    fs::path path = fs::path(folders[n]).lexically_normal();
    if (!path.has_filename()) path = path.parent_path();
    names.insert(reports[n].name = path.filename().string());
  }
  if (names.size() == reports.size()) return;
  for (std::size_t n = 0; n < reports.size(); ++n) reports[n].name = folders[n];
}

}  // namespace

int compare_command(const std::vector<std::string>& arguments) {
  po::options_description options("Options");
  options.add_options()("positional", po::value<std::vector<std::string>>(), "")(
      "any", "compare although the runs did not do the same work");
  po::positional_options_description positional;
  positional.add("positional", -1);
  po::variables_map vm;
  if (!parse(arguments, "compare DIR DIR... [--any]",
             "Puts the reports of runs side by side; the first is the base line. Runs are paired, that is did exactly the "
             "same work,\nwhen they boot the same images under clock.guest = instructions.",
             options, positional, vm))
    return kOk;
  const auto folders =
      vm.count("positional") ? vm["positional"].as<std::vector<std::string>>() : std::vector<std::string>();
  if (folders.size() < 2) throw sim::ConfigError("compare needs the folders of at least two runs");
  std::vector<report::Compared> reports;
  for (const std::string& folder : folders) reports.push_back(read_report(folder));
  name_columns(reports, folders);
  const std::vector<std::string> differences = report::unpaired(reports);
  if (!differences.empty() && !vm.count("any"))
    throw sim::ConfigError(fmt::format("{}; --any compares them all the same", differences[0]));
  for (const std::string& d : differences) fmt::print(stderr, "nestwalk: {}\n", d);
  std::cout << report::comparison(reports);
  return kOk;
}

}  // namespace nestwalk::emu
