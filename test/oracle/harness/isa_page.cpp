// docs/isa.md: what the table has, and what the last long run said about it.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cpu/decode.h"
#include "test/oracle/harness/rungs.h"

namespace nestwalk::oracle {
namespace {

/// "66 REX.W 0F AF /r mem" and its kin as one: without the kind of ModRM operand and without sizes that another form shows.
std::string short_forms(const std::vector<std::string>& forms) {
  const auto bare = [](std::string s) {
    for (const char* tail : {" mem", " reg"})
      if (const auto at = s.find(tail); at != std::string::npos) s.erase(at, 4);
    return s;
  };
  std::set<std::string> all;
  for (const std::string& f : forms) all.insert(bare(f));
  const std::set<std::string> every = all;
  for (const std::string& f : every)
    for (const std::string prefix : {"66 REX.W ", "66 ", "REX.W ", "F3 ", "F2 "})
      if (f.starts_with(prefix) && every.contains(f.substr(prefix.size()))) all.erase(f);
  std::string text;
  unsigned shown = 0;
  for (const std::string& f : all) {
    if (shown++ == 6) return text + fmt::format(", {} more", all.size() - 6);
    text += (text.empty() ? "" : ", ") + f;
  }
  return text;
}

std::string result_of(const Coverage& c) {
  if (c.different) return fmt::format("**{} differ**", c.different);
  if (!c.cases.empty()) return "agrees";
  return c.note.empty() ? "not run" : c.note;
}

std::string oracle_of(const Coverage& c) {
  unsigned rungs = 0;
  for (const auto& [rung, cases] : c.cases) rungs |= rung;
  return rungs ? names_of(rungs) : "-";
}

u64 cases_of(const Coverage& c) {
  u64 sum = 0;
  for (const auto& [rung, cases] : c.cases) sum += cases;
  return sum;
}

std::string head(const RunResult& r, const RunOptions& o) {
  std::string s =
      "# The instruction set and its proof\n\n"
      "Written by `scripts/oracle` from the interpreter's table and its last long run; do not edit. How it works: "
      "[test/oracle/README.md](../test/oracle/README.md). What is not "
      "compared, and why: [isa-policy.md](isa-policy.md). Everything else of the state is.\n\n";
  s += fmt::format(
      "Seed {}, on {}.\n\n| rung | cases | unexplained differences | differed once, not again | seconds "
      "|\n|---|---:|---:|---:|---:|\n",
      o.seed, r.host);
  for (const RungResult& rung : r.rungs)
    s += rung.skipped.empty() ? fmt::format("| {} | {} | {} | {} | {:.0f} |\n", rung.name, rung.cases, rung.different,
                                            rung.unrepeated, rung.seconds)
                              : fmt::format("| {} | skipped: {} | | | |\n", rung.name, rung.skipped);
  return s;
}

/// Worlds against rungs: cases, and differences where there are any.
std::string system_table(const RunResult& r) {
  std::vector<const RungResult*> ran;
  for (const RungResult& rung : r.rungs)
    if (rung.system) ran.push_back(&rung);
  if (ran.empty()) return "";
  std::string s =
      "\n## Instructions of the system\n\nWhole machines with descriptors, gates, tasks, pages, control and debug "
      "registers "
      "at random, at CPL 0 and 3.\n\n| world |";
  std::string line = "|---|";
  for (const RungResult* rung : ran) s += fmt::format(" {} |", rung->name), line += "---:|";
  s += '\n' + line + '\n';
  for (unsigned w = 0; w < kWorlds; ++w) {
    s += fmt::format("| {} |", name_of(static_cast<World>(w)));
    for (const RungResult* rung : ran) {
      const SystemTally& t = rung->system->by_world[w];
      s += t.different ? fmt::format(" {} (**{} differ**) |", t.cases, t.different) : fmt::format(" {} |", t.cases);
    }
    s += '\n';
  }
  for (const RungResult* rung : ran) {
    s += fmt::format("\nNot run by {}:", rung->name);
    for (const auto& [why, count] : rung->system->left_out) s += fmt::format(" {} ({});", why, count);
    s.back() = rung->system->left_out.empty() ? ' ' : '.';
    if (rung->system->left_out.empty()) s += "nothing.";
    s += '\n';
  }
  return s;
}

/// What the silicon knows and no model has.
std::string opcode_table(const RunResult& r) {
  std::string s;
  for (const RungResult& rung : r.rungs) {
    if (!rung.opcodes) continue;
    s = fmt::format(
        "\n## The opcode space\n\nWhether an encoding exists, here and on the host: {} of all maps, with mandatory "
        "prefixes, LOCK, W, L and extensions in ModRM; what exists there only is beyond the models.\n\n"
        "| beyond the models | encodings |\n|---|---:|\n",
        rung.cases);
    for (const auto& [set, count] : rung.opcodes->beyond) s += fmt::format("| {} | {} |\n", set, count);
    s += "\n| not run | encodings |\n|---|---:|\n";
    for (const auto& [why, count] : rung.opcodes->not_run) s += fmt::format("| {} | {} |\n", why, count);
  }
  return s;
}

}  // namespace

std::string isa_page(const RunResult& r, const RunOptions& o) {
  std::string s = head(r, o);
  s += "\n## Instructions\n\n| instruction | forms | oracle | cases | result |\n|---|---|---|---:|---|\n";
  std::vector<const Coverage*> sorted;
  for (const Coverage& c : r.coverage) sorted.push_back(&c);
  std::sort(sorted.begin(), sorted.end(),
            [](auto* a, auto* b) { return std::string(cpu::name_of(a->op)) < cpu::name_of(b->op); });
  for (const Coverage* c : sorted)
    s += fmt::format("| {} | {} | {} | {} | {} |\n", cpu::name_of(c->op), short_forms(c->forms), oracle_of(*c),
                     cases_of(*c), result_of(*c));
  s += system_table(r);
  s += opcode_table(r);
  if (r.decoders) {
    s += fmt::format(
        "\n## Decoders\n\nZydis and Capstone over {} encodings: {} agree in length and operands, {} are refused by "
        "both.\n\n"
        "| difference | cases | why |\n|---|---:|---|\n",
        r.decoders->cases, r.decoders->agreed, r.decoders->both_refused);
    for (const DecoderName& n : decoder_names()) {
      const auto it = r.decoders->named.find(n.name);
      s += fmt::format("| {} | {} | {} |\n", n.name, it == r.decoders->named.end() ? 0 : it->second, n.reason);
    }
  }
  return s;
}

}  // namespace nestwalk::oracle
