// Cases of segments, far transfers and tasks (SDM vol. 3, 3.4, 5, 7; vol. 2, MOV, LAR, JMP, CALL, RET).
#include <fmt/format.h>

#include "test/oracle/harness/system_drawing.h"

namespace nestwalk::oracle {

using namespace cpu;

namespace {

struct Loaded {
  const char* name;
  u8 number, override;
};
constexpr Loaded kSegments[] = {{"es", 0, 0x26}, {"ss", 2, 0x36}, {"ds", 3, 0x3e}, {"fs", 4, 0x64}, {"gs", 5, 0x65}};

/// A data or code segment whose last byte is somewhere in the data, and an offset around it.
u32 draw_edge(SystemDrawing& d, u64 at) {
  const u32 base = d.pick<u32>({0, 0, static_cast<u32>(kDataAt) - 8, 0x123});  // 64 KiB from there are memory
  const bool pages = base == 0 && d.once_in(3);
  const u32 last = static_cast<u32>((kDataAt + (pages ? 0x1fff : d.below(0x2000))) - base);
  const u8 type = static_cast<u8>(d.once_in(8) ? 8 | d.below(8) : d.below(8)), dpl = d.cpl || d.once_in(4) ? 3 : 0;
  const u8 flags = static_cast<u8>((pages ? 8 : 0) | d.below(2) << 2);
  put_word(d.c, at, descriptor(base, pages ? last >> 12 : last, static_cast<u8>(0x90 | dpl << 5 | type), flags), 8);
  return last;
}

}  // namespace

/// A segment register is loaded, and something is read or written through it.
void draw_segments(SystemDrawing& d) {
  d.draw_tables();
  const Loaded& s = kSegments[d.below(std::size(kSegments))];
  const bool edge = d.world != World::real && d.below(2);
  u16 selector = d.selector();
  u32 offset = static_cast<u32>(d.data() - (d.small() ? kDataAt : 0) + d.below(0x40));
  if (edge) {
    selector = static_cast<u16>(kFree | d.cpl);
    const u32 last = draw_edge(d, kGdtAt + kFree);
    offset = static_cast<u32>(last - 4 + d.below(8));
    if (d.once_in(8) && !d.paged()) offset = d.pick<u32>({0xfffd, 0xffff, 0x10000, 0xffffffff, 0xfffffffe});
  }
  d.c.state.gpr[RAX] = (d.c.state.gpr[RAX] & ~u64{0xffff}) | selector;
  d.c.state.gpr[RDI] = offset;
  switch (d.below(4)) {
    case 0: {
      d.lower_stack();
      d.put_stack({selector, 0, 0}, d.wide() ? 8 : d.small() ? 2 : 4);
      if (s.number < 4)
        d.wide() ? d.op("mov " + std::string(s.name) + ", ax", {0x8e, static_cast<u8>(0xc0 | s.number << 3)})
                 : d.op("pop " + std::string(s.name), {static_cast<u8>(s.number << 3 | 7)});
      else
        d.op("pop " + std::string(s.name), {0x0f, static_cast<u8>(s.number == 4 ? 0xa1 : 0xa9)});
      break;
    }
    case 1:
      if (s.number == 2 || s.number >= 4 || !d.wide()) {
        const u8 second = s.number == 2 ? 0xb2 : static_cast<u8>(0xb0 | s.number);
        const unsigned width = d.small() ? 2 : 4;
        put_word(d.c, d.data() + 0x100, offset, width), put_word(d.c, d.data() + 0x100 + width, selector, 2);
        if (s.number == 0 || s.number == 3)
          d.op("l" + std::string(s.name) + " edi,", {static_cast<u8>(s.number == 0 ? 0xc4 : 0xc5)});
        else if (s.number == 2)  // a stack pointer in its place
          d.op("lss esi,", {0x0f, second});
        else
          d.op("l" + std::string(s.name) + " edi,", {0x0f, second});
        d.memory(s.number == 2 ? 6 : 7, d.data() + 0x100);
        break;
      }
      [[fallthrough]];
    default: d.op("mov " + std::string(s.name) + ", ax", {0x8e, static_cast<u8>(0xc0 | s.number << 3)});
  }
  d.say(fmt::format(" ({:#x})", selector));
  const u8 code = d.pick<u8>({0x8b, 0x8b, 0x89, 0x8a, 0x88, 0x01});
  if (d.small()) d.prefix(0x67);
  d.prefix(s.override);
  d.op32(fmt::format("{:02x} ebx, {}:[edi={:#x}]", code, s.name, offset), {code, 0x1f});
}

/// LAR, LSL, VERR, VERW, ARPL, and the loads and stores of TR and LDTR.
void draw_selectors(SystemDrawing& d) {
  d.draw_tables();
  const u16 selector = d.selector();
  d.c.state.gpr[RAX] = (d.c.state.gpr[RAX] & ~u64{0xffff}) | selector;
  switch (d.below(9)) {
    case 0: d.sized("lar", {0x0f, 0x02, 0xd8}); break;
    case 1: d.sized("lsl", {0x0f, 0x03, 0xd8}); break;
    case 2: d.op("verr ax", {0x0f, 0x00, 0xe0}); break;
    case 3: d.op("verw ax", {0x0f, 0x00, 0xe8}); break;
    case 4: d.op("lldt ax; lsl ebx, ecx", {0x0f, 0x00, 0xd0, 0x0f, 0x03, 0xd9}); break;
    case 5: d.op("ltr ax; lar ebx, eax", {0x0f, 0x00, 0xd8, 0x0f, 0x02, 0xd8}); break;
    case 6: d.sized("str", {0x0f, 0x00, 0xc8}); break;
    case 7: d.sized("sldt", {0x0f, 0x00, 0xc0}); break;
    default: d.op("arpl or movsxd", {0x63, 0xc8});
  }
  d.say(fmt::format(" ({:#x})", selector));
}

/// Far jumps, calls and returns, to segments, through gates and to tasks, with operands of each size.
void draw_far(SystemDrawing& d) {
  d.draw_tables();
  const bool real = d.world == World::real;
  // Without descriptors a selector goes with an offset.
  const u64 shift = d.below(0x40);
  const auto target = [&] { return real ? static_cast<u16>((kTextAt >> 4) + shift) : d.selector(); };
  const u16 selector = target();
  const u64 offset = real ? kSecondText - 16 * shift : d.paged() && d.once_in(16) ? d.next() : d.second();
  const u64 at = d.data() + 0x100;
  if (d.once_in(6)) d.c.state.rflags |= fl::nt;
  if (d.once_in(6)) put_word(d.c, kTssAt + 8, d.selector(), 2);  // SS0
  d.lower_stack();
  switch (d.below(d.wide() ? 3 : 5)) {
    case 0:
    case 1: {
      const bool call = d.below(2);
      const unsigned width = d.sized(call ? "lcall" : "ljmp", {0xff});
      d.memory(call ? 3 : 5, at);
      put_word(d.c, at, offset, width), put_word(d.c, at + width, selector, 2);
      break;
    }
    case 2: {
      const bool release = d.below(2);
      const u64 released = d.below(4) * 2;
      const unsigned width = d.sized(release ? "lret imm" : "lret", {static_cast<u8>(release ? 0xca : 0xcb)});
      if (release) d.immediate(released, 2), d.say(fmt::format(" {}", released));
      const u64 outer = real ? 0 : kStack3At + 0x200;
      if (release && released == 4 && width == 4)
        d.put_stack({offset, selector, 0x1234, outer, d.selector()}, width);
      else
        d.put_stack({offset, selector, outer, d.selector(), d.selector()}, width);
      break;
    }
    default: {
      const bool call = d.below(2);
      const unsigned width = d.sized(call ? "lcall direct" : "ljmp direct", {static_cast<u8>(call ? 0x9a : 0xea)});
      d.immediate(offset, width), d.immediate(selector, 2);
    }
  }
  d.say(fmt::format(" ({:#x}:{:#x})", selector, offset));
}

/// Task switches by jump, call, gate, interrupt and return, to tasks with registers at random.
void draw_tasks(SystemDrawing& d) {
  constexpr u16 kSelectors[] = {72, 76, 80, 84, 88, 92, 96};  // where a TSS has them: es, cs, ss, ds, fs, gs, ldtr
  d.draw_tables();
  const bool user = d.once_in(3);
  if (user) {
    put_word(d.c, kTss2At + 76, kCode3, 2);
    for (const u16 n : {72, 80, 84, 88, 92}) put_word(d.c, kTss2At + n, kData3, 2);
    put_word(d.c, kTss2At + 56, kStack3At + 0x400, 4);
    put_word(d.c, kTss2At + 4, kStack0At + 0xc00, 4), put_word(d.c, kTss2At + 8, kData0, 4);
  }
  if (d.below(2)) put_word(d.c, kTss2At + kSelectors[d.below(std::size(kSelectors))], d.selector(), 2);
  if (d.once_in(6)) put_word(d.c, kTss2At + 36, d.next() & 0x8d5, 4);
  if (d.once_in(8)) put_word(d.c, kTss2At + 100, 1, 1);  // T
  if (d.once_in(8)) put_word(d.c, kGdtAt + kTss2Selector, d.pick<u16>({0x66, 0x67, 0x2b, 0x2c}), 2);
  if (d.once_in(6)) put_word(d.c, kGdtAt + kTss2Selector + 5, d.pick<u8>({0x81, 0x83, 0x8b, 0x09, 0xe9}), 1);
  if (d.paged() && d.once_in(8)) put_word(d.c, kTss2At + 32, d.next(), 4);
  const u64 at = d.data() + 0x100;
  const u8 dpl = d.below(3) ? 3 : 0;
  put_word(d.c, kGdtAt + kFree, gate(kTss2Selector, 0, 5, dpl), 8);
  const u16 through = d.pick<u16>({kTss2Selector, kTss2Selector | 3, kFree, kFree | 3, kTssSelector});
  if (d.cpl && d.below(2)) put_word(d.c, kGdtAt + kTss2Selector + 5, 0xe9, 1);
  switch (d.below(d.wide() ? 1 : 4)) {
    case 0:
    case 1: {
      const bool call = d.below(2);
      d.op(call ? "lcall" : "ljmp", {0xff});
      d.memory(call ? 3 : 5, at);
      put_word(d.c, at, kTextAt, d.small() ? 2 : 4), put_word(d.c, at + (d.small() ? 2 : 4), through, 2);
      d.say(fmt::format(" ({:#x})", through));
      break;
    }
    case 2: {
      const u8 vector = d.pick<u8>({0x20, ex::bp, ex::gp});
      put_word(d.c, kIdtAt + 8 * vector, gate(kTss2Selector, 0, 5, dpl), 8);
      if (vector == ex::gp)
        d.op("mov ds, ax (0x1000)", {0x8e, 0xd8}), d.c.state.gpr[RAX] = 0x1000;
      else
        d.op(fmt::format("int {:#x} to a task", vector), {0xcd, vector});
      break;
    }
    default:
      d.c.state.rflags |= fl::nt;
      put_word(d.c, kTssAt, d.once_in(4) ? d.selector() : kTss2Selector, 2);
      if (!d.once_in(4)) put_word(d.c, kGdtAt + kTss2Selector + 5, 0x8b, 1);
      d.op("iret to a task", {0xcf});
  }
}

}  // namespace nestwalk::oracle
