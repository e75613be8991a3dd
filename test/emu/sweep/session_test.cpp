// The loop of a sweep, with a runner that runs nothing: what is run again, what is not, failures, interruptions,
// extensions.
#include "emu/sweep/session.h"

#include <deque>
#include <sstream>

#include "emu/sweep/sweep_file.h"
#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::emu::sweep;
using report::ResultStore;

namespace {

/// Finishes points in the order in which they were started, one each wait.
class FakeRunner final : public Runner {
 public:
  void start(const Plan& plan) override {
    started.push_back(describe(plan.point));
    queue_.push_back(plan);
    most = std::max(most, queue_.size());
  }
  Event wait(std::chrono::milliseconds) override {
    if (started.size() == interrupt_at) return {Event::Kind::interrupted, {}};
    if (++waits_ % 2 == 0) return {};
    const Plan plan = queue_.front();
    queue_.pop_front();
    if (describe(plan.point) == failing) return {Event::Kind::finished, {plan.point.id, "failed: exit status 3: why", {}}};
    return {Event::Kind::finished, {plan.point.id, ResultStore::kDone, {{"cycles", 100 + plan.point.id}}}};
  }
  void abandon() override {
    abandoned = queue_.size();
    queue_.clear();
  }
  void forget(u64) override {}

  std::vector<std::string> started;
  std::string failing;
  std::size_t interrupt_at = ~std::size_t{0}, abandoned = 0, most = 0;

 private:
  std::deque<Plan> queue_;
  unsigned waits_ = 0;
};

struct Sweep {
  Scratch scratch;
  std::string text = "[sweep]\nx = 1, 2, 3\ny = a, b\n", program = "v1", log;
  std::vector<u64> removed;

  Tally run(FakeRunner& runner, u64 jobs = 2) {
    std::vector<Plan> plans;
    const SweepFile file(scratch.file("s.ini", text));
    for (const Point& point : file.points())
      plans.push_back({point, {}, {}, program + " " + describe(point)});  // of which a real digest is made
    ResultStore store(scratch.path / "results.sqlite");
    store.set_keys(file.keys());
    removed = settle(plans, store);
    std::ostringstream out;
    Tally tally;
    {
      Progress progress(out, false);
      tally = run_points(plans, runner, store, progress, jobs);
    }
    log = out.str();
    return tally;
  }
  ResultStore store() const { return ResultStore(scratch.path / "results.sqlite"); }
};

}  // namespace

TEST_CASE("every point runs once, at most so many at a time, and its numbers are kept under its key values") {
  Sweep sweep;
  FakeRunner runner;
  const Tally tally = sweep.run(runner, 4);
  CHECK(runner.started == std::vector<std::string>{"x=1, y=a", "x=1, y=b", "x=2, y=a", "x=2, y=b", "x=3, y=a", "x=3, y=b"});
  CHECK(runner.most == 4);
  CHECK((tally.total == 6 && tally.done == 6 && tally.failed == 0 && tally.before == 0 && !tally.interrupted));
  CHECK(sweep.store().csv() ==
        "point,x,y,status,cycles\n1,1,a,done,101\n2,1,b,done,102\n3,2,a,done,103\n4,2,b,done,104\n5,3,a,done,105\n"
        "6,3,b,done,106\n");
}

TEST_CASE("an interrupted sweep keeps what was finished and resumes with the rest") {
  Sweep sweep;
  FakeRunner first;
  first.interrupt_at = 4;
  const Tally broken = sweep.run(first, 2);
  CHECK(broken.interrupted);
  CHECK(broken.done == 2);
  CHECK(first.abandoned == 2);
  CHECK(sweep.store().points().size() == 2);

  FakeRunner second;
  const Tally whole = sweep.run(second);
  CHECK(second.started == std::vector<std::string>{"x=2, y=a", "x=2, y=b", "x=3, y=a", "x=3, y=b"});
  CHECK((whole.before == 2 && whole.done == 4));

  FakeRunner third;
  CHECK(sweep.run(third).before == 6);
  CHECK(third.started.empty());
}

TEST_CASE("a failing point is recorded, the sweep goes on, and resuming tries it again") {
  Sweep sweep;
  FakeRunner first;
  first.failing = "x=1, y=b";
  const Tally tally = sweep.run(first);
  CHECK((tally.done == 5 && tally.failed == 1));
  CHECK(sweep.store().points().at(1).status == "failed: exit status 3: why");
  CHECK_THAT(sweep.log, Catch::Matchers::Contains("sweep: point 002 (x=1, y=b): failed: exit status 3: why\n"));

  FakeRunner second;
  CHECK(sweep.run(second).done == 1);
  CHECK(second.started == std::vector<std::string>{"x=1, y=b"});
  CHECK(sweep.store().points().at(1).status == "done");
}

TEST_CASE("a changed program, configuration or image runs every point again under its old number") {
  Sweep sweep;
  FakeRunner first, second;
  sweep.run(first);
  sweep.program = "v2";
  CHECK(sweep.run(second).done == 6);
  CHECK(second.started.size() == 6);
  CHECK(sweep.store().points().size() == 6);
}

TEST_CASE("a sweep that grew runs the new points only; points that are gone leave the results") {
  Sweep sweep;
  FakeRunner first, second;
  sweep.run(first);
  sweep.text = "[sweep]\nx = 0, 1, 3\ny = a, b\n";
  const Tally tally = sweep.run(second);
  CHECK(second.started == std::vector<std::string>{"x=0, y=a", "x=0, y=b"});
  CHECK((tally.before == 4 && tally.done == 2));
  CHECK(sweep.removed == std::vector<u64>{3, 4});  // x = 2
  CHECK(sweep.store().csv() ==
        "point,x,y,status,cycles\n1,1,a,done,101\n2,1,b,done,102\n3,0,a,done,103\n4,0,b,done,104\n5,3,a,done,105\n"
        "6,3,b,done,106\n");
}

TEST_CASE("other keys need another folder") {
  Sweep sweep;
  FakeRunner runner;
  sweep.run(runner);
  sweep.text = "[sweep]\nz = 1, 2\n";
  CHECK_THROWS_AS(sweep.run(runner), report::StoreError);
  CHECK(sweep.store().points().size() == 6);
}

TEST_CASE("progress says how far the sweep is, its rate and the time left") {
  Tally tally{12, 2};
  CHECK(progress_text(tally, 0.5) == "2 of 12 points");
  CHECK(progress_text(tally, 5.9) == "2 of 12 points, 5 s so far");
  tally.done = 3;
  tally.failed = 1;
  tally.running = 2;
  CHECK(progress_text(tally, 120) ==
        "6 of 12 points (1 failed), 2 running, 2.0 a minute, 3 min left");  // 4 in 120 s, 6 to go
  tally.done = 9;
  tally.running = 0;
  CHECK(progress_text(tally, 120) == "12 of 12 points (1 failed), 5.0 a minute");
}

TEST_CASE("on a terminal progress is one line that overwrites itself, elsewhere plain lines") {
  const Tally tally{2, 0, 1, 0, 1};
  const Plan plan{{1, {{"x", "1"}}, "", {}}, {}, {}, ""};
  for (const bool terminal : {false, true}) {
    std::ostringstream out;
    {
      Progress progress(out, terminal);
      progress.tick(tally);
      progress.ended(tally, plan, {1, ResultStore::kDone, {}});
    }
    const std::string text = out.str();
    INFO(text);
    CHECK((text.find('\r') != std::string::npos) == terminal);
    CHECK((text.find('\n') != std::string::npos) == !terminal);
    CHECK_THAT(text, Catch::Matchers::Contains("1 of 2 points"));
  }
}
