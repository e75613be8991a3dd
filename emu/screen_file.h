// The file that `nestwalk run --screen` names: the guest's VGA text screen, as it stands when the run ends.
#pragma once

#include <string>
#include <string_view>

namespace nestwalk::emu {

class ScreenFile {
 public:
  /// Throws sim::ConfigError, one line, when no file can be written there: better said before hours of a run than after.
  explicit ScreenFile(const std::string& path);

  /// Writes the whole file, in place of one that may be there already. Throws sim::ConfigError and leaves what was there.
  void write(std::string_view text) const;

 private:
  std::string folder_, name_;
};

}  // namespace nestwalk::emu
