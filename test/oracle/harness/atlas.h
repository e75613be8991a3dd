// Every encoding of every line of the instruction table: the opcode space (SDM vol. 2, appendix A: four legacy maps with
// their mandatory and size prefixes, three VEX maps) is walked exhaustively, and what decodes to an Op with a meaning
// becomes a form. A line that is new in cpu/table/*.def has its forms here, and so its cases, without anybody writing them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "test/oracle/harness/case.h"

namespace nestwalk::oracle {

/// One encoding, as the manual's opcode column would show it.
struct Form {
  cpu::Op op{};
  bool vex = false;
  u8 prefix = 0;  ///< 66, F2, F3 or 0: mandatory, operand size or repeat
  u8 map = 0;     ///< 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A
  u8 opcode = 0;
  bool w = false, l = false;  ///< REX.W or VEX.W; VEX.L
  bool modrm = false, memory = false, vsib = false;
  i8 reg = -1, rm = -1;  ///< fixed values in ModRM; -1: an operand
  u8 immediate = 0;      ///< bytes behind ModRM (immediates, relative and absolute targets)
  bool vvvv = false;     ///< VEX.vvvv is an operand
  bool relative = false, x87 = false, mmx = false, vector = false, string = false;
  unsigned memory_bytes = 0;
  std::string name;
};

class Atlas {
 public:
  Atlas(Mode mode, const cpu::Cpuid& cpuid);

  Mode mode() const { return mode_; }
  const std::vector<Form>& forms() const { return forms_; }
  /// Numbers of an Op's forms; empty: it has no encoding in this mode that the processor knows.
  const std::vector<u32>& forms_of(cpu::Op op) const { return by_op_[static_cast<unsigned>(op)]; }

 private:
  Mode mode_;
  std::vector<Form> forms_;
  std::array<std::vector<u32>, static_cast<unsigned>(cpu::Op::count_)> by_op_;
};

/// The bytes of a form up to ModRM, with these register fields: prefix, REX or VEX, opcode, ModRM (`mod` 3 or 0).
struct Fields {
  u8 reg = 0, rm = 0, index = 0, vvvv = 0;  ///< 0 to 15
  bool w_noise = false, spare_rex = false, long_vex = false;
};
void append_opcode(std::vector<u8>& to, const Form& form, const Fields& fields, Mode mode);

}  // namespace nestwalk::oracle
