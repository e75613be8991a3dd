// Reports side by side.
#include "report/comparison.h"

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::report;

namespace {
Compared report_of(const std::string& name, u64 instructions, u64 walk, u64 exits) {
  Compared c;
  c.name = name;
  c.head.images = {{"kernel", "digest"}};
  c.metrics = {{"instructions", instructions},
               {"cycles", instructions + walk},
               {"cycles.instruction", instructions},
               {"cycles.walk_read", walk},
               {"vmm.exits", exits},
               {"vmm.exits.cpuid", exits}};
  return c;
}
bool has_line(const std::string& text, const std::vector<std::string>& words) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end - begin);
    std::size_t at = 0;
    bool all = true;
    for (const std::string& w : words) all = all && (at = line.find(w, at)) != std::string::npos;
    if (all) return true;
    begin = end + 1;
  }
  return false;
}
}  // namespace

TEST_CASE("a comparison gives cycles of a thousand instructions and their difference from the first report") {
  const std::string text = comparison({report_of("native", 1000000, 50000, 0), report_of("nested", 1000000, 150000, 7)});
  CHECK(has_line(text, {"walk_read", "50.00", "150.00", "+100.00"}));
  CHECK(has_line(text, {"instruction", "1000.00", "1000.00", "+0.00"}));
  CHECK(has_line(text, {"all", "1050.00", "1150.00", "+100.00"}));
  CHECK(has_line(text, {"cycles", "1,050,000", "1,150,000", "+9.5 %"}));
  CHECK(has_line(text, {"cpuid", "0", "7", "-"}));
  CHECK(text.find("idle") == std::string::npos);  // nobody idled
}

TEST_CASE("runs that did not do the same work are not paired") {
  const Compared a = report_of("a", 1000, 5, 0), b = report_of("b", 1001, 5, 0);
  CHECK(unpaired({a, a}).empty());
  REQUIRE(unpaired({a, b}).size() == 1);
  CHECK(unpaired({a, b})[0].find("a retired 1,000 instructions and b 1,001") != std::string::npos);
  Compared other = a;
  other.head.images = {{"kernel", "another"}};
  CHECK(unpaired({a, a, other}).size() == 1);
}
