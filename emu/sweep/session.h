// The loop of a sweep: which points are still to be run, running them, keeping their results. It knows plans, a runner and
// a store; a point is in the store whole or not at all, so that a session that is killed is resumed by another.
#pragma once

#include <vector>

#include "emu/sweep/progress.h"
#include "emu/sweep/runner.h"
#include "report/sqlite_store.h"

namespace nestwalk::emu::sweep {

/// Gives each plan the id under which the store knows its key values, or the lowest free one: a sweep that was extended
/// keeps its results. Removes points that the sweep no longer has from the store and returns their ids.
std::vector<u64> settle(std::vector<Plan>& plans, report::ResultStore& store);

/// The point as the store knows it.
report::Point stored_form(const Plan& plan, const std::string& status);

/// Runs what the store has no finished result for, at most `jobs` at a time, until all have ended or the runner reports
/// that the sweep is to end.
Tally run_points(const std::vector<Plan>& plans, Runner& runner, report::ResultStore& store, Progress& progress, u64 jobs);

}  // namespace nestwalk::emu::sweep
