// Walk statistics: every number adds up from the bills that went in.
#include "mmu/walk_stats.h"

#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::mmu;

namespace {

struct Rig {
  Rig() { walks.declare(stats); }
  u64 value(const std::string& name) { return stats.value(stats.snapshot(), name); }
  const sim::Histogram& histogram(const std::string& name) {
    now = stats.snapshot();
    for (std::size_t i = 0; i < stats.histograms().size(); ++i)
      if (stats.histograms()[i].name == name) return now.histograms[i];
    throw std::out_of_range(name);
  }
  WalkStats walks;
  sim::Stats stats;
  sim::Snapshot now;
};

Bill native_walk(unsigned levels, u32 cycles_each, ServedBy served) {
  Bill b;
  b.charge(Cause::tlb, 9);  // not the walk's
  b.charge(Cause::pwc, 1);
  for (unsigned level = levels; level; --level)
    b.walk_read({MachineAddr(level * 8), cycles_each, static_cast<u8>(level), 0, served});
  return b;
}

}  // namespace

TEST_CASE("a walk's cycles are its look-up, its reads and its writes, not the TLB's") {
  Rig r;
  Bill b = native_walk(4, 10, 2);
  b.charge(Cause::walk_update, 5);
  r.walks.record(b, Access{Side::store, true, false}, true, PageSize::k4K);
  CHECK(r.value("walk.count") == 1);
  CHECK(r.value("walk.reads") == 4);
  CHECK(r.value("walk.cycles") == 46);
  CHECK(r.histogram("walk.latency").max() == 46);
  CHECK(r.value("walk.by.user.store.cycles") == 46);
  CHECK(r.value("walk.by.kernel.store.cycles") == 0);
  CHECK(r.histogram("walk.by.user.store.latency").count() == 1);
}

TEST_CASE("reads are counted by position and by who served them") {
  Rig r;
  r.walks.record(native_walk(4, 10, 1), {}, true, PageSize::k2M);
  r.walks.record(native_walk(2, 10, kMemory), {}, true, PageSize::k1G);
  Bill nested;
  nested.walk_read({MachineAddr(0), 7, 3, 2, kFlat});
  nested.walk_read({MachineAddr(0), 7, 0, 1, 6});
  r.walks.record(nested, {}, true, PageSize::k4M);
  CHECK(r.value("walk.reads_by_position.g4h0") == 1);
  CHECK(r.value("walk.reads_by_position.g1h0") == 2);
  CHECK(r.value("walk.reads_by_position.g3h2") == 1);
  CHECK(r.value("walk.reads_by_position.g0h1") == 1);
  CHECK(r.value("walk.served_by.g1h0.l1") == 1);
  CHECK(r.value("walk.served_by.g1h0.memory") == 1);
  CHECK(r.value("walk.served_by.g3h2.flat") == 1);
  CHECK(r.value("walk.served_by.g0h1.l6") == 1);
  CHECK(r.value("walk.page_size.2M") == 1);
  CHECK(r.value("walk.page_size.1G") == 1);
  CHECK(r.value("walk.page_size.4M") == 1);
  CHECK(r.value("walk.page_size.4K") == 0);
}

TEST_CASE("sides, privileges, positions and servers each add up to the whole") {
  Rig r;
  for (unsigned n = 0; n < 60; ++n) {
    const Access a{static_cast<Side>(n % 3), n % 2 == 0, false};
    r.walks.record(native_walk(1 + n % 5, n, static_cast<ServedBy>(n % 8)), a, n % 7 != 0, PageSize::k4K);
  }
  const sim::Snapshot now = r.stats.snapshot();
  u64 counts = 0, reads = 0, cycles = 0, placed = 0, served = 0;
  for (const auto& row : r.stats.counters()) {
    const u64 v = r.stats.value(now, row.name);
    const auto is = [&](const char* begin, const char* end) {
      return row.name.starts_with(begin) && row.name.ends_with(end);
    };
    if (is("walk.by.", ".count")) counts += v;
    if (is("walk.by.", ".reads")) reads += v;
    if (is("walk.by.", ".cycles")) cycles += v;
    if (is("walk.reads_by_position.", "")) placed += v;
    if (is("walk.served_by.", "")) served += v;
  }
  CHECK(counts == r.value("walk.count"));
  CHECK(reads == r.value("walk.reads"));
  CHECK(cycles == r.value("walk.cycles"));
  CHECK(placed == r.value("walk.reads"));
  CHECK(served == r.value("walk.reads"));
  CHECK(r.value("walk.faults") == 9);
  CHECK(r.value("walk.page_size.4K") == 51);
  CHECK(r.histogram("walk.latency").sum() == r.value("walk.cycles"));
}
