// The table that ends a sweep: a row per point, the swept values, and the figures that address translation is judged by.
#pragma once

#include <string>
#include <vector>

#include "emu/sweep/plan.h"
#include "report/sqlite_store.h"

namespace nestwalk::emu::sweep {

/// Values of one key made short for a column: files by their names, and texts without the words that all of them begin
/// or end with. Different values stay different.
std::vector<std::string> short_labels(const std::string& key, const std::vector<std::string>& values);

/// In the order of the plans; points that the store does not have are left out. Ended by a newline.
std::string result_table(const std::vector<std::string>& keys, const std::vector<Plan>& plans,
                         const report::ResultStore& store);

}  // namespace nestwalk::emu::sweep
