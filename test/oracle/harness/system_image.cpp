#include "test/oracle/harness/system_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>
#include <stdexcept>

namespace nestwalk::oracle {
namespace {

using namespace cpu;

constexpr u32 kLoadAt = 0x1000000;
constexpr u64 kMemoryWords = 0x10000;  ///< from this number on a record's words are memory
/// Milliseconds without a word: until the first record, and behind it.
constexpr int kBootPatience = 30'000, kPatience = 4'000;

/// test/oracle/image/system.inc has the same layout.
struct SystemFrame {
  u64 gpr[16];
  u64 rip, cs, rflags, rsp, ss;
  u64 ds, es, fs, gs;
  u64 ldtr, tr;
  u64 cr0, cr2, cr3, cr4, efer;
  u64 gdtr[2], idtr[2];
  u64 dr0, dr1, dr6, dr7;
  u64 fs_base, gs_base, kernel_gs_base, star, lstar, cstar, fmask, sysenter_cs, sysenter_esp, sysenter_eip;
  u64 world, packed;
  u64 entry_ss, entry_esp, outer[3];
};
static_assert(sizeof(SystemFrame) == 456 && offsetof(SystemFrame, gdtr) == 256 && offsetof(SystemFrame, world) == 400);
constexpr u64 kFrameAt = kPrivateAt;

void set_table(u64 (&to)[2], const TableRegister& t) {
  to[0] = (t.limit & 0xffff) | t.base << 16;
  to[1] = t.base >> 48;
}
TableRegister table(const u64 (&from)[2]) { return {from[0] >> 16 | from[1] << 48, static_cast<u32>(from[0] & 0xffff)}; }

World world_of(const SystemState& s) {
  if (!(s.cr0 & mmu::cr0::pe)) return World::real;
  if (s.efer & mmu::efer::lma) return World::long64;
  if (s.cr0 & mmu::cr0::pg) return s.cr4 & mmu::cr4::pae ? World::pae32 : World::paged32;
  return s.seg[CS].db ? World::protected32 : World::protected16;
}

SystemFrame frame_of(const SystemCase& c) {
  const SystemState& s = c.state;
  SystemFrame f{};
  std::copy(s.gpr.begin(), s.gpr.end(), f.gpr);
  f.rip = s.rip, f.rflags = s.rflags | 2, f.rsp = s.gpr[RSP];
  f.cs = s.seg[CS].selector, f.ss = s.seg[SS].selector, f.ds = s.seg[DS].selector;
  f.es = s.seg[ES].selector, f.fs = s.seg[FS].selector, f.gs = s.seg[GS].selector;
  f.ldtr = s.ldtr.selector, f.tr = s.tr.selector;
  f.cr0 = s.cr0, f.cr2 = s.cr2, f.cr3 = s.cr3, f.cr4 = s.cr4, f.efer = s.efer;
  set_table(f.gdtr, s.gdtr), set_table(f.idtr, s.idtr);
  f.dr0 = s.dr0, f.dr1 = s.dr1, f.dr6 = s.dr6, f.dr7 = s.dr7;
  f.fs_base = s.seg[FS].base, f.gs_base = s.seg[GS].base;
  f.kernel_gs_base = s.kernel_gs_base, f.star = s.star, f.lstar = s.lstar, f.cstar = s.cstar, f.fmask = s.fmask;
  f.sysenter_cs = s.sysenter_cs, f.sysenter_esp = s.sysenter_esp, f.sysenter_eip = s.sysenter_eip;
  f.world = static_cast<u64>(world_of(s));
  const bool user = (f.cs & 3) == 3;
  f.entry_ss = user || is_wide(s) ? kData0 : f.ss;
  if (user) {
    const u32 outer[5] = {static_cast<u32>(f.rip), static_cast<u32>(f.cs), static_cast<u32>(f.rflags),
                          static_cast<u32>(f.rsp), static_cast<u32>(f.ss)};
    std::memcpy(f.outer, outer, sizeof outer);
    f.entry_esp = kFrameAt + offsetof(SystemFrame, outer);
  } else {
    f.entry_esp = f.rsp - kEntryBytes;
  }
  return f;
}

/// AH of LAHF, the place times two plus OF, DS (way.S).
void unpack(u64 packed, SystemEnd& e) {
  SystemState& s = e.state;
  e.place = static_cast<int>(packed >> 17 & 0x7f);
  s.rflags = (s.rflags & ~u64{0x8d5}) | (packed >> 24 & 0xd5) | (packed >> 16 & 1) << 11;
  s.seg[DS].selector = static_cast<u16>(packed);
}

SystemEnd end_of(const SystemFrame& f) {
  SystemEnd e;
  e.ended = Ended::halted;
  SystemState& s = e.state;
  std::copy(std::begin(f.gpr), std::end(f.gpr), s.gpr.begin());
  s.rflags = f.rflags;
  s.cr0 = f.cr0, s.cr2 = f.cr2, s.cr3 = f.cr3, s.cr4 = f.cr4, s.efer = f.efer;
  const u64 selectors[kSegs] = {f.es, f.cs, f.ss, f.ds, f.fs, f.gs};
  for (unsigned n = 0; n < kSegs; ++n) s.seg[n].selector = static_cast<u16>(selectors[n]);
  s.seg[FS].base = f.fs_base, s.seg[GS].base = f.gs_base;
  s.ldtr.selector = static_cast<u16>(f.ldtr), s.tr.selector = static_cast<u16>(f.tr);
  s.gdtr = table(f.gdtr), s.idtr = table(f.idtr);
  s.dr0 = f.dr0, s.dr1 = f.dr1, s.dr6 = f.dr6, s.dr7 = f.dr7;
  s.kernel_gs_base = f.kernel_gs_base, s.star = f.star, s.lstar = f.lstar, s.cstar = f.cstar, s.fmask = f.fmask;
  s.sysenter_cs = f.sysenter_cs, s.sysenter_esp = f.sysenter_esp, s.sysenter_eip = f.sysenter_eip;
  unpack(f.packed, e);
  return e;
}

// ---- images

template <class T>
void append(std::vector<u8>& to, const T& v) {
  const u8* const bytes = reinterpret_cast<const u8*>(&v);
  to.insert(to.end(), bytes, bytes + sizeof v);
}

/// The stubs' HLT become NOP, so that they go on to the runner.
std::vector<u8> opened(const SystemCase& c) {
  constexpr u64 kHltAt = 2;
  constexpr u8 kNop = 0x90;
  std::vector<u8> m = c.memory;
  for (unsigned n = 0; n < 32; ++n) m[kHandlersAt + kStubBytes * n + kHltAt] = kNop;
  for (const u64 at : {c.text_end, kTextAt + kSecondText}) m[at + kHltAt] = kNop;
  return m;
}

/// Size, frame, stretches of `memory` that are not as in `base`.
void append_entry(std::vector<u8>& to, const SystemFrame& frame, const std::vector<u8>& memory,
                  const std::vector<u8>& base) {
  const std::size_t at = to.size();
  append(to, u64{0});
  append(to, frame);
  const auto same = [&](u64 n) { return std::memcmp(&memory[n], &base[n], 8) == 0; };
  for (u64 n = 0; n < kSystemBytes; n += 8) {
    if (same(n)) continue;
    u64 stop = n;
    while (stop < kSystemBytes && !same(stop)) stop += 8;
    append(to, static_cast<u32>(n)), append(to, static_cast<u32>((stop - n) / 8));
    to.insert(to.end(), &memory[n], &memory[n] + (stop - n));
    n = stop;
  }
  append(to, u64{0});
  const u64 size = to.size() - at;
  std::memcpy(&to[at], &size, sizeof size);
}

struct Templates {
  std::vector<u8> memory[kWorlds];
  Templates() {
    for (unsigned n = 0; n < kWorlds; ++n) memory[n] = opened(start_of(static_cast<World>(n), 0, {}));
  }
};

std::vector<u8> make_system_image(std::span<const SystemCase* const> cases) {
  static const Templates templates;
  std::vector<u8> body = read_part(NESTWALK_ORACLE_SYSTEM);
  u64 layout = 0;
  if (body.size() >= 4096) std::memcpy(&layout, &body[kLayoutOffset], sizeof layout);
  if (layout != sizeof(SystemFrame))
    throw std::runtime_error("a runner of system images with another layout: " NESTWALK_ORACLE_SYSTEM);
  const u64 count = cases.size();
  std::memcpy(&body[kCountOffset], &count, sizeof count);
  const std::vector<u8> nothing(kSystemBytes);
  for (const std::vector<u8>& m : templates.memory) append_entry(body, {}, m, nothing);
  for (const SystemCase* c : cases) {
    const SystemFrame f = frame_of(*c);
    append_entry(body, f, opened(*c), templates.memory[f.world]);
  }
  return make_elf(body, kLoadAt);
}

}  // namespace

SystemEnd end_of(const SystemCase& start, const SystemCase& after, Ended ended) {
  SystemEnd e;
  e.ended = ended;
  if (ended != Ended::halted) return e;
  e.place = place_of(after);
  e.state = after.state;
  if (!is_wide(e.state))
    for (unsigned n = 0; n < 8; ++n) e.state.gpr[n] = static_cast<u32>(e.state.gpr[n]);
  for (u64 n = 0; n < kSystemBytes; n += 8) {
    if (n == kPrivateAt) n += 0x1000;
    if (std::memcmp(&start.memory[n], &after.memory[n], 8) != 0) e.changed[n] = word_at(after, n, 8);
  }
  return e;
}

const char* not_in_images(const SystemEnd& ours) {
  switch (ours.ended) {
    case Ended::shutdown: return nullptr;
    case Ended::halted:
      if (ours.place < 0) return "halts elsewhere than at an end stub";
      // The stub's jump would lose the upper half of EIP.
      if (!is_wide(ours.state) && !ours.state.seg[CS].db && ours.state.rip > 0xffff) return "16-bit code beyond 64 KiB";
      return nullptr;
    default: return "does not end";
  }
}

// ---- differences

namespace {

class Comparing {
 public:
  std::vector<SystemDifference> all;
  void operator()(std::string name, u64 a, u64 b) {
    if (a != b) all.push_back({std::move(name), a, b});
  }
};

}  // namespace

std::vector<SystemDifference> differences(const SystemCase& start, const SystemEnd& ours, const SystemEnd& theirs) {
  static constexpr const char* gprs[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  static constexpr const char* segments[kSegs] = {"es", "cs", "ss", "ds", "fs", "gs"};
  constexpr u64 kUnseen = fl::rf;
  const SystemState &a = ours.state, &b = theirs.state;
  Comparing compare;
  compare("ended", static_cast<u64>(ours.ended), static_cast<u64>(theirs.ended));
  if (ours.ended != Ended::halted || theirs.ended != Ended::halted) return compare.all;
  compare("place", static_cast<u64>(ours.place), static_cast<u64>(theirs.place));
  for (unsigned n = 0; n < 16; ++n) compare(gprs[n], a.gpr[n], b.gpr[n]);
  compare("rflags", a.rflags & ~kUnseen, b.rflags & ~kUnseen);
  compare("cr0", a.cr0, b.cr0);
  compare("cr2", a.cr2, b.cr2);
  compare("cr3", a.cr3, b.cr3);
  compare("cr4", a.cr4, b.cr4);
  compare("efer", a.efer, b.efer);
  for (unsigned n = 0; n < kSegs; ++n) compare(segments[n], a.seg[n].selector, b.seg[n].selector);
  compare("fs.base", a.seg[FS].base, b.seg[FS].base);
  compare("gs.base", a.seg[GS].base, b.seg[GS].base);
  compare("ldtr", a.ldtr.selector, b.ldtr.selector);
  compare("tr", a.tr.selector, b.tr.selector);
  compare("gdtr.base", a.gdtr.base, b.gdtr.base), compare("gdtr.limit", a.gdtr.limit, b.gdtr.limit);
  compare("idtr.base", a.idtr.base, b.idtr.base), compare("idtr.limit", a.idtr.limit, b.idtr.limit);
  compare("dr0", a.dr0, b.dr0), compare("dr1", a.dr1, b.dr1), compare("dr6", a.dr6, b.dr6), compare("dr7", a.dr7, b.dr7);
  compare("kernel_gs_base", a.kernel_gs_base, b.kernel_gs_base);
  compare("star", a.star, b.star), compare("lstar", a.lstar, b.lstar), compare("cstar", a.cstar, b.cstar);
  compare("fmask", a.fmask, b.fmask), compare("sysenter_cs", a.sysenter_cs, b.sysenter_cs);
  compare("sysenter_esp", a.sysenter_esp, b.sysenter_esp), compare("sysenter_eip", a.sysenter_eip, b.sysenter_eip);
  std::set<u64> places;
  for (const SystemEnd* e : {&ours, &theirs})
    for (const auto& [at, value] : e->changed) places.insert(at);
  for (const u64 at : places) {
    const auto left = [&](const SystemEnd& e) {
      const auto it = e.changed.find(at);
      return it == e.changed.end() ? word_at(start, at, 8) : it->second;
    };
    compare(fmt::format("[{:#x}]", at), left(ours), left(theirs));
  }
  return compare.all;
}

std::string describe(const std::vector<SystemDifference>& all) {
  constexpr unsigned kShown = 12;
  std::string s;
  unsigned shown = 0;
  for (const SystemDifference& d : all)
    if (shown++ < kShown) s += fmt::format(" {} {:#x}/{:#x}", d.name, d.ours, d.theirs);
  if (shown > kShown) s += fmt::format(" and {} more", shown - kShown);
  return s;
}

// ---- running

SystemImage::SystemImage(const char* engine) : emulator_(engine) {
  std::vector<bool> done;
  const bool ended = boot({}, {}, done);
  if (emulator_.end())
    missing_ = std::string(engine) + " or what it boots with is not installed";
  else if (!ended)
    missing_ = std::string(engine) + " does not boot an image";
}

bool SystemImage::boot(std::span<const SystemCase* const> cases, std::span<SystemEnd> ends, std::vector<bool>& done) {
  emulator_.boot(make_system_image(cases));
  bool started = false;
  RecordReader reader([&](u64 n, const RecordWords& words) {
    started = true;
    if (n >= cases.size()) return;
    SystemFrame f = frame_of(*cases[n]);
    std::map<u64, u64> changed;
    for (const auto& [word, value] : words) {
      if (word < sizeof f / 8)
        std::memcpy(reinterpret_cast<u8*>(&f) + 8 * word, &value, 8);
      else if (word >= kMemoryWords && word - kMemoryWords < kSystemBytes / 8)
        changed[8 * (word - kMemoryWords)] = value;
    }
    ends[n] = end_of(f);
    ends[n].changed = std::move(changed);
    done[n] = true;
  });
  bool booted = false;
  const auto enough = [&](std::string_view text) {
    reader.feed(text);
    return reader.ended() || (!booted && started);
  };
  emulator_.read(kBootPatience, enough);
  booted = true;
  if (!reader.ended()) emulator_.read(kPatience, enough);
  return reader.ended();
}

std::vector<SystemEnd> SystemImage::run(std::span<const SystemCase* const> cases) {
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto world = [&](std::size_t n) { return world_of(cases[n]->state); };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return world(a) < world(b); });
  std::vector<const SystemCase*> sorted;
  for (const std::size_t n : order) sorted.push_back(cases[n]);
  std::vector<SystemEnd> ends(cases.size());
  const auto boot_from = [&](std::size_t first) {
    std::vector<bool> done(sorted.size() - first);
    boot(std::span(sorted).subspan(first), std::span(ends).subspan(first), done);
    emulator_.end();
    return done;
  };
  run_all(sorted.size(), boot_from, [&](std::size_t n) { ends[n].ended = Ended::shutdown; });
  std::vector<SystemEnd> as_asked(cases.size());
  for (std::size_t n = 0; n < order.size(); ++n) as_asked[order[n]] = std::move(ends[n]);
  return as_asked;
}

}  // namespace nestwalk::oracle
