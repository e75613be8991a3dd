// The core's timing model: what an instruction costs before memory adds to it. Asked once, when a block is built.
#pragma once

#include "base/types.h"
#include "cpu/insn.h"
#include "sim/registry.h"
#include "sim/settings.h"

namespace nestwalk::cpu {

/// Cost classes that a timing model may tell apart.
enum class Class : u8 {
  move,
  alu,
  load,
  store,
  branch,
  call,
  multiply,
  divide,
  vector,
  fp,
  fp_divide,
  string,
  atomic,
  system,
  io,
  other
};
Class class_of(const Insn&);

class CoreTiming {
 public:
  static constexpr const char* kKind = "core model";
  virtual ~CoreTiming() = default;
  /// Cycles of `insn`, first-level TLB and cache hits included.
  virtual Cycles cost(const Insn& insn) const = 0;
  /// Cycles of delivering an exception or interrupt, memory not included.
  virtual Cycles delivery() const = 0;
};

using Cores = sim::Registry<CoreTiming, sim::Settings&>;
using RegisterCore = sim::Register<CoreTiming, sim::Settings&>;

}  // namespace nestwalk::cpu
