// Storage of the model-specific registers that have no place of their own in State (SDM vol. 4; APM vol. 2, appendix A).
#pragma once

#include <array>

#include "base/types.h"

namespace nestwalk::cpu {

struct MsrBank {
  static constexpr unsigned kVariableMtrrs = 10;
  static constexpr unsigned kMachineCheckBanks = 10;
  static constexpr unsigned kPlain = 96;

  u64 mtrr_default = 0;                                 ///< IA32_MTRR_DEF_TYPE
  std::array<u64, 11> mtrr_fixed{};                     ///< 64K, 16K x 2, 4K x 8
  std::array<u64, 2 * kVariableMtrrs> mtrr_variable{};  ///< base, mask, base, mask, ...
  std::array<u64, kMachineCheckBanks> mc_control{}, mc_status{}, mc_address{}, mc_misc{};
  u64 mcg_control = ~u64{0};
  u64 xss = 0;
  u64 tsc_adjust = 0;
  u64 spec_ctrl = 0;
  std::array<u64, kPlain> plain{};  ///< difference from the reset value, by position in msr.cpp's table
};

}  // namespace nestwalk::cpu
