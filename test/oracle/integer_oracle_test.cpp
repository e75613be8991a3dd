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
  check({"c0 /0 ib b", "c0 /1 ib b", "c0 /2 ib b", "c0 /3 ib b", "c0 /4 ib b", "c0 /5 ib b", "c0 /6 ib b", "c0 /7 ib b",
         "c1 /0 ib v", "c1 /1 ib v", "c1 /2 ib v", "c1 /3 ib v", "c1 /4 ib v", "c1 /5 ib v", "c1 /6 ib v", "c1 /7 ib v"});
  check({"d0 /0 b", "d0 /1 b", "d0 /2 b", "d0 /3 b", "d0 /4 b", "d0 /5 b", "d0 /6 b", "d0 /7 b", "d1 /0 v", "d1 /1 v",
         "d1 /2 v", "d1 /3 v", "d1 /4 v", "d1 /5 v", "d1 /6 v", "d1 /7 v"});
  check({"d2 /0 b", "d2 /1 b", "d2 /2 b", "d2 /3 b", "d2 /4 b", "d2 /5 b", "d2 /6 b", "d2 /7 b", "d3 /0 v", "d3 /1 v",
         "d3 /2 v", "d3 /3 v", "d3 /4 v", "d3 /5 v", "d3 /6 v", "d3 /7 v"});
}

TEST_CASE("double shifts agree with the host") { check({"0f a4 /r ib v", "0f a5 /r v", "0f ac /r ib v", "0f ad /r v"}); }

TEST_CASE("multiplications agree with the host") {
  check({"f6 /4 b", "f7 /4 v", "f6 /5 b", "f7 /5 v", "0f af /r v", "6b /r ib v", "69 /r iz v"});
}

TEST_CASE("divisions agree with the host, #DE included") {
  check({"f6 /6 b div ~cpazso", "f7 /6 v div ~cpazso", "f6 /7 b div ~cpazso", "f7 /7 v div ~cpazso"});
}

TEST_CASE("sign extensions of the accumulator agree with the host") { check({"98 v", "99 v"}); }

TEST_CASE("bit tests agree with the host, bit strings around memory included") {
  check({"0f a3 /r v bit", "0f ab /r v bit lock", "0f b3 /r v bit lock", "0f bb /r v bit lock", "0f ba /4 ib v",
         "0f ba /5 ib v lock", "0f ba /6 ib v lock", "0f ba /7 ib v lock"});
}

TEST_CASE("bit scans agree with the host and leave the destination alone for 0") { check({"0f bc /r v", "0f bd /r v"}); }

TEST_CASE("byte order, population count and CRC-32C agree with the host") {
  check({"0f c8 +r w", "f3 0f b8 /r v", "f2 0f 38 f0 /r w", "f2 0f 38 f1 /r v"});
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
