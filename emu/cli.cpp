#include "emu/cli.h"

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <new>
#include <sstream>

#include "emu/boot/boot.h"
#include "emu/exit_status.h"
#include "sim/registry.h"

namespace po = boost::program_options;

namespace nestwalk::emu {
namespace {

constexpr Command kCommands[] = {
    {"run", "boot a guest and report what its memory accesses cost", run_command},
    {"sweep", "run the product of every key that lists several values", sweep_command},
    {"compare", "put the reports of several runs side by side", compare_command},
    {"trace-dump", "print a trace as text", trace_dump_command},
    {"models", "list the models that configurations can name", models_command},
    {"describe", "print a configuration's keys with type, range, default and meaning", describe_command},
    {"configs", "list the configurations that come with Nestwalk", configs_command},
};

std::string& program_name() {
  static std::string name;
  return name;
}
std::string& version_line() {
  static std::string line;
  return line;
}

std::string help() {
  std::string out =
      "nestwalk - a cycle-level full-system x86-64 emulator for people who study address translation\n\n"
      "Usage: nestwalk COMMAND [ARGUMENTS]\n\nCommands:\n";
  for (const Command& c : kCommands) out += fmt::format("  {:<12} {}\n", c.name, c.text);
  out +=
      "\n  nestwalk COMMAND --help   what a command takes\n"
      "  nestwalk --version        version and build\n\n"
      "Exit statuses: 0 the guest powered off or a limit was reached; the guest's own status where it wrote one to the\n"
      "debug-exit port; 1 some points of a sweep failed; 2 bad usage, configuration or image; 3 triple fault; 4 guest "
      "reset; 5 halted for ever;\n"
      "70 internal error; 130 interrupted. docs/manual.md has the whole manual.\n";
  return out;
}

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    std::cerr << help();
    return kUsage;
  }
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h" || first == "help") {
    std::cout << help();
    return kOk;
  }
  if (first == "--version") {
    std::cout << version_line() << '\n';
    return kOk;
  }
  std::vector<std::string> names;
  for (const Command& c : kCommands) {
    if (first == c.name) return c.run({arguments.begin() + 1, arguments.end()});
    names.push_back(c.name);
  }
  const std::string near = sim::nearest_name(first, names);
  throw sim::ConfigError(fmt::format("there is no command '{}'{}; `nestwalk --help` lists them", first,
                                     near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
}

}  // namespace

const std::string& program_path() { return program_name(); }
const std::string& version_text() { return version_line(); }

bool parse(const std::vector<std::string>& arguments, const std::string& usage, const std::string& text,
           const po::options_description& options, const po::positional_options_description& positional,
           po::variables_map& out) {
  po::options_description all = options;
  all.add_options()("help,h", "this text");
  try {
    const auto parsed = po::command_line_parser(arguments).options(all).positional(positional).run();
    po::store(parsed, out);
    if (out.count("help")) {
      std::ostringstream list;
      list << options;
      std::string body = list.str();
      if (const auto at = body.find("  --positional"); at != std::string::npos)
        body.erase(at, body.find('\n', at) - at + 1);
      std::cout << "Usage: nestwalk " << usage << "\n\n" << text << "\n\n" << body;
      return false;
    }
    po::notify(out);
  } catch (const po::error& e) {
    throw sim::ConfigError(fmt::format("{}; usage: nestwalk {}", e.what(), usage));
  }
  return true;
}

int main(int argc, char** argv, const char* version) {
  program_name() = "/proc/self/exe";
  version_line() = fmt::format("nestwalk {} ({}, {})", version,
#ifdef NDEBUG
                               "release",
#else
                               "debug",
#endif
                               __VERSION__);
  try {
    return dispatch({argv + 1, argv + argc});
  } catch (const sim::ConfigError& e) {
    fmt::print(stderr, "nestwalk: {}\n", e.what());
    return kUsage;
  } catch (const boot::BootError& e) {
    fmt::print(stderr, "nestwalk: {}\n", e.what());
    return kUsage;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "nestwalk: the host has no memory left; lower machine.memory or the sizes of TLBs and caches\n");
    return kUsage;
  } catch (const std::exception& e) {
    fmt::print(stderr, "nestwalk: internal error: {}\n", e.what());
    return kInternal;
  }
}

}  // namespace nestwalk::emu
