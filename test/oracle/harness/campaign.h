// A run of cases against one side: the stream goes round all Ops of the table, and round the forms of each, so that every
// one gets its share; what differs is shrunk and kept; what was covered is counted.
#pragma once

#include <functional>

#include "test/oracle/harness/compare.h"
#include "test/oracle/harness/draw.h"
#include "test/oracle/harness/our_side.h"

namespace nestwalk::oracle {

/// Per Op: cases run, those that ended without an exception, those that differ.
struct Tally {
  u64 cases = 0, completed = 0, different = 0;
};

struct Finding {
  cpu::Op op;
  std::string text;
};

struct Progress {
  u64 done = 0, total = 0, different = 0;
};

struct CampaignResult {
  u64 cases = 0;
  u64 unrepeated = 0;  ///< differed once and not again
  double seconds = 0;
  std::array<Tally, static_cast<unsigned>(cpu::Op::count_)> by_op;
  std::vector<Finding> findings;
};

class Campaign {
 public:
  /// Differences that are shrunk and shown for one Op; the others are only counted.
  static constexpr unsigned kShownPerOp = 3;
  /// Where there are very many, only the first ones are shrunk.
  static constexpr unsigned kShrunk = 60;

  /// The stream of `seed` for the Ops that have forms in `atlas` and are not excepted on `rung`.
  Campaign(const Atlas& atlas, OurSide& ours, Side& theirs, Rung rung, u64 seed);

  /// Only these Ops.
  void restrict_to(const std::vector<cpu::Op>& ops) { ops_ = ops; }
  const std::vector<cpu::Op>& ops() const { return ops_; }
  /// Shows differences as they are drawn.
  void leave_large() { large_ = true; }
  Case draw(u64 number) const;
  /// Cases [first, first + count). `progress` is called now and then; it may throw to stop.
  CampaignResult run(u64 first, u64 count, const std::function<void(const Progress&)>& progress = {});

 private:
  void judge(std::span<const Case> cases, std::span<const Outcome> ours, std::span<Outcome> theirs, CampaignResult& result);
  void judge(const Case& c, const Outcome& ours, const Outcome& theirs, CampaignResult& result);
  bool differs(const Case& c, const Outcome& ours, const Outcome& theirs) const;
  std::vector<Both> run_both(std::span<const Case> cases);

  const Atlas& atlas_;
  OurSide& ours_;
  Side& theirs_;
  Rung rung_;
  u64 seed_;
  std::vector<cpu::Op> ops_;
  bool large_ = false;
};

}  // namespace nestwalk::oracle
