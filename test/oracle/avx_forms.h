// Every VEX encoding of AVX, AVX2, FMA3 and F16C (SDM vol. 2, appendix A and the instruction pages), as one-line forms, and
// bytes from them. Written from the opcode maps and not from the decoder, so that decode and meaning are both compared with
// the host.
#pragma once

#include <array>
#include <sstream>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/types.h"

namespace nestwalk::test {

/// Groups of forms, separated by commas; "pp.map L W:" begins a group's common part, the rest are opcodes with operands.
///
///   pp      np 66 f3 f2            map     0f 38 3a
///   L       l 128 bits, y 256, x both, s either (ignored)        W       0, 1, or . (ignored)
///   operands: reg V vector, G general register, 0..7 extension; then H for one in VEX.vvvv (h: not before but behind);
///   then r/m: W vector or memory, w register only, M memory only, E general register or memory, S memory with VSIB
///   then bytes of memory: f the vector's, h a half, q a quarter, o an eighth of it, or a number; W: 4 or 8 by VEX.W
///   i       imm8                   r       imm8 that names a register
inline constexpr const char* kVexForms[] = {
    // clang-format off
    // ---- packed integers
    "66.0f x .: 60 VHWf, 61 VHWf, 62 VHWf, 63 VHWf, 64 VHWf, 65 VHWf, 66 VHWf, 67 VHWf, 68 VHWf, 69 VHWf, 6a VHWf, 6b VHWf, "
    "6c VHWf, 6d VHWf, 74 VHWf, 75 VHWf, 76 VHWf, d4 VHWf, d5 VHWf, d8 VHWf, d9 VHWf, da VHWf, db VHWf, dc VHWf, dd VHWf, "
    "de VHWf, df VHWf, e0 VHWf, e3 VHWf, e4 VHWf, e5 VHWf, e8 VHWf, e9 VHWf, ea VHWf, eb VHWf, ec VHWf, ed VHWf, ee VHWf, "
    "ef VHWf, f4 VHWf, f5 VHWf, f6 VHWf, f8 VHWf, f9 VHWf, fa VHWf, fb VHWf, fc VHWf, fd VHWf, fe VHWf, "
    "d1 VHW16, d2 VHW16, d3 VHW16, e1 VHW16, e2 VHW16, f1 VHW16, f2 VHW16, f3 VHW16, "
    "71 2Hw i, 71 4Hw i, 71 6Hw i, 72 2Hw i, 72 4Hw i, 72 6Hw i, 73 2Hw i, 73 3Hw i, 73 6Hw i, 73 7Hw i, 70 VWf i, d7 Gw",
    "f3.0f x .: 70 VWf i", "f2.0f x .: 70 VWf i",
    "66.38 x .: 00 VHWf, 01 VHWf, 02 VHWf, 03 VHWf, 04 VHWf, 05 VHWf, 06 VHWf, 07 VHWf, 08 VHWf, 09 VHWf, 0a VHWf, 0b VHWf, "
    "1c VWf, 1d VWf, 1e VWf, 28 VHWf, 29 VHWf, 2b VHWf, 37 VHWf, 38 VHWf, 39 VHWf, 3a VHWf, 3b VHWf, 3c VHWf, 3d VHWf, "
    "3e VHWf, 3f VHWf, 40 VHWf, 17 VWf, 20 VWh, 21 VWq, 22 VWo, 23 VWh, 24 VWq, 25 VWh, 30 VWh, 31 VWq, 32 VWo, 33 VWh, "
    "34 VWq, 35 VWh, 2a VMf",
    "66.38 l .: 41 VW16, db VW16, dc VHW16, dd VHW16, de VHW16, df VHW16",
    "66.3a x .: 0e VHWf i, 0f VHWf i, 42 VHWf i",
    "66.3a l .: 44 VHW16 i, df VW16 i, 60 VW16 i, 61 VW16 i, 62 VW16 i, 63 VW16 i",
    // ---- single elements
    "66.0f l .: 6e VEW, 7e VEW, d6 VW8, c4 VHE2 i, c5 Gw i, f7 Vw", "f3.0f l .: 7e VW8",
    "66.3a l .: 14 VE1 i, 15 VE2 i, 16 VEW i, 17 VE4 i, 20 VHE1 i, 22 VHEW i, 21 VHW4 i",
    // ---- moves
    "np.0f x .: 10 VWf, 11 VWf, 28 VWf, 29 VWf, 2b VMf, 50 Gw, 14 VHWf, 15 VHWf, 54 VHWf, 55 VHWf, 56 VHWf, 57 VHWf",
    "66.0f x .: 10 VWf, 11 VWf, 28 VWf, 29 VWf, 2b VMf, 50 Gw, 14 VHWf, 15 VHWf, 54 VHWf, 55 VHWf, 56 VHWf, 57 VHWf, "
    "6f VWf, 7f VWf, e7 VMf",
    "f3.0f x .: 6f VWf, 7f VWf, 12 VWf, 16 VWf", "f2.0f x .: f0 VMf", "f2.0f l .: 12 VW8", "f2.0f y .: 12 VW32",
    "f3.0f s .: 10 VHw, 10 VM4, 11 VHw, 11 VM4", "f2.0f s .: 10 VHw, 10 VM8, 11 VHw, 11 VM8",
    "np.0f l .: 12 VHM8, 12 VHw, 13 VM8, 16 VHM8, 16 VHw, 17 VM8, ae 2M4, ae 3M4, 77 --",
    "66.0f l .: 12 VHM8, 13 VM8, 16 VHM8, 17 VM8", "np.0f y .: 77 --",
    // ---- floating-point arithmetic
    "np.0f x .: 51 VWf, 52 VWf, 53 VWf, 58 VHWf, 59 VHWf, 5c VHWf, 5d VHWf, 5e VHWf, 5f VHWf, c2 VHWf i, c6 VHWf i",
    "66.0f x .: 51 VWf, 58 VHWf, 59 VHWf, 5c VHWf, 5d VHWf, 5e VHWf, 5f VHWf, c2 VHWf i, c6 VHWf i, d0 VHWf, 7c VHWf, 7d VHWf",
    "f3.0f s .: 51 VHW4, 52 VHW4, 53 VHW4, 58 VHW4, 59 VHW4, 5c VHW4, 5d VHW4, 5e VHW4, 5f VHW4, c2 VHW4 i",
    "f2.0f s .: 51 VHW8, 58 VHW8, 59 VHW8, 5c VHW8, 5d VHW8, 5e VHW8, 5f VHW8, c2 VHW8 i",
    "f2.0f x .: d0 VHWf, 7c VHWf, 7d VHWf", "np.0f s .: 2e VW4, 2f VW4", "66.0f s .: 2e VW8, 2f VW8",
    "66.3a x .: 08 VWf i, 09 VWf i, 0c VHWf i, 0d VHWf i, 40 VHWf i", "66.3a s .: 0a VHW4 i, 0b VHW8 i",
    "66.3a l .: 41 VHW16 i",
    // ---- conversions
    "f3.0f s .: 2a VHEW, 2c GW4, 2d GW4, 5a VHW4", "f2.0f s .: 2a VHEW, 2c GW8, 2d GW8, 5a VHW8",
    "np.0f x .: 5a VWh, 5b VWf", "66.0f x .: 5a VWf, 5b VWf, e6 VWf", "f3.0f x .: 5b VWf, e6 VWh", "f2.0f x .: e6 VWf",
    "66.38 x 0: 13 VWh", "66.3a x 0: 1d VWh i",
    // ---- new with AVX
    "66.38 x 0: 0c VHWf, 0d VHWf, 0e VWf, 0f VWf, 2c VHMf, 2d VHMf, 2e VHMf, 2f VHMf, 18 VM4", "66.38 y 0: 19 VM8, 1a VM16",
    "66.3a x 0: 04 VWf i, 05 VWf i, 4a VHWf r, 4b VHWf r, 4c VHWf r",
    "66.3a y 0: 06 VHWf i, 18 VHW16 i, 19 VW16 i",
    // ---- new with AVX2
    "66.38 x 0: 18 VW4, 58 VW4, 59 VW8, 78 VW1, 79 VW2, 45 VHWf, 46 VHWf, 47 VHWf, 8c VHMf, 8e VHMf",
    "66.38 x 1: 45 VHWf, 47 VHWf, 8c VHMf, 8e VHMf", "66.38 y 0: 19 VW8, 5a VM16, 16 VHWf, 36 VHWf",
    "66.3a x 0: 02 VHWf i", "66.3a y 0: 38 VHW16 i, 39 VW16 i, 46 VHWf i", "66.3a y 1: 00 VWf i, 01 VWf i",
    "66.38 x 0: 90 VHS, 91 VHS, 92 VHS, 93 VHS", "66.38 x 1: 90 VHS, 91 VHS, 92 VHS, 93 VHS",
    // ---- FMA
    "66.38 x 0: 96 VHWf, 97 VHWf, 98 VHWf, 9a VHWf, 9c VHWf, 9e VHWf, a6 VHWf, a7 VHWf, a8 VHWf, aa VHWf, ac VHWf, ae VHWf, "
    "b6 VHWf, b7 VHWf, b8 VHWf, ba VHWf, bc VHWf, be VHWf",
    "66.38 x 1: 96 VHWf, 97 VHWf, 98 VHWf, 9a VHWf, 9c VHWf, 9e VHWf, a6 VHWf, a7 VHWf, a8 VHWf, aa VHWf, ac VHWf, ae VHWf, "
    "b6 VHWf, b7 VHWf, b8 VHWf, ba VHWf, bc VHWf, be VHWf",
    "66.38 s 0: 99 VHW4, 9b VHW4, 9d VHW4, 9f VHW4, a9 VHW4, ab VHW4, ad VHW4, af VHW4, b9 VHW4, bb VHW4, bd VHW4, bf VHW4",
    "66.38 s 1: 99 VHW8, 9b VHW8, 9d VHW8, 9f VHW8, a9 VHW8, ab VHW8, ad VHW8, af VHW8, b9 VHW8, bb VHW8, bd VHW8, bf VHW8",
    // clang-format on
};

struct VexForm {
  std::string text;
  u8 prefix = 0, map = 0, opcode = 0;  ///< prefix and map as they are encoded: pp, mmmmm
  char length = 'x', w = '.';
  char reg = '-', rm = '-';
  bool third = false;  ///< VEX.vvvv names a register
  char memory = '-';   ///< f h q o W, or a digit's worth in `bytes`
  unsigned bytes = 0;
  bool imm = false, imm_register = false;

  bool has_memory_form() const { return rm == 'W' || rm == 'M' || rm == 'E' || rm == 'S'; }
  bool has_register_form() const { return rm != 'M' && rm != 'S'; }
  bool is_fma() const { return map == 2 && (opcode & 0xf) >= 6 && opcode >= 0x96 && opcode <= 0xbf; }
  bool is_f16c() const { return (map == 2 && opcode == 0x13) || (map == 3 && opcode == 0x1d); }
};

namespace detail {
inline VexForm parse_vex_form(const std::string& common, const std::string& text) {
  VexForm f;
  f.text = common + ": " + text;
  const std::string pp = common.substr(0, 2), map = common.substr(3, 2);
  f.prefix = pp == "66" ? 1 : pp == "f3" ? 2 : pp == "f2" ? 3 : 0;
  f.map = map == "0f" ? 1 : map == "38" ? 2 : 3;
  f.length = common[6];
  f.w = common[8];
  std::istringstream in(text);
  std::string opcode, operands, mark;
  in >> opcode >> operands >> mark;
  f.opcode = static_cast<u8>(std::stoul(opcode, nullptr, 16));
  f.imm = !mark.empty();
  f.imm_register = mark == "r";
  if (operands == "--") return f;
  f.reg = operands[0];
  f.third = operands[1] == 'H';
  operands.erase(0, f.third ? 2 : 1);
  f.rm = operands[0];
  operands.erase(0, 1);
  if (operands.empty()) return f;
  f.memory = operands[0];
  if (f.memory >= '0' && f.memory <= '9') f.bytes = static_cast<unsigned>(std::stoul(operands));
  return f;
}
}  // namespace detail

inline std::vector<VexForm> parsed_vex_forms() {
  std::vector<VexForm> all;
  for (const char* group : kVexForms) {
    const std::string line = group;
    const std::size_t colon = line.find(':');
    std::istringstream in(line.substr(colon + 1));
    for (std::string text; std::getline(in >> std::ws, text, ',');)
      all.push_back(detail::parse_vex_form(line.substr(0, colon), text));
  }
  return all;
}

/// An encoding's fields before they are bytes.
struct VexFields {
  bool memory = false, wide = false, w = false;
  unsigned reg = 0, third = 0, rm = 0;  ///< rm: the register, or the base (8 bits of displacement: none)
  unsigned index = 0, scale = 0;        ///< VSIB
  u8 imm = 0;
};

/// Draws what the form leaves open. `base`: of memory operands. General registers are RAX, RDX, R8..R11, so that no base is
/// overwritten.
inline VexFields draw_fields(const VexForm& f, bool memory, unsigned base, u8 imm, Random& random) {
  static constexpr unsigned gprs[] = {0, 2, 8, 9, 10, 11};
  const auto vector = [&] { return static_cast<unsigned>(random.below(16)); };
  VexFields v;
  v.memory = memory;
  v.wide = f.length == 'y' || ((f.length == 'x' || f.length == 's') && random.below(2));
  v.w = f.w == '1' || (f.w == '.' && random.below(2));
  v.reg = f.reg == 'G'   ? gprs[random.below(6)]
          : f.reg == 'V' ? vector()
          : f.reg == '-' ? 0
                         : static_cast<unsigned>(f.reg - '0');
  v.third = f.third ? vector() : 0;
  v.rm = memory ? base : f.rm == 'E' ? gprs[random.below(6)] : vector();
  v.index = vector();
  v.scale = static_cast<unsigned>(random.below(4));
  v.imm = imm;
  return v;
}

/// The bytes; the two-byte prefix where it will do and `shorten` says so.
inline std::vector<u8> encode(const VexForm& f, const VexFields& v, bool shorten) {
  const unsigned not_r = v.reg < 8, not_b = v.rm < 8, not_x = f.rm != 'S' || v.index < 8;
  const unsigned low = (15 - (f.third ? v.third : 0)) << 3 | (v.wide ? 4u : 0u) | f.prefix;
  std::vector<u8> out;
  if (shorten && f.map == 1 && !v.w && not_b && not_x) {
    out = {0xc5, static_cast<u8>(not_r << 7 | low)};
  } else {
    out = {0xc4, static_cast<u8>(not_r << 7 | not_x << 6 | not_b << 5 | f.map), static_cast<u8>((v.w ? 0x80u : 0u) | low)};
  }
  out.push_back(f.opcode);
  if (f.reg == '-') return out;
  if (f.rm == 'S') {
    out.push_back(static_cast<u8>((v.reg & 7) << 3 | 4));
    out.push_back(static_cast<u8>(v.scale << 6 | (v.index & 7) << 3 | (v.rm & 7)));
  } else {
    out.push_back(static_cast<u8>((v.memory ? 0 : 0xc0) | (v.reg & 7) << 3 | (v.rm & 7)));
  }
  if (f.imm) out.push_back(v.imm);
  return out;
}

}  // namespace nestwalk::test
