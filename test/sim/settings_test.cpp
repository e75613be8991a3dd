// Settings: what is accepted, and that every refusal names the place, the value and what is allowed.
#include "sim/settings.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "sim/ini.h"
#include "sim/registry.h"
#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::sim;
using Catch::Matchers::Contains;

namespace {

enum class Policy : u8 { lru, fifo, random };

/// A component as others write them.
struct Tlb {
  u64 entries = 64;
  u32 ways = 4;
  double scale = 1.5;
  bool global = true;
  Policy policy = Policy::lru;
  std::string note;
  std::vector<std::string> sizes{"4K", "2M"};
  u64 memory = 1 << 20;
  u64 clock = 1'000'000'000;

  void configure(Section s) {
    s.field("entries", entries, {.min = 1, .max = 4096, .unit = "entries"}, "how many translations it holds");
    s.field("ways", ways, {.min = 1}, "ways of a set");
    s.field("scale", scale, 0.5, 8, "", "a factor");
    s.field("global", global, "whether global pages survive");
    s.field("policy", policy, {{"lru", Policy::lru}, {"fifo", Policy::fifo}, {"random", Policy::random}}, "who leaves");
    s.field("note", note, "free text");
    s.field("sizes", sizes, "page sizes it takes");
    s.field("memory", memory, {.min = 4096, .unit = "bytes"}, "memory");
    s.field("clock", clock, {.min = 1, .unit = "Hz"}, "clock");
  }
};

Tlb configured(const std::string& text) {
  Settings settings;
  settings.load_text(text, "m.ini");
  Tlb tlb;
  tlb.configure(settings.section("tlb.l2"));
  settings.refuse_unknown();
  return tlb;
}

std::string refusal(const std::string& text) {
  try {
    configured(text);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

std::string load_refusal(const std::string& path) {
  Settings settings;
  try {
    settings.load_file(path);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a member keeps its default until its key is given") {
  const Tlb tlb = configured("[tlb.l2]\nentries = 1536  # Skylake\n");
  CHECK(tlb.entries == 1536);
  CHECK(tlb.ways == 4);
  CHECK(tlb.policy == Policy::lru);
  CHECK(tlb.sizes == std::vector<std::string>{"4K", "2M"});
}

TEST_CASE("sections and dotted keys are two spellings of the same name") {
  CHECK(configured("tlb.l2.ways = 12").ways == 12);
  CHECK(configured("[tlb]\nl2.ways = 12").ways == 12);
  CHECK(configured("\xef\xbb\xbf[tlb.l2]\r\nways = 12\r\n").ways == 12);
}

TEST_CASE("numbers are decimal or hexadecimal, with suffixes where the unit is bytes or Hz") {
  const auto memory = [](const std::string& v) { return configured("[tlb.l2]\nmemory = " + v).memory; };
  CHECK(memory("65536") == 65536);
  CHECK(memory("0x10000") == 65536);
  CHECK(memory("64K") == 65536);
  CHECK(memory("64 KiB") == 65536);
  CHECK(memory("1.5M") == 1572864);
  CHECK(memory("3GiB") == u64{3} << 30);
  const auto clock = [](const std::string& v) { return configured("[tlb.l2]\nclock = " + v).clock; };
  CHECK(clock("2.1G") == 2'100'000'000);
  CHECK(clock("100 MHz") == 100'000'000);
  CHECK(clock("1KiB") == 1024);
}

TEST_CASE("what is not exactly a number of the unit is refused") {
  for (const char* bad : {"", "12x", "-1", "+1", "0x", "0xfg", "1..5K", "1.", ".", "K", "1e3", "0.3",
                          "18446744073709551616", "99999999999G", "1 2", "0x10K"}) {
    CAPTURE(bad);
    CHECK_THAT(refusal(std::string("[tlb.l2]\nmemory = ") + bad), Contains("m.ini:2: tlb.l2.memory = "));
  }
  CHECK_THAT(refusal("[tlb.l2]\nentries = 1K"), Contains("tlb.l2.entries = 1K"));
  CHECK_THAT(refusal("[tlb.l2]\nways = 4294967296"), Contains("4294967295"));
}

TEST_CASE("a refusal names the file, the line, the key, the value and what is allowed") {
  CHECK(refusal("\n[tlb.l2]\n# a comment\nentries = 5000") ==
        "m.ini:4: tlb.l2.entries = 5000: allowed is: integer 1..4096 entries");
  CHECK(refusal("[tlb.l2]\nscale = nan") == "m.ini:2: tlb.l2.scale = nan: allowed is: number 0.5..8");
  CHECK(refusal("[tlb.l2]\nglobal = maybe") ==
        "m.ini:2: tlb.l2.global = maybe: allowed is: true or false (also yes, no, on, off, 1, 0)");
  CHECK(refusal("[tlb.l2]\npolicy = fifi") ==
        "m.ini:2: tlb.l2.policy = fifi: allowed is: one of lru, fifo, random; did you mean 'fifo'?");
  CHECK_THAT(refusal("[tlb.l2]\nsizes = 4K,,2M"), Contains("m.ini:2: tlb.l2.sizes = 4K,,2M: an item of the list is empty"));
}

TEST_CASE("a component can refuse a value for reasons of its own, in the same words") {
  Settings settings;
  settings.load_text("[tlb.l2]\nways = 3", "m.ini");
  Section section = settings.section("tlb.l2");
  Tlb tlb;
  tlb.configure(section);
  CHECK_THROWS_WITH(section.refuse("ways", "does not divide 64 entries"),
                    "m.ini:2: tlb.l2.ways = 3: does not divide 64 entries");
  CHECK_THROWS_WITH(section.refuse("entries", "too few"), "tlb.l2.entries = 64 (the default): too few");
}

TEST_CASE("an unknown key is refused with the nearest declared name") {
  CHECK(refusal("[tlb.l2]\nentires = 5") ==
        "m.ini:2: tlb.l2.entires = 5: there is no such key; did you mean tlb.l2.entries?");
  CHECK_THAT(refusal("[l2]\nways = 5"), Contains("l2.ways = 5: there is no such key; did you mean tlb.l2.ways?"));
  CHECK(refusal("zebra = 5\nyak = 1") == "m.ini:1: zebra = 5: there is no such key (1 more unknown key)");
}

TEST_CASE("the nearest name is the one with the fewest edits, a swap of neighbours being one") {
  const std::vector<std::string> names{"lru", "plru", "fifo", "random"};
  CHECK(nearest_name("lur", names) == "lru");
  CHECK(nearest_name("fofi", names) == "");
  CHECK(nearest_name("rnadom", names) == "random");
  CHECK(nearest_name("radnm", names) == "");
  CHECK(nearest_name("randm", names) == "random");
  CHECK(nearest_name("zebra", names) == "");
  CHECK(nearest_name("", names) == "");
  CHECK(nearest_name(std::string(1 << 20, 'x'), names) == "");
}

TEST_CASE("lines that mean nothing are refused with their number") {
  CHECK(refusal("[tlb.l2]\nways 4") == "m.ini:2: 'ways 4' is neither [section] nor key = value nor # comment");
  CHECK_THAT(refusal("[tlb.l2"), Contains("m.ini:1: '[tlb.l2': the closing ']'"));
  CHECK_THAT(refusal("[]"), Contains("m.ini:1: '' is no section name"));
  CHECK_THAT(refusal("[a..b]"), Contains("m.ini:1: 'a..b' is no section name"));
  CHECK_THAT(refusal("\n= 4"), Contains("m.ini:2: '' is no key"));
  CHECK_THAT(refusal("two words = 4"), Contains("m.ini:1: 'two words' is no key"));
}

TEST_CASE("binary garbage, NUL bytes and endless lines are refused") {
  CHECK_THAT(refusal(std::string("a = 1\nb\0 = 2", 11)), Contains("m.ini:2: control characters"));
  CHECK_THAT(refusal("\x7f\x45LF\x02\x01"), Contains("m.ini:1: control characters"));
  CHECK_THAT(refusal("\xff\xfe[\xff"), Contains("m.ini:1: '\\xff\\xfe[\\xff' is neither"));
  CHECK_THAT(refusal("a = " + std::string(1 << 20, 'x')), Contains("m.ini:1: a line of 1048580 characters; at most 65536"));
  CHECK_THAT(refusal("a = " + std::string(40000, 'x')), Contains("m.ini:1: a = xxx"));
  CHECK(refusal(std::string(300, 'k') + " = 1").size() < 200);
}

TEST_CASE("a key given twice in one file is refused with both lines") {
  CHECK(refusal("[tlb.l2]\nways = 4\nentries = 8\nways = 8") == "m.ini:4: tlb.l2.ways is given twice; first on line 2");
  CHECK_THAT(refusal("tlb.l2.ways = 4\n[tlb]\nl2.ways = 4"),
             Contains("m.ini:3: tlb.l2.ways is given twice; first on line 1"));
}

TEST_CASE("later files win over earlier ones and --set over all, whatever the order of the calls") {
  Settings settings;
  settings.set("tlb.l2.ways= 16 ");
  settings.load_text("[tlb.l2]\nways = 4\nentries = 8\nnote = a", "a.ini");
  settings.load_text("[tlb.l2]\nentries = 16", "b.ini");
  settings.put("tlb.l2.note", "from the program", "c.ini");
  Tlb tlb;
  tlb.configure(settings.section("tlb.l2"));
  CHECK(tlb.ways == 16);
  CHECK(tlb.entries == 16);
  CHECK(tlb.note == "from the program");
  settings.set("tlb.l2.ways=32");
  CHECK(*settings.find("tlb.l2.ways") == "32");
  CHECK(settings.find("tlb.l3.ways") == nullptr);
}

TEST_CASE("a mistake on the command line is called --set") {
  Settings settings;
  CHECK_THROWS_WITH(settings.set("tlb.l2.ways"), "--set 'tlb.l2.ways': must be key=value");
  CHECK_THROWS_WITH(settings.set("=5"), "--set: '' is no key");
  CHECK_THROWS_WITH(settings.set("a=b#c"), Contains("--set: a = b#c: a value holds no '#'"));
  CHECK_THROWS_WITH(settings.set("a=b\nc = 5"), Contains("--set: a = b\\x0ac = 5:"));
  settings.set("tlb.l2.ways=none");
  Tlb tlb;
  CHECK_THROWS_WITH(tlb.configure(settings.section("tlb.l2")),
                    Contains("--set: tlb.l2.ways = none: allowed is: integer 1..4294967295"));
}

TEST_CASE("children come in the order in which they were first given, over all layers") {
  Settings settings;
  settings.load_text("[tlb.l2]\nways = 1\n[tlb.l1d]\nways = 1\n[tlb.l1d.2m]\nways = 1\n[tlb]\nexact = 1\n[tlbx.y]\nz = 1",
                     "a.ini");
  settings.load_text("[tlb.l1i]\nways = 1\n[tlb.l2]\nways = 2", "b.ini");
  const Section section = settings.section("tlb");
  CHECK(section.children() == std::vector<std::string>{"l2", "l1d", "l1i"});
  CHECK(section.child("l1d").children() == std::vector<std::string>{"2m"});
  CHECK(section.child("l1d").child("2m").given("ways"));
  CHECK_FALSE(section.child("l1d").given("entries"));
  CHECK(settings.section("").children() == std::vector<std::string>{"tlb", "tlbx"});
}

TEST_CASE("the effective configuration reads back to the same settings") {
  Settings settings;
  settings.load_text(
      "top = 5\n[tlb.l2]\nmemory = 64K\nscale = 0.7\npolicy = random\nnote = a = [b], c\nsizes = 1G\nclock=0x10\n",
      "m.ini");
  settings.set("tlb.l1d.global=no");
  const auto declare = [](Settings& s, Tlb& a, Tlb& b) {
    a.configure(s.section("tlb.l2"));
    u64 top = 0;
    s.section("").field("top", top, {}, "a key without a section");
    b.configure(s.section("tlb.l1d"));
  };
  Tlb l2, l1d;
  declare(settings, l2, l1d);
  const std::string text = settings.effective();
  CHECK_THAT(text, Catch::Matchers::StartsWith("top = 5\n\n[tlb.l2]\nentries = 64\n"));

  Settings again;
  again.load_text(text, "effective.ini");
  Tlb l2_again, l1d_again;
  declare(again, l2_again, l1d_again);
  again.refuse_unknown();
  CHECK(again.effective() == text);
  CHECK(l2_again.memory == 65536);
  CHECK(l2_again.scale == 0.7);
  CHECK(l2_again.policy == Policy::random);
  CHECK(l2_again.note == "a = [b], c");
  CHECK(l2_again.sizes == std::vector<std::string>{"1G"});
  CHECK_FALSE(l1d_again.global);
  CHECK_FALSE(again.section("tlb.l1d").given("note"));
  CHECK(again.section("tlb").children() == std::vector<std::string>{"l2", "l1d"});
}

TEST_CASE("a value that was emptied stays empty when read back") {
  Settings settings;
  settings.set("tlb.l2.sizes=");
  Tlb tlb;
  tlb.configure(settings.section("tlb.l2"));
  CHECK(tlb.sizes.empty());
  Tlb again = configured(settings.effective());
  CHECK(again.sizes.empty());
}

TEST_CASE("a declaration says type, default and effective value, and is made once") {
  Settings settings;
  settings.load_text("tlb.l2.entries = 0x80", "m.ini");
  for (int core = 0; core < 2; ++core) {
    Tlb tlb;
    tlb.configure(settings.section("tlb.l2"));
    CHECK(tlb.entries == 128);
  }
  REQUIRE(settings.declared().size() == 9);
  const Declared& d = settings.declared()[0];
  CHECK(d.key == "tlb.l2.entries");
  CHECK(d.value == "128");
  CHECK(d.standard == "64");
  CHECK(d.type == "integer 1..4096 entries");
  CHECK(d.text == "how many translations it holds");
  CHECK(settings.declared()[4].type == "one of lru, fifo, random");
  CHECK(settings.declared()[7].type == "integer 4096 or more bytes (suffixes K, M, G)");
}

TEST_CASE("a default that its own key would refuse is a mistake of the program") {
  Settings settings;
  u64 zero = 0;
  CHECK_THROWS_AS(settings.section("a").field("b", zero, {.min = 1}, ""), std::logic_error);
}

TEST_CASE("a file wins over what it includes, seen from its own folder") {
  const Scratch folder;
  folder.file("models/base.ini", "include = deeper.ini\n[tlb.l2]\nways = 4\nentries = 8\n");
  folder.file("models/deeper.ini", "[tlb.l2]\nentries = 1\nnote = deep\n");
  const std::string top = folder.file("m.ini", "# machine\ninclude = models/base.ini\n[tlb.l2]\nways = 12\nscale = 99\n");
  Settings settings;
  settings.load_file(top);
  CHECK(*settings.find("tlb.l2.ways") == "12");
  CHECK(*settings.find("tlb.l2.entries") == "8");
  CHECK(*settings.find("tlb.l2.note") == "deep");
  CHECK(settings.find("include") == nullptr);
  Tlb tlb;
  CHECK_THROWS_WITH(tlb.configure(settings.section("tlb.l2")), Contains(top + ":5: tlb.l2.scale = 99"));
}

TEST_CASE("includes that cannot be followed are refused where they stand") {
  const Scratch folder;
  const std::string loop = folder.file("loop.ini", "include = back.ini\n");
  folder.file("back.ini", "include = ./loop.ini\n");
  CHECK_THAT(load_refusal(loop), Contains("back.ini:1: ") && Contains("includes itself"));
  CHECK_THAT(load_refusal(folder.file("gone.ini", "include = nothing.ini\n")),
             Contains("gone.ini:1: include: ") && Contains("nothing.ini: cannot open: No such file"));
  CHECK_THAT(load_refusal(folder.file("late.ini", "a = 1\ninclude = b.ini\n")),
             Contains("late.ini:2: include must stand before every key"));
  for (int i = 0; i < 20; ++i)
    folder.file("d" + std::to_string(i) + ".ini", "include = d" + std::to_string(i + 1) + ".ini\n");
  CHECK_THAT(load_refusal((folder.path / "d0.ini").string()), Contains("includes deeper than 8"));
  CHECK_THAT(refusal("include = /etc/passwd"), Contains("m.ini:1: include = /etc/passwd: only a file can include"));
}

TEST_CASE("a file may be included twice, but not by itself") {
  const Scratch folder;
  folder.file("c.ini", "k = 1\n");
  folder.file("a.ini", "include = c.ini\n");
  folder.file("b.ini", "include = c.ini\n");
  CHECK(load_refusal(folder.file("m.ini", "include = a.ini\ninclude = b.ini\n")) == "accepted");
}

TEST_CASE("files that cannot be read are refused by name") {
  const Scratch folder;
  CHECK_THAT(load_refusal("/nowhere/m.ini"), Contains("/nowhere/m.ini: cannot open: No such file or directory"));
  CHECK_THAT(load_refusal(folder.path.string()), Contains("is a folder"));
  CHECK_THAT(load_refusal(folder.file("huge.ini", std::string(5 << 20, '\n'))), Contains("huge.ini: over 4 MiB"));
  CHECK_THAT(load_refusal("/dev/zero"), Contains("/dev/zero: over 4 MiB"));
}

namespace {
struct Thing {
  static constexpr const char* kKind = "kind of thing";
  virtual ~Thing() = default;
};
}  // namespace

TEST_CASE("a plug-in is made by its name, and an unknown or doubled name is refused with what there is") {
  Registry<Thing, int> registry;
  registry.add("one", "a thing", [](int) { return std::make_unique<Thing>(); });
  registry.add("two", "a thing", [](int n) { return n ? std::make_unique<Thing>() : nullptr; });
  CHECK(registry.make("two", 1) != nullptr);
  CHECK(registry.make("two", 0) == nullptr);
  CHECK_THROWS_WITH(registry.make("three", 1), "there is no kind of thing 'three'; there are: one, two");
  CHECK_THROWS_AS(registry.add("one", "again", [](int) { return std::make_unique<Thing>(); }), std::logic_error);
}
