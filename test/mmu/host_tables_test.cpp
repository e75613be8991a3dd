// The hypervisor's tables as hardware finds them: every mapping made by HostTables is walked by the stage of its format,
// and against a map of pages that knows no tables.
#include "mmu/host_tables.h"

#include <map>

#include "base/random.h"
#include "mmu/stage.h"
#include "test/mmu/plain_guest.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using test::PlainGuest;

namespace {

constexpr u8 kReadWrite = right::read | right::write | right::execute, kReadOnly = right::read | right::execute;

struct Rig {
  explicit Rig(const HostShape& s = {}) : shape(s) {
    settings.load_text("[cache]\nmodel = none\nwalk_latency = 10\n", "test");
    caches = std::make_unique<DataCaches>(settings.section("cache"), 1);
    memory.install(MachineAddr(0), 0x8000000);
    tables = std::make_unique<HostTables>(shape, memory, guest);
    rules.physical_width = 52;
    rules.nxe = true;
    rules.gigabyte_pages = shape.gigabyte_pages;
  }
  /// By the hardware walk of the format.
  Result<Leaf> walk(u64 address, Access access) {
    const Root root{tables->root()};
    const auto by = [&](auto stage) {
      stage.become_host();
      stage.set(root, rules);
      Bill bill;
      return stage.translate(address, access, bill);
    };
    const bool five = shape.levels == 5;
    if (shape.format == HostFormat::ept)
      return five ? by(RadixStage<Ept5>(bottom, memory, *caches)) : by(RadixStage<Ept>(bottom, memory, *caches));
    return five ? by(RadixStage<Ia32e<5>>(bottom, memory, *caches)) : by(RadixStage<Ia32e<4>>(bottom, memory, *caches));
  }
  bool map(u64 address, u64 to, PageSize size = PageSize::k4K, u8 rights = kReadWrite) {
    return tables->map(PhysAddr(address), MachineAddr(to), size, rights);
  }

  HostShape shape;
  sim::Settings settings;
  MachineMemory memory;
  std::unique_ptr<DataCaches> caches;
  PlainGuest guest{0x1000000, 0x100000};
  std::unique_ptr<HostTables> tables;
  MachineStage bottom;
  Rules rules;
};

const HostShape kShapes[] = {
    {HostFormat::ept, 4, true}, {HostFormat::ept, 5, true}, {HostFormat::npt, 4, true}, {HostFormat::npt, 5, false}};

}  // namespace

TEST_CASE("what is mapped is what hardware walks to, in both formats") {
  for (const HostShape& shape : kShapes) {
    Rig r(shape);
    CHECK(!r.map(0x5678, 0x2345678));
    for (const Side side : {Side::load, Side::store, Side::fetch}) {
      const auto leaf = r.walk(0x5432, {side, false, false});
      REQUIRE(leaf.ok());
      CHECK(leaf->address == 0x2345432);
      CHECK(leaf->size == PageSize::k4K);
    }
    CHECK(r.walk(0x6000, {}).fault().kind == Fault::Kind::violation);
    r.map(0x600123, 0x4400123, PageSize::k2M);
    CHECK(r.walk(0x7fffff, {})->address == 0x45fffff);
    CHECK(r.walk(0x7fffff, {})->size == PageSize::k2M);
    r.map(0x40000000, 0x80000000, PageSize::k1G);
    CHECK(r.walk(0x40000000, {})->size == (shape.gigabyte_pages ? PageSize::k1G : PageSize::k2M));
    CHECK(r.walk(0x40012345, {})->address == 0x80012345);
    CHECK(r.walk(0x7fffffff, {}).ok() == shape.gigabyte_pages);
  }
}

TEST_CASE("a page mapped read-only can be read and fetched from, not written") {
  for (const HostShape& shape : kShapes) {
    Rig r(shape);
    r.map(0x5000, 0x2345000, PageSize::k4K, kReadOnly);
    CHECK(r.walk(0x5000, {}).ok());
    CHECK(r.walk(0x5000, {Side::fetch, false, false}).ok());
    CHECK(r.walk(0x5000, {Side::store, false, false}).fault().kind == Fault::Kind::violation);
    r.map(0x6000, 0x2345000, PageSize::k4K, right::read | right::write);
    CHECK(r.walk(0x6000, {Side::fetch, false, false}).fault().kind == Fault::Kind::violation);
  }
}

TEST_CASE("an invalidation is due when an address changes, a right goes or a large page breaks, and only then") {
  Rig r;
  CHECK(!r.map(0x5000, 0x2000000, PageSize::k4K, kReadOnly));
  CHECK(!r.map(0x5000, 0x2000000, PageSize::k4K, kReadWrite));  // a right more
  CHECK(!r.map(0x5000, 0x2000000, PageSize::k4K, kReadWrite));  // the same again
  CHECK(r.map(0x5000, 0x2000000, PageSize::k4K, kReadOnly));
  CHECK(r.map(0x5000, 0x2001000, PageSize::k4K, kReadOnly));
  CHECK(!r.map(0x600000, 0x2200000, PageSize::k2M));
  CHECK(!r.map(0x601000, 0x2201000, PageSize::k4K));  // says what the large page says
  CHECK(r.walk(0x601000, {})->size == PageSize::k2M);
  CHECK(r.map(0x601000, 0x3000000, PageSize::k4K));
  CHECK(r.walk(0x601000, {})->address == 0x3000000);
  CHECK(r.walk(0x602000, {})->address == 0x2202000);
  CHECK(r.walk(0x602000, {})->size == PageSize::k4K);
  CHECK(!r.tables->unmap(PhysAddr(0x10000000), 0x10000));
  CHECK(r.tables->unmap(PhysAddr(0x602000), 0x1000));
  CHECK(!r.tables->unmap(PhysAddr(0x602000), 0x1000));
  CHECK(!r.tables->protect(PhysAddr(0x602000), 0x1000, kReadOnly));
  CHECK(r.tables->protect(PhysAddr(0x603000), 0x1000, kReadOnly));
  CHECK(!r.tables->protect(PhysAddr(0x603000), 0x1000, kReadOnly));
}

TEST_CASE("a large page is broken at the ends of a range, and what lies outside stays") {
  for (const HostShape& shape : kShapes) {
    Rig r(shape);
    const u64 whole = shape.gigabyte_pages ? u64{1} << 30 : u64{1} << 21;
    r.map(0x40000000, 0x80000000, PageSize::k1G);
    CHECK(r.tables->unmap(PhysAddr(0x40001000), whole - 0x2000));
    CHECK(r.walk(0x40000000, {Side::store, false, false})->address == 0x80000000);
    CHECK(r.walk(0x40000000 + whole - 1, {})->address == 0x80000000 + whole - 1);
    CHECK(!r.walk(0x40001000, {}).ok());
    CHECK(!r.walk(0x40000000 + whole - 0x1001, {}).ok());
    CHECK(r.tables->protect(PhysAddr(0x40000000), whole, kReadOnly));
    CHECK(!r.walk(0x40000000, {Side::store, false, false}).ok());
    CHECK(r.walk(0x40000000, {}).ok());
  }
}

TEST_CASE("emptied tables return their frames, and a large page fits where small ones were") {
  Rig r;
  for (u64 a = 0x600000; a < 0x800000; a += kPageBytes) r.map(a, 0x2000000 + a);
  CHECK(r.walk(0x612000, {})->size == PageSize::k4K);
  CHECK(r.guest.returned.empty());
  for (u64 a = 0x600000; a < 0x800000; a += kPageBytes) CHECK(r.tables->unmap(PhysAddr(a), kPageBytes));
  CHECK(r.guest.returned.size() == 3);  // all but the root
  r.map(0x612000, 0x2012000, PageSize::k2M);
  CHECK(r.walk(0x612000, {})->size == PageSize::k2M);
  r.map(0x12345000, 0x3000000);
  CHECK(r.tables->unmap(PhysAddr(0), ~u64{0}));
  CHECK(!r.walk(0x612000, {}).ok());
  CHECK(!r.tables->look(PhysAddr(0x12345000)));
}

TEST_CASE("random changes leave what a map of pages says") {
  struct Page {
    u64 machine = 0;
    u8 rights = 0;
  };
  for (const HostShape& shape : kShapes) {
    Rig r(shape);
    std::map<u64, Page> pages;
    Random random(shape.levels + static_cast<unsigned>(shape.format) * 10);
    constexpr u64 kFirst = 0x3fe00, kPages = 2048;  // around a boundary of 1G
    for (unsigned n = 0; n < 600; ++n) {
      const u64 page = kFirst + random.below(kPages), count = random.below(3) ? 1 + random.below(3) : 1 + random.below(900);
      const u8 rights = random.below(2) ? kReadWrite : kReadOnly;
      switch (random.below(5)) {
        case 0:
          r.tables->unmap(PhysAddr(page << 12), count << 12);
          for (u64 p = page; p < page + count; ++p) pages.erase(p);
          break;
        case 1:
          r.tables->protect(PhysAddr(page << 12), count << 12, kReadOnly);
          for (u64 p = page; p < page + count; ++p)
            if (const auto it = pages.find(p); it != pages.end()) it->second.rights &= kReadOnly;
          break;
        case 2: {  // a large page, where nothing is yet
          const u64 first = page & ~u64{511}, to = (1 + random.below(60)) << 21;
          r.tables->unmap(PhysAddr(first << 12), u64{1} << 21);
          r.map((page << 12) + 5, to + ((page - first) << 12) + 5, PageSize::k2M, rights);
          for (u64 p = first; p < first + 512; ++p) pages[p] = {to + ((p - first) << 12), rights};
          break;
        }
        default: {
          const u64 to = (0x200 + random.below(0x4000)) << 12;
          r.map(page << 12, to, PageSize::k4K, rights);
          pages[page] = {to, rights};
        }
      }
      for (unsigned check = 0; check < 20; ++check) {
        const u64 at = kFirst + random.below(kPages + 900);
        const auto it = pages.find(at);
        const auto read = r.walk((at << 12) + 0x123, {}), write = r.walk((at << 12) + 0x123, {Side::store, false, false});
        REQUIRE(read.ok() == (it != pages.end()));
        REQUIRE(write.ok() == (it != pages.end() && (it->second.rights & right::write)));
        if (read) REQUIRE(read->address == it->second.machine + 0x123);
      }
    }
  }
}
