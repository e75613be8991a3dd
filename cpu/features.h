// The table of CPUID feature bits: name, place, and whether the emulator has it.
#pragma once

#include <span>

#include "cpu/cpuid.h"

namespace nestwalk::cpu {

enum class Register : u8 { eax, ebx, ecx, edx };

struct FeatureBit {
  Feature feature;
  const char* name;
  u32 leaf, subleaf;
  Register reg;
  u8 bit;
  bool implemented;
};
std::span<const FeatureBit> feature_table();

struct Dependence {
  Feature feature, needs;
};
std::span<const Dependence> feature_dependences();

}  // namespace nestwalk::cpu
