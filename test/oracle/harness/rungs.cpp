#include "test/oracle/harness/rungs.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>

#include "cpu/decode.h"
#include "cpu/features.h"
#include "test/oracle/harness/asked_features.h"
#include "test/oracle/harness/host_side.h"
#include "test/oracle/harness/image_side.h"
#include "test/oracle/harness/system_draw.h"
#include "test/oracle/harness/unicorn_side.h"

namespace nestwalk::oracle {
namespace {

using cpu::Op;
constexpr unsigned kOps = static_cast<unsigned>(Op::count_);

bool lacks_nothing(cpu::Feature) { return false; }

class Run {
 public:
  explicit Run(const RunOptions& options) : options_(options) {}

  /// The rungs are independent of each other; those that take longest start first.
  RunResult run() {
    result_.host = host_processor();
    struct Task {
      unsigned place;  ///< in the report
      std::function<void(Results&)> run;
    };
    const std::vector<Task> tasks = {
        {9, [this](Results& r) { system("bochs", "system bochs", kBochs, r); }},
        {8, [this](Results& r) { system("qemu", "system qemu", kQemu, r); }},
        {6, [this](Results& r) { image("bochs", "bochs", kBochs, r); }},
        {7, [this](Results& r) { system("nestwalk", "system image", kImage, r); }},
        {5, [this](Results& r) { image("qemu", "qemu", kQemu, r); }},
        {0, [this](Results& r) { host(r); }},
        {1, [this](Results& r) { opcodes(r); }},
        {4, [this](Results& r) { image("image", "nestwalk", kImage, r); }},
        {3, [this](Results& r) { unicorn(r); }},
        {10, [this](Results& r) { decoders(r); }},
        {2, [this](Results& r) { kvm(r); }},
    };
    std::vector<Results> results(tasks.size());
    std::vector<std::exception_ptr> failed(tasks.size());
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
      for (std::size_t n; (n = next++) < tasks.size();) try {
          tasks[n].run(results[tasks[n].place]);
        } catch (...) {
          failed[n] = std::current_exception();
        }
    };
    {
      std::vector<std::jthread> others;
      for (unsigned n = 1; n < std::min<std::size_t>(options_.jobs, tasks.size()); ++n) others.emplace_back(work);
      work();
    }
    for (const std::exception_ptr& e : failed)
      if (e) std::rethrow_exception(e);
    for (Results& some : results) std::move(some.begin(), some.end(), std::back_inserter(result_.rungs));
    coverage();
    return std::move(result_);
  }

 private:
  using Results = std::vector<RungResult>;

  bool wanted(const char* rung) const { return options_.only.empty() || options_.only == rung; }

  std::function<void(const Progress&)> progress(const std::string& rung) const {
    return [this, rung](const Progress& p) {
      const std::lock_guard one_line(progress_);
      if (options_.progress) options_.progress(rung.c_str(), p.done, p.total, p.different);
    };
  }

  void campaign(const std::string& name, const Atlas& atlas, OurSide& ours, Side& theirs, Rung rung, u64 cases,
                Results& results) {
    Campaign c(atlas, ours, theirs, rung, options_.seed);
    if (!options_.ops.empty()) {
      std::vector<Op> ops;
      for (const Op op : options_.ops)
        if (std::find(c.ops().begin(), c.ops().end(), op) != c.ops().end()) ops.push_back(op);
      c.restrict_to(ops);
    }
    if (options_.large) c.leave_large();
    RungResult r;
    r.name = name;
    r.rung = rung;
    if (c.ops().empty()) {
      r.skipped = "none of the chosen instructions runs there";
    } else {
      r.campaign = c.run(options_.first, std::max<u64>(cases, 1), progress(name));
      r.cases = r.campaign->cases;
      r.seconds = r.campaign->seconds;
      r.unrepeated = r.campaign->unrepeated;
      for (const Tally& t : r.campaign->by_op) r.different += t.different;
      for (const Finding& f : r.campaign->findings) r.findings.push_back(f.text);
    }
    results.push_back(std::move(r));
  }
  static void skip(const char* name, const std::string& why, Results& results) {
    RungResult r;
    r.name = name;
    r.skipped = why;
    results.push_back(r);
  }

  void host(Results& results) {
    if (!wanted("host")) return;
    std::string missing;
    const auto host = make_host(missing);
    if (!host) return skip("host", missing, results);
    OurSide ours(every_feature(host_lacks));
    const Atlas atlas(Mode::k64, ours.cpuid());
    campaign("host", atlas, ours, *host, kHost, options_.cases, results);
  }

  void opcodes(Results& results) {
    if (!wanted("opcodes")) return;
    if (!options_.ops.empty()) return skip("opcodes", "its cases are not drawn by instruction", results);
    std::string missing;
    const auto theirs = make_host(missing);
    if (!theirs) return skip("opcodes", missing, results);
    OurSide ours(every_feature(host_lacks));
    constexpr u64 kWhole = 1000000;  // a run of so many cases or more takes all points
    const u64 points = opcode_points(), count = points * std::min(options_.cases, kWhole) / kWhole;
    const auto shown = progress("opcodes");
    RungResult r;
    r.name = "opcodes";
    r.opcodes = compare_opcodes(ours, *theirs, std::max<u64>(count, 1), [&](u64 done, u64 different) {
      shown({done, count, different});
    });
    r.cases = r.opcodes->cases;
    r.different = r.opcodes->different;
    r.findings = r.opcodes->findings;
    r.seconds = r.opcodes->seconds;
    results.push_back(std::move(r));
  }

  /// 64-bit mode, and 32-bit mode, which the host oracle does not reach.
  static constexpr std::pair<Mode, const char*> kModes[] = {{Mode::k64, ", 64-bit"}, {Mode::k32, ", 32-bit"}};

  void unicorn(Results& results) {
    if (!wanted("unicorn")) return;
    for (const auto& [mode, suffix] : kModes) {
      std::string missing;
      const auto theirs = make_unicorn(mode, missing);
      if (!theirs) return skip("unicorn", missing, results);
      AskedFeatures features;
      std::vector<Outcome> answers(features.cases().size());
      theirs->run(features.cases(), answers);
      features.take(answers);
      OurSide ours(every_feature([&](cpu::Feature f) { return features.lacks(f); }));
      const Atlas atlas(mode, ours.cpuid());
      campaign(std::string("unicorn") + suffix, atlas, ours, *theirs, kUnicorn, options_.cases / 20, results);
    }
  }

  /// Emulated PCs. Where all of what we have is there, it is compared; Bochs takes seconds to boot and gets fewer cases.
  void image(const char* name, const char* engine, Rung rung, Results& results) {
    if (!wanted(name)) return;
    std::string missing;
    const auto theirs = make_image_side(engine, missing);
    if (!theirs) return skip(name, missing, results);
    OurSide ours(every_feature([&](cpu::Feature f) { return theirs->lacks(f); }));
    for (const auto& [mode, suffix] : kModes) {
      const Atlas atlas(mode, ours.cpuid());
      campaign(std::string(name) + suffix, atlas, ours, *theirs, rung, options_.cases / (rung == kQemu ? 20 : 40), results);
    }
  }

  /// Whole machines through images (system_image.h).
  void system(const char* engine, const char* name, Rung rung, Results& results) {
    if (!wanted("system") && options_.only != name) return;
    if (!options_.ops.empty()) return skip(name, "its cases are not drawn by instruction", results);
    SystemImage theirs(engine);
    if (!theirs.missing().empty()) return skip(name, theirs.missing(), results);
    RungResult r;
    r.name = name;
    r.rung = rung;
    const auto began = std::chrono::steady_clock::now();
    const u64 count = std::max<u64>(options_.cases / 50, 1);
    SystemCampaign campaign(theirs, rung, options_.seed);
    if (options_.large) campaign.leave_large();
    r.system = campaign.run(options_.first, count, [&](u64 done, u64 different) {
      progress(name)({done, count, different});
    });
    r.cases = r.system->sum().cases;
    r.different = r.system->sum().different;
    r.findings = r.system->findings;
    r.unrepeated = r.system->unrepeated;
    r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    results.push_back(std::move(r));
  }

  void kvm(Results& results) {
    if (!wanted("kvm")) return;
    std::string missing;
    const auto theirs = make_kvm_system(missing);
    if (!theirs) return skip("kvm", missing, results);
    if (const std::string wrong = first_wrong(*theirs); !wrong.empty() && !options_.force_kvm)
      return skip("kvm", "no real processor behind /dev/kvm: " + wrong, results);
    const auto ours = make_our_system();
    RungResult r;
    r.name = "kvm";
    const auto began = std::chrono::steady_clock::now();
    const u64 count = std::max<u64>(options_.cases / 100, 1);
    for (u64 n = options_.first; n < options_.first + count; ++n) {
      const DrawnSystem drawn = draw_system_case(options_.seed, n);
      SystemCase a = drawn.start, b = a;
      const Ended ours_ended = ours->run(a), theirs_ended = theirs->run(b);
      ++r.cases;
      const bool both_down = ours_ended == theirs_ended && ours_ended != Ended::halted;
      const std::string d = ours_ended != theirs_ended ? " one halts, the other does not"
                            : both_down                ? ""
                                                       : difference(a, b);
      if (!d.empty() && ++r.different <= 20)
        r.findings.push_back(fmt::format("case {} {}: nestwalk/kvm:{}\n", n, describe(drawn), d));
      if (n % 64 == 0) progress("kvm")({r.cases, count, r.different});
    }
    r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    results.push_back(std::move(r));
  }

  void decoders(Results& results) {
    if (!wanted("decoders")) return;
    OurSide ours(every_feature(lacks_nothing));
    const Atlas atlas(Mode::k64, ours.cpuid());
    const auto shown = progress("decoders");
    result_.decoders = Decoders(atlas, options_.seed).run(options_.first, options_.cases, [&](u64 done) {
      shown({done, options_.cases, 0});
    });
    RungResult r;
    r.name = "decoders";
    r.cases = result_.decoders->cases;
    r.seconds = result_.decoders->seconds;
    r.different = result_.decoders->unexplained_count;
    r.findings = result_.decoders->unexplained;
    for (std::string& f : r.findings) f += '\n';
    results.push_back(std::move(r));
  }

  // ---- coverage ---------------------------------------------------------------------------------------------------------

  void coverage() {
    OurSide ours(every_feature(lacks_nothing));
    const Atlas wide(Mode::k64, ours.cpuid()), narrow(Mode::k32, ours.cpuid());
    bool on_host = false;
    // A run that is shorter than the table says nothing about coverage.
    for (const RungResult& r : result_.rungs) on_host |= r.rung == kHost && r.campaign && r.cases >= kOps;
    for (unsigned n = 0; n < kOps; ++n) {
      Coverage c;
      c.op = static_cast<Op>(n);
      const Atlas& atlas = wide.forms_of(c.op).empty() ? narrow : wide;
      for (const u32 f : atlas.forms_of(c.op)) c.forms.push_back(atlas.forms()[f].name);
      for (const RungResult& r : result_.rungs)
        if (r.campaign) count(c, r.rung, r.campaign->by_op[n]);
      if (const char* reason = exception_of(c.op, kHost))
        c.note = reason;
      else if (wide.forms_of(c.op).empty() && !c.forms.empty())
        c.note = "not in 64-bit mode";
      else if (c.forms.empty())
        c.missing = true;
      else if (on_host && !c.ran_on(kHost) && options_.ops.empty())
        host_gap(c);
      result_.coverage.push_back(std::move(c));
    }
  }
  static void count(Coverage& c, Rung rung, const Tally& t) {
    c.different += t.different;
    if (!t.cases) return;
    if (c.ran_on(rung))
      c.cases.back().second += t.cases;
    else
      c.cases.emplace_back(rung, t.cases);
  }
  /// No case although there are forms: the host's processor lacks the feature, or the harness is at fault.
  void host_gap(Coverage& c) {
    if (!host_atlas_) {
      OurSide as_host(every_feature(host_lacks));
      host_atlas_.emplace(Mode::k64, as_host.cpuid());
    }
    if (host_atlas_->forms_of(c.op).empty())
      c.note = "the host's processor does not have it";
    else
      c.missing = true;
  }

  const RunOptions& options_;
  RunResult result_;
  mutable std::mutex progress_;
  std::optional<Atlas> host_atlas_;
};

}  // namespace

std::span<const char* const> rung_names() {
  static constexpr const char* names[] = {"host",  "opcodes", "kvm",          "unicorn",     "image",        "qemu",
                                          "bochs", "system",  "system image", "system qemu", "system bochs", "decoders"};
  return names;
}

RunResult run_rungs(const RunOptions& options) { return Run(options).run(); }

std::vector<std::string> RunResult::failures() const {
  std::vector<std::string> all;
  for (const RungResult& r : rungs)
    if (r.different) all.push_back(fmt::format("{}: {} unexplained differences", r.name, r.different));
  for (const Coverage& c : coverage)
    if (c.missing) all.push_back(fmt::format("{}: a line of the table that no case reaches", cpu::name_of(c.op)));
  for (const std::string& name : unknown_names()) all.push_back("the policy names " + name + ", which is not in the table");
  return all;
}

Op op_of(const std::string& name) {
  for (unsigned n = 0; n < kOps; ++n)
    if (name == cpu::name_of(static_cast<Op>(n))) return static_cast<Op>(n);
  throw std::invalid_argument("no instruction '" + name + "' in the table");
}

}  // namespace nestwalk::oracle
