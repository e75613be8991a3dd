// Cases of control, debug and model-specific registers, table registers, system calls, ports and other instructions that
// are privileged (SDM vol. 3, 2.5, 2.8, 4.1, 4.10.1, 11.12, 17.2; vol. 2, SYSCALL, SYSENTER, SWAPGS; vol. 1, 13.3, 18.5).
#include <fmt/format.h>

#include "test/oracle/harness/system_drawing.h"

namespace nestwalk::oracle {

using namespace cpu;

namespace {

/// Bits of CR4 that every side has; the last ones are nobody's.
constexpr u64 kCr4[] = {mmu::cr4::tsd,     mmu::cr4::de,   mmu::cr4::pse,    mmu::cr4::pae,        mmu::cr4::mce,
                        mmu::cr4::pge,     mmu::cr4::pce,  mmu::cr4::osfxsr, mmu::cr4::osxmmexcpt, mmu::cr4::fsgsbase,
                        mmu::cr4::osxsave, mmu::cr4::smep, mmu::cr4::smap,   mmu::cr4::umip,       mmu::cr4::pcide,
                        mmu::cr4::vme,     mmu::cr4::pvi,  u64{1} << 15,     u64{1} << 40};
constexpr u64 kCr0[] = {mmu::cr0::pe, mmu::cr0::mp, mmu::cr0::em, mmu::cr0::ts, mmu::cr0::et, mmu::cr0::ne,
                        mmu::cr0::wp, mmu::cr0::am, mmu::cr0::nw, mmu::cr0::cd, mmu::cr0::pg, u64{1} << 32};

/// `value` with one or two of the bits changed.
template <std::size_t N>
u64 changed(SystemDrawing& d, u64 value, const u64 (&bits)[N]) {
  value ^= bits[d.below(N)];
  return d.below(2) ? value : value ^ bits[d.below(N)];
}

void draw_control(SystemDrawing& d) {
  SystemState& s = d.c.state;
  const u8 n = d.pick<u8>({0, 0, 2, 3, 4, 4, 1, 5});
  u64 value = d.number();
  if (n == 0) value = changed(d, s.cr0, kCr0);
  // IA-32e mode with process-context identifiers; a CR3 that names one cannot be switched to them.
  if (d.wide() && d.once_in(4)) s.cr4 |= mmu::cr4::pcide;
  if (d.wide() && d.once_in(8)) s.cr3 |= d.pick<u64>({0x18, 1, 0xfff});
  if (n == 4) value = changed(d, s.cr4, kCr4);
  if (n == 3) {
    value = kTablesAt | d.below(2) * 0x18;
    if (s.cr4 & mmu::cr4::pcide) value |= d.below(0x1000);
    if (d.wide() && d.once_in(3)) value |= u64{1} << d.pick<u64>({52, 62, 63});
  }
  if (((s.cr4 | (n == 4 ? value : 0)) & mmu::cr4::pcide)) d.needs |= kNeedsPcid;
  if (!d.wide()) value = static_cast<u32>(value);
  s.gpr[RAX] = value;
  if (d.below(3)) d.op(fmt::format("mov cr{}, rax ({:#x})", n, value), {0x0f, 0x22, static_cast<u8>(0xc0 | n << 3)});
  d.op(fmt::format("mov rbx, cr{}", n), {0x0f, 0x20, static_cast<u8>(0xc3 | n << 3)});
}

void draw_debug_registers(SystemDrawing& d) {
  SystemState& s = d.c.state;
  u8 n = d.pick<u8>({0, 1, 4, 5, 6, 7});
  if (d.once_in(3)) s.cr4 |= mmu::cr4::de;
  if (!d.cpl && d.once_in(4)) {  // general detection; the way out of a case writes debug registers, too
    constexpr u64 kGd = 1 << 13;
    n = d.pick<u8>({0, 1, 6, 7});
    s.dr7 |= kGd;
    d.say("GD, ");
  }
  u64 value = d.wide() ? d.number() : static_cast<u32>(d.number());
  if (n == 5 || n == 7) value &= ~u64{0x28ff};  // no breakpoint, no general detection, no RTM, which not all have
  s.gpr[RAX] = value;
  if (d.below(3)) d.op(fmt::format("mov dr{}, rax ({:#x})", n, value), {0x0f, 0x23, static_cast<u8>(0xc0 | n << 3)});
  d.op(fmt::format("mov rbx, dr{}", n), {0x0f, 0x21, static_cast<u8>(0xc3 | n << 3)});
}

constexpr std::pair<u32, const char*> kMsrs[] = {
    {0xc0000080, "EFER"},   {0xc0000081, "STAR"},    {0xc0000082, "LSTAR"},   {0xc0000083, "CSTAR"},
    {0xc0000084, "FMASK"},  {0xc0000100, "FS_BASE"}, {0xc0000101, "GS_BASE"}, {0xc0000102, "KERNEL_GS_BASE"},
    {0x174, "SYSENTER_CS"}, {0x175, "SYSENTER_ESP"}, {0x176, "SYSENTER_EIP"}, {0x277, "PAT"}};

/// Memory types, one of them perhaps reserved.
u64 draw_pat(SystemDrawing& d) {
  u64 value = 0;
  for (unsigned n = 0; n < 8; ++n) value |= d.pick<u64>({0, 1, 4, 5, 6, 7}) << (8 * n);
  return d.below(2) ? value : value ^ (u64{1} << d.below(64));
}

/// Registers that hold what no two processors say alike become 0.
void forget(SystemDrawing& d, std::initializer_list<cpu::Gpr> registers) {
  for (const unsigned r : registers) d.op32("xor", {0x31, static_cast<u8>(0xc0 | r << 3 | r)});
}

void draw_invpcid(SystemDrawing& d) {
  SystemState& s = d.c.state;
  d.needs |= kNeedsPcid;
  if (d.wide() && d.below(2)) s.cr4 |= mmu::cr4::pcide;
  s.gpr[RAX] = d.below(3) ? d.below(6) : d.number();
  if (!d.wide()) s.gpr[RAX] = static_cast<u32>(s.gpr[RAX]);
  put_word(d.c, d.data() + 0x100, d.below(3) ? d.below(3) : d.number(), 8);
  put_word(d.c, d.data() + 0x108, d.below(3) ? d.data() : d.number(), 8);
  d.op(fmt::format("invpcid rax={:#x},", s.gpr[RAX]), {0x66, 0x0f, 0x38, 0x82});
  d.memory(0, d.data() + 0x100);
}

void draw_xsetbv(SystemDrawing& d) {
  SystemState& s = d.c.state;
  if (d.below(4)) s.cr4 |= mmu::cr4::osxsave;
  s.gpr[RCX] = d.below(4) ? 0 : d.below(3);
  s.gpr[RAX] = d.pick<u64>({1, 3, 7, 7, 0, 2, 4, 5, 6, 0x27, 0x80000003});
  s.gpr[RDX] = d.once_in(4) ? u64{1} << d.below(32) : 0;
  d.op(fmt::format("xsetbv ({:#x}:{:#x}, ecx {:#x})", s.gpr[RDX], s.gpr[RAX], s.gpr[RCX]), {0x0f, 0x01, 0xd1});
  d.op("xgetbv", {0x0f, 0x01, 0xd0});
}

/// The task priority is left as it was.
void draw_task_priority(SystemDrawing& d) {
  SystemState& s = d.c.state;
  s.gpr[RAX] = d.below(3) ? d.below(18) : d.number();
  d.op(fmt::format("mov cr8, rax ({:#x})", s.gpr[RAX]), {0x44, 0x0f, 0x22, 0xc0});
  d.op("mov rbx, cr8", {0x44, 0x0f, 0x20, 0xc3});
  forget(d, {RAX});
  d.op("mov cr8, rax", {0x44, 0x0f, 0x22, 0xc0});
}

}  // namespace

/// MOV to and from control and debug registers, LMSW, SMSW, CLTS, INVLPG, WBINVD.
void draw_registers(SystemDrawing& d) {
  SystemState& s = d.c.state;
  if (d.below(2)) s.cr0 |= d.next() & (mmu::cr0::mp | mmu::cr0::ts | mmu::cr0::am);
  switch (d.below(10)) {
    case 0:
    case 1:
    case 2:
    case 3: return draw_control(d);
    case 4:
    case 5: return draw_debug_registers(d);
    case 6: return d.op(fmt::format("lmsw ax ({:#x})", s.gpr[RAX] & 0xffff), {0x0f, 0x01, 0xf0});
    case 7: d.sized("smsw", {0x0f, 0x01, 0xe0}); return;
    case 8: return d.op("clts", {0x0f, 0x06});
    default:
      if (d.below(2)) return d.op("wbinvd", {0x0f, 0x09});
      d.op("invlpg", {0x0f, 0x01}), d.memory(7, d.data());
  }
}

/// What CR4 or the level forbids: time and counters, what describes the system, caches, monitoring, XCR0, TPR.
void draw_privileged(SystemDrawing& d) {
  SystemState& s = d.c.state;
  s.cr4 |= d.next() & (mmu::cr4::tsd | mmu::cr4::pce | mmu::cr4::umip);
  if (d.once_in(4)) s.cr4 |= mmu::cr4::smap;
  switch (d.below(12)) {
    case 0: d.op("rdtsc", {0x0f, 0x31}), forget(d, {RAX, RDX}); break;
    case 1: d.op("rdtscp", {0x0f, 0x01, 0xf9}), forget(d, {RAX, RDX, RCX}); break;
    case 2: s.gpr[RCX] = d.below(3) ? 0 : d.number(), d.op("rdpmc", {0x0f, 0x33}), forget(d, {RAX, RDX}); break;
    case 3: d.sized("smsw", {0x0f, 0x01, 0xe0}); break;
    case 4: d.sized("str", {0x0f, 0x00, 0xc8}); break;
    case 5: d.sized("sldt", {0x0f, 0x00, 0xc0}); break;
    case 6: d.op("sgdt", {0x0f, 0x01}), d.memory(static_cast<u8>(d.below(2)), d.data() + 0x100); break;
    case 7: draw_invpcid(d); break;
    case 8: draw_xsetbv(d); break;
    case 9: d.wide() ? draw_task_priority(d) : d.op("rsm", {0x0f, 0xaa}); break;
    case 10:
      s.gpr[RAX] = d.data() - (d.small() ? kDataAt : 0), s.gpr[RCX] = d.once_in(4);
      d.op("monitor", {0x0f, 0x01, 0xc8});
      if (d.cpl) d.op("mwait", {0x0f, 0x01, 0xc9});
      break;
    default:
      switch (d.below(5)) {
        case 0: d.op("invd", {0x0f, 0x08}); break;
        case 1: d.op("clac", {0x0f, 0x01, 0xca}); break;
        case 2: d.op("stac", {0x0f, 0x01, 0xcb}); break;
        case 3: d.cpl ? d.op("mwait", {0x0f, 0x01, 0xc9}) : d.op("invd", {0x0f, 0x08}); break;
        default: d.cpl ? d.op("hlt", {0xf4}) : d.op("wbinvd", {0x0f, 0x09});
      }
  }
}

/// RDMSR, WRMSR, SWAPGS, RDFSBASE and its kin.
void draw_model_specific(SystemDrawing& d) {
  SystemState& s = d.c.state;
  const auto& [index, name] = kMsrs[d.below(std::size(kMsrs))];
  const bool unknown = d.once_in(12);
  u64 value = d.number();
  if (d.below(2)) value = static_cast<u64>(static_cast<i64>(value << 16) >> 16);
  if (index == 0xc0000080) {
    constexpr u64 kEfer[] = {mmu::efer::sce, mmu::efer::nxe, mmu::efer::lme, u64{1} << 9, u64{1} << 20};
    value = changed(d, s.efer, kEfer);
  }
  const bool pat = index == 0x277;
  if (pat) value = draw_pat(d);
  s.gpr[RCX] = unknown ? 0xdeadbeef : index;
  s.gpr[RAX] = d.wide() ? (d.next() << 32) | static_cast<u32>(value) : static_cast<u32>(value);
  s.gpr[RDX] = d.wide() ? (d.next() << 32) | value >> 32 : value >> 32;
  switch (pat ? 1 : d.below(d.wide() ? 6 : 3)) {  // what a case leaves in PAT the next one must not see
    case 0: return d.op(fmt::format("rdmsr {}", unknown ? "?" : name), {0x0f, 0x32});
    case 1:
    case 2: return d.op(fmt::format("wrmsr {} ({:#x}); rdmsr", unknown ? "?" : name, value), {0x0f, 0x30, 0x0f, 0x32});
    case 3: return d.op("swapgs", {0x0f, 0x01, 0xf8});
    default: {
      if (d.below(2)) s.cr4 |= mmu::cr4::fsgsbase;
      s.gpr[RAX] = value;
      const u8 n = static_cast<u8>(d.below(4));
      static constexpr const char* names[] = {"rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase"};
      d.prefix(0xf3);
      if (d.below(2)) d.prefix(0x48);
      d.op(fmt::format("{} ({:#x})", names[n], value), {0x0f, 0xae, static_cast<u8>(0xc0 | n << 3)});
    }
  }
}

void draw_system_calls(SystemDrawing& d) {
  SystemState& s = d.c.state;
  if (d.once_in(4) && d.wide()) s.efer &= ~mmu::efer::sce;
  if (d.once_in(3)) s.sysenter_cs = d.pick<u64>({0, 1, kCode0, kCode0 | 3, kWide0, 0x10008});
  if (d.once_in(3)) s.star = u64{d.pick<u16>({kCode3, kWide0, 0, 0x4b})} << 48 | u64{d.pick<u16>({kCode0, 0, 0x48})} << 32;
  if (d.once_in(3)) s.fmask = static_cast<u32>(d.next());
  s.fmask &= ~fl::tf;
  s.gpr[RCX] = s.gpr[RDX] = kTextAt + kSecondText;
  s.gpr[R11] = d.next() & 0x247ed5;
  if (d.once_in(6) && d.wide()) s.gpr[RCX] = u64{1} << 47;
  switch (d.below(6)) {
    case 0: return d.op("sysenter", {0x0f, 0x34});
    case 1: s.gpr[RCX] = kStack3At + 0x800; return d.op("sysexit", {0x0f, 0x35});
    case 2:
      s.gpr[RCX] = kStack3At + 0x800;
      return d.wide() ? d.op("sysexit 64", {0x48, 0x0f, 0x35}) : d.op("sysexit", {0x0f, 0x35});
    case 3: return d.op("syscall", {0x0f, 0x05});
    case 4: return d.op("sysret", {0x0f, 0x07});
    default: d.wide() ? d.op("sysret 64", {0x48, 0x0f, 0x07}) : d.op("sysret", {0x0f, 0x07});
  }
}

/// LGDT and LIDT keep what the way out of a case needs: the first descriptors.
void draw_table_registers(SystemDrawing& d) {
  const u64 at = d.data() + 0x100;
  constexpr u64 kCopyAt = kGdtAt + 0x800;
  std::copy_n(d.c.memory.begin() + kGdtAt, 8 * kGdtEntries, d.c.memory.begin() + kCopyAt);
  put_word(d.c, at, d.pick<u16>({0x17, 0x2f, 0xff, 0xffff}), 2);
  put_word(d.c, at + 2, d.pick({kGdtAt, kCopyAt}) | (d.once_in(4) ? d.next() << 32 : 0), 8);
  const unsigned which = static_cast<unsigned>(d.below(4));
  static constexpr const char* names[] = {"sgdt", "sidt", "lgdt", "lidt"};
  // Operands of 16 bits leave the upper byte of an address out; that the places here lie lower keeps it harmless.
  if (!d.wide() && d.once_in(4)) d.prefix(0x66);
  d.op(names[which], {0x0f, 0x01});
  d.memory(static_cast<u8>(which), at);
  if (which == 2 && d.below(2)) d.op("lar ebx, eax", {0x0f, 0x02, 0xd8}), d.c.state.gpr[RAX] = d.selector();
  if (which == 3 && d.below(2)) d.op("ud2", {0x0f, 0x0b});
}

/// IN, OUT, INS, OUTS at a port that no device has, against IOPL and the permission bitmap.
void draw_ports(SystemDrawing& d) {
  constexpr u64 kPort = 0x2a0;  // a multiple of 8
  SystemState& s = d.c.state;
  s.rflags |= d.next() & 0x3000;
  const u64 base = d.pick<u64>({0x68, 0x68, 0x6a, 0x70}), byte = base + kPort / 8;
  const u32 limit = static_cast<u32>(d.pick<u64>({byte, byte + 1, byte + 2, byte - 1, 0x67, 0x200}));
  if (d.world != World::real) {
    put_word(d.c, kTssAt + 0x66, base, 2);
    put_word(d.c, kGdtAt + kTssSelector, limit, 2);
    s.tr.limit = limit;
    put_word(d.c, kTssAt + byte, d.below(2) ? 0 : d.next(), 2);
  }
  const u64 port = kPort + d.below(8);
  s.gpr[RDX] = (s.gpr[RDX] & ~u64{0xffff}) | port;
  s.gpr[RSI] = s.gpr[RDI] = d.data() + 0x20 - (d.small() ? kDataAt : 0);
  s.gpr[RCX] = d.below(3);
  const u8 code = d.pick<u8>({0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f});
  static constexpr const char* names[] = {"ins", "outs", "in", "out"};
  if ((code & 0xf0) == 0x60 && d.below(2)) d.prefix(0xf3);
  if (d.once_in(3)) d.prefix(0x66);
  const unsigned which = (code & 0xf0) == 0x60 ? (code >> 1 & 1) : 2 + (code >> 1 & 1);
  d.op(fmt::format("{} {:02x} port {:#x}, bitmap {:#x} in {:#x}", names[which], code, port, base, limit), {code});
}

}  // namespace nestwalk::oracle
