// What any bytes must survive as a configuration: they are refused with one printable line, or they are accepted, and then
// their effective form reads back to itself.
#pragma once

#include <cstdlib>
#include <string>

#include "sim/settings.h"

namespace nestwalk::fuzz {

enum class Fuzzed : u8 { a, b };

/// Declares a key of every type, twice over for each child the text invents.
inline std::string configure(sim::Settings& settings) {
  u64 number = 1, bytes = 4096, hertz = 1;
  u32 small = 0;
  double real = 0;
  bool truth = false;
  Fuzzed choice = Fuzzed::a;
  std::string word;
  std::vector<std::string> list;
  const auto declare = [&](sim::Section s) {
    s.field("number", number, {.min = 1, .max = 1000, .unit = "entries"}, "");
    s.field("bytes", bytes, {.unit = "bytes"}, "");
    s.field("hertz", hertz, {.unit = "Hz"}, "");
    s.field("small", small, {}, "");
    s.field("real", real, -10, 10, "", "");
    s.field("truth", truth, "");
    s.field("choice", choice, {{"a", Fuzzed::a}, {"b", Fuzzed::b}}, "");
    s.field("word", word, "");
    s.field("list", list, "");
  };
  sim::Section root = settings.section("x");
  declare(root);
  for (const std::string& child : root.children()) declare(root.child(child));
  settings.refuse_unknown();
  return settings.effective();
}

/// Whether `text` was accepted; aborts when a promise is broken.
inline bool survives(const std::string& text) {
  std::string effective;
  try {
    sim::Settings settings;
    settings.load_text(text, "fuzz.ini");
    effective = configure(settings);
  } catch (const sim::ConfigError& e) {
    for (const char c : std::string_view(e.what()))
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) std::abort();
    return false;
  }
  sim::Settings again;
  again.load_text(effective, "effective.ini");
  if (configure(again) != effective) std::abort();
  return true;
}

}  // namespace nestwalk::fuzz
