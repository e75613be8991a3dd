// Cases of pages, and of strings and stacks that run across a limit or a page (SDM vol. 3, 4; vol. 2, ENTER, REP).
#include <fmt/format.h>

#include "test/oracle/harness/system_drawing.h"

namespace nestwalk::oracle {

using namespace cpu;

namespace {

constexpr u64 kAliasAt = 0x400000;  ///< linear; the data pages once more, below a directory's entry of their own
constexpr u64 kAliasTable = kTablesAt + 0x8000;

/// Bits that an entry of this world may have more or less of.
u64 draw_bits(SystemDrawing& d, bool directory) {
  u64 flips = 0;
  for (const u64 bit : {0, 1, 2, 3, 4, 5, 6, 8})
    if (d.once_in(bit == 0 ? 10 : 4)) flips |= u64{1} << bit;
  if (directory && d.once_in(8)) flips |= 0x80;
  if (d.wide_entries()) {
    if (d.once_in(6)) flips |= u64{1} << 63;
    if (d.once_in(12)) flips |= u64{1} << 51;
    if (d.once_in(12) && !d.wide()) flips |= u64{1} << 58;
  }
  return flips;
}

void put_alias(SystemDrawing& d) {
  const unsigned size = d.wide_entries() ? 8 : 4;
  const u64 leaf = d.page_entry_at(0), directory = leaf - 0x1000;
  const u64 at = directory + size * (kAliasAt >> (d.wide_entries() ? 21 : 22));
  for (u64 n = 0; n < 8; ++n) put_word(d.c, kAliasTable + size * n, (kDataAt + (n << 12)) | 7, size);
  put_word(d.c, at, (kAliasTable | 7) ^ draw_bits(d, true), size);
}

void draw_access(SystemDrawing& d, u64 at) {
  const char* name = nullptr;
  switch (d.below(6)) {
    case 0: d.op32(name = "mov ebx,", {0x8b}); break;
    case 1: d.op32(name = "mov [], ebx", {0x89}); break;
    case 2: d.op32(name = "add [], ebx", {0x01}); break;
    case 3: d.op(name = "mov bl,", {0x8a}); break;
    case 4:
      // To a UD2 at the beginning of the page.
      for (u64 page = 0; page < 6; ++page) put_word(d.c, kDataAt + (page << 12), 0x0b0f, 2);
      d.op(fmt::format("jmp {:#x}", at & ~u64{0xfff}), {0xff});
      put_word(d.c, d.data() + 0x100, at & ~u64{0xfff}, 8);
      d.memory(4, d.data() + 0x100);
      return;
    default:
      d.op("cmpxchg8b", {0x0f, 0xc7});
      d.memory(1, at);
      return;
  }
  d.memory(3, at);
}

}  // namespace

/// Accesses to pages whose entries, and those above them, have bits at random.
void draw_pages(SystemDrawing& d) {
  SystemState& s = d.c.state;
  const unsigned size = d.wide_entries() ? 8 : 4;
  if (d.below(2)) s.cr0 &= ~mmu::cr0::wp;
  if (d.wide_entries() && d.below(2)) s.efer |= mmu::efer::nxe;
  if (d.once_in(3)) s.cr4 |= mmu::cr4::smep;
  if (d.once_in(3)) s.cr4 |= mmu::cr4::smap, s.rflags |= d.below(2) * fl::ac;
  if (d.below(2)) s.cr4 |= mmu::cr4::pge;
  if (d.world == World::paged32 && d.below(2)) s.cr4 |= mmu::cr4::pse;
  for (const u64 page : {kUserDataAt, kUserDataAt + 0x1000, kUserDataAt + 0x2000}) {
    const u64 at = d.page_entry_at(page);
    u64 entry = d.once_in(3) ? word_at(d.c, at, size) : page | 7;
    put_word(d.c, at, entry ^ draw_bits(d, false), size);
  }
  put_alias(d);
  const u64 page =
      d.pick<u64>({kUserDataAt, kUserDataAt + 0x1000, kUserDataAt + 0x2000, kAliasAt + 0x2000, kAliasAt + 0x5000, kDataAt});
  const u64 at = page + (d.once_in(3) ? 0xffd + d.below(3) : d.below(16));
  draw_access(d, at);
  if (d.once_in(3)) draw_access(d, at);
}

/// Strings that meet the end of a page or of a segment.
void draw_strings(SystemDrawing& d) {
  SystemState& s = d.c.state;
  const bool down = d.below(2);
  if (down) s.rflags |= fl::df;
  const u64 edge = d.paged() ? kUserDataAt + 0x1000 : d.data() + 0x1000;
  const auto near = [&](u64 place) { return place - 8 + d.below(16) - (d.small() ? kDataAt : 0); };
  s.gpr[RSI] = near(d.below(2) ? edge : d.data() + 0x40);
  s.gpr[RDI] = near(d.below(2) ? edge : d.data() + 0x80);
  s.gpr[RCX] = d.below(8);
  if (!d.paged() && d.world != World::real && d.below(2)) {
    const u32 last = static_cast<u32>(edge - (d.small() ? kDataAt : 0)) - 1;
    put_word(d.c, kGdtAt + kFree, descriptor(d.small() ? kDataAt : 0, last, static_cast<u8>(0x93 | (d.cpl << 5)), 4), 8);
    const u8 which = static_cast<u8>(d.below(2) * 3);
    s.gpr[RAX] = kFree | d.cpl;
    d.op(which ? "mov ds, ax" : "mov es, ax", {0x8e, static_cast<u8>(0xc0 | which << 3)});
  }
  if (d.small() && d.once_in(3)) s.gpr[RDI] = 0xffff - d.below(6), s.gpr[RDI] += d.below(2) << 16;
  const u8 code = d.pick<u8>({0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf});
  const u8 repeat = d.pick<u8>({0, 0xf3, 0xf3, 0xf2});
  if (repeat) d.prefix(repeat);
  if (d.small() && d.once_in(3)) d.prefix(0x67);
  d.sized(
      fmt::format("{:02x} {:02x} rsi {:#x} rdi {:#x} rcx {} operand ", repeat, code, s.gpr[RSI], s.gpr[RDI], s.gpr[RCX]),
      {code});
}

/// PUSH, POP, PUSHA, POPA, ENTER, LEAVE, CALL near the end of a stack.
void draw_stacks(SystemDrawing& d) {
  SystemState& s = d.c.state;
  if (d.small()) {
    if (d.below(2)) s.gpr[RSP] = d.pick<u64>({0x10, 0x1000, 0x7f0});
  } else if (d.cpl == 3) {
    s.gpr[RSP] = d.pick<u64>({kStack3At + 0x1000, kUserDataAt + 0x2004, kUserDataAt + 0xffe, kStack3At + 0x20});
  }
  s.gpr[RBP] = d.small() ? d.pick<u64>({0x800, 2, 0xfffe, 0x10800}) : d.cpl == 3 ? kUserDataAt + 0xffc : kStack0At + 0x700;
  switch (d.below(9)) {
    case 0: d.sized("push rax", {0x50}, true); break;
    case 1: d.sized("pop rbx", {0x5b}, true); break;
    case 2: d.sized("pusha", {0x60}); break;
    case 3: d.sized("popa", {0x61}); break;
    case 4: {
      const u64 bytes = d.pick<u64>({0, 8, 0x10, 0x1000}), level = d.below(5);
      d.sized("enter", {0xc8}, true);
      d.immediate(bytes, 2), d.immediate(level, 1);
      d.say(fmt::format(" {:#x}, {}", bytes, level));
      break;
    }
    case 5: d.sized("leave", {0xc9}, true); break;
    case 6: d.sized("push fs", {0x0f, 0xa0}, true); break;
    case 7: d.op("push imm8", {0x6a, 0x85}); break;
    default: d.op("call", {0xe8}); d.immediate(kTextAt + kSecondText - d.here() - (d.small() ? 2 : 4), d.small() ? 2 : 4);
  }
}

}  // namespace nestwalk::oracle
