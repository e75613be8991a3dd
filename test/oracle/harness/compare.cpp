#include "test/oracle/harness/compare.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "cpu/decode.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

constexpr const char* kGpr[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr const char* kSegment[kSegs] = {"es", "cs", "ss", "ds", "fs", "gs"};
constexpr u64 kImage = fl::ac | fl::id | fl::nt | fl::rf;
constexpr u64 kVisible = fl::arithmetic | fl::df | kImage;
constexpr u16 kCompatibilityCode = 0x23;  // of Linux
constexpr u16 kConditionCodes = 0x4500;   // C0, C2, C3

std::string hex(const Registers::Ymm& y) {
  return fmt::format("{:016x}_{:016x}_{:016x}_{:016x}", y.q[3], y.q[2], y.q[1], y.q[0]);
}
std::string hex(const Registers::Extended& x) { return fmt::format("{:04x}_{:016x}", x.sign_exponent, x.significand); }

/// Collects "name ours/theirs".
class Differences {
 public:
  template <class T>
  void number(const std::string& name, T ours, T theirs) {
    if (ours != theirs) text += fmt::format(" {} {:#x}/{:#x}", name, ours, theirs);
  }
  template <class T>
  void wide(const std::string& name, const T& ours, const T& theirs) {
    if (!(ours == theirs)) text += fmt::format(" {} {}/{}", name, hex(ours), hex(theirs));
  }
  std::string text;
};

/// At most one unit in the last place apart, also over a power of two.
bool are_neighbours(const Registers::Extended& a, const Registers::Extended& b) {
  const auto ordered = [](const Registers::Extended& v) {
    constexpr u64 j = u64{1} << 63;
    const __int128 size = (static_cast<__int128>(v.sign_exponent & 0x7fff) << 63) + (v.significand & ~j);
    return v.sign_exponent >> 15 ? -size : size;
  };
  const __int128 d = ordered(a) - ordered(b);
  return d >= -1 && d <= 1;
}

void compare_x87(const Registers& a, const Registers& b, unsigned parts, Differences& d) {
  d.number("fcw", a.fcw, b.fcw);
  const u16 codes = parts & kX87Codes ? static_cast<u16>(~kConditionCodes) : u16{0xffff};
  const u16 inexact = parts & kX87Last ? static_cast<u16>(~0x0230) : u16{0xffff};  // C1, precision, underflow
  d.number("fsw", u16(a.fsw & codes & inexact), u16(b.fsw & codes & inexact));
  d.number("tags", a.tags, b.tags);
  for (unsigned n = 0; n < 8; ++n) {
    if (parts & kX87Last && are_neighbours(a.st[n], b.st[n])) continue;
    d.wide(fmt::format("st{}", n), a.st[n], b.st[n]);
  }
}

/// Singles that both approximate the same number; what is about to leave the normal range may be a zero.
bool are_near(const Registers::Ymm& a, const Registers::Ymm& b) {
  for (unsigned n = 0; n < 8; ++n) {
    float x, y;
    std::memcpy(&x, reinterpret_cast<const u8*>(a.q.data()) + 4 * n, 4);
    std::memcpy(&y, reinterpret_cast<const u8*>(b.q.data()) + 4 * n, 4);
    if (std::memcmp(&x, &y, 4) == 0) continue;
    if (!std::isfinite(x) || !std::isfinite(y) || std::signbit(x) != std::signbit(y)) return false;
    if (std::fabs(x - y) > std::fmax(std::fabs(y) * (3.0f / 4096), 0x1p-125f)) return false;
  }
  return true;
}

void compare_registers(const Case& c, const Registers& a, const Registers& b, const Ignored& i, Differences& d) {
  unsigned skipped = i.parts & (kRax | kRcx | kRdx);
  if (i.parts & kDestination) skipped = 0xffff;
  const unsigned registers = c.mode == Mode::k64 ? 16 : 8;
  // After a far transfer to compatibility mode the upper halves are undefined (SDM vol. 1, 3.4.1.1).
  const bool narrowed = c.mode == Mode::k64 && a.selector[CS] == kCompatibilityCode && b.selector[CS] == kCompatibilityCode;
  for (unsigned n = 0; n < registers; ++n)
    if (!((skipped >> n) & 1)) {
      const bool half = i.parts & kHighCounters && (n == RCX || n == RSI || n == RDI) && a.gpr[n] >> 32 != b.gpr[n] >> 32 &&
                        b.gpr[n] >> 32 == 0;
      const u64 seen = half || narrowed ? 0xffffffff : ~u64{0};
      d.number(kGpr[n], a.gpr[n] & seen, b.gpr[n] & seen);
    }
  d.number("rip", a.rip, b.rip);
  const u64 flags = kVisible & ~i.flags & ~(i.parts & kFlagImage ? kImage : 0);
  d.number("flags", a.rflags & flags, b.rflags & flags);
  d.number("fs.base", a.fs_base, b.fs_base);
  d.number("gs.base", a.gs_base, b.gs_base);
  if (!(i.parts & kSelectors))
    for (unsigned n = 0; n < kSegs; ++n) d.number(kSegment[n], a.selector[n], b.selector[n]);
  if (!(i.parts & kX87Part)) compare_x87(a, b, i.parts, d);
  if (!(i.parts & kMxcsrPart)) d.number("mxcsr", a.mxcsr, b.mxcsr);
  if (!(i.parts & kVectors))
    for (unsigned n = 0; n < 16; ++n)
      if (!(i.parts & kReciprocal && are_near(a.ymm[n], b.ymm[n]))) d.wide(fmt::format("ymm{}", n), a.ymm[n], b.ymm[n]);
}

u64 linear_of(unsigned index) {
  for (const Stretch& s : kStretches) {
    if (index < s.bytes) return kData + s.offset + index;
    index -= s.bytes;
  }
  return 0;
}

const char* exception_name(int vector) {
  static constexpr const char* names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",
                                          "#TS", "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM"};
  if (vector == Outcome::kNone) return "no exception";
  if (vector == Outcome::kHung) return "no end";
  if (vector == Outcome::kDied) return "death of the process";
  return static_cast<unsigned>(vector) < std::size(names) ? names[vector] : "an exception past 19";
}

}  // namespace

std::string difference(const Case& c, const Outcome& ours, const Outcome& theirs, const Ignored& i) {
  if (i.faults || (i.may_die && ours.vector == Outcome::kHung)) return "";
  if (i.may_die && theirs.vector == Outcome::kDied) return "";
  if (i.probed && theirs.vector == Outcome::kNone) return "";
  if (i.either_fault && ours.vector >= 0 && theirs.vector >= 0) return "";
  if (i.alignment && (ours.vector == ex::ac || theirs.vector == ex::ac)) return "";
  if (ours.vector != theirs.vector)
    return fmt::format(" {}/{}", exception_name(ours.vector), exception_name(theirs.vector));
  if (ours.vector == Outcome::kHung) return "";
  Differences d;
  if (ours.vector >= 0) {
    // Linux says "present" of every address of the kernel's, so that processes learn nothing (arch/x86/mm/fault.c).
    const u32 seen = ours.vector == ex::pf && ours.address >= 0x7ffffffff000 ? ~pf::present : ~u32{0};
    if (!(i.parts & kErrorCode)) d.number("error", ours.error & seen, theirs.error & seen);
    if (!(i.parts & kAddress)) d.number("address", ours.address, theirs.address);
  }
  compare_registers(c, ours.after, theirs.after, i, d);
  if (!(i.parts & kMemoryPart)) {
    unsigned named = 0;
    for (unsigned n = 0; n < kMemory && named < 8; ++n)
      if (ours.memory[n] != theirs.memory[n] && ++named)
        d.number(fmt::format("[{:#x}]", linear_of(n)), unsigned{ours.memory[n]}, unsigned{theirs.memory[n]});
    if (ours.stray != theirs.stray) d.text += " other memory";
  }
  return d.text;
}

// ---- shrinking ----------------------------------------------------------------------------------------------------------

namespace {

class Shrinker {
 public:
  Shrinker(Case c, Rung rung, const Cpuid& cpuid, const RunBoth& run) : best_(c), rung_(rung), cpuid_(cpuid), run_(run) {}

  Case shrink() {
    for (unsigned round = 0; round < 3; ++round) {
      const unsigned before = kept_;
      prefixes();
      registers();
      floating();
      memory();
      tail();
      if (kept_ == before) break;
    }
    return best_;
  }

 private:
  /// Takes the simpler case over if it still differs and is still the same instruction.
  bool attempt(const Case& c) {
    Insn was, is;
    const Decoded before = decode_insn(best_.code.data(), best_.length, code_size(c.mode), kCode, cpuid_, was);
    const Decoded after = decode_insn(c.code.data(), c.length, code_size(c.mode), kCode, cpuid_, is);
    const bool same_code = best_.length == c.length && best_.code == c.code;
    if (!same_code && (before != Decoded::ok || after != Decoded::ok || was.op != is.op || is.length != c.length))
      return false;
    const Both b = run_(c);
    if (difference(c, b.ours, b.theirs, ignored(c, rung_, b.ours)).empty()) return false;
    best_ = c;
    ++kept_;
    return true;
  }
  /// Sets a field of the state to its plain value.
  template <class F>
  void without(F&& change) {
    Case c = best_;
    change(c);
    if (std::memcmp(&c, &best_, sizeof c) != 0) attempt(c);
  }

  void prefixes() {
    for (unsigned n = 0; n + 1 < best_.length;) {
      const u8 b = best_.code[n];
      const bool rex = best_.mode == Mode::k64 && b >= 0x40 && b <= 0x4f;
      const bool prefix = b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || (b >= 0x64 && b <= 0x67) || b == 0xf0 ||
                          b == 0xf2 || b == 0xf3 || rex;
      if (!prefix) return;
      Case c = best_;
      std::memmove(&c.code[n], &c.code[n + 1], c.code.size() - n - 1);
      --c.length;
      if (!attempt(c)) ++n;
    }
  }
  void registers() {
    for (unsigned n = 0; n < 16; ++n) {
      without([&](Case& c) { c.before.gpr[n] = 0; });
      if (best_.before.gpr[n] > 1) without([&](Case& c) { c.before.gpr[n] = 1; });
      without([&](Case& c) { c.before.gpr[n] &= 0xffffffff; });
    }
    for (const u64 f : {fl::cf, fl::pf, fl::af, fl::zf, fl::sf, fl::df, fl::of, fl::ac})
      without([&](Case& c) { c.before.rflags &= ~f; });
  }
  void floating() {
    without([&](Case& c) { c.before.fcw = 0x37f; });
    without([&](Case& c) { c.before.fsw = 0; });
    without([&](Case& c) { c.before.tags = 0; });
    without([&](Case& c) { c.before.mxcsr = 0x1f80; });
    without([&](Case& c) { c.before.st = {}; });
    without([&](Case& c) { c.before.ymm = {}; });
    for (unsigned n = 0; n < 8; ++n) without([&](Case& c) { c.before.st[n] = {}; });
    for (unsigned n = 0; n < 16; ++n)
      for (unsigned q = 0; q < 4; ++q) {
        without([&](Case& c) { c.before.ymm[n].q[q] = 0; });
        without([&](Case& c) { c.before.ymm[n].q[q] &= 0xffffffff; });
        without([&](Case& c) { c.before.ymm[n].q[q] &= ~u64{0xffffffff}; });
      }
  }
  void memory() {
    for (unsigned step = kMemory; step >= 1; step /= 4)
      for (unsigned at = 0; at < kMemory; at += step) without([&](Case& c) { std::memset(&c.memory[at], 0, step); });
  }
  /// Immediates and displacements: the last bytes.
  void tail() {
    for (unsigned n = best_.length; n-- > 1;) without([&](Case& c) { c.code[n] = 0; });
  }

  Case best_;
  Rung rung_;
  const Cpuid& cpuid_;
  const RunBoth& run_;
  unsigned kept_ = 0;
};

}  // namespace

Case shrink(Case c, Rung rung, const Cpuid& cpuid, const RunBoth& run) { return Shrinker(c, rung, cpuid, run).shrink(); }

std::string show(const Case& c, const Both& both, Rung rung, const char* their_name) {
  std::string bytes;
  for (const u8 b : c.bytes()) bytes += fmt::format(" {:02x}", b);
  std::string s = fmt::format("case {} {} ({}-bit):{}; {}\n  before:", c.number, name_of(c.op),
                              c.mode == Mode::k64   ? 64
                              : c.mode == Mode::k32 ? 32
                                                    : 16,
                              bytes, listing(c.code.data(), c.length, code_size(c.mode), kCode));
  const Registers& r = c.before;
  for (unsigned n = 0; n < 16; ++n)
    if (r.gpr[n]) s += fmt::format(" {}={:x}", kGpr[n], r.gpr[n]);
  s += fmt::format(" flags={:x}", r.rflags);
  if (r.fcw != 0x37f || r.fsw || r.tags) s += fmt::format(" fcw={:x} fsw={:x} tags={:02x}", r.fcw, r.fsw, r.tags);
  for (unsigned n = 0; n < 8; ++n)
    if (!(r.st[n] == Registers::Extended{})) s += fmt::format(" st{}={}", n, hex(r.st[n]));
  if (r.mxcsr != 0x1f80) s += fmt::format(" mxcsr={:x}", r.mxcsr);
  for (unsigned n = 0; n < 16; ++n)
    if (!(r.ymm[n] == Registers::Ymm{})) s += fmt::format(" ymm{}={}", n, hex(r.ymm[n]));
  unsigned shown = 0;
  for (unsigned n = 0; n < kMemory && shown < 32; ++n)
    if (c.memory[n] && ++shown) s += fmt::format(" [{:#x}]={:02x}", linear_of(n), c.memory[n]);
  if (shown == 32) s += " ...";
  s += fmt::format("\n  after, nestwalk/{}:{}; nestwalk: {}", their_name,
                   difference(c, both.ours, both.theirs, ignored(c, rung, both.ours)), exception_name(both.ours.vector));
  return s + "\n";
}

}  // namespace nestwalk::oracle
