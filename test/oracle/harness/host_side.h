// The host's own processor as one side of the oracle. Cases run in a child process; faults come back through a signal
// frame, with trap number, error code and address. The state is loaded and stored by small stubs whose operands are
// absolute 32-bit addresses, so that they need no register of their own; x87, XMM and YMM pass through XSAVE.
#pragma once

#include "test/oracle/harness/child_side.h"

namespace nestwalk::oracle {

/// In this build memory that is not the snippets' lies where their stray accesses go, so that they do not fault.
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kStrayAccessesLand = true;
#else
inline constexpr bool kStrayAccessesLand = false;
#endif

/// Whether this processor lacks a feature of our table (asked of CPUID, where the table says the bit lies).
bool host_lacks(cpu::Feature feature);
/// The brand string of CPUID.
std::string host_processor();

/// nullptr where native code cannot run, with the reason.
std::unique_ptr<Side> make_host(std::string& missing);

}  // namespace nestwalk::oracle
