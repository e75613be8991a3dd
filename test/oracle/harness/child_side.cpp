// The parent's half: a child that runs batches out of shared memory, and is replaced when a case kills it.
#include "test/oracle/harness/child_side.h"

#include <atomic>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/oracle/harness/fork_lock.h"

namespace nestwalk::oracle {

struct ChildSide::Shared {
  static constexpr std::size_t kSlots = 512;
  std::atomic<u32> count, done;
  std::array<Case, kSlots> cases;
  std::array<Outcome, kSlots> outcomes;
};

ChildSide::ChildSide(const char* name, std::function<bool()> prepare, std::function<void(const Case&, Outcome&)> run)
    : name_(name), prepare_(std::move(prepare)), run_(std::move(run)) {
  void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    missing_ = "no shared memory";
  else if (shared_ = static_cast<Shared*>(memory); !spawn())
    missing_ = "the host does not let a child map and run native code";
}

ChildSide::~ChildSide() {
  reap();
  if (shared_) munmap(shared_, sizeof(Shared));
}

/// Starts a child; true once it says that it is prepared.
bool ChildSide::spawn() {
  std::unique_lock one(fork_lock);
  int down[2], up[2];
  if (pipe(down) != 0) return false;
  if (pipe(up) != 0) return close(down[0]), close(down[1]), false;
  child_ = fork();
  if (child_ == 0) {
    close(down[1]);
    close(up[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Its end is ours to report: no handlers of the parent's, and no last words of an emulator's.
    for (int signal_number = 1; signal_number < 32; ++signal_number) signal(signal_number, SIG_DFL);
    if (const int nowhere = open("/dev/null", O_WRONLY); nowhere >= 0) dup2(nowhere, 2);
    const auto say = [&](char what) {
      if (write(up[1], &what, 1) != 1) _exit(0);
    };
    const bool ready = prepare_();
    say(ready ? 'y' : 'n');
    for (char go; ready && read(down[0], &go, 1) == 1; say('d'))
      for (u32 n = shared_->done; n < shared_->count; ++n) {
        shared_->done = n;
        run_(shared_->cases[n], shared_->outcomes[n]);
      }
    _exit(0);
  }
  close(down[0]);
  close(up[1]);
  one.unlock();
  to_child_ = down[1];
  from_child_ = up[0];
  char answer = 0;
  if (child_ > 0 && read(from_child_, &answer, 1) == 1 && answer == 'y') return true;
  reap();
  return false;
}

void ChildSide::reap() {
  if (to_child_ >= 0) close(to_child_);
  if (from_child_ >= 0) close(from_child_);
  to_child_ = from_child_ = -1;
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  child_ = -1;
}

void ChildSide::start(std::span<const Case> cases, std::span<Outcome> outcomes) {
  if (cases.size() > Shared::kSlots) throw std::length_error("more cases at once than an oracle has slots for");
  cases_ = cases;
  outcomes_ = outcomes;
  std::memcpy(static_cast<void*>(shared_->cases.data()), cases.data(), cases.size_bytes());
  shared_->count = static_cast<u32>(cases.size());
  shared_->done = 0;
  const char go = 'g';
  if (write(to_child_, &go, 1) != 1) throw std::runtime_error("an oracle's child is gone");
}

void ChildSide::finish() {
  for (char answer = 0; read(from_child_, &answer, 1) != 1;) {
    const u32 at = shared_->done;
    shared_->outcomes[at].vector = Outcome::kDied;
    shared_->done = at + 1;
    reap();
    if (!spawn()) throw std::runtime_error("an oracle's child died and cannot be replaced");
    const char go = 'g';
    if (write(to_child_, &go, 1) != 1) throw std::runtime_error("an oracle's child is gone");
  }
  std::memcpy(static_cast<void*>(outcomes_.data()), shared_->outcomes.data(), outcomes_.size_bytes());
}

}  // namespace nestwalk::oracle
