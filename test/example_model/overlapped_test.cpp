// The model of docs/models.md, driven as a machine drives it: what it translates is what `native` translates, and what it
// costs is what `native` costs beyond the window.
#include "test/example_model/overlapped.cpp"

#include "base/random.h"
#include "mmu/filter.h"
#include "mmu/port.h"
#include "test/catch.h"
#include "test/mmu/tables.h"

using namespace nestwalk;
using namespace nestwalk::mmu;

namespace {

/// One second-level look-up costs 7, each read or write of a walk 10.
const char* const kMachine = R"(
[tlb.l1i]
entries = 8
ways = 4
serves = instruction
[tlb.l1d]
entries = 8
ways = 4
serves = data
[tlb.l2]
level = 2
entries = 32
ways = 4
latency = 7
[pwc]
enabled = false
[mmu]
flush_page_cycles = 11
[cache]
model = none
walk_latency = 10
)";
constexpr u64 kFirst = 0x7f0000000000, kPages = 64;

/// A machine with 64 pages mapped by 4-level tables.
struct Rig {
  explicit Rig(const std::string& model_name, const std::string& more = "", bool filtered = true)
      : settings(load(more)), tables(prepared(memory), 0, 0x100000) {
    filter.enabled = filtered;
    model = Models::instance().make(model_name, {settings, memory, caches, counts, filter.tlb_owners(), 1});
    settings.refuse_unknown();
    caches.set_access_counts(&counts);
    port = std::make_unique<Port>(*model, caches, memory, filter, counts, clock);
    port->declare(stats);
    model->declare(stats);
    for (u64 page = 0; page < kPages; ++page) tables.map(kFirst + page * kPageBytes, 0x400000 + page * kPageBytes, 7);
    port->set_paging({.cr0 = cr0::pg | cr0::pe | cr0::wp, .cr3 = tables.root(), .cr4 = cr4::pae, .efer = efer::lma});
  }
  static sim::Settings load(const std::string& more) {
    sim::Settings s;
    s.load_text(kMachine, "machine");
    s.load_text(more, "more");
    return s;
  }
  static MachineMemory& prepared(MachineMemory& memory) {
    memory.install(MachineAddr(0), 0x800000);
    return memory;
  }
  Result<Translation> translate(u64 address, Access access = {}) {
    bill.clear();
    return model->translate(LinearAddr(address), access, bill);
  }
  u64 value(const std::string& name) const { return stats.value(stats.snapshot(), name); }

  sim::Settings settings;
  MachineMemory memory;
  DataCaches caches{settings.section("cache"), 1};
  Filter filter{kPageShift};
  tlb::AccessCounts counts;
  sim::Clock clock;
  test::Tables<Ia32e<4>> tables;
  std::unique_ptr<MmuModel> model;
  std::unique_ptr<Port> port;
  sim::Stats stats;
  Bill bill;
};

std::string window(u64 cycles) { return "[overlap]\nwindow = " + std::to_string(cycles) + "\n"; }

/// What a guest with a bad memory does: loads and stores anywhere, takes pages away and gives them back, with and without
/// telling the MMU. Everything it can see goes into one number.
u64 wander(Rig& r, u64 seed) {
  Random random(seed);
  u64 seen = 0;
  const auto see = [&](u64 v) { seen = Random(seen ^ v).next(); };
  for (u64 n = 0; n < 20'000; ++n) {
    const u64 page = kFirst + random.below(kPages) * kPageBytes;
    const LinearAddr address(page + random.below(kPageBytes / 8) * 8);
    switch (random.below(16)) {
      case 0: r.tables.set_entry(page, 1, (r.tables.entry(page, 1) ^ 1) & ~u64{0x60}); [[fallthrough]];
      case 1: r.port->invalidate({Invalidation::Kind::page, address}); break;
      case 2: r.port->set_privilege(random.below(2), false); break;
      case 3: r.tables.set_entry(page, 1, r.tables.entry(page, 1) ^ 2); break;  // writable or not; stale rights stay
      case 4 ... 8: {
        const auto done = r.port->store<u64>(address, n);
        see(done.ok() ? 1 : done.fault().error << 8 ^ done.fault().address);
        break;
      }
      default: {
        const auto got = r.port->load<u64>(address);
        see(got.ok() ? *got : got.fault().error << 8 ^ got.fault().address);
      }
    }
  }
  for (u64 page = 0; page < kPages; ++page) see(r.tables.entry(kFirst + page * kPageBytes, 1));  // accessed and dirty bits
  return seen;
}

}  // namespace

TEST_CASE("the overlapped model is found by its name") {
  REQUIRE(Models::instance().entries().contains("overlapped"));
  CHECK(Rig("overlapped").model != nullptr);
}

TEST_CASE("a window one cycle short of a walk leaves one cycle, a window as long as the walk leaves none") {
  const u64 walk = 7 + 4 * 10;
  for (const u64 n : {walk - 1, walk}) {
    Rig r("overlapped", window(n));
    REQUIRE(r.translate(kFirst).ok());  // sets the accessed bits, which costs as well
    r.model->invalidate({Invalidation::Kind::all, {}}, r.bill);
    const u64 before = r.value("overlap.hidden");
    REQUIRE(r.translate(kFirst).ok());
    CHECK(r.bill.total() == walk - n);
    CHECK(r.bill.of(Cause::walk_read) == walk - n);  // the last cycles of all are felt
    CHECK(r.value("overlap.hidden") - before == n);
    CHECK(r.bill.read_count() == 4);  // all the same it did walk
  }
}

TEST_CASE("a second-level hit within the window is free, invalidations never are") {
  Rig r("overlapped", window(7));
  REQUIRE(r.translate(kFirst).ok());
  REQUIRE(r.translate(kFirst, Access{Side::fetch, false, false})->tlb_level == 2);
  CHECK(r.bill.total() == 0);
  r.bill.clear();
  r.model->invalidate({Invalidation::Kind::page, LinearAddr(kFirst)}, r.bill);
  CHECK(r.bill.of(Cause::flush) == 11);
}

TEST_CASE("without a window the overlapped model is the native one, to the digit") {
  Rig native("native"), overlapped("overlapped", window(0));
  CHECK(wander(native, 1) == wander(overlapped, 1));
  const sim::Snapshot n = native.stats.snapshot(), o = overlapped.stats.snapshot();
  for (const auto& row : native.stats.counters()) {
    INFO(row.name);
    CHECK(native.stats.value(n, row.name) == overlapped.stats.value(o, row.name));
  }
  CHECK(native.value("walk.count") > 1000);
}

TEST_CASE(
    "whatever the window, a guest sees the same and walks the same; hidden and felt cycles add up to the native ones") {
  Rig native("native");
  const u64 seen = wander(native, 2);
  const auto translation = [](const Rig& r) {
    return r.value("cycles.tlb") + r.value("cycles.walk_read") + r.value("cycles.walk_update");
  };
  for (const u64 n : {1, 30, 56, 1'000'000}) {
    Rig r("overlapped", window(n));
    CHECK(wander(r, 2) == seen);
    for (const char* same :
         {"tlb.l1d.misses", "tlb.l2.misses", "walk.count", "walk.reads", "walk.faults", "cycles.flush"}) {
      INFO(same);
      CHECK(r.value(same) == native.value(same));
    }
    CHECK(translation(r) + r.value("overlap.hidden") == translation(native));
    if (n == 1'000'000) CHECK(translation(r) == 0);
  }
}

TEST_CASE("the overlapped model reports the same with the filter on and off") {
  Rig on("overlapped", window(30)), off("overlapped", window(30), false);
  CHECK(wander(on, 3) == wander(off, 3));
  CHECK(on.stats.snapshot().counters == off.stats.snapshot().counters);
}
