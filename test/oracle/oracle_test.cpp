// The generated oracle, short: every line of the instruction table on the host's processor, under Unicorn, as images under
// Nestwalk, QEMU and Bochs, whole machines likewise, and the two decoders over the same encodings. scripts/oracle makes the
// long runs.
#include <iostream>
#include <set>
#include <sstream>

#include "cpu/decode.h"
#include "test/catch.h"
#include "test/oracle/harness/host_side.h"
#include "test/oracle/harness/image.h"
#include "test/oracle/harness/rungs.h"
#include "test/oracle/harness/system_machine.h"

#include <unistd.h>

using namespace nestwalk;
using namespace nestwalk::oracle;

namespace {

void check_rung(const char* name, u64 cases) {
  RunOptions options;
  options.only = name;
  options.cases = cases;
  const RunResult result = run_rungs(options);
  std::ostringstream report;
  for (const RungResult& r : result.rungs) {
    if (!r.skipped.empty())
      std::cout << "SKIPPED oracle " << r.name << ": " << r.skipped << std::endl;  // scripts/test counts it
    for (const std::string& f : r.findings) report << f;
  }
  for (const std::string& f : result.failures()) report << f << '\n';
  INFO(report.str());
  CHECK(result.failures().empty());
}

/// One case, run and described by its outcome's first differences.
struct HostBench {
  HostBench() : ours(every_feature(host_lacks)), atlas(Mode::k64, ours.cpuid()), host(make_host(missing)) {}
  std::string missing;
  OurSide ours;
  Atlas atlas;
  std::unique_ptr<Side> host;
};

/// A side that gets one thing wrong: SHL leaves a bit too many.
class Faulty final : public Side {
 public:
  explicit Faulty(OurSide& right) : right_(right) {}
  const char* name() const override { return "faulty"; }
  void start(std::span<const Case> cases, std::span<Outcome> outcomes) override {
    right_.run(cases, outcomes);
    for (std::size_t n = 0; n < cases.size(); ++n)
      if (cases[n].op == cpu::Op::SHLD && outcomes[n].vector < 0) outcomes[n].after.gpr[cpu::R15] ^= 1;
  }
  void finish() override {}

 private:
  OurSide& right_;
};

/// A side that gets each case wrong the first time.
class Unsteady final : public Side {
 public:
  explicit Unsteady(OurSide& right) : right_(right) {}
  const char* name() const override { return "unsteady"; }
  void start(std::span<const Case> cases, std::span<Outcome> outcomes) override {
    right_.run(cases, outcomes);
    for (std::size_t n = 0; n < cases.size(); ++n)
      if (seen_.insert(cases[n].number).second) outcomes[n].after.rip ^= 1;
  }
  void finish() override {}

 private:
  OurSide& right_;
  std::set<u64> seen_;
};

/// A machine that is wrong the first time it is asked.
class UnsteadyMachine final : public SystemSide {
 public:
  const char* name() const override { return "unsteady"; }
  std::vector<SystemEnd> run(std::span<const SystemCase* const> cases) override {
    std::vector<SystemEnd> ends;
    for (const SystemCase* start : cases) {
      SystemCase after = *start;
      const Ended ended = machine_->run(after);
      ends.push_back(end_of(*start, after, ended));
      if (!asked_) ends.back().state.gpr[cpu::RBX] ^= 1;
    }
    asked_ = true;
    return ends;
  }

 private:
  bool asked_ = false;
  std::unique_ptr<SystemMachine> machine_ = make_our_system();
};

/// A machine that gets one thing wrong: at IOPL 1 and 3 STI changes CF, too.
class WrongFlags final : public SystemSide {
 public:
  const char* name() const override { return "wrong"; }
  std::vector<SystemEnd> run(std::span<const SystemCase* const> cases) override {
    std::vector<SystemEnd> ends;
    for (const SystemCase* start : cases) {
      SystemCase after = *start;
      const Ended ended = machine_->run(after);
      ends.push_back(end_of(*start, after, ended));
      const u64 flags = ends.back().state.rflags;
      const bool sti = start->memory[kTextAt] == 0xfb && ends.back().place == kTextEnd;
      if (sti && (flags & 0x1200) == 0x1200) ends.back().state.rflags ^= cpu::fl::cf;
    }
    return ends;
  }

 private:
  std::unique_ptr<SystemMachine> machine_ = make_our_system();
};

}  // namespace

TEST_CASE("every instruction of the table agrees with the host's processor") { check_rung("host", 500000); }

TEST_CASE("what exists is decided as on the host") { check_rung("opcodes", 100000); }

TEST_CASE("instructions of 64- and 32-bit mode agree with Unicorn") { check_rung("unicorn", 240000); }

TEST_CASE("an image of random snippets leaves the same state on a whole machine of ours") { check_rung("image", 120000); }

TEST_CASE("images of random snippets agree with QEMU") { check_rung("qemu", 80000); }

TEST_CASE("images of random snippets agree with Bochs") { check_rung("bochs", 80000); }

TEST_CASE("an image of whole machines leaves the same state on a machine of ours") { check_rung("system image", 50000); }

TEST_CASE("images of whole machines agree with QEMU") { check_rung("system qemu", 25000); }

TEST_CASE("images of whole machines agree with Bochs") { check_rung("system bochs", 15000); }

TEST_CASE("a system case is the same whenever its number is drawn, and worlds and families all come") {
  std::set<std::string> families;
  std::set<World> worlds;
  for (u64 n = 0; n < 400; ++n) {
    const DrawnSystem a = draw_system_case(5, n), b = draw_system_case(5, n);
    REQUIRE(a.start.memory == b.start.memory);
    REQUIRE(a.start.state.gpr == b.start.state.gpr);
    REQUIRE(describe(a) == describe(b));
    families.insert(a.family);
    worlds.insert(a.world);
  }
  CHECK(families.size() == 18);
  CHECK(worlds.size() == kWorlds);
}

TEST_CASE("a difference of system cases is told, and one that the policy explains is not") {
  const auto machine = make_our_system();
  DrawnSystem d{start_of(World::paged32, 3, std::vector<u8>{0x0f, 0x0b}), World::paged32, 3, "interrupts", "ud2"};
  SystemCase after = d.start;
  const Ended ended = machine->run(after);
  const SystemEnd ours = end_of(d.start, after, ended);
  REQUIRE(ours.place == cpu::ex::ud);
  CHECK(differences(d.start, ours, ours).empty());

  SystemEnd theirs = ours;
  theirs.state.gpr[cpu::RBX] ^= 4;
  const auto wrong = differences(d.start, ours, theirs);
  REQUIRE(wrong.size() == 1);
  CHECK(wrong[0].name == "rbx");
  CHECK(unexplained(kQemu, {d, ours, theirs}, wrong).size() == 1);

  // RF of the frame, which QEMU does not set.
  theirs = ours;
  const u64 at = ours.state.gpr[cpu::RSP] + 8, shift = 8 * (at & 7);  // behind EIP and CS
  REQUIRE((ours.changed.at(at & ~u64{7}) >> shift & cpu::fl::rf) != 0);
  theirs.changed[at & ~u64{7}] &= ~(u64{cpu::fl::rf} << shift);
  const auto resume = differences(d.start, ours, theirs);
  REQUIRE(resume.size() == 1);
  CHECK(unexplained(kQemu, {d, ours, theirs}, resume).empty());
  CHECK(unexplained(kBochs, {d, ours, theirs}, resume).size() == 1);
}

TEST_CASE("a difference of system cases is made small: what is shown is what matters") {
  WrongFlags wrong;
  SystemCampaign campaign(wrong, kQemu, 1);
  const SystemResult r = campaign.run(0, 1500, [](u64, u64) {});
  REQUIRE(r.findings.size() >= 3);
  CHECK(r.sum().different == r.findings.size());
  for (std::size_t n = 0; n < std::min<std::size_t>(r.findings.size(), SystemResult::kShrunk); ++n) {
    INFO(r.findings[n]);
    std::istringstream lines(r.findings[n]);
    std::string title, listing, before, ours, theirs, differ, rest;
    for (std::string* line : {&title, &listing, &before, &ours, &theirs, &differ}) std::getline(lines, *line);
    CHECK_FALSE(std::getline(lines, rest));
    CHECK(title.find("flags: ") != std::string::npos);
    CHECK(listing == "  0x30000: fb sti ");  // the NOP has gone
    // And all but what permits STI and makes it go wrong.
    const std::string level = title.find("CPL 3") != std::string::npos ? "3" : "1";
    CHECK(before == "  before: rflags=" + level + "002");
    CHECK(ours == "  nestwalk: behind its text; rflags=" + level + "202");
    CHECK(theirs == "  wrong: behind its text; rflags=" + level + "203");
    CHECK(differ == "  nestwalk/wrong: rflags 0x" + level + "202/0x" + level + "203");
  }
}

TEST_CASE("records are read out of whatever an emulator prints, and broken ones are left out") {
  Case c;
  c.before.gpr[cpu::RAX] = 7;
  std::vector<Frame> frames(3, frame_of(c, kComponents));
  std::vector<u64> done;
  ImageReader reader(frames, [&](u64 n) { done.push_back(n); });
  reader.feed("(0) [0xfff] jmpf\n<bochs:1> c\n@1 0:ff");
  reader.feed("ee 1b:e 1d:1234;\n@2 0:zz;@9 0:1;@0 4000:1;@2 0=1;@");
  CHECK(done == std::vector<u64>{1});
  CHECK_FALSE(reader.ended());
  reader.feed("2;\n@end;\n");
  CHECK(done == std::vector<u64>{1, 2});
  CHECK(reader.ended());
  Outcome o;
  read_outcome(frames[1], o);
  CHECK(o.after.gpr[cpu::RAX] == 0xffee);
  CHECK(o.vector == cpu::ex::pf);
  CHECK(o.address == 0x1234);
  read_outcome(frames[2], o);
  CHECK(o.after.gpr[cpu::RAX] == 7);
}

TEST_CASE("Zydis and Capstone agree on length and operands") { check_rung("decoders", 200000); }

TEST_CASE("system snippets agree with a real processor under KVM, where there is one") { check_rung("kvm", 100000); }

TEST_CASE("the processor does what the manual says of segments, gates, tasks, paging and exceptions") {
  const auto machine = make_our_system();
  for (const SystemFact& f : system_facts()) {
    SystemCase c = f.start();
    const Ended ended = machine->run(c);
    INFO(f.name);
    CHECK(f.wrong(c, ended) == "");
  }
}

TEST_CASE("a case is the same whenever its number is drawn") {
  HostBench b;
  Campaign one(b.atlas, b.ours, b.ours, kHost, 5), other(b.atlas, b.ours, b.ours, kHost, 5),
      third(b.atlas, b.ours, b.ours, kHost, 6);
  unsigned different = 0;
  for (u64 n = 0; n < 500; ++n) {
    const Case a = one.draw(n), c = other.draw(n), d = third.draw(n);
    REQUIRE(a.code == c.code);
    REQUIRE(a.before.gpr == c.before.gpr);
    REQUIRE(a.memory == c.memory);
    different += a.memory != d.memory;
  }
  CHECK(different == 500);
}

TEST_CASE("a difference is found, counted for its instruction and made small") {
  HostBench b;
  Faulty faulty(b.ours);
  Campaign campaign(b.atlas, b.ours, faulty, kHost, 1);
  campaign.restrict_to({cpu::Op::SHLD, cpu::Op::SHRD});
  const CampaignResult r = campaign.run(0, 40);
  const Tally& wrong = r.by_op[static_cast<unsigned>(cpu::Op::SHLD)];
  CHECK(wrong.cases == 20);
  CHECK(wrong.different == wrong.completed);
  CHECK(r.by_op[static_cast<unsigned>(cpu::Op::SHRD)].different == 0);
  REQUIRE(r.findings.size() == Campaign::kShownPerOp);
  for (const Finding& f : r.findings) {
    INFO(f.text);
    CHECK(f.text.find("r15") != std::string::npos);
    CHECK(f.text.find("flags=202") != std::string::npos);  // no flag matters
    CHECK(f.text.find("[0x") == std::string::npos);        // and no memory
    CHECK(f.text.find("ymm") == std::string::npos);
  }
}

TEST_CASE("what differs once and not again is counted apart and is no difference") {
  HostBench b;
  Unsteady side(b.ours);
  Campaign campaign(b.atlas, b.ours, side, kHost, 1);
  const CampaignResult r = campaign.run(0, 300);
  CHECK(r.findings.empty());
  CHECK(r.unrepeated > 290);  // some are not compared

  UnsteadyMachine machine;
  SystemCampaign system(machine, kBochs, 1);
  const SystemResult s = system.run(0, 100, [](u64, u64) {});
  CHECK(s.findings.empty());
  CHECK(s.unrepeated > s.sum().cases / 2);
  CHECK(s.unrepeated <= s.sum().cases);
}

TEST_CASE("a case that kills the child or never ends is reported, and the next one runs") {
  ChildSide side(
      "fragile", [] { return true; },
      [](const Case& c, Outcome& o) {
        if (c.number == 1) _exit(9);
        o.vector = static_cast<int>(c.number);
      });
  REQUIRE(side.missing() == "");
  std::vector<Case> cases(3);
  for (u64 n = 0; n < 3; ++n) cases[n].number = n;
  std::vector<Outcome> outcomes(3);
  side.run(cases, outcomes);
  CHECK(outcomes[0].vector == 0);
  CHECK(outcomes[1].vector == Outcome::kDied);
  CHECK(outcomes[2].vector == 2);

  HostBench b;
  if (!b.host) {
    std::cout << "SKIPPED oracle host: " << b.missing << std::endl;
    return;
  }
  Case endless;
  endless.op = cpu::Op::JMP;
  endless.code = {0xeb, 0xfe};  // jmp to itself
  endless.length = 2;
  Case fine;
  fine.code = {0x90};
  fine.length = 1;
  const Case both[] = {endless, fine};
  Outcome ends[2];
  b.host->run(both, ends);
  CHECK(ends[0].vector == Outcome::kHung);
  CHECK(ends[1].vector == Outcome::kNone);
  CHECK(ends[1].after.rip == kLeave);
}

TEST_CASE("the atlas has the forms that the manual's opcode columns show") {
  HostBench b;
  const auto names = [&](cpu::Op op) {
    std::string all;
    for (const u32 f : b.atlas.forms_of(op)) all += b.atlas.forms()[f].name + "; ";
    return all;
  };
  CHECK(names(cpu::Op::SHLD) ==
        "0F A4 /r mem i8; 0F A4 /r reg i8; 0F A5 /r mem; 0F A5 /r reg; 66 0F A4 /r mem i8; 66 0F A4 /r reg i8; "
        "66 0F A5 /r mem; 66 0F A5 /r reg; REX.W 0F A4 /r mem i8; REX.W 0F A4 /r reg i8; REX.W 0F A5 /r mem; "
        "REX.W 0F A5 /r reg; ");
  CHECK(names(cpu::Op::CMPXCHG16B) == "REX.W 0F C7 /1 mem; ");
  CHECK(names(cpu::Op::AAA).empty());
  CHECK(names(cpu::Op::JECXZ) == "67 E3 i8; ");
}
