// Instruction cases of one line: bytes, state before, state after.
//
//   "c1 e0 04 : rax=1 cf=1 => rax=10 cf=0"
//
// Numbers are hexadecimal; W is the address of the test window. Left and right name registers (rax..r15), flags (cf pf af
// zf sf of df) and memory words [offset]=value (1, 2, 4 or 8 bytes with the suffix .1 .2 .4 .8, 8 by default); the right
// side may name the exception v=number. A register that the right side does not name must be unchanged.
#pragma once

#include <fmt/format.h>

#include <map>
#include <sstream>

#include "test/catch.h"
#include "test/cpu/snippet.h"

namespace nestwalk::test {

class Line {
 public:
  explicit Line(const std::string& text) : text_(text) {
    const auto colon = text.find(':'), arrow = text.find("=>");
    if (colon == std::string::npos || arrow == std::string::npos)
      throw std::invalid_argument("line without : or =>: " + text);
    before_.set_code(bytes_of_hex(text.substr(0, colon)));
    before_.state.fx = clean_fx();
    for (unsigned n = 0; n < 16; ++n) before_.state.gpr[n] = u64{0x1111111111111111} * n;
    before_.state.gpr[4] = kSnippetWindow + 512;
    each(text.substr(colon + 1, arrow - colon - 1), [&](const std::string& name, u64 v) { set(name, v); });
    each(text.substr(arrow + 2), [&](const std::string& name, u64 v) { expected_[name] = v; });
  }

  /// Checks everything the line says; the case after the run, for more.
  Snippet check(SnippetMachine& machine, Mode mode = Mode::k64) {
    Snippet c = before_;
    machine.run(c, mode);
    std::string wrong;
    const u64 vector = expected_.contains("v") ? expected_["v"] : ~u64{0};
    if (static_cast<u64>(static_cast<i64>(c.vector)) != vector) wrong += fmt::format(" exception {}", c.vector);
    for (const auto& [name, v] : expected_)
      if (name != "v" && get(c, name) != v) wrong += fmt::format(" {}={:x}", name, get(c, name));
    for (unsigned n = 0; n < 16; ++n)
      if (!expected_.contains(kRegisters[n]) && c.state.gpr[n] != before_.state.gpr[n])
        wrong += fmt::format(" {} changed to {:x}", kRegisters[n], c.state.gpr[n]);
    INFO(text_ << "\n  but:" << wrong);
    CHECK(wrong.empty());
    return c;
  }

 private:
  static constexpr const char* kRegisters[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                 "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

  static u64 number(const std::string& s) {
    if (s.empty()) throw std::invalid_argument("a value is missing");
    if (s[0] == '-') return -number(s.substr(1));
    if (s[0] != 'W') return std::stoull(s, nullptr, 16);
    return kSnippetWindow + (s.size() > 1 ? s[1] == '+' ? number(s.substr(2)) : -number(s.substr(2)) : 0);
  }
  template <class F>
  static void each(const std::string& part, F&& f) {
    std::istringstream in(part);
    for (std::string word; in >> word;) {
      const auto equals = word.find('=');
      if (equals == std::string::npos) throw std::invalid_argument("not name=value: " + word);
      f(word.substr(0, equals), number(word.substr(equals + 1)));
    }
  }
  static int flag(const std::string& name) {
    static const std::map<std::string, int> bits = {{"cf", 0}, {"pf", 2},  {"af", 4}, {"zf", 6},
                                                    {"sf", 7}, {"df", 10}, {"of", 11}};
    const auto it = bits.find(name);
    return it == bits.end() ? -1 : it->second;
  }
  static int gpr(const std::string& name) {
    for (int n = 0; n < 16; ++n)
      if (name == kRegisters[n]) return n;
    return -1;
  }
  /// "[10].2" to offset and bytes.
  static std::pair<unsigned, unsigned> word_of(const std::string& name) {
    const auto close = name.find(']');
    if (name.empty() || name[0] != '[' || close == std::string::npos) throw std::invalid_argument("unknown name " + name);
    const unsigned offset = static_cast<unsigned>(number(name.substr(1, close - 1)));
    return {offset, close + 2 < name.size() ? static_cast<unsigned>(name[close + 2] - '0') : 8};
  }
  void set(const std::string& name, u64 v) {
    if (const int n = gpr(name); n >= 0) {
      before_.state.gpr[static_cast<unsigned>(n)] = v;
    } else if (const int bit_number = flag(name); bit_number >= 0) {
      before_.state.rflags = (before_.state.rflags & ~bit(static_cast<unsigned>(bit_number))) | v << bit_number;
    } else {
      const auto [offset, bytes] = word_of(name);
      std::memcpy(&before_.memory.at(offset), &v, bytes);
    }
  }
  static u64 get(const Snippet& c, const std::string& name) {
    if (name == "rip") return c.state.rip;
    if (const int n = gpr(name); n >= 0) return c.state.gpr[static_cast<unsigned>(n)];
    if (const int bit_number = flag(name); bit_number >= 0) return (c.state.rflags >> bit_number) & 1;
    const auto [offset, bytes] = word_of(name);
    u64 v = 0;
    std::memcpy(&v, &c.memory.at(offset), bytes);
    return v;
  }

  std::string text_;
  Snippet before_;
  std::map<std::string, u64> expected_;
};

inline void check_lines(std::initializer_list<const char*> lines, Mode mode = Mode::k64) {
  SnippetMachine machine;
  for (const char* text : lines) Line(text).check(machine, mode);
}

}  // namespace nestwalk::test
