// Several virtual machines on one host: each runs to its end, none sees another's bytes, time adds up, and a machine that
// fails takes nobody with it.
#include "emu/host.h"

#include "mmu/two_dimensional.h"
#include "test/conformance/machine_bench.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

struct Bench {
  explicit Bench(const std::string& text, const std::string& machine = "simple.ini") {
    settings.load_file(NESTWALK_SOURCE "/configs/machines/" + machine);
    settings.load_text(text, "test.ini");
    host = std::make_unique<emu::Host>(settings);
    settings.refuse_unknown();
    consoles.resize(host->size());
    for (std::size_t n = 0; n < host->size(); ++n)
      host->machine(n).on_debug_output =
          host->machine(n).on_output = [this, n](u8 byte) { consoles[n] += static_cast<char>(byte); };
    host->load();
  }
  u64 value(std::size_t n, const std::string& name) {
    host->tenant(n).settle();
    return host->machine(n).stats().value_now(name);
  }
  sim::Settings settings;
  std::unique_ptr<emu::Host> host;
  std::vector<std::string> consoles;
};

std::string vm(const std::string& name, const std::string& image, const std::string& append, const std::string& more = "") {
  return "[vm." + name + "]\nmemory = 16M\nkernel = " + image + "\nappend = " + append + "\n" + more;
}

/// A design that knows nothing of several processors.
class OneProcessor final : public mmu::TwoDimensional {
 public:
  explicit OneProcessor(const mmu::ModelParts& parts)
      : TwoDimensional(parts, std::make_unique<mmu::HostStage>(parts.settings.section("nested"), parts.memory, parts.caches,
                                                               parts.seed)) {}
  bool shares_machines() const override { return false; }
};
const mmu::RegisterModel registered("one-processor", "for a test",
                                    [](const mmu::ModelParts& parts) { return std::make_unique<OneProcessor>(parts); });

}  // namespace

TEST_CASE("three machines keep their secrets, under every design with a hypervisor") {
  Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/secret.S");
  for (const std::string model : {"nested", "shadow"})
    for (const char* placement : {"first-fit", "random"}) {
      Bench b("[mmu]\nmodel = " + model + "\n[host]\nslice = 20\nplacement = " + placement + "\n" + vm("a", image, "AAAA") +
              vm("b", image, "BcBd") + vm("c", image, "xyz!"));
      b.host->run();
      INFO(model << ", " << placement);
      for (std::size_t n = 0; n < 3; ++n) {
        CHECK(b.host->tenant(n).ended == cpu::Stop::debug_exit);
        CHECK(b.host->machine(n).exit_value() == 0);
        CHECK(b.consoles[n] == "secret kept");
        CHECK(b.host->tenant(n).world_switches() > 10);
      }
    }
}

TEST_CASE("a core's time is what its machines did on it, and each machine's time is the core's") {
  Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/secret.S");
  Bench b("[mmu]\nmodel = nested\n[host]\nslice = 20\n" + vm("a", image, "AAAA") + vm("b", image, "BBBB"));
  b.host->run();
  const sim::Snapshot s = b.host->stats().snapshot();
  u64 busy = 0;
  for (std::size_t n = 0; n < 2; ++n) {
    CHECK(b.value(n, "cycles") == sum_of(b.host->machine(n).stats(), b.host->machine(n).stats().snapshot(), "cycles."));
    CHECK(b.value(n, "cycles.away") > 0);
    busy += b.value(n, "cycles") - b.value(n, "cycles.away") - b.value(n, "cycles.idle");
    CHECK(b.value(n, "tlb.l1d.accesses") == b.value(n, "tlb.l1d.hits") + b.value(n, "tlb.l1d.misses"));
    CHECK(b.value(n, "tlb.l1d.accesses") > 1'000'000);  // its own, and not the core's
  }
  CHECK(b.host->stats().value(s, "cycles") == busy + b.host->stats().value(s, "cycles.idle"));
  CHECK(b.host->stats().value(s, "instructions") == b.value(0, "instructions") + b.value(1, "instructions"));
}

TEST_CASE("a machine's own time stands still while another has its core, unless it is to see that") {
  Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/secret.S");
  for (const std::string steal : {"hidden", "visible"}) {
    INFO(steal);
    Bench b("[mmu]\nmodel = nested\n[host]\nslice = 20\nsteal = " + steal + "\n" + vm("a", image, "AAAA") +
            vm("b", image, "BBBB"));
    b.host->run();
    for (std::size_t n = 0; n < 2; ++n) {
      const u64 away = b.value(n, "cycles.away");
      CHECK(away > 1'000'000);
      CHECK(b.host->machine(n).clock().now() == b.value(n, "cycles") - (steal == "hidden" ? away : 0));
    }
  }
}

TEST_CASE("weights divide a core") {
  Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/secret.S");
  Bench b("[mmu]\nmodel = nested\n[host]\nslice = 20\nscheduler = weighted\n[run]\n" +
          vm("a", image, "AAAA", "weight = 300\n") + vm("b", image, "BBBB", "weight = 100\n"));
  b.host->tenant(0).limit = 6'000'000;
  b.host->on_limit = [&](emu::Tenant&) { b.host->stop(cpu::Stop::limit); };
  b.host->run();
  const double ratio = static_cast<double>(b.host->tenant(0).used()) / static_cast<double>(b.host->tenant(1).used());
  CHECK(ratio > 2.7);
  CHECK(ratio < 3.3);
}

TEST_CASE("a machine that fails takes nobody with it") {
  Scratch scratch;
  const std::string good = build_guest(scratch, "test/guests/secret.S"),
                    bad = build_guest(scratch, "test/guests/triple_fault.S");
  Bench b("[mmu]\nmodel = shadow\n[host]\nslice = 20\n" + vm("bad", bad, "") + vm("good", good, "GOOD"));
  b.host->run();
  CHECK(b.host->tenant(0).ended == cpu::Stop::triple_fault);
  CHECK(b.host->tenant(1).ended == cpu::Stop::debug_exit);
  CHECK(b.consoles[1] == "secret kept");
}

TEST_CASE("machines on different cores do not wait for each other") {
  Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/secret.S");
  Bench b("[mmu]\nmodel = nested\n[host]\ncores = 2\n" + vm("a", image, "AAAA") + vm("b", image, "BBBB"));
  b.host->run();
  for (std::size_t n = 0; n < 2; ++n) {
    CHECK(b.consoles[n] == "secret kept");
    CHECK(b.value(n, "cycles.away") == 0);
    CHECK(b.host->tenant(n).world_switches() == 0);
  }
}

TEST_CASE("memory for decoded code changes nothing but the speed") {
  Scratch scratch;
  const std::string image = build_guest(scratch, "test/guests/self_modifying.S");
  std::string reports[2];
  for (const bool tiny : {false, true}) {
    MachineBench bench(tiny ? "[run]\ncode_cache = 4K\n" : "", image);
    bench.run_to_end();
    reports[tiny] = bench.report();
  }
  CHECK(reports[0] == reports[1]);
}

TEST_CASE("what cannot be is refused by name") {
  const auto refusal = [](const std::string& text) -> std::string {
    try {
      Bench b(text);
    } catch (const sim::ConfigError& e) {
      return e.what();
    }
    return "";
  };
  const std::string one = vm("a", "/nowhere", "");
  CHECK(refusal(one).find("mmu.model") != std::string::npos);
  const std::string nested = "[mmu]\nmodel = nested\n";
  CHECK(refusal(nested + "[host]\nmemory = 8M\n" + one).find("host.memory = 8 MiB") != std::string::npos);
  CHECK(refusal(nested + "[host]\npage_size = 1G\n" + one).find("host.page_size = 1G") != std::string::npos);
  CHECK(refusal(nested + "[host]\ncolours = 3\n" + one).find("power of two") != std::string::npos);
  CHECK(refusal(nested + vm("a", "/nowhere", "", "core = 1\n")).find("vm.a.core") != std::string::npos);
  CHECK(refusal("[mmu]\nmodel = one-processor\n" + vm("a", "/nowhere", "", "processors = 2\n")).find("vm.a.processors") !=
        std::string::npos);
  CHECK(refusal("[mmu]\nmodel = imaginary\n" + one).find("imaginary") != std::string::npos);
}
