// Every MMX, SSE, AES-NI and PCLMULQDQ form on the emulated processor and on the host's: registers, MXCSR, x87 state,
// flags, memory and exceptions must agree. Reference: the silicon.
#include <set>

#include "base/random.h"
#include "test/catch.h"
#include "test/oracle/compare.h"
#include "test/oracle/sse_forms.h"
#include "test/oracle/vector_values.h"

using namespace nestwalk;
using namespace nestwalk::test;

namespace {

constexpr unsigned kBase = 3;  ///< memory operands are [RBX]

/// On Intel's cores a faulting MMX store has switched to MMX state already, which restarting it hides; here a fault leaves
/// no trace at all. Cases that may fault start in that state.
void already_mmx(OracleCase& c) {
  put_fx(c, 2, u16{0});
  put_fx(c, 4, u16{0xff});
}

OracleCase random_case(const SseForm& form, bool memory, Random& random) {
  OracleCase c;
  const u8 imm = static_cast<u8>(random.below(3) ? random.next() : random.below(32));
  c.set_code(encode(form, memory, kBase, imm, random));
  for (u64& r : c.state.gpr) r = draw_vector_word(random);
  c.state.fx = clean_fx();
  put_fx(c, 2, static_cast<u16>(random.below(8) << 11));  // TOP
  put_fx(c, 4, static_cast<u16>(random.below(256)));      // tags
  for (unsigned n = 0; n < 8; ++n) {
    put_fx(c, 32 + 16 * n, draw_vector_word(random));
    put_fx(c, 40 + 16 * n, static_cast<u16>(random.next()));
  }
  for (unsigned n = 0; n < 32; ++n) put_fx(c, 160 + 8 * n, draw_vector_word(random));
  if (random.below(4) == 0) put_fx(c, 160 + 16 * static_cast<unsigned>(random.below(16)), get_fx<cpu::V128>(c, 160));
  if (native::host_has_ymm())
    for (auto& half : c.state.high) half = {random.next(), random.next()};  // legacy instructions leave it alone
  draw_surroundings(c, kBase, 16, random);
  return c;
}

void compare(SnippetMachine& machine, const SseForm& form, const std::vector<OracleCase>& cases) {
  compare_with_host(
      machine, form.text, cases, [](const OracleCase&) { return kVisibleFlags; }, &kComparedFx);
}

bool host_has_everything() { return host_has_all({"mmx", "sse2", "pni", "ssse3", "sse4_1", "sse4_2", "aes", "pclmulqdq"}); }

template <class Prepare>
void compare_forms(unsigned cases_per_form, u64 seed, Prepare prepare) {
  if (!host_has_everything()) return;
  SnippetMachine machine;
  Random random(seed);
  for (const SseForm& form : parsed_sse_forms()) {
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < cases_per_form; ++n) {
      const bool memory = form.memory && (!form.has_register_form() || random.below(3) == 0);
      OracleCase c = random_case(form, memory, random);
      if (prepare(c, form, memory, random)) cases.push_back(c);
    }
    if (!cases.empty()) compare(machine, form, cases);
  }
}

}  // namespace

TEST_CASE("every MMX and SSE form leaves what the host leaves, in every rounding mode", "[oracle]") {
  compare_forms(60, 11, [](OracleCase&, const SseForm&, bool, Random&) { return true; });
}

TEST_CASE("an unmasked SIMD exception sets the host's flags and writes nothing", "[oracle]") {
  compare_forms(60, 12, [](OracleCase& c, const SseForm& form, bool, Random& random) {
    put_fx(c, kMxcsr, static_cast<u32>(random.next()) & 0xffff);
    return true;
  });
}

TEST_CASE("vector operands in memory fault for alignment and at a page's end as on the host", "[oracle]") {
  compare_forms(40, 13, [](OracleCase& c, const SseForm& form, bool memory, Random& random) {
    if (!memory) return false;
    if (form.reg == 'P') already_mmx(c);
    constexpr u64 end = kOracleData + kOracleDataBytes;
    switch (random.below(3)) {
      case 0: c.state.gpr[kBase] = end - 1 - random.below(20); break;             // fits, or reaches over the end
      case 1: c.state.gpr[kBase] = kOracleData + 4096 - random.below(20); break;  // crosses into the next page
      default: c.state.gpr[kBase] += random.below(16); break;
    }
    return true;
  });
}

TEST_CASE("a masked store needs its whole operand writable, whatever the mask", "[oracle]") {
  if (!host_has_everything()) return;
  SnippetMachine machine;
  Random random(14);
  for (const char* text : {"66 0f f7 Vv", "0f f7 Pp"}) {
    const SseForm form = detail::parse_form(text);
    std::vector<OracleCase> cases;
    for (unsigned n = 0; n < 300; ++n) {
      OracleCase c = random_case(form, false, random);
      already_mmx(c);
      c.state.gpr[7] = kOracleData + kOracleDataBytes - 1 - random.below(20);
      cases.push_back(c);
    }
    compare(machine, form, cases);
  }
}

TEST_CASE("MMX instructions wait for a pending x87 exception, SSE instructions do not", "[oracle]") {
  compare_forms(12, 15, [](OracleCase& c, const SseForm&, bool, Random&) {
    put_fx(c, 0, u16{0x37e});  // invalid operation unmasked
    put_fx(c, 2, static_cast<u16>(get_fx<u16>(c, 2) | 0x8081));
    return true;
  });
}

TEST_CASE("the forms exercise every mnemonic of the SSE table", "[oracle]") {
  static constexpr const char* table[] = {
#define OP(name, bind, traits) #name,
#include "cpu/table/sse.def"
#undef OP
  };
  SnippetMachine machine;
  Random random(1);
  std::set<std::string> seen;
  for (const SseForm& form : parsed_sse_forms())
    for (const bool memory : {false, true}) {
      if (memory ? !form.memory : !form.has_register_form()) continue;
      const std::vector<u8> bytes = encode(form, memory, kBase, 0, random);
      cpu::Insn insn;
      INFO(form.text);
      CHECK(cpu::decode(bytes.data(), static_cast<unsigned>(bytes.size()), cpu::CodeSize::k64, 0, machine.cpuid(), insn));
      CHECK(insn.length == bytes.size());
      seen.insert(cpu::name_of(insn.op));
    }
  for (const char* name : table) {
    INFO(name);
    CHECK(seen.count(name) == 1);
  }
}
