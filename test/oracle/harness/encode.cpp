// Random encodings of a form: prefixes, REX and VEX fields, every addressing mode of SDM vol. 2, 2.1.5, immediates.
#include "test/oracle/harness/draw.h"

namespace nestwalk::oracle {
namespace {

/// Somewhere inside the three stretches, mostly; aligned, often; at the very end of the data, now and then.
u64 draw_target(Random& random, unsigned bytes) {
  if (random.below(24) == 0) return kData + kDataBytes - random.below(bytes + 8);  // a fault on the second page
  if (random.below(64) == 0) return kData - 1 - random.below(8);
  const Stretch& s = kStretches[random.below(std::size(kStretches))];
  const u64 room = s.bytes > bytes + 32 ? s.bytes - bytes - 32 : 1;
  const u64 at = kData + s.offset + random.below(room);
  return random.below(3) ? (at + 31) & ~u64{31} : at;
}

void append(std::vector<u8>& to, u64 value, unsigned bytes) {
  for (unsigned n = 0; n < bytes; ++n) to.push_back(static_cast<u8>(value >> (8 * n)));
}

u64 draw_displacement(Random& random, unsigned bytes) {
  if (bytes == 1) return random.next();
  return random.below(4) ? random.below(512) - 256 : draw_integer(random);
}

/// How a memory operand is addressed, decided before the prefix bytes, which hold the high bits of its registers.
struct Address {
  unsigned mod = 0, base = 0, index = 4;
  bool sib = false, absolute = false, relative = false;
  u8 scale = 0;
};

Address draw_address(const Form& f, Mode mode, Random& random) {
  const unsigned registers = mode == Mode::k64 ? 16 : 8;
  Address a;
  a.mod = static_cast<unsigned>(random.below(3));
  a.base = static_cast<unsigned>(random.below(registers));
  a.scale = static_cast<u8>(random.below(4));
  a.sib = f.vsib || (a.base & 7) == 4 || random.below(3) == 0;
  if (a.sib) a.index = static_cast<unsigned>(random.below(registers));
  if (random.below(12) == 0 && !f.vsib) {
    a.mod = 0;
    a.relative = !a.sib;
    a.absolute = a.sib;
    a.base = 5;
    if (a.sib && random.below(2)) a.index = 4;
  } else if (a.mod == 0 && (a.base & 7) == 5) {
    a.mod = 1;
  }
  return a;
}

/// ModRM's mod and rm are patched; SIB and displacement appended. `absolute`: where a displacement of four bytes is to
/// point.
void append_address(std::vector<u8>& to, const Address& a, unsigned bytes, unsigned tail, Random& random) {
  u8& modrm = to.back();
  modrm = static_cast<u8>((modrm & 0x38) | a.mod << 6 | (a.sib ? 4 : a.base & 7));
  if (a.sib) to.push_back(static_cast<u8>(a.scale << 6 | (a.index & 7) << 3 | (a.base & 7)));
  if (a.relative || (a.absolute && a.index == 4)) {
    u64 target = draw_target(random, bytes);
    if (a.relative) target -= kCode + to.size() + 4 + tail;  // in 32-bit mode this form is absolute; then it faults
    append(to, target, 4);
  } else if (a.mod != 0 || a.absolute) {
    const unsigned size = a.mod == 1 ? 1 : 4;
    append(to, draw_displacement(random, size), size);
  }
}

/// A branch target that lies near, where INT3 waits, but not inside the jump behind the instruction; or far away.
u64 draw_relative(Random& random, unsigned bytes) {
  for (;;) {
    const i64 d = bytes == 1        ? static_cast<i8>(random.next())
                  : random.below(4) ? static_cast<i64>(random.below(400)) - 200
                                    : static_cast<i32>(random.next());
    if (d <= 0 || d >= 5) return static_cast<u64>(d);
  }
}

u64 draw_immediate(const Form& f, Random& random) {
  if (f.op == cpu::Op::INT) return random.below(2) ? random.below(32) : 0x81 + random.below(64);  // 80h is a system call
  return random.below(3) ? random.next() : random.below(34);
}

void append_prefixes(std::vector<u8>& to, const Form& f, bool noise, bool absolute, Random& random) {
  static constexpr u8 segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
  if (noise) {
    static constexpr u8 all[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
    while (random.below(3) == 0) to.push_back(all[random.below(std::size(all))]);
    return;
  }
  const bool addressed = f.memory || f.string || f.op == cpu::Op::XLAT;
  if (addressed && random.below(6) == 0) to.push_back(segments[random.below(6)]);
  if ((addressed || f.relative) && !absolute && random.below(12) == 0) to.push_back(0x67);
  const bool lockable = f.memory && !f.vex && (f.map < 2);
  if (random.below(lockable ? 8 : 200) == 0) to.push_back(0xf0);
}

}  // namespace

std::vector<u8> draw_encoding(const Form& f, Mode mode, bool noise, Random& random) {
  const unsigned registers = mode == Mode::k64 ? 16 : 8;
  const auto number = [&](i8 fixed) {
    return static_cast<u8>(fixed >= 0 ? fixed : static_cast<i64>(random.below(registers)));
  };
  Address a;
  Fields x;
  x.reg = number(f.reg);
  x.rm = number(f.rm);
  if (f.memory) {
    a = draw_address(f, mode, random);
    x.rm = static_cast<u8>(a.base);
    x.index = static_cast<u8>(a.sib ? a.index : 0);
  }
  x.vvvv = f.vvvv ? number(-1) : u8{0};
  if (f.vex && !f.vvvv && random.below(64) == 0) x.vvvv = 5;  // #UD
  x.long_vex = random.below(2);
  x.spare_rex = random.below(4) == 0;
  std::vector<u8> bytes;
  const bool moffs = !f.modrm && f.immediate == 8 && f.op == cpu::Op::MOV && f.opcode >= 0xa0 && f.opcode <= 0xa3;
  append_prefixes(bytes, f, noise, a.relative || a.absolute || moffs, random);
  if (!f.modrm && !f.vex && mode == Mode::k64 && (f.opcode & 7) < 8 && random.below(2) && f.map < 2) x.rm = 8;  // +r: REX.B
  append_opcode(bytes, f, x, mode);
  if (f.memory) append_address(bytes, a, std::max(f.memory_bytes, 1u), f.immediate, random);
  if (moffs)
    append(bytes, draw_target(random, 8), f.immediate);
  else if (f.relative)
    append(bytes, draw_relative(random, f.immediate), f.immediate);
  else
    append(bytes, draw_immediate(f, random), f.immediate);
  return bytes;
}

}  // namespace nestwalk::oracle
