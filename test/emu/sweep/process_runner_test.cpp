// Points as processes: shell scripts stand in for `nestwalk run FILE --out DIR --no-input`.
#include "emu/sweep/process_runner.h"

#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "report/sqlite_store.h"
#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::emu::sweep;
using Catch::Matchers::Contains;
using report::ResultStore;
namespace fs = std::filesystem;

namespace {

std::string report_text(const std::string& ended) {
  return R"({"run": {"version": "v", "seed": 1, "images": {"kernel": "xxh3:1"}, "facts": {"ended": ")" + ended +
         R"("}, "config": {"t.ways": "4"}}, "cycles": 7, "cycles.tlb": 2, "walk": {"latency": {"mean": 1.5}}})";
}
constexpr const char* kPoweredOff = "the guest powered off";
constexpr const char* kDebugExit = "the guest wrote to the debug-exit port";

Plan plan_of(u64 id) {
  return {{id, {{"t.ways", "4"}}, "", {{"t.ways", "4", "f:1"}}}, {{"t.ways", "4"}}, {{"kernel", "xxh3:1"}}, "d"};
}

struct Stage : Scratch {
  /// A program with this body; $2 is the point's file, $4 its folder.
  std::string program(const std::string& body) const {
    const std::string script = file("program", "#!/bin/sh\n[ \"$1 $3 $5\" = 'run --out --no-input' ] || exit 99\n" + body);
    fs::permissions(script, fs::perms::owner_all);
    return script;
  }
  std::string points() const { return (path / "points").string(); }
  /// Runs one point by the body.
  Result run(const std::string& body) const {
    ProcessRunner runner(program(body), points());
    runner.start(plan_of(1));
    const Event event = runner.wait(std::chrono::seconds(20));
    REQUIRE(event.kind == Event::Kind::finished);
    return event.result;
  }
  std::string writes(const std::string& ended) const {
    file("report", report_text(ended));
    return "cp '" + (path / "report").string() + "' \"$4/stats.json\"\n";
  }
};

/// Waits until `what` holds, for at most 20 s.
template <class F>
bool soon(F what) {
  for (int i = 0; i < 2000; ++i) {
    if (what()) return true;
    usleep(10'000);
  }
  return false;
}

/// Whether the process runs (a zombie does not: nobody may be there to take it).
bool alive(pid_t process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  return std::getline(in, line) && line.find(") Z ") == std::string::npos;
}

}  // namespace

TEST_CASE("a point leaves its report, its console and its log in its folder, and its metrics with us") {
  const Stage stage;
  const Result result = stage.run(stage.writes(kPoweredOff) + "echo hello; echo note >&2; read line && exit 5; exit 0\n");
  CHECK(result.id == 1);
  CHECK(result.status == ResultStore::kDone);
  CHECK(result.metrics ==
        std::vector<report::Metric>{
            {"cycles", u64{7}}, {"cycles.tlb", u64{2}}, {"walk.latency.mean", 1.5}, {"run.exit_status", u64{0}}});
  CHECK(stage.read("points/001/console.txt") == "hello\n");
  CHECK(stage.read("points/001/log.txt") == "note\n");
  CHECK_THAT(stage.read("points/001/point.ini"), Contains("t.ways = 4\n"));
  CHECK(stage.has("points/001/stats.json"));
  CHECK_FALSE(stage.has("points/001.running"));
}

TEST_CASE("the guest's own exit status is a result, any other is a failure with the last line of the log") {
  const Stage stage;
  Result result = stage.run(stage.writes(kDebugExit) + "exit 3\n");
  CHECK(result.status == ResultStore::kDone);
  CHECK(result.metrics.back() == report::Metric{"run.exit_status", u64{3}});

  result = stage.run(stage.writes("the guest stopped the machine by a triple fault") + "exit 3\n");
  CHECK(result.status == "failed: exit status 3: the guest stopped the machine by a triple fault");
  CHECK(result.metrics.empty());

  result = stage.run("echo first >&2; echo 'nestwalk: k: is no kernel' >&2; echo >&2; exit 2\n");
  CHECK(result.status == "failed: exit status 2: k: is no kernel");
  CHECK(stage.has("points/001/log.txt"));

  CHECK(stage.run("kill -9 $$\n").status == "failed: killed by signal 9 (Killed)");
  CHECK(stage.run("exit 0\n").status == "failed: exit status 0: there is no report");
  CHECK_THAT(stage.run("echo '{' > \"$4/stats.json\"\n").status, Contains("failed: exit status 0: stats.json"));
}

TEST_CASE("a report of another configuration or of other images than planned is no result") {
  const Stage stage;
  const std::string body = stage.writes(kPoweredOff);
  ProcessRunner runner(stage.program(body), stage.points());
  Plan plan = plan_of(1);
  plan.config = {{"t.ways", "8"}};
  runner.start(plan);
  CHECK(runner.wait(std::chrono::seconds(20)).result.status ==
        "failed: ran with another configuration than planned: t.ways");
  plan = plan_of(2);
  plan.images.emplace_back("initrd", "xxh3:2");
  runner.start(plan);
  CHECK(runner.wait(std::chrono::seconds(20)).result.status == "failed: a guest image changed during the sweep: initrd");
}

TEST_CASE("a program that cannot be started is a failed point") {
  const Stage stage;
  ProcessRunner runner("/nowhere/program", stage.points());
  runner.start(plan_of(1));
  CHECK(runner.wait(std::chrono::seconds(20)).result.status == "failed: exit status 127: the program cannot be started");
}

TEST_CASE("several points run at the same time") {
  const Stage stage;
  // Each waits for the other's mark: one after the other they would never end.
  ProcessRunner runner(
      stage.program(
          stage.writes(kPoweredOff) +
          "touch \"$4/../../$(basename \"$4\").mark\"\n"
          "while ! [ -e \"$4/../../001.running.mark\" -a -e \"$4/../../002.running.mark\" ]; do sleep 0.01; done\n"),
      stage.points());
  runner.start(plan_of(1));
  runner.start(plan_of(2));
  std::set<u64> ended;
  for (int i = 0; i < 2; ++i) {
    const Event event = runner.wait(std::chrono::seconds(20));
    REQUIRE(event.kind == Event::Kind::finished);
    CHECK(event.result.status == ResultStore::kDone);
    ended.insert(event.result.id);
  }
  CHECK(ended == std::set<u64>{1, 2});
  CHECK(runner.wait(std::chrono::milliseconds(1)).kind == Event::Kind::nothing);
}

TEST_CASE("SIGINT and SIGTERM end the points and leave nothing of them") {
  const Stage stage;
  for (const int signal : {SIGINT, SIGTERM}) {
    ProcessRunner runner(stage.program("trap '' INT TERM; echo $$ > \"$4/../../pid\"; while :; do sleep 1; done\n"),
                         stage.points());
    runner.start(plan_of(1));
    REQUIRE(soon([&] { return !stage.read("pid").empty(); }));
    const pid_t child = std::stoi(stage.read("pid"));
    kill(getpid(), signal);
    CHECK(runner.wait(std::chrono::seconds(20)).kind == Event::Kind::interrupted);
    CHECK(stage.has("points/001.running"));
    runner.abandon();
    CHECK_FALSE(alive(child));
    CHECK(fs::is_empty(stage.points()));
    fs::remove(stage.path / "pid");
  }
}

TEST_CASE("points end with a sweep that is killed, and their folders go when it is resumed") {
  const Stage stage;
  const std::string program = stage.program("echo $$ > \"$4/../../pid\"; sleep 100\n");
  const pid_t sweep = fork();
  if (sweep == 0) {
    ProcessRunner runner(program, stage.points());
    runner.start(plan_of(1));
    runner.wait(std::chrono::seconds(100));
    _exit(0);
  }
  REQUIRE(soon([&] { return !stage.read("pid").empty(); }));
  const pid_t point = std::stoi(stage.read("pid"));
  CHECK(alive(point));
  kill(sweep, SIGKILL);
  waitpid(sweep, nullptr, 0);
  CHECK(soon([&] { return !alive(point); }));
  CHECK(stage.has("points/001.running"));
  const ProcessRunner resumed(program, stage.points());
  CHECK(fs::is_empty(stage.points()));
}

TEST_CASE("a point that runs again replaces what it left, one that is gone takes its folder along") {
  const Stage stage;
  stage.run("touch \"$4/old\"; exit 2\n");
  CHECK(stage.has("points/001/old"));
  stage.run(stage.writes(kPoweredOff));
  CHECK_FALSE(stage.has("points/001/old"));
  ProcessRunner(stage.program(""), stage.points()).forget(1);
  CHECK_FALSE(stage.has("points/001"));
}
