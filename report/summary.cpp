// Each section asks the view for its names; nothing here knows how they came about.
#include "report/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/bill.h"
#include "report/table.h"

namespace nestwalk::report {
namespace {

using sim::Histogram;
using Strings = std::vector<std::string>;
using Align = Table::Align;

constexpr const char* kModes[] = {"user", "kernel"};
constexpr const char* kSides[] = {"fetch", "load", "store"};
constexpr unsigned kTreeLevels = 5;

/// The statistics of one snapshot by name.
class View {
 public:
  View(const sim::Stats& stats, const sim::Snapshot& s) {
    for (std::size_t i = 0; i < stats.counters().size(); ++i) {
      names_.push_back(stats.counters()[i].name);
      counters_[names_.back()] = s.counters.at(i);
    }
    for (std::size_t i = 0; i < stats.histograms().size(); ++i)
      histograms_[stats.histograms()[i].name] = &s.histograms.at(i);
  }
  bool has(const std::string& name) const { return counters_.contains(name); }
  /// 0 for a name that is not declared.
  u64 operator[](const std::string& name) const {
    const auto it = counters_.find(name);
    return it == counters_.end() ? 0 : it->second;
  }
  const Histogram* histogram(const std::string& name) const {
    const auto it = histograms_.find(name);
    return it == histograms_.end() ? nullptr : it->second;
  }
  /// What stands between `prefix` and `suffix` in the names of counters, in the order of declaration.
  Strings between(const std::string& prefix, const std::string& suffix) const {
    Strings found;
    for (const std::string& name : names_)
      if (name.size() > prefix.size() + suffix.size() && name.starts_with(prefix) && name.ends_with(suffix))
        found.push_back(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
    return found;
  }

 private:
  Strings names_;
  std::map<std::string, u64> counters_;
  std::map<std::string, const Histogram*> histograms_;
};

double real(u64 n) { return static_cast<double>(n); }

/// Hits and misses of one structure; two of accesses, hits and misses are enough.
struct Rates {
  u64 accesses, hits, misses;

  Rates(const View& v, const std::string& name) {
    const std::string all = v.has(name + ".accesses") ? name + ".accesses" : name + ".lookups";
    hits = v[name + ".hits"];
    misses = v[name + ".misses"];
    accesses = v.has(all) ? v[all] : hits + misses;
    if (!v.has(name + ".hits")) hits = accesses - std::min(accesses, misses);
    if (!v.has(name + ".misses")) misses = accesses - std::min(accesses, hits);
  }
};

Strings latency_cells(const Histogram* h) {
  if (!h || !h->count()) return {"-", "-", "-", "-"};
  return {grouped(h->percentile(0.5)), grouped(h->percentile(0.9)), grouped(h->percentile(0.99)), grouped(h->max())};
}

void append(Strings& row, const Strings& more) { row.insert(row.end(), more.begin(), more.end()); }

class Summary {
 public:
  Summary(const Head& head, const View& view) : head_(head), v_(view) {}

  std::string text() {
    head();
    totals();
    causes();
    tlbs();
    tlb_misses_by_access();
    walk_caches();
    walks();
    served_by();
    page_sizes();
    caches();
    return out_;
  }

 private:
  void section(const char* title, const Table& table) {
    if (!table.empty()) out_ += fmt::format("\n{}\n{}", title, table.text(2));
  }
  std::string mpki(u64 misses) const { return quotient(1000.0 * real(misses), real(v_["instructions"]), 3); }

  void head() {
    out_ += fmt::format("nestwalk {}, {}, seed {}\n", head_.version, head_.region, head_.seed);
    Table table({{"", Align::left}, {"", Align::left}});
    for (const auto& [name, value] : head_.facts) table.row({name, value});
    for (const auto& [role, digest] : head_.images) table.row({role, digest});
    out_ += table.text(2);
  }

  void totals() {
    if (!v_.has("instructions") && !v_.has("cycles")) return;
    const bool split = v_.has("instructions.user");
    Table table({{"", Align::left}, {"total"}, {split ? "user" : ""}, {split ? "kernel" : ""}});
    const auto row = [&](const char* name, auto cell) {
      Strings cells{name, cell("")};
      if (split)
        for (const char* mode : kModes) cells.push_back(cell(mode));
      table.row(std::move(cells));
    };
    row("instructions", [&](const std::string& mode) { return grouped(instructions(mode)); });
    row("cycles", [&](const std::string& mode) { return grouped(cycles(mode)); });
    row("cycles per instruction",
        [&](const std::string& mode) { return quotient(real(cycles(mode)), real(instructions(mode)), 3); });
    section("Instructions and cycles", table);
  }
  u64 instructions(const std::string& mode) const { return v_[mode.empty() ? "instructions" : "instructions." + mode]; }
  u64 cycles(const std::string& mode) const {
    if (mode.empty()) return v_["cycles"];
    u64 sum = 0;
    for (unsigned c = 0; c < kCauses; ++c) sum += v_[fmt::format("cycles.{}.{}", mode, name_of(static_cast<Cause>(c)))];
    return sum;
  }

  void causes() {
    Table table({{"cause", Align::left}, {"cycles"}, {"share"}, {"user"}, {"kernel"}, {"", Align::left}});
    for (unsigned c = 0; c < kCauses; ++c) {
      const auto cause = static_cast<Cause>(c);
      const std::string name = name_of(cause);
      if (!v_.has("cycles." + name)) continue;
      const u64 n = v_["cycles." + name];
      table.row({name, grouped(n), percent(n, v_["cycles"]), percent(v_["cycles.user." + name], n),
                 percent(v_["cycles.kernel." + name], n), describe(cause)});
    }
    section("Cycles by cause", table);
  }

  void tlbs() {
    Table table({{"", Align::left}, {"accesses"}, {"misses"}, {"miss rate"}, {"MPKI"}});
    for (const std::string& group : v_.between("tlb.", ".accesses")) {
      const Rates r(v_, "tlb." + group);
      table.row({group, grouped(r.accesses), grouped(r.misses), percent(r.misses, r.accesses, 3), mpki(r.misses)});
    }
    section("TLBs", table);
    Table rewalks({{"", Align::left}, {"walks"}, {"MPKI"}});
    for (const std::string& why : v_.between("tlb.rewalks.", ""))
      rewalks.row({why, grouped(v_["tlb.rewalks." + why]), mpki(v_["tlb.rewalks." + why])});
    section("Walks made in spite of a TLB entry", rewalks);
  }

  void tlb_misses_by_access() {
    const Strings kinds{".misses.user", ".misses.kernel", ".fetch_misses", ".load_misses", ".store_misses"};
    Table table({{"", Align::left}, {"misses"}, {"user"}, {"kernel"}, {"fetch"}, {"load"}, {"store"}});
    for (const std::string& group : v_.between("tlb.", ".misses.user")) {
      const std::string name = "tlb." + group;
      Strings row{group, grouped(v_[name + ".misses"])};
      for (const std::string& kind : kinds) row.push_back(v_.has(name + kind) ? grouped(v_[name + kind]) : "");
      table.row(std::move(row));
    }
    section("TLB misses by access", table);
  }

  void walk_caches() {
    Table table({{"", Align::left}, {"lookups"}, {"hits"}, {"misses"}, {"hit rate"}});
    const auto row = [&](const std::string& title, const std::string& name) {
      const Rates r(v_, name);
      table.row({title, grouped(r.accesses), grouped(r.hits), grouped(r.misses), percent(r.hits, r.accesses)});
    };
    for (const std::string& name : v_.between("pwc.", ".lookups")) row(name, "pwc." + name);
    if (v_.has("pwc.lookups")) row("any", "pwc");
    section("Page-walk caches", table);
  }

  void walks() {
    if (!v_.has("walk.count")) return;
    Table table(
        {{"", Align::left}, {"walks"}, {"MPKI"}, {"reads/walk"}, {"cycles/walk"}, {"p50"}, {"p90"}, {"p99"}, {"max"}});
    const auto row = [&](const std::string& title, const std::string& name) {
      const u64 n = v_[name + ".count"];
      Strings cells{title, grouped(n), mpki(n), quotient(real(v_[name + ".reads"]), real(n)),
                    quotient(real(v_[name + ".cycles"]), real(n), 1)};
      append(cells, latency_cells(v_.histogram(name + ".latency")));
      table.row(std::move(cells));
    };
    row("all", "walk");
    for (const char* mode : kModes)
      for (const char* side : kSides)
        if (const std::string name = fmt::format("walk.by.{}.{}", mode, side); v_.has(name + ".count"))
          row(fmt::format("{} {}", mode, side), name);
    section("Page walks (latency in cycles)", table);
    if (v_.has("walk.faults")) out_ += fmt::format("  {} ended in a fault\n", grouped(v_["walk.faults"]));
  }

  /// The tree's levels down, the levels of the memory hierarchy across.
  void served_by() {
    const Strings all{"flat", "l1", "l2", "l3", "l4", "l5", "l6", "memory"};
    Strings servers;
    std::copy_if(all.begin(), all.end(), std::back_inserter(servers), [&](const std::string& server) {
      const Strings positions = v_.between("walk.served_by.", "." + server);
      return std::any_of(positions.begin(), positions.end(),
                         [&](const auto& p) { return v_[fmt::format("walk.served_by.{}.{}", p, server)] > 0; });
    });
    std::vector<Table::Column> columns{{"", Align::left}, {"reads"}};
    for (const std::string& server : servers) columns.push_back({server});
    Table table(std::move(columns));
    for (unsigned guest = kTreeLevels + 1; guest-- > 0;)
      for (unsigned host = kTreeLevels; host != ~0u; --host) {
        const std::string position = fmt::format("g{}h{}", guest, host);
        const u64 reads = v_["walk.reads_by_position." + position];
        if (reads == 0) continue;
        Strings row{level_name(guest, host), grouped(reads)};
        for (const std::string& server : servers)
          row.push_back(percent(v_[fmt::format("walk.served_by.{}.{}", position, server)], reads));
        table.row(std::move(row));
      }
    section("Who served the reads of page walks", table);
  }
  static std::string level_name(unsigned guest, unsigned host) {
    const char* const entries[] = {"data", "PTE", "PDE", "PDPTE", "PML4E", "PML5E"};
    return host ? fmt::format("{}, host level {}", entries[guest], host)
                : fmt::format("{} (level {})", entries[guest], guest);
  }

  /// A row for completed walks and one for what entered each TLB, a column for each size.
  void page_sizes() {
    const Strings sizes = v_.between("walk.page_size.", "");
    std::vector<Table::Column> columns{{"", Align::left}};
    for (const std::string& size : sizes) {
      columns.push_back({size});
      columns.push_back({""});
    }
    Table table(std::move(columns));
    const auto row = [&](const std::string& title, const std::string& prefix) {
      u64 sum = 0;
      for (const std::string& size : sizes) sum += v_[prefix + size];
      Strings cells{title};
      for (const std::string& size : sizes) append(cells, {grouped(v_[prefix + size]), percent(v_[prefix + size], sum)});
      if (sum) table.row(std::move(cells));
    };
    row("completed walks", "walk.page_size.");
    for (const std::string& group : v_.between("tlb.", ".fills"))
      row(group + " fills", fmt::format("tlb.{}.fills.", group));
    section("Page sizes in use", table);
  }

  void caches() {
    Table table({{"", Align::left}, {"accesses"}, {"misses"}, {"miss rate"}, {"MPKI"}});
    for (const std::string& name : v_.between("cache.", ".misses")) {
      const Rates r(v_, "cache." + name);
      table.row({name, grouped(r.accesses), grouped(r.misses), percent(r.misses, r.accesses, 3), mpki(r.misses)});
    }
    section("Data caches", table);
  }

  const Head& head_;
  const View& v_;
  std::string out_;
};

}  // namespace

std::string summary(const Head& head, const sim::Stats& stats, const sim::Snapshot& snapshot) {
  const View view(stats, snapshot);
  return Summary(head, view).text();
}

}  // namespace nestwalk::report
