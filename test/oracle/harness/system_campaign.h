// System cases against images, a batch at a time: what agrees, what does not, what an image cannot run.
#pragma once

#include <array>
#include <functional>
#include <map>

#include "test/oracle/harness/system_policy.h"

namespace nestwalk::oracle {

struct SystemTally {
  u64 cases = 0, different = 0;
};
struct SystemResult {
  std::array<SystemTally, kWorlds> by_world;
  std::map<std::string, u64> left_out;  ///< why, how many
  std::vector<std::string> findings;    ///< the first kShown, of which kShrunk are made small
  u64 unrepeated = 0;                   ///< differed once and not again
  static constexpr unsigned kShown = 40, kShrunk = 8;
  SystemTally sum() const;
};

class SystemCampaign {
 public:
  SystemCampaign(SystemSide& theirs, Rung rung, u64 seed)
      : ours_(make_our_system()), theirs_(theirs), rung_(rung), seed_(seed) {}
  /// Shows differences as they are drawn.
  void leave_large() { large_ = true; }
  /// Cases `first` on; `progress` is told how many are done and how many differ.
  SystemResult run(u64 first, u64 count, const std::function<void(u64 done, u64 different)>& progress);

 private:
  void run_batch(u64 first, u64 count);
  SystemEnd run_ours(const DrawnSystem& c);
  /// Theirs, of cases that are to run.
  std::vector<SystemEnd> run_theirs(std::span<const DrawnSystem* const> cases);
  void run_again(std::span<const DrawnSystem> drawn, std::span<const SystemEnd> ours, std::vector<SystemEnd>& theirs);
  /// What no line of the policy explains.
  std::vector<SystemDifference> rest(const DrawnSystem& c, const SystemEnd& ours, const SystemEnd& theirs) const {
    return unexplained(rung_, {c, ours, theirs}, differences(c.start, ours, theirs));
  }
  std::vector<bool> still_differ(std::span<const DrawnSystem> cases, bool with_shutdowns);
  std::string show(u64 number, const DrawnSystem& drawn, const SystemEnd& ours, const SystemEnd& theirs);

  /// Each case that shuts an emulator down costs a boot: so many of them are run, the others left out.
  static constexpr u64 kShutdownShare = 16;
  static constexpr u64 kBatch = 2000;
  std::unique_ptr<SystemMachine> ours_;
  SystemSide& theirs_;
  Rung rung_;
  u64 seed_;
  bool large_ = false;
  SystemResult result_;
};

}  // namespace nestwalk::oracle
