// `nestwalk sweep`: the product of every key that lists several values, each point in its own process (docs/sweeps.md).
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <thread>

#include "emu/cli.h"
#include "emu/exit_status.h"
#include "emu/sweep/process_runner.h"
#include "emu/sweep/result_table.h"
#include "emu/sweep/session.h"
#include "emu/sweep/sweep_file.h"
#include "report/output.h"

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace nestwalk::emu {
namespace {

using report::ResultStore;

constexpr const char* kUsageLine =
    "sweep SWEEP.ini --out DIR [--jobs N] [--resume] [--set K=V]... [--kernel F] [--initrd F] [--append S]";
constexpr const char* kText =
    "Runs the product of every key that SWEEP.ini lists several values for (docs/sweeps.md). DIR receives results.sqlite,\n"
    "results.csv and a folder per point; the table goes to standard output. Exit statuses: 0 all points are done; 1 some\n"
    "failed (DIR says why); 2 nothing ran: the sweep file, a point's configuration or DIR is refused; 130 interrupted,\n"
    "--resume goes on.";
constexpr u64 kMostJobs = 1024;

/// Keeps a second sweep out of the folder; the kernel lets go of it when we end in whatever way.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder) : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(fd_);
      throw sim::ConfigError(fmt::format("{}: another sweep is at work in this folder", folder));
    }
  }
  ~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

u64 jobs_of(const po::variables_map& vm) {
  if (!vm.count("jobs")) return std::max(1U, std::thread::hardware_concurrency());
  const u64 jobs = vm["jobs"].as<u64>();
  if (jobs < 1 || jobs > kMostJobs) throw sim::ConfigError(fmt::format("--jobs {}: allowed is 1..{}", jobs, kMostJobs));
  return jobs;
}

sweep::SweepFile file_of(const po::variables_map& vm) {
  sweep::SweepFile file(vm["positional"].as<std::string>());
  if (vm.count("set"))
    for (const std::string& text : vm["set"].as<std::vector<std::string>>()) {
      const std::size_t equals = text.find('=');
      if (equals == std::string::npos) throw sim::ConfigError(fmt::format("--set '{}': must be key=value", text));
      file.override_with({text.substr(0, equals), text.substr(equals + 1), "--set"});
    }
  for (const char* option : {"kernel", "initrd", "append"})
    if (vm.count(option))
      file.override_with({std::string("guest.") + option, vm[option].as<std::string>(), std::string("--") + option});
  return file;
}

std::vector<sweep::Plan> plans_of(const sweep::SweepFile& file) {
  // A program that was built anew may count otherwise, whatever its version says.
  sweep::Planner planner(version_text() + " " + sweep::digest_of_file(program_path()));
  std::vector<sweep::Plan> plans;
  try {
    for (const sweep::Point& point : file.points()) plans.push_back(planner.plan(point));
  } catch (const sim::ConfigError& e) {
    throw sim::ConfigError(fmt::format("{}: {}", file.path(), e.what()));
  }
  return plans;
}

int status_of(const sweep::Tally& tally) {
  if (tally.interrupted) return kInterrupted;
  return tally.failed ? kSomeFailed : kOk;
}

int run_sweep(const po::variables_map& vm) {
  const u64 jobs = jobs_of(vm);
  const sweep::SweepFile file = file_of(vm);
  std::vector<sweep::Plan> plans = plans_of(file);

  const std::string folder = vm["out"].as<std::string>();
  const std::string database = folder + "/results.sqlite", points = folder + "/points";
  if (!vm.count("resume") && (fs::exists(database) || fs::exists(points)))
    throw sim::ConfigError(
        fmt::format("{}: holds results of an earlier sweep; go on with it by --resume, or choose another --out", folder));
  const report::OutputFolder out(folder);
  const FolderLock lock(folder);
  ResultStore store(database);
  store.set_keys(file.keys());
  sweep::ProcessRunner runner(program_path(), points);
  for (const u64 id : sweep::settle(plans, store)) runner.forget(id);

  sweep::Tally tally;
  {
    sweep::Progress progress(std::cerr, isatty(STDERR_FILENO));
    tally = sweep::run_points(plans, runner, store, progress, jobs);
  }
  out.write("results.csv", store.csv());
  std::cout << sweep::result_table(file.keys(), plans, store) << std::flush;
  std::cerr << fmt::format("sweep: {}: {}; results in {} and {}/results.csv\n", tally.interrupted ? "interrupted" : "ended",
                           fmt::format("{} of {} points done{}", tally.before + tally.done, tally.total,
                                       tally.failed ? fmt::format(", {} failed", tally.failed) : ""),
                           database, folder);
  if (tally.interrupted) std::cerr << "sweep: the same command with --resume goes on\n";
  return status_of(tally);
}

}  // namespace

int sweep_command(const std::vector<std::string>& arguments) {
  po::options_description options("Options");
  auto add = options.add_options();
  add("positional", po::value<std::string>(), "");
  add("out", po::value<std::string>(), "folder for the results");
  add("jobs", po::value<u64>(), "points at a time (standard: one per processor of the host)");
  add("resume", "go on with the sweep in the folder: points that are done are not run again");
  add("set", po::value<std::vector<std::string>>()->composing(), "override a key of every point: --set tlb.l1d.entries=32");
  add("kernel", po::value<std::string>(), "kernel image of every point (key guest.kernel)");
  add("initrd", po::value<std::string>(), "initial RAM disk of every point (key guest.initrd)");
  add("append", po::value<std::string>(), "kernel command line of every point (key guest.append)");
  po::positional_options_description positional;
  positional.add("positional", 1);
  po::variables_map vm;
  if (!parse(arguments, kUsageLine, kText, options, positional, vm)) return kOk;
  if (!vm.count("positional") || !vm.count("out"))
    throw sim::ConfigError(fmt::format("sweep needs {}; usage: nestwalk {}",
                                       vm.count("positional") ? "a folder: --out DIR" : "a sweep file", kUsageLine));
  try {
    return run_sweep(vm);
  } catch (const report::StoreError& e) {
    throw sim::ConfigError(e.what());
  } catch (const fs::filesystem_error& e) {
    throw sim::ConfigError(fmt::format("{}: {}", e.path1().string(), e.code().message()));
  }
}

}  // namespace nestwalk::emu
