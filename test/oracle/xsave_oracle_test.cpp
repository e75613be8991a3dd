// XSAVE, XSAVEOPT, XSAVEC and XRSTOR on the emulated processor and on the host's: images in memory, restored registers, and
// refusals of bad headers. Components x87, SSE and AVX in the standard and the compacted format. Reference: the silicon.
// (XSAVES and XRSTORS are the kernel's; test/cpu/xsave_test.cpp has them.)
#include "test/oracle/compare.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

constexpr unsigned kImage = 128;  ///< of the image in the window, which begins 512 bytes before a page's end
constexpr unsigned kRounds = 400;

template <class T>
void put(OracleCase& c, unsigned at, T v) {
  std::memcpy(&c.memory[kImage + at], &v, sizeof v);
}

/// Registers of which every component differs from its initial configuration; RDI points at the image.
OracleCase drawn(Random& random) {
  OracleCase c;
  c.state.fx = clean_fx();
  for (u64& r : c.state.gpr) r = random.next();
  c.state.fx[1] = static_cast<u8>(0x3 | (random.below(4) << 2));  // rounding control
  c.state.fx[3] = static_cast<u8>(random.below(8) << 3);          // TOP
  c.state.fx[4] = static_cast<u8>(random.next() | 1);
  for (unsigned n = 0; n < 8; ++n) {
    for (unsigned k = 0; k < 10; ++k) c.state.fx[32 + 16 * n + k] = static_cast<u8>(random.next());
    c.state.fx[32 + 16 * n + 7] |= 0x80;
  }
  c.state.fx[24] = static_cast<u8>(0x80 | random.below(64));
  for (unsigned n = 160; n < 416; ++n) c.state.fx[n] = static_cast<u8>(random.next());
  for (auto& high : c.state.high) high = {random.next() | 1, random.next()};
  for (u8& b : c.memory) b = static_cast<u8>(random.next());
  c.state.gpr[7] = kOracleWindow + kImage;
  c.state.gpr[0] = random.below(8);
  c.state.gpr[2] = 0;
  return c;
}

/// Everything but the instruction and operand pointers, which follow the code that loaded the state.
const std::array<u8, 512> kCompared = [] {
  std::array<u8, 512> mask{};
  const auto span = [&](unsigned at, unsigned bytes) { std::fill_n(mask.begin() + at, bytes, u8{0xff}); };
  span(0, 5);
  span(24, 4);
  for (unsigned n = 0; n < 8; ++n) span(32 + 16 * n, 10);
  span(160, 256);
  return mask;
}();

bool host_has(std::initializer_list<const char*> flags) {
  for (const char* flag : flags)
    if (!HostOracle::host_has(flag)) {
      WARN("skipped: the host has no " << flag);
      return false;
    }
  return true;
}

void compare(const char* name, const std::vector<OracleCase>& cases, const std::array<u8, 512>* mask = &kCompared) {
  SnippetMachine machine;
  compare_with_host(
      machine, name, cases, [](const OracleCase&) { return kVisibleFlags; }, mask);
}

/// An image in the standard or the compacted format, with what every component needs to be accepted.
void draw_image(OracleCase& c, bool compacted, Random& random) {
  const u64 present = random.below(8), layout = compacted ? u64{1} << 63 | present | random.below(8) : 0;
  put<u16>(c, 0, static_cast<u16>(0x37f | random.below(4) << 10));
  put<u16>(c, 2, static_cast<u16>(random.below(8) << 11));
  put<u64>(c, 8, 0);
  put<u64>(c, 16, 0);
  for (unsigned n = 0; n < 8; ++n) put<u8>(c, 32 + 16 * n + 7, static_cast<u8>(random.next() | 0x80));
  put<u32>(c, 24, static_cast<u32>(0x1f80 | random.below(64)));
  for (unsigned n = 0; n < 8; ++n) put<u64>(c, 512 + 8 * n, 0);
  put<u64>(c, 512, present);
  put<u64>(c, 520, layout);
}

}  // namespace

TEST_CASE("XSAVE and XSAVEOPT write the host's image, for every set of components", "[oracle]") {
  if (!host_has({"xsave", "avx", "xsaveopt"})) return;
  Random random(41);
  for (const char* code : {"48 0f ae 27", "0f ae 27", "48 0f ae 37", "0f ae 37"}) {
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < kRounds; ++n) {
      OracleCase c = drawn(random);
      c.set_code(bytes_of_hex(code));
      if (random.below(20) == 0) c.state.gpr[7] += random.below(64);
      if (random.below(20) == 0) c.state.gpr[7] = kOracleData + kOracleDataBytes - 64 * (1 + random.below(14));
      cases.push_back(c);
    }
    compare(code, cases);
  }
}

TEST_CASE("XSAVEC compacts as the host does", "[oracle]") {
  if (!host_has({"xsavec", "avx"})) return;
  Random random(42);
  for (const char* code : {"48 0f c7 27", "0f c7 27"}) {
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < kRounds; ++n) {
      OracleCase c = drawn(random);
      c.set_code(bytes_of_hex(code));
      cases.push_back(c);
    }
    compare(code, cases);
  }
}

TEST_CASE("XRSTOR takes both formats as the host does and initialises what is not there", "[oracle]") {
  if (!host_has({"xsavec", "avx"})) return;
  Random random(43);
  for (const bool compacted : {false, true})
    for (const char* code : {"48 0f ae 2f", "0f ae 2f"}) {
      std::vector<OracleCase> cases;
      for (unsigned n = 0; n < kRounds; ++n) {
        OracleCase c = drawn(random);
        c.set_code(bytes_of_hex(code));
        draw_image(c, compacted, random);
        cases.push_back(c);
      }
      compare(code, cases);
    }
}

TEST_CASE("XRSTOR refuses what the host refuses", "[oracle]") {
  if (!host_has({"xsavec", "avx"})) return;
  Random random(44);
  std::vector<OracleCase> cases;
  for (unsigned n = 0; n < 4 * kRounds; ++n) {
    OracleCase c = drawn(random);
    c.set_code(bytes_of_hex("48 0f ae 2f"));
    draw_image(c, random.below(2), random);
    switch (random.below(6)) {
      case 0: put<u64>(c, 520, u64{1} << random.below(64)); break;
      case 1: put<u64>(c, 528 + 8 * static_cast<unsigned>(random.below(6)), u64{1} << random.below(64)); break;
      case 2: put<u64>(c, 512, u64{1} << (10 + random.below(54))); break;
      case 3: put<u32>(c, 24, 0x10000u << random.below(16)); break;
      case 4: c.state.gpr[7] += 1 + random.below(63); break;
      default: put<u64>(c, 512, random.below(8)); break;
    }
    cases.push_back(c);
  }
  compare("48 0f ae 2f", cases, nullptr);  // what a refused one has already loaded: policy "xrstor-fault"
}

TEST_CASE("what XRSTOR initialised, XSAVEC leaves out and XGETBV does not name", "[oracle]") {
  if (!host_has({"xsavec", "xgetbv1", "avx"})) return;
  Random random(45);
  std::vector<OracleCase> cases;
  for (unsigned n = 0; n < kRounds; ++n) {
    OracleCase c = drawn(random);
    // xrstor64 [rdi]; xsavec64 [rdi]; mov ecx, 1; xgetbv; and eax, 4; xor edx, edx
    c.set_code(bytes_of_hex("48 0f ae 2f 48 0f c7 27 b9 01 00 00 00 0f 01 d0 83 e0 04 31 d2"));
    draw_image(c, false, random);
    put<u64>(c, 512, random.below(2) ? 7 : 3);
    c.state.gpr[0] = 7;
    cases.push_back(c);
  }
  compare("xrstor xsavec xgetbv", cases);
}

TEST_CASE("RDPKRU and WRPKRU agree with the host", "[oracle]") {
  if (!host_has({"ospke"})) return;
  Random random(46);
  std::vector<OracleCase> cases;
  for (unsigned n = 0; n < kRounds; ++n) {
    OracleCase c = drawn(random);
    // wrpkru; xor eax, eax; dec edx; rdpkru; xchg eax, ebx; xor eax, eax; xor edx, edx; wrpkru
    c.set_code(bytes_of_hex("0f 01 ef 31 c0 ff ca 0f 01 ee 93 31 c0 31 d2 0f 01 ef"));
    c.state.gpr[0] = random.next() & ~u64{3};  // key 0 is the code's own
    c.state.gpr[1] = random.below(8) ? random.next() << 32 : 1;
    c.state.gpr[2] = random.below(8) ? random.next() << 32 : random.next();
    cases.push_back(c);
  }
  compare("wrpkru rdpkru", cases);
}
