// Every registered MMU model, under many TLBs: the answers that the attributes of the address spaces give, the bytes that
// lie there, accessed and dirty flags, and statistics that the filter does not change by a digit.
#include "mmu/filter.h"
#include "mmu/format.h"
#include "mmu/model.h"
#include "report/json.h"
#include "test/catch.h"
#include "test/conformance/guest_stores.h"
#include "test/conformance/reference_space.h"
#include "vmm/space.h"

using namespace nestwalk;
using namespace nestwalk::mmu;
using namespace nestwalk::test;

namespace {

/// What lies behind the port; `[tlb.*]`, `[pwc]` and `[cache]` as a machine's file would have them.
const std::pair<const char*, const char*> kDesigns[] = {
    {"no TLB at all", ""},
    {"one entry", "[tlb.l1]\nentries = 1\n"},
    {"one level, LRU",
     "[tlb.l1i]\nserves = instruction\nentries = 16\nways = 4\n[tlb.l1d]\nserves = data\nentries = 32\nways = 4\n"
     "[pwc]\nenabled = true\n"},
    {"two levels, FIFO, hashed, inclusive, walks through caches",
     "[tlb.l1i]\nserves = instruction\nentries = 16\nways = 2\npolicy = fifo\n[tlb.l1d]\nserves = data\nentries = 16\nways "
     "= 4\npolicy = fifo\n"
     "[tlb.l2]\nlevel = 2\nentries = 64\nways = 4\npolicy = fifo\nindex = xor\ninclusion = inclusive\n"
     "[cache]\nmodel = walks\nmemory_latency = 90\n[cache.l1]\nlevel = 1\nserves = data\nbytes = 4K\nways = 2\n"},
    {"pages broken into 4K, no PCID tags, exclusive second level, tree-PLRU",
     "[tlb.l1]\nentries = 16\nways = 4\npages = 4K\nsmash = true\ntags = none\npolicy = tree-plru\n"
     "[tlb.l2]\nlevel = 2\nentries = 64\nways = 4\npages = 4K\nsmash = true\ninclusion = exclusive\npolicy = tree-plru\n"},
    {"large pages apart, bit-PLRU, SRRIP, all accesses through caches",
     "[tlb.l1i]\nserves = instruction\nentries = 12\nways = 4\nindex = modulo\npolicy = bit-plru\n"
     "[tlb.l1d]\nserves = data\nentries = 24\nways = 0\npages = 4K\npolicy = bit-plru\n[tlb.l1d.large]\nentries = 4\nways "
     "= 0\n"
     "pages = 2M, 4M, 1G\npolicy = srrip\n[tlb.l2]\nlevel = 2\nentries = 96\nways = 12\nindex = xor\npolicy = mru3plru4\n"
     "[cache]\nmodel = full\n[cache.l1i]\nserves = instruction\nlevel = 1\nbytes = 4K\nways = 4\npolicy = plru4\n"
     "[cache.l1d]\nserves = data\nlevel = 1\nbytes = 4K\nways = 4\npolicy = lru\n"},
    {"loads and stores apart, random",
     "[tlb.l1]\nserves = load, instruction\nentries = 8\nways = 2\npolicy = random\n"
     "[tlb.l1s]\nserves = store\nentries = 4\nways = 0\npolicy = random\n"},
};

/// A port before one model. One that needs a virtual machine has its memory scattered over twice as much of the host's.
struct Rig {
  static constexpr u64 kBytes = 0x4000000;

  Rig(const std::string& name, const std::string& design, bool filtered, PageSize host_page = PageSize::k4K)
      : settings(load(design)), filter(grain()) {
    filter.enabled = filtered;
    memory.install(MachineAddr(0), 2 * kBytes);
    model = Models::instance().make(name, ModelParts{settings, memory, caches, counts, filter.tlb_owners(), 1});
    caches.set_listener(&filter.cache_owners());
    caches.set_access_counts(&counts);
    if (model->needs_guest()) be_virtual(host_page);
    port = std::make_unique<Port>(*model, caches, memory, filter, counts, clock);
    settings.refuse_unknown();
    port->declare(stats);
    model->declare(stats);
    caches.declare(stats);
    if (space) space->declare(stats);
  }
  void be_virtual(PageSize host_page) {
    frames = std::make_unique<vmm::Frames>(memory, 2 * kBytes, vmm::Placement::random, 1, 5);
    space = std::make_unique<vmm::Space>(0, std::vector<vmm::Space::Span>{{0, kBytes}}, memory, *frames, host_page, costs);
    Bill bill;
    model->enter(*space, 0, bill);
  }
  static sim::Settings load(const std::string& design) {
    sim::Settings s;
    s.load_text(design, "test");
    return s;
  }
  unsigned grain() const { return caches.model() == CacheModel::full ? caches.line_shift() : kPageShift; }
  /// What the guest's physical addresses name, and where that lies.
  PhysicalMemory& physical() { return space ? static_cast<PhysicalMemory&>(*space) : memory; }
  MachineAddr machine_of(u64 address) const {
    return space ? space->look(PhysAddr(address)).address : MachineAddr(address);
  }
  bool is_backed(u64 address) const { return !space || space->look(PhysAddr(address)).kind == Backing::Kind::memory; }
  std::string report() const { return report::stats_json({}, stats, stats.snapshot()); }

  sim::Settings settings;
  MachineMemory memory;
  DataCaches caches{settings.section("cache"), 1};
  Filter filter;
  tlb::AccessCounts counts;
  sim::Clock clock;
  vmm::ExitCosts costs;
  std::unique_ptr<vmm::Frames> frames;
  std::unique_ptr<vmm::Space> space;
  std::unique_ptr<MmuModel> model;
  std::unique_ptr<Port> port;
  sim::Stats stats;
};

std::string text(const Fault& f) {
  std::ostringstream out;
  out << "fault " << static_cast<int>(f.kind) << " error " << f.error << " at " << std::hex << f.address;
  return out.str();
}
bool operator==(const Fault& a, const Fault& b) { return a.kind == b.kind && a.error == b.error && a.address == b.address; }

template <class F>
class Program {
 public:
  explicit Program(Rig& rig, u64 seed)
      : rig_(rig),
        stores_(rig.physical(), *rig.port, {0x100000, 0x800000}),
        space_(stores_, *rig.port, seed),
        random_(seed * 77) {}

  void run(unsigned steps) {
    for (unsigned step = 0; step < steps && !failed_; ++step) {
      if (random_.below(100) < 84)
        access();
      else
        space_.change_something();
    }
  }
  u64 completed = 0, faulted = 0;

 private:
  void access() {
    // Most accesses go where others went: a filter and a TLB need hits.
    if (random_.below(4) == 0) recent_[random_.below(6)] = space_.draw_address();
    const u64 page = recent_[random_.below(6)];
    const u64 linear =
        (page & ~kPageMask) + (random_.below(6) ? random_.below(kPageBytes - 8) : kPageBytes - 1 - random_.below(8));
    switch (random_.below(12)) {
      case 0: return fetch(linear);
      case 1: return implicit(linear);
      case 2:
      case 3: return store<u64>(linear);
      case 4: return store<u16>(linear);
      case 5: return update(linear);
      case 6: return probe(linear);
      case 7: return load<u8>(linear);
      default: return load<u64>(linear);
    }
  }

  struct Expected {
    Fault fault;
    u64 first = 0, second = 0;  ///< physical addresses of the pieces
    unsigned here = 0;
  };
  Expected expect(u64 linear, unsigned bytes, Access access) {
    const unsigned here = static_cast<unsigned>(std::min<u64>(bytes, kPageBytes - (linear & kPageMask)));
    const Answer first = space_.answer(linear, access);
    if (first.fault.kind != Fault::Kind::none || here == bytes) return {first.fault, first.physical, 0, here};
    const Answer second = space_.answer(linear + here, access);
    return {second.fault, first.physical, second.physical, here};
  }
  u64 bytes_at(const Expected& e, unsigned bytes) {
    u64 v = 0;
    rig_.physical().read(PhysAddr(e.first), {reinterpret_cast<u8*>(&v), e.here});
    if (e.here < bytes) rig_.physical().read(PhysAddr(e.second), {reinterpret_cast<u8*>(&v) + e.here, bytes - e.here});
    return v;
  }
  Access explicit_access(Side side) const { return {side, space_.user(), false}; }

  /// The answer's kind, and the flags that a translation leaves in the leaf.
  template <class R>
  bool same(const R& result, const Expected& e, u64 linear, unsigned bytes, Side side) {
    const Fault got = result ? Fault{} : result.fault();
    if (!(got == e.fault)) return fail(linear, "answered " + text(got) + ", not " + text(e.fault));
    if (!result) return ++faulted, false;
    ++completed;
    const u64 wanted = LinearFormat::kAccessed | (side == Side::store ? LinearFormat::kDirty : 0);
    for (const u64 piece : {linear, linear + bytes - 1})
      if ((space_.leaf(piece) & wanted) != wanted) return fail(linear, "left A or D clear");
    return true;
  }
  bool fail(u64 linear, const std::string& what) {
    failed_ = true;
    std::ostringstream out;
    out << "access to " << std::hex << linear << std::dec << " after " << completed + faulted << ": " << what;
    FAIL_CHECK(out.str());
    return false;
  }

  template <class T>
  void load(u64 linear) {
    const Expected e = expect(linear, sizeof(T), explicit_access(Side::load));
    const auto r = rig_.port->template load<T>(LinearAddr(linear));
    if (same(r, e, linear, sizeof(T), Side::load) && *r != static_cast<T>(bytes_at(e, sizeof(T))))
      fail(linear, "loaded other bytes");
  }
  template <class T>
  void store(u64 linear) {
    const T v = static_cast<T>(random_.next());
    const Expected e = expect(linear, sizeof(T), explicit_access(Side::store));
    const auto r = rig_.port->template store<T>(LinearAddr(linear), v);
    if (same(r, e, linear, sizeof(T), Side::store) && v != static_cast<T>(bytes_at(e, sizeof(T))))
      fail(linear, "stored elsewhere");
  }
  void update(u64 linear) {
    const Expected e = expect(linear, 4, explicit_access(Side::store));
    const u32 before = e.fault.kind == Fault::Kind::none ? static_cast<u32>(bytes_at(e, 4)) : 0;
    const auto r = rig_.port->template update<u32>(LinearAddr(linear), [](u32 v) { return v + 7; });
    if (!same(r, e, linear, 4, Side::store)) return;
    // The two pieces may lie on the same bytes.
    const bool alias = e.here < 4 && (e.first & ~kPageMask) == (e.second & ~kPageMask);
    if (*r != before || (!alias && static_cast<u32>(bytes_at(e, 4)) != before + 7)) fail(linear, "updated other bytes");
  }
  void implicit(u64 linear) {
    const Expected e = expect(linear, 8, {Side::load, false, true});
    const auto r = rig_.port->template load_system<u64>(LinearAddr(linear));
    if (same(r, e, linear, 8, Side::load) && *r != bytes_at(e, 8)) fail(linear, "loaded other bytes");
  }
  void fetch(u64 linear) {
    const Expected e = expect(linear, 1, explicit_access(Side::fetch));
    const auto r = rig_.port->fetch_line(linear);
    if (same(r, e, linear, 1, Side::fetch) && r->host != rig_.memory.host(rig_.machine_of(e.first)))
      fail(linear, "fetched from elsewhere");
  }
  /// A debugger's question has the same answer and leaves no trace.
  void probe(u64 linear) {
    if (random_.below(16)) return;
    const Access access = explicit_access(static_cast<Side>(random_.below(3)));
    const Expected e = expect(linear, 1, access);
    const std::string before = rig_.report();
    const auto r = rig_.model->probe(LinearAddr(linear), access);
    const Fault got = r ? Fault{} : r.fault();
    // Where memory will lie that the machine has not been given yet, nobody can say.
    if (e.fault.kind == Fault::Kind::none && !rig_.is_backed(e.first)) return;
    if (!(got == e.fault) || (r && r->address != rig_.machine_of(e.first)))
      fail(linear, "probed " + text(got) + ", not " + text(e.fault));
    if (rig_.report() != before) fail(linear, "counted a probe");
  }

  Rig& rig_;
  GuestStores<F> stores_;  ///< a hypervisor may have to hear of changes of tables
  ReferenceSpace<F> space_;
  Random random_;
  u64 recent_[6] = {0x40000000, 0x40001000, 0x40002000, 0x40003000, 0x40004000, 0x40005000};
  bool failed_ = false;
};

/// Runs the program twice, with and without the filter, and compares the reports.
template <class F>
void conform(const std::string& model, const char* design_name, const char* design, u64 seed) {
  INFO("model " << model << ", " << design_name << ", " << F::kLevels << " levels of " << F::kEntryBytes
                << "-byte entries, seed " << seed);
  std::string reports[2];
  for (const bool filtered : {true, false}) {
    Rig rig(model, design, filtered, seed % 2 ? PageSize::k4K : PageSize::k2M);
    Program<F> program(rig, seed);
    program.run(4000);
    CHECK(program.completed > 500);
    CHECK(program.faulted > 500);
    reports[filtered] = rig.report();
  }
  CHECK(reports[true] == reports[false]);
}

}  // namespace

TEST_CASE(
    "every model answers as the tables say when the guest flushes as it must, and counts alike with the filter on and "
    "off") {
  u64 seed = 0;
  for (const auto& [model, entry] : Models::instance().entries())
    for (const auto& [name, design] : kDesigns) {
      ++seed;
      conform<Legacy32>(model, name, design, seed);
      conform<Pae>(model, name, design, seed);
      conform<Ia32e<4>>(model, name, design, seed);
      conform<Ia32e<5>>(model, name, design, seed);
    }
}
