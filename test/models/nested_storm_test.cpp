// Two virtual machines in turns on one core under random loads, stores, fetches, table edits, missing flushes, device
// registers, and a hypervisor that takes memory away: with and without the filter a guest sees the same and everything is
// counted alike; and no byte of one machine is ever seen by the other.
#include <sstream>

#include "test/models/nested_bench.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using namespace nestwalk::test;
using Kind = Invalidation::Kind;

namespace {

struct Registers final : Bus {
  u64 read(PhysAddr a, unsigned bytes) override { return (a.value ^ ++reads) & low_mask(8 * bytes); }
  void write(PhysAddr, u64 value, unsigned) override { written += value; }
  u64 reads = 0, written = 0;
};

class Storm {
 public:
  Storm(const std::string& model, const std::string& more, bool filtered, PageSize host_page, u64 seed)
      : bench_({.model = model,
                .settings = more,
                .guests = 2,
                .host_page = host_page,
                .guest_bytes = u64{16} << 20,
                .filtered = filtered}),
        tables_{Tables<Ia32e<4>>(bench_.space(0), 0, 0x100000), Tables<Ia32e<4>>(bench_.space(1), 0, 0x100000)},
        random_(seed) {
    bench_.port->set_bus(&registers_);
    bench_.spaces[1]->declare(second_);
    for (world_ = 0; world_ < 2; ++world_) {
      for (u64 i = 0; i < kPages; ++i) edit(i);
      tables_[world_].map(0x40000000, 0x400000, 0x67, 2);
      tables_[world_].map(kDevice, 0xfec00000, 0x67);
      for (u64 page = 0x400000; page < 0x1000000; page += kPageBytes) sign(page);
    }
    turn_to(0);
  }
  void run(unsigned steps) {
    for (unsigned n = 0; n < steps; ++n) step();
  }
  std::string seen() const { return seen_.str(); }
  std::string counted() const {
    std::ostringstream out;
    for (const sim::Stats* stats : {&bench_.stats, &second_}) {
      const auto snapshot = stats->snapshot();
      for (const auto& row : stats->counters()) out << row.name << ' ' << stats->value(snapshot, row.name) << '\n';
    }
    return out.str();
  }
  u64 strangers = 0;  ///< bytes of another machine that were read

 private:
  static constexpr u64 kPages = 24, kBase = 0x7f0000000000, kDevice = 0x7f0040000000;
  static u64 page(u64 i) { return kBase + (i % 3) * 0x200000 + i * kPageBytes; }
  /// Every word of a machine's data ends with its mark; nothing else is ever stored.
  u64 marked(u64 v) const { return (v << 8) | (0xa0 + world_); }
  void sign(u64 physical) {
    u64 words[kPageBytes / 8];
    for (u64& w : words) w = marked(physical);
    bench_.space(world_).write(PhysAddr(physical), {reinterpret_cast<const u8*>(words), kPageBytes});
  }
  void turn_to(unsigned world) {
    world_ = world;
    bench_.enter(world);
    pcid_ = 0;
    bench_.port->set_paging(long_mode(tables_[world].root(), pcid_));
    bench_.port->resume();
  }
  void edit(u64 i) {
    tables_[world_].map(page(i), 0x800000 + random_.below(kPages) * kPageBytes,
                        (random_.below(8) ? 1 : 0) | (random_.below(4) ? 2 : 0) | (random_.below(4) ? 4 : 0) |
                            (random_.below(8) ? 0 : 0x100) | (random_.below(2) ? 0x60 : 0));
  }
  u64 address() {
    if (random_.below(40) == 0) return kDevice + random_.below(16) * 8;
    return (random_.below(5) ? page(random_.below(kPages)) : 0x40000000 + random_.below(512) * kPageBytes) +
           random_.below(512) * 8;
  }
  template <class R>
  void note(const R& r) {
    if (!r) seen_ << 'f' << r.fault().error << '@' << r.fault().address << '\n';
  }
  void take_away() {
    Bill unpaid;
    const u64 pages = random_.below(4) ? 1 : random_.below(600);
    bench_.model->forget(bench_.space(static_cast<unsigned>(random_.below(2))),
                         PhysAddr(0x400000 + random_.below(0xc00) * kPageBytes), pages * kPageBytes, unpaid);
  }
  void step() {
    Port& port = *bench_.port;
    switch (const u64 what = random_.below(400)) {
      case 0: edit(random_.below(kPages)); break;
      case 1: port.invalidate({Kind::page, LinearAddr(page(random_.below(kPages))), pcid_}); break;
      case 2: port.invalidate({Kind::pcid, LinearAddr(0), static_cast<u16>(random_.below(3))}); break;
      case 3: port.invalidate({random_.below(2) ? Kind::all : Kind::non_global, LinearAddr(0), 0}); break;
      case 4: turn_to(1 - world_); break;
      case 5: take_away(); break;
      case 6:
      case 7:
        pcid_ = static_cast<u16>(random_.below(3));
        port.set_paging(long_mode(tables_[world_].root(), pcid_));
        break;
      case 8:
      case 9: port.set_privilege(random_.below(2), false); break;
      default: access(what);
    }
  }
  void access(u64 what) {
    Port& port = *bench_.port;
    const LinearAddr a(address());
    const bool device = a.value >= kDevice;
    if (what < 200) {
      const auto r = port.load<u64>(a);
      note(r);
      if (!r) return;
      seen_ << *r << '\n';
      strangers += !device && (*r & 0xff) != 0xa0 + world_;
    } else if (what < 300) {
      note(port.store<u64>(a, marked(random_.next())));
    } else if (what < 340) {
      note(port.update<u64>(a, [](u64 v) { return v + 0x100; }));
    } else if (!device) {
      note(port.fetch_lines(a.value & ~u64{63}, 1));
    }
  }

  NestedBench bench_;
  Registers registers_;
  Tables<Ia32e<4>> tables_[2];
  Random random_;
  sim::Stats second_;
  unsigned world_ = 0;
  u16 pcid_ = 0;
  std::ostringstream seen_;
};

void same_with_and_without_filter(const std::string& model, const std::string& more, PageSize host_page = PageSize::k4K) {
  INFO(model << ' ' << more);
  Storm on(model, more, true, host_page, 42), off(model, more, false, host_page, 42);
  on.run(20000);
  off.run(20000);
  CHECK((on.seen() == off.seen()));
  CHECK((on.counted() == off.counted()));
  CHECK(on.seen().size() > 20000);
  CHECK(on.strangers == 0);
}

}  // namespace

TEST_CASE("two machines in turns see only their own memory, and the filter changes nothing (nested)") {
  same_with_and_without_filter("nested", "");
  same_with_and_without_filter("nested", "", PageSize::k2M);
  same_with_and_without_filter("nested", "[nested]\nvpid = false\n");
  same_with_and_without_filter("nested",
                               "[nested]\nformat = npt\n[tlb.l1d]\npolicy = tree-plru\n[tlb.l2]\npolicy = srrip\n");
  same_with_and_without_filter("nested", "[nested]\naccessed_dirty = false\n[nested.tlb]\nentries = 4\npolicy = fifo\n");
}

TEST_CASE("two machines in turns see only their own memory, and the filter changes nothing (other designs)") {
  same_with_and_without_filter("flat-nested", "");
  same_with_and_without_filter("flat-nested", "[nested]\nvpid = false\n", PageSize::k2M);
  same_with_and_without_filter("walk-cache-2d", "[walk_cache_2d]\nentries = 8\n");
}

TEST_CASE("the guest sees the same whatever the second dimension is") {
  // A guest that never relies on a stale entry sees its tables' contents; here all designs share the first level's TLBs, so
  // even stale ones are the same.
  const auto run = [](const std::string& model, const std::string& more, PageSize host_page) {
    Storm s(model,
            "[tlb.l1i]\nentries = 1\nways = 1\n[tlb.l1d]\nentries = 1\nways = 1\n[tlb.l2]\nentries = 1\nways = "
            "1\n[pwc]\nenabled = false\n" +
                more,
            true, host_page, 7);
    s.run(4000);
    return s.seen();
  };
  const std::string reference = run("nested", "", PageSize::k4K);
  CHECK((run("nested", "[nested]\nformat = npt\n", PageSize::k4K) == reference));
  CHECK((run("nested", "[nested]\nlevels = 5\naccessed_dirty = false\n[nested.tlb]\nentries = 0\n", PageSize::k4K) ==
         reference));
  CHECK((run("flat-nested", "", PageSize::k4K) == reference));
  CHECK((run("walk-cache-2d", "", PageSize::k4K) == reference));
}
