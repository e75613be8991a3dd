// What is forgotten when, under two-dimensional paging (SDM vol. 3, 29.4.3): combined and guest-physical mappings go by
// different instructions; exits and world switches take everything without VPIDs and nothing with them.
#include <array>

#include "test/models/nested_bench.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using namespace nestwalk::test;
using Kind = Invalidation::Kind;
using HostKind = HypervisorInvalidation::Kind;

namespace {

const char* const kWholePwc =
    "[pwc]\nenabled = false\n[nested.pwc]\nenabled = false\n[nested.tlb]\nentries = 64\nlatency = 3\n";

/// Entries read to translate the page again, by dimension.
struct Reads {
  unsigned guest = 0, host = 0;
  bool operator==(const Reads&) const = default;
};
Reads reads(NestedBench& b, u64 a) {
  REQUIRE(b.translate(a).ok());
  Reads r;
  for (const WalkRead& read : b.bill.reads()) ++(read.host_level ? r.host : r.guest);
  return r;
}

/// Two machines that map the same linear page, each to its own memory.
struct TwoWorlds : NestedBench {
  static constexpr u64 kPage = 0x7f0000001000, kGlobal = 0x7f0000002000;
  explicit TwoWorlds(const std::string& more = "", unsigned guests = 2)
      : NestedBench({.settings = more, .guests = guests, .guest_bytes = u64{4} << 20}) {
    for (unsigned n = 0; n < guests; ++n) {
      Tables<Ia32e<4>> t(space(n), 0, 0x100000);
      t.map(kPage, 0xa000, 0x67);
      t.map(kGlobal, 0xb000, 0x167);
      root = t.root();
    }
    turn_to(0);
  }
  void turn_to(unsigned n) {
    enter(n);
    paging(long_mode(root, 1));
  }
  u64 root = 0;
};

}  // namespace

TEST_CASE("INVLPG and MOV to CR3 forget combined mappings and leave guest-physical ones") {
  NestedLongMode b(kWholePwc);
  REQUIRE(b.translate(b.kA).ok());
  CHECK(b.hits(b.kA));
  b.invalidate(Kind::page, b.kA);
  CHECK(reads(b, b.kA) == Reads{4, 0});
  CHECK(b.bill.of(Cause::nested_tlb) == 5 * 3);
  b.invalidate(Kind::pcid, 0, 0);
  CHECK(reads(b, b.kA) == Reads{4, 0});
  b.invalidate(Kind::all);
  CHECK(reads(b, b.kA) == Reads{4, 0});
}

TEST_CASE("INVEPT forgets guest-physical and combined mappings of one machine's tables") {
  TwoWorlds b(kWholePwc);
  REQUIRE(b.translate(b.kPage).ok());
  b.turn_to(1);
  REQUIRE(b.translate(b.kPage).ok());
  b.invept(1);
  CHECK(reads(b, b.kPage) == Reads{4, 20});
  b.turn_to(0);
  CHECK(b.hits(b.kPage));
  b.invept(1);
  b.invalidate(Kind::page, b.kPage);
  CHECK(reads(b, b.kPage) == Reads{4, 0});
  b.two().invalidate({HostKind::ept_all});
  CHECK(reads(b, b.kPage) == Reads{4, 20});
}

TEST_CASE("INVVPID forgets combined mappings by VPID and never guest-physical ones") {
  TwoWorlds b(kWholePwc);
  const auto fill = [&] {
    for (const unsigned n : {1u, 0u}) {
      b.turn_to(n);
      REQUIRE(b.translate(b.kPage).ok());
      REQUIRE(b.translate(b.kGlobal).ok());
    }
  };
  fill();
  const unsigned mine = b.two().vpid_of(0), other = b.two().vpid_of(1);
  REQUIRE(mine != other);
  b.two().invalidate({HostKind::vpid_context, nullptr, other});
  CHECK(b.hits(b.kPage));
  CHECK(b.hits(b.kGlobal));
  b.two().invalidate({HostKind::vpid_non_global, nullptr, mine});
  CHECK(b.hits(b.kGlobal));
  CHECK(reads(b, b.kPage) == Reads{4, 0});
  b.two().invalidate({HostKind::vpid_address, nullptr, mine, LinearAddr(b.kGlobal + 5)});
  CHECK(b.hits(b.kPage));
  CHECK(reads(b, b.kGlobal) == Reads{4, 0});
  b.two().invalidate({HostKind::vpid_context, nullptr, mine});
  CHECK(!b.hits(b.kPage));
  CHECK(!b.hits(b.kGlobal));
  fill();
  b.two().invalidate({HostKind::vpid_all});
  CHECK(reads(b, b.kPage) == Reads{4, 0});
  b.turn_to(1);
  CHECK(reads(b, b.kPage) == Reads{4, 0});
}

TEST_CASE("INVVPID of one address forgets it under every PCID, and other addresses under none") {
  NestedLongMode b;
  for (const u16 pcid : {2, 1}) b.use(pcid), b.hits(b.kA), b.hits(b.kB);
  b.two().invalidate({HostKind::vpid_address, nullptr, b.two().vpid_of(0), LinearAddr(b.kA)});
  for (const u16 pcid : {2, 1}) {
    b.use(pcid);
    CHECK(b.hits(b.kB));
    CHECK(!b.hits(b.kA));
  }
}

TEST_CASE("with VPIDs a world switch keeps what is cached, and one machine never sees another's pages") {
  TwoWorlds b;
  for (const unsigned n : {0u, 1u, 0u, 1u}) {
    b.turn_to(n);
    CHECK(b.lands(b.kPage, 0xa000, {}, n));
    CHECK(b.lands(b.kGlobal, 0xb000, {}, n));
  }
  CHECK(b.hits(b.kPage));
  CHECK(b.hits(b.kGlobal));
  Bill unpaid;
  b.model->left(b.space(1), unpaid);
  CHECK(b.hits(b.kPage));
}

TEST_CASE("without VPIDs exits and world switches forget combined mappings, and guest-physical ones stay") {
  TwoWorlds b(std::string(kWholePwc) + "[nested]\nvpid = false\n");
  for (const unsigned n : {0u, 1u, 0u, 1u}) {
    b.turn_to(n);
    CHECK(b.lands(b.kPage, 0xa000, {}, n));
    CHECK(b.lands(b.kGlobal, 0xb000, {}, n));
  }
  CHECK(b.hits(b.kPage));
  b.turn_to(1);  // the same again
  CHECK(b.hits(b.kPage));
  Bill unpaid;
  b.model->left(b.space(1), unpaid);
  CHECK(reads(b, b.kPage) == Reads{4, 0});
  b.turn_to(0);
  b.turn_to(1);
  CHECK(reads(b, b.kGlobal) == Reads{4, 0});
  REQUIRE(b.translate(0x7f0000003000).fault().kind == Fault::Kind::page_fault);  // the guest's own: no exit
  CHECK(b.hits(b.kGlobal));
}

TEST_CASE("a violation is an exit: without VPIDs it empties the TLB") {
  for (const bool vpid : {true, false}) {
    NestedLongMode b(std::string("[nested]\nvpid = ") + (vpid ? "true" : "false") + "\n");
    REQUIRE(b.translate(b.kA).ok());
    REQUIRE(b.hits(b.kA));
    REQUIRE(b.translate(b.kB).ok());  // touched for the first time
    CHECK(b.hits(b.kA) == vpid);
  }
}

TEST_CASE("more machines than VPIDs share them, and still see only their own memory") {
  TwoWorlds b("[tlb.l2]\nentries = 256\nways = 64\n", 20);
  for (unsigned round = 0; round < 2; ++round)
    for (unsigned n = 0; n < 20; ++n) {
      b.turn_to(n);
      CHECK(b.lands(b.kPage, 0xa000, {}, n));
      CHECK(b.lands(b.kGlobal, 0xb000, {}, n));
    }
  b.turn_to(10);
  CHECK(b.hits(b.kPage));  // nobody else has had its VPID since
  b.turn_to(0);
  CHECK(!b.hits(b.kPage));  // number 15 has
}

TEST_CASE("what the hypervisor takes away is gone from tables, TLBs and walk caches") {
  for (const char* model : {"nested", "flat-nested", "walk-cache-2d"}) {
    NestedLongMode b("", model);
    REQUIRE(b.translate(b.kA).ok());
    const u64 violations = b.value("vmm.exits.violation");
    Bill unpaid;
    b.model->forget(b.space(), PhysAddr(0xa000), kPageBytes, unpaid);
    CHECK(b.lands(b.kA, 0xa000));
    CHECK(b.value("vmm.exits.violation") == violations + 1);
    b.model->forget(b.space(), PhysAddr(0), u64{64} << 20, unpaid);  // everything, guest tables included
    CHECK(b.lands(b.kA, 0xa000));
    CHECK(b.value("vmm.exits.violation") == violations + 6);
    b.model->forget(b.space(), PhysAddr(0x3000000), kPageBytes, unpaid);  // never mapped: nothing is due
    CHECK(b.hits(b.kA));
  }
}

TEST_CASE("part of a large host page can be taken away") {
  for (const char* model : {"nested", "flat-nested"}) {
    NestedBench b({.model = model, .settings = "", .guests = 1, .host_page = PageSize::k2M});
    b.paging({.cr0 = cr0::pe});
    for (const u64 a : {u64{0x200000}, u64{0x201000}, u64{0x3ff000}}) REQUIRE(b.translate(a).ok());
    CHECK(b.value("vmm.exits.violation") == 1);
    Bill unpaid;
    b.model->forget(b.space(), PhysAddr(0x201000), kPageBytes, unpaid);
    CHECK(b.lands(0x200000, 0x200000));
    CHECK(b.lands(0x3ff000, 0x3ff000));
    CHECK(b.translate(0x200000)->size == PageSize::k4K);
    CHECK(b.value("vmm.exits.violation") == 1);
    CHECK(b.lands(0x201000, 0x201000));
    CHECK(b.value("vmm.exits.violation") == 2);
  }
}

// ---- rights (section 29.4.3.4: when software must invalidate) -------------------------------------------------------

TEST_CASE("a right taken away without INVEPT may still be used through a stale combined mapping") {
  NestedLongMode b;
  REQUIRE(b.translate(b.kA, kStore).ok());
  const u64 violations = b.value("vmm.exits.violation");
  REQUIRE(b.tables().protect(PhysAddr(0xa000), kPageBytes, right::read | right::execute));
  CHECK(b.hits(b.kA, kStore));
  CHECK(b.value("vmm.exits.violation") == violations);
  b.invept();
  REQUIRE(b.translate(b.kA, kStore).ok());  // the hypervisor, asked, finds nothing against it
  CHECK(b.value("vmm.exits.violation") == violations + 1);
}

TEST_CASE("a right given without INVEPT costs at most one violation") {
  NestedLongMode b;
  REQUIRE(b.translate(b.kA).ok());
  b.tables().protect(PhysAddr(0xa000), kPageBytes, right::read | right::execute);
  b.invept();
  REQUIRE(b.translate(b.kA).ok());  // cached read-only, in both kinds of mappings
  const u64 violations = b.value("vmm.exits.violation");
  const Backing backing = b.space().look(PhysAddr(0xa000));
  CHECK(!b.tables().map(PhysAddr(0xa000), backing.address, PageSize::k4K, right::all & ~right::user));  // none is due
  REQUIRE(b.translate(b.kA, kStore).ok());
  CHECK(b.value("vmm.exits.violation") <= violations + 1);
}

TEST_CASE("what the hypervisor maps anew after a violation is not seen through stale aliases") {
  // A page shared by content: the first store gives the machine its own copy, at another address.
  struct Sharing final : Guest {
    explicit Sharing(vmm::Space& s) : space(s) {}
    unsigned number() const override { return space.number(); }
    Backing back(PhysAddr a, bool store, Bill& bill) override {
      if (a.page().value != 0xa000) return space.back(a, store, bill);
      shared &= !store;
      Backing b = space.back(shared ? PhysAddr(0x2000000 + a.page_offset()) : a, store, bill);
      b.writable = !shared;
      return b;
    }
    Backing look(PhysAddr a) const override { return space.look(a); }
    MachineAddr take_frame() override { return space.take_frame(); }
    void give_frame(MachineAddr f) override { space.give_frame(f); }
    void exit(Exit reason, Bill& bill) override { space.exit(reason, bill); }
    void work(Exit reason, Cycles cycles, Bill& bill) override { space.work(reason, cycles, bill); }
    vmm::Space& space;
    bool shared = true;
  };
  for (const char* model : {"nested", "flat-nested", "walk-cache-2d"}) {
    NestedLongMode b("", model);
    b.guest.map(b.kB, 0xa000, 0x67);  // an alias
    Sharing guest(b.space());
    Bill unpaid;
    b.model->enter(guest, 0, unpaid);
    b.use(0);
    for (const u64 a : {b.kA, b.kB}) CHECK(b.lands(a, 0x2000000));
    CHECK(b.lands(b.kA, 0xa000, kStore));
    CHECK(b.bill.of(Cause::vmm) == b.costs.work[static_cast<unsigned>(Exit::violation)] + 200);
    CHECK(b.lands(b.kB, 0xa000));
  }
}

TEST_CASE("where the host keeps A and D, a shared page that holds a guest table is broken by the next walk, not store") {
  struct Shared final : Guest {
    Shared(vmm::Space& s, u64 p) : space(s), page(p) {}
    unsigned number() const override { return space.number(); }
    Backing back(PhysAddr a, bool store, Bill& bill) override {
      Backing b = space.back(a, store, bill);
      if (a.page().value == page) broken |= store, b.writable = broken;
      return b;
    }
    Backing look(PhysAddr a) const override { return space.look(a); }
    MachineAddr take_frame() override { return space.take_frame(); }
    void give_frame(MachineAddr f) override { space.give_frame(f); }
    void exit(Exit reason, Bill& bill) override { space.exit(reason, bill); }
    void work(Exit reason, Cycles cycles, Bill& bill) override { space.work(reason, cycles, bill); }
    vmm::Space& space;
    u64 page;
    bool broken = false;
  };
  struct Case {
    const char* settings;
    bool breaks;
  };
  for (const auto& [settings, breaks] :
       {Case{"[nested]\naccessed_dirty = true\n", true}, Case{"[nested]\naccessed_dirty = false\n", false},
        Case{"[nested]\nformat = npt\n", true}}) {
    NestedLongMode b(settings);
    for (unsigned level = 4; level >= 1; --level) b.guest.set_entry(b.kA, level, b.guest.entry(b.kA, level) | 0x20);
    Shared guest(b.space(), b.guest.where(b.kA, 1) & ~kPageMask);
    Bill unpaid;
    b.model->enter(guest, 0, unpaid);
    b.use(0);
    REQUIRE(b.translate(b.kA).ok());
    CHECK(guest.broken == breaks);
  }
}
