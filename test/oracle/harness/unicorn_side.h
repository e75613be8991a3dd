// Unicorn (Debian's libunicorn: the processor of QEMU 5) as one side of the oracle, in 64- and 32-bit mode. Compiled in
// where CMake finds it; elsewhere unicorn_absent.cpp takes its place and says so.
#pragma once

#include "test/oracle/harness/case.h"

namespace nestwalk::oracle {

/// nullptr where it is absent, with the reason in `missing`.
std::unique_ptr<Side> make_unicorn(Mode mode, std::string& missing);

}  // namespace nestwalk::oracle
