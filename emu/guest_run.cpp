#include "emu/guest_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "emu/cli.h"
#include "emu/exit_status.h"
#include "report/json.h"
#include "report/summary.h"

namespace nestwalk::emu {

using cpu::Stop;

GuestRun::GuestRun(Host& host, Tenant& tenant, const sim::Settings& settings, const RunParams& params, Console* terminal)
    : tenant_(tenant),
      machine_(*tenant.machine),
      settings_(settings),
      params_(params),
      seed_(host.params().seed),
      region_(machine_.stats()),
      terminal_(terminal) {
  machine_.on_output = [this](u8 b) { put(b); };
  machine_.on_debug_output = [this](u8 b) { put(b); };
  machine_.on_note = [this](const std::string& line) {
    fmt::print(stderr, "nestwalk: {}{}{}\n", tenant_.name, tenant_.name.empty() ? "" : ": ", line);
  };
  machine_.on_magic = [this](u32 command, u64 argument) { magic(command, argument); };
  set_limit();
  if (!tenant_.console.empty()) open_console(tenant_.console);
}

void GuestRun::set_output(const report::OutputFolder& folder) {
  out_ = folder;
  if (tenant_.console.empty() && !tenant_.name.empty()) open_console(folder.path() + "/console.txt");
}

void GuestRun::open_console(const std::string& file) {
  console_file_.open(file, std::ios::binary | std::ios::trunc);
  if (!console_file_) throw sim::ConfigError(fmt::format("vm.{}.console: {} cannot be written", tenant_.name, file));
}

void GuestRun::put(u8 byte) {
  if (terminal_) terminal_->put(byte);
  if (console_file_.is_open()) console_file_.put(static_cast<char>(byte));
}

/// Stops on the way, in order; what is due at the same instruction happens before the run goes on.
void GuestRun::set_limit() {
  const u64 now = machine_.instructions();
  u64 next = params_.max_instructions ? params_.max_instructions : std::numeric_limits<u64>::max();
  if (params_.roi_start > now) next = std::min(next, params_.roi_start);
  if (params_.roi_stop > now) next = std::min(next, params_.roi_stop);
  tenant_.limit = next;
}

void GuestRun::at_limit() {
  settle();
  const u64 there = machine_.instructions();
  if (params_.roi_start && there == params_.roi_start) region_.begin();
  if (params_.roi_stop && there == params_.roi_stop) region_.end();
  if (params_.max_instructions && there >= params_.max_instructions)
    tenant_.ended = Stop::limit;
  else
    set_limit();
}

/// Commands of guests/nestwalk.h.
void GuestRun::magic(u32 command, u64 argument) {
  if (command < 1 || command > 5) return;  // an ordinary `xchg %bx,%bx`
  settle();
  switch (command) {
    case 1: region_.begin(); break;
    case 2: region_.end(); break;
    case 3: region_.restart(); break;
    case 4:
      ++dumps_;
      if (out_) write_report(fmt::format("dump-{}.", dumps_), head(fmt::format("dump {}", dumps_)), current());
      break;
    case 5: markers_.emplace_back(argument, machine_.instructions()); break;
    default: break;
  }
}

report::Head GuestRun::head(const std::string& region) const {
  report::Head h;
  h.version = version_text();
  h.seed = seed_;
  h.region = region;
  h.images = machine_.digests();
  h.take_config(settings_);
  if (!tenant_.name.empty()) h.facts.emplace_back("virtual machine", tenant_.name);
  for (const auto& [number, at] : markers_)
    h.facts.emplace_back(fmt::format("marker {}", number), fmt::format("at instruction {}", at));
  return h;
}

void GuestRun::write_report(const std::string& prefix, const report::Head& h, const sim::Snapshot& s) {
  out_->write(prefix + "stats.json", report::stats_json(h, machine_.stats(), s));
  out_->write(prefix + "summary.txt", report::summary(h, machine_.stats(), s));
}

void GuestRun::finish() {
  settle();
  region_.end();
  if (!out_) return;
  const bool roi = region_.intervals() != 0;
  report::Head h = head(roi ? "region of interest" : "whole run");
  h.facts.emplace_back(kEndedFact, ended());
  if (roi) h.facts.emplace_back("intervals", std::to_string(region_.intervals()));
  write_report("", h, current());
  if (roi) {
    report::Head w = h;
    w.region = "whole run";
    write_report("whole-", w, region_.whole());
  }
}

int GuestRun::status() const {
  switch (tenant_.ended) {
    case Stop::power_off:
    case Stop::limit: return kOk;
    case Stop::debug_exit: return static_cast<int>(machine_.exit_value() & 0xff);
    case Stop::triple_fault: return kTripleFault;
    case Stop::reset: return kReset;
    case Stop::halted_forever: return kHaltedForever;
    case Stop::crashed: return kCrashed;
    case Stop::user_quit: return kInterrupted;
    case Stop::asleep:
    case Stop::preempted:
    case Stop::turn_over:
    case Stop::none: break;
  }
  return kInternal;
}

}  // namespace nestwalk::emu
