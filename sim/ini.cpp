// Boost.Program_options splits the text; it reports no line numbers and trusts its input, so the text is first checked
// line by line here, and the lines found are matched with Boost's options one to one.
#include "sim/ini.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "sim/settings.h"

namespace nestwalk::sim {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestLine = 64 << 10;
constexpr std::size_t kLongestKey = 200;
constexpr std::size_t kLargestFile = 4 << 20;
constexpr std::size_t kDeepestInclude = 8;
constexpr const char* kInclude = "include";

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

/// The check of one file, line by line; throws at the first bad line.
class Scanner {
 public:
  explicit Scanner(const std::string& name) : name_(name) {}

  void line(std::string_view raw, u64 number) {
    if (raw.size() > kLongestLine)
      refuse(number, fmt::format("a line of {} characters; at most {} are read", raw.size(), kLongestLine));
    if (std::any_of(raw.begin(), raw.end(), is_control)) refuse(number, "control characters: this is not a text file");
    const std::string text = trim(raw.substr(0, raw.find('#')));
    if (text.empty()) return;
    if (text.front() == '[') {
      open_section(text, number);
      return;
    }
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos)
      refuse(number, fmt::format("'{}' is neither [section] nor key = value nor # comment", printable(text)));
    assign(prefix_ + trim(std::string_view(text).substr(0, equals)), number);
  }
  const std::vector<IniLine>& lines() const { return lines_; }
  [[noreturn]] void refuse(u64 number, const std::string& why) const {
    throw ConfigError(fmt::format("{}:{}: {}", name_, number, why));
  }

 private:
  void open_section(const std::string& text, u64 number) {
    if (text.back() != ']') refuse(number, fmt::format("'{}': the closing ']' of the section is missing", printable(text)));
    const std::string section = text.substr(1, text.size() - 2);
    if (!is_key(section))
      refuse(number, fmt::format("'{}' is no section name; allowed are letters, digits, '_', '-' and dots between names",
                                 printable(section)));
    prefix_ = section + ".";
  }
  void assign(const std::string& key, u64 number) {
    if (!is_key(key))
      refuse(number,
             fmt::format("'{}' is no key; allowed are letters, digits, '_', '-' and dots between names", printable(key)));
    if (key == kInclude) {
      if (lines_.size() != includes_) refuse(number, "include must stand before every key");
      ++includes_;
    } else if (const auto [first, is_new] = seen_.emplace(key, number); !is_new) {
      refuse(number, fmt::format("{} is given twice; first on line {}", key, first->second));
    }
    lines_.push_back({key, "", number});
  }

  std::string name_, prefix_;
  std::vector<IniLine> lines_;
  std::map<std::string, u64> seen_;
  std::size_t includes_ = 0;
};

std::string read_text(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw ConfigError(fmt::format("{}: is a folder, not a configuration file", path));
  std::ifstream in(path, std::ios::binary);
  if (!in) throw ConfigError(fmt::format("{}: cannot open: {}", path, std::generic_category().message(errno)));
  std::string text(kLargestFile + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) throw ConfigError(fmt::format("{}: cannot read", path));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kLargestFile)
    throw ConfigError(fmt::format("{}: over {} MiB is no configuration file", path, kLargestFile >> 20));
  return text;
}

/// Reads files with what they include; `open_` is the chain of files being read.
class Reader {
 public:
  explicit Reader(const IniSink& sink) : sink_(sink) {}

  void file(const std::string& path, const std::string& asked_by) {
    std::error_code error;
    const fs::path real = fs::weakly_canonical(path, error);
    if (std::find(open_.begin(), open_.end(), real) != open_.end())
      throw ConfigError(fmt::format("{}: {} includes itself", asked_by, path));
    if (open_.size() > kDeepestInclude)
      throw ConfigError(fmt::format("{}: includes deeper than {}", asked_by, kDeepestInclude));
    open_.push_back(real);
    for (const IniLine& line : parse_ini(read(path, asked_by), path)) {
      const std::string origin = fmt::format("{}:{}", path, line.line);
      if (line.key == kInclude)
        file((fs::path(path).parent_path() / line.value).string(), origin);
      else
        sink_(line, origin);
    }
    open_.pop_back();
  }

 private:
  static std::string read(const std::string& path, const std::string& asked_by) {
    try {
      return read_text(path);
    } catch (const ConfigError& e) {
      if (asked_by.empty()) throw;
      throw ConfigError(fmt::format("{}: include: {}", asked_by, e.what()));
    }
  }

  const IniSink& sink_;
  std::vector<fs::path> open_;
};

}  // namespace

std::vector<IniLine> parse_ini(const std::string& text, const std::string& name) {
  const std::string body = text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text;  // a byte-order mark is no key
  Scanner scanner(name);
  u64 number = 0;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = std::min(body.find('\n', at), body.size());
    std::string_view raw = std::string_view(body).substr(at, end - at);
    if (raw.ends_with('\r')) raw.remove_suffix(1);
    scanner.line(raw, ++number);
    at = end + 1;
  }

  namespace po = boost::program_options;
  std::vector<IniLine> lines = scanner.lines();
  try {
    std::istringstream in(body);
    const auto options = po::parse_config_file(in, po::options_description(), true).options;
    std::size_t n = 0;
    for (const auto& option : options) {
      if (n == lines.size() || option.string_key != lines[n].key || option.value.size() != 1)
        throw ConfigError(fmt::format("{}: unreadable near '{}'", name, printable(option.string_key)));
      lines[n++].value = trim(option.value.front());
    }
    if (n != lines.size()) scanner.refuse(lines[n].line, "unreadable");
  } catch (const po::error& e) {
    throw ConfigError(fmt::format("{}: {}", name, printable(e.what())));
  }
  return lines;
}

void read_ini_file(const std::string& path, const IniSink& sink) { Reader(sink).file(path, ""); }

bool is_key(std::string_view key) {
  if (key.empty() || key.size() > kLongestKey || key.front() == '.' || key.back() == '.') return false;
  if (key.find("..") != std::string_view::npos) return false;
  return std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  });
}

bool is_value(std::string_view value) {
  return value.size() <= kLongestLine / 2 &&
         std::none_of(value.begin(), value.end(), [](char c) { return is_control(c) || c == '#'; });
}

std::string trim(std::string_view text) {
  constexpr const char* kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(kBlank) - first + 1));
}

std::string printable(std::string_view text) {
  constexpr std::size_t kShown = 80;
  std::string out;
  for (const char c : text.substr(0, kShown)) {
    const unsigned code = static_cast<unsigned char>(c);
    out += code < 0x20 || code >= 0x7f ? fmt::format("\\x{:02x}", code) : std::string(1, c);
  }
  return text.size() > kShown ? out + "..." : out;
}

}  // namespace nestwalk::sim
