// Short sequences whose instructions need each other, on the emulated processor and on the host's: what one leaves where no
// register shows it, the next one tells (SDM vol. 1, 13.6: which components are in use; vol. 3, 4.6.2: PKRU).
#include <iostream>

#include "test/catch.h"
#include "test/hex.h"
#include "test/oracle/harness/compare.h"
#include "test/oracle/harness/draw.h"
#include "test/oracle/harness/host_side.h"
#include "test/oracle/harness/our_side.h"

using namespace nestwalk;
using namespace nestwalk::oracle;
using namespace nestwalk::cpu;

namespace {

constexpr u64 kCases = 400;
constexpr u64 kArea = kData + kStretches[1].offset;  ///< of the XSAVE area, as a whole in the case's memory

template <class T>
void put(Case& c, unsigned offset, T v) {
  std::memcpy(&c.memory[kStretches[0].bytes + offset], &v, sizeof v);
}

/// What XRSTOR accepts, with some of x87, SSE and AVX.
void put_area(Case& c, Random& random) {
  put<u16>(c, 0, 0x37f);
  put<u32>(c, 24, static_cast<u32>(0x1f80 | random.below(64)));
  for (unsigned at = 512; at < 576; at += 8) put<u64>(c, at, 0);
  put<u64>(c, 512, random.below(8));
  c.before.gpr[RDI] = kArea;
  c.before.gpr[RAX] = 7, c.before.gpr[RDX] = 0;
}

Case sequence(Op op, const char* hex, Random& random) {
  Case c;
  c.op = op;
  const std::vector<u8> bytes = test::bytes_of_hex(hex);
  REQUIRE(bytes.size() <= c.code.size());
  c.length = static_cast<u8>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), c.code.begin());
  for (u64& g : c.before.gpr) g = random.next();
  for (Registers::Ymm& y : c.before.ymm)
    for (u64& q : y.q) q = random.next() | 1;
  for (Registers::Extended& x : c.before.st) x = {random.next() | u64{1} << 63, 0x3fff};
  c.before.tags = 0xff;
  c.before.mxcsr = static_cast<u32>(0x1f80 | random.below(64));
  for (u8& b : c.memory) b = static_cast<u8>(random.next());
  c.before.fs_base = 0x140, c.before.gs_base = 0x3ff0;
  return c;
}

/// All of what both sides leave must agree, in cases that `prepare` makes. Skipped where the processor lacks the feature.
template <class Prepare>
void compare(Feature needed, Op op, const char* hex, Prepare prepare) {
  Random random(45);
  std::vector<Case> cases;
  for (u64 n = 0; n < kCases; ++n) prepare(cases.emplace_back(sequence(op, hex, random)), random);
  std::string missing;
  const auto host = make_host(missing);
  if (host && host_lacks(needed)) missing = "the host's processor lacks a feature";
  if (!missing.empty()) {
    std::cout << "SKIPPED oracle sequences: " << missing << std::endl;  // scripts/test counts it
    return;
  }
  OurSide ours(every_feature(host_lacks));
  std::vector<Outcome> a(cases.size()), b(cases.size());
  host->run(cases, b);
  ours.run(cases, a);
  Ignored nothing;
  nothing.kernel_hidden = true;
  for (std::size_t n = 0; n < cases.size(); ++n) {
    INFO(show(cases[n], {a[n], b[n]}, kHost, "host"));
    CHECK(difference(cases[n], a[n], b[n], nothing).empty());
  }
}

}  // namespace

TEST_CASE("what XRSTOR initialised, XSAVEC leaves out") {
  // xrstor64 [rdi]; xsavec64 [rdi]
  compare(Feature::xsavec, Op::XRSTOR64, "48 0f ae 2f 48 0f c7 27", put_area);
}

TEST_CASE("XGETBV tells whether XRSTOR loaded AVX state") {
  // xrstor64 [rdi]; mov cl, 1; xgetbv; and eax, 4
  compare(Feature::xgetbv1, Op::XGETBV, "48 0f ae 2f b1 01 0f 01 d0 83 e0 04", [](Case& c, Random& random) {
    put_area(c, random);
    c.before.gpr[RCX] = 0;
  });
}

TEST_CASE("RDPKRU reads what WRPKRU wrote, and both want zeros") {
  // wrpkru; xor eax, eax; rdpkru
  compare(Feature::pku, Op::WRPKRU, "0f 01 ef 31 c0 0f 01 ee", [](Case& c, Random& random) {
    c.before.gpr[RAX] &= ~u64{3};  // key 0 is that of all pages here
    for (const unsigned r : {RCX, RDX})
      if (random.below(8)) c.before.gpr[r] &= ~u64{0xffffffff};
  });
}
