// The head of every report: what was run, so that a number can be traced to the experiment that gave it. It holds nothing
// that differs between two runs of the same experiment: no date, no host, no path.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/types.h"
#include "sim/settings.h"

namespace nestwalk::report {

struct Head {
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  std::string version;               ///< of Nestwalk, with its build
  u64 seed = 0;                      ///< of every random choice
  std::string region = "whole run";  ///< what the counts cover: "whole run", "region of interest", ...
  Pairs images;                      ///< role of a guest image ("kernel", "initrd") and the digest of its bytes
  Pairs config;                      ///< every key with its effective value
  Pairs facts;                       ///< anything else worth knowing: how the run ended, ...

  /// Fills `config` from what was declared.
  void take_config(const sim::Settings& settings) {
    config.clear();
    for (const sim::Declared& d : settings.declared()) config.emplace_back(d.key, d.value);
  }
};

}  // namespace nestwalk::report
