#include "report/output.h"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "sim/settings.h"
#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::report;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

std::string text_of(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("an output folder is created with the folders above it, and holds exactly what was written") {
  const Scratch scratch;
  const OutputFolder folder(scratch / "a/b/c");
  CHECK(files_in(folder.path()) == 0);
  folder.write("stats.json", "{}");
  folder.write("stats.json", "{\"a\": 1}");
  CHECK(text_of(scratch / "a/b/c/stats.json") == "{\"a\": 1}");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("an unusable output folder is refused in one line that names it") {
  const Scratch scratch;
  std::ofstream(scratch / "file") << "x";
  for (const std::string& bad :
       {scratch / "file", scratch / "file/below", std::string("/proc/nestwalk"), std::string("/sys")}) {
    try {
      OutputFolder folder(bad);
      FAIL("accepted " + bad);
    } catch (const sim::ConfigError& e) {
      CHECK_THAT(e.what(), Contains(bad) && Contains("--out"));
      CHECK_THAT(e.what(), !Contains("\n"));
    }
  }
}

TEST_CASE("a file that grows has its name only once it is complete") {
  const Scratch scratch;
  const OutputFolder folder(scratch.path.string());
  {
    PendingFile abandoned = folder.begin("trace.nwt");
    std::ofstream(abandoned.path()) << "half";
    CHECK_FALSE(fs::exists(scratch / "trace.nwt"));
  }
  CHECK(files_in(scratch.path) == 0);
  PendingFile kept = folder.begin("trace.nwt");
  std::ofstream(kept.path()) << "whole";
  kept.commit();
  CHECK(text_of(scratch / "trace.nwt") == "whole");
  CHECK(files_in(scratch.path) == 1);
  CHECK_THROWS_AS(folder.begin("never written").commit(), sim::ConfigError);
}

TEST_CASE("when the disk is full the old file stays and no half-written one is left") {
  const Scratch scratch;
  const OutputFolder folder(scratch.path.string());
  folder.write("summary.txt", "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string content(5000, 'x');
  CHECK_THROWS_WITH(folder.write("summary.txt", content), Contains("summary.txt") && Contains("cannot write"));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(text_of(scratch / "summary.txt") == "old");
  CHECK(files_in(scratch.path) == 1);
}
