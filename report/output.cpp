// Temporary name, fsync, rename (rename is atomic within a folder: POSIX.1-2017, rename()).
#include "report/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sim/settings.h"

namespace nestwalk::report {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& path, const char* what, int error) {
  throw sim::ConfigError(fmt::format("{}: {}: {}", path, what, std::generic_category().message(error)));
}

/// A file descriptor that closes itself.
class File {
 public:
  File(const std::string& path, int flags) : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) refuse(path, "cannot write", errno);
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void write(std::string_view content) {
    while (!content.empty()) {
      const ssize_t n = ::write(fd_, content.data(), content.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) refuse(path_, "cannot write", errno);
      content.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void flush() {
    // Pipes and some file systems cannot; what matters is that a full disk is noticed before the rename.
    if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) refuse(path_, "cannot write", errno);
  }

 private:
  std::string path_;
  int fd_;
};

}  // namespace

PendingFile::PendingFile(std::string folder, std::string name)
    : final_(fmt::format("{}/{}", folder, name)), temporary_(fmt::format("{}/.{}.{}.tmp", folder, name, ::getpid())) {}

PendingFile::PendingFile(PendingFile&& other) noexcept
    : final_(std::move(other.final_)),
      temporary_(std::move(other.temporary_)),
      pending_(std::exchange(other.pending_, false)) {}

PendingFile::~PendingFile() {
  if (pending_) std::remove(temporary_.c_str());
}

void PendingFile::commit() {
  File(temporary_, O_RDWR).flush();
  if (std::rename(temporary_.c_str(), final_.c_str()) != 0) refuse(final_, "cannot give the finished file its name", errno);
  pending_ = false;
}

OutputFolder::OutputFolder(const std::string& path) : path_(path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    throw sim::ConfigError(
        fmt::format("{}: cannot create the output folder: {}; choose another with --out", path, error.message()));
  if (!fs::is_directory(path, error))
    throw sim::ConfigError(fmt::format("{}: is not a folder; choose another with --out", path));
  try {
    PendingFile probe = begin("probe");
    File(probe.path(), O_WRONLY | O_CREAT | O_TRUNC).write("x");
  } catch (const sim::ConfigError& e) {
    throw sim::ConfigError(
        fmt::format("{}: the output folder cannot be written to ({}); choose another with --out", path, e.what()));
  }
}

void OutputFolder::write(const std::string& name, std::string_view content) const {
  PendingFile file = begin(name);
  File(file.path(), O_WRONLY | O_CREAT | O_TRUNC).write(content);
  file.commit();
}

PendingFile OutputFolder::begin(const std::string& name) const { return PendingFile(path_, name); }

}  // namespace nestwalk::report
