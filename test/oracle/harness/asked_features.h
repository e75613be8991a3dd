// What a side's processor has: CPUID asked of it, as cases like others.
#pragma once

#include <vector>

#include "test/oracle/harness/case.h"

namespace nestwalk::oracle {

class AskedFeatures {
 public:
  AskedFeatures();
  /// CPUID with the leaves of the table of features, for the side to run.
  const std::vector<Case>& cases() const { return cases_; }
  /// What came of them.
  void take(const std::vector<Outcome>& outcomes);
  bool lacks(cpu::Feature feature) const;

 private:
  struct Leaf {
    u32 leaf, subleaf;
    std::array<u32, 4> values;
  };
  std::vector<Case> cases_;
  std::vector<Leaf> leaves_;
};

}  // namespace nestwalk::oracle
