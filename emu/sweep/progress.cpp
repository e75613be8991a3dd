#include "emu/sweep/progress.h"

#include <fmt/format.h>

#include <cmath>

#include "report/sqlite_store.h"

namespace nestwalk::emu::sweep {
namespace {

constexpr const char* kEraseLine = "\r\x1b[K";  // ECMA-48, EL

std::string span_text(double seconds) {
  const auto s = static_cast<u64>(std::ceil(seconds));
  if (s < 120) return fmt::format("{} s", s);
  if (s < 120 * 60) return fmt::format("{} min", (s + 59) / 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

}  // namespace

std::string progress_text(const Tally& t, double seconds) {
  const u64 here = t.done + t.failed;
  std::string out = fmt::format("{} of {} points", t.before + here, t.total);
  if (t.failed) out += fmt::format(" ({} failed)", t.failed);
  if (t.running) out += fmt::format(", {} running", t.running);
  if (seconds < 1) return out;
  if (here == 0) return out + fmt::format(", {} so far", span_text(std::floor(seconds)));
  out += fmt::format(", {:.1f} a minute", 60 * static_cast<double>(here) / seconds);
  if (const u64 left = t.total - t.before - here; left && !t.interrupted)
    out += fmt::format(", {} left", span_text(seconds * static_cast<double>(left) / static_cast<double>(here)));
  return out;
}

void Progress::begin(const Tally& t, u64 jobs) {
  out_ << fmt::format("sweep: {} points{}, {} at a time\n", t.total,
                      t.before ? fmt::format(", {} of them finished before", t.before) : "", jobs)
       << std::flush;
  started_ = std::chrono::steady_clock::now();
}

void Progress::ended(const Tally& t, const Plan& plan, const Result& result) {
  const bool good = result.status == report::ResultStore::kDone;
  if (!terminal_ || !good) {  // a failure stays on the screen
    clear();
    const std::string values = describe(plan.point);
    out_ << fmt::format("sweep: point {}{}: {}\n", folder_name(plan.point.id),
                        values.empty() ? "" : fmt::format(" ({})", values), result.status);
  }
  if (!terminal_) out_ << "sweep: " << progress_text(t, seconds()) << '\n' << std::flush;
  tick(t);
}

void Progress::tick(const Tally& t) {
  if (!terminal_) return;
  out_ << kEraseLine << "sweep: " << progress_text(t, seconds()) << std::flush;
  shown_ = true;
}

void Progress::clear() {
  if (shown_) out_ << kEraseLine << std::flush;
  shown_ = false;
}

}  // namespace nestwalk::emu::sweep
