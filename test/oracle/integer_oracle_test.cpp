// Integer instructions on the emulated processor and on the host's: registers, flags, memory and exceptions must agree.
// Flags that the SDM leaves undefined are compared too, except where the form's ~ mark says that cores differ.
#include "test/oracle/compare.h"
#include "test/oracle/forms.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

constexpr unsigned kRounds = 600;

void check(std::initializer_list<const char*> forms) {
  SnippetMachine machine;
  Random random(20);
  for (const char* text : forms) {
    const Form form(text);
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < kRounds; ++n) cases.push_back(draw_case(form, encode(form, random), random));
    compare_with_host(machine, text, cases, [&](const OracleCase&) { return kVisibleFlags & ~form.ignored_flags; });
  }
}

}  // namespace

TEST_CASE("shifts and rotates agree with the host in every form, count and flag") {
  check({"c0 /0 ib b ~shift-of ~shift-cf", "c0 /1 ib b ~shift-of ~shift-cf", "c0 /2 ib b ~shift-of ~shift-cf",
         "c0 /3 ib b ~shift-of ~shift-cf", "c0 /4 ib b ~shift-of ~shift-cf", "c0 /5 ib b ~shift-of ~shift-cf",
         "c0 /6 ib b ~shift-of ~shift-cf", "c0 /7 ib b ~shift-of ~shift-cf", "c1 /0 ib v ~shift-of ~shift-cf",
         "c1 /1 ib v ~shift-of ~shift-cf", "c1 /2 ib v ~shift-of ~shift-cf", "c1 /3 ib v ~shift-of ~shift-cf",
         "c1 /4 ib v ~shift-of ~shift-cf", "c1 /5 ib v ~shift-of ~shift-cf", "c1 /6 ib v ~shift-of ~shift-cf",
         "c1 /7 ib v ~shift-of ~shift-cf"});
  check({"d0 /0 b ~shift-of ~shift-cf", "d0 /1 b ~shift-of ~shift-cf", "d0 /2 b ~shift-of ~shift-cf",
         "d0 /3 b ~shift-of ~shift-cf", "d0 /4 b ~shift-of ~shift-cf", "d0 /5 b ~shift-of ~shift-cf",
         "d0 /6 b ~shift-of ~shift-cf", "d0 /7 b ~shift-of ~shift-cf", "d1 /0 v ~shift-of ~shift-cf",
         "d1 /1 v ~shift-of ~shift-cf", "d1 /2 v ~shift-of ~shift-cf", "d1 /3 v ~shift-of ~shift-cf",
         "d1 /4 v ~shift-of ~shift-cf", "d1 /5 v ~shift-of ~shift-cf", "d1 /6 v ~shift-of ~shift-cf",
         "d1 /7 v ~shift-of ~shift-cf"});
  check({"d2 /0 b ~shift-of ~shift-cf", "d2 /1 b ~shift-of ~shift-cf", "d2 /2 b ~shift-of ~shift-cf",
         "d2 /3 b ~shift-of ~shift-cf", "d2 /4 b ~shift-of ~shift-cf", "d2 /5 b ~shift-of ~shift-cf",
         "d2 /6 b ~shift-of ~shift-cf", "d2 /7 b ~shift-of ~shift-cf", "d3 /0 v ~shift-of ~shift-cf",
         "d3 /1 v ~shift-of ~shift-cf", "d3 /2 v ~shift-of ~shift-cf", "d3 /3 v ~shift-of ~shift-cf",
         "d3 /4 v ~shift-of ~shift-cf", "d3 /5 v ~shift-of ~shift-cf", "d3 /6 v ~shift-of ~shift-cf",
         "d3 /7 v ~shift-of ~shift-cf"});
}

TEST_CASE("double shifts agree with the host") {
  check({"0f a4 /r ib v ~shift-of ~shld-16", "0f a5 /r v ~shift-of ~shld-16", "0f ac /r ib v ~shift-of ~shld-16",
         "0f ad /r v ~shift-of ~shld-16"});
}

TEST_CASE("multiplications agree with the host") {
  check({"f6 /4 b ~mul-flags", "f7 /4 v ~mul-flags", "f6 /5 b ~mul-flags", "f7 /5 v ~mul-flags", "0f af /r v ~mul-flags",
         "6b /r ib v ~mul-flags", "69 /r iz v ~mul-flags"});
}

TEST_CASE("divisions agree with the host, #DE included") {
  check({"f6 /6 b div ~div-flags", "f7 /6 v div ~div-flags", "f6 /7 b div ~div-flags", "f7 /7 v div ~div-flags"});
}

TEST_CASE("sign extensions of the accumulator agree with the host") { check({"98 v", "99 v"}); }

TEST_CASE("bit tests agree with the host, bit strings around memory included") {
  check({"0f a3 /r v bit ~bt-flags", "0f ab /r v bit lock ~bt-flags", "0f b3 /r v bit lock ~bt-flags",
         "0f bb /r v bit lock ~bt-flags", "0f ba /4 ib v ~bt-flags", "0f ba /5 ib v lock ~bt-flags",
         "0f ba /6 ib v lock ~bt-flags", "0f ba /7 ib v lock ~bt-flags"});
}

TEST_CASE("bit scans agree with the host and leave the destination alone for 0") {
  check({"0f bc /r v ~scan-flags", "0f bd /r v ~scan-flags"});
}

TEST_CASE("byte order, population count and CRC-32C agree with the host") {
  check({"0f c8 +r w", "f3 0f b8 /r v", "f2 0f 38 f0 /r w", "f2 0f 38 f1 /r v"});
}

TEST_CASE("MOVBE agrees with the host") {
  if (!HostOracle::host_has("movbe")) {
    WARN("skipped: the host has no MOVBE");
    return;
  }
  check({"0f 38 f0 /r m8 v", "0f 38 f1 /r m8 v"});
}

TEST_CASE("counts of zeros agree with the host, their undefined flags included") {
  if (!HostOracle::host_has("bmi1") || !HostOracle::host_has("abm")) {
    WARN("skipped: the host has no LZCNT or TZCNT");
    return;
  }
  check({"f3 0f bc /r v ~count-flags", "f3 0f bd /r v ~count-flags"});
}

TEST_CASE("BMI1 and BMI2 agree with the host, their undefined flags included") {
  if (!HostOracle::host_has("bmi1") || !HostOracle::host_has("bmi2")) {
    WARN("skipped: the host has no BMI");
    return;
  }
  check({"vex.np.38 f2 /r w ~bmi-flags", "vex.np.38 f3 /1 w ~bmi-flags", "vex.np.38 f3 /2 w ~bmi-flags",
         "vex.np.38 f3 /3 w ~bmi-flags", "vex.np.38 f7 /r w ~bextr-flags"});
  check({"vex.np.38 f5 /r w ~bmi-flags", "vex.f2.38 f5 /r w", "vex.f3.38 f5 /r w", "vex.f2.38 f6 /r w",
         "vex.f2.3a f0 /r ib w", "vex.66.38 f7 /r w", "vex.f3.38 f7 /r w", "vex.f2.38 f7 /r w"});
}

TEST_CASE("the two carry chains of ADX agree with the host") {
  if (!HostOracle::host_has("adx")) {
    WARN("skipped: the host has no ADX");
    return;
  }
  check({"66 0f 38 f6 /r w", "f3 0f 38 f6 /r w"});
}

TEST_CASE("a line's flush and write-back agree with the host") {
  check({"0f ae /7 m1"});
  if (HostOracle::host_has("clflushopt")) check({"66 0f ae /7 m1"});
  if (HostOracle::host_has("clwb")) check({"66 0f ae /6 m1"});
}

TEST_CASE("exchanges agree with the host") {
  check({"86 /r b lock", "87 /r v lock", "90 +r v", "0f c0 /r b lock", "0f c1 /r v lock", "0f b0 /r b lock",
         "0f b1 /r v lock"});
}

TEST_CASE("compare-exchange of pairs agrees with the host, on a match too") {
  SnippetMachine machine;
  Random random(21);
  for (const char* text : {"0f c7 /1 m8 lock", "0f c7 /1 m16 q lock"}) {
    const Form form(text);
    const unsigned half = form.memory_bytes / 2;
    std::vector<OracleCase> cases;
    while (cases.size() < kRounds) {
      const Encoding e = encode(form, random);
      if (e.base == 0 || e.base == 1 || e.base == 2 || e.base == 3) continue;
      OracleCase c = draw_case(form, e, random);
      const u64 offset = c.state.gpr[static_cast<unsigned>(e.base)] + static_cast<u64>(e.displacement) - kOracleWindow;
      if (random.below(2) && offset + 16 <= kWindow) {
        std::memcpy(&c.state.gpr[0], &c.memory[offset], half);
        std::memcpy(&c.state.gpr[2], &c.memory[offset + half], half);
      }
      cases.push_back(c);
    }
    compare_with_host(machine, text, cases, [](const OracleCase&) { return kVisibleFlags; });
  }
}

TEST_CASE("string instructions agree with the host: every width, repeat prefix, direction, overlap and fault") {
  for (const std::string op : {"a4", "a5", "a6", "a7", "aa", "ab", "ac", "ad", "ae", "af"})
    for (const std::string prefix : {"", "f3 ", "f2 ", "67 ", "67 f3 "}) {
      const std::string width = (std::stoi(op, nullptr, 16) & 1) ? " v" : " b";
      // Hardware has no defined meaning for F2 before instructions that do not compare; it repeats.
      check({(prefix + op + " str" + width).c_str()});
    }
}

TEST_CASE("flag and table instructions agree with the host") {
  check({"f5", "f8", "f9", "fc", "fd", "9e", "9f"});
  SnippetMachine machine;
  Random random(22);
  const Form form("d7");
  std::vector<OracleCase> cases;
  for (unsigned n = 0; n < kRounds; ++n) {
    OracleCase c = draw_case(form, encode(form, random), random);
    c.state.gpr[3] = kOracleWindow + random.below(kWindow - 256);
    cases.push_back(c);
  }
  compare_with_host(machine, "xlat", cases, [](const OracleCase&) { return kVisibleFlags; });
}

TEST_CASE("loops and jumps on RCX agree with the host") {
  SnippetMachine machine;
  Random random(23);
  for (const char* code : {"e0 03 48 ff c0", "e1 03 48 ff c0", "e2 03 48 ff c0", "e3 03 48 ff c0", "67 e0 03 48 ff c0",
                           "67 e1 03 48 ff c0", "67 e2 03 48 ff c0", "67 e3 03 48 ff c0", "48 ff c0 e2 fb"}) {
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < 200; ++n) {
      OracleCase c = draw_case(Form("90"), Encoding{bytes_of_hex(code), 4, -1, 0, 0}, random);
      c.state.gpr[1] = (random.below(2) ? random.next() << 32 : 0) | random.below(3);
      if (code[0] == '4') c.state.gpr[1] = 1 + random.below(50);
      cases.push_back(c);
    }
    compare_with_host(machine, code, cases, [](const OracleCase&) { return kVisibleFlags; });
  }
}

TEST_CASE("ENTER, LEAVE, PUSH and POP build the host's frames") {
  SnippetMachine machine;
  Random random(24);
  for (const char* code :
       {"c8 10 00 00", "c8 20 00 01", "c8 00 00 03", "c8 08 00 1f", "66 c8 10 00 02", "c9", "50 5b", "66 50 66 5b"}) {
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < 200; ++n) {
      OracleCase c = draw_case(Form("90"), Encoding{bytes_of_hex(code), 4, -1, 0, 0}, random);
      c.state.gpr[4] = kOracleWindow + 400 + random.below(200);
      c.state.gpr[5] = kOracleWindow + 700 + random.below(200);
      cases.push_back(c);
    }
    compare_with_host(machine, code, cases, [](const OracleCase&) { return kVisibleFlags; });
  }
}

TEST_CASE("non-temporal stores, hints and fences agree with the host") {
  check({"0f c3 /r m8 w", "0f 18 /0 m1", "0f 18 /1 m1", "0f 18 /2 m1", "0f 18 /3 m1", "0f 0d /1 m1", "0f 1f /0 v",
         "0f ae e8", "0f ae f0", "0f ae f8", "f3 90", "0f ae /7 m1", "f3 0f 1e fa", "f3 0f 1e fb"});
}
