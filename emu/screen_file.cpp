// A text file that appears whole or not at all, by the temporary name and the rename of report::PendingFile.
#include "emu/screen_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "report/output.h"
#include "sim/settings.h"

namespace nestwalk::emu {

ScreenFile::ScreenFile(const std::string& path) {
  const std::filesystem::path p(path);
  folder_ = p.has_parent_path() ? p.parent_path().string() : ".";
  name_ = p.filename().string();
  std::error_code error;
  if (name_.empty() || std::filesystem::is_directory(p, error))
    throw sim::ConfigError(fmt::format("{}: is a folder; --screen takes the name of a file", path));
  const report::PendingFile probe(folder_, name_);
  if (!std::ofstream(probe.path()))
    throw sim::ConfigError(fmt::format("{}: cannot be written; does its folder exist? Choose another with --screen", path));
}

void ScreenFile::write(std::string_view text) const {
  report::PendingFile file(folder_, name_);
  {
    std::ofstream stream(file.path(), std::ios::binary);
    stream.write(text.data(), static_cast<std::streamsize>(text.size()));
    stream.close();
    if (!stream) throw sim::ConfigError(fmt::format("{}/{}: cannot be written", folder_, name_));
  }
  file.commit();
}

}  // namespace nestwalk::emu
