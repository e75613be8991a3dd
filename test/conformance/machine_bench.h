// What the tests of whole machines share: guests assembled on the spot, a machine that runs one in this process, a
// fingerprint of what retired, and the sums that hold in every report (docs/validation.md, "Invariants").
#pragma once

#include <cctype>
#include <cstdlib>
#include <memory>
#include <string>

#include "cpu/cpu.h"
#include "emu/host.h"
#include "report/json.h"
#include "sim/settings.h"
#include "test/catch.h"
#include "test/scratch.h"

namespace nestwalk::test {

/// Assembles a guest (`source` from the top of the tree; test/guests/build does the same) and returns its image.
inline std::string build_guest(const Scratch& scratch, const std::string& source, const std::string& options = "") {
  const std::string root = NESTWALK_SOURCE, guests = root + "/test/guests";
  std::string name = std::filesystem::path(source).stem().string() + options;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  const std::string stem = (scratch.path / name).string();
  const std::string command = "as --64 -I '" + guests + "' " + options + " -o '" + stem + ".o' '" + root + "/" + source +
                              "' && ld -m elf_x86_64 -z noexecstack --no-warn-rwx-segments -T '" + guests +
                              "/multiboot.ld' -o '" + stem + ".elf64' '" + stem + ".o' && objcopy -O elf32-i386 '" + stem +
                              ".elf64' '" + stem + ".elf'";
  INFO(command);
  REQUIRE(std::system(command.c_str()) == 0);
  return stem + ".elf";
}

/// A machine of a file in configs/machines/ (none when empty) with `overrides` (INI text), and the guest loaded.
class MachineBench {
 public:
  MachineBench(const std::string& overrides, const std::string& image, const std::string& machine_file = "simple.ini") {
    if (!machine_file.empty()) settings_.load_file(NESTWALK_SOURCE "/configs/machines/" + machine_file);
    settings_.load_text(overrides, "test.ini");
    host_ = std::make_unique<emu::Host>(settings_);
    machine_ = &host_->machine();
    settings_.refuse_unknown();
    machine_->on_debug_output = machine_->on_output = [this](u8 byte) { console += static_cast<char>(byte); };
    emu::GuestImages images = machine_->images();
    images.kernel = image;
    machine_->load(images);
  }

  emu::Machine& operator*() { return *machine_; }
  emu::Machine* operator->() { return machine_; }
  const sim::Settings& settings() const { return settings_; }
  u64 value(const std::string& name) { return machine_->stats().value(machine_->stats().snapshot(), name); }
  /// Every statistic, as text.
  std::string report() { return report::stats_json({}, machine_->stats(), machine_->stats().snapshot()); }
  /// Runs to the guest's end, which must come, and be status 0.
  void run_to_end(u64 limit = 20'000'000) {
    REQUIRE((machine_->size() == 1 ? machine_->run(limit) : take_turns(limit)) == cpu::Stop::debug_exit);
    REQUIRE(machine_->exit_value() == 0);
  }
  /// The same for several processors, which may run `limit` instructions together.
  cpu::Stop take_turns(u64 limit) {
    host_->tenant(0).limit = limit;
    host_->run();
    host_->tenant(0).settle();
    return host_->tenant(0).ended;
  }

  std::string console;

 private:
  sim::Settings settings_;
  std::unique_ptr<emu::Host> host_;
  emu::Machine* machine_ = nullptr;
};

/// FNV-1a over the address and length of every instruction that retired, however they were grouped.
class RetiredStream final : public cpu::RetireObserver {
 public:
  void retired(u64 rip, const cpu::Insn* first, u32 count) override {
    for (const cpu::Insn* i = first; i < first + count; ++i) {
      mix(rip + i->offset);
      mix(i->length);
    }
    instructions += count;
  }
  u64 instructions = 0;
  u64 fingerprint = 0xcbf29ce484222325;

 private:
  void mix(u64 v) { fingerprint = (fingerprint ^ v) * 0x100000001b3; }
};

/// The sum of all counters `prefix` + one name without a dot + `suffix`.
inline u64 sum_of(const sim::Stats& stats, const sim::Snapshot& s, const std::string& prefix,
                  const std::string& suffix = "") {
  u64 sum = 0;
  for (std::size_t i = 0; i < stats.counters().size(); ++i) {
    const std::string& name = stats.counters()[i].name;
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) continue;
    const std::string between = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
    if (between.find('.') == std::string::npos) sum += s.counters[i];
  }
  return sum;
}

/// What holds in every report, whatever ran.
inline void check_invariants(const sim::Stats& stats, const sim::Snapshot& s) {
  const auto value = [&](const std::string& name) { return stats.value(s, name); };
  const auto sum = [&](const std::string& prefix, const std::string& suffix = "") {
    return sum_of(stats, s, prefix, suffix);
  };

  CHECK(value("instructions") == sum("instructions."));
  CHECK(value("cycles") == sum("cycles."));
  for (const char* cause : {"instruction", "tlb", "pwc", "walk_read", "host_read", "nested_tlb", "walk_update", "fetch",
                            "data", "flush", "mmio", "exception", "exit", "vmm", "backing", "world", "away", "idle"})
    CHECK(value(std::string("cycles.") + cause) == sum("cycles.", std::string(".") + cause));

  for (const auto& row : stats.counters()) {
    if (!row.name.ends_with(".misses") || !stats.has(row.name.substr(0, row.name.size() - 6) + "hits")) continue;
    const std::string name = row.name.substr(0, row.name.size() - 7);
    INFO(name);
    const u64 asked = value(name + (stats.has(name + ".accesses") ? ".accesses" : ".lookups"));
    CHECK(asked == value(name + ".hits") + value(name + ".misses"));
    if (stats.has(name + ".misses.user")) CHECK(value(name + ".misses") == sum(name + ".misses."));
    if (stats.has(name + ".fills")) CHECK(value(name + ".fills") == sum(name + ".fills."));
    if (name.starts_with("tlb.") && stats.has(name + ".flushes"))
      CHECK(value(name + ".fills") >= value(name + ".evictions") + value(name + ".flushes") + value(name + ".dropped"));
  }

  CHECK(value("walk.reads") == sum("walk.reads_by_position."));
  for (const auto& row : stats.counters())
    if (const std::string position = "walk.reads_by_position."; row.name.starts_with(position))
      CHECK(value(row.name) == sum("walk.served_by." + row.name.substr(position.size()) + "."));
  for (const char* part : {"count", "reads", "cycles"}) {
    const std::string suffix = std::string(".") + part;
    CHECK(value("walk" + suffix) == sum("walk.by.kernel.", suffix) + sum("walk.by.user.", suffix));
  }
  CHECK(value("walk.count") == sum("walk.page_size.") + value("walk.faults"));
  CHECK(value("walk.cycles") == value("cycles.pwc") + value("cycles.nested_tlb") + value("cycles.walk_read") +
                                    value("cycles.host_read") + value("cycles.walk_update"));
  for (std::size_t i = 0; i < stats.histograms().size(); ++i) {
    const std::string& name = stats.histograms()[i].name;
    if (!name.starts_with("walk.") || !name.ends_with(".latency")) continue;
    INFO(name);
    const std::string of = name.substr(0, name.size() - 8);
    CHECK(s.histograms[i].count() == value(of + ".count"));
    CHECK(s.histograms[i].sum() == value(of + ".cycles"));
  }
  // A walk that a violation cuts short is begun again, and accesses by physical address ask no guest's caches.
  if (stats.has("pwc.lookups") && !stats.has("vmm.exits")) CHECK(value("pwc.lookups") == value("walk.count"));
}

}  // namespace nestwalk::test
