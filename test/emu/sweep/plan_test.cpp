// Plans: refusals before anything runs, and digests that change with all that determines a result.
#include "emu/sweep/plan.h"

#include "emu/sweep/sweep_file.h"
#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::emu::sweep;
using Catch::Matchers::Contains;

namespace {

struct Stage : Scratch {
  std::string kernel = file("kernel", "the kernel's bytes");

  /// Plans all points of a sweep of the simple machine.
  std::vector<Plan> plan(const std::string& text, const std::string& program = "v1") const {
    SweepFile sweep(file("s.ini", "[sweep]\nconfig = " NESTWALK_SOURCE "/configs/machines/skylake.ini\n" + text));
    sweep.override_with({"guest.kernel", kernel, "--kernel"});
    Planner planner(program);
    std::vector<Plan> plans;
    for (const Point& point : sweep.points()) plans.push_back(planner.plan(point));
    return plans;
  }
};

std::string value(const Plan& plan, const std::string& key) {
  for (const auto& [name, text] : plan.config)
    if (name == key) return text;
  return "absent";
}

}  // namespace

TEST_CASE("a plan holds the effective configuration of its point, machine file and defaults included") {
  const std::vector<Plan> plans = Stage().plan("tlb.l2.entries = 384, 768\n");
  REQUIRE(plans.size() == 2);
  CHECK(value(plans[0], "tlb.l2.entries") == "384");
  CHECK(value(plans[1], "tlb.l2.entries") == "768");
  for (const Plan& plan : plans) {
    CHECK(value(plan, "tlb.l2.policy") == "mru3plru4");
    CHECK(value(plan, "run.max_instructions") == "0");
    CHECK(value(plan, "trace.what") == "none");
    REQUIRE(plan.images.size() == 1);
    CHECK(plan.images[0].first == "kernel");
  }
}

TEST_CASE("an unknown key, a bad value, an impossible geometry or a missing image is refused with its point") {
  const Stage stage;
  CHECK_THROWS_WITH(stage.plan("tlb.l2.entries = 384, 768\ntlb.l2.entrees = 1\n"),
                    Contains("point 1 (tlb.l2.entries=384): ") && Contains("tlb.l2.entrees") && Contains("no such key"));
  CHECK_THROWS_WITH(stage.plan("tlb.l2.entries = 384, many\n"),
                    Contains("point 2 (tlb.l2.entries=many): ") && Contains("s.ini:3") && Contains("allowed is"));
  CHECK_THROWS_WITH(stage.plan("tlb.l2.entries = 384, 500\n"), Contains("point 2 (tlb.l2.entries=500): "));
  CHECK_THROWS_WITH(stage.plan("guest.initrd = /nowhere/a, /nowhere/b\n"), Contains("point 1 ") && Contains("/nowhere/a"));
  CHECK_THROWS_AS(stage.plan("config2 = 1\n"), sim::ConfigError);
  SweepFile none(stage.file("none.ini", "[sweep]\nrun.seed = 1, 2\n"));
  CHECK_THROWS_WITH(Planner("v1").plan(none.points()[0]), Contains("nothing to boot"));
}

TEST_CASE("the digest changes with the program, the configuration and the images' contents, not with their place") {
  Stage stage;
  const std::string text = "tlb.l2.entries = 384, 768\n";
  const std::string digest = stage.plan(text)[0].digest;
  CHECK(stage.plan(text)[0].digest == digest);
  CHECK(stage.plan(text)[1].digest != digest);
  CHECK(stage.plan(text, "v2")[0].digest != digest);
  CHECK(stage.plan(text + "[run]\nseed = 2\n")[0].digest != digest);
  stage.kernel = stage.file("elsewhere", "the kernel's bytes");
  CHECK(stage.plan(text)[0].digest == digest);
  stage.file("elsewhere", "the kernel's bytEs");
  CHECK(stage.plan(text)[0].digest != digest);
}

TEST_CASE("every point of the demo's sweep is a possible machine") {
  const Stage stage;
  SweepFile demo(NESTWALK_SOURCE "/configs/sweeps/demo.ini");
  demo.override_with({"guest.kernel", stage.kernel, "--kernel"});
  Planner planner("v1");
  for (const Point& point : demo.points()) CHECK_NOTHROW(planner.plan(point));
}
