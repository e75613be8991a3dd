#include "emu/share.h"

namespace nestwalk::emu {

void Share::settle() {
  if (!running_) return;
  sim::Snapshot now = core_.snapshot();
  const sim::Snapshot gained = now.minus(begun_);
  // In place: what was declared refers to these very members.
  for (std::size_t i = 0; i < sum_.counters.size(); ++i) sum_.counters[i] += gained.counters[i];
  for (std::size_t i = 0; i < sum_.histograms.size(); ++i)
    sum_.histograms[i] = sum_.histograms[i].plus(gained.histograms[i]);
  begun_ = std::move(now);
}

void Share::declare(sim::Stats& machine) {
  const auto& counters = core_.counters();
  for (std::size_t i = 0; i < counters.size(); ++i)
    machine.counter(counters[i].name, sum_.counters[i], counters[i].unit, counters[i].text);
  const auto& histograms = core_.histograms();
  for (std::size_t i = 0; i < histograms.size(); ++i)
    machine.histogram(histograms[i].name, sum_.histograms[i], histograms[i].unit, histograms[i].text);
  for (const sim::Stats::Ratio& r : core_.ratios())
    machine.ratio(r.name, counters[r.numerator].name, counters[r.denominator].name, r.text);
}

}  // namespace nestwalk::emu
