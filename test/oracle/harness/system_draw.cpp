#include "test/oracle/harness/system_draw.h"

#include <fmt/format.h>

#include "test/oracle/harness/system_drawing.h"

namespace nestwalk::oracle {

using namespace cpu;

// ---- the drawing hand

SystemDrawing::SystemDrawing(u64 seed, u64 number) : random_(seed ^ (number + 1) * 0x9e6c63d0676a9a99) {
  world = pick({World::real, World::protected16, World::protected32, World::paged32, World::pae32, World::long64,
                World::long64, World::long64});
  cpl = world >= World::protected32 && below(2) ? 3 : 0;
  c = start_of(world, cpl, {});
  for (u64& g : c.state.gpr)
    if (&g != &c.state.gpr[RSP]) g = world == World::long64 ? next() : static_cast<u32>(next());
  c.state.rflags |= next() & fl::arithmetic;
  if (once_in(8)) c.state.cr0 |= mmu::cr0::am, c.state.rflags |= fl::ac;
  for (const u64 page : {kDataAt, kUserDataAt, kUserDataAt + 0x2000})
    for (u64 n = 0; n < 64; n += 8) put_word(c, page + n, next(), 8), put_word(c, page + 0xfc0 + n, next(), 8);
}

DrawnSystem SystemDrawing::finish(const char* family) && {
  put_text(c, code_);
  put_entry_frame(c);
  return {std::move(c), world, cpl, family, std::move(text_), needs};
}

u16 SystemDrawing::selector() {
  const u64 kind = below(8);
  if (world == World::real) return static_cast<u16>((kDataAt >> 4) + below(0x40));
  if (kind == 0) return static_cast<u16>(next());
  if (kind == 1) return static_cast<u16>(below(4));
  return static_cast<u16>(below(kGdtEntries) << 3 | (below(8) ? 0 : 4) | (below(3) ? below(2) * 3 : below(4)));
}

u64 SystemDrawing::entry() {
  const u8 access = static_cast<u8>((below(8) ? 0x80 : 0) | (below(3) ? below(2) * 0x60 : below(4) << 5) |
                                    (below(3) ? 0x10 : 0) | below(16));
  if (!(access & 0x10) && (access & 4)) {
    const u16 target = pick<u16>({kCode0, kCode3 & ~3, kWide0, kWide3 & ~3, kConforming, kTss2Selector, kData0});
    return gate(target, static_cast<u32>(kTextAt + kSecondText), access & 15, (access >> 5) & 3, static_cast<u8>(below(4)));
  }
  const u32 base = below(3) ? 0 : static_cast<u32>(below(0x1000));
  const bool wide_code = wide() && (access & 0x18) == 0x18;
  const u8 flags = below(3) ? (wide_code ? 0xa : 0xc) : static_cast<u8>(below(16));
  return descriptor(base, below(3) ? 0xfffff : static_cast<u32>(below(0x100000)), access, flags);
}

void SystemDrawing::draw_tables() {
  if (world == World::real) return;
  for (u64 n = kFree >> 3; n < kGdtEntries; ++n) put_word(c, kGdtAt + 8 * n, entry(), 8);
  for (u64 n = 0; n < 8; ++n) put_word(c, kLdtAt + 8 * n, entry(), 8);
  if (below(2)) c.state.ldtr = Segment{.selector = kLdtSelector, .base = kLdtAt, .limit = 0x3f, .type = 2, .s = false};
}

u64 SystemDrawing::number() {
  switch (below(4)) {
    case 0: return below(16);
    case 1: return ~below(16);
    default: return next();
  }
}

void SystemDrawing::lower_stack() { c.state.gpr[RSP] -= cpl == 3 || wide() ? 0x100 : 0x40; }

void SystemDrawing::put_stack(std::initializer_list<u64> words, unsigned width) {
  u64 at = stack();
  for (const u64 w : words) put_word(c, at, w, width), at += width;
}

u64 SystemDrawing::page_entry_at(u64 linear) const {
  const u64 leaf = kTablesAt + (wide() ? 0x3000 : world == World::pae32 ? 0x2000 : 0x1000);
  return leaf + (linear >> 12) * (wide_entries() ? 8 : 4);
}

void SystemDrawing::op(const std::string& name, std::initializer_list<u8> bytes) {
  text_ += (text_.empty() ? "" : "; ") + name;
  code_.insert(code_.end(), bytes);
}
void SystemDrawing::op32(const std::string& name, std::initializer_list<u8> bytes) {
  if (small()) prefix(0x66);
  op(name, bytes);
}
unsigned SystemDrawing::sized(const std::string& name, std::initializer_list<u8> bytes, bool wide_by_itself) {
  unsigned width = small() ? 2 : wide() && wide_by_itself ? 8 : 4;
  if (wide() && !wide_by_itself && below(2)) {
    prefix(0x48);
    width = 8;
  } else if (once_in(4)) {
    prefix(0x66);
    width = small() ? 4 : 2;
  }
  op(fmt::format("{}{}", name, 8 * width), bytes);
  return width;
}
void SystemDrawing::memory(u8 reg, u64 linear) {
  const u64 offset = linear - (small() ? kDataAt : 0);
  code_.push_back(static_cast<u8>(reg << 3 | (small() ? 6 : wide() ? 4 : 5)));
  if (wide()) code_.push_back(0x25);
  immediate(offset, small() ? 2 : 4);
  text_ += fmt::format(" [{:#x}]", offset);
}
void SystemDrawing::immediate(u64 value, unsigned bytes) {
  for (unsigned n = 0; n < bytes; ++n) code_.push_back(static_cast<u8>(value >> (8 * n)));
}

// ---- cases

namespace {

struct Family {
  const char* name;
  void (*draw)(SystemDrawing&);
  bool in_real = true;
};
constexpr Family kFamilies[] = {{"segments", draw_segments},
                                {"selectors", draw_selectors, false},
                                {"far", draw_far},
                                {"tasks", draw_tasks, false},
                                {"interrupts", draw_interrupts},
                                {"returns", draw_returns},
                                {"flags", draw_flags},
                                {"virtual-8086", draw_virtual_8086, false},
                                {"privileged", draw_privileged},
                                {"debug", draw_debug},
                                {"registers", draw_registers},
                                {"model-specific", draw_model_specific},
                                {"system calls", draw_system_calls},
                                {"table registers", draw_table_registers},
                                {"ports", draw_ports},
                                {"pages", draw_pages, false},
                                {"strings", draw_strings},
                                {"stacks", draw_stacks}};

bool may_draw(const SystemDrawing& d, const Family& f) {
  if (f.draw == draw_pages) return d.paged();
  if (f.draw == draw_virtual_8086) return d.cpl == 0 && !d.small() && !d.wide();
  return f.in_real || d.world != World::real;
}

}  // namespace

DrawnSystem draw_system_case(u64 seed, u64 number) {
  SystemDrawing d(seed, number);
  const Family* f = nullptr;
  do f = &kFamilies[d.below(std::size(kFamilies))];
  while (!may_draw(d, *f));
  f->draw(d);
  return std::move(d).finish(f->name);
}

std::string describe(const DrawnSystem& c) {
  return fmt::format("{}, CPL {}, {}: {}", name_of(c.world), c.cpl, c.family, c.text);
}

}  // namespace nestwalk::oracle
