// The trace of a run, replayed through the naive model in reference.h, gives the reported counts exactly.
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "test/conformance/machine_bench.h"
#include "test/traces/reference.h"
#include "traces/recorder.h"
#include "traces/stream.h"

using namespace nestwalk;
using namespace nestwalk::test;
using reference::Bank;
using reference::Replay;
using reference::Tlb;

namespace {

const std::vector<unsigned> kEverySize = {12, 21, 22, 30};
/// Where the replay of Debian's kernel begins and how far it goes, unless the environment says otherwise. The kernel's
/// busiest walking is between 200 and 250 million instructions, when it sets itself up.
constexpr const char *kStart = "NESTWALK_REPLAY_START", *kCount = "NESTWALK_REPLAY_INSTRUCTIONS";
#ifdef __SANITIZE_ADDRESS__
constexpr u64 kKernelStart = 0, kKernelInstructions = 2'000'000;
#else
constexpr u64 kKernelStart = 200'000'000, kKernelInstructions = 10'000'000;
#endif

u64 asked_for(const char* variable, u64 otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::stoull(text) : otherwise;
}

constexpr const char* kGuestClock = "[clock]\nguest = instructions\n";

/// A machine as the configuration says it and as the test understands it.
struct Design {
  const char* name;
  std::string config;
  std::vector<Tlb> tlbs;
};

/// What `simple.ini` has: one level, LRU.
const Design kSimple{
    "simple",
    "",
    {{"l1i", 1, {true, false, false}, {{kEverySize, 8, 4}}}, {"l1d", 1, {false, true, true}, {{kEverySize, 8, 4}}}}};

const Design kDesigns[] = {
    kSimple,
    {"two levels, FIFO, page-walk caches, walks through a cache",
     "[tlb.l1i]\nentries = 16\nways = 2\npolicy = fifo\n[tlb.l1d]\nentries = 16\nways = 4\npolicy = fifo\n"
     "[tlb.l2]\nlevel = 2\nserves = all\nentries = 128\nways = 8\npages = 4K, 2M, 4M, 1G\npolicy = fifo\nindex = "
     "xor\nlatency = 7\n"
     "[pwc]\nenabled = true\n[mmu]\nflush_page_cycles = 100\nflush_all_cycles = 200\n"
     "[cache]\nmodel = walks\nmemory_latency = 200\n[cache.l1d]\nlevel = 1\nserves = data\nbytes = 8K\nways = 2\npolicy = "
     "lru\n"
     "latency = 4\n",
     {{"l1i", 1, {true, false, false}, {{kEverySize, 8, 2, false}}},
      {"l1d", 1, {false, true, true}, {{kEverySize, 4, 4, false}}},
      {"l2", 2, {true, true, true}, {{kEverySize, 16, 8, false, true}}}}},
    {"fully associative, LRU, large pages apart",
     "[tlb.l1i]\nentries = 5\nways = 0\n[tlb.l1d]\nentries = 24\nways = 0\npages = 4K\n"
     "[tlb.l1d.large]\npages = 2M, 4M, 1G\nentries = 3\nways = 0\npolicy = lru\n"
     "[tlb.l2]\nlevel = 2\nserves = data\nentries = 96\nways = 0\npages = 4K, 2M\npolicy = lru\n",
     {{"l1i", 1, {true, false, false}, {{kEverySize, 1, 5}}},
      {"l1d", 1, {false, true, true}, {{{12}, 1, 24}, {{21, 22, 30}, 1, 3}}},
      {"l2", 2, {false, true, true}, {{{12, 21}, 1, 96}}}}},
    {"a first level without PCID tags",
     "[tlb.l1i]\ntags = none\n[tlb.l1d]\ntags = none\n"
     "[tlb.l2]\nlevel = 2\nserves = all\nentries = 256\nways = 4\npages = 4K, 2M, 4M, 1G\npolicy = lru\n",
     {{"l1i", 1, {true, false, false}, {{kEverySize, 8, 4}}, false},
      {"l1d", 1, {false, true, true}, {{kEverySize, 8, 4}}, false},
      {"l2", 2, {true, true, true}, {{kEverySize, 64, 4}}}}},
    {"loads and stores apart, three levels, behind a level that takes no fetches",
     "[tlb.l1d]\nserves = load\nentries = 8\nways = 2\n"
     "[tlb.l1s]\nlevel = 1\nserves = store\nentries = 4\nways = 0\npages = 4K, 2M, 4M, 1G\npolicy = fifo\n"
     "[tlb.l2]\nlevel = 2\nserves = data\nentries = 64\nways = 4\npages = 4K\npolicy = lru\n"
     "[tlb.l3]\nlevel = 3\nserves = all\nentries = 512\nways = 2\npages = 4K, 2M, 4M, 1G\npolicy = lru\nindex = xor\n"
     "[cache]\nmodel = full\n[cache.l1i]\nlevel = 1\nserves = instruction\nbytes = 16K\nways = 4\n"
     "[cache.l1d]\nlevel = 1\nserves = data\nbytes = 16K\nways = 4\n",
     {{"l1i", 1, {true, false, false}, {{kEverySize, 8, 4}}},
      {"l1d", 1, {false, true, false}, {{kEverySize, 4, 2}}},
      {"l1s", 1, {false, false, true}, {{kEverySize, 1, 4, false}}},
      {"l2", 2, {false, true, true}, {{{12}, 16, 4}}},
      {"l3", 3, {true, true, true}, {{kEverySize, 256, 2, true, true}}}}},
};

/// Records a machine's accesses or walks in a file of its own.
class Recording {
 public:
  Recording(const Scratch& scratch, emu::Machine& machine, traces::Kind kind, const std::string& config = "")
      : machine_(machine),
        path_((scratch.path / (std::string(traces::name_of(kind)) + ".nwtrace")).string()),
        writer_(path_, kind, config),
        recorder_(writer_, kind) {
    recorder_.paging(machine.port().paging());
    machine.port().set_observer(&recorder_);
  }
  std::string finish() {
    machine_.port().set_observer(nullptr);
    writer_.finish();
    return path_;
  }

 private:
  emu::Machine& machine_;
  std::string path_;
  traces::Writer writer_;
  traces::AccessRecorder recorder_;
};

Replay replay(const std::string& path, const std::vector<Tlb>& tlbs) {
  Replay replay(tlbs);
  traces::Reader reader(path);
  for (traces::Record r; reader.next(r);)
    replay.feed({r.type, r.side, r.flags, r.size, r.level, r.rights, r.n, r.a, r.b, r.c, r.d});
  return replay;
}

/// Every count of the replay against the statistic of that name, and every statistic of a `room` that is not nothing
/// against the replay. `unseen` are parts of names that this kind of trace does not tell.
void compare(const std::map<std::string, u64>& counts, const sim::Stats& stats, const sim::Snapshot& s,
             const std::vector<std::string>& rooms, const std::vector<std::string>& unseen) {
  const auto holds = [](const std::vector<std::string>& parts, const std::string& name) {
    return std::any_of(parts.begin(), parts.end(), [&](const auto& p) { return name.find(p) != std::string::npos; });
  };
  for (std::size_t i = 0; i < stats.counters().size(); ++i) {
    const std::string& name = stats.counters()[i].name;
    if (!holds(rooms, name) || holds(unseen, name)) continue;
    INFO(name);
    const auto count = counts.find(name);
    CHECK(s.counters[i] == (count == counts.end() ? 0 : count->second));
  }
}

void replay_accesses(const Design& design, emu::Machine& machine, const std::string& trace, const sim::Snapshot& s) {
  const Replay r = replay(trace, design.tlbs);
  INFO(design.name << ", " << r.records << " records");
  CHECK(r.disagreements == std::vector<u64>{});
  compare(r.counts(), machine.stats(), s, {"tlb.", "accesses.", "walk."},
          {"cycles.", "cache.", "reads", "served_by", "cycles_by"});
  check_invariants(machine.stats(), s);
}

}  // namespace

TEST_CASE(
    "the accesses of a run, replayed through lists, give its look-ups, hits, misses, fills, evictions and walks exactly") {
  const Scratch scratch;
  const std::string pager = build_guest(scratch, "test/traces/pager.S", "--defsym ROUNDS=8000");
  for (const Design& design : kDesigns) {
    MachineBench bench(std::string(kGuestClock) + "[cpu]\nmodel = skylake\n" + design.config, pager);
    Recording recording(scratch, *bench, traces::Kind::accesses);
    bench.run_to_end();
    const sim::Snapshot s = bench->stats().snapshot();
    replay_accesses(design, *bench, recording.finish(), s);

    // The guest did what it is there for.
    for (const char* name : {"tlb.rewalks.permission", "tlb.rewalks.dirty", "tlb.fault_flushes", "tlb.l1d.flushes",
                             "tlb.l1d.evictions", "walk.page_size.1G", "walk.page_size.2M"}) {
      INFO(design.name << ": " << name);
      CHECK(bench.value(name) > 5);
    }
  }
}

TEST_CASE("small guests replay exactly: 32-bit paging, rings and system calls, interrupts, code that changes itself") {
  const Scratch scratch;
  for (const char* guest : {"page_fault", "syscall", "global_page", "stale_tlb", "self_modifying", "timer", "long_mode"}) {
    INFO(guest);
    MachineBench bench("", build_guest(scratch, std::string("test/guests/") + guest + ".S"));
    Recording recording(scratch, *bench, traces::Kind::accesses);
    bench.run_to_end();
    const sim::Snapshot s = bench->stats().snapshot();
    replay_accesses(kSimple, *bench, recording.finish(), s);
  }
}

TEST_CASE("the walks of a run add up to its reads by position and server, its cycles and its latencies") {
  const Scratch scratch;
  const std::string pager = build_guest(scratch, "test/traces/pager.S", "--defsym ROUNDS=4000");
  for (const Design& design : kDesigns) {
    INFO(design.name);
    MachineBench bench(std::string(kGuestClock) + "[cpu]\nmodel = skylake\n" + design.config, pager);
    Recording recording(scratch, *bench, traces::Kind::walks);
    bench.run_to_end();
    const sim::Snapshot s = bench->stats().snapshot();
    // Without TLBs every access walks: of those in this trace that is so.
    const Replay r = replay(recording.finish(), {});
    CHECK(r.disagreements == std::vector<u64>{});
    auto counts = r.counts();
    compare(counts, bench->stats(), s, {"walk.", "cycles.walk_read"}, {"cache."});
    CHECK(counts.at("walk.reads") > 1000);
    CHECK(s.histograms.at(0).count() == counts["walk.count"]);
    CHECK(s.histograms.at(0).sum() == counts["walk.cycles"]);
    check_invariants(bench->stats(), s);
  }
}

TEST_CASE("recording changes nothing: a traced run reports what an untraced one does, with the filter on") {
  const Scratch scratch;
  const std::string pager = build_guest(scratch, "test/traces/pager.S", "--defsym ROUNDS=4000");
  for (const Design& design : kDesigns) {
    INFO(design.name);
    const std::string config = "[cpu]\nmodel = skylake\n" + design.config;
    MachineBench traced(config, pager), plain(config, pager);
    Recording recording(scratch, *traced, traces::Kind::accesses);
    traced.run_to_end();
    recording.finish();
    plain.run_to_end();
    CHECK(traced.report() == plain.report());
  }
}

TEST_CASE("Debian's kernel replays exactly") {
  const std::string kernel = NESTWALK_SOURCE "/.cache/guests/cloud/vmlinuz";
  if (!std::filesystem::exists(kernel)) {
    std::cout << "SKIPPED: the replay of Debian's kernel (no " << kernel << "; scripts/fetch-guest cloud)\n";
    return;
  }
  const Scratch scratch;
  const Design design{"two levels, LRU",
                      "[tlb.l2]\nlevel = 2\nserves = all\nentries = 256\nways = 4\npages = 4K, 2M, 4M, 1G\npolicy = lru\n",
                      {{"l1i", 1, {true, false, false}, {{kEverySize, 8, 4}}},
                       {"l1d", 1, {false, true, true}, {{kEverySize, 8, 4}}},
                       {"l2", 2, {true, true, true}, {{kEverySize, 64, 4}}}}};
  const std::string initrd = NESTWALK_SOURCE "/.cache/guests/initramfs.cpio";
  MachineBench bench("[cpu]\nmodel = skylake\n[guest]\nappend = console=ttyS0 panic=-1\n" +
                         (std::filesystem::exists(initrd) ? "initrd = " + initrd + "\n" : "") + design.config,
                     kernel);
  const u64 start = asked_for(kStart, kKernelStart), count = asked_for(kCount, kKernelInstructions);
  if (start) REQUIRE(bench->run(start) == cpu::Stop::limit);
  bench->port().invalidate({mmu::Invalidation::Kind::all, LinearAddr(0), 0});  // a trace begins with empty TLBs
  const sim::Snapshot before = bench->stats().snapshot();
  Recording recording(scratch, *bench, traces::Kind::accesses);
  REQUIRE(bench->run(start + count) == cpu::Stop::limit);
  const sim::Snapshot s = bench->stats().snapshot().minus(before);
  replay_accesses(design, *bench, recording.finish(), s);
  std::cout << "replayed " << count << " instructions of Debian's kernel from " << start << ": "
            << bench->stats().value(s, "walk.count") << " walks\n";
}
