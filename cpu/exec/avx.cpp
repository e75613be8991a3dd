// VEX forms of legacy instructions (SDM vol. 2, 2.3): VPADDB is PADDB with a first source of its own, up to 256 bits and
// the rest of the register cleared. The legacy binder makes the handler; cpu/exec/vector.h knows both encodings.
#include <array>
#include <string_view>

#include "cpu/bind.h"
#include "cpu/table.h"

namespace nestwalk::cpu {
namespace {

constexpr unsigned kOps = static_cast<unsigned>(Op::count_);

constexpr std::string_view kNames[] = {
#define OP(name, bind, traits) #name,
#include "cpu/table.def"
#undef OP
};

/// MOVSD and CMPSD alone are string instructions.
constexpr std::string_view legacy_name(std::string_view vex) {
  return vex == "VMOVSD" ? "MOVSD_XMM" : vex == "VCMPSD" ? "CMPSD_XMM" : vex.substr(1);
}

/// For every instruction the one of the same name without V, or itself.
constexpr auto kTwin = [] {
  std::array<Op, kOps> twin{};
  for (unsigned n = 0; n < kOps; ++n) {
    twin[n] = static_cast<Op>(n);
    if (kNames[n][0] != 'V') continue;
    const std::string_view legacy = legacy_name(kNames[n]);
    for (unsigned m = 0; m < kOps; ++m)
      if (kNames[m].size() == legacy.size() && kNames[m] == legacy) twin[n] = static_cast<Op>(m);
  }
  return twin;
}();

}  // namespace

Handler bind_twin(const Insn& i) {
  Insn legacy = i;
  legacy.op = kTwin[static_cast<unsigned>(i.op)];
  return legacy.op == i.op ? nullptr : bind(legacy);
}

}  // namespace nestwalk::cpu
