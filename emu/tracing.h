// What a run records for later: the keys of [trace], and the trace file in the output folder.
#pragma once

#include <memory>

#include "emu/machine.h"
#include "report/output.h"
#include "sim/settings.h"

namespace nestwalk::emu {

class Tracing {
 public:
  /// Declares and reads [trace].
  Tracing(sim::Settings& settings, Machine& machine);
  ~Tracing();

  /// Begins the trace if one is asked for; needs an output folder then (sim::ConfigError).
  void open(const report::OutputFolder* folder);
  /// Ends it: the file gets its name.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nestwalk::emu
