// Instruction forms as one-line texts and random encodings of them, for the host oracle. Written from the opcode maps (SDM
// vol. 2, appendix A) and not from the decoder, so that decoding is compared with the host as well.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "base/random.h"
#include "cpu/undefined.h"
#include "test/oracle/host_oracle.h"
#include "test/oracle/special_values.h"

namespace nestwalk::test {

/// One form: hex bytes of prefixes and opcode, then marks.
///
// clang-format off
///   /r /0 .. /7   ModRM, with a random register or this extension     +r      a register in the opcode's low bits
///   b v w q       operand size: 8 bits; 16, 32 or 64; 32 or 64 (REX.W); always REX.W
///   ib iz         immediate of 8 bits; of the operand size, at most 32
///   mN            memory operand, N bytes (without: register or memory)
///   reg           register operand only                               lock    with and without LOCK on memory
///   str           a string instruction: RSI, RDI, RCX are set up      bit     the register operand is a bit offset near memory
///   div           dividends that often fit                            ~id     a row of cpu/undefined.h: what is left open
///   vex.PP.MAP    VEX.128 with the implied prefix PP (np 66 f3 f2) and map (0f 38 3a) instead of legacy prefixes; vvvv is a
///                 random register (the oracle of vectors under VEX has a table of its own)
// clang-format on
struct Form {
  explicit Form(const std::string& t) : text(t) {
    std::istringstream in(t);
    for (std::string mark; in >> mark;) take(mark);
  }

  std::string text;
  std::vector<u8> opcode;
  int extension = -1;  ///< -1 no ModRM, 8 /r
  bool in_opcode = false, byte = false, sized = false, wide_or_32 = false, always_wide = false;
  unsigned immediate = 0;  ///< 1: ib, 2: iz
  bool memory_only = false, register_only = false, string = false, bit_offset = false, division = false, lockable = false;
  unsigned memory_bytes = 0;
  u64 ignored_flags = 0;
  bool vex = false;
  u8 vex_prefix = 0, vex_map = 0;  ///< as they are encoded: pp, mmmmm

 private:
  static bool is_hex(const std::string& s) {
    return s.size() == 2 && s.find_first_not_of("0123456789abcdef") == std::string::npos;
  }
  void take(const std::string& m) {
    if (m == "ib")
      immediate = 1;
    else if (m == "iz")
      immediate = 2;
    else if (m == "/r")
      extension = 8;
    else if (m[0] == '/')
      extension = m[1] - '0';
    else if (m == "+r")
      in_opcode = true;
    else if (m == "b")
      byte = true;
    else if (m == "v")
      sized = true;
    else if (m == "w")
      wide_or_32 = true;
    else if (m == "q")
      always_wide = true;
    else if (m == "reg")
      register_only = true;
    else if (m == "str")
      string = true;
    else if (m == "bit")
      bit_offset = true;
    else if (m == "div")
      division = true;
    else if (m == "lock")
      lockable = true;
    else if (m.starts_with("vex."))
      take_vex(m.substr(4));
    else if (m[0] == '~')
      ignore(m);
    else if (m[0] == 'm' && m.size() > 1)
      memory_only = true, memory_bytes = static_cast<unsigned>(std::stoi(m.substr(1)));
    else if (is_hex(m))
      opcode.push_back(bytes_of_hex(m)[0]);
    else
      throw std::invalid_argument("mark " + m + " in form " + text);
  }
  void take_vex(const std::string& m) {
    const std::string prefix = m.substr(0, 2), map = m.substr(3);
    vex = true;
    vex_prefix = prefix == "66" ? 1 : prefix == "f3" ? 2 : prefix == "f2" ? 3 : 0;
    vex_map = map == "38" ? 2 : map == "3a" ? 3 : 1;
  }
  /// A row of the policy table: its flags count only where the host is of the maker that we follow, or never.
  void ignore(const std::string& m) {
    static const bool intel = HostOracle::is_intel();
    const cpu::Policy& p = cpu::policy(m.substr(1));
    if (p.varies || !intel) ignored_flags |= p.flags;
  }
};

/// An encoding of a form, and what the register set-up needs to know about it.
struct Encoding {
  std::vector<u8> bytes;
  unsigned width = 4;  ///< operand size in bytes
  int base = -1;       ///< register that the memory operand is relative to, or -1
  int displacement = 0;
  unsigned reg = 0;  ///< the ModRM register operand
};

inline bool is_prefix(u8 b) { return b == 0x66 || b == 0x67 || b == 0xf2 || b == 0xf3 || b == 0x64 || b == 0x65; }

/// Prefixes, REX, opcode, ModRM with random registers, immediate.
inline Encoding encode(const Form& f, Random& random) {
  Encoding e;
  std::vector<u8> prefixes, opcode;
  for (const u8 b : f.opcode) (opcode.empty() && is_prefix(b) ? prefixes : opcode).push_back(b);
  u8 rex = 0;
  if (f.always_wide) e.width = 8;
  if (f.byte) e.width = 1;
  if (f.sized || f.wide_or_32) {
    const u64 size = random.below(f.sized ? 3 : 2);
    e.width = size == 0 ? 4 : size == 1 ? 8 : 2;
    if (e.width == 2) prefixes.insert(prefixes.begin(), 0x66);
  }
  if (e.width == 8) rex = 0x48;
  std::vector<u8> tail;
  u8 vex_bytes[3] = {0xc4, static_cast<u8>(0xe0 | f.vex_map), static_cast<u8>(f.vex_prefix | (e.width == 8 ? 0x80 : 0))};
  if (f.vex) vex_bytes[2] = static_cast<u8>(vex_bytes[2] | random.below(16) << 3);
  if (f.extension >= 0) {
    const bool memory = f.memory_only || (!f.register_only && random.below(2));
    e.reg = f.extension == 8 ? static_cast<unsigned>(random.below(16)) : static_cast<unsigned>(f.extension);
    unsigned rm = static_cast<unsigned>(random.below(16));
    if (memory) {
      while ((rm & 7) == 4) rm = static_cast<unsigned>(random.below(16));
      e.base = static_cast<int>(rm);
      e.displacement = static_cast<int>(random.below(256)) - 128;
    }
    vex_bytes[1] = static_cast<u8>(vex_bytes[1] ^ ((e.reg & 8) << 4 | (rm & 8) << 2));
    const bool with_rex = rex || (e.reg | rm) & 8 || random.below(2);
    if (with_rex) rex = static_cast<u8>(0x40 | rex | (e.reg & 8) >> 1 | (rm & 8) >> 3);
    tail.push_back(static_cast<u8>((memory ? 0x40 : 0xc0) | (e.reg & 7) << 3 | (rm & 7)));
    if (memory) tail.push_back(static_cast<u8>(e.displacement));
    if (memory && f.lockable && random.below(2)) prefixes.insert(prefixes.begin(), 0xf0);
  }
  if (f.in_opcode) {
    const u8 r = static_cast<u8>(random.below(16));
    opcode.back() = static_cast<u8>(opcode.back() | (r & 7));
    if (r & 8) rex |= 0x41;
  }
  const unsigned immediate = f.immediate == 0 ? 0 : f.immediate == 1 ? 1 : std::min(e.width, 4u);
  for (unsigned n = 0; n < immediate; ++n)
    tail.push_back(static_cast<u8>(random.below(3) ? random.next() : random.below(34)));
  e.bytes = prefixes;
  if (f.vex)
    e.bytes.insert(e.bytes.end(), vex_bytes, vex_bytes + 3);
  else if (rex)
    e.bytes.push_back(rex);
  e.bytes.insert(e.bytes.end(), opcode.begin(), opcode.end());
  e.bytes.insert(e.bytes.end(), tail.begin(), tail.end());
  return e;
}

using oracle::draw_integer;

/// A random case for an encoding: registers, flags, memory; the memory operand lies in the window.
inline OracleCase draw_case(const Form& f, const Encoding& e, Random& random) {
  OracleCase c;
  c.set_code(e.bytes);
  c.state.fx = clean_fx();
  for (u64& r : c.state.gpr) r = draw_integer(random);
  for (u8& b : c.memory) b = static_cast<u8>(random.next());
  if (random.below(4) == 0)
    for (u8& b : c.memory) b = static_cast<u8>(random.below(3));
  c.state.rflags = 0x202 | (random.next() & 0x8d5);
  auto& gpr = c.state.gpr;
  if (f.division && random.below(4)) {
    gpr[2] = random.below(3) ? gpr[2] >> (1 + random.below(63)) : 0;
    if (random.below(2)) gpr[2] = static_cast<u64>(static_cast<i64>(gpr[0]) >> 63);
    if (random.below(2)) gpr[0] >>= random.below(60);
  }
  if (f.bit_offset && e.base >= 0 && static_cast<int>(e.reg) != e.base)
    gpr[e.reg] = (random.next() & ~u64{0x3fff}) | random.below(0x4000);  // 16 bits: near; wider ones: often a fault
  if (f.bit_offset && random.below(2)) gpr[e.reg] = random.below(2) ? random.below(2000) : -random.below(2000);
  if (e.base >= 0) {
    const u64 at = kOracleWindow + 256 + random.below(512);
    gpr[static_cast<unsigned>(e.base)] = (random.below(2) ? at & ~u64{15} : at) - static_cast<u64>(e.displacement);
    if (random.below(32) == 0) gpr[static_cast<unsigned>(e.base)] += 8192;  // a fault now and then
  }
  if (f.string) {
    if (random.below(3) == 0) c.state.rflags |= 0x400;
    const auto place = [&] { return kOracleWindow + random.below(kWindow); };
    gpr[6] = place();
    gpr[7] = random.below(3) ? place() : gpr[6] + random.below(130) - 65;
    gpr[1] = random.below(3) ? random.below(40) : random.below(500);
    if (random.below(8) == 0) gpr[7] = kOracleData + kOracleDataBytes - random.below(100);
    if (random.below(8) == 0) gpr[6] = kOracleData + random.below(100);
    gpr[0] = random.below(2) ? gpr[0] : random.below(3) * 0x0101010101010101;
  }
  return c;
}

}  // namespace nestwalk::test
