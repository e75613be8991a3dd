#include "test/oracle/harness/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/decode.h"
#include "test/oracle/harness/shrink.h"

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
  const u16 control = parts & kX87Flags ? 0x1f3f : 0xffff;
  d.number("fcw", u16(a.fcw & control), u16(b.fcw & control));
  const u16 codes = parts & kX87Codes ? static_cast<u16>(~kConditionCodes) : u16{0xffff};
  const u16 inexact = parts & kX87Last ? static_cast<u16>(~0x0230) : u16{0xffff};  // C1, precision, underflow
  const u16 quiet = static_cast<u16>(~((parts & kX87Flags ? 0x82ff : 0) | (parts & kC1 ? 0x0200 : 0)));
  d.number("fsw", u16(a.fsw & codes & inexact & quiet), u16(b.fsw & codes & inexact & quiet));
  d.number("tags", a.tags, b.tags);
  for (unsigned n = 0; n < 8; ++n) {
    if (parts & kX87Last && are_neighbours(a.st[n], b.st[n])) continue;
    if (parts & kMmxExponent && a.st[n].sign_exponent == 0xffff && a.st[n].significand == b.st[n].significand) continue;
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

template <class F>
bool are_equal_or_nans(const Registers::Ymm& a, const Registers::Ymm& b) {
  constexpr unsigned count = sizeof a / sizeof(F);
  F x[count], y[count];
  std::memcpy(x, a.q.data(), sizeof x);
  std::memcpy(y, b.q.data(), sizeof y);
  for (unsigned n = 0; n < count; ++n)
    if (std::memcmp(&x[n], &y[n], sizeof(F)) != 0 && !(std::isnan(x[n]) && std::isnan(y[n]))) return false;
  return true;
}
/// Elements of one precision differ only where both are NaNs.
bool differ_in_nans(const Registers::Ymm& a, const Registers::Ymm& b) {
  return are_equal_or_nans<float>(a, b) || are_equal_or_nans<double>(a, b);
}

void compare_registers(const Case& c, const Registers& a, const Registers& b, const Ignored& i, Differences& d) {
  unsigned skipped = i.parts & (kRax | kRcx | kRdx);
  if (i.parts & kDestination) skipped = 0xffff;
  if (i.parts & kStackPointer) skipped |= 1u << RSP | 1u << RBP;
  const unsigned registers = c.mode == Mode::k64 ? 16 : 8;
  // After a far transfer to compatibility mode the upper halves are undefined (SDM vol. 1, 3.4.1.1).
  const bool narrowed = c.mode == Mode::k64 && a.selector[CS] == kCompatibilityCode && b.selector[CS] == kCompatibilityCode;
  for (unsigned n = 0; n < registers; ++n)
    if (!((skipped >> n) & 1)) {
      const bool half = i.parts & kHighCounters && (n == RCX || n == RSI || n == RDI) && a.gpr[n] >> 32 != b.gpr[n] >> 32 &&
                        (a.gpr[n] >> 32 == 0 || b.gpr[n] >> 32 == 0);
      const u64 seen = half || narrowed || c.mode != Mode::k64 ? 0xffffffff : ~u64{0};
      d.number(kGpr[n], a.gpr[n] & seen, b.gpr[n] & seen);
    }
  d.number("rip", a.rip, b.rip);
  const u64 flags = kVisible & ~i.flags & ~(i.parts & kFlagImage ? kImage : i.parts & kResume ? fl::rf : 0);
  d.number("flags", a.rflags & flags, b.rflags & flags);
  d.number("fs.base", a.fs_base, b.fs_base);
  d.number("gs.base", a.gs_base, b.gs_base);
  if (!(i.parts & kSelectors))
    for (unsigned n = 0; n < kSegs; ++n) d.number(kSegment[n], a.selector[n], b.selector[n]);
  if (!(i.parts & kX87Part)) compare_x87(a, b, i.parts, d);
  if (!(i.parts & kMxcsrPart)) d.number("mxcsr", a.mxcsr, b.mxcsr);
  if (!(i.parts & kVectors))
    for (unsigned n = 0; n < 16; ++n)
      if (!(i.parts & kReciprocal && are_near(a.ymm[n], b.ymm[n])) &&
          !(i.parts & kNans && differ_in_nans(a.ymm[n], b.ymm[n])))
        d.wide(fmt::format("ymm{}", n), a.ymm[n], b.ymm[n]);
}

u64 linear_of(unsigned index) {
  for (const Stretch& s : kStretches) {
    if (index < s.bytes) return kData + s.offset + index;
    index -= s.bytes;
  }
  return 0;
}

}  // namespace

const char* exception_name(int vector) {
  static constexpr const char* names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",
                                          "#TS", "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM"};
  if (vector == Outcome::kNone) return "no exception";
  if (vector == Outcome::kHung) return "no end";
  if (vector == Outcome::kDied) return "death of the process";
  return static_cast<unsigned>(vector) < std::size(names) ? names[vector] : "an exception past 19";
}

std::string difference(const Case& c, const Outcome& ours, const Outcome& theirs, const Ignored& i) {
  if (i.anything || (i.may_die && ours.vector == Outcome::kHung)) return "";
  if (i.parts & kTheirFault && ours.vector == Outcome::kNone && theirs.vector == ex::pf) return "";
  if (i.may_die && theirs.vector == Outcome::kDied) return "";
  if (i.parts & kRefused && ours.vector == Outcome::kNone && theirs.vector >= 0) return "";
  if (i.either_fault && ours.vector >= 0 && theirs.vector >= 0) return "";
  if (i.alignment && (ours.vector == ex::ac || theirs.vector == ex::ac)) return "";
  if (ours.vector != theirs.vector)
    return fmt::format(" {}/{}", exception_name(ours.vector), exception_name(theirs.vector));
  if (ours.vector == Outcome::kHung) return "";
  Differences d;
  if (ours.vector >= 0) {
    // Linux says "present" of every address of the kernel's, so that processes learn nothing (arch/x86/mm/fault.c).
    const bool hidden = i.kernel_hidden && ours.vector == ex::pf && ours.address >= 0x7ffffffff000;
    const u32 seen = hidden ? ~pf::present : ~u32{0};
    const u32 coded = i.parts & kWriteBit && ours.vector == ex::pf ? seen & ~u32{pf::write} : seen;
    if (!(i.parts & kErrorCode)) d.number("error", ours.error & coded, theirs.error & coded);
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

using Change = Shrinking<Case>::Change;

bool is_same_instruction(const Case& was, const Case& is, const Cpuid& cpuid) {
  if (was.length == is.length && was.code == is.code) return true;
  Insn before, after;
  return decode_insn(was.code.data(), was.length, code_size(is.mode), kCode, cpuid, before) == Decoded::ok &&
         decode_insn(is.code.data(), is.length, code_size(is.mode), kCode, cpuid, after) == Decoded::ok &&
         before.op == after.op && after.length == is.length;
}

void change_prefixes(const Case& best, std::vector<Change>& all) {
  for (unsigned n = 0; n + 1 < best.length; ++n) {
    const u8 b = best.code[n];
    if (!is_prefix(b, best.mode == Mode::k64)) return;
    all.push_back([n, b](Case& c) {
      if (c.code[n] != b) return;  // one before it has gone
      std::memmove(&c.code[n], &c.code[n + 1], c.code.size() - n - 1);
      --c.length;
    });
  }
}
void change_registers(std::vector<Change>& all) {
  for (unsigned n = 0; n < 16; ++n) {
    all.push_back([n](Case& c) { c.before.gpr[n] &= 0xffffffff; });
    all.push_back([n](Case& c) { c.before.gpr[n] = std::min<u64>(c.before.gpr[n], 1); });
    all.push_back([n](Case& c) { c.before.gpr[n] = 0; });
  }
  for (const u64 f : {fl::cf, fl::pf, fl::af, fl::zf, fl::sf, fl::df, fl::of, fl::ac})
    all.push_back([f](Case& c) { c.before.rflags &= ~f; });
}
void change_floating(std::vector<Change>& all) {
  all.push_back([](Case& c) { c.before.fcw = 0x37f; });
  all.push_back([](Case& c) { c.before.fsw = 0; });
  all.push_back([](Case& c) { c.before.tags = 0; });
  all.push_back([](Case& c) { c.before.mxcsr = 0x1f80; });
  for (unsigned n = 0; n < 8; ++n) all.push_back([n](Case& c) { c.before.st[n] = {}; });
  for (unsigned n = 0; n < 16; ++n)
    for (unsigned q = 0; q < 4; ++q) {
      all.push_back([=](Case& c) { c.before.ymm[n].q[q] &= 0xffffffff; });
      all.push_back([=](Case& c) { c.before.ymm[n].q[q] &= ~u64{0xffffffff}; });
      all.push_back([=](Case& c) { c.before.ymm[n].q[q] = 0; });
    }
}
/// Pieces down to the size at which there are not too many left.
void change_memory(const Case& best, std::vector<Change>& all) {
  constexpr std::size_t kMost = 80;
  for (unsigned step = 1; step <= kMemory; step *= 4) {
    std::vector<Change> pieces;
    for (unsigned at = 0; at < kMemory; at += step)
      if (std::any_of(&best.memory[at], &best.memory[at] + step, [](u8 b) { return b != 0; }))
        pieces.push_back([=](Case& c) { std::memset(&c.memory[at], 0, step); });
    if (pieces.size() <= kMost) all.insert(all.end(), pieces.begin(), pieces.end());
  }
}

std::vector<Change> all_changes(const Case& best) {
  std::vector<Change> all;
  change_prefixes(best, all);
  change_registers(all);
  change_floating(all);
  change_memory(best, all);
  for (unsigned n = best.length; n-- > 1;) all.push_back([n](Case& c) { c.code[n] = 0; });  // immediates, displacements
  return all;
}

}  // namespace

Case shrink(const Case& c, Rung rung, const Cpuid& cpuid, const RunBoth& run) {
  Shrinking<Case> how;
  how.changes = all_changes;
  how.is_of_use = [&](const Case& was, const Case& is) {
    return std::memcmp(&is, &was, sizeof is) != 0 && is_same_instruction(was, is, cpuid);
  };
  how.which_differ = [&](std::span<const Case> cases) {
    const std::vector<Both> both = run(cases);
    std::vector<bool> differs;
    for (std::size_t n = 0; n < cases.size(); ++n)
      differs.push_back(!difference(cases[n], both[n].ours, both[n].theirs, ignored(cases[n], rung, both[n].ours)).empty());
    return differs;
  };
  return Shrinker<Case>(c, how).shrink();
}

namespace {

/// "name value" for each part of a state that is not as it was.
std::string changes(const Case& c, const Registers& now, const Memory& memory) {
  const Registers& was = c.before;
  std::string s;
  for (unsigned n = 0; n < 16; ++n)
    if (now.gpr[n] != was.gpr[n]) s += fmt::format(" {}={:x}", kGpr[n], now.gpr[n]);
  s += fmt::format(" rip={:x} flags={:x}", now.rip, now.rflags);
  if (now.fcw != was.fcw || now.fsw != was.fsw || now.tags != was.tags)
    s += fmt::format(" fcw={:x} fsw={:x} tags={:02x}", now.fcw, now.fsw, now.tags);
  for (unsigned n = 0; n < 8; ++n)
    if (!(now.st[n] == was.st[n])) s += fmt::format(" st{}={}", n, hex(now.st[n]));
  if (now.mxcsr != was.mxcsr) s += fmt::format(" mxcsr={:x}", now.mxcsr);
  for (unsigned n = 0; n < 16; ++n)
    if (!(now.ymm[n] == was.ymm[n])) s += fmt::format(" ymm{}={}", n, hex(now.ymm[n]));
  unsigned shown = 0;
  for (unsigned n = 0; n < kMemory && shown < 32; ++n)
    if (memory[n] != c.memory[n] && ++shown) s += fmt::format(" [{:#x}]={:02x}", linear_of(n), memory[n]);
  return shown == 32 ? s + " ..." : s;
}
std::string changes(const Case& c, const Outcome& o) {
  std::string s = exception_name(o.vector);
  if (o.vector >= 0) s += fmt::format(" error={:x} address={:x}", o.error, o.address);
  return s + ";" + changes(c, o.after, o.memory);
}

}  // namespace

std::string show(const Case& c, const Both& both, Rung rung, const char* their_name) {
  std::string bytes;
  for (const u8 b : c.bytes()) bytes += fmt::format(" {:02x}", b);
  const unsigned bits = c.mode == Mode::k64 ? 64 : c.mode == Mode::k32 ? 32 : 16;
  Case plain;  // what a register has where nothing is said of it
  plain.before = {};
  std::string s = fmt::format("case {} {} ({}-bit):{}; {}\n", c.number, name_of(c.op), bits, bytes,
                              listing(c.code.data(), c.length, code_size(c.mode), kCode));
  s += fmt::format("  before:{}\n", changes(plain, c.before, c.memory));
  s += fmt::format("  nestwalk: {}\n", changes(c, both.ours));
  s += fmt::format("  {}: {}\n", their_name, changes(c, both.theirs));
  return s +
         fmt::format("  nestwalk/{}:{}\n", their_name, difference(c, both.ours, both.theirs, ignored(c, rung, both.ours)));
}

}  // namespace nestwalk::oracle
