// Core timing models: found by name, priced by class, configured by key.
#include "cpu/timing.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::cpu;

namespace {

Insn insn(Op op) {
  Insn i;
  i.op = op;
  return i;
}

}  // namespace

TEST_CASE("the one-cycle core prices everything at one cycle and has no keys") {
  sim::Settings settings;
  const auto core = Cores::instance().make("one-cycle", settings);
  CHECK(core->cost(insn(Op::ADD)) == 1);
  CHECK(core->cost(insn(Op::DIV)) == 1);
  CHECK(core->delivery() == 1);
  CHECK(settings.declared().empty());
}

TEST_CASE("the in-order core prices an instruction by its class, and each class has a key") {
  sim::Settings settings;
  settings.load_text("[core.cost]\ndivide = 77\nalu = 3\n[core]\ndelivery = 5\n", "m.ini");
  const auto core = Cores::instance().make("in-order", settings);
  settings.refuse_unknown();
  REQUIRE(class_of(insn(Op::DIV)) == Class::divide);
  CHECK(core->cost(insn(Op::DIV)) == 77);
  REQUIRE(class_of(insn(Op::ADD)) == Class::alu);
  CHECK(core->cost(insn(Op::ADD)) == 3);
  CHECK(core->delivery() == 5);
  CHECK(settings.declared().size() == 17);
  for (const auto& d : settings.declared()) {
    CAPTURE(d.key);
    CHECK(d.type == "integer 0..60000 cycles");
    CHECK(std::stoull(d.value) <= 0xffff);  // Insn::cost has 16 bits
  }
}

TEST_CASE("a division costs more than a multiplication, and that more than an addition, by default") {
  sim::Settings settings;
  const auto core = Cores::instance().make("in-order", settings);
  CHECK(core->cost(insn(Op::DIV)) > core->cost(insn(Op::IMUL)));
  CHECK(core->cost(insn(Op::IMUL)) > core->cost(insn(Op::ADD)));
}

TEST_CASE("an impossible cost and an unknown core are refused") {
  sim::Settings settings;
  settings.set("core.cost.load=70000");
  CHECK_THROWS_WITH(Cores::instance().make("in-order", settings),
                    "--set: core.cost.load = 70000: allowed is: integer 0..60000 cycles");
  CHECK_THROWS_WITH(Cores::instance().make("out-of-order", settings),
                    "there is no core model 'out-of-order'; there are: in-order, one-cycle");
}
