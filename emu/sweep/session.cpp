#include "emu/sweep/session.h"

#include <map>
#include <set>

namespace nestwalk::emu::sweep {

using report::ResultStore;

report::Point stored_form(const Plan& plan, const std::string& status) {
  return {plan.point.id, plan.point.key_values, status, plan.digest};
}

std::vector<u64> settle(std::vector<Plan>& plans, ResultStore& store) {
  std::map<Pairs, u64> known;
  for (const report::Point& point : store.points()) known.emplace(point.key_values, point.id);
  std::set<u64> taken;
  std::vector<Plan*> fresh;
  for (Plan& plan : plans) {
    if (const auto it = known.find(plan.point.key_values); it != known.end()) {
      taken.insert(plan.point.id = it->second);
      known.erase(it);
    } else {
      fresh.push_back(&plan);
    }
  }
  std::vector<u64> removed;
  for (const auto& [key_values, id] : known) {
    store.remove(id);
    removed.push_back(id);
  }
  u64 next = 1;
  for (Plan* plan : fresh) {
    while (taken.contains(next)) ++next;
    plan->point.id = next++;
  }
  return removed;
}

Tally run_points(const std::vector<Plan>& plans, Runner& runner, ResultStore& store, Progress& progress, u64 jobs) {
  std::vector<const Plan*> waiting;
  for (const Plan& plan : plans)
    if (!store.finished(stored_form(plan, ResultStore::kDone))) waiting.push_back(&plan);
  Tally tally{plans.size(), plans.size() - waiting.size()};
  progress.begin(tally, jobs);

  std::map<u64, const Plan*> running;
  for (auto next = waiting.begin(); next != waiting.end() || !running.empty();) {
    while (next != waiting.end() && running.size() < jobs) {
      runner.start(**next);
      running.emplace((*next)->point.id, *next);
      ++next;
    }
    tally.running = running.size();
    progress.tick(tally);
    const Event event = runner.wait(std::chrono::seconds(1));
    if (event.kind == Event::Kind::interrupted) {
      runner.abandon();
      tally.interrupted = true;
      tally.running = 0;
      break;
    }
    if (event.kind == Event::Kind::nothing) continue;
    const Plan& plan = *running.at(event.result.id);
    running.erase(event.result.id);
    store.add(stored_form(plan, event.result.status), event.result.metrics);
    ++(event.result.status == ResultStore::kDone ? tally.done : tally.failed);
    tally.running = running.size();
    progress.ended(tally, plan, event.result);
  }
  return tally;
}

}  // namespace nestwalk::emu::sweep
