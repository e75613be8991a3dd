// The rungs of the oracle as one run: which sides are there, how many cases each gets, what came of them. The command
// (scripts/oracle) and the tests run the same.
#pragma once

#include <algorithm>
#include <optional>

#include "test/oracle/harness/campaign.h"
#include "test/oracle/harness/decoders.h"
#include "test/oracle/harness/opcode_space.h"
#include "test/oracle/harness/system_campaign.h"

namespace nestwalk::oracle {

struct RunOptions {
  u64 cases = 100000;  ///< against the host; the other rungs get their share of it
  u64 seed = 1, first = 0;
  std::string only;          ///< one of rung_names(); empty: all
  std::vector<cpu::Op> ops;  ///< empty: the whole table
  bool large = false;        ///< differences are shown as they are drawn, which is quick
  unsigned jobs = 1;         ///< rungs at once
  bool force_kvm = false;    ///< even where the self-test says that no real processor is behind it
  std::function<void(const char* rung, u64 done, u64 total, u64 different)> progress;
};

struct RungResult {
  std::string name;     ///< as in rung_names(), with the mode where there are several
  Rung rung = kHost;    ///< of a campaign
  std::string skipped;  ///< empty: it ran
  u64 cases = 0, different = 0, unrepeated = 0;
  double seconds = 0;
  std::vector<std::string> findings;
  std::optional<CampaignResult> campaign;
  std::optional<SystemResult> system;
  std::optional<OpcodeReport> opcodes;
};

/// What the table says about one Op, over all rungs.
struct Coverage {
  cpu::Op op;
  std::vector<std::string> forms;
  std::vector<std::pair<Rung, u64>> cases;  ///< of the rungs where some ran
  u64 different = 0;
  bool ran_on(Rung rung) const {
    return std::any_of(cases.begin(), cases.end(), [&](const auto& c) { return c.first == rung; });
  }
  std::string note;      ///< why no case ran on the host, where none did
  bool missing = false;  ///< and no reason is known: the harness is at fault
};

struct RunResult {
  std::vector<RungResult> rungs;
  std::vector<Coverage> coverage;
  std::optional<DecoderReport> decoders;
  std::string host;

  /// Unexplained differences, Ops without coverage, policy lines without an Op.
  std::vector<std::string> failures() const;
};

/// host, opcodes, kvm, unicorn, qemu, bochs, image, system, decoders.
std::span<const char* const> rung_names();
RunResult run_rungs(const RunOptions& options);

/// docs/isa.md.
std::string isa_page(const RunResult& result, const RunOptions& options);

/// "ADD" to Op::ADD; throws std::invalid_argument.
cpu::Op op_of(const std::string& name);

}  // namespace nestwalk::oracle
