#include "emu/sweep/process_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "emu/run_params.h"
#include "report/output.h"
#include "report/sqlite_store.h"
#include "sim/ini.h"

namespace nestwalk::emu::sweep {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRunning = ".running";
constexpr std::streamoff kLogTail = 16 << 10;
constexpr int kNotStarted = 127;  // as shells say it

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The last line of the log that says something.
std::string last_line(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return "";
  in.seekg(-std::min<std::streamoff>(in.tellg(), kLogTail), std::ios::end);
  std::string line, last;
  while (std::getline(in, line))
    if (line = sim::trim(line); !line.empty()) last = line;
  if (last.starts_with("nestwalk: ")) last.erase(0, std::strlen("nestwalk: "));
  return last;
}

std::string failed(const std::string& what, const std::string& why) {
  return fmt::format("failed: {}{}{}", what, why.empty() ? "" : ": ", why);
}

const std::string* value_of(const Pairs& pairs, const std::string& name) {
  for (const auto& [key, value] : pairs)
    if (key == name) return &value;
  return nullptr;
}

/// The first name whose value differs between two lists, or "".
std::string difference(const Pairs& a, const Pairs& b) {
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)})
    for (const auto& [name, value] : *one)
      if (const std::string* there = value_of(*other, name); !there || *there != value) return name;
  return "";
}

/// A descriptor for the child; the parent's copy closes itself.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

Result result_of(const Plan& plan, int wait_status, const std::string& folder) {
  Result result{plan.point.id, {}, {}};
  const std::string log = folder + "/log.txt";
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    result.status = failed(fmt::format("killed by signal {} ({})", signal, strsignal(signal)), last_line(log));
    return result;
  }
  const int status = WEXITSTATUS(wait_status);
  const std::string exit = fmt::format("exit status {}", status);
  const std::string path = folder + "/stats.json";
  if (!fs::exists(path)) {
    result.status = failed(exit, status == 0 ? "there is no report" : last_line(log));
    return result;
  }
  try {
    const std::string text = read_all(path);
    const report::Head head = report::head_of(text);
    const std::string* ended = value_of(head.facts, kEndedFact);
    const bool by_guest = ended && *ended == ended_by(cpu::Stop::debug_exit);
    if (status != 0 && !by_guest) {
      result.status = failed(exit, ended ? *ended : last_line(log));
    } else if (std::string other = difference(plan.config, head.config); !other.empty()) {
      result.status = failed("ran with another configuration than planned", other);
    } else if (other = difference(plan.images, head.images); !other.empty()) {
      result.status = failed("a guest image changed during the sweep", other);
    } else {
      result.metrics = report::flatten(text);
      result.metrics.push_back({"run.exit_status", static_cast<u64>(status)});
      result.status = report::ResultStore::kDone;
    }
  } catch (const report::ReportError& e) {
    result.status = failed(exit, e.what());
  }
  return result;
}

ProcessRunner::ProcessRunner(std::string program, std::string folder)
    : program_(std::move(program)), folder_(std::move(folder)) {
  fs::create_directories(folder_);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_))
    if (entry.path().extension() == kRunning) fs::remove_all(entry.path());

  // Signals are taken where we wait for them; nothing of ours is ever interrupted half-way. What the caller ignores (a job
  // in the background ignores SIGINT) stays ignored.
  sigemptyset(&awaited_);
  sigaddset(&awaited_, SIGCHLD);
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction present {};
    sigaction(signal, nullptr, &present);
    if (present.sa_handler != SIG_IGN) sigaddset(&awaited_, signal);
  }
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &standard, &old_child_);
  sigprocmask(SIG_BLOCK, &awaited_, &old_mask_);
}

ProcessRunner::~ProcessRunner() {
  abandon();
  sigaction(SIGCHLD, &old_child_, nullptr);
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
}

std::string ProcessRunner::running_folder(u64 id) const {
  return fmt::format("{}/{}{}", folder_, folder_name(id), kRunning);
}

void ProcessRunner::forget(u64 id) { fs::remove_all(fmt::format("{}/{}", folder_, folder_name(id))); }

void ProcessRunner::start(const Plan& plan) {
  const u64 id = plan.point.id;
  forget(id);
  const std::string folder = running_folder(id);
  const report::OutputFolder out(folder);
  out.write("point.ini", ini_of(plan.point, fmt::format("point {}; `nestwalk run point.ini` runs it alone", id)));
  const pid_t child = launch(folder, folder + "/point.ini");
  if (child > 0)
    running_.emplace(child, plan);
  else
    stillborn_.push_back({id, failed("cannot start a process", std::strerror(errno)), {}});
}

pid_t ProcessRunner::launch(const std::string& folder, const std::string& file) const {
  const Descriptor input("/dev/null", O_RDONLY), output(folder + "/console.txt", O_WRONLY | O_CREAT | O_TRUNC),
      log(folder + "/log.txt", O_WRONLY | O_CREAT | O_TRUNC);
  if (input.get() < 0 || output.get() < 0 || log.get() < 0) return -1;
  const char* const arguments[] = {program_.c_str(), "run", file.c_str(), "--out", folder.c_str(), "--no-input", nullptr};
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return child;

  // From here to exec only what signal-safety(7) allows.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kNotStarted);  // killed before the line above
  setpgid(0, 0);
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
  dup2(input.get(), STDIN_FILENO);
  dup2(output.get(), STDOUT_FILENO);
  dup2(log.get(), STDERR_FILENO);
  execv(arguments[0], const_cast<char* const*>(arguments));
  constexpr char message[] = "the program cannot be started\n";
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, message, sizeof message - 1);
  _exit(kNotStarted);
}

std::optional<Result> ProcessRunner::reap() {
  if (!stillborn_.empty()) {
    Result result = std::move(stillborn_.front());
    stillborn_.pop_front();
    return result;
  }
  for (const auto& [child, plan] : running_) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) != child) continue;
    const Plan ended = plan;
    running_.erase(child);
    return finish(ended, status);
  }
  return std::nullopt;
}

Result ProcessRunner::finish(const Plan& plan, int wait_status) {
  const std::string folder = running_folder(plan.point.id);
  Result result = result_of(plan, wait_status, folder);
  fs::rename(folder, fmt::format("{}/{}", folder_, folder_name(plan.point.id)));
  return result;
}

Event ProcessRunner::wait(std::chrono::milliseconds time) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + time;
  while (true) {
    // The signals are blocked: a child that ends after this look leaves SIGCHLD pending, so the wait below returns at once.
    if (auto result = reap()) return {Event::Kind::finished, std::move(*result)};
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(end - Clock::now()).count();
    if (left <= 0) return {};
    const timespec span{left / 1'000'000'000, left % 1'000'000'000};
    const int signal = sigtimedwait(&awaited_, nullptr, &span);
    if (signal == SIGINT || signal == SIGTERM) return {Event::Kind::interrupted, {}};
  }
}

void ProcessRunner::abandon() {
  for (const auto& [child, plan] : running_) kill(child, SIGKILL);
  for (const auto& [child, plan] : running_) {
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    std::error_code ignored;  // a folder that stays is called .running and goes when the sweep is resumed
    fs::remove_all(running_folder(plan.point.id), ignored);
  }
  running_.clear();
  stillborn_.clear();
}

}  // namespace nestwalk::emu::sweep
