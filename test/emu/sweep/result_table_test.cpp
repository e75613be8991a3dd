// The table that ends a sweep.
#include "emu/sweep/result_table.h"

#include "test/catch.h"
#include "test/scratch.h"

using namespace nestwalk;
using namespace nestwalk::emu::sweep;
using Strings = std::vector<std::string>;

TEST_CASE("labels keep what tells the values apart") {
  CHECK(short_labels("guest.append", {"console=ttyS0 thp=never run=x", "console=ttyS0 thp=always run=x"}) ==
        Strings{"thp=never", "thp=always"});
  CHECK(short_labels("guest.append", {"quiet", "quiet nokaslr"}) == Strings{"-", "nokaslr"});
  CHECK(short_labels("guest.append", {"a a", "a a a"}) == Strings{"-", "a"});
  CHECK(short_labels("tlb.l2.entries", {"384", "1536"}) == Strings{"384", "1536"});
  CHECK(short_labels("tlb.l2.entries", {"384"}) == Strings{"384"});
  CHECK(short_labels("config", {"../machines/skylake.ini", "../machines/zen2.ini"}) == Strings{"skylake", "zen2"});
  CHECK(short_labels("guest.kernel", {"/a/vmlinuz-6.1", "/a/hello.elf"}) == Strings{"vmlinuz-6.1", "hello.elf"});
  CHECK(short_labels("config", {"a/m.ini", "b/m.ini"}) == Strings{"a/m.ini", "b/m.ini"});
}

TEST_CASE("a row per point with its key values, counts, mean walk latency and translation's share of the cycles") {
  const Scratch scratch;
  report::ResultStore store((scratch.path / "r.sqlite").string());
  store.set_keys({"tlb.l2.entries"});
  std::vector<Plan> plans;
  for (const char* entries : {"384", "1536", "3072"})
    plans.push_back({{plans.size() + 1, {{"tlb.l2.entries", entries}}, "", {}}, {}, {}, ""});
  const std::vector<report::Metric> metrics{
      {"instructions", u64{1'000'000}}, {"cycles", u64{2'000'000}},        {"cycles.tlb", u64{100'000}},
      {"cycles.pwc", u64{20'000}},      {"cycles.walk_read", u64{60'000}}, {"cycles.walk_update", u64{20'000}},
      {"cycles.data", u64{999}},        {"tlb.l2.misses", u64{1234}},      {"tlb.l2.misses.user", u64{1}},
      {"walk.count", u64{1234}},        {"walk.latency.mean", 43.251},     {"run.exit_status", u64{0}}};
  store.add({1, plans[0].point.key_values, "done", ""}, metrics);
  CHECK(result_table({"tlb.l2.entries"}, plans, store) ==
        "point  tlb.l2.entries  instructions     cycles  tlb.l2.misses  walk.count  cycles/walk  translation\n"
        "  001  384                1,000,000  2,000,000          1,234       1,234         43.3      10.00 %\n");

  store.add({2, plans[1].point.key_values, "failed: exit status 3: why", ""}, {});
  const std::string table = result_table({"tlb.l2.entries"}, plans, store);
  CHECK_THAT(table, Catch::Matchers::Contains("status\n") && Catch::Matchers::Contains("failed: exit status 3: why\n"));
  CHECK(table.find("3072") == std::string::npos);  // not there yet

  auto guest = metrics;
  guest.back().value = u64{7};
  store.add({3, plans[2].point.key_values, "done", ""}, guest);
  CHECK_THAT(result_table({"tlb.l2.entries"}, plans, store), Catch::Matchers::Contains("done, guest status 7\n"));
}
