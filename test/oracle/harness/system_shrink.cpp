#include "test/oracle/harness/system_shrink.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "cpu/decode.h"
#include "test/oracle/harness/compare.h"
#include "test/oracle/harness/our_side.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;
using Change = Shrinking<DrawnSystem>::Change;

struct Register {
  const char* name;
  u64 SystemState::*at;
};
constexpr Register kRegisters[] = {{"rip", &SystemState::rip},
                                   {"rflags", &SystemState::rflags},
                                   {"cr0", &SystemState::cr0},
                                   {"cr2", &SystemState::cr2},
                                   {"cr3", &SystemState::cr3},
                                   {"cr4", &SystemState::cr4},
                                   {"efer", &SystemState::efer},
                                   {"dr0", &SystemState::dr0},
                                   {"dr1", &SystemState::dr1},
                                   {"dr6", &SystemState::dr6},
                                   {"dr7", &SystemState::dr7},
                                   {"kernel_gs_base", &SystemState::kernel_gs_base},
                                   {"star", &SystemState::star},
                                   {"lstar", &SystemState::lstar},
                                   {"cstar", &SystemState::cstar},
                                   {"fmask", &SystemState::fmask},
                                   {"sysenter_cs", &SystemState::sysenter_cs},
                                   {"sysenter_esp", &SystemState::sysenter_esp},
                                   {"sysenter_eip", &SystemState::sysenter_eip}};
struct Hidden {
  const char* name;
  Segment SystemState::*at;
};
constexpr Hidden kHidden[] = {{"ldtr", &SystemState::ldtr}, {"tr", &SystemState::tr}};
struct Table {
  const char* name;
  TableRegister SystemState::*at;
};
constexpr Table kTables[] = {{"gdtr", &SystemState::gdtr}, {"idtr", &SystemState::idtr}};

bool same(const Segment& a, const Segment& b) { return a.selector == b.selector && a.base == b.base && a.limit == b.limit; }
bool same(const TableRegister& a, const TableRegister& b) { return a.base == b.base && a.limit == b.limit; }

std::span<const u8> text_of(const DrawnSystem& c) {
  return std::span(c.start.memory).subspan(kTextAt, c.start.text_end - kTextAt);
}
CodeSize code_size(World w) {
  return w == World::long64 ? CodeSize::k64 : w == World::real || w == World::protected16 ? CodeSize::k16 : CodeSize::k32;
}
/// The same text in its world as that starts by itself, with what the way in needs.
SystemCase plain_start(const DrawnSystem& c) {
  SystemCase plain = start_of(c.world, c.cpl, text_of(c));
  const SystemState s = plain.state;
  plain.state = c.start.state;
  put_entry_frame(plain);
  plain.state = s;
  return plain;
}
bool differs_at(const SystemCase& a, const SystemCase& b, u64 at, u64 bytes) {
  return std::memcmp(&a.memory[at], &b.memory[at], bytes) != 0;
}

// ---- changes

/// Where its instructions begin, and where the last one ends.
std::vector<u64> boundaries(const DrawnSystem& c) {
  std::vector<u64> all;
  const std::span<const u8> text = text_of(c);
  for (std::size_t at = 0; at < text.size();) {
    all.push_back(at);
    Insn i;
    const auto rest = static_cast<unsigned>(std::min<std::size_t>(text.size() - at, 15));
    at += decode_insn(&text[at], rest, code_size(c.world), kTextAt + at, every_cpuid(), i) == Decoded::ok ? i.length : rest;
  }
  all.push_back(text.size());
  return all;
}

/// Without some bytes of its text; only when it is as long as it was, so that another change has not moved them.
Change without(u64 from, u64 to, std::size_t length) {
  return [=](DrawnSystem& c) {
    const std::span<const u8> text = text_of(c);
    if (text.size() != length) return;
    std::vector<u8> rest(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(from));
    rest.insert(rest.end(), text.begin() + static_cast<std::ptrdiff_t>(to), text.end());
    const SystemCase bare = start_of(c.world, c.cpl, {});
    std::copy(&bare.memory[kTextAt], &bare.memory[kTextAt] + length + kStubBytes, &c.start.memory[kTextAt]);
    put_text(c.start, rest);
  };
}
void change_text(const DrawnSystem& c, std::vector<Change>& all) {
  const std::vector<u64> at = boundaries(c);
  const std::span<const u8> text = text_of(c);
  for (std::size_t n = 0; n + 1 < at.size(); ++n) {
    if (at.size() > 2) all.push_back(without(at[n], at[n + 1], text.size()));
    for (u64 p = at[n]; p + 1 < at[n + 1] && is_prefix(text[p], c.world == World::long64); ++p)
      all.push_back(without(p, p + 1, text.size()));
  }
}

/// Registers bit by bit or in part, and as a whole.
void change_registers(const DrawnSystem& c, const SystemState& plain, std::vector<Change>& all) {
  for (unsigned n = 0; n < 16; ++n)
    if (c.start.state.gpr[n] != plain.gpr[n]) {
      all.push_back([n](DrawnSystem& d) { d.start.state.gpr[n] &= 0xffffffff; });
      all.push_back([n](DrawnSystem& d) { d.start.state.gpr[n] &= 0xffff; });
      all.push_back([n, to = plain.gpr[n]](DrawnSystem& d) { d.start.state.gpr[n] = to; });
    }
  for (const Register& r : kRegisters) {
    const u64 to = plain.*r.at;
    for (u64 left = c.start.state.*r.at ^ to; left; left &= left - 1)
      all.push_back([at = r.at, bit = left & -left, to](DrawnSystem& d) {
        d.start.state.*at = (d.start.state.*at & ~bit) | (to & bit);
      });
  }
  for (const Hidden& h : kHidden)
    if (!same(c.start.state.*h.at, plain.*h.at))
      all.push_back([at = h.at, to = plain.*h.at](DrawnSystem& d) { d.start.state.*at = to; });
  for (const Table& t : kTables)
    if (!same(c.start.state.*t.at, plain.*t.at))
      all.push_back([at = t.at, to = plain.*t.at](DrawnSystem& d) { d.start.state.*at = to; });
}

/// Pieces of memory, down to the size at which there are not too many left.
void change_memory(const DrawnSystem& c, const SystemCase& plain, u64 smallest, std::vector<Change>& all) {
  constexpr std::size_t kMost = 100;
  for (u64 step = smallest; step <= 0x1000; step *= 8) {
    std::vector<Change> pieces;
    for (u64 at = 0; at < kSystemBytes; at += step)
      if (differs_at(c.start, plain, at, step))
        pieces.push_back([at, was = std::vector<u8>(&plain.memory[at], &plain.memory[at] + step)](DrawnSystem& d) {
          std::copy(was.begin(), was.end(), &d.start.memory[at]);
        });
    if (pieces.size() <= kMost) all.insert(all.end(), pieces.begin(), pieces.end());
  }
}

std::vector<Change> large_changes(const DrawnSystem& c) {
  std::vector<Change> all;
  const SystemCase plain = plain_start(c);
  change_text(c, all);
  all.push_back([to = plain.state](DrawnSystem& d) { d.start.state.gpr = to.gpr; });
  all.push_back([to = plain.state](DrawnSystem& d) { d.start.state = to; });
  change_memory(c, plain, 0x1000, all);
  return all;
}
std::vector<Change> all_changes(const DrawnSystem& c) {
  std::vector<Change> all;
  const SystemCase plain = plain_start(c);
  change_text(c, all);
  change_registers(c, plain.state, all);
  change_memory(c, plain, 8, all);
  return all;
}

// ---- words

std::string place_name(u64 at) {
  struct Place {
    u64 at;
    const char* name;
  };
  static constexpr Place places[] = {{0, "0"},
                                     {kGdtAt, "gdt"},
                                     {kIdtAt, "idt"},
                                     {kLdtAt, "ldt"},
                                     {kTssAt, "tss"},
                                     {kTss2At, "tss2"},
                                     {kHandlersAt, "handlers"},
                                     {kWayAt, "way"},
                                     {kTablesAt, "pages"},
                                     {kStack0At, "stack0"},
                                     {kStack3At, "stack3"},
                                     {kIstAt, "ist"},
                                     {kTextAt, "text"},
                                     {kDataAt, "data"},
                                     {kUserDataAt, "user data"}};
  const auto it = std::find_if(std::rbegin(places), std::rend(places), [&](const Place& p) { return p.at <= at; });
  return fmt::format("{} + {:#x}", it->name, at - it->at);
}

std::string ending(const SystemEnd& e) {
  if (e.ended != Ended::halted) return e.ended == Ended::shutdown ? "shutdown or silence" : "no end";
  if (e.place == static_cast<int>(kTextEnd)) return "behind its text";
  if (e.place == static_cast<int>(kSecondEnd)) return "at the second text";
  return exception_name(e.place);
}

}  // namespace

DrawnSystem shrink(const DrawnSystem& c, const StillDiffer& still_differ, bool dear) {
  Shrinking<DrawnSystem> how;
  how.changes = [dear](const DrawnSystem& best) {
    std::vector<Change> all = dear ? large_changes(best) : all_changes(best);
    for (Change& change : all)
      change = [inner = std::move(change)](DrawnSystem& d) {
        inner(d);
        if (d.world != World::real) d.start.state.tr.limit = static_cast<u32>(word_at(d.start, kGdtAt + kTssSelector, 2));
        put_entry_frame(d.start);
      };
    return all;
  };
  how.is_of_use = [](const DrawnSystem&, const DrawnSystem&) { return true; };
  how.which_differ = still_differ;
  if (dear) how.rounds = 1;
  return Shrinker<DrawnSystem>(c, how).shrink();
}

std::string show_start(const DrawnSystem& c) {
  std::string s = " ";
  const std::vector<u64> at = boundaries(c);
  const std::span<const u8> text = text_of(c);
  for (std::size_t n = 0; n + 1 < at.size(); ++n)
    s += fmt::format("{} {}", n ? ";" : "",
                     listing(&text[at[n]], static_cast<unsigned>(at[n + 1] - at[n]), code_size(c.world), kTextAt + at[n]));
  s += "\n  before:";
  const SystemCase plain = plain_start(c);
  const SystemState &is = c.start.state, &was = plain.state;
  // What differs from the world's own start, as an end would show it.
  const auto as_end = [](const SystemCase& x) {
    SystemEnd e;
    e.ended = Ended::halted;
    e.state = x.state;
    return e;
  };
  for (const SystemDifference& d : differences(plain, as_end(plain), as_end(c.start)))
    s += fmt::format(" {}={:x}", d.name, d.theirs);
  if (is.rip != was.rip) s += fmt::format(" rip={:x}", is.rip);
  if (is.tr.limit != was.tr.limit) s += fmt::format(" tr.limit={:x}", is.tr.limit);
  constexpr unsigned kShown = 40;
  unsigned shown = 0;
  for (u64 n = 0; n < kSystemBytes; n += 8)
    if (differs_at(c.start, plain, n, 8) && ++shown <= kShown)
      s += fmt::format(" [{}]={:x}", place_name(n), word_at(c.start, n, 8));
  return s + (shown > kShown ? fmt::format(" and {} words more\n", shown - kShown) : "\n");
}

std::string show_end(const DrawnSystem& c, const SystemEnd& end) {
  std::string s = ending(end);
  if (end.ended != Ended::halted) return s;
  s += ";";
  SystemEnd start = end_of(c.start, c.start, Ended::halted);
  start.place = end.place;
  for (const SystemDifference& d : differences(c.start, start, end)) s += fmt::format(" {}={:x}", d.name, d.theirs);
  return s;
}

}  // namespace nestwalk::oracle
