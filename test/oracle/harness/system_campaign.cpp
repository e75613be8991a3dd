#include "test/oracle/harness/system_campaign.h"

#include <fmt/format.h>

#include <algorithm>

namespace nestwalk::oracle {

SystemTally SystemResult::sum() const {
  SystemTally all;
  for (const SystemTally& t : by_world) all.cases += t.cases, all.different += t.different;
  return all;
}

void SystemCampaign::run_batch(u64 first, u64 count) {
  std::vector<DrawnSystem> drawn;
  std::vector<SystemEnd> ours;
  std::vector<u64> numbers;
  for (u64 n = first; n < first + count; ++n) {
    DrawnSystem d = draw_system_case(seed_, n);
    SystemEnd end;
    std::string why;
    if (const char* row = not_run(rung_, d)) {
      why = fmt::format("row {} of the policy", row);
    } else {
      SystemCase after = d.start;
      const Ended ended = ours_->run(after);
      end = end_of(d.start, after, ended);
      if (const char* reason = not_in_images(end))
        why = reason;
      else if (ended == Ended::shutdown && n % kShutdownShare)
        why = "shuts down, as others that were run";
    }
    if (!why.empty()) {
      ++result_.left_out[why];
      continue;
    }
    drawn.push_back(std::move(d)), ours.push_back(std::move(end)), numbers.push_back(n);
  }
  std::vector<const SystemCase*> starts;
  for (const DrawnSystem& d : drawn) starts.push_back(&d.start);
  const std::vector<SystemEnd> theirs = theirs_.run(starts);
  for (std::size_t n = 0; n < drawn.size(); ++n) {
    SystemTally& tally = result_.by_world[static_cast<unsigned>(drawn[n].world)];
    ++tally.cases;
    const auto rest = unexplained(rung_, {drawn[n], ours[n], theirs[n]}, differences(drawn[n].start, ours[n], theirs[n]));
    if (rest.empty()) continue;
    ++tally.different;
    if (result_.findings.size() < SystemResult::kShown)
      result_.findings.push_back(
          fmt::format("case {} {}: nestwalk/{}:{}\n", numbers[n], describe(drawn[n]), names_of(rung_), describe(rest)));
  }
}

SystemResult SystemCampaign::run(u64 first, u64 count, const std::function<void(u64, u64)>& progress) {
  result_ = {};
  for (u64 done = 0; done < count;) {
    const u64 batch = std::min(kBatch, count - done);
    run_batch(first + done, batch);
    done += batch;
    progress(done, result_.sum().different);
  }
  return result_;
}

}  // namespace nestwalk::oracle
