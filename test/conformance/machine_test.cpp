// Whole machines. Under the instruction clock the retired instructions and the console are the same whatever the MMU model
// and its TLBs; the filter changes no statistic; two machines in one process know nothing of each other.
#include "mmu/model.h"
#include "test/conformance/machine_bench.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

constexpr const char* kInstructionClock = "[clock]\nguest = instructions\n[cpu]\nmodel = skylake\n";

const std::pair<const char*, const char*> kDesigns[] = {
    {"one level, LRU", ""},
    {"one entry", "[tlb.l1i]\nentries = 1\nways = 1\n[tlb.l1d]\nentries = 1\nways = 1\n"},
    {"two levels, FIFO, no PCID tags, page-walk caches",
     "[tlb.l1i]\npolicy = fifo\ntags = none\n[tlb.l1d]\npolicy = fifo\ntags = none\n[tlb.l2]\nlevel = 2\nentries = "
     "128\nways = 8\n"
     "policy = fifo\nindex = xor\n[pwc]\nenabled = true\n"},
    {"large second level, inclusive, tree-PLRU, walks through caches",
     "[tlb.l1i]\npolicy = tree-plru\n[tlb.l1d]\npolicy = tree-plru\n[tlb.l2]\nlevel = 2\nentries = 1024\nways = "
     "4\ninclusion = inclusive\n"
     "[pwc]\nenabled = true\n[cache]\nmodel = walks\n[cache.l1]\nlevel = 1\nserves = data\nbytes = 16K\nways = 4\n"},
    {"pages broken into 4K, exclusive second level, random, everything through caches, costs in order",
     "[core]\nmodel = in-order\n[tlb.l1i]\npages = 4K\nsmash = true\npolicy = random\n[tlb.l1d]\npages = 4K\nsmash = "
     "true\npolicy = random\n"
     "[tlb.l2]\nlevel = 2\nentries = 64\nways = 4\npages = 4K\nsmash = true\ninclusion = exclusive\npolicy = bit-plru\n"
     "[cache]\nmodel = full\n[cache.l1i]\nlevel = 1\nserves = instruction\nbytes = 8K\nways = 4\npolicy = lru\n"
     "[cache.l1d]\nlevel = 1\nserves = data\nbytes = 8K\nways = 4\npolicy = plru4\n[mmu]\nflush_page_cycles = "
     "50\nmmio_cycles = 90\n"},
};

/// Guests that flush as the SDM demands, so that what they do does not depend on what a TLB still holds.
std::vector<std::string> build_guests(const Scratch& scratch) {
  std::vector<std::string> images = {build_guest(scratch, "test/traces/pager.S", "--defsym STRICT=1 --defsym ROUNDS=4000")};
  for (const char* name : {"page_fault", "syscall", "long_mode", "self_modifying", "timer"})
    images.push_back(build_guest(scratch, std::string("test/guests/") + name + ".S"));
  return images;
}

std::string config(const std::string& model, const char* design) {
  return std::string(kInstructionClock) + design + "\n[mmu]\nmodel = " + model + "\n";
}

}  // namespace

TEST_CASE("the instructions that retire and the console are the same under every model and every TLB") {
  const Scratch scratch;
  for (const std::string& image : build_guests(scratch)) {
    INFO(image);
    u64 fingerprint = 0;
    std::string console;
    for (const auto& [model, entry] : mmu::Models::instance().entries())
      for (const auto& [name, design] : kDesigns) {
        INFO(model << ", " << name);
        MachineBench bench(config(model, design), image);
        RetiredStream stream;
        bench->cpu().set_retire_observer(&stream);
        bench.run_to_end();
        CHECK(stream.instructions == bench.value("instructions"));
        if (fingerprint == 0) fingerprint = stream.fingerprint, console = bench.console;
        CHECK(stream.fingerprint == fingerprint);
        CHECK(bench.console == console);
        check_invariants(bench->stats(), bench->stats().snapshot());
      }
  }
}

TEST_CASE("the filter changes no statistic of a machine") {
  const Scratch scratch;
  std::vector<std::string> images = build_guests(scratch);
  images.push_back(build_guest(scratch, "test/traces/pager.S", "--defsym ROUNDS=4000"));  // with stale entries in use
  for (const std::string& image : images)
    for (const auto& [model, entry] : mmu::Models::instance().entries())
      for (const auto& [name, design] : kDesigns) {
        INFO(image << ", " << model << ", " << name);
        MachineBench filtered("[cpu]\nmodel = skylake\n" + std::string(design) + "\n[mmu]\nmodel = " + model + "\n", image);
        MachineBench exact(
            "[cpu]\nmodel = skylake\n" + std::string(design) + "\n[mmu]\nmodel = " + model + "\n[run]\nexact = true\n",
            image);
        filtered.run_to_end();
        exact.run_to_end();
        CHECK(filtered.report() == exact.report());
      }
}

TEST_CASE("a run repeated in the same process reports the same, byte for byte") {
  const Scratch scratch;
  const std::string image = build_guest(scratch, "test/traces/pager.S", "--defsym ROUNDS=2000");
  for (const auto& [name, design] : kDesigns) {
    INFO(name);
    MachineBench first("[cpu]\nmodel = skylake\n" + std::string(design), image);
    first.run_to_end();
    MachineBench second("[cpu]\nmodel = skylake\n" + std::string(design), image);
    second.run_to_end();
    CHECK(first.report() == second.report());
  }
}

TEST_CASE("two machines that run in turns in one process do not disturb each other") {
  const Scratch scratch;
  const std::string images[] = {build_guest(scratch, "test/traces/pager.S", "--defsym STRICT=1 --defsym ROUNDS=2000"),
                                build_guest(scratch, "test/traces/pager.S", "--defsym ROUNDS=1500")};
  for (const auto& [name, design] : kDesigns) {
    INFO(name);
    const std::string configs[] = {"[cpu]\nmodel = skylake\n" + std::string(design),
                                   "[cpu]\nmodel = skylake\n[run]\nseed = 9\n"};
    constexpr u64 kSlice = 997;
    std::string alone[2];
    for (unsigned i = 0; i < 2; ++i) {
      MachineBench bench(configs[i], images[i]);
      for (u64 limit = kSlice; bench->run(limit) == cpu::Stop::limit;) limit += kSlice;
      CHECK(bench->exit_value() == 0);
      alone[i] = bench.report();
    }
    MachineBench a(configs[0], images[0]), b(configs[1], images[1]);
    bool going[2] = {true, true};
    for (u64 limit = kSlice; going[0] || going[1]; limit += kSlice) {
      if (going[0]) going[0] = a->run(limit) == cpu::Stop::limit;
      if (going[1]) going[1] = b->run(limit) == cpu::Stop::limit;
    }
    CHECK(a.report() == alone[0]);
    CHECK(b.report() == alone[1]);
  }
}
