// Random descriptors, gates and frames, and the instructions that read them: segment loads, far transfers, interrupts, task
// switches, LAR, LSL, VERR, VERW, LLDT, LTR, in every world and at both privilege levels.
#include <fmt/format.h>

#include "base/random.h"
#include "test/oracle/harness/system_draw.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

struct Snippet {
  const char* name;
  std::vector<u8> bytes;
  bool needs_protection = true, far_pointer = false;
};

const std::vector<Snippet>& snippets() {
  static const std::vector<Snippet> all = {
      {"mov ds, ax", {0x8e, 0xd8}, false},
      {"mov es, ax", {0x8e, 0xc0}, false},
      {"mov ss, ax", {0x8e, 0xd0}, false},
      {"mov fs, ax", {0x8e, 0xe0}, false},
      {"mov gs, ax", {0x8e, 0xe8}, false},
      {"lar ebx, eax", {0x0f, 0x02, 0xd8}},
      {"lsl ebx, eax", {0x0f, 0x03, 0xd8}},
      {"verr ax", {0x0f, 0x00, 0xe0}},
      {"verw ax", {0x0f, 0x00, 0xe8}},
      {"lldt ax", {0x0f, 0x00, 0xd0}},
      {"ltr ax", {0x0f, 0x00, 0xd8}},
      {"arpl/movsxd", {0x63, 0xc8}},
      {"ljmp [mem]", {0xff, 0x2d}, false, true},
      {"lcall [mem]", {0xff, 0x1d}, false, true},
      {"iret", {0xcf}, false},
      {"lret", {0xcb}, false},
      {"int 0x20", {0xcd, 0x20}, false},
      {"pop ds or fs", {0x0f, 0xa1}, false},
      {"pushf; popf", {0x9c, 0x9d}, false},
      {"cli; sti", {0xfa, 0xfb, 0x90}, false},
      {"clts", {0x0f, 0x06}, false},
      {"lmsw ax", {0x0f, 0x01, 0xf0}, false},
      {"smsw eax", {0x0f, 0x01, 0xe0}, false},
      {"str eax", {0x0f, 0x00, 0xc8}},
      {"sldt eax", {0x0f, 0x00, 0xc0}},
      {"ud2", {0x0f, 0x0b}, false},
      {"mov ebx, [memory]", {}, false},
      {"mov [memory], ebx", {}, false},
  };
  return all;
}

class Drawing {
 public:
  Drawing(u64 seed, u64 number) : random_(seed ^ (number + 1) * 0x9e6c63d0676a9a99) {}

  DrawnSystem draw() {
    world_ = static_cast<World>(random_.below(kWorlds));
    const bool user = world_ >= World::protected32 && random_.below(2);
    const Snippet* s = nullptr;
    do s = &snippets()[random_.below(snippets().size())];
    while (world_ == World::real && s->needs_protection);
    SystemCase c = start_of(world_, user ? 3 : 0, text_of(*s));
    for (u64& g : c.state.gpr)
      if (&g != &c.state.gpr[RSP]) g = world_ == World::long64 ? random_.next() : static_cast<u32>(random_.next());
    c.state.gpr[RAX] = (c.state.gpr[RAX] & ~u64{0xffff}) | selector();
    c.state.rflags |= random_.next() & 0x8d5;
    if (world_ != World::real) tables(c);
    pointers(c);
    put_entry_frame(c);
    return {std::move(c), world_, user ? 3u : 0u, "segments", s->name};
  }

 private:
  /// Absolute operands: RIP-relative in 64-bit mode, 16 bits wide in 16-bit modes.
  std::vector<u8> text_of(const Snippet& s) {
    std::vector<u8> t = s.bytes;
    const bool small = world_ == World::real || world_ == World::protected16;
    if (t.empty()) {
      const bool store = std::string(s.name).starts_with("mov [");
      t = {static_cast<u8>(store ? 0x89 : 0x8b), static_cast<u8>(small ? 0x1e : 0x1d)};
      const u64 places[] = {kDataAt + 0x20,       kUserDataAt + 0x20,   kUserDataAt + 0xffe,
                            kUserDataAt + 0x1010, kUserDataAt + 0x2010, kTablesAt + 8};
      append(t, small ? 0x20 + random_.below(0x10000) : places[random_.below(std::size(places))], small);
    } else if (s.far_pointer) {
      if (small) t[1] = static_cast<u8>((t[1] & 0x38) | 6);
      append(t, small ? 0x1000 : kUserDataAt + 0x100, small);
    }
    return t;
  }
  void append(std::vector<u8>& t, u64 address, bool small) {
    if (world_ == World::long64) address -= kTextAt + t.size() + 4;
    for (unsigned n = 0; n < (small ? 2u : 4u); ++n) t.push_back(static_cast<u8>(address >> (8 * n)));
  }

  u16 selector() {
    const u64 kind = random_.below(8);
    if (kind == 0) return static_cast<u16>(random_.next());
    if (kind == 1) return static_cast<u16>(random_.below(4));
    return static_cast<u16>(random_.below(kGdtEntries) << 3 | (random_.below(8) ? 0 : 4) |
                            (random_.below(3) ? random_.below(2) * 3 : random_.below(4)));
  }
  u64 entry() {
    const u8 access = static_cast<u8>((random_.below(8) ? 0x80 : 0) |
                                      (random_.below(3) ? random_.below(2) * 0x60 : random_.below(4) << 5) |
                                      (random_.below(3) ? 0x10 : 0) | random_.below(16));
    if (!(access & 0x10) && (access & 4)) {
      constexpr u16 targets[] = {kCode0, kCode3 & ~3, kWide0, kWide3 & ~3, kConforming, kTss2Selector, kData0};
      return gate(targets[random_.below(std::size(targets))], static_cast<u32>(kTextAt + 0x800), access & 15,
                  (access >> 5) & 3, static_cast<u8>(random_.below(4)));
    }
    const u32 base = random_.below(3) ? 0 : static_cast<u32>(random_.below(0x1000));
    const u8 flags = random_.below(3) ? (world_ == World::long64 && (access & 0x18) == 0x18 ? 0xa : 0xc)
                                      : static_cast<u8>(random_.below(16));
    return descriptor(base, random_.below(3) ? 0xfffff : static_cast<u32>(random_.below(0x100000)), access, flags);
  }
  void tables(SystemCase& c) {
    for (u64 n = kFree >> 3; n < kGdtEntries; ++n) put_word(c, kGdtAt + 8 * n, entry(), 8);
    for (u64 n = 0; n < 8; ++n) put_word(c, kLdtAt + 8 * n, entry(), 8);
    if (random_.below(2))
      c.state.ldtr = Segment{.selector = kLdtSelector, .base = kLdtAt, .limit = 0x3f, .type = 2, .s = false};
    const u64 at = kIdtAt + (world_ == World::long64 ? 16 : 8) * 0x20;
    put_word(
        c, at,
        gate(random_.below(2) ? (world_ == World::long64 ? kWide0 : kCode0) : selector(), static_cast<u32>(kTextAt + 0x800),
             random_.below(3) ? 14 : static_cast<u8>(random_.below(16)), static_cast<u8>(random_.below(2) * 3)),
        8);
    if (random_.below(8) == 0) c.state.rflags |= fl::nt;
  }
  /// The far pointer in memory and a frame on the stack.
  void pointers(SystemCase& c) {
    const bool small = world_ == World::real || world_ == World::protected16;
    const u64 pointer = small ? kDataAt + 0x1000 : kUserDataAt + 0x100, offset = small ? 0x800 : kTextAt + 0x800;
    const unsigned width = small ? 2 : 4;
    put_word(c, pointer, offset, width);
    put_word(c, pointer + width, selector(), 2);
    const u64 stack = small ? kDataAt + 0x800 : c.state.gpr[RSP];
    if (c.state.gpr[RSP] == kStack3At + 0x1000) c.state.gpr[RSP] -= 0x100;
    const u64 words[] = {offset, selector(), (random_.next() & 0x4cd5) | 2, kStack3At + 0x200, selector()};
    const u64 at = small ? stack : c.state.gpr[RSP];
    for (unsigned n = 0; n < 5; ++n) put_word(c, at + width * n, words[n], width);
  }

  Random random_;
  World world_ = World::real;
};

}  // namespace

DrawnSystem draw_system_case(u64 seed, u64 number) { return Drawing(seed, number).draw(); }

std::string describe(const DrawnSystem& c) {
  return fmt::format("{}, CPL {}, {}: {}", name_of(c.world), c.cpl, c.family, c.text);
}

}  // namespace nestwalk::oracle
