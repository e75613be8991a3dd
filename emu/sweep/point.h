// A point of a sweep: the values of the swept keys, and all settings that follow from them. How it is run (runner.h) and
// where its numbers go (report::ResultStore) are not known here, so that a point may later be a replay as well as a run.
#pragma once

#include <string>
#include <vector>

#include "report/head.h"
#include "sim/settings.h"

namespace nestwalk::emu::sweep {

using Pairs = report::Head::Pairs;

struct Assignment {
  std::string key, value;
  std::string origin;  ///< "file:line", or "--set" and the like for the command line
};

struct Point {
  u64 id = 0;                        ///< its number in the results; also the name of its folder
  Pairs key_values;                  ///< the swept keys, in the order of the sweep file, as written there
  std::string machine;               ///< absolute path of the machine file; empty: none
  std::vector<Assignment> settings;  ///< on top of the machine file; later ones win
};

/// "tlb.l2.entries=512, guest.append=quiet": for messages, one line.
std::string describe(const Point& point);
/// The folder's name: at least three digits.
std::string folder_name(u64 id);
/// A configuration file that `nestwalk run` takes for this point; `comment` is its first line.
std::string ini_of(const Point& point, const std::string& comment);
/// The same settings in this process, with origins for messages. Throws sim::ConfigError.
sim::Settings settings_of(const Point& point);

}  // namespace nestwalk::emu::sweep
