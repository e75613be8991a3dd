// One case of the oracle: an instruction, the state and memory before it, and what a processor makes of them. Cases are
// plain data, so that they can be handed to a child process, a virtual machine or another emulator through shared memory.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>

#include "cpu/cpu.h"

namespace nestwalk::oracle {

/// Where snippets live, on every side. The harness's own pages are at addresses that no case is made to use.
inline constexpr u64 kCodePage = 0x20000000;       ///< readable and executable; filled with INT3
inline constexpr u64 kCode = kCodePage + 0x800;    ///< the instruction, then JMP kLeave
inline constexpr u64 kLeave = kCodePage + 0x1000;  ///< where a snippet that does not fault or branch away arrives; its page
                                                   ///< is the harness's, and cannot be read on our side
inline constexpr u64 kData = 0x10000000;           ///< two pages, readable and writable, with nothing around them
inline constexpr unsigned kDataBytes = 8192;
/// Limit of the descriptor whose limit is the processor's number under Linux (GDT_ENTRY_CPUNODE).
inline constexpr u16 kNumberLimit = 0x5a5a;
inline constexpr unsigned kMemory = 1024;  ///< bytes of data memory that a case carries; the others are 0

/// Three stretches of the data pages: their start, the crossing from the first page to the second, where an XSAVE area
/// fits, their end.
struct Stretch {
  unsigned offset;  ///< from kData
  unsigned bytes;
};
inline constexpr Stretch kStretches[] = {{0, 64}, {4096 - 448, 896}, {kDataBytes - 64, 64}};

/// The mode a case runs in, at CPL 3.
enum class Mode : u8 { k64, k32, k16 };
inline constexpr cpu::CodeSize code_size(Mode m) {
  return m == Mode::k64 ? cpu::CodeSize::k64 : m == Mode::k32 ? cpu::CodeSize::k32 : cpu::CodeSize::k16;
}

/// A legacy prefix, or REX where code is 64-bit.
inline constexpr bool is_prefix(u8 b, bool wide) {
  return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || (b >= 0x64 && b <= 0x67) || b == 0xf0 || b == 0xf2 ||
         b == 0xf3 || (wide && b >= 0x40 && b <= 0x4f);
}

/// What an instruction of an application can see and change in registers.
struct Registers {
  std::array<u64, 16> gpr{};
  u64 rip = 0;  ///< out: of the next instruction, or as the exception's frame shows it
  u64 rflags = 0x202;
  u64 fs_base = 0, gs_base = 0;
  std::array<u16, cpu::kSegs> selector{};  ///< CS and SS are not set but compared
  u16 fcw = 0x37f, fsw = 0;
  u8 tags = 0;  ///< bit n: Rn is not empty (abridged, SDM vol. 1, 10.5.1.1)
  u32 mxcsr = 0x1f80;
  struct Extended {
    u64 significand = 0, sign_exponent = 0;
    bool operator==(const Extended&) const = default;
  };
  std::array<Extended, 8> st{};  ///< ST(0) to ST(7)
  struct alignas(32) Ymm {
    std::array<u64, 4> q{};
    bool operator==(const Ymm&) const = default;
  };
  std::array<Ymm, 16> ymm{};
};

using Memory = std::array<u8, kMemory>;

struct Case {
  u64 number = 0;  ///< in its stream
  cpu::Op op{};
  u32 form = 0;  ///< in the atlas
  Mode mode = Mode::k64;
  u8 length = 0;
  std::array<u8, 15> code{};
  Registers before;
  Memory memory{};

  std::span<const u8> bytes() const { return {code.data(), length}; }
};

struct Outcome {
  static constexpr int kNone = -1, kHung = -2, kDied = -3;
  Registers after;
  Memory memory{};
  u64 stray = 0;       ///< a sum over the data bytes outside the stretches: what was written there
  int vector = kNone;  ///< of the exception; kNone, kHung (endless), kDied (took the process with it)
  u32 error = 0;       ///< its error code
  u64 address = 0;     ///< for #PF
};

/// Copies between the stretches of real data pages and a case's memory.
inline void scatter(const Memory& from, u8* data) {
  unsigned at = 0;
  for (const Stretch& s : kStretches) {
    __builtin_memcpy(data + s.offset, from.data() + at, s.bytes);
    at += s.bytes;
  }
}
inline void gather(Memory& to, const u8* data) {
  unsigned at = 0;
  for (const Stretch& s : kStretches) {
    __builtin_memcpy(to.data() + at, data + s.offset, s.bytes);
    at += s.bytes;
  }
}
/// What lies outside the stretches, as one number; 0 when it was left alone.
inline u64 stray_of(const u8* data) {
  u64 sum = 0;
  const auto add = [&](unsigned from, unsigned to) {
    for (unsigned n = from; n < to; n += 8) {
      u64 v;
      __builtin_memcpy(&v, data + n, 8);
      sum += v * (2 * n + 1);
    }
  };
  for (unsigned n = 0; n + 1 < std::size(kStretches); ++n)
    add(kStretches[n].offset + kStretches[n].bytes, kStretches[n + 1].offset);
  return sum;
}

/// The part of the code page that changes from case to case.
inline constexpr unsigned kCodeFrom = 0x700, kCodeBytes = 0x240;

/// The code page of a case: INT3 around the instruction and the jump behind it.
inline void put_code(const Case& c, u8* page) {
  __builtin_memset(page + kCodeFrom, 0xcc, kCodeBytes);
  u8* p = page + (kCode - kCodePage);
  __builtin_memcpy(p, c.code.data(), c.length);
  p += c.length;
  const u32 distance = static_cast<u32>(kLeave - (kCode + c.length + 5));
  *p = 0xe9;
  __builtin_memcpy(p + 1, &distance, 4);
}

/// Where sides that count instructions stop a case: behind a loop of CX to itself.
inline constexpr u64 kInstructionLimit = 70000;

/// Something that runs cases.
class Side {
 public:
  virtual ~Side() = default;
  virtual const char* name() const = 0;
  /// How many cases at once are best for it.
  virtual std::size_t batch() const { return 256; }
  /// Begins with these cases, which stay alive until finish(). The outcome of cases[n] goes to outcomes[n].
  virtual void start(std::span<const Case> cases, std::span<Outcome> outcomes) = 0;
  virtual void finish() = 0;
  void run(std::span<const Case> cases, std::span<Outcome> outcomes) {
    start(cases, outcomes);
    finish();
  }
};

}  // namespace nestwalk::oracle
