// Bytes as the manuals write them: "0f af c1".
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/types.h"

namespace nestwalk::test {

inline std::vector<u8> bytes_of_hex(const std::string& hex) {
  std::vector<u8> bytes;
  int high = -1;
  for (const char ch : hex) {
    if (ch == ' ') continue;
    const int v = ch >= 'a' ? ch - 'a' + 10 : ch - '0';
    if (v < 0 || v > 15) throw std::invalid_argument("not hexadecimal: " + hex);
    if (high < 0) {
      high = v;
    } else {
      bytes.push_back(static_cast<u8>(high << 4 | v));
      high = -1;
    }
  }
  return bytes;
}

inline std::string hex_of(std::span<const u8> bytes) {
  std::string text;
  constexpr char digits[] = "0123456789abcdef";
  for (const u8 b : bytes) {
    if (!text.empty()) text += ' ';
    text += digits[b >> 4];
    text += digits[b & 15];
  }
  return text;
}

}  // namespace nestwalk::test
