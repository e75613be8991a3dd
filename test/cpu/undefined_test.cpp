// The table of policies and the page that is written from it.
#include "cpu/undefined.h"

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "test/catch.h"

namespace nestwalk::cpu {
namespace {

const char* const kPage = NESTWALK_SOURCE "/docs/isa-policy.md";

}  // namespace

TEST_CASE("docs/isa-policy.md says what the table says", "[policy]") {
  std::ifstream in(kPage);
  std::stringstream text;
  text << in.rdbuf();
  CHECK(text.str() == policy_page());
}

TEST_CASE("writes docs/isa-policy.md", "[.][write-policy]") {
  std::ofstream(kPage) << policy_page();
  SUCCEED();
}

TEST_CASE("policies have names of their own, and unknown ones are refused", "[policy]") {
  std::set<std::string> ids;
  for (const Policy& p : policies()) CHECK(ids.insert(p.id).second);
  CHECK(policy("div-flags").varies);
  CHECK_THROWS_AS(policy("no-such-row"), std::invalid_argument);
}

}  // namespace nestwalk::cpu
