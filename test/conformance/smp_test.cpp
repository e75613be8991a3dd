// Machines with several processors: guests that start the second one, share memory and code with it and interrupt it run to
// their end whatever the quantum; a run repeats byte for byte; the filter changes no statistic; sums are sums; and under
// the instruction clock what each processor retires does not depend on how addresses are translated.
#include "mmu/model.h"
#include "test/conformance/machine_bench.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

const char* const kGuests[] = {"smp_count", "smp_shootdown"};

/// Designs whose TLBs keep a page long enough for smp_shootdown to see it stale.
const std::pair<const char*, const char*> kDesigns[] = {
    {"one level, LRU", ""},
    {"two levels, FIFO, page-walk caches",
     "[tlb.l1i]\npolicy = fifo\n[tlb.l1d]\npolicy = fifo\n[tlb.l2]\nlevel = 2\nentries = 128\nways = 8\npolicy = fifo\n"
     "[pwc]\nenabled = true\n"},
    {"tree-PLRU, everything through caches, costs in order",
     "[core]\nmodel = in-order\n[tlb.l1i]\npolicy = tree-plru\n[tlb.l1d]\npolicy = tree-plru\n[cache]\nmodel = full\n"
     "[cache.l1i]\nlevel = 1\nserves = instruction\nbytes = 8K\nways = 4\npolicy = lru\n"
     "[cache.l1d]\nlevel = 1\nserves = data\nbytes = 8K\nways = 4\npolicy = plru4\n[mmu]\nflush_page_cycles = 50\n"},
};

std::string config(const std::string& more, const char* design = "", u64 quantum = 1000) {
  return "[cpu]\nmodel = skylake\n[machine]\nprocessors = 2\nquantum = " + std::to_string(quantum) + "\n" + design + "\n" +
         more;
}

/// Models under which a machine may have several processors.
std::vector<std::string> models() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : mmu::Models::instance().entries()) names.push_back(name);
  return names;
}

struct Streams {
  RetiredStream of[2];
  explicit Streams(MachineBench& bench) {
    for (unsigned n = 0; n < 2; ++n) bench->processor(n).cpu().set_retire_observer(&of[n]);
  }
};

}  // namespace

TEST_CASE("two processors do what the guest expects, however long their turns are", "[smp]") {
  const Scratch scratch;
  for (const char* guest : kGuests) {
    const std::string image = build_guest(scratch, std::string("test/guests/") + guest + ".S");
    for (const u64 quantum : {1, 7, 100, 1000, 20000}) {
      INFO(guest << ", quantum " << quantum);
      MachineBench bench(config("", "", quantum), image);
      bench.run_to_end();
      CHECK(bench.value("cpu1.instructions") > 1000);
    }
  }
}

TEST_CASE("two processors repeat themselves byte for byte, with the filter on and off", "[smp]") {
  const Scratch scratch;
  for (const char* guest : kGuests) {
    const std::string image = build_guest(scratch, std::string("test/guests/") + guest + ".S");
    for (const std::string& model : models())
      for (const auto& [name, design] : kDesigns) {
        INFO(guest << ", " << model << ", " << name);
        std::string reports[3];
        for (unsigned n = 0; n < 3; ++n) {
          if (n == 1 && name != kDesigns[0].first) continue;
          MachineBench bench(
              config("[mmu]\nmodel = " + model + "\n[run]\nexact = " + (n == 2 ? "true" : "false") + "\n", design), image);
          bench.run_to_end();
          reports[n] = bench.report();
        }
        if (name == kDesigns[0].first) CHECK(reports[0] == reports[1]);
        CHECK(reports[0] == reports[2]);
      }
  }
}

TEST_CASE("under the instruction clock each processor retires the same under every model, TLB and number of cores",
          "[smp]") {
  const Scratch scratch;
  for (const char* guest : kGuests) {
    const std::string image = build_guest(scratch, std::string("test/guests/") + guest + ".S");
    u64 fingerprint[2] = {};
    for (const std::string& model : models())
      for (const auto& [name, design] : kDesigns)
        for (const char* cores : {"", "[host]\ncores = 1\n"}) {
          if (model == "native" && *cores) continue;
          INFO(guest << ", " << model << ", " << name << ", " << cores);
          MachineBench bench(config("[clock]\nguest = instructions\n[mmu]\nmodel = " + model + "\n" + cores, design),
                             image);
          const Streams streams(bench);
          bench.run_to_end();
          for (unsigned n = 0; n < 2; ++n) {
            if (!fingerprint[n]) fingerprint[n] = streams.of[n].fingerprint;
            CHECK(streams.of[n].fingerprint == fingerprint[n]);
            CHECK(streams.of[n].instructions == bench.value("cpu" + std::to_string(n) + ".instructions"));
          }
        }
  }
}

TEST_CASE("more processors than cores repeat themselves, under every design with a hypervisor", "[smp]") {
  const Scratch scratch;
  for (const char* guest : kGuests) {
    const std::string image = build_guest(scratch, std::string("test/guests/") + guest + ".S");
    for (const std::string model : {"nested", "shadow", "agile"}) {
      INFO(guest << ", " << model);
      std::string reports[2];
      for (std::string& report : reports) {
        // The third and fourth processor wait for a SIPI that never comes.
        MachineBench bench(
            "[cpu]\nmodel = skylake\n[machine]\nprocessors = 4\n[host]\ncores = 1\nslice = 50\n[mmu]\nmodel = " + model +
                "\n",
            image);
        bench.run_to_end(50'000'000);
        report = bench.report();
        CHECK(bench.value("cycles.world") > 0);
        CHECK(bench.value("cpu3.instructions") == 0);
      }
      CHECK(reports[0] == reports[1]);
    }
  }
}

TEST_CASE("what a hypervisor takes from shadow tables is flushed on the machine's other core, at a cost", "[smp]") {
  const Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/smp_shootdown.S");
  u64 cycles[2];
  for (const u64 cost : {0, 50'000}) {
    MachineBench bench(config("[clock]\nguest = instructions\n[mmu]\nmodel = shadow\n[vmm.cost]\nremote_flush = " +
                              std::to_string(cost) + "\n"),
                       image);
    bench.run_to_end();
    const u64 flushes = bench.value("vmm.remote_flushes");
    CHECK(flushes > 0);
    cycles[cost != 0] = bench.value("cycles.vmm");
    if (cost) CHECK(cycles[1] - cycles[0] == flushes * cost);
  }
  MachineBench alone(config("[mmu]\nmodel = shadow\n[host]\ncores = 1\n"), image);
  alone.run_to_end();
  CHECK(alone.value("vmm.remote_flushes") == 0);
}

TEST_CASE("a machine's figures are the sums of its processors'", "[smp]") {
  const Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/smp_count.S");
  for (const auto& [name, design] : kDesigns) {
    INFO(name);
    MachineBench bench(config("", design), image);
    bench.run_to_end();
    const sim::Snapshot s = bench->stats().snapshot();
    check_invariants(bench->stats(), s);
    for (const char* figure : {"instructions", "cycles", "cycles.instruction", "cycles.walk_read", "cycles.idle",
                               "walk.count", "walk.reads", "tlb.l1d.accesses", "tlb.l1d.misses", "tlb.l1i.misses"}) {
      INFO(figure);
      const u64 first = bench.value(std::string("cpu0.") + figure), second = bench.value(std::string("cpu1.") + figure);
      CHECK(bench.value(figure) == first + second);
    }
    CHECK(bench.value("cpu1.walk.count") > 0);
    for (unsigned n = 0; n < 2; ++n)
      CHECK(bench.value("cpu" + std::to_string(n) + ".cycles") ==
            sum_of(bench->stats(), s, "cpu" + std::to_string(n) + ".cycles."));
  }
}

TEST_CASE("a machine of one processor knows no cpu0", "[smp]") {
  const Scratch scratch;
  MachineBench bench("[cpu]\nmodel = skylake\n", build_guest(scratch, "test/guests/page_fault.S"));
  CHECK_FALSE(bench->stats().has("cpu0.instructions"));
}

TEST_CASE("the limit of instructions is one of all processors together", "[smp]") {
  const Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/smp_count.S");
  for (const u64 limit : {1, 99'999, 200'001}) {
    MachineBench bench(config(""), image);
    CHECK(bench.take_turns(limit) == cpu::Stop::limit);
    CHECK(bench->instructions() == limit);
  }
}

TEST_CASE("what no machine with several processors can be is refused by name", "[smp]") {
  const auto refusal = [](const std::string& text) -> std::string {
    try {
      sim::Settings settings;
      settings.load_text(text, "test.ini");
      const emu::Host host(settings);
    } catch (const sim::ConfigError& e) {
      return e.what();
    }
    return "";
  };
  CHECK(refusal("[machine]\nprocessors = 65\n").find("machine.processors") != std::string::npos);
  CHECK(refusal("[machine]\nprocessors = 2\nquantum = 0\n").find("machine.quantum") != std::string::npos);
  CHECK(refusal("[machine]\nprocessors = 2\n[host]\ncores = 3\n").find("host.cores = 3") != std::string::npos);
}
