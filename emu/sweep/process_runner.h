// Runs each point as `nestwalk run` in a process of its own, in the folder NNN of the points; while it runs the folder is
// called NNN.running. The processes are leaders of their own groups (Ctrl-C at the terminal reaches the sweep only) and
// end with the sweep, even when that is killed (prctl(2), PR_SET_PDEATHSIG).
#pragma once

#include <signal.h>

#include <deque>
#include <map>
#include <optional>

#include "emu/sweep/runner.h"

namespace nestwalk::emu::sweep {

class ProcessRunner final : public Runner {
 public:
  /// `program` is started as `program run FILE --out DIR --no-input`; `folder` receives a folder per point and loses what
  /// a killed sweep left running. While the object lives SIGINT and SIGTERM do not end this process: wait() reports them.
  ProcessRunner(std::string program, std::string folder);
  ~ProcessRunner() override;

  void start(const Plan& plan) override;
  Event wait(std::chrono::milliseconds time) override;
  void abandon() override;
  void forget(u64 id) override;

 private:
  std::string running_folder(u64 id) const;
  pid_t launch(const std::string& folder, const std::string& file) const;
  std::optional<Result> reap();
  Result finish(const Plan& plan, int wait_status);

  std::string program_, folder_;
  std::map<pid_t, Plan> running_;
  std::deque<Result> stillborn_;  ///< points that could not begin
  sigset_t awaited_, old_mask_;
  struct sigaction old_child_;
};

/// The result of a run that ended with `wait_status` (waitpid(2)) and left what is in `folder`. A non-zero exit status is a
/// failure unless it is the guest's own; a report of another configuration or of other images than planned is one too.
Result result_of(const Plan& plan, int wait_status, const std::string& folder);

}  // namespace nestwalk::emu::sweep
