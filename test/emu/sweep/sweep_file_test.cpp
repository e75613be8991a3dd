// Sweep files: the product and its order, lists that advance together, separators, precedence, refusals.
#include "emu/sweep/sweep_file.h"

#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::emu::sweep;
using Catch::Matchers::Contains;

namespace {

SweepFile parse(const Scratch& scratch, const std::string& text) { return SweepFile(scratch.file("s.ini", text)); }

std::vector<std::string> described(const SweepFile& file) {
  std::vector<std::string> out;
  for (const Point& point : file.points()) out.push_back(std::to_string(point.id) + ": " + describe(point));
  return out;
}

/// The value that wins for a key.
std::string value(const Point& point, const std::string& key) {
  const sim::Settings settings = settings_of(point);
  const std::string* found = settings.find(key);
  return found ? *found : "absent";
}

}  // namespace

TEST_CASE("a sweep is the product of its keys, the first running slowest") {
  const Scratch scratch;
  const SweepFile file = parse(scratch, "[sweep]\na.x = 1, 2\nb.y = p,q , r\n[c]\nz = 7\n");
  CHECK(file.keys() == std::vector<std::string>{"a.x", "b.y"});
  CHECK(described(file) == std::vector<std::string>{"1: a.x=1, b.y=p", "2: a.x=1, b.y=q", "3: a.x=1, b.y=r",
                                                    "4: a.x=2, b.y=p", "5: a.x=2, b.y=q", "6: a.x=2, b.y=r"});
  for (const Point& point : file.points()) CHECK(value(point, "c.z") == "7");
  CHECK(value(file.points()[4], "a.x") == "2");
  CHECK(value(file.points()[4], "b.y") == "q");
}

TEST_CASE("the keys of a zip section advance together and are one factor of the product") {
  const Scratch scratch;
  const SweepFile file = parse(scratch, "[sweep.zip.l1]\nt.entries = 32, 64\nt.ways = 4, 4\n[sweep]\nseed = 1, 2\n");
  CHECK(file.keys() == std::vector<std::string>{"t.entries", "t.ways", "seed"});
  CHECK(described(file) ==
        std::vector<std::string>{"1: t.entries=32, t.ways=4, seed=1", "2: t.entries=32, t.ways=4, seed=2",
                                 "3: t.entries=64, t.ways=4, seed=1", "4: t.entries=64, t.ways=4, seed=2"});
}

TEST_CASE("semicolons separate a list that has one, and commas then belong to the values") {
  const auto split = [](const std::string& list) { return split_values(list, "k", "f:1"); };
  CHECK(split("a, b c ,d") == std::vector<std::string>{"a", "b c", "d"});
  CHECK(split("a, b; c") == std::vector<std::string>{"a, b", "c"});
  CHECK(split("one") == std::vector<std::string>{"one"});
  CHECK_THROWS_WITH(split("a,,b"), Contains("f:1: k = a,,b: a value of the list is empty"));
  CHECK_THROWS_WITH(split("a; b;"), Contains("empty"));
  CHECK_THROWS_WITH(split(""), Contains("empty"));

  const Scratch scratch;  // and the INI parser leaves ';' and '"' alone
  const SweepFile file = parse(scratch, "[sweep]\nguest.append = console=ttyS0,9600 run=\"x y\"; quiet\n");
  CHECK(file.points().at(0).key_values.at(0).second == "console=ttyS0,9600 run=\"x y\"");
  CHECK(file.points().at(1).key_values.at(0).second == "quiet");
}

TEST_CASE("a key with one value is a setting of every point, not a column") {
  const Scratch scratch;
  const SweepFile file = parse(scratch, "[sweep]\na = 5\nb = 1, 2\n");
  CHECK(file.keys() == std::vector<std::string>{"b"});
  CHECK(described(file) == std::vector<std::string>{"1: b=1", "2: b=2"});
  CHECK(value(file.points()[1], "a") == "5");
}

TEST_CASE("machine files are seen from the folder of the sweep file") {
  const Scratch scratch;
  scratch.file("one.ini", "[t]\nways = 4\nsets = 1\n");
  scratch.file("two.ini", "[t]\nways = 8\nsets = 1\n");
  const SweepFile file = parse(scratch, "[sweep]\nconfig = one.ini, ./two.ini\n[t]\nsets = 16\n");
  REQUIRE(file.points().size() == 2);
  CHECK(file.points()[0].machine == (scratch.path / "one.ini").string());
  CHECK(file.points()[1].machine == (scratch.path / "two.ini").string());
  CHECK(file.points()[1].key_values[0].second == "./two.ini");
  CHECK(value(file.points()[0], "t.ways") == "4");
  CHECK(value(file.points()[1], "t.ways") == "8");
  CHECK(value(file.points()[1], "t.sets") == "16");
}

TEST_CASE("the command line wins over the file, but not over a swept key") {
  const Scratch scratch;
  SweepFile file = parse(scratch, "[sweep]\na = 1, 2\nb = 3\n[c]\nd = 4\n");
  file.override_with({"c.d", "40", "--set"});
  file.override_with({"b", "30", "--set"});
  file.override_with({"guest.kernel", "k", "--kernel"});
  const Point point = file.points()[1];
  CHECK(value(point, "a") == "2");
  CHECK(value(point, "b") == "30");
  CHECK(value(point, "c.d") == "40");
  CHECK(value(point, "guest.kernel") == "k");
  CHECK_THROWS_WITH(file.override_with({"a", "9", "--set"}), Contains("--set: a is swept (") && Contains("s.ini:2)"));
}

TEST_CASE("the file of a point gives a run the settings that were checked") {
  const Scratch scratch;
  scratch.file("m.ini", "[t]\nways = 4\nsets = 1\n");
  SweepFile file = parse(scratch, "[sweep]\nconfig = m.ini\nt.ways = 8, 16\n[t]\nsets = 2\n[guest]\nappend = a b\n");
  file.override_with({"guest.append", "c = \"d\"", "--append"});
  const Point point = file.points()[1];
  const sim::Settings here = settings_of(point);
  sim::Settings there;
  there.load_file(scratch.file("point.ini", ini_of(point, "point 2")));
  for (const char* key : {"t.ways", "t.sets", "guest.append"}) {
    INFO(key);
    REQUIRE(there.find(key));
    CHECK(*there.find(key) == *here.find(key));
  }
  CHECK(*there.find("t.ways") == "16");
}

TEST_CASE("values of an included file give way, also where the file sweeps them") {
  const Scratch scratch;
  scratch.file("base.ini", "[t]\nways = 4\nsets = 1\n[sweep]\nseed = 1, 2, 3\n");
  const SweepFile file = parse(scratch, "include = base.ini\n[sweep]\nt.ways = 8, 16\nseed = 7\n");
  CHECK(described(file) == std::vector<std::string>{"1: t.ways=8", "2: t.ways=16"});
  CHECK(value(file.points()[1], "t.ways") == "16");
  CHECK(value(file.points()[1], "seed") == "7");
  CHECK(value(file.points()[1], "t.sets") == "1");
}

TEST_CASE("sweep files that make no sense are refused with file and line") {
  const Scratch scratch;
  const auto refusal = [&](const std::string& text, const std::string& expected) {
    INFO(text);
    CHECK_THROWS_WITH(parse(scratch, text), Contains("s.ini") && Contains(expected));
    CHECK_THROWS_AS(parse(scratch, text), sim::ConfigError);
  };
  refusal("[tlb.l2]\nentries = 4\n", "has no section [sweep]");
  refusal("[sweep]\na = 1, 2\n[sweep.zip.z]\na = 3, 4\n", "s.ini:4: a is swept already on ");
  refusal("[sweep.zip.z]\na = 1, 2\nb = 1, 2, 3\n", "s.ini:3: b has 3 values, a of the same [sweep.zip.z] has 2");
  refusal("[sweep]\na = 4, 8, 4\n", "s.ini:2: a: '4' is listed twice");
  refusal("[sweep.zip.z]\na = 1, 1, 1\nb = 1, 2, 1\n", "s.ini:2: a: '1', '1' is listed twice");
  refusal("[sweep.zip]\na = 1, 2\n",
          "s.ini:2: sweep.zip.a: lists that advance together stand in a section [sweep.zip.NAME]");
  refusal("[sweep]\nt.ways = 1, 2\n[t]\nways = 4\n", "s.ini:4: t.ways is swept on ");
  std::string list = "0";
  for (int i = 1; i < 50; ++i) list += "," + std::to_string(i);
  refusal("[sweep]\na = " + list + "\nb = " + list + "\nc = " + list + "\n", "over 100000 points");
  CHECK_THROWS_WITH(SweepFile("/nowhere/s.ini"), Contains("/nowhere/s.ini: cannot open"));
}

TEST_CASE("the demo's sweep has four points") {
  const SweepFile file(NESTWALK_SOURCE "/configs/sweeps/demo.ini");
  CHECK(file.keys() == std::vector<std::string>{"tlb.l2.entries", "guest.append"});
  REQUIRE(file.points().size() == 4);
  for (const Point& point : file.points()) {
    CHECK(value(point, "machine.memory") == "768M");
    CHECK_THAT(value(point, "guest.append"), Contains("nestwalk.run=\"memwork gups 16M 200K\""));
  }
}
