// The command line (docs/manual.md): subcommands, their options and help.
#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <vector>

#include "sim/settings.h"

namespace nestwalk::emu {

/// Runs the program and returns its exit status.
int main(int argc, char** argv, const char* version);

/// A subcommand: its arguments come without the program's and its own name.
struct Command {
  const char* name;
  const char* text;  ///< one line for --help
  int (*run)(const std::vector<std::string>& arguments);
};

int run_command(const std::vector<std::string>& arguments);
int sweep_command(const std::vector<std::string>& arguments);
int compare_command(const std::vector<std::string>& arguments);
int trace_dump_command(const std::vector<std::string>& arguments);
int models_command(const std::vector<std::string>& arguments);
int describe_command(const std::vector<std::string>& arguments);
int configs_command(const std::vector<std::string>& arguments);

/// Parses `arguments`; prints the help and returns false when --help was among them. Throws sim::ConfigError for what does
/// not fit, with the usage line.
bool parse(const std::vector<std::string>& arguments, const std::string& usage, const std::string& text,
           const boost::program_options::options_description& options,
           const boost::program_options::positional_options_description& positional,
           boost::program_options::variables_map& out);

/// The program's own file name, for starting it again; version and build as --version prints them.
const std::string& program_path();
const std::string& version_text();

}  // namespace nestwalk::emu
