// Every VEX form of AVX, AVX2, FMA3 and F16C on the emulated processor and on the host's: all 256 bits of all registers,
// MXCSR, flags, memory and exceptions must agree. Reference: the silicon.
#include <set>

#include "test/catch.h"
#include "test/oracle/avx_forms.h"
#include "test/oracle/compare.h"
#include "test/oracle/harness/host_side.h"
#include "test/oracle/vector_values.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

constexpr unsigned kBase = 3;  ///< memory operands are [RBX]

bool host_has_everything() { return host_has_all({"avx", "avx2", "fma", "f16c", "aes", "pclmulqdq"}); }

std::array<u64, 2> draw_half(Random& random) { return {draw_vector_word(random), draw_vector_word(random)}; }

void fill_state(OracleCase& c, Random& random) {
  for (u64& r : c.state.gpr) r = draw_vector_word(random);
  c.state.fx = clean_fx();
  for (unsigned n = 0; n < 16; ++n) {
    put_fx(c, 160 + 16 * n, draw_half(random));
    c.state.high[n] = draw_half(random);
  }
  if (random.below(4) == 0) {  // equal operands
    const unsigned n = static_cast<unsigned>(random.below(16));
    put_fx(c, 160 + 16 * n, get_fx<cpu::V128>(c, 160));
    c.state.high[n] = c.state.high[0];
  }
  draw_surroundings(c, kBase, 32, random);
}

/// Indices of a gather that stay near the base, with a far one now and then; masks of all kinds.
void aim_gather(OracleCase& c, const VexForm& form, VexFields& v, Random& random) {
  if (random.below(8)) {
    v.third = (v.reg + 1 + static_cast<unsigned>(random.below(7))) % 16;
    v.index = (v.reg + 8 + static_cast<unsigned>(random.below(8))) % 16;
  }
  c.state.gpr[kBase] = kOracleWindow + 512 + random.below(8);
  const bool quad = form.opcode & 1;
  const auto index = [&]() -> u64 {
    if (random.below(24) == 0) return random.next();
    const i64 near = static_cast<i64>(random.below(80)) - 40;
    if (quad) return static_cast<u64>(near);
    return static_cast<u32>(near) | static_cast<u64>(random.below(80) - 40) << 32;
  };
  put_fx(c, 160 + 16 * v.index, std::array<u64, 2>{index(), index()});
  c.state.high[v.index] = {index(), index()};
}

OracleCase random_case(const VexForm& form, bool memory, Random& random) {
  OracleCase c;
  fill_state(c, random);
  const u8 imm = static_cast<u8>(random.below(3) ? random.next() : random.below(32));
  VexFields v = draw_fields(form, memory, kBase, imm, random);
  if (form.rm == 'S') aim_gather(c, form, v, random);
  c.set_code(encode(form, v, random.below(2)));
  return c;
}

void compare(SnippetMachine& machine, const std::string& name, const std::vector<OracleCase>& cases) {
  compare_with_host(
      machine, name, cases, [](const OracleCase&) { return kVisibleFlags; }, &kComparedFx);
}

template <class Chosen, class Prepare>
void compare_forms(unsigned cases_per_form, u64 seed, Chosen chosen, Prepare prepare) {
  if (!host_has_everything()) return;
  SnippetMachine machine;
  Random random(seed);
  for (const VexForm& form : parsed_vex_forms()) {
    if (!chosen(form)) continue;
    if (nestwalk::oracle::kStrayAccessesLand && form.rm == 'S') {
      WARN("skipped: gathers; this build's AddressSanitizer has memory where their indices lead");
      continue;
    }
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < cases_per_form; ++n) {
      const bool memory = form.has_memory_form() && (!form.has_register_form() || random.below(3) == 0);
      OracleCase c = random_case(form, memory, random);
      prepare(c, form, memory, random);
      cases.push_back(c);
    }
    compare(machine, form.text, cases);
  }
}

constexpr auto every_form = [](const VexForm&) { return true; };
constexpr auto as_drawn = [](OracleCase&, const VexForm&, bool, Random&) {};
constexpr auto any_mxcsr = [](OracleCase& c, const VexForm&, bool, Random& random) {
  put_fx(c, kMxcsr, static_cast<u32>(random.next()) & 0xffff);
};

/// Numbers whose products and sums end up near each other, near the limits of the format, or in between; T is the element.
template <class T>
T near_number(Random& random) {
  constexpr unsigned fraction = sizeof(T) == 4 ? 23 : 52;
  constexpr u64 bias = sizeof(T) == 4 ? 127 : 1023;
  static constexpr int centres[] = {0, 1, 2};
  u64 exponent = bias + random.below(4);
  switch (centres[random.below(std::size(centres))]) {
    case 0: exponent = random.below(2 * bias + 1); break;
    case 1: exponent = bias / 2 + random.below(2 * fraction); break;
    default: break;
  }
  u64 bits = random.next() & ((u64{1} << fraction) - 1);
  if (random.below(2)) bits &= random.below(3) ? ~((u64{1} << random.below(fraction)) - 1) : 0;
  return static_cast<T>((random.next() & 1) << (fraction + (sizeof(T) == 4 ? 8 : 11)) | exponent << fraction | bits);
}
u64 near_word(Random& random, bool is_double) {
  return is_double ? near_number<u64>(random) : near_number<u32>(random) | u64{near_number<u32>(random)} << 32;
}

/// Singles about the limits of half precision, and halves of every kind.
u64 half_word(Random& random) {
  const auto single = [&]() -> u64 {
    const u64 exponent = 127 - 26 + random.below(44);
    const u64 fraction = random.below(2) ? random.next() & 0x7fffff : (random.next() & 0x7fe000) | (random.below(3) << 12);
    return (random.next() & 1) << 31 | exponent << 23 | fraction;
  };
  return random.below(2) ? random.next() : single() | single() << 32;
}

template <class Draw>
void refill(OracleCase& c, Random& random, Draw draw) {
  for (unsigned n = 0; n < 16; ++n) {
    put_fx(c, 160 + 16 * n, std::array<u64, 2>{draw(random), draw(random)});
    c.state.high[n] = {draw(random), draw(random)};
  }
  for (unsigned n = 0; n < kWindow; n += 8) {
    const u64 v = draw(random);
    std::memcpy(&c.memory[n], &v, 8);
  }
}

}  // namespace

TEST_CASE("every VEX form leaves what the host leaves, in every rounding mode", "[oracle]") {
  compare_forms(40, 21, every_form, as_drawn);
}

TEST_CASE("an unmasked SIMD exception of a VEX form sets the host's flags and writes nothing", "[oracle]") {
  compare_forms(40, 22, every_form, any_mxcsr);
}

TEST_CASE("VEX operands in memory need no alignment but where the name says so, and fault at a page's end", "[oracle]") {
  compare_forms(
      24, 23, [](const VexForm& f) { return f.has_memory_form(); },
      [](OracleCase& c, const VexForm& form, bool, Random& random) {
        constexpr u64 end = kOracleData + kOracleDataBytes;
        switch (random.below(4)) {
          case 0: c.state.gpr[kBase] = end - 1 - random.below(36); break;             // fits, or reaches over the end
          case 1: c.state.gpr[kBase] = kOracleData + 4096 - random.below(36); break;  // crosses into the next page
          case 2: c.state.gpr[kBase] = kOracleData - random.below(36); break;         // begins before the first
          default: c.state.gpr[kBase] += random.below(32); break;
        }
      });
}

TEST_CASE("fused products that cancel, overflow or underflow are rounded once, as on the host", "[oracle]") {
  const auto prepare = [](OracleCase& c, const VexForm& f, bool, Random& random) {
    refill(c, random, [&](Random& r) { return near_word(r, f.w == '1'); });
    if (random.below(3) == 0) put_fx(c, kMxcsr, static_cast<u32>(random.next()) & 0xffff);
  };
  compare_forms(
      200, 24, [](const VexForm& f) { return f.is_fma(); }, prepare);
}

TEST_CASE("half precision rounds, overflows and underflows as on the host", "[oracle]") {
  const auto prepare = [](OracleCase& c, const VexForm&, bool, Random& random) {
    refill(c, random, half_word);
    if (random.below(3) == 0) put_fx(c, kMxcsr, static_cast<u32>(random.next()) & 0xffff);
  };
  compare_forms(
      4000, 25, [](const VexForm& f) { return f.is_f16c(); }, prepare);
}

TEST_CASE("masked moves and gathers that fault in their middle leave what the host leaves", "[oracle]") {
  const auto prepare = [](OracleCase& c, const VexForm& f, bool, Random& random) {
    constexpr u64 end = kOracleData + kOracleDataBytes;
    if (f.rm == 'S')
      c.state.gpr[kBase] = end - 8 - random.below(300);
    else
      c.state.gpr[kBase] = random.below(2) ? end - random.below(40) : kOracleData - random.below(40);
  };
  const auto chosen = [](const VexForm& f) {
    return f.rm == 'S' || (f.map == 2 && ((f.opcode >= 0x2c && f.opcode <= 0x2f) || f.opcode == 0x8c || f.opcode == 0x8e));
  };
  compare_forms(300, 26, chosen, prepare);
}

TEST_CASE("a prefix that VEX does not allow before it is undefined", "[oracle]") {
  const auto prepare = [](OracleCase& c, const VexForm&, bool, Random& random) {
    static constexpr u8 prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x40, 0x48, 0x4f};
    std::vector<u8> bytes{prefixes[random.below(std::size(prefixes))]};
    bytes.insert(bytes.end(), c.code.begin(), c.code.begin() + c.length);
    c.set_code(bytes);
  };
  compare_forms(8, 27, every_form, prepare);
}

TEST_CASE("what a VEX encoding means, and whether it means anything, is decided as on the host", "[oracle]") {
  if (!host_has_everything()) return;
  SnippetMachine machine;
  Random random(28);
  std::vector<OracleCase> cases;
  while (cases.size() < 30000) {
    const u8 map = static_cast<u8>(random.below(16) ? 1 + random.below(3) : random.below(32));
    const u8 opcode = static_cast<u8>(random.next());
    // Mask registers (AVX-512) are beyond the models.
    const bool masks = map == 1 ? (opcode >= 0x41 && opcode <= 0x4b) || (opcode >= 0x90 && opcode <= 0x93) ||
                                      opcode == 0x98 || opcode == 0x99
                                : map == 3 && opcode >= 0x30 && opcode <= 0x33;
    if (masks) continue;
    OracleCase c;
    fill_state(c, random);
    const u8 vvvv = static_cast<u8>(random.below(2) ? 15 : random.below(16));
    const u8 modrm = static_cast<u8>((random.below(3) ? 0xc0 : 0) | (random.below(8) << 3) |
                                     (random.below(3) ? random.below(8) : kBase));
    if ((modrm & 0xc7) == 4 || (modrm & 0xc7) == 5 || (modrm < 0xc0 && (modrm & 7) != kBase)) continue;
    const u8 bytes[] = {0xc4,
                        static_cast<u8>((random.next() & 0xc0) | (modrm < 0xc0 ? 0x20 : random.next() & 0x20) | map),
                        static_cast<u8>((random.next() & 0x87) | vvvv << 3),
                        opcode,
                        modrm,
                        static_cast<u8>(random.next())};
    cpu::Insn insn;
    cpu::decode(bytes, sizeof bytes, cpu::CodeSize::k64, 0, machine.cpuid(), insn);
    c.set_code({bytes, std::max<std::size_t>(insn.length, 5)});
    cases.push_back(c);
  }
  std::vector<OracleCase> native = cases;
  if (!HostOracle::run(native)) {
    WARN("skipped: the host does not let a child run native code");
    return;
  }
  std::set<std::string> wrong;
  for (std::size_t n = 0; n < cases.size(); ++n) {
    OracleCase ours = cases[n];
    machine.run(ours);
    if ((ours.vector == cpu::ex::ud) != (native[n].vector == cpu::ex::ud))
      wrong.insert(fmt::format("{}: vector {} but native {}", hex_of({cases[n].code.data(), cases[n].length}), ours.vector,
                               native[n].vector));
  }
  std::string report;
  for (const std::string& w : wrong) report += "\n" + w;
  INFO(report);
  CHECK(wrong.empty());
}

TEST_CASE("the VEX forms exercise every mnemonic of the AVX table", "[oracle]") {
  static constexpr const char* table[] = {
#define OP(name, bind, traits) #name,
#include "cpu/table/avx.def"
#undef OP
  };
  SnippetMachine machine;
  Random random(1);
  std::set<std::string> seen;
  for (const VexForm& form : parsed_vex_forms())
    for (unsigned n = 0; n < 16; ++n) {
      const bool memory = n & 1;
      if (memory ? !form.has_memory_form() : !form.has_register_form()) continue;
      VexFields v = draw_fields(form, memory, kBase, 0, random);
      if (form.rm == 'S') v.reg = 1, v.third = 2, v.index = 3;
      const std::vector<u8> bytes = encode(form, v, n & 2);
      cpu::Insn insn;
      INFO(form.text << ": " << hex_of(bytes));
      CHECK(cpu::decode(bytes.data(), static_cast<unsigned>(bytes.size()), cpu::CodeSize::k64, 0, machine.cpuid(), insn));
      CHECK(insn.length == bytes.size());
      CHECK(insn.has(cpu::Insn::kVex));
      seen.insert(cpu::name_of(insn.op));
    }
  for (const char* name : table) {
    INFO(name);
    CHECK(seen.count(name) == 1);
  }
}
