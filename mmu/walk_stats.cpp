#include "mmu/walk_stats.h"

#include <algorithm>
#include <string>

namespace nestwalk::mmu {

namespace {

constexpr const char* kWho[2] = {"kernel", "user"};
constexpr const char* kSide[tlb::kSides] = {"fetch", "load", "store"};
constexpr const char* kServer[kServers] = {"flat", "l1", "l2", "l3", "l4", "l5", "l6", "memory"};
constexpr PageSize kSizes[4] = {PageSize::k4K, PageSize::k2M, PageSize::k4M, PageSize::k1G};

unsigned index_of(PageSize size) {
  return static_cast<unsigned>(std::find(std::begin(kSizes), std::end(kSizes), size) - std::begin(kSizes)) & 3;
}

std::string position_name(unsigned guest, unsigned host) {
  return "g" + std::to_string(guest) + "h" + std::to_string(host);
}

std::string position_text(unsigned guest, unsigned host) {
  const std::string entry = guest ? "the guest's level-" + std::to_string(guest) + " entry" : "the data";
  if (host == 0) return "reads of " + entry;
  return "reads of the host's level-" + std::to_string(host) + " entry on the way to " + entry;
}

}  // namespace

void WalkStats::record(const Bill& bill, Access access, bool completed, PageSize size) {
  const Cycles cycles = bill.of(Cause::pwc) + bill.of(Cause::nested_tlb) + bill.of(Cause::walk_read) +
                        bill.of(Cause::host_read) + bill.of(Cause::walk_update);
  const unsigned side = static_cast<unsigned>(access.side);
  reads_[access.user][side] += bill.read_count();
  latency_[access.user][side].add(cycles);
  if (completed)
    ++by_size_[index_of(size)];
  else
    ++faults_;
  for (const WalkRead& r : bill.reads()) {
    ++position_[r.guest_level][r.host_level];
    position_cycles_[r.guest_level][r.host_level] += r.cycles;
    ++served_[r.guest_level][r.host_level][r.served_by];
  }
}

void WalkStats::declare(sim::Stats& stats) {
  const auto sum = [this](auto&& of) {
    u64 n = 0;
    for (unsigned u = 0; u < 2; ++u)
      for (unsigned s = 0; s < tlb::kSides; ++s) n += of(u, s);
    return n;
  };
  stats.counter(
      "walk.count", [=, this] { return sum([this](unsigned u, unsigned s) { return latency_[u][s].count(); }); }, "walks",
      "accesses that walked, those that ended in a fault included");
  stats.counter("walk.faults", faults_, "walks", "walks that ended in a fault");
  stats.counter(
      "walk.reads", [=, this] { return sum([this](unsigned u, unsigned s) { return reads_[u][s]; }); }, "reads",
      "table entries read by walks");
  stats.counter(
      "walk.cycles", [=, this] { return sum([this](unsigned u, unsigned s) { return latency_[u][s].sum(); }); }, "cycles",
      "page-walk caches, entry reads, accessed and dirty writes of walks");
  stats.histogram(
      "walk.latency",
      [this] {
        sim::Histogram all;
        for (const auto& row : latency_)
          for (const sim::Histogram& h : row) all = all.plus(h);
        return all;
      },
      "cycles", "cycles of one walk");
  stats.ratio("walk.reads_per_walk", "walk.reads", "walk.count", "table entries read by a walk, mean");
  stats.ratio("walk.cycles_per_walk", "walk.cycles", "walk.count", "cycles of a walk, mean");

  for (unsigned u = 0; u < 2; ++u)
    for (unsigned s = 0; s < tlb::kSides; ++s) {
      const std::string name = std::string("walk.by.") + kWho[u] + "." + kSide[s];
      const std::string text = std::string(kSide[s]) + ", " + kWho[u];
      const sim::Histogram& latency = latency_[u][s];
      stats.counter(
          name + ".count", [&latency] { return latency.count(); }, "walks", "walks: " + text);
      stats.counter(name + ".reads", reads_[u][s], "reads", "table entries read by walks: " + text);
      stats.counter(
          name + ".cycles", [&latency] { return latency.sum(); }, "cycles", "cycles of walks: " + text);
      stats.histogram(name + ".latency", latency, "cycles", "cycles of one walk: " + text);
    }

  for (unsigned i = 0; i < 4; ++i)
    stats.counter(std::string("walk.page_size.") + name_of(kSizes[i]), by_size_[i], "walks",
                  std::string("walks that found a page of effective size ") + name_of(kSizes[i]));

  for (unsigned g = 0; g < 6; ++g)
    for (unsigned h = 0; h < 6; ++h) {
      if (g == 0 && h == 0) continue;  // nothing is read there
      const std::string position = position_name(g, h), text = position_text(g, h);
      stats.counter("walk.reads_by_position." + position, position_[g][h], "reads", text);
      stats.counter("walk.cycles_by_position." + position, position_cycles_[g][h], "cycles", text);
      for (unsigned s = 0; s < kServers; ++s)
        stats.counter("walk.served_by." + position + "." + kServer[s], served_[g][h][s], "reads",
                      text + ", served by " + kServer[s]);
    }
}

}  // namespace nestwalk::mmu
