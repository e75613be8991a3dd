#include "test/oracle/harness/system_campaign.h"

#include <fmt/format.h>

#include <algorithm>

#include "test/oracle/harness/system_shrink.h"

namespace nestwalk::oracle {

SystemTally SystemResult::sum() const {
  SystemTally all;
  for (const SystemTally& t : by_world) all.cases += t.cases, all.different += t.different;
  return all;
}

SystemEnd SystemCampaign::run_ours(const DrawnSystem& c) {
  SystemCase after = c.start;
  const Ended ended = ours_->run(after);
  return end_of(c.start, after, ended);
}

std::vector<SystemEnd> SystemCampaign::run_theirs(std::span<const DrawnSystem* const> cases) {
  std::vector<const SystemCase*> starts;
  for (const DrawnSystem* d : cases) starts.push_back(&d->start);
  return theirs_.run(starts);
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
      end = run_ours(d);
      if (const char* reason = not_in_images(end))
        why = reason;
      else if (end.ended == Ended::shutdown && n % kShutdownShare)
        why = "shuts down, as others that were run";
    }
    if (!why.empty()) {
      ++result_.left_out[why];
      continue;
    }
    drawn.push_back(std::move(d)), ours.push_back(std::move(end)), numbers.push_back(n);
  }
  std::vector<const DrawnSystem*> all;
  for (const DrawnSystem& d : drawn) all.push_back(&d);
  std::vector<SystemEnd> theirs = run_theirs(all);
  run_again(drawn, ours, theirs);
  for (std::size_t n = 0; n < drawn.size(); ++n) {
    SystemTally& tally = result_.by_world[static_cast<unsigned>(drawn[n].world)];
    ++tally.cases;
    if (rest(drawn[n], ours[n], theirs[n]).empty()) continue;
    ++tally.different;
    if (result_.findings.size() < SystemResult::kShown)
      result_.findings.push_back(show(numbers[n], drawn[n], ours[n], theirs[n]));
  }
}

/// An emulator that gets no processor time for a while cuts cases short, so only what differs twice differs.
void SystemCampaign::run_again(std::span<const DrawnSystem> drawn, std::span<const SystemEnd> ours,
                               std::vector<SystemEnd>& theirs) {
  std::vector<std::size_t> places;
  std::vector<const DrawnSystem*> again;
  for (std::size_t n = 0; n < drawn.size(); ++n)
    if (!rest(drawn[n], ours[n], theirs[n]).empty()) places.push_back(n), again.push_back(&drawn[n]);
  if (again.empty()) return;
  std::vector<SystemEnd> ends = run_theirs(again);
  for (std::size_t k = 0; k < places.size(); ++k) {
    SystemEnd& end = theirs[places[k]] = std::move(ends[k]);
    result_.unrepeated += rest(*again[k], ours[places[k]], end).empty();
  }
}

std::vector<bool> SystemCampaign::still_differ(std::span<const DrawnSystem> cases, bool with_shutdowns) {
  std::vector<bool> differ(cases.size());
  std::vector<std::size_t> asked;
  std::vector<SystemEnd> ours;
  std::vector<const DrawnSystem*> all;
  for (std::size_t n = 0; n < cases.size(); ++n) {
    SystemEnd end = run_ours(cases[n]);
    if (not_in_images(end) || (end.ended == Ended::shutdown && !with_shutdowns)) continue;
    asked.push_back(n), all.push_back(&cases[n]), ours.push_back(std::move(end));
  }
  const std::vector<SystemEnd> theirs = run_theirs(all);
  for (std::size_t k = 0; k < asked.size(); ++k) differ[asked[k]] = !rest(*all[k], ours[k], theirs[k]).empty();
  return differ;
}

std::string SystemCampaign::show(u64 number, const DrawnSystem& drawn, const SystemEnd& ours, const SystemEnd& theirs) {
  const auto shown = [&](const DrawnSystem& c, const SystemEnd& a, const SystemEnd& b) {
    return fmt::format("case {} {}\n{}  nestwalk: {}\n  {}: {}\n  nestwalk/{}:{}\n", number, describe(drawn), show_start(c),
                       show_end(c, a), theirs_.name(), show_end(c, b), theirs_.name(), describe(rest(c, a, b)));
  };
  if (large_ || result_.findings.size() >= SystemResult::kShrunk) return shown(drawn, ours, theirs);
  const bool dear = ours.ended == Ended::shutdown || theirs.ended == Ended::shutdown;
  const DrawnSystem small = shrink(
      drawn, [&](std::span<const DrawnSystem> cases) { return still_differ(cases, dear); }, dear);
  const DrawnSystem* const one[] = {&small};
  return shown(small, run_ours(small), run_theirs(one).front());
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
