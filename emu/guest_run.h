// One machine's part of a run: its serial output, its region of interest, the commands its guest gives by the magic
// instruction, and its report.
#pragma once

#include <fstream>
#include <optional>

#include "emu/console.h"
#include "emu/host.h"
#include "emu/region.h"
#include "emu/run_params.h"
#include "report/head.h"
#include "report/output.h"

namespace nestwalk::emu {

class GuestRun {
 public:
  /// `terminal` is nullptr where another machine has it. Sets the machine's call-backs. Throws sim::ConfigError when the
  /// file that vm.NAME.console names cannot be written.
  GuestRun(Host& host, Tenant& tenant, const sim::Settings& settings, const RunParams& params, Console* terminal);

  /// Where the report goes, and the console of a named machine that has no file of its own (sim::ConfigError).
  void set_output(const report::OutputFolder& folder);
  /// The machine has reached the instruction count it was to stop at: sets the next one, or ends it.
  void at_limit();
  /// Ends the region and writes the report.
  void finish();
  std::string ended() const { return ended_by(tenant_.ended); }
  int status() const;

 private:
  void open_console(const std::string& file);
  void set_limit();
  void put(u8 byte);
  void magic(u32 command, u64 argument);
  void settle() { tenant_.settle(); }
  sim::Snapshot current() const { return region_.intervals() ? region_.inside() : region_.whole(); }
  report::Head head(const std::string& region) const;
  void write_report(const std::string& prefix, const report::Head& h, const sim::Snapshot& s);

  Tenant& tenant_;
  Machine& machine_;
  const sim::Settings& settings_;
  const RunParams& params_;
  u64 seed_;
  Region region_;
  Console* terminal_;
  std::optional<report::OutputFolder> out_;
  std::ofstream console_file_;
  std::vector<std::pair<u64, u64>> markers_;
  unsigned dumps_ = 0;
};

}  // namespace nestwalk::emu
