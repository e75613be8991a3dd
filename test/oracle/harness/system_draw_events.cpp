// Cases of interrupts, returns from them, flags, virtual-8086 mode and debug events (SDM vol. 3, 6, 17.2, 17.3, 20; vol. 2,
// INT, IRET, POPF).
#include <fmt/format.h>

#include "test/oracle/harness/system_drawing.h"

namespace nestwalk::oracle {

using namespace cpu;

namespace {

constexpr u64 kIoplBits = 0x3000;

void draw_iopl(SystemDrawing& d) { d.c.state.rflags |= d.next() & kIoplBits; }

/// A gate of vector `n` at random.
void draw_gate(SystemDrawing& d, unsigned n) {
  if (d.world == World::real) return;
  const u16 code = d.wide() ? kWide0 : kCode0;
  const u16 target = d.below(2) ? code : d.pick<u16>({kConforming, kCode3, kData0, 0, kWide3, kAbsent, d.selector()});
  const u8 type = d.below(3) ? static_cast<u8>(14 | d.below(2)) : static_cast<u8>(d.below(16));
  const u64 at = kIdtAt + (d.wide() ? 16 : 8) * n;
  u64 g = gate(target, static_cast<u32>(kTextAt + kSecondText), type, static_cast<u8>(d.below(2) * 3));
  if (d.once_in(8)) g &= ~(u64{0x80} << 40);               // absent
  if (d.wide() && d.below(2)) g |= u64{d.below(2)} << 32;  // IST1
  put_word(d.c, at, g, 8);
  if (d.wide() && d.once_in(8)) put_word(d.c, at + 8, d.below(2) ? 0x8000 : 1, 4);  // an address above
}

/// A trap gate to the end of a case that the user may call.
void put_gate_for_user(SystemDrawing& d, unsigned n) {
  put_word(d.c, kIdtAt + 8 * n,
           gate(kCode0, static_cast<u32>(kTextAt + kSecondText), 15, static_cast<u8>(d.below(3) ? 3 : 0)), 8);
}

}  // namespace

/// INT n, INT3, INTO, INT1, BOUND, UD2 and faults, through gates at random, with stacks at random.
void draw_interrupts(SystemDrawing& d) {
  d.draw_tables();
  draw_iopl(d);
  if (d.once_in(6) && d.world != World::real) put_word(d.c, kTssAt + 8, d.selector(), 2);  // SS0
  if (d.once_in(8)) put_word(d.c, kTssAt + 4, d.wide() ? d.next() : kDataAt + 4, d.wide() ? 8 : 4);
  if (d.once_in(16)) d.c.state.idtr.limit = static_cast<u32>(d.pick({0x1ff, 0x200, 0x207, 0x20e, 0x20f, 0x3ff}));
  switch (d.below(7)) {
    case 0:
    case 1:
    case 2:
      draw_gate(d, 0x20);
      d.op("int 0x20", {0xcd, 0x20});
      if (d.world == World::real) put_word(d.c, 4 * 0x20, (kTextAt >> 4) << 16 | kSecondText, 4);
      break;
    case 3:
      if (d.below(2)) draw_gate(d, ex::bp);
      d.op("int3", {0xcc});
      break;
    case 4:
      if (d.below(2)) draw_gate(d, ex::of);
      d.c.state.rflags |= d.below(2) * fl::of;
      d.wide() ? d.op("into", {0xce}) : d.op("into", {0xce});
      break;
    case 5:
      if (d.below(2)) draw_gate(d, ex::ud);
      d.op("ud2", {0x0f, 0x0b});
      break;
    default:
      if (d.below(2)) draw_gate(d, ex::br);
      put_word(d.c, d.data() + 0x100, static_cast<u32>(d.next() >> 33) & ~0x80008000u, 4);
      put_word(d.c, d.data() + 0x104, static_cast<u32>(d.next() >> 33), 4);
      if (d.wide())
        d.op("int 0x21", {0xcd, 0x21});
      else
        d.op("bound eax,", {0x62}), d.memory(0, d.data() + 0x100);
  }
}

/// IRET to every kind of target.
void draw_returns(SystemDrawing& d) {
  d.draw_tables();
  draw_iopl(d);
  d.lower_stack();
  const bool real = d.world == World::real;
  const u64 flags = (d.next() & (0x4cd5 | kIoplBits | fl::if_ | fl::ac)) | 2;
  const bool virtual86 = !d.wide() && !real && !d.small() && d.once_in(3);
  const unsigned width = d.sized("iret", {0xcf});
  if (virtual86) {
    // A text of its own: flags, a privileged instruction, an interrupt.
    const u8 texts[][4] = {
        {0x9c, 0x58, 0xfa, 0xf4}, {0xcd, 0x20, 0xf4, 0xf4}, {0x8e, 0xd8, 0x8b, 0x07}, {0x9d, 0xfb, 0xf4, 0xf4}};
    const auto& text = texts[d.below(std::size(texts))];
    std::copy(std::begin(text), std::end(text), d.c.memory.begin() + kTextAt + 0xb00);
    d.c.memory[kTextAt + 0xb04] = 0xf4;
    d.c.state.gpr[RAX] = (kDataAt >> 4) - d.below(0x100);
    const u64 segment = kDataAt >> 4, stack = kStack3At >> 4;
    d.put_stack({0xb00, kTextAt >> 4, (flags & 0x3fd7) | fl::vm, 0x800, stack, segment, segment + 1, 0, d.next() & 0xfff},
                width);
    d.say(fmt::format(" to virtual-8086 mode, text {:02x}{:02x}", text[0], text[1]));
    return;
  }
  const u64 shift = d.below(0x40);
  const u16 code = real         ? static_cast<u16>((kTextAt >> 4) + shift)
                   : d.below(2) ? d.selector()
                                : d.pick<u16>({kCode0, kCode3, kWide0, kWide3, kConforming, kConforming | 3, kCode16});
  const u16 data = d.below(2) ? d.selector() : d.pick<u16>({kData0, kData3, 0, 3, kReadOnly, kData16});
  const u64 offset = real                         ? kSecondText - 16 * shift
                     : d.paged() && d.once_in(16) ? d.next()
                     : code == kCode16            ? kSecondText
                                                  : d.second();
  d.put_stack({offset, code, flags, kStack3At + 0x200, data}, width);
  if (d.once_in(12)) d.c.state.rflags |= fl::nt;
  d.say(fmt::format(" ({:#x}:{:#x}, ss {:#x})", code, offset, data));
}

/// PUSHF, POPF, CLI, STI, LAHF, SAHF, HLT at each IOPL.
void draw_flags(SystemDrawing& d) {
  draw_iopl(d);
  d.lower_stack();
  const u64 image = (d.next() & 0x247fd7 & ~fl::tf) | 2;
  if (d.cpl == 3 && d.once_in(3)) {
    d.needs |= kNeedsVme;
    d.c.state.cr4 |= mmu::cr4::pvi;
    d.c.state.rflags |= d.next() & (fl::vif | fl::vip);
    d.say("PVI, ");
  }
  switch (d.below(6)) {
    case 0:
    case 1: {
      const unsigned width = d.sized("popf", {0x9d}, true);
      d.put_stack({image}, width);
      d.say(fmt::format(" ({:#x})", image));
      if (d.below(2)) d.sized("pushf", {0x9c}, true);
      break;
    }
    case 2: d.sized("pushf", {0x9c}, true); break;
    case 3: d.op("cli", {0xfa}); break;
    case 4: d.op("sti; nop", {0xfb, 0x90}); break;
    default: d.op("sahf; lahf; cmc; std", {0x9e, 0x9f, 0xf5, 0xfd});
  }
}

namespace {

constexpr u64 kVirtualText = 0xb00, kVirtualEnd = 0xb20;  ///< into the text; where an 8086 interrupt leads

struct VirtualText {
  const char* name;
  std::initializer_list<u8> bytes;
};
// Each ends in HLT, which faults there.
constexpr VirtualText kVirtualTexts[] = {
    {"cli; pushf", {0xfa, 0x9c}},
    {"sti; pushf", {0xfb, 0x9c}},
    {"pushf; pop ax", {0x9c, 0x58}},
    {"pushfd", {0x66, 0x9c}},
    {"popf; pushf", {0x9d, 0x9c}},
    {"popfd; pushf", {0x66, 0x9d, 0x9c}},
    {"int 0x20", {0xcd, 0x20}},
    {"int 0x21", {0xcd, 0x21}},
    {"int3", {0xcc}},
    {"into", {0xce}},
    {"iret", {0xcf}},
    {"iretd", {0x66, 0xcf}},
    {"ud2", {0x0f, 0x0b}},
    {"in al, dx; out dx, al; mov al, 0", {0xec, 0xee, 0xb0, 0x00}},
    {"mov ds, ax; mov ax, [bx]", {0x8e, 0xd8, 0x8b, 0x07}},
    {"lcall", {0x9a, kVirtualEnd & 0xff, kVirtualEnd >> 8, kTextAt >> 4 & 0xff, kTextAt >> 12}},
    {"push eax; ret", {0x66, 0x50, 0xc3}},
    {"smsw ax", {0x0f, 0x01, 0xe0}},
    {"str ax", {0x0f, 0x00, 0xc8}},
    {"sgdt [bx]", {0x0f, 0x01, 0x07}},
    {"arpl ax, ax", {0x63, 0xc0}},
    {"mov cr0, eax", {0x0f, 0x22, 0xc0}},
    {"rdtsc", {0x0f, 0x31, 0x66, 0x31, 0xc0, 0x66, 0x31, 0xd2}},
};

}  // namespace

/// IRETD into virtual-8086 mode, with and without its extensions: flags by IOPL, the redirection bitmap, VIF and VIP (SDM
/// vol. 3, 20.2, 20.3).
void draw_virtual_8086(SystemDrawing& d) {
  SystemState& s = d.c.state;
  d.lower_stack();
  const bool vme = d.below(2);
  if (vme) s.cr4 |= mmu::cr4::vme, d.needs |= kNeedsVme;
  s.cr4 |= d.next() & (mmu::cr4::umip | mmu::cr4::tsd);
  const u64 drawn = fl::arithmetic | kIoplBits | fl::if_ | fl::nt | (vme ? fl::vif | fl::vip : 0);
  const u64 flags = (d.next() & drawn) | fl::vm | 2;
  // The bitmap of I/O permissions, and below it that of redirection, at the end of the TSS or beyond.
  const u64 base = d.pick<u64>({0x88, 0x88, 0x88, 0x90, 0x68}), limit = d.pick<u64>({0x200, 0x200, 0x8b, 0x8c, 0x67});
  put_word(d.c, kTssAt + 0x66, base, 2);
  put_word(d.c, kGdtAt + kTssSelector, limit, 2);
  s.tr.limit = static_cast<u32>(limit);
  for (u64 at = 0x68; at < 0x100; at += 8) put_word(d.c, kTssAt + at, d.pick<u64>({0, 0, ~u64{0}, d.next()}), 8);
  // Interrupts of an 8086 lead to the text's HLT; their table may be the user's to read.
  for (const unsigned n : {3, 4, 0x20, 0x21}) put_word(d.c, 4 * n, (kTextAt >> 4) << 16 | kVirtualEnd, 4);
  if (d.paged() && d.below(4)) put_word(d.c, d.page_entry_at(0), word_at(d.c, d.page_entry_at(0), 4) | 4, 4);
  put_gate_for_user(d, 0x20), put_gate_for_user(d, 0x21);
  const VirtualText& text = kVirtualTexts[d.below(std::size(kVirtualTexts))];
  std::copy(text.bytes.begin(), text.bytes.end(), d.c.memory.begin() + kTextAt + kVirtualText);
  d.c.memory[kTextAt + kVirtualText + text.bytes.size()] = d.c.memory[kTextAt + kVirtualEnd] = 0xf4;
  s.gpr[RAX] = (s.gpr[RAX] & ~u64{0xffff}) | (kUserDataAt >> 4);
  s.gpr[RBX] = d.below(0x100), s.gpr[RDX] = 0x2a0;  // no device
  const u64 stack = kStack3At >> 4, segment = kUserDataAt >> 4, sp = d.once_in(16) ? d.below(8) : 0x800;
  // What POPF and IRET find there.
  const u64 image = (d.next() & 0xffff & ~(d.below(8) ? u64{fl::tf} : 0)) | 2;
  put_word(d.c, kStack3At + 0x800, image, 4);
  if (std::string_view(text.name).starts_with("iret")) {
    const unsigned width = text.bytes.size() > 1 ? 4 : 2;
    const u64 words[] = {kVirtualEnd, kTextAt >> 4, image};
    for (unsigned n = 0; n < 3; ++n) put_word(d.c, kStack3At + 0x800 + n * width, words[n], width);
  }
  d.op("iretd", {0xcf});
  d.put_stack({kVirtualText, kTextAt >> 4, flags, sp, stack, segment, segment, d.next() & 0xffff, d.next() & 0xffff}, 4);
  d.say(fmt::format(" to virtual-8086 mode{} with {:#x}: {}", vme ? " (VME)" : "", flags, text.name));
}

/// Single-step, breakpoints on text and data, the shadow behind a load of SS, and DR6 afterwards.
void draw_debug(SystemDrawing& d) {
  SystemState& s = d.c.state;
  const u64 watched = d.data() + 0x20 + d.below(8);
  if (d.below(3) == 0) {
    s.dr0 = kTextAt + d.below(4);
    s.dr7 |= 3;
  } else if (d.below(2)) {
    const u64 kind = d.pick<u64>({1, 3}), length = d.pick<u64>({0, 1, 3});
    s.dr0 = watched & ~length;
    s.dr7 |= d.pick<u64>({1, 2, 3}) | kind << 16 | length << 18 | d.below(2) << 8;
  }
  if (d.once_in(4)) s.dr1 = watched, s.dr7 |= 0xc | d.pick<u64>({1, 3}) << 20;
  const bool step = d.below(2);
  if (step) s.rflags |= fl::tf;
  // Without a breakpoint it has no effect, and IRET does not keep it here (cpu/far.cpp).
  if ((s.dr7 & 0xff) && d.once_in(3)) s.rflags |= fl::rf;
  if (d.once_in(4)) s.dr6 |= d.next() & 0xf;
  d.say(fmt::format("{}dr0 {:#x}, dr7 {:#x}, dr6 {:#x}", step ? "TF, " : "", s.dr0, s.dr7, s.dr6));
  const u16 data = d.world == World::real ? static_cast<u16>(kDataAt >> 4) : s.seg[SS].selector;
  s.gpr[RAX] = (s.gpr[RAX] & ~u64{0xffff}) | data;
  switch (d.below(8)) {
    case 0: d.op32("mov ebx,", {0x8b}), d.memory(3, d.data() + 0x20); break;
    case 1: d.op32("mov [], ebx", {0x89}), d.memory(3, d.data() + 0x20); break;
    case 2: d.op("mov ss, ax", {0x8e, 0xd0}), d.op32("mov ebx,", {0x8b}), d.memory(3, d.data() + 0x20); break;
    case 3: d.op32("add [], ebx", {0x01}), d.memory(3, d.data() + 0x20), d.op("nop", {0x90}); break;
    case 4:
      s.gpr[RDI] = d.data() + 0x1e - (d.small() ? kDataAt : 0), s.gpr[RCX] = d.below(6);
      d.op("rep stosb", {0xf3, 0xaa});
      break;
    case 5: d.op("int3", {0xcc}); break;
    case 6: d.op("nop; nop", {0x90, 0x90}); break;
    default: d.op("jmp +1", {0xeb, 0x01, 0x90}), d.op32("push eax", {0x50});
  }
}

}  // namespace nestwalk::oracle
