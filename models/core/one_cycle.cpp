// A core on which every instruction takes one cycle: cycles minus instructions is then exactly what memory and address
// translation cost, which makes runs easy to check by hand.
#include <memory>

#include "cpu/timing.h"

namespace nestwalk::models {
namespace {

class OneCycle final : public cpu::CoreTiming {
 public:
  Cycles cost(const cpu::Insn&) const override { return 1; }
  Cycles delivery() const override { return 1; }
};

const cpu::RegisterCore registered("one-cycle", "every instruction takes one cycle, and so does delivering an exception",
                                   [](sim::Settings&) { return std::make_unique<OneCycle>(); });

}  // namespace
}  // namespace nestwalk::models
