// The table of policies; its page and the oracle's lines are compared with it in test/oracle/policy_test.cpp.
#include "cpu/undefined.h"

#include <set>

#include "test/catch.h"

namespace nestwalk::cpu {

TEST_CASE("policies have names of their own, and unknown ones are refused", "[policy]") {
  std::set<std::string> ids;
  for (const Policy& p : policies()) CHECK(ids.insert(p.id).second);
  CHECK(is_policy("div-flags"));
  CHECK_FALSE(is_policy("no-such-row"));
  CHECK_THROWS_AS(policy("no-such-row"), std::invalid_argument);
}

}  // namespace nestwalk::cpu
