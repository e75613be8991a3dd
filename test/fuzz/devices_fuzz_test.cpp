// The device fuzz target under seeded input, briefly, in every test run.
#define NESTWALK_FUZZ_AS_TEST
#include "test/fuzz/devices_fuzz.cpp"
#include "base/random.h"
#include "test/catch.h"

using namespace nestwalk;

TEST_CASE("a board of devices survives garbage, and strikes no more than it promises") {
  Random random(20261121);
  for (int round = 0; round < 1000; ++round) {
    std::vector<u8> input(4 + random.below(4000));
    for (u8& b : input) b = static_cast<u8>(random.next());
    INFO("round " << round);
    CHECK(emu::fuzz::run(input) == 0);
  }
}
