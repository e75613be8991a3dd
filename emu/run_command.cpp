// `nestwalk run`: one machine, one guest, one report.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <limits>
#include <thread>

#include "emu/cli.h"
#include "emu/console.h"
#include "emu/exit_status.h"
#include "emu/machine.h"
#include "emu/region.h"
#include "emu/run_params.h"
#include "emu/tracing.h"
#include "report/json.h"
#include "report/output.h"
#include "report/summary.h"

namespace po = boost::program_options;

namespace nestwalk::emu {
namespace {

using cpu::Stop;

constexpr const char* kRunUsage =
    "run CONFIG... [--set K=V]... [--kernel F] [--initrd F] [--append S] [--out DIR] [--max-instructions N]";
constexpr const char* kText =
    "Boots a guest and reports what its memory accesses cost. The guest's serial console is standard output, standard "
    "input\n"
    "is its input, Ctrl-A X leaves. --out DIR receives stats.json, summary.txt, config.ini and what else is asked for.";

std::atomic<bool> interrupted = false;
void on_signal(int) { interrupted.store(true); }

/// Asks the core now and then to look at the host: input, signals, progress. It changes nothing in the guest by itself.
class Ticker {
 public:
  explicit Ticker(cpu::Cpu& cpu)
      : thread_([this, &cpu] {
          while (!done_.load()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            cpu.request_poll();
          }
        }) {}
  ~Ticker() {
    done_.store(true);
    thread_.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

class Run {
 public:
  Run(sim::Settings& settings, const po::variables_map& vm)
      : settings_(settings),
        machine_(settings),
        region_(machine_.stats()),
        console_(vm.count("no-input") ? Console::Input::none : Console::Input::standard) {
    params_.declare(settings.section("run"));
    tracing_ = std::make_unique<Tracing>(settings, machine_);
    settings.refuse_unknown();
    if (vm.count("out")) out_.emplace(vm["out"].as<std::string>());
    tracing_->open(out_ ? &*out_ : nullptr);
    machine_.on_output = [this](u8 b) { console_.put(b); };
    machine_.on_debug_output = [this](u8 b) { console_.put(b); };
    machine_.on_note = [](const std::string& line) { fmt::print(stderr, "nestwalk: {}\n", line); };
    machine_.on_magic = [this](u32 command, u64 argument) { magic(command, argument); };
    machine_.on_poll = [this] { poll(); };
    machine_.load(machine_.images());
  }

  int go() {
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
    started_ = std::chrono::steady_clock::now();
    Stop why;
    {
      const Ticker ticker(machine_.cpu());
      why = run_to_end();
    }
    console_.flush();
    region_.end();
    tracing_->close();
    report(why);
    return status_of(why);
  }

 private:
  Stop run_to_end() {
    const u64 end = params_.max_instructions ? params_.max_instructions : std::numeric_limits<u64>::max();
    // Stops on the way, in order; what is due at the same instruction happens before the run goes on.
    while (true) {
      const u64 now = machine_.clock().instructions;
      if (now >= end) return Stop::limit;
      u64 next = end;
      if (params_.roi_start > now) next = std::min(next, params_.roi_start);
      if (params_.roi_stop > now) next = std::min(next, params_.roi_stop);
      const Stop why = machine_.run(next);
      if (why != Stop::limit) return why;
      const u64 there = machine_.clock().instructions;
      if (params_.roi_start && there == params_.roi_start) region_.begin();
      if (params_.roi_stop && there == params_.roi_stop) region_.end();
    }
  }

  /// Commands of guests/nestwalk.h.
  void magic(u32 command, u64 argument) {
    switch (command) {
      case 1: region_.begin(); break;
      case 2: region_.end(); break;
      case 3: region_.restart(); break;
      case 4:
        ++dumps_;
        if (out_) write_report(fmt::format("dump-{}.", dumps_), head(fmt::format("dump {}", dumps_)), current());
        break;
      case 5: markers_.emplace_back(argument, machine_.clock().instructions); break;
      default: break;  // an ordinary `xchg %bx,%bx`
    }
  }

  void poll() {
    if (interrupted.load()) machine_.stop(Stop::user_quit);
    if (machine_.cpu().s.halted && console_.is_terminal()) {
      console_.flush();
      console_.wait(20);
    }
    if (const std::string typed = console_.take_input(); !typed.empty()) machine_.type(typed);
    if (console_.quit()) machine_.stop(Stop::user_quit);
    if (++polls_ % 5 == 0) console_.flush();  // a prompt has no newline
  }

  sim::Snapshot current() const { return region_.intervals() ? region_.inside() : region_.whole(); }

  report::Head head(const std::string& region) const {
    report::Head h;
    h.version = version_text();
    h.seed = machine_.params().seed;
    h.region = region;
    h.images = machine_.digests();
    h.take_config(settings_);
    for (const auto& [number, at] : markers_)
      h.facts.emplace_back(fmt::format("marker {}", number), fmt::format("at instruction {}", at));
    return h;
  }

  void write_report(const std::string& prefix, const report::Head& h, const sim::Snapshot& s) {
    out_->write(prefix + "stats.json", report::stats_json(h, machine_.stats(), s));
    out_->write(prefix + "summary.txt", report::summary(h, machine_.stats(), s));
  }

  void report(Stop why) {
    const bool roi = region_.intervals() != 0;
    report::Head h = head(roi ? "region of interest" : "whole run");
    h.facts.emplace_back(kEndedFact, ended_by(why));
    if (roi) h.facts.emplace_back("intervals", std::to_string(region_.intervals()));
    if (out_) {
      write_report("", h, current());
      if (roi) {
        report::Head w = h;
        w.region = "whole run";
        write_report("whole-", w, region_.whole());
      }
      out_->write("config.ini", settings_.effective());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    fmt::print(stderr,
               "\nnestwalk: {}: {} instructions, {} cycles, {:.1f} s on this host ({:.1f} million instructions a second)\n",
               ended_by(why), machine_.clock().instructions, machine_.clock().cycles, seconds,
               static_cast<double>(machine_.clock().instructions) / seconds / 1e6);
    if (out_) fmt::print(stderr, "nestwalk: report in {} (summary.txt, stats.json, config.ini)\n", out_->path());
  }

  int status_of(Stop why) const {
    switch (why) {
      case Stop::power_off:
      case Stop::limit: return kOk;
      case Stop::debug_exit: return static_cast<int>(machine_.exit_value() & 0xff);
      case Stop::triple_fault: return kTripleFault;
      case Stop::reset: return kReset;
      case Stop::halted_forever: return kHaltedForever;
      case Stop::user_quit: return kInterrupted;
      case Stop::none: break;
    }
    return kInternal;
  }

  sim::Settings& settings_;
  Machine machine_;
  RunParams params_;
  Region region_;
  Console console_;
  std::unique_ptr<Tracing> tracing_;
  std::optional<report::OutputFolder> out_;
  std::vector<std::pair<u64, u64>> markers_;
  unsigned dumps_ = 0, polls_ = 0;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace

int run_command(const std::vector<std::string>& arguments) {
  using Strings = std::vector<std::string>;
  po::options_description options("Options");
  auto add = options.add_options();
  add("positional", po::value<Strings>(), "");
  add("set", po::value<Strings>()->composing(), "override a key: --set tlb.l2.entries=1024");
  add("kernel", po::value<std::string>(), "kernel image (key guest.kernel)");
  add("initrd", po::value<std::string>(), "initial RAM disk (key guest.initrd)");
  add("append", po::value<std::string>(), "kernel command line (key guest.append)");
  add("out", po::value<std::string>(), "folder for the report");
  add("max-instructions", po::value<std::string>(), "stop after N retired instructions (key run.max_instructions)");
  add("roi-start", po::value<std::string>(),
      "begin the region of interest after N retired instructions (key run.roi_start)");
  add("roi-stop", po::value<std::string>(), "end it after N retired instructions (key run.roi_stop)");
  add("trace", po::value<std::string>(), "write a trace to --out: accesses, walks or instructions (key trace.what)");
  add("exact", "switch the L0 filter off (key run.exact)");
  add("no-input", "do not read standard input");
  add("disk", po::value<std::string>(), "not available yet: there is no disk controller");
  po::positional_options_description positional;
  positional.add("positional", -1);
  po::variables_map vm;
  if (!parse(arguments, kRunUsage, kText, options, positional, vm)) return kOk;
  if (vm.count("disk")) throw sim::ConfigError("--disk: this version has no disk controller; put files into the initrd");

  sim::Settings settings;
  if (vm.count("positional"))
    for (const std::string& file : vm["positional"].as<Strings>()) settings.load_file(file);
  if (vm.count("set"))
    for (const std::string& s : vm["set"].as<Strings>()) settings.set(s);
  const std::pair<const char*, const char*> keys[] = {{"kernel", "guest.kernel"},
                                                      {"initrd", "guest.initrd"},
                                                      {"append", "guest.append"},
                                                      {"trace", "trace.what"},
                                                      {"max-instructions", "run.max_instructions"},
                                                      {"roi-start", "run.roi_start"},
                                                      {"roi-stop", "run.roi_stop"}};
  for (const auto& [option, key] : keys)
    if (vm.count(option)) settings.put(key, vm[option].as<std::string>(), std::string("--") + option);
  if (vm.count("exact")) settings.put("run.exact", "true", "--exact");
  return Run(settings, vm).go();
}

}  // namespace nestwalk::emu
