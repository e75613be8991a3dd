#include "test/oracle/harness/system_machine.h"

#include <fmt/format.h>

#include <cstring>

#include "test/oracle/harness/image.h"

namespace nestwalk::oracle {

using namespace cpu;

const char* name_of(World w) {
  static constexpr const char* names[] = {"real mode",          "16-bit",          "32-bit",
                                          "32-bit with paging", "32-bit with PAE", "64-bit"};
  return names[static_cast<unsigned>(w)];
}

u64 descriptor(u32 base, u32 limit, u8 access, u8 flags) {
  return (limit & 0xffff) | u64{base & 0xffffff} << 16 | u64{access} << 40 | u64{(limit >> 16) & 15} << 48 |
         u64{flags} << 52 | u64{base >> 24} << 56;
}
u64 gate(u16 selector, u32 offset, u8 type, u8 dpl, u8 count) {
  return (offset & 0xffff) | u64{selector} << 16 | u64{count} << 32 | u64(0x80u | dpl << 5 | type) << 40 |
         u64{offset >> 16} << 48;
}

void put_word(SystemCase& c, u64 at, u64 v, unsigned bytes) {
  std::memcpy(&c.memory.at(at + bytes - 1) - (bytes - 1), &v, bytes);
}
u64 word_at(const SystemCase& c, u64 at, unsigned bytes) {
  u64 v = 0;
  std::memcpy(&v, &c.memory.at(at + bytes - 1) - (bytes - 1), bytes);
  return v;
}

namespace {

Segment flat(u16 selector, u8 type, bool wide, bool big) {
  return Segment{.selector = selector,
                 .limit = 0xffffffff,
                 .type = type,
                 .dpl = static_cast<u8>(selector & 3),
                 .l = wide,
                 .db = big,
                 .g = true};
}
Segment small(u16 selector, u8 type, u32 base) {
  return Segment{.selector = selector, .base = base, .limit = 0xffff, .type = type, .dpl = static_cast<u8>(selector & 3)};
}

void put_descriptors(SystemCase& c, World w) {
  const u64 table[] = {0,
                       descriptor(0, 0xfffff, 0x9b, 0xc),
                       descriptor(0, 0xfffff, 0x93, 0xc),
                       descriptor(0, 0xfffff, 0xfb, 0xc),
                       descriptor(0, 0xfffff, 0xf3, 0xc),
                       descriptor(kTssAt, 0x67, 0x8b, 0),
                       0,
                       descriptor(kLdtAt, 0x3f, 0x82, 0),
                       0,
                       descriptor(0, 0xfffff, 0x9b, 0xa),
                       descriptor(0, 0xfffff, 0xfb, 0xa),
                       descriptor(kTss2At, 0x67, 0x89, 0),
                       0,
                       descriptor(0, 0xfffff, 0x13, 0xc),  // not present
                       gate(kCode0, kTextAt + kSecondText, 12, 3, 2),
                       0,
                       descriptor(kTextAt, 0xffff, 0x9b, 0),
                       descriptor(kDataAt, 0xffff, 0x93, 0),
                       descriptor(0, 0xfffff, 0x91, 0xc),
                       descriptor(0, 0xfffff, 0x9f, 0xc)};
  for (unsigned n = 0; n < std::size(table); ++n) put_word(c, kGdtAt + 8 * n, table[n], 8);
  if (w == World::long64) put_word(c, kGdtAt + kGate, gate(kWide0, kTextAt + kSecondText, 12, 3), 8);
}

// ---- ends (test/oracle/image/way.S)

/// The page of way.S. Its header: where in64 and in32 are, and from where to where the piece that stubs jump to.
const std::vector<u8>& way() {
  static const std::vector<u8> page = read_part(NESTWALK_ORACLE_WAY);
  return page;
}
std::span<const u8> leave() {
  u32 header[4];
  std::memcpy(header, way().data(), sizeof header);
  return std::span(way()).subspan(header[2] - kWayAt, header[3] - header[2]);
}

/// An end stub, which goes on at a copy of leave().
void put_stub(SystemCase& c, u64 at, unsigned place, u64 leave_at) {
  const u8 stub[] = {0x0f, 0x09,  // WBINVD: faults above CPL 0 and does nothing there
                     0xf4,        // HLT: NOP in images
                     0x0f, 0x23,
                     0xd8,  // MOV DR3, EAX
                     0x9f, 0x0f,
                     0x90, 0xc0,                         // LAHF, SETO AL
                     0x0c, static_cast<u8>(place << 1),  // OR AL, place * 2
                     0x0f, 0x23,
                     0xd0,   // MOV DR2, EAX
                     0xe9};  // JMP
  const u64 jump = at + sizeof stub - 1, displacement = leave_at - (jump + 3);
  std::copy(std::begin(stub), std::end(stub), c.memory.begin() + static_cast<std::ptrdiff_t>(at));
  put_word(c, jump + 1, displacement, 4);
}

constexpr u64 kLeaveForHandlers = kHandlersAt + 32 * kStubBytes, kLeaveForText = kTextAt + 0xc00;

void put_ends(SystemCase& c) {
  std::copy(way().begin(), way().end(), c.memory.begin() + kWayAt);
  for (const u64 at : {kLeaveForHandlers, kLeaveForText})
    std::copy(leave().begin(), leave().end(), c.memory.begin() + static_cast<std::ptrdiff_t>(at));
  for (unsigned n = 0; n < 32; ++n) put_stub(c, kHandlersAt + kStubBytes * n, n, kLeaveForHandlers);
  put_stub(c, kTextAt + kSecondText, kSecondEnd, kLeaveForText);
}

void put_gates(SystemCase& c, World w) {
  for (unsigned n = 0; n < 32; ++n) {
    const u32 at = static_cast<u32>(kHandlersAt + kStubBytes * n);
    const u8 dpl = n == ex::bp || n == ex::of ? 3 : 0;
    switch (w) {
      case World::real: put_word(c, 4 * n, (kHandlersAt >> 4) << 16 | (at - kHandlersAt), 4); break;
      case World::long64: put_word(c, kIdtAt + 16 * n, gate(kWide0, at, 14, dpl), 8); break;
      default: put_word(c, kIdtAt + 8 * n, gate(kCode0, at, 14, dpl), 8);
    }
  }
}

void put_tss(SystemCase& c, World w) {
  if (w == World::long64) {
    put_word(c, kTssAt + 4, kStack0At + 0x1000, 8);
    put_word(c, kTssAt + 36, kIstAt, 8);
  } else {
    put_word(c, kTssAt + 4, kStack0At + 0x1000, 4);
    put_word(c, kTssAt + 8, kData0, 4);
  }
  put_word(c, kTssAt + 0x66, 104, 2);  // no I/O permission bitmap
  // The second task: 32-bit, at the text's second half, with registers of its own.
  const u32 fields[][2] = {{28, static_cast<u32>(kTablesAt)},
                           {32, static_cast<u32>(kTextAt + kSecondText)},
                           {36, 2},
                           {40, 0x11111111},
                           {44, 0x22222222},
                           {48, 0x33333333},
                           {52, 0x44444444},
                           {56, static_cast<u32>(kStack0At + 0x800)},
                           {60, 0x66666666},
                           {64, 0x77777777},
                           {68, 0x88888888},
                           {72, kData0},
                           {76, kCode0},
                           {80, kData0},
                           {84, kData0},
                           {88, kData0},
                           {92, kData0},
                           {96, 0},
                           {100, 104u << 16}};
  for (const auto& f : fields) put_word(c, kTss2At + f[0], f[1], 4);
}

/// All memory one to one. Pages from kStack3At on and the text are the user's; kDataAt belongs to the supervisor; the page
/// behind kUserDataAt is absent, the next one read-only. What the way in and out of a case may touch is already accessed
/// and dirty.
void put_pages(SystemCase& c, World w) {
  const unsigned size = w == World::paged32 ? 4 : 8, upper = w == World::long64 ? 3 : w == World::pae32 ? 2 : 1;
  const u64 leaf = kTablesAt + 0x1000 * upper;
  for (unsigned n = 0; n < upper; ++n) {
    const bool root = n == 0 && w == World::pae32;  // it knows neither rights nor A
    put_word(c, kTablesAt + 0x1000 * n, (kTablesAt + 0x1000 * (n + 1)) | (root ? 1 : 0x27), size);
  }
  for (u64 page = 0; page < kSystemBytes >> 12; ++page) {
    const u64 at = page << 12;
    const bool data = (at >= kStack3At && at < kIstAt) || at >= kDataAt;
    const bool user = data ? at != kDataAt && at != kDataAt + 0x1000 : at >= kTextAt && at < kDataAt;
    u64 entry = at | 3 | (user ? 4 : 0) | (data ? 0 : 0x60);
    if (at == kUserDataAt + 0x1000) entry = 0;
    if (at == kUserDataAt + 0x2000) entry &= ~u64{2};
    put_word(c, leaf + size * page, entry, size);
  }
}

}  // namespace

SystemCase start_of(World w, unsigned cpl, std::span<const u8> text) {
  SystemCase c;
  c.memory.assign(kSystemBytes, 0);
  put_gates(c, w);
  put_descriptors(c, w);
  put_tss(c, w);
  put_ends(c);
  put_text(c, text);
  if (w >= World::paged32) put_pages(c, w);
  SystemState& s = c.state;
  const bool user = cpl == 3, wide = w == World::long64;
  s.cr0 = 0x10 | mmu::cr0::ne;
  s.rip = kTextAt;
  s.gpr[RSP] = user ? kStack3At + 0x1000 : kStack0At + 0x800;
  s.gdtr = {kGdtAt, 8 * kGdtEntries - 1};
  s.idtr = {kIdtAt, 0xfff};
  s.ldtr = Segment{.limit = 0, .type = 2, .s = false, .present = false, .null = true};
  s.kernel_gs_base = kUserDataAt + 0x200;
  s.star = u64{kCode3} << 48 | u64{kCode0} << 32 | (kTextAt + kSecondText);
  s.lstar = s.cstar = s.sysenter_eip = kTextAt + kSecondText;
  s.fmask = 0x4700;
  s.sysenter_cs = kCode0;
  s.sysenter_esp = kStack0At + 0x600;
  s.tr = Segment{.selector = kTssSelector, .base = kTssAt, .limit = 0x67, .type = 11, .s = false};
  if (w == World::real) {
    s.idtr = {0, 0x3ff};
    s.seg[CS] = small(kTextAt >> 4, 11, kTextAt);
    for (const Seg n : {ES, SS, DS, FS, GS}) s.seg[n] = small(kDataAt >> 4, 3, kDataAt);
    for (Segment& g : s.seg) g.dpl = 0;
    s.rip = 0, s.gpr[RSP] = 0x800;
    return c;
  }
  s.cr0 |= mmu::cr0::pe;
  if (w == World::protected16) {
    s.seg[CS] = small(kCode16, 11, kTextAt);
    for (const Seg n : {ES, SS, DS, FS, GS}) s.seg[n] = small(kData16, 3, kDataAt);
    s.rip = 0, s.gpr[RSP] = 0x800;
    return c;
  }
  s.seg[CS] = flat(wide ? (user ? kWide3 : kWide0) : user ? kCode3 : kCode0, 11, wide, !wide);
  for (const Seg n : {ES, SS, DS, FS, GS}) s.seg[n] = flat(user ? kData3 : kData0, 3, false, true);
  if (w != World::protected32) {
    s.cr0 |= mmu::cr0::pg | mmu::cr0::wp;
    s.cr3 = kTablesAt;
  }
  if (w == World::pae32) s.cr4 |= mmu::cr4::pae;
  if (wide) {
    s.cr4 |= mmu::cr4::pae;
    s.efer = mmu::efer::lme | mmu::efer::lma | mmu::efer::sce;
  }
  return c;
}

void put_text(SystemCase& c, std::span<const u8> text) {
  std::copy(text.begin(), text.end(), c.memory.begin() + kTextAt);
  c.text_end = kTextAt + text.size();
  put_stub(c, c.text_end, kTextEnd, kLeaveForText);
}

void put_entry_frame(SystemCase& c) {
  const SystemState& s = c.state;
  if (is_wide(s) || ((s.cr0 & mmu::cr0::pe) && (s.seg[CS].selector & 3))) return;
  const u64 words[] = {s.rip, s.seg[CS].selector, s.rflags | 2}, at = s.seg[SS].base + s.gpr[RSP] - kEntryBytes;
  for (unsigned n = 0; n < std::size(words); ++n) put_word(c, at + 4 * n, words[n], 4);
}

bool is_wide(const SystemState& s) { return (s.efer & mmu::efer::lma) && s.seg[CS].l; }

int place_of(const SystemCase& c) {
  constexpr u64 kBehindHlt = 3;
  const u64 at = (is_wide(c.state) ? 0 : c.state.seg[CS].base) + c.state.rip - kBehindHlt;
  if (at == c.text_end) return kTextEnd;
  if (at == kTextAt + kSecondText) return kSecondEnd;
  return at - kHandlersAt < 32 * kStubBytes && at % kStubBytes == 0 ? static_cast<int>((at - kHandlersAt) / kStubBytes)
                                                                    : -1;
}
int vector_of(const SystemCase& c) {
  const int place = place_of(c);
  return place < 32 ? place : -1;
}

namespace {

void add(std::string& text, const std::string& name, u64 a, u64 b) {
  if (a != b) text += fmt::format(" {} {:#x}/{:#x}", name, a, b);
}

/// One number of what is visible of a segment: an unusable one shows its selector only.
void add(std::string& text, const std::string& name, const Segment& a, const Segment& b, bool wide) {
  add(text, name, a.selector, b.selector);
  if ((a.null && b.null) || (a.selector == b.selector && a.selector < 4 && wide)) return;
  add(text, name + ".null", a.null, b.null);
  if (a.null != b.null) return;
  add(text, name + ".base", a.base, b.base);
  add(text, name + ".limit", a.limit, b.limit);
  const auto rights = [](const Segment& s) {
    return u64{s.type} | u64{s.s} << 4 | u64{s.dpl} << 5 | u64{s.present} << 7 | u64{s.l} << 8 | u64{s.db} << 9 |
           u64{s.g} << 10;
  };
  add(text, name + ".rights", rights(a) | (wide ? 1 : 0), rights(b) | (wide ? 1 : 0));
}

}  // namespace

std::string difference(const SystemCase& ours, const SystemCase& theirs) {
  static constexpr const char* gprs[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  static constexpr const char* segments[kSegs] = {"es", "cs", "ss", "ds", "fs", "gs"};
  const SystemState &a = ours.state, &b = theirs.state;
  std::string t;
  const int va = vector_of(ours), vb = vector_of(theirs);
  if (va != vb) t += fmt::format(" exception {}/{}", va, vb);
  for (unsigned n = 0; n < 16; ++n) add(t, gprs[n], a.gpr[n], b.gpr[n]);
  add(t, "rip", a.rip, b.rip);
  add(t, "rflags", a.rflags, b.rflags);
  add(t, "cr0", a.cr0, b.cr0);
  add(t, "cr2", a.cr2, b.cr2);
  add(t, "cr3", a.cr3, b.cr3);
  add(t, "cr4", a.cr4, b.cr4);
  add(t, "efer", a.efer, b.efer);
  add(t, "dr6", a.dr6, b.dr6);
  for (unsigned n = 0; n < kSegs; ++n) add(t, segments[n], a.seg[n], b.seg[n], a.seg[CS].l && n != CS);
  add(t, "tr", a.tr.selector, b.tr.selector);
  add(t, "tr.base", a.tr.base, b.tr.base);
  add(t, "ldtr", a.ldtr.selector, b.ldtr.selector);
  add(t, "gdtr", a.gdtr.base ^ u64{a.gdtr.limit} << 48, b.gdtr.base ^ u64{b.gdtr.limit} << 48);
  add(t, "idtr", a.idtr.base ^ u64{a.idtr.limit} << 48, b.idtr.base ^ u64{b.idtr.limit} << 48);
  unsigned named = 0;
  for (u64 n = 0; n < kSystemBytes && named < 8; n += 4)
    if (std::memcmp(&ours.memory[n], &theirs.memory[n], 4) != 0) {
      ++named;
      add(t, fmt::format("[{:#x}]", n), word_at(ours, n, 4), word_at(theirs, n, 4));
    }
  return t;
}

std::string first_wrong(SystemMachine& machine) {
  for (const SystemFact& f : system_facts()) {
    SystemCase c = f.start();
    const Ended ended = machine.run(c);
    if (const std::string w = f.wrong(c, ended); !w.empty()) return std::string(f.name) + ": " + w;
  }
  return "";
}

}  // namespace nestwalk::oracle
