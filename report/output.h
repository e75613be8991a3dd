// The folder that `--out` names. A file appears in it only when it is complete: everything is written under a temporary
// name and renamed, so a run that is killed leaves nothing half-written that looks whole.
#pragma once

#include <string>
#include <string_view>

namespace nestwalk::report {

/// A file on its way: written at path(), whole under its own name after commit(), gone when neither happened.
class PendingFile {
 public:
  PendingFile(std::string folder, std::string name);
  ~PendingFile();
  PendingFile(PendingFile&& other) noexcept;
  PendingFile& operator=(PendingFile&&) = delete;

  /// Where to write until commit(); in the same folder.
  const std::string& path() const { return temporary_; }
  /// Flushes the file to disk and gives it its name. Throws sim::ConfigError, one line with the reason.
  void commit();

 private:
  std::string final_, temporary_;
  bool pending_ = true;
};

class OutputFolder {
 public:
  /// Creates the folder where it is missing. Throws sim::ConfigError, one line, when it cannot be created or written to.
  explicit OutputFolder(const std::string& path);

  const std::string& path() const { return path_; }
  /// Writes a whole file. Throws sim::ConfigError (disk full, ...), and then leaves what was there before.
  void write(const std::string& name, std::string_view content) const;
  /// For what grows during a run (a trace): write to its path(), then commit().
  PendingFile begin(const std::string& name) const;

 private:
  std::string path_;
};

}  // namespace nestwalk::report
