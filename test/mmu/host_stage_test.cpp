// The second dimension by itself: what a refusal says and which of several wins (SDM vol. 3, 29.3.3 and table 28-7; APM
// vol. 2, 15.25.6), and the nested TLB against a list.
#include "mmu/host_stage.h"

#include <list>

#include "base/random.h"
#include "test/mmu/plain_guest.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using test::PlainGuest;

namespace {

constexpr u64 kBase = 0x4000000;
constexpr Access kLoad{}, kStore{Side::store, false, false}, kFetch{Side::fetch, false, false},
    kTable{Side::load, false, true}, kTableWrite{Side::store, false, true};

struct Rig {
  explicit Rig(const std::string& more = "") {
    settings.load_text(
        "[cache]\nmodel = none\nwalk_latency = 10\n[nested.tlb]\nentries = 0\n[nested.pwc]\nenabled = false\n", "test");
    settings.load_text(more, "more");
    caches = std::make_unique<DataCaches>(settings.section("cache"), 1);
    memory.install(MachineAddr(0), 0x8000000);
    stage = std::make_unique<HostStage>(settings.section("nested"), memory, *caches, 1);
    settings.refuse_unknown();
    stage->declare(stats);
    stage->enter(guest);
  }
  void map(u64 address, bool writable = true) {
    Bill unpaid;
    Backing b = guest.back(PhysAddr(address), false, unpaid);
    b.writable = writable;
    stage->map(guest, PhysAddr(address), b);
  }
  Result<Leaf> translate(u64 address, Access access) {
    bill.clear();
    return stage->translate(address, access, bill);
  }
  Fault fault(u64 address, Access access) {
    const auto leaf = translate(address, access);
    REQUIRE(!leaf);
    CHECK(leaf.fault().address == address);
    return leaf.fault();
  }
  u64 qualification(u64 address, Access access, bool linear = true) {
    const Refused refused = stage->describe(fault(address, access), linear);
    CHECK(refused.guest_physical == address);
    return refused.qualification;
  }
  void change(u64 address, unsigned level, u64 clear, u64 set) {
    const MachineAddr at = stage->tables(guest)->entry_at(PhysAddr(address), level);
    const u64 entry = (memory.peek<u64>(at) & ~clear) | set;
    memory.write(at, {reinterpret_cast<const u8*>(&entry), 8});
  }
  u64 value(const std::string& name) const { return stats.value(stats.snapshot(), name); }

  sim::Settings settings;
  MachineMemory memory;
  std::unique_ptr<DataCaches> caches;
  PlainGuest guest{kBase, 0x100000};
  std::unique_ptr<HostStage> stage;
  sim::Stats stats;
  Bill bill;
};

}  // namespace

TEST_CASE("the exit qualification of an EPT violation: the access, what the entries grant together, and what it was for") {
  Rig r;
  const u64 linear = bit(7), itself = bit(8);
  CHECK(r.qualification(0x5000, kLoad) == (1 | linear | itself));
  CHECK(r.qualification(0x5000, kStore) == (2 | linear | itself));
  CHECK(r.qualification(0x5000, kFetch) == (4 | linear | itself));
  CHECK(r.qualification(0x5000, kLoad, false) == 1);  // PDPTEs
  r.map(0x5000, false);
  CHECK(r.qualification(0x5000, kStore) == (2 | 5 << 3 | linear | itself));
  r.change(0x5000, 1, 4, 0);
  CHECK(r.qualification(0x5000, kFetch) == (4 | 1 << 3 | linear | itself));
  r.change(0x5000, 3, 2, 0);  // an upper entry takes part
  r.change(0x5000, 1, 0, 6);
  CHECK(r.qualification(0x5000, kStore) == (2 | 5 << 3 | linear | itself));
  CHECK(r.stage->wrote(r.fault(0x5000, kStore)));
  CHECK(!r.stage->wrote(r.fault(0x6000, kLoad)));
}

TEST_CASE("reads of guest tables are reported as read and write where EPT keeps A and D, else as reads") {
  Rig with, without("[nested]\naccessed_dirty = false\n");
  CHECK(with.stage->entry_access() == Side::store);
  CHECK(without.stage->entry_access() == Side::load);
  with.map(0x5000, false);
  without.map(0x5000, false);
  CHECK(with.qualification(0x5000, kTableWrite) == (3 | 5 << 3 | bit(7)));
  CHECK(without.translate(0x5000, kTable).ok());
  CHECK(without.qualification(0x6000, kTable) == (1 | bit(7)));
}

TEST_CASE("each malformed entry is a misconfiguration") {
  struct Case {
    unsigned level;
    u64 clear, set;
  };
  const Case cases[] = {
      {1, 7, 2},                                                // W without R
      {1, 7, 6},                                                // W and X without R
      {3, 7, 2},                                                // the same above a leaf
      {1, 0x38, 2 << 3}, {1, 0x38, 3 << 3}, {1, 0x38, 7 << 3},  // memory types that are none
      {4, 0, 0x80},                                             // a large page where there is none
      {3, 0, 0x08},                                             // a reserved bit in an entry that refers to a table
  };
  for (const Case& c : cases) {
    Rig r;
    r.map(0x5000);
    r.change(0x5000, c.level, c.clear, c.set);
    INFO("level " << c.level << " clear " << c.clear << " set " << c.set);
    CHECK(r.fault(0x5000, kLoad).kind == Fault::Kind::misconfigured);
    CHECK(r.fault(0x5000, kTable).kind == Fault::Kind::misconfigured);
  }
}

TEST_CASE("execute-only entries are malformed unless the processor knows them") {
  for (const bool known : {true, false}) {
    Rig r(std::string("[nested]\nexecute_only = ") + (known ? "true" : "false") + "\n");
    r.map(0x5000);
    r.change(0x5000, 1, 3, 0);
    CHECK(r.translate(0x5000, kFetch).ok() == known);
    CHECK(r.fault(0x5000, kLoad).kind == (known ? Fault::Kind::violation : Fault::Kind::misconfigured));
  }
}

TEST_CASE("entry by entry: not present before malformed below, malformed before rights, rights only at the leaf") {
  Rig r;
  r.map(0x5000, false);
  r.change(0x5000, 4, 2, 0);  // no W at the root
  r.change(0x5000, 1, 7, 2);  // malformed leaf
  CHECK(r.fault(0x5000, kStore).kind == Fault::Kind::misconfigured);
  CHECK(r.bill.read_count() == 4);
  r.change(0x5000, 2, 7, 0);  // not present above it
  CHECK(r.fault(0x5000, kStore).kind == Fault::Kind::violation);
  CHECK(r.bill.read_count() == 3);
}

TEST_CASE(
    "nested paging walks as a user, in a page fault's terms, and has neither misconfigurations nor execute-only pages") {
  Rig r("[nested]\nformat = npt\n");
  CHECK(r.stage->entry_access() == Side::store);
  CHECK(r.qualification(0x5000, kLoad) == (pf::user | bit(32)));
  CHECK(r.qualification(0x5000, kTableWrite) == (pf::user | pf::write | bit(33)));
  CHECK(r.qualification(0x5000, kFetch) == (pf::user | pf::fetch | bit(32)));
  r.map(0x5000, false);
  CHECK(r.translate(0x5000, kLoad).ok());
  CHECK(r.qualification(0x5000, kStore) == (pf::present | pf::user | pf::write | bit(32)));
  CHECK(r.stage->wrote(r.fault(0x5000, kStore)));
  r.change(0x5000, 1, 4, 0);  // a supervisor page
  CHECK(r.qualification(0x5000, kLoad) == (pf::present | pf::user | bit(32)));
  r.change(0x5000, 4, 0, 0x80);
  CHECK(r.qualification(0x5000, kLoad) == (pf::present | pf::user | pf::reserved | bit(32)));
  CHECK(r.qualification(u64{1} << 48, kLoad) == (pf::user | bit(32)));
}

TEST_CASE("a violation forgets the guest-physical mappings that it used") {
  Rig r("[nested.tlb]\nentries = 16\n[nested.pwc]\nenabled = true\n");
  r.map(0x5000), r.map(0x6000);
  REQUIRE(r.translate(0x5000, kLoad).ok());
  REQUIRE(r.translate(0x6000, kLoad).ok());
  r.stage->tables(r.guest)->protect(PhysAddr(0x5000), kPageBytes, right::read);
  REQUIRE(r.translate(0x5000, kLoad).ok());
  CHECK(r.bill.read_count() == 0);
  CHECK(r.fault(0x5000, kStore).kind == Fault::Kind::violation);
  REQUIRE(r.translate(0x6000, kLoad).ok());
  CHECK(r.bill.read_count() == 0);
  REQUIRE(r.translate(0x5000, kLoad).ok());
  CHECK(r.bill.read_count() == 4);
}

TEST_CASE("host page-walk caches let a walk start below its root, tagged by the tables they come from") {
  Rig r("[nested.pwc]\nenabled = true\nlatency = 2\n");
  r.map(0x5000), r.map(0x6000), r.map(0x200000);
  REQUIRE(r.translate(0x5000, kLoad).ok());
  CHECK(r.bill.read_count() == 4);
  CHECK(r.bill.of(Cause::pwc) == 2);
  CHECK(r.bill.of(Cause::host_read) == 40);
  CHECK(r.bill.of(Cause::walk_read) == 0);
  REQUIRE(r.translate(0x6000, kLoad).ok());
  CHECK(r.bill.read_count() == 1);
  REQUIRE(r.translate(0x200000, kLoad).ok());
  CHECK(r.bill.read_count() == 2);
  PlainGuest other(0x6000000, 0x800000, 1);
  Bill unpaid;
  r.stage->enter(other);
  r.stage->map(other, PhysAddr(0x5000), other.back(PhysAddr(0x5000), false, unpaid));
  CHECK(r.translate(0x5000, kLoad)->address == 0x6005000);
  CHECK(r.bill.read_count() == 4);
  r.stage->enter(r.guest);
  CHECK(r.translate(0x6000, kLoad)->address == kBase + 0x6000);
  CHECK(r.bill.read_count() == 1);
  r.stage->forget(other);
  CHECK(r.translate(0x6000, kLoad)->address == kBase + 0x6000);
  CHECK(r.bill.read_count() == 1);
  r.stage->forget(r.guest);
  CHECK(r.translate(0x6000, kLoad)->address == kBase + 0x6000);
  CHECK(r.bill.read_count() == 4);
}

TEST_CASE("the nested TLB hits what a list of the last used pages holds, machine by machine") {
  constexpr std::size_t kEntries = 8;
  for (const bool data : {true, false}) {
    Rig r(std::string("[nested.tlb]\nentries = 8\nways = 0\npolicy = lru\nlatency = 3\ndata = ") +
          (data ? "true" : "false") + "\n");
    PlainGuest other(0x6000000, 0x800000, 1);
    Bill unpaid;
    for (u64 page = 0; page < 24; ++page) {
      r.map(page << 12);
      r.stage->map(other, PhysAddr(page << 12), other.back(PhysAddr(page << 12), false, unpaid));
    }
    std::list<std::pair<unsigned, u64>> recent;  // machine and page, the last used in front
    Random random(4);
    u64 hits = 0, lookups = 0;
    unsigned machine = 0;
    for (unsigned n = 0; n < 4000; ++n) {
      if (random.below(20) == 0) machine = 1 - machine;
      Guest& guest = machine ? static_cast<Guest&>(other) : r.guest;
      r.stage->enter(*(machine ? &other : &r.guest));
      if (random.below(200) == 0) {
        r.stage->forget(guest);
        recent.remove_if([&](const auto& e) { return e.first == machine; });
      }
      const std::pair<unsigned, u64> page(machine, random.below(12));
      const bool implicit = random.below(2);
      const auto leaf = r.translate((page.second << 12) + 8, {Side::load, false, implicit});
      REQUIRE(leaf.ok());
      REQUIRE(leaf->address == (machine ? 0x6000000 : kBase) + (page.second << 12) + 8);
      if (!data && !implicit) {
        REQUIRE(r.bill.of(Cause::nested_tlb) == 0);
        REQUIRE(r.bill.read_count() == 4);
        continue;
      }
      const auto held = std::find(recent.begin(), recent.end(), page);
      const bool hit = held != recent.end();
      REQUIRE(r.bill.of(Cause::nested_tlb) == 3);
      REQUIRE(r.bill.read_count() == (hit ? 0 : 4));
      ++lookups, hits += hit;
      if (hit) recent.erase(held);
      recent.push_front(page);
      if (recent.size() > kEntries) recent.pop_back();
    }
    CHECK(hits > 500);
    CHECK(r.value("nested.tlb.lookups") == lookups);
    CHECK(r.value("nested.tlb.hits") == hits);
    CHECK(r.value("nested.tlb.misses") == lookups - hits);
  }
}

TEST_CASE("the nested TLB holds pages of every size side by side, and stores wait for their dirty flag") {
  Rig r("[nested.tlb]\nentries = 16\nways = 4\n");
  Bill unpaid;
  Backing large = r.guest.back(PhysAddr(0x600000), false, unpaid);
  large.size = PageSize::k2M;
  r.stage->map(r.guest, PhysAddr(0x600000), large);
  r.map(0x5000);
  REQUIRE(r.translate(0x612345, kLoad).ok());
  CHECK(r.translate(0x7fffff, kLoad)->address == kBase + 0x7fffff);
  CHECK(r.translate(0x7fffff, kLoad)->size == PageSize::k2M);
  CHECK(r.bill.read_count() == 0);
  REQUIRE(r.translate(0x5000, kLoad).ok());
  REQUIRE(r.translate(0x5000, kStore).ok());  // D
  CHECK(r.bill.read_count() == 4);
  CHECK(r.bill.of(Cause::walk_update) == 10);
  REQUIRE(r.translate(0x5000, kStore).ok());
  CHECK(r.bill.read_count() == 0);
}

TEST_CASE("impossible keys of the second dimension are refused by name") {
  const auto refused = [](const std::string& text, const std::string& key) {
    try {
      Rig r(text);
    } catch (const sim::ConfigError& e) {
      INFO(e.what());
      return std::string(e.what()).find(key) != std::string::npos;
    }
    return false;
  };
  CHECK(refused("[nested]\nlevels = 3\n", "nested.levels"));
  CHECK(refused("[nested]\nformat = shadow\n", "nested.format"));
  CHECK(refused("[nested.tlb]\nentries = 10\nways = 4\n", "nested.tlb.ways"));
  CHECK(refused("[nested.tlb]\nentries = 12\nways = 4\n", "nested.tlb.index"));
}
