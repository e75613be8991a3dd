#include "test/oracle/harness/opcode_space.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include <cpuid.h>

#include "cpu/undefined.h"
#include "test/oracle/harness/atlas.h"
#include "test/oracle/harness/compare.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

/// A point's coordinates, taken off its number one by one.
class Digits {
 public:
  explicit Digits(u64 n) : n_(n) {}
  u8 take(u64 radix) {
    const u64 digit = n_ % radix;
    n_ /= radix;
    return static_cast<u8>(digit);
  }

 private:
  u64 n_;
};

bool is_opcode(u8 map, u8 b) {
  if (map == 1) return b != 0x38 && b != 0x3a;  // the escapes to the other maps
  return map > 1 || !(is_prefix(b, true) || b == 0x0f || b == 0xc4 || b == 0xc5 || b == 0x62);
}

constexpr unsigned kOperands = 9;  // of ModRM.rm: eight registers and memory at RBX

/// A form's bytes with these fields; memory through a SIB, which vector indices need.
std::vector<u8> encode(Form f, u8 reg, u8 operand, u8 vvvv = 0) {
  std::vector<u8> bytes;
  f.modrm = true;
  f.memory = operand == 8;
  const u8 rm = f.memory ? u8{4} : operand;
  append_opcode(bytes, f, Fields{.reg = reg, .rm = rm, .vvvv = vvvv, .long_vex = true}, Mode::k64);
  if (f.memory) bytes.push_back(0x23);
  return bytes;
}

constexpr u64 kLegacy = 7 * 2 * 4 * 256 * 8 * kOperands;
std::vector<u8> legacy(Digits d) {
  static constexpr u8 kPrefixes[7] = {0, 0x66, 0xf3, 0xf2, 0xf0, 0xf3, 0xf2};  // the last two behind 66
  const u8 prefix = d.take(7);
  Form f;
  f.prefix = kPrefixes[prefix];
  f.w = d.take(2), f.map = d.take(4), f.opcode = d.take(0x100);
  if (!is_opcode(f.map, f.opcode)) return {};
  const u8 reg = d.take(8);
  std::vector<u8> bytes = encode(f, reg, d.take(kOperands));
  if (prefix > 4) bytes.insert(bytes.begin(), 0x66);
  return bytes;
}

/// Mandatory prefix and L.
Form vex_form(Digits& d) {
  static constexpr u8 kPrefixes[4] = {0, 0x66, 0xf3, 0xf2};
  Form f;
  f.vex = true;
  f.prefix = kPrefixes[d.take(4)], f.l = d.take(2);
  return f;
}

constexpr u64 kVex = 4 * 2 * 2 * 2 * 3 * 256 * 8 * kOperands;
std::vector<u8> with_vex(Digits d) {
  Form f = vex_form(d);
  f.w = d.take(2);
  const u8 vvvv = d.take(2) ? 0 : 6;
  f.map = 1 + d.take(3), f.opcode = d.take(0x100);
  const u8 reg = d.take(8);
  return encode(f, reg, d.take(kOperands), vvvv);
}

/// Maps that VEX can name and that have nothing.
constexpr u64 kVexMaps = 4 * 2 * 29 * 256 * 2;
std::vector<u8> with_other_map(Digits d) {
  Form f = vex_form(d);
  const u8 nth = d.take(29);
  f.map = nth ? 3 + nth : 0, f.opcode = d.take(0x100);
  return encode(f, 0, d.take(2) ? 8 : 1);
}

/// Prefixes that may not stand before VEX (SDM vol. 2, 2.3.2 to 2.3.4).
constexpr u64 kBeforeVex = 6 * 4 * 2 * 3 * 256 * 2;
std::vector<u8> behind_prefix(Digits d) {
  static constexpr u8 kPrefixes[6] = {0x66, 0xf3, 0xf2, 0xf0, 0x40, 0x48};
  const u8 prefix = kPrefixes[d.take(6)];
  Form f = vex_form(d);
  f.map = 1 + d.take(3), f.opcode = d.take(0x100);
  std::vector<u8> bytes = encode(f, 0, d.take(2) ? 8 : 1);
  bytes.insert(bytes.begin(), prefix);
  return bytes;
}

constexpr u64 kPoints = kLegacy + kVex + kVexMaps + kBeforeVex;
constexpr u64 kStep = 2147483647;  // so many points from one case to the next: any share of them is spread over all
static_assert(std::gcd(kStep, kPoints) == 1, "the steps reach every point once");

/// Beginnings of Zydis's names of extensions that no model of ours has.
constexpr const char* kBeyond[] = {"AMD",    "AMX_", "AVX512",  "AVX_GFNI",   "AVX_VNNI",  "CET",   "CLDEMOTE", "CLZERO",
                                   "ENQCMD", "FMA4", "GFNI",    "HRESET",     "KEYLOCKER", "LWP",   "MCOMMIT",  "MONITORX",
                                   "MOVDIR", "MPX",  "PADLOCK", "PCONFIG",    "PT",        "RDPRU", "RTM",      "SERIALIZE",
                                   "SGX",    "SMX",  "SNP",     "SSE4A",      "SVM",       "TBM",   "TDX",      "TSX_LDTRK",
                                   "UINTR",  "VAES", "VTX",     "VPCLMULQDQ", "WAITPKG",   "XOP"};

/// Extensions that are younger than this Zydis: what it does not know is theirs, where the processor has any (SDM vol. 2,
/// CPUID: SHA512, SM3, SM4, RAO-INT, CMPCCXADD, AVX-IFMA and others of leaf 7, subleaf 1).
bool has_younger_extensions() {
  constexpr u32 kInEax = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 23;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && ((a & kInEax) || d);
}

/// What the processor runs although the manual has no such instruction: rows of cpu/undefined.h.
bool is_vex_clwb(const Case& c) {
  return c.code[0] == 0xc4 && (c.code[1] & 31) == 1 && (c.code[2] & 3) == 1 && c.code[3] == 0xae && c.code[4] < 0xc0 &&
         (c.code[4] >> 3 & 7) == 6;
}

struct Name {
  bool known = false;
  std::string set, text;
};
Name name_of(const Case& c) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  ZydisDecodedInstruction z;
  Name n;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, c.code.data(), c.length, &z))) return n;
  n.known = true;
  n.set = ZydisISASetGetString(z.meta.isa_set);
  n.text = ZydisMnemonicGetString(z.mnemonic);
  return n;
}
/// VMCALL and its neighbours, which leave a guest even above CPL 0, whatever prefix Zydis refuses before them.
bool asks_hypervisor(const Case& c) {
  constexpr u8 kGroup[] = {0x0f, 0x01};
  const auto at = std::search(c.code.begin(), c.code.end(), std::begin(kGroup), std::end(kGroup));
  return c.code.end() - at > 2 && (at[2] == 0xc1 || at[2] == 0xd4 || at[2] == 0xd9);  // VMCALL, VMFUNC, VMMCALL
}

/// INT3 behind it, which ends what does not fault.
Case case_of(const std::vector<u8>& encoding) {
  Case c;
  c.length = static_cast<u8>(c.code.size());
  c.code.fill(0xcc);
  std::copy(encoding.begin(), encoding.end(), c.code.begin());
  auto& g = c.before.gpr;
  constexpr u64 kSchedYield = 24;  // for what enters Linux although it should not
  g[RAX] = kSchedYield;
  g[RCX] = 1;
  g[RBX] = g[RSP] = g[RBP] = g[RSI] = g[RDI] = kData + 4096;
  c.before.fs_base = 0x140, c.before.gs_base = 0x3ff0;
  return c;
}

bool exists(const Outcome& o) { return !(o.vector == ex::ud && o.after.rip == kCode); }

/// Why an encoding may exist there and not here; empty: there is no reason.
std::string beyond(const Case& c, const Name& name) {
  for (const char* set : kBeyond)
    if (name.set.starts_with(set)) return name.set;
  static const bool younger = has_younger_extensions();
  if (!name.known && younger) return "unknown to Zydis, as this processor's youngest extensions are";
  return is_vex_clwb(c) ? cpu::policy("vex-clwb").instructions : "";
}

void judge(const Case& c, const Outcome& ours, const Outcome& theirs, OpcodeReport& r) {
  ++r.cases;
  if (exists(ours) == exists(theirs)) return;
  const Name name = name_of(c);
  if (const std::string reason = exists(theirs) ? beyond(c, name) : ""; !reason.empty()) {
    ++r.beyond[reason];
    return;
  }
  if (++r.different > OpcodeReport::kShown) return;
  const Outcome& o = exists(ours) ? ours : theirs;
  r.findings.push_back(fmt::format("{:02x}: {} ({}) exists {}: {} at {:+}\n", fmt::join(c.bytes(), " "),
                                   name.known ? name.text : "unknown", name.set,
                                   exists(ours) ? "here, but not there" : "there, but not here", exception_name(o.vector),
                                   static_cast<i64>(o.after.rip - kCode)));
}

/// The reason why a case is not run; empty when it is.
std::string not_run(const Case& c, const Cpuid& cpuid) {
  Insn i;
  const bool legal = decode_insn(c.code.data(), c.length, CodeSize::k64, kCode, cpuid, i) == Decoded::ok;
  if (const char* reason = legal ? exception_of(i.op, kHost) : nullptr) return reason;
  return asks_hypervisor(c) ? "a hypervisor underneath would see it" : "";
}

}  // namespace

u64 opcode_points() { return kPoints; }

std::vector<u8> encoding_at(u64 n) {
  if (n < kLegacy) return legacy(Digits(n));
  if ((n -= kLegacy) < kVex) return with_vex(Digits(n));
  if ((n -= kVex) < kVexMaps) return with_other_map(Digits(n));
  return behind_prefix(Digits(n - kVexMaps));
}

OpcodeReport compare_opcodes(OurSide& ours, Side& theirs, u64 count, const std::function<void(u64, u64)>& progress) {
  OpcodeReport r;
  const auto began = std::chrono::steady_clock::now();
  count = std::min(count, kPoints);
  std::vector<Case> cases;
  const auto run_batch = [&] {
    std::vector<Outcome> a(cases.size()), b(cases.size());
    theirs.start(cases, b);
    ours.run(cases, a);
    theirs.finish();
    for (std::size_t n = 0; n < cases.size(); ++n) judge(cases[n], a[n], b[n], r);
    cases.clear();
  };
  for (u64 n = 0; n < count; ++n) {
    const std::vector<u8> bytes = encoding_at(n * kStep % kPoints);
    if (bytes.empty()) continue;
    const Case c = case_of(bytes);
    if (const std::string reason = not_run(c, ours.cpuid()); !reason.empty())
      ++r.not_run[reason];
    else
      cases.push_back(c);
    if (cases.size() == theirs.batch()) run_batch(), progress(n, r.different);
  }
  run_batch();
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return r;
}

}  // namespace nestwalk::oracle
