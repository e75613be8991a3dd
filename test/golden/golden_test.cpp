// Golden runs: each folder beside this file holds a machine, names its guest in its first line, and keeps the report that
// the run gave when it was last approved. A difference is a change of meaning until somebody has read it.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "report/summary.h"
#include "test/conformance/machine_bench.h"

using namespace nestwalk;
using namespace nestwalk::test;
namespace fs = std::filesystem;

namespace {

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<fs::path> folders() {
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(NESTWALK_SOURCE "/test/golden"))
    if (entry.is_directory()) all.push_back(entry.path());
  std::sort(all.begin(), all.end());
  return all;
}

/// "# guest: SOURCE OPTIONS" on the first line of a machine's file.
std::pair<std::string, std::string> guest_of(const std::string& machine) {
  std::istringstream line(machine.substr(0, machine.find('\n')));
  std::string hash, word, source, options;
  line >> hash >> word >> source;
  REQUIRE(word == "guest:");
  std::getline(line, options);
  return {source, options};
}

/// The first line in which the texts differ, with its number; empty when there is none.
std::string first_difference(const std::string& expected, const std::string& actual) {
  std::istringstream a(expected), b(actual);
  std::string was, is;
  for (unsigned n = 1;; ++n) {
    const bool more_a = static_cast<bool>(std::getline(a, was)), more_b = static_cast<bool>(std::getline(b, is));
    if (!more_a && !more_b) return expected == actual ? "" : "only the last newline";
    if (!more_a) was = "(nothing)";
    if (!more_b) is = "(nothing)";
    if (was != is) return "line " + std::to_string(n) + "\n  approved: " + was + "\n  now:      " + is;
  }
}

void compare(const fs::path& file, const std::string& actual) {
  if (std::getenv("NESTWALK_APPROVE")) {
    std::ofstream(file, std::ios::binary) << actual;
    return;
  }
  const std::string difference = first_difference(read_file(file), actual);
  if (!difference.empty())
    FAIL_CHECK(
        file.string() << " differs, first in " << difference
                      << "\nIf the new numbers are right: scripts/approve, read `git diff test/golden`, commit both.");
}

}  // namespace

TEST_CASE("the golden runs report what was approved, byte for byte") {
  const Scratch scratch;
  const std::vector<fs::path> all = folders();
  REQUIRE(all.size() >= 2);
  for (const fs::path& folder : all) {
    const std::string machine = read_file(folder / "machine.ini");
    const auto [source, options] = guest_of(machine);
    MachineBench bench(machine, build_guest(scratch, source, options), "");
    bench.run_to_end();
    // Neither configuration nor digest: those of an unchanged run change with a new key or another assembler.
    report::Head head;
    head.version = "golden";
    head.seed = bench->params().seed;
    head.facts = {{"machine", folder.filename().string()}, {"guest", source + options}};
    const sim::Snapshot s = bench->stats().snapshot();
    check_invariants(bench->stats(), s);
    compare(folder / "stats.json", report::stats_json(head, bench->stats(), s));
    compare(folder / "summary.txt", report::summary(head, bench->stats(), s));
  }
}

TEST_CASE("the one-level golden run misses as its guest's head computes") {
  const Scratch scratch;
  const fs::path folder = NESTWALK_SOURCE "/test/golden/one-level";
  const std::string machine = read_file(folder / "machine.ini");
  MachineBench bench(machine, build_guest(scratch, guest_of(machine).first), "");
  bench.run_to_end();
  CHECK(bench.value("walk.page_size.4K") == 16 + 48 + 3 * 64);
  CHECK(bench.value("walk.reads_by_position.g1h0") == 16 + 48 + 3 * 64);  // large pages are found without a page table
  CHECK(bench.value("cycles.walk_read") == 20 * bench.value("walk.reads"));
  CHECK(bench.value("cycles") ==
        bench.value("instructions") + 20 * bench.value("walk.reads") + bench.value("cycles.walk_update"));
}
