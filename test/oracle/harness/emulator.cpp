#include "test/oracle/harness/emulator.h"

#include <algorithm>
#include <csignal>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/oracle/harness/fork_lock.h"

namespace nestwalk::oracle {
namespace {

constexpr const char* kRun = NESTWALK_SOURCE "/test/oracle/image/run";
constexpr int kAbsent = 77;  // exit status of a script that lacks what it needs

}  // namespace

Emulator::Emulator(const char* engine) : engine_(engine) {
  std::string name = (std::filesystem::temp_directory_path() / "nestwalk-image-XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder for an image");
  folder_ = name;
}

Emulator::~Emulator() {
  end();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Emulator::boot(std::span<const u8> image) {
  end();
  const std::filesystem::path file = folder_ / "image.elf";
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  if (!out.flush()) throw std::runtime_error("cannot write '" + file.string() + "'");
  out.close();
  const std::lock_guard one(fork_lock);
  int up[2];
  if (pipe2(up, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for an image's records");
  gone_ = false;
  child_ = fork();
  if (child_ == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, 0);
    dup2(up[1], 1);
    dup2(nothing, 2);
    execl(kRun, kRun, engine_, file.c_str(), NESTWALK_PROGRAM, nullptr);
    _exit(kAbsent);
  }
  close(up[1]);
  from_child_ = up[0];
  if (child_ > 0) setpgid(child_, child_);
}

void Emulator::read(int patience, const std::function<bool(std::string_view)>& enough) {
  char buffer[1 << 16];
  pollfd ready{from_child_, POLLIN, 0};
  while (!gone_ && poll(&ready, 1, patience) == 1) {
    const ssize_t n = ::read(from_child_, buffer, sizeof buffer);
    gone_ = n <= 0;
    if (!gone_ && enough({buffer, static_cast<std::size_t>(n)})) return;
  }
}

bool Emulator::end() {
  if (from_child_ >= 0) close(from_child_);
  from_child_ = -1;
  if (child_ <= 0) return false;
  if (!gone_) kill(-child_, SIGKILL);
  int status = 0;
  waitpid(child_, &status, 0);
  child_ = -1;
  return WIFEXITED(status) && WEXITSTATUS(status) == kAbsent;
}

void run_all(std::size_t cases, const std::function<std::vector<bool>(std::size_t first)>& boot,
             const std::function<void(std::size_t number)>& lost) {
  for (std::size_t first = 0; first < cases; ++first) {
    const std::vector<bool> done = boot(first);
    first += static_cast<std::size_t>(std::find(done.begin(), done.end(), false) - done.begin());
    if (first < cases) lost(first);
  }
}

}  // namespace nestwalk::oracle
