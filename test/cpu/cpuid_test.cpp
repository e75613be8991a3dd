// CPUID answers against the manual's bit positions and public dumps of the parts.
#include "cpu/cpuid.h"

#include <cstring>

#include "base/bits.h"
#include "test/catch.h"

namespace nestwalk::cpu {
namespace {

struct Case {
  sim::Settings settings;
  Cpuid id;
  explicit Case(const std::string& lines, u64 hz = 4'000'000'000, u32 processors = 1)
      : settings(parse(lines)), id(settings, hz, processors) {}
  static sim::Settings parse(const std::string& lines) {
    sim::Settings s;
    s.load_text("[cpu]\n" + lines, "test");
    return s;
  }
  CpuidAnswer operator()(u32 leaf, u32 subleaf = 0, CpuidDynamic now = {}) const { return id.answer(leaf, subleaf, now); }
};

std::string text_of(std::initializer_list<u32> words) {
  std::string s;
  for (u32 w : words) s.append(reinterpret_cast<const char*>(&w), 4);
  return std::string(s.c_str());
}
std::string brand(const Case& c) {
  std::string s;
  for (u32 n = 0; n < 3; ++n) {
    const auto a = c(0x80000002 + n);
    for (u32 w : {a.eax, a.ebx, a.ecx, a.edx}) s.append(reinterpret_cast<const char*>(&w), 4);
  }
  return std::string(s.c_str());
}

}  // namespace

TEST_CASE("each shipped processor names itself as the real one does", "[cpuid]") {
  struct Part {
    const char* name;
    u32 signature;
    const char* brand;
    u8 width;
    u8 linear = 48;
  };
  const Part parts[] = {{"nehalem", 0x106a5, "i7 CPU         920", 36},
                        {"haswell", 0x306c3, "i7-4770K", 39},
                        {"skylake", 0x506e3, "i7-6700K", 39},
                        {"golden-cove", 0x90672, "i9-12900K", 46},
                        {"zen2", 0x870f10, "3950X", 43},
                        {"v1", 0x6fb, "x86-64-v1", 40},
                        {"zen4", 0xa60f12, "7950X", 48, 57},
                        {"v2", 0x106a5, "x86-64-v2", 40},
                        {"v3", 0x306c3, "x86-64-v3", 40}};
  for (const Part& p : parts) {
    const Case c("model = " + std::string(p.name) + "\n");
    CHECK(c(1).eax == p.signature);
    CHECK(brand(c).find(p.brand) != std::string::npos);
    CHECK(c.id.physical_width() == p.width);
    CHECK((c(0x80000008).eax & 0xff) == p.width);
    CHECK((c(0x80000008).eax >> 8 & 0xff) == p.linear);
    const auto vendor = c(0);
    CHECK(text_of({vendor.ebx, vendor.edx, vendor.ecx}) == (c.id.is_amd() ? "AuthenticAMD" : "GenuineIntel"));
  }
  CHECK(CpuModels::instance().entries().size() == std::size(parts));
}

TEST_CASE("no processor promises what is not implemented", "[cpuid]") {
  for (const auto& [name, entry] : CpuModels::instance().entries()) {
    const Case c("model = " + name + "\n");
    const auto one = c(1), seven = c(7), more = c(0x80000001);
    CHECK_FALSE(one.ecx & bit(5));                                                       // VMX
    CHECK_FALSE(seven.ebx & (bit(2) | bit(4) | bit(11) | bit(14) | bit(16) | bit(25)));  // SGX HLE RTM MPX AVX512F PT
    CHECK_FALSE(seven.ecx & (bit(5) | bit(7) | bit(8) | bit(9) | bit(10)));  // WAITPKG CET_SS GFNI VAES VPCLMULQDQ
    CHECK_FALSE(more.ecx & (bit(2) | bit(6) | bit(29)));                     // SVM SSE4A MONITORX
    for (unsigned f = 1; f < static_cast<unsigned>(Feature::count_); ++f)
      if (c.id.has(static_cast<Feature>(f))) CHECK(is_implemented(static_cast<Feature>(f)));
  }
}

TEST_CASE("feature bits lie where the manual has them", "[cpuid]") {
  const Case skylake("model = skylake\n"), nehalem("model = nehalem\n"), zen2("model = zen2\n");
  CHECK((skylake(1).ecx & bit(17)));           // PCID
  CHECK((skylake(1).ecx & bit(24)));           // TSC-deadline
  CHECK((skylake(7).ebx & bit(10)));           // INVPCID
  CHECK((skylake(7).ebx & bit(20)));           // SMAP
  CHECK((skylake(0x80000001).edx & bit(26)));  // 1-GByte pages
  CHECK((skylake(0x80000007).edx & bit(8)));   // invariant TSC
  CHECK((skylake(6).eax & bit(2)));            // ARAT
  CHECK_FALSE(nehalem(1).ecx & bit(17));
  CHECK_FALSE(nehalem(0x80000001).edx & bit(26));
  CHECK((nehalem(0x80000001).edx & bit(27)));    // RDTSCP
  CHECK_FALSE(zen2(1).ecx & bit(17));            // no PCID before Zen 3
  CHECK((zen2(0x80000001).edx & 0x3f) == 0x3f);  // AMD repeats leaf 1
  CHECK((skylake(0x80000001).edx & 0x3f) == 0);
}

TEST_CASE("what the running processor switches shows", "[cpuid]") {
  const Case c("model = skylake\n");
  CHECK_FALSE(c(1).ecx & bit(27));
  CHECK((c(1, 0, {.osxsave = true}).ecx & bit(27)));
  CHECK((c(1).edx & bit(9)));
  CHECK_FALSE(c(1, 0, {.apic_enabled = false}).edx & bit(9));
  CHECK((c(1, 0, {.apic_id = 5}).ebx >> 24) == 5);
}

TEST_CASE("the XSAVE area grows with its components, where each maker has them", "[cpuid]") {
  const Case c("model = skylake\n"), none("model = nehalem\n"), keys("model = golden-cove\n"), zen4("model = zen4\n");
  CHECK(c.id.xcr0_mask() == 7);
  CHECK(c(0xd).eax == 7);
  CHECK(c(0xd, 0, {.xcr0 = 3}).ebx == 576);
  CHECK(c(0xd, 0, {.xcr0 = 7}).ebx == 832);
  CHECK(c(0xd).ecx == 832);
  CHECK(c(0xd, 2).eax == 256);
  CHECK(c(0xd, 2).ebx == 576);
  CHECK(c(0xd, 9).eax == 0);
  CHECK(keys.id.xcr0_mask() == 0x207);
  CHECK(keys(0xd, 9).eax == 8);
  CHECK(keys(0xd, 9).ebx == 2688);
  CHECK(keys(0xd, 0, {.xcr0 = 0x207}).ebx == 2696);
  CHECK(keys(0xd, 1, {.xcr0 = 0x207}).ebx == 576 + 256 + 8);  // compacted
  CHECK(keys(0xd, 1, {.xcr0 = 3}).ebx == 576);
  CHECK(zen4(0xd, 9).ebx == 0x980);
  CHECK(none.id.xcr0_mask() == 0);
  const Case plain("model = skylake\nfeatures = -avx\n");
  CHECK(plain.id.xcr0_mask() == 3);
  CHECK(plain(0xd, 2).eax == 0);
}

TEST_CASE("leaf 15H gives the frequency exactly", "[cpuid]") {
  for (u64 hz : {u64{1'000'000'000}, u64{4'000'000'000}, u64{3'192'000'000}, u64{2'718'281'828}}) {
    for (const char* model : {"skylake", "golden-cove"}) {
      const Case c("model = " + std::string(model) + "\n", hz);
      const auto a = c(0x15);
      REQUIRE(a.eax);
      CHECK(static_cast<u64>(static_cast<u128>(a.ecx) * a.ebx / a.eax) == hz);
      CHECK(a.ecx == c.id.apic_hz());
      CHECK(c(0x16).eax == (hz + 500'000) / 1'000'000);
    }
  }
}

TEST_CASE("leaf BH numbers the processors", "[cpuid]") {
  const Case one("model = skylake\n"), six("model = skylake\n", 4'000'000'000, 6);
  CHECK(one(0xb, 1).ebx == 1);
  CHECK(one(0xb, 1).eax == 0);
  CHECK(six(0xb, 0).ebx == 1);
  CHECK(six(0xb, 1).ebx == 6);
  CHECK(six(0xb, 1).eax == 3);  // 6 cores need 3 bits
  CHECK(six(0xb, 1).ecx == 0x201);
  CHECK((six(1).ebx >> 16 & 0xff) == 6);
  CHECK((six(1).edx & bit(28)));
  CHECK((six(4, 3).eax >> 14 & 0xfff) == 5);
  CHECK((six(4, 0).eax >> 14 & 0xfff) == 0);
}

TEST_CASE("cache leaves multiply to the sizes of the part", "[cpuid]") {
  auto bytes = [](const CpuidAnswer& a) {
    return u64{(a.ebx >> 22) + 1} * ((a.ebx >> 12 & 0x3ff) + 1) * ((a.ebx & 0xfff) + 1) * (a.ecx + 1);
  };
  const Case skylake("model = skylake\n"), golden("model = golden-cove\n"), zen2("model = zen2\n");
  CHECK(bytes(skylake(4, 0)) == 32 << 10);
  CHECK(bytes(skylake(4, 2)) == 256 << 10);
  CHECK(bytes(skylake(4, 3)) == 8 << 20);
  CHECK(bytes(golden(4, 0)) == 48 << 10);
  CHECK(bytes(golden(4, 2)) == 1280 << 10);
  CHECK(bytes(golden(4, 3)) == 30 << 20);
  CHECK(bytes(zen2(0x8000001d, 2)) == 512 << 10);
  CHECK(bytes(zen2(0x8000001d, 3)) == 16 << 20);
  u64 second_level = 0;
  for (u32 n = 1; n <= golden(0x18).eax; ++n) {
    const auto t = golden(0x18, n);
    if ((t.edx >> 5 & 7) == 2 && (t.ebx & 1)) second_level += u64{t.ebx >> 16} * t.ecx;
  }
  CHECK(second_level == 2048);
}

TEST_CASE("a leaf past the last answers as the maker does", "[cpuid]") {
  const Case intel("model = haswell\n"), amd("model = zen2\n");
  CHECK(intel(0x1000).eax == intel(0xd).eax);
  CHECK(amd(0x1000).eax == 0);
  CHECK(intel(0x40000000).ebx == intel(0xd).ebx);
  const Case guest("model = haswell\nhypervisor = true\n");
  CHECK((guest(1).ecx & bit(31)));
  CHECK(guest(0x40000000).ebx != guest(0xd).ebx);
}

TEST_CASE("features are added and hidden by name, with what hangs on them", "[cpuid]") {
  const Case c("model = skylake\nfeatures = +la57,-pcid,-xsave\n");
  CHECK(c.id.linear_width() == 57);
  CHECK((c(0x80000008).eax >> 8 & 0xff) == 57);
  CHECK_FALSE(c.id.has(Feature::pcid));
  CHECK_FALSE(c.id.has(Feature::invpcid));
  CHECK_FALSE(c.id.has(Feature::xsaveopt));
  CHECK(c.id.has(Feature::smap));
}

TEST_CASE("configuration mistakes are named", "[cpuid]") {
  using Catch::Matchers::Contains;
  CHECK_THROWS_WITH(Case("model = pentium9\n"), Contains("pentium9") && Contains("skylake"));
  CHECK_THROWS_WITH(Case("features = +smop\n"), Contains("smop"));
  CHECK_THROWS_WITH(Case("features = +avx5\n"), Contains("avx5"));
  CHECK_THROWS_WITH(Case("features = +vmx\n"), Contains("not implemented"));
  CHECK_THROWS_WITH(Case("features = smap\n"), Contains("+name"));
  CHECK_THROWS_AS(Case("physical_width = 60\n"), sim::ConfigError);
}

}  // namespace nestwalk::cpu
