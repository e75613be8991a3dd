// The syntax of configuration files: `[section]`, `key = value`, `# comment`, as Boost.Program_options reads them, plus
// `include = other.ini` at the top. Every assignment keeps the line it stands on; nothing here knows what a key means.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace nestwalk::sim {

struct IniLine {
  std::string key;  ///< dotted, the section's name in front
  std::string value;
  u64 line = 0;  ///< counted from 1
};

/// All assignments of `text` in order. `name` stands for the file in messages. Throws ConfigError for control characters,
/// lines over 64 KiB, lines that are neither section, assignment nor comment, bad key names, and a key given twice.
std::vector<IniLine> parse_ini(const std::string& text, const std::string& name);

/// Receives one assignment and its origin, "file:line".
using IniSink = std::function<void(const IniLine&, const std::string& origin)>;

/// Reads a file of at most 4 MiB; what it includes comes first, so that the file itself has the last word. Throws
/// ConfigError.
void read_ini_file(const std::string& path, const IniSink& sink);

/// Whether `key` is made of names of letters, digits, '_' and '-', with dots between them.
bool is_key(std::string_view key);
/// Whether `value` can stand in a file: no control characters, no '#', not over 64 KiB.
bool is_value(std::string_view value);
std::string trim(std::string_view text);
/// `text` fit for a one-line message: control characters escaped, cut after 80 characters.
std::string printable(std::string_view text);

}  // namespace nestwalk::sim
