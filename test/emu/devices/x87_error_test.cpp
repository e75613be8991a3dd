// FERR#, IRQ13 and port F0H (SDM vol. 1, appendix D.2.1).
#include "emu/devices/x87_error.h"

#include <vector>

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::emu;

TEST_CASE("an x87 error latches IRQ13 until port F0H is written, which asserts IGNNE#") {
  struct Lines final : IrqLines {
    void set(unsigned line, bool level) override { changes.push_back({line, level}); }
    std::vector<std::pair<unsigned, bool>> changes;
  } lines;
  unsigned ignored = 0;
  X87Error error(lines, [&] { ++ignored; });
  error.raise();
  CHECK(lines.changes == std::vector<std::pair<unsigned, bool>>{{13, true}});
  CHECK(ignored == 0);
  error.write(0, 0, 1);
  CHECK(lines.changes.back() == std::pair<unsigned, bool>{13, false});
  CHECK(ignored == 1);
  error.raise();
  error.reset();
  CHECK(lines.changes.back() == std::pair<unsigned, bool>{13, false});
  CHECK(ignored == 1);
}
