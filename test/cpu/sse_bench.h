// Single vector instructions on the bench: registers in, bytes run, registers or trap out.
#pragma once

#include "cpu/decode.h"
#include "test/cpu/bench.h"
#include "test/hex.h"

namespace nestwalk::bench {

class SseBench : public Bench {
 public:
  SseBench() {
    long_mode();
    cpu->s.cr4 |= mmu::cr4::osfxsr | mmu::cr4::osxmmexcpt;
    cpu->s.cr0 |= mmu::cr0::ne;
  }

  State& s() { return cpu->s; }
  void xmm(unsigned n, u64 low, u64 high = 0) { s().vec[n].set<V128>(0, {{low, high}}); }
  u64 low(unsigned n) { return s().vec[n].q[0]; }
  u64 high(unsigned n) { return s().vec[n].q[1]; }
  void set_mm(unsigned n, u64 v) { s().x87.r[n] = {v, 0xffff}; }
  u64 mm(unsigned n) { return s().x87.r[n].significand; }

  /// Runs one instruction; returns its trap, vector 255 for none.
  Trap execute(const std::string& hex) {
    const std::vector<u8> bytes = test::bytes_of_hex(hex);
    Insn run[2];
    INFO(hex);
    REQUIRE(decode(bytes.data(), static_cast<unsigned>(bytes.size()), cpu->code_size(), kText, *id, run[0]));
    run[1].fn = [](Cpu&, const Insn&) {};
    return trap_of([&] { run[0].fn(*cpu, run[0]); });
  }
};

}  // namespace nestwalk::bench
