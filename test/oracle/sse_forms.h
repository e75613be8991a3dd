// Every encoding of MMX, SSE to SSE4.2, AES-NI and PCLMULQDQ (SDM vol. 2, appendix A and B), as one-line forms, and bytes
// from them. Written from the opcode maps and not from the decoder, so that decode and meaning are both compared with the
// host.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/types.h"

namespace nestwalk::test {

/// Groups of forms, separated by commas: prefix and opcode bytes; reg and r/m operand with the bytes of memory; i for an
/// imm8. W is REX.W. Operands: P MMX, V XMM, G r32, Q r64 (REX.W), 0..7 = opcode extension, - = none. A lower-case r/m
/// letter: registers only; m: memory only. The mark * stands for both the MMX form and, with 66, the XMM form.
inline constexpr const char* kSseForms[] = {
    // clang-format off
    // ---- MMX and their XMM twins
    "*0f 60, *0f 61, *0f 62, *0f 63, *0f 64, *0f 65, *0f 66, *0f 67, *0f 68, *0f 69, *0f 6a, *0f 6b, *0f 74, *0f 75, "
    "*0f 76, *0f d1, *0f d2, *0f d3, *0f d4, *0f d5, *0f d8, *0f d9, *0f da, *0f db, *0f dc, *0f dd, *0f de, *0f df, "
    "*0f e0, *0f e1, *0f e2, *0f e3, *0f e4, *0f e5, *0f e8, *0f e9, *0f ea, *0f eb, *0f ec, *0f ed, *0f ee, *0f ef, "
    "*0f f1, *0f f2, *0f f3, *0f f4, *0f f5, *0f f6, *0f f8, *0f f9, *0f fa, *0f fb, *0f fc, *0f fd, *0f fe, *0f 38 00, "
    "*0f 38 01, *0f 38 02, *0f 38 03, *0f 38 04, *0f 38 05, *0f 38 06, *0f 38 07, *0f 38 08, *0f 38 09, *0f 38 0a, "
    "*0f 38 0b, *0f 38 1c, *0f 38 1d, *0f 38 1e, *0f 3a 0f i",
    // ---- shifts by an immediate
    "0f 71 2p i, 0f 71 4p i, 0f 71 6p i, 0f 72 2p i, 0f 72 4p i, 0f 72 6p i, 0f 73 2p i, 0f 73 6p i, 66 0f 71 2v i, "
    "66 0f 71 4v i, 66 0f 71 6v i, 66 0f 72 2v i, 66 0f 72 4v i, 66 0f 72 6v i, 66 0f 73 2v i, 66 0f 73 6v i, "
    "66 0f 73 3v i, 66 0f 73 7v i",
    // ---- MOVD, MOVQ, MMX moves
    "0f 6e PG4, 0f 6e PQ8, 0f 7e PG4, 0f 7e PQ8, 0f 6f PP8, 0f 7f PP8, 0f 77 --, 0f e7 Pm8, 0f 70 PP8 i, 0f d7 Gp, "
    "0f f7 Pp, 0f c4 PG2 i, 0f c5 Gp i, 66 0f 6e VG4, 66 0f 6e VQ8, 66 0f 7e VG4, 66 0f 7e VQ8, f3 0f 7e VV8, "
    "66 0f d6 VV8, f2 0f d6 Pv, f3 0f d6 Vp",
    // ---- SSE and SSE2 moves
    "0f 10 VV16, 0f 11 VV16, 66 0f 10 VV16, 66 0f 11 VV16, f3 0f 10 VV4, f3 0f 11 VV4, f2 0f 10 VV8, f2 0f 11 VV8, "
    "0f 12 Vm8, 0f 12 Vv, 0f 13 Vm8, 0f 16 Vm8, 0f 16 Vv, 0f 17 Vm8, 66 0f 12 Vm8, 66 0f 13 Vm8, 66 0f 16 Vm8, "
    "66 0f 17 Vm8, 0f 28 VV16, 0f 29 VV16, 66 0f 28 VV16, 66 0f 29 VV16, 0f 2b Vm16, 66 0f 2b Vm16, 66 0f 6f VV16, "
    "66 0f 7f VV16, f3 0f 6f VV16, f3 0f 7f VV16, 66 0f e7 Vm16, 66 0f f7 Vv, 0f 50 Gv, 66 0f 50 Gv, 66 0f d7 Gv, "
    "0f 50 Qv, 66 0f c4 VG2 i, 66 0f c5 Gv i",
    // ---- logic, unpack, shuffle
    "0f 14 VV16, 66 0f 14 VV16, 0f 15 VV16, 66 0f 15 VV16, 0f 54 VV16, 66 0f 54 VV16, 0f 55 VV16, 66 0f 55 VV16, "
    "0f 56 VV16, 66 0f 56 VV16, 0f 57 VV16, 66 0f 57 VV16, 66 0f 6c VV16, 66 0f 6d VV16, 66 0f 70 VV16 i, "
    "f2 0f 70 VV16 i, f3 0f 70 VV16 i, 0f c6 VV16 i, 66 0f c6 VV16 i",
    // ---- arithmetic
    "0f 51 VV16, 66 0f 51 VV16, f3 0f 51 VV4, f2 0f 51 VV8, 0f 52 VV16, f3 0f 52 VV4, 0f 53 VV16, f3 0f 53 VV4, "
    "0f 58 VV16, 66 0f 58 VV16, f3 0f 58 VV4, f2 0f 58 VV8, 0f 59 VV16, 66 0f 59 VV16, f3 0f 59 VV4, f2 0f 59 VV8, "
    "0f 5c VV16, 66 0f 5c VV16, f3 0f 5c VV4, f2 0f 5c VV8, 0f 5d VV16, 66 0f 5d VV16, f3 0f 5d VV4, f2 0f 5d VV8, "
    "0f 5e VV16, 66 0f 5e VV16, f3 0f 5e VV4, f2 0f 5e VV8, 0f 5f VV16, 66 0f 5f VV16, f3 0f 5f VV4, f2 0f 5f VV8, "
    "0f c2 VV16 i, 66 0f c2 VV16 i, f3 0f c2 VV4 i, f2 0f c2 VV8 i, 0f 2e VV4, 66 0f 2e VV8, 0f 2f VV4, 66 0f 2f VV8",
    // ---- conversions
    "0f 2a VP8, 66 0f 2a VP8, f3 0f 2a VG4, f3 0f 2a VQ8, f2 0f 2a VG4, f2 0f 2a VQ8, 0f 2c PV8, 66 0f 2c PV16, "
    "0f 2d PV8, 66 0f 2d PV16, f3 0f 2c GV4, f3 0f 2c QV4, f2 0f 2c GV8, f2 0f 2c QV8, f3 0f 2d GV4, f3 0f 2d QV4, "
    "f2 0f 2d GV8, f2 0f 2d QV8, 0f 5a VV8, 66 0f 5a VV16, f3 0f 5a VV4, f2 0f 5a VV8, 0f 5b VV16, 66 0f 5b VV16, "
    "f3 0f 5b VV16, 66 0f e6 VV16, f3 0f e6 VV8, f2 0f e6 VV16",
    // ---- SSE3
    "66 0f d0 VV16, f2 0f d0 VV16, 66 0f 7c VV16, f2 0f 7c VV16, 66 0f 7d VV16, f2 0f 7d VV16, f2 0f f0 Vm16, "
    "f2 0f 12 VV8, f3 0f 12 VV16, f3 0f 16 VV16",
    // ---- SSE4.1
    "66 0f 38 10 VV16, 66 0f 38 14 VV16, 66 0f 38 15 VV16, 66 0f 38 17 VV16, 66 0f 38 20 VV8, 66 0f 38 21 VV4, "
    "66 0f 38 22 VV2, 66 0f 38 23 VV8, 66 0f 38 24 VV4, 66 0f 38 25 VV8, 66 0f 38 28 VV16, 66 0f 38 29 VV16, "
    "66 0f 38 2a Vm16, 66 0f 38 2b VV16, 66 0f 38 30 VV8, 66 0f 38 31 VV4, 66 0f 38 32 VV2, 66 0f 38 33 VV8, "
    "66 0f 38 34 VV4, 66 0f 38 35 VV8, 66 0f 38 38 VV16, 66 0f 38 39 VV16, 66 0f 38 3a VV16, 66 0f 38 3b VV16, "
    "66 0f 38 3c VV16, 66 0f 38 3d VV16, 66 0f 38 3e VV16, 66 0f 38 3f VV16, 66 0f 38 40 VV16, 66 0f 38 41 VV16, "
    "66 0f 3a 08 VV16 i, 66 0f 3a 09 VV16 i, 66 0f 3a 0a VV4 i, 66 0f 3a 0b VV8 i, 66 0f 3a 0c VV16 i, "
    "66 0f 3a 0d VV16 i, 66 0f 3a 0e VV16 i, 66 0f 3a 14 VG1 i, 66 0f 3a 15 VG2 i, 66 0f 3a 16 VG4 i, "
    "66 0f 3a 16 VQ8 i, 66 0f 3a 17 VG4 i, 66 0f 3a 20 VG1 i, 66 0f 3a 21 VV4 i, 66 0f 3a 22 VG4 i, 66 0f 3a 22 VQ8 i, "
    "66 0f 3a 40 VV16 i, 66 0f 3a 41 VV16 i, 66 0f 3a 42 VV16 i",
    // ---- SSE4.2, AES, PCLMULQDQ
    "66 0f 38 37 VV16, 66 0f 3a 60 VV16 i, 66 0f 3a 61 VV16 i, 66 0f 3a 62 VV16 i, 66 0f 3a 63 VV16 i, "
    "66 W0f 3a 60 VV16 i, 66 W0f 3a 61 VV16 i, 66 0f 3a 44 VV16 i, 66 0f 38 db VV16, 66 0f 38 dc VV16, "
    "66 0f 38 dd VV16, 66 0f 38 de VV16, 66 0f 38 df VV16, 66 0f 3a df VV16 i",
    // clang-format on
};

/// One form, parsed.
struct SseForm {
  std::string text;
  std::vector<u8> prefix, opcode;
  char reg = '-', rm = '-';
  unsigned memory = 0;
  bool imm = false, rex_w = false;

  bool has_modrm() const { return reg != '-'; }
  bool has_register_form() const { return rm != 'm'; }
};

namespace detail {
inline SseForm parse_form(const std::string& text) {
  SseForm f;
  f.text = text;
  std::size_t at = 0;
  while (at < text.size()) {
    std::string word = text.substr(at, text.find(' ', at) - at);
    at += word.size() + 1;
    if (word[0] == 'W') {
      f.rex_w = true;
      word.erase(0, 1);
    }
    const bool hex = word.size() == 2 && word.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (word == "i") {
      f.imm = true;
    } else if (hex) {
      const u8 byte = static_cast<u8>(std::stoul(word, nullptr, 16));
      (f.opcode.empty() && byte != 0x0f ? f.prefix : f.opcode).push_back(byte);
    } else {
      f.reg = word[0];
      f.rm = word[1];
      if (word.size() > 2) f.memory = static_cast<unsigned>(std::stoul(word.substr(2)));
      f.rex_w |= f.reg == 'Q' || f.rm == 'Q';
    }
  }
  return f;
}
}  // namespace detail

inline std::vector<SseForm> parsed_sse_forms() {
  std::vector<SseForm> all;
  for (const char* group : kSseForms) {
    std::istringstream in(group);
    for (std::string text; std::getline(in >> std::ws, text, ',');) {
      if (text[0] != '*') {
        all.push_back(detail::parse_form(text));
        continue;
      }
      const bool imm = text.back() == 'i';
      const std::string opcode = text.substr(1, text.size() - (imm ? 3 : 1)), tail = imm ? " i" : "";
      all.push_back(detail::parse_form(opcode + " PP8" + tail));
      all.push_back(detail::parse_form("66 " + opcode + " VV16" + tail));
    }
  }
  return all;
}

/// Bytes of the form with random operands; `memory`: the r/m operand is [base], a register number below 8 other than 4
/// and 5. General-register operands are drawn from RAX, RDX, R8..R11 and so never overwrite a base in RBX, RSI or RDI.
inline std::vector<u8> encode(const SseForm& f, bool memory, unsigned base, u8 imm, Random& random) {
  const auto draw = [&](char kind) -> unsigned {
    static constexpr unsigned gprs[] = {0, 2, 8, 9, 10, 11};
    switch (kind) {
      case 'P':
      case 'p': return static_cast<unsigned>(random.next() % 8);
      case 'V':
      case 'v': return static_cast<unsigned>(random.next() % 16);
      case 'G':
      case 'Q': return gprs[random.next() % 6];
      default: return static_cast<unsigned>(kind - '0');
    }
  };
  std::vector<u8> out = f.prefix;
  unsigned modrm = 0;
  if (f.has_modrm()) {
    const unsigned reg = draw(f.reg), rm = memory ? base : draw(f.rm);
    const unsigned rex = (f.rex_w ? 8u : 0u) | (reg >> 3 << 2) | (rm >> 3);
    if (rex) out.push_back(static_cast<u8>(0x40 | rex));
    modrm = (memory ? 0 : 0xc0) | (reg & 7) << 3 | (rm & 7);
  }
  out.insert(out.end(), f.opcode.begin(), f.opcode.end());
  if (f.has_modrm()) out.push_back(static_cast<u8>(modrm));
  if (f.imm) out.push_back(imm);
  return out;
}

}  // namespace nestwalk::test
