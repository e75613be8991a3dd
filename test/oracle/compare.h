// Runs forms on the host and on the emulated processor and reports where they differ.
#pragma once

#include <fmt/format.h>

#include <functional>

#include "test/catch.h"
#include "test/cpu/snippet.h"
#include "test/oracle/known_differences.h"

namespace nestwalk::test {

/// Bits of EFLAGS that a user-mode instruction can show.
inline constexpr u64 kVisibleFlags = 0xcd5;  // CF PF AF ZF SF DF OF

/// What differs between the two outcomes of one case; empty: nothing. `fx_mask`: 0xff bytes of the FXSAVE image that
/// count; with it the upper halves of the YMM registers do.
inline std::string difference(const OracleCase& ours, const OracleCase& native, u64 flags = kVisibleFlags,
                              const std::array<u8, 512>* fx_mask = nullptr) {
  std::string text;
  if (ours.vector != native.vector) return fmt::format(" vector {} but native {}", ours.vector, native.vector);
  if (ours.state.rip != native.state.rip)
    text += fmt::format(" rip {:#x} but native {:#x}", ours.state.rip, native.state.rip);
  static constexpr const char* names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                            "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  for (unsigned n = 0; n < 16; ++n)
    if (ours.state.gpr[n] != native.state.gpr[n])
      text += fmt::format(" {} {:#x} but native {:#x}", names[n], ours.state.gpr[n], native.state.gpr[n]);
  if ((ours.state.rflags ^ native.state.rflags) & flags)
    text += fmt::format(" flags {:#x} but native {:#x}", ours.state.rflags & flags, native.state.rflags & flags);
  unsigned named = 0;
  if (fx_mask)
    for (unsigned n = 0; n < 512 && named < 6; ++n)
      if ((ours.state.fx[n] ^ native.state.fx[n]) & (*fx_mask)[n] && ++named)
        text += fmt::format(" fx[{}] {:02x} but native {:02x}", n, ours.state.fx[n], native.state.fx[n]);
  for (unsigned n = 0; fx_mask && n < 16; ++n)
    if (ours.state.high[n] != native.state.high[n])
      text += fmt::format(" ymm{} high {:x} {:x} but native {:x} {:x}", n, ours.state.high[n][1], ours.state.high[n][0],
                          native.state.high[n][1], native.state.high[n][0]);
  for (unsigned n = 0; n < kWindow; ++n)
    if (ours.memory[n] != native.memory[n]) {
      text += fmt::format(" memory[{}] {:02x} but native {:02x}", n, ours.memory[n], native.memory[n]);
      break;
    }
  return text;
}

/// `name` appears in the report; `flags(case)` gives the flags that count for a case.
inline void compare_with_host(SnippetMachine& machine, const std::string& name, std::span<const OracleCase> cases,
                              const std::function<u64(const OracleCase&)>& flags,
                              const std::array<u8, 512>* fx_mask = nullptr) {
  std::vector<OracleCase> native(cases.begin(), cases.end());
  if (!HostOracle::run(native)) {
    WARN("skipped: the host does not let a child run native code");
    return;
  }
  unsigned wrong = 0;
  std::string report;
  for (std::size_t n = 0; n < cases.size() && wrong < 4; ++n) {
    OracleCase ours = cases[n];
    machine.run(ours);
    reconcile(cases[n], ours, native[n]);
    const std::string d = difference(ours, native[n], ours.vector >= 0 ? 0 : flags(cases[n]), fx_mask);
    if (d.empty()) continue;
    ++wrong;
    const OracleCase& c = cases[n];
    report +=
        fmt::format("\n{} [{}]:{}\n  before: flags {:#x}", name, hex_of({c.code.data(), c.length}), d, c.state.rflags);
    for (unsigned r = 0; r < 16; ++r) report += fmt::format(" {:x}", c.state.gpr[r]);
    if (fx_mask) report += "\n  fx " + hex_of({c.state.fx.data(), 5}) + "; " + hex_of({c.state.fx.data() + 32, 26});
  }
  INFO(report);
  CHECK(wrong == 0);
}

/// Says which feature of /proc/cpuinfo is missing, if one is.
inline bool host_has_all(std::initializer_list<const char*> flags) {
  for (const char* flag : flags)
    if (!HostOracle::host_has(flag)) {
      WARN("skipped: the host has no " << flag);
      return false;
    }
  return true;
}

}  // namespace nestwalk::test
