// oracle: long runs of the harness. scripts/oracle builds and calls it.
#include <fmt/format.h>
#include <boost/program_options.hpp>

#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <thread>

#include <unistd.h>

#include "test/oracle/harness/rungs.h"

using namespace nestwalk;
using namespace nestwalk::oracle;

namespace {

/// Every rung's last word: on a terminal one line that is written over, elsewhere a line for each every ten seconds.
class ProgressLine {
 public:
  void operator()(const std::string& name, u64 done, u64 total, u64 different) {
    using namespace std::chrono;
    const auto now = steady_clock::now();
    Rung& rung = rungs_[name];
    if (!rung.total) rung.began = rung.last = now;
    rung.total = total;
    const double seconds = duration<double>(now - rung.began).count(), rate = static_cast<double>(done) / seconds;
    const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
    rung.text = fmt::format("{}: {} of {} cases, {:.0f} a second, {:.0f} s left, {} findings", name, done, total, rate,
                            left, different);
    rung.percent = 100 * done / std::max<u64>(total, 1);
    if (done >= total) rung.text.clear();
    if (now - (terminal_ ? shown_ : rung.last) < (terminal_ ? milliseconds(500) : milliseconds(10000))) return;
    shown_ = rung.last = now;
    if (!terminal_) return fmt::print(stderr, "{}\n", rung.text);
    std::string line;
    for (const auto& [each, r] : rungs_)
      if (!r.text.empty()) line += fmt::format("{}{} {}%", line.empty() ? "" : ", ", each, r.percent);
    fmt::print(stderr, "\r{:.79}\033[K", line);
  }
  void end() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }

 private:
  struct Rung {
    std::chrono::steady_clock::time_point began, last;
    u64 total = 0, percent = 0;
    std::string text;  ///< empty when it is done
  };
  bool terminal_ = isatty(2);
  std::chrono::steady_clock::time_point shown_;
  std::map<std::string, Rung> rungs_;
};

int report(const RunResult& r) {
  for (const RungResult& rung : r.rungs) {
    if (!rung.skipped.empty()) {
      fmt::print("SKIPPED {}: {}\n", rung.name, rung.skipped);
      continue;
    }
    fmt::print("{}: {} cases in {:.1f} s, {} unexplained differences\n", rung.name, rung.cases, rung.seconds,
               rung.different);
    if (rung.unrepeated) fmt::print("  differed once and not again: {}\n", rung.unrepeated);
    if (rung.system)
      for (const auto& [why, count] : rung.system->left_out) fmt::print("  not run: {} ({})\n", why, count);
    if (rung.opcodes) {
      for (const auto& [why, count] : rung.opcodes->not_run) fmt::print("  not run: {} ({})\n", why, count);
      for (const auto& [set, count] : rung.opcodes->beyond) fmt::print("  beyond the models: {} ({})\n", set, count);
    }
    for (const std::string& f : rung.findings) fmt::print("{}", f);
  }
  const std::vector<std::string> failures = r.failures();
  for (const std::string& f : failures) fmt::print("FAILED {}\n", f);
  return failures.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  namespace po = boost::program_options;
  RunOptions o;
  std::string page, ops;
  po::options_description usage(
      "Usage: oracle [OPTION]...\nCompares the interpreter with real processors, other emulators and other "
      "decoders.\nOptions");
  usage.add_options()("help,h", "this text")("cases", po::value(&o.cases)->default_value(100000),
                                             "cases against the host and the decoders; the others get their share")(
      "seed", po::value(&o.seed)->default_value(1), "of the stream of cases")(
      "first", po::value(&o.first)->default_value(0), "number of the first case")("only", po::value(&o.only), "one rung")(
      "ops", po::value(&ops), "only these instructions, as the table names them: ADD,SHLD")(
      "page", po::value(&page), "write docs/isa.md there")("large", po::bool_switch(&o.large),
                                                           "show differences as they are drawn, not made small")(
      "jobs", po::value(&o.jobs)->default_value(std::max(1U, std::thread::hardware_concurrency())), "rungs at once")(
      "force-kvm", po::bool_switch(&o.force_kvm), "KVM even where its self-test fails");
  try {
    po::variables_map given;
    po::store(po::parse_command_line(argc, argv, usage), given);
    po::notify(given);
    if (given.count("help")) {
      std::cout << usage;
      return 0;
    }
    const auto names = rung_names();
    if (!o.only.empty() && std::find(names.begin(), names.end(), o.only) == names.end())
      throw std::invalid_argument(fmt::format("--only: '{}' is none of {}", o.only, fmt::join(names, ", ")));
    std::istringstream list(ops);
    for (std::string name; std::getline(list, name, ',');) o.ops.push_back(op_of(name));
  } catch (const std::exception& e) {
    std::cerr << "oracle: " << e.what() << "; see --help\n";
    return 2;
  }
  ProgressLine progress;
  o.progress = [&](const char* rung, u64 done, u64 total, u64 different) { progress(rung, done, total, different); };
  const RunResult result = run_rungs(o);
  progress.end();
  if (!page.empty()) {
    std::ofstream out(page);
    out << isa_page(result, o);
    if (!out.flush()) {
      std::cerr << "oracle: cannot write '" << page << "'\n";
      return 2;
    }
  }
  return report(result);
}
