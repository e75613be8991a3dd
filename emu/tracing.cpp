// The keys of [trace], the recorders that a machine gets, and `nestwalk trace-dump`.
#include "emu/tracing.h"

#include <iostream>
#include <optional>

#include "emu/cli.h"
#include "emu/exit_status.h"
#include "traces/recorder.h"
#include "traces/stream.h"

namespace po = boost::program_options;

namespace nestwalk::emu {

struct Tracing::Impl {
  enum class What : u8 { none, accesses, walks, instructions };
  Impl(sim::Settings& s, Machine& m) : settings(s), machine(m) {}
  sim::Settings& settings;
  Machine& machine;
  What what = What::none;
  std::optional<report::PendingFile> file;
  std::unique_ptr<traces::Writer> writer;
  std::unique_ptr<traces::AccessRecorder> accesses;
  std::unique_ptr<traces::RetireRecorder> retired;
};

Tracing::Tracing(sim::Settings& settings, Machine& machine) : impl_(std::make_unique<Impl>(settings, machine)) {
  using What = Impl::What;
  settings.section("trace").field(
      "what", impl_->what,
      {{"none", What::none}, {"accesses", What::accesses}, {"walks", What::walks}, {"instructions", What::instructions}},
      "what the trace in the output folder records (traces/FORMAT.md); accesses and walks switch the filter off");
}

Tracing::~Tracing() = default;

void Tracing::open(const report::OutputFolder* folder) {
  using What = Impl::What;
  Impl& t = *impl_;
  if (t.what == What::none) return;
  if (!folder) throw sim::ConfigError("a trace needs a place: give --out DIR");
  if (t.machine.size() > 1)
    t.settings.section("trace").refuse("what", "must be none: a trace is of a machine with one processor");
  const traces::Kind kind = static_cast<traces::Kind>(t.what);
  t.file.emplace(folder->begin(std::string(traces::name_of(kind)) + ".nwtrace"));
  t.writer = std::make_unique<traces::Writer>(t.file->path(), kind, t.settings.effective());
  if (t.what == What::instructions) {
    t.retired = std::make_unique<traces::RetireRecorder>(*t.writer);
    t.machine.cpu().set_retire_observer(t.retired.get());
  } else {
    t.accesses = std::make_unique<traces::AccessRecorder>(*t.writer, kind);
    t.accesses->paging(t.machine.port().paging());
    t.machine.port().set_observer(t.accesses.get());
  }
}

void Tracing::close() {
  Impl& t = *impl_;
  if (!t.writer) return;
  t.machine.cpu().set_retire_observer(nullptr);
  t.machine.port().set_observer(nullptr);
  t.writer->finish();
  t.file->commit();
  t.writer.reset();
}

int trace_dump_command(const std::vector<std::string>& arguments) {
  po::options_description options("Options");
  options.add_options()("positional", po::value<std::string>(), "")("count", po::value<u64>(), "print at most N records")(
      "config", "print the run's configuration instead");
  po::positional_options_description positional;
  positional.add("positional", 1);
  po::variables_map vm;
  if (!parse(arguments, "trace-dump FILE [--count N] [--config]", "Prints a trace as text, a record a line.", options,
             positional, vm))
    return kOk;
  if (!vm.count("positional")) throw sim::ConfigError("trace-dump needs a trace file");
  try {
    traces::Reader reader(vm["positional"].as<std::string>());
    if (vm.count("config")) {
      std::cout << reader.config();
      return kOk;
    }
    u64 left = vm.count("count") ? vm["count"].as<u64>() : ~u64{0};
    traces::Record record;
    while (left-- && reader.next(record) && std::cout) std::cout << traces::to_text(record) << '\n';
  } catch (const traces::TraceError& e) {
    throw sim::ConfigError(e.what());
  }
  return kOk;
}

}  // namespace nestwalk::emu
