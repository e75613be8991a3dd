// `nestwalk run`: one host, its machines and their guests, a report of each.
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
#include "emu/guest_run.h"
#include "emu/host.h"
#include "emu/run_params.h"
#include "emu/screen_file.h"
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

/// Asks the cores now and then to look at the host: input, signals, progress. It changes nothing in the guest by itself.
class Ticker {
 public:
  explicit Ticker(Host& host)
      : thread_([this, &host] {
          while (!done_.load()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            for (std::size_t n = 0; n < host.size(); ++n) host.machine(n).request_poll();
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
        host_(settings),
        console_(vm.count("no-input") ? Console::Input::none : Console::Input::standard) {
    params_.declare(settings.section("run"));
    attached_ = attached(vm);
    tracing_ = std::make_unique<Tracing>(settings, host_.machine(attached_));
    settings.refuse_unknown();
    if (vm.count("screen")) screen_.emplace(vm["screen"].as<std::string>());
    for (std::size_t n = 0; n < host_.size(); ++n)
      guests_.push_back(
          std::make_unique<GuestRun>(host_, host_.tenant(n), settings, params_, n == attached_ ? &console_ : nullptr));
    if (vm.count("out")) open_output(vm["out"].as<std::string>());
    tracing_->open(out_ ? &*out_ : nullptr);
    for (std::size_t n = 0; n < host_.size(); ++n) host_.machine(n).on_poll = [this] { poll(); };
    host_.on_limit = [this](Tenant& t) { guests_[t.number]->at_limit(); };
    host_.load();
  }

  int go() {
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
    started_ = std::chrono::steady_clock::now();
    {
      const Ticker ticker(host_);
      host_.run();
    }
    console_.flush();
    tracing_->close();
    if (screen_) screen_->write(host_.machine(attached_).screen());
    report();
    return status();
  }

 private:
  /// The machine that has the terminal: --vm NAME, otherwise the first.
  std::size_t attached(const po::variables_map& vm) {
    if (!vm.count("vm")) return 0;
    const std::string name = vm["vm"].as<std::string>();
    std::vector<std::string> names;
    for (std::size_t n = 0; n < host_.size(); ++n) {
      if (host_.tenant(n).name == name) return n;
      names.push_back(host_.tenant(n).name);
    }
    throw sim::ConfigError(
        fmt::format("--vm {}: there is no such virtual machine; there are: {}", name, fmt::join(names, ", ")));
  }

  void open_output(const std::string& path) {
    out_.emplace(path);
    for (std::size_t n = 0; n < host_.size(); ++n) {
      const std::string& name = host_.tenant(n).name;
      guests_[n]->set_output(name.empty() ? *out_ : report::OutputFolder(path + "/" + name));
    }
  }

  void poll() {
    if (interrupted.load()) host_.stop(Stop::user_quit);
    Machine& machine = host_.machine(attached_);
    if (host_.size() == 1 && machine.is_idle() && console_.is_terminal()) {
      console_.flush();
      console_.wait(20);
    }
    if (const std::string typed = console_.take_input(); !typed.empty()) machine.type(typed);
    if (console_.quit()) host_.stop(Stop::user_quit);
    if (++polls_ % 5 == 0) console_.flush();  // a prompt has no newline
  }

  void report() {
    for (auto& g : guests_) g->finish();
    if (out_) {
      if (host_.size() > 1 || !host_.tenant(0).name.empty()) write_host_report();
      out_->write("config.ini", settings_.effective());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    u64 all = 0;
    for (std::size_t n = 0; n < host_.size(); ++n) {
      const u64 instructions = host_.machine(n).instructions();
      all += instructions;
      const std::string& name = host_.tenant(n).name;
      fmt::print(
          stderr,
          "\nnestwalk: {}{}{}: {} instructions, {} cycles, {:.1f} s on this host ({:.1f} million instructions a second)",
          name, name.empty() ? "" : ": ", guests_[n]->ended(), instructions, host_.machine(n).cycles(), seconds,
          static_cast<double>(instructions) / seconds / 1e6);
    }
    if (host_.size() > 1)
      fmt::print(stderr, "\nnestwalk: all together: {} instructions, {:.1f} million instructions a second", all,
                 static_cast<double>(all) / seconds / 1e6);
    fmt::print(stderr, "\n");
    if (out_) fmt::print(stderr, "nestwalk: report in {} (summary.txt, stats.json, config.ini)\n", out_->path());
  }

  void write_host_report() {
    report::Head h;
    h.version = version_text();
    h.seed = host_.params().seed;
    h.take_config(settings_);
    for (std::size_t n = 0; n < host_.size(); ++n) h.facts.emplace_back("vm." + host_.tenant(n).name, guests_[n]->ended());
    const sim::Snapshot s = host_.stats().snapshot();
    out_->write("stats.json", report::stats_json(h, host_.stats(), s));
    out_->write("summary.txt", report::summary(h, host_.stats(), s));
  }

  /// One machine's own status; of several 0 when all ended well, and kSomeFailed when their neighbours went on without
  /// some.
  int status() const {
    if (guests_.size() == 1) return guests_[0]->status();
    bool failed = false;
    for (const auto& g : guests_) {
      if (g->status() == kInterrupted) return kInterrupted;
      failed |= g->status() != kOk;
    }
    return failed ? kSomeFailed : kOk;
  }

  sim::Settings& settings_;
  Host host_;
  RunParams params_;
  Console console_;
  std::size_t attached_ = 0;
  std::unique_ptr<Tracing> tracing_;
  std::vector<std::unique_ptr<GuestRun>> guests_;
  std::optional<report::OutputFolder> out_;
  std::optional<ScreenFile> screen_;
  unsigned polls_ = 0;
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
  add("screen", po::value<std::string>(), "write the VGA text screen to this file at the end");
  add("no-input", "do not read standard input");
  add("vm", po::value<std::string>(), "the virtual machine that has the terminal (default: the first)");
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
