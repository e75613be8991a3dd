// Shadow paging in every variant against the reference spaces: a guest that changes its tables by stores of its own, traced
// or not, and flushes as the SDM asks, is answered as its tables say; and the hypervisor's accounts balance.
#include "test/catch.h"
#include "test/conformance/guest_stores.h"
#include "test/conformance/reference_space.h"
#include "test/models/nested_bench.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using namespace nestwalk::test;

namespace {

const std::pair<const char*, const char*> kVariants[] = {
    {"unsync", ""},
    {"unsync, nothing ahead, no former roots", "[shadow]\nprefetch = 0\nroots = 0\n"},
    {"strict", "[shadow]\nvariant = strict\n"},
    {"strict, entries updated, never given up", "[shadow]\nvariant = strict\non_write = update\nflood = 0\n"},
    {"unsync, entries updated, large groups", "[shadow]\non_write = update\nprefetch = 64\n"},
    {"sixteen pages", "[shadow]\nmemory = 64K\n"},
    {"no VPIDs", "[shadow]\nvpid = false\n"},
};

template <class F>
class Guest {
 public:
  Guest(const std::string& settings, PageSize host_page, bool filtered, u64 seed)
      : bench_({.model = "shadow", .settings = settings, .host_page = host_page, .filtered = filtered}),
        stores_(bench_.space(), *bench_.port, {0x100000, 0x800000}),
        space_(stores_, *bench_.port, seed),
        random_(seed + 1) {}

  void run(unsigned steps) {
    for (unsigned n = 0; n < steps && !wrong; ++n) {
      if (random_.below(100) < 80)
        access();
      else
        space_.change_something();
    }
  }
  u64 value(const std::string& name) const { return bench_.value(name); }
  NestedBench& bench() { return bench_; }
  bool wrong = false;
  u64 completed = 0, faulted = 0, non_canonical = 0;

 private:
  void access() {
    if (random_.below(3) == 0) recent_[random_.below(6)] = space_.draw_address();
    const u64 linear = recent_[random_.below(6)] & ~u64{7};
    const Side side = static_cast<Side>(random_.below(3));
    const Access access{side, space_.user(), false};
    const Answer expected = space_.answer(linear, access);
    Fault got;
    u64 seen = 0;
    if (side == Side::fetch) {
      const auto r = bench_.port->fetch_line(linear);
      if (!r) got = r.fault();
    } else if (side == Side::load) {
      const auto r = bench_.port->template load<u64>(LinearAddr(linear));
      r ? void(seen = *r) : void(got = r.fault());
    } else {
      seen = random_.next();
      if (const auto r = bench_.port->store(LinearAddr(linear), seen); !r) got = r.fault();
    }
    const Fault& want = expected.fault;
    check(got.kind == want.kind && got.error == want.error && got.address == want.address, "another answer", linear);
    if (got.kind != Fault::Kind::none) {
      ++faulted;
      non_canonical += got.kind == Fault::Kind::non_canonical;
      return;
    }
    ++completed;
    u64 there = 0;
    bench_.space().read(PhysAddr(expected.physical), {reinterpret_cast<u8*>(&there), 8});
    check(side == Side::fetch || seen == there, "other bytes", linear);
    const u64 flags = LinearFormat::kAccessed | (side == Side::store ? LinearFormat::kDirty : 0);
    check((space_.leaf(linear) & flags) == flags, "A or D left clear", linear);
  }
  void check(bool right, const char* what, u64 linear) {
    if (right) return;
    wrong = true;
    INFO("at " << std::hex << linear << std::dec << " after " << completed << " and " << faulted);
    FAIL_CHECK(what);
  }

  NestedBench bench_;
  GuestStores<F> stores_;
  ReferenceSpace<F> space_;
  Random random_;
  u64 recent_[6] = {0x40000000, 0x40001000, 0x40002000, 0x40003000, 0x40004000, 0x40005000};
};

template <class F>
void behaves(const char* name, const char* settings, u64 seed) {
  INFO(name << ", " << F::kLevels << " levels of " << F::kEntryBytes << "-byte entries, seed " << seed);
  sim::Snapshot ends[2];
  std::unique_ptr<Guest<F>> guests[2];
  for (const bool filtered : {true, false}) {
    auto& g = guests[filtered];
    g = std::make_unique<Guest<F>>(settings, seed % 2 ? PageSize::k4K : PageSize::k2M, filtered, seed);
    g->run(6000);
    CHECK(g->completed > 800);
    CHECK(g->faulted > 800);
    ends[filtered] = g->bench().stats.snapshot();
    const auto value = [&](const char* row) { return g->value(row); };
    CHECK(value("shadow.pages") == value("shadow.pages_made") - value("shadow.pages_zapped"));
    CHECK(value("shadow.table_bytes") == value("mem.tables"));
    CHECK(value("shadow.flooded") + value("shadow.recycled") <= value("shadow.pages_zapped"));
    CHECK(value("shadow.entries_zapped") <= value("shadow.entries_made"));
    CHECK(value("vmm.exits.hidden_fault") > 100);
    CHECK(value("vmm.exits.true_fault") == g->faulted - g->non_canonical);
  }
  for (const auto& row : guests[0]->bench().stats.counters()) {
    INFO(row.name);
    CHECK(guests[0]->bench().stats.value(ends[0], row.name) == guests[1]->bench().stats.value(ends[1], row.name));
  }
}

}  // namespace

TEST_CASE("whatever the variant, a guest that flushes as it must is answered as its tables say") {
  u64 seed = 0;
  for (const auto& [name, settings] : kVariants) {
    ++seed;
    behaves<Legacy32>(name, settings, 10 * seed);
    behaves<Pae>(name, settings, 10 * seed + 1);
    behaves<Ia32e<4>>(name, settings, 10 * seed + 2);
    behaves<Ia32e<5>>(name, settings, 10 * seed + 3);
  }
}
