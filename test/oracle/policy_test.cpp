// One policy: the oracle's lines and marks, the rows of the table, the tests that rows name and the page agree, in every
// direction.
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "cpu/undefined.h"
#include "test/catch.h"
#include "test/oracle/harness/policy.h"
#include "test/oracle/harness/system_policy.h"

using namespace nestwalk;
using namespace nestwalk::oracle;

namespace {

const char* const kPage = NESTWALK_SOURCE "/docs/isa-policy.md";

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// The sources of all tests that can show a row.
std::string test_sources() {
  std::string all;
  for (const char* folder : {"cpu", "oracle", "mmu"})
    for (const auto& entry : std::filesystem::directory_iterator(NESTWALK_SOURCE "/test/" + std::string(folder)))
      if (entry.path().extension() == ".cpp" && entry.path().filename() != "policy_test.cpp") all += contents(entry.path());
  return all;
}

}  // namespace

TEST_CASE("docs/isa-policy.md says what the table and the oracle's lines say", "[policy]") {
  CHECK(contents(kPage) == whole_policy_page());
}

TEST_CASE("writes docs/isa-policy.md", "[.][write-policy]") {
  std::ofstream(kPage) << whole_policy_page();
  SUCCEED();
}

TEST_CASE("every line of the oracle names instructions and a row that there are", "[policy]") {
  CHECK(unknown_names().empty());
}

TEST_CASE("every row is named by a line of the oracle or by a test that there is", "[policy]") {
  const std::string tests = test_sources();
  std::set<std::string> named;
  for (const PolicyLine& l : policy()) named.insert(l.row);
  for (const SystemLine& l : system_policy()) named.insert(l.row);
  for (const SystemExclusion& e : system_exclusions()) named.insert(e.row);
  for (const cpu::Policy& row : cpu::policies()) {
    INFO(row.id);
    if (*row.shown)
      CHECK(tests.find("TEST_CASE(\"" + std::string(row.shown) + "\"") != std::string::npos);
    else
      CHECK(named.contains(row.id));
  }
}
