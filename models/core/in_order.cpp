// A scalar in-order core: every instruction costs a fixed number of cycles by its class, first-level hits included, and
// memory behind the first level adds to it. The defaults are assumptions, not measurements: they have the order of
// magnitude of the latencies that Agner Fog's instruction tables give for Intel's in-order Atom (Bonnell), with its
// two-wide issue left out. A study that depends on them should set them.
#include <array>
#include <memory>

#include "cpu/timing.h"

namespace nestwalk::models {
namespace {

using cpu::Class;
using sim::Section;
using sim::Settings;

constexpr unsigned kClasses = static_cast<unsigned>(Class::other) + 1;
constexpr u64 kDearest = 60'000;  // cpu::Insn::cost has 16 bits

struct ClassRow {
  Class what;
  const char* name;
  u64 cycles;
  const char* text;
};
constexpr ClassRow kRows[] = {
    {Class::move, "move", 1, "cost of a register move, conversion or address computation"},
    {Class::alu, "alu", 1, "cost of integer arithmetic, logic or shift between registers"},
    // Load to use is three cycles there; compilers hide about one of the two that stall.
    {Class::load, "load", 2, "cost of an instruction that reads memory, a first-level hit included"},
    {Class::store, "store", 1, "cost of an instruction that writes memory; the store buffer hides the cache"},
    // One cycle, and some 13 for the one branch in twenty that is predicted wrongly, rounded.
    {Class::branch, "branch", 2, "cost of a jump, mispredictions averaged in"},
    {Class::call, "call", 2, "cost of a near call or return, its stack access included"},
    {Class::multiply, "multiply", 5, "cost of an integer multiplication"},
    {Class::divide, "divide", 50, "cost of an integer division"},
    {Class::vector, "vector", 1, "cost of an integer vector instruction"},
    {Class::fp, "fp", 5, "cost of a floating-point addition, multiplication or conversion"},
    {Class::fp_divide, "fp_divide", 35, "cost of a floating-point division or square root"},
    {Class::string, "string", 3, "cost of starting or resuming a string instruction, whatever its length"},
    {Class::atomic, "atomic", 10, "cost of a locked read-modify-write"},
    {Class::system, "system", 20, "cost of a privileged or serialising instruction, system calls included"},
    {Class::io, "io", 30, "cost of a port instruction, the device not included"},
    {Class::other, "other", 2, "cost of every other instruction"},
};
static_assert(std::size(kRows) == kClasses);

class InOrder final : public cpu::CoreTiming {
 public:
  explicit InOrder(Settings& settings) {
    Section cost = settings.section("core.cost");
    for (const ClassRow& row : kRows) {
      u64& cycles = cost_[static_cast<unsigned>(row.what)];
      cycles = row.cycles;
      cost.field(row.name, cycles, {.min = 0, .max = kDearest, .unit = "cycles"}, row.text);
    }
    settings.section("core").field("delivery", delivery_, {.min = 0, .max = kDearest, .unit = "cycles"},
                                   "cost of delivering an exception or interrupt, memory accesses not included");
  }

  Cycles cost(const cpu::Insn& insn) const override { return cost_[static_cast<unsigned>(cpu::class_of(insn))]; }
  Cycles delivery() const override { return delivery_; }

 private:
  std::array<u64, kClasses> cost_{};
  u64 delivery_ = 60;  // microcode that checks the gate and the stack; the accesses themselves are billed
};

const cpu::RegisterCore registered("in-order", "a scalar in-order core with a cost for each class of instructions",
                                   [](Settings& settings) { return std::make_unique<InOrder>(settings); });

}  // namespace
}  // namespace nestwalk::models
