// The results database: transactions, resuming after a kill, refusals, CSV.
#include "report/sqlite_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::report;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

Point point(u64 id, const std::string& entries) {
  return {id, {{"tlb.l2.entries", entries}, {"guest.thp", "never"}}, ResultStore::kDone, "digest " + entries};
}

const std::vector<Metric> kMetrics{{"cycles", u64{9'007'199'254'740'993}}, {"tlb.l2.miss_rate", 0.1}, {"big", ~u64{0}}};

}  // namespace

TEST_CASE("a point and its metrics come back as they were added") {
  const Scratch scratch;
  {
    ResultStore store(scratch / "results.db");
    store.set_keys({"tlb.l2.entries", "guest.thp"});
    store.add(point(3, "512"), kMetrics);
  }
  const ResultStore store(scratch / "results.db");
  CHECK(store.keys() == std::vector<std::string>{"tlb.l2.entries", "guest.thp"});
  REQUIRE(store.points().size() == 1);
  const Point p = store.points()[0];
  CHECK(p.id == 3);
  CHECK(p.key_values == point(3, "512").key_values);
  CHECK(p.status == "done");
  CHECK(p.digest == "digest 512");
  REQUIRE(store.metrics(3).size() == 3);
  CHECK(std::get<u64>(store.metric(3, "cycles")->value) == 9'007'199'254'740'993);  // 2^53 + 1: no double on the way
  CHECK(std::get<double>(store.metric(3, "tlb.l2.miss_rate")->value) == 0.1);
  CHECK(std::get<double>(store.metric(3, "big")->value) == 18446744073709551616.0);
  CHECK_FALSE(store.metric(3, "other"));
  CHECK_FALSE(store.metric(4, "cycles"));
}

TEST_CASE("a point is finished only with the same key values, the same digest and status done") {
  const Scratch scratch;
  ResultStore store(scratch / "results.db");
  store.add(point(1, "64"), kMetrics);
  CHECK(store.finished(point(1, "64")));
  CHECK_FALSE(store.finished(point(2, "64")));
  Point other = point(1, "64");
  other.digest = "of another kernel";
  CHECK_FALSE(store.finished(other));
  other = point(1, "64");
  other.key_values[1].second = "always";
  CHECK_FALSE(store.finished(other));
  other = point(1, "64");
  other.status = "failed: out of memory";
  store.add(other, {});
  CHECK_FALSE(store.finished(point(1, "64")));
  CHECK(store.metrics(1).empty());  // replaced, not merged
}

TEST_CASE("a point whose metrics fail half-way is not there at all, and can be added afterwards") {
  const Scratch scratch;
  ResultStore store(scratch / "results.db");
  store.add(point(1, "64"), kMetrics);
  const std::vector<Metric> twice{{"cycles", u64{1}}, {"misses", u64{2}}, {"cycles", u64{3}}};
  CHECK_THROWS_AS(store.add(point(2, "128"), twice), StoreError);
  CHECK_THROWS_AS(store.add(point(1, "64"), twice), StoreError);
  CHECK_FALSE(store.finished(point(2, "128")));
  CHECK(store.metrics(2).empty());
  CHECK(store.finished(point(1, "64")));  // the old result is still whole
  CHECK(store.metrics(1).size() == 3);
  store.add(point(2, "128"), kMetrics);
  CHECK(store.finished(point(2, "128")));
}

TEST_CASE("a sweep that was killed resumes with whole points only") {
  const Scratch scratch;
  ResultStore(scratch / "results.db").set_keys({"tlb.l2.entries", "guest.thp"});
  std::vector<Metric> many;
  for (u64 i = 0; i < 200; ++i) many.push_back({"metric." + std::to_string(i), i});
  const pid_t child = fork();
  if (child == 0) {
    ResultStore store(scratch / "results.db");
    for (u64 id = 1;; ++id) store.add(point(id, std::to_string(id)), many);
  }
  for (int i = 0; i < 1000 && ResultStore(scratch / "results.db").points().size() < 5; ++i) usleep(5000);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);

  ResultStore store(scratch / "results.db");
  const std::vector<Point> points = store.points();
  REQUIRE(points.size() >= 5);
  for (const Point& p : points) {
    CHECK(store.finished(point(p.id, std::to_string(p.id))));
    CHECK(store.metrics(p.id).size() == many.size());
  }
  CHECK_FALSE(store.finished(point(points.size() + 1, std::to_string(points.size() + 1))));
  store.add(point(points.size() + 1, "next"), many);
  CHECK(store.points().size() == points.size() + 1);
}

TEST_CASE("two processes may have the database open") {
  const Scratch scratch;
  ResultStore one(scratch / "results.db"), two(scratch / "results.db");
  one.add(point(1, "64"), kMetrics);
  two.add(point(2, "128"), kMetrics);
  CHECK(one.points().size() == 2);
  CHECK(two.points().size() == 2);
}

TEST_CASE("results of one sweep are not mixed with another's keys") {
  const Scratch scratch;
  ResultStore store(scratch / "results.db");
  store.set_keys({"a", "b"});
  store.set_keys({"b"});
  store.add(point(1, "64"), kMetrics);
  store.set_keys({"b"});
  CHECK_THROWS_WITH(store.set_keys({"a"}), Contains("results.db: holds results of a sweep over other keys (b)"));
  CHECK(store.keys() == std::vector<std::string>{"b"});
  store.clear();
  store.set_keys({"a"});
  CHECK(store.points().empty());
}

TEST_CASE("files that are not ours are refused and left alone") {
  const Scratch scratch;
  CHECK_THROWS_WITH(ResultStore("/nowhere/results.db"), Contains("/nowhere/results.db: cannot open the results database"));
  std::ofstream(scratch / "results.db") << std::string(5000, 'x');
  CHECK_THROWS_WITH(ResultStore(scratch / "results.db"), Contains("results.db") && Contains("not a database"));
  fs::remove(scratch / "results.db");

  sqlite3* other = nullptr;
  sqlite3_open((scratch / "results.db").c_str(), &other);
  sqlite3_exec(other, "CREATE TABLE mail(text)", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  const auto size = fs::file_size(scratch / "results.db");
  CHECK_THROWS_WITH(ResultStore(scratch / "results.db"), Contains("a database of another program"));
  CHECK(fs::file_size(scratch / "results.db") == size);
  CHECK_FALSE(fs::exists(scratch / "results.db" + "-wal"));
}

TEST_CASE("CSV has a line per point, quotes what needs it and leaves missing cells empty") {
  const Scratch scratch;
  ResultStore store(scratch / "results.db");
  store.set_keys({"append", "ways"});
  store.add({1, {{"append", "quiet, \"thp\""}, {"ways", "4"}}, "done", ""}, {{"cycles", u64{12}}, {"rate", 0.25}});
  store.add({2, {{"ways", "8"}, {"append", ""}}, "failed", ""}, {});
  CHECK(store.csv() ==
        "point,append,ways,status,cycles,rate\n"
        "1,\"quiet, \"\"thp\"\"\",4,done,12,0.25\n"
        "2,,8,failed,,\n");
  CHECK(store.csv({"rate", "absent"}) ==
        "point,append,ways,status,rate,absent\n"
        "1,\"quiet, \"\"thp\"\"\",4,done,0.25,\n"
        "2,,8,failed,,\n");
}
