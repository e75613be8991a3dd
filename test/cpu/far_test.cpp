// Far JMP, CALL, RET and IRET against SDM vol. 2 and vol. 3, 5.8.
#include "cpu/descriptor.h"
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {
constexpr u8 rpl(u16 selector) { return selector & 3; }
}  // namespace

TEST_CASE("a far jump in real mode sets CS to selector * 16", "[far]") {
  Bench b;
  b.cpu->far_jump(0x2000, 0x10010, 2);  // 16-bit operand size drops the upper half
  CHECK(b.cpu->s.seg[CS].base == 0x20000);
  CHECK(b.cpu->s.rip == 0x10);
  CHECK(raises(trap_of([&] { b.cpu->far_jump(0x2000, 0x10010, 4); }), ex::gp, 0));
}

TEST_CASE("the jump behind MOV CR0 enters 32-bit code", "[far]") {
  Bench b;
  b.tables();
  b.cpu->s.cr0 |= mmu::cr0::pe;
  CHECK(b.cpu->code_size() == CodeSize::k16);
  b.cpu->far_jump(kCode0, 0x54321, 4);
  CHECK(b.cpu->code_size() == CodeSize::k32);
  CHECK(b.cpu->s.rip == 0x54321);
}

TEST_CASE("a jump to 64-bit code enters 64-bit mode, one to 32-bit code compatibility mode", "[far]") {
  Bench b;
  b.long_mode();
  b.cpu->far_jump(kCode0, 0x1000, 4);
  CHECK(b.cpu->code_size() == CodeSize::k32);
  b.cpu->far_jump(kWide0, 0x1000, 4);
  CHECK(b.cpu->long64());
  b.poke(kGdt + kWide0, code64(0) | bit(54));  // L and D
  CHECK(raises(trap_of([&] { b.cpu->far_jump(kWide0, 0x1000, 4); }), ex::gp, kWide0));
}

TEST_CASE("direct transfers keep the privilege level", "[far]") {
  Bench b;
  b.protected_mode(3);
  CHECK(raises(trap_of([&] { b.cpu->far_jump(kCode0, 0, 4); }), ex::gp, kCode0));
  b.cpu->far_jump(kConforming, 0x100, 4);  // conforming code is borrowed at CPL 3
  CHECK(b.cpu->s.cpl == 3);
  CHECK(b.cpu->s.seg[CS].selector == (kConforming | 3));
  CHECK(raises(trap_of([&] { b.cpu->far_jump(0, 0, 4); }), ex::gp, 0));
  CHECK(raises(trap_of([&] { b.cpu->far_jump(kData3, 0, 4); }), ex::gp, kData3 & 0xfffc));
}

TEST_CASE("the target must lie inside the segment or be canonical", "[far]") {
  Bench b;
  b.protected_mode();
  CHECK(raises(trap_of([&] { b.cpu->far_jump(kCode16, 0x10000, 4); }), ex::gp, 0));
  CHECK(b.cpu->s.seg[CS].selector == kCode0);
  Bench w;
  w.long_mode();
  CHECK(raises(trap_of([&] { w.cpu->far_jump(kWide0, bit(47), 8); }), ex::gp, 0));
}

TEST_CASE("a far call pushes CS and EIP, RETF releases parameters", "[far]") {
  Bench b;
  b.protected_mode();
  const u64 sp = b.cpu->s.gpr[RSP];
  b.cpu->far_call(kCode0, kHandler, 4);
  CHECK(b.cpu->s.gpr[RSP] == sp - 8);
  CHECK(b.stack32(0) == kText);
  CHECK(b.stack32(1) == kCode0);
  b.cpu->far_return(4, 12);
  CHECK(b.cpu->s.rip == kText);
  CHECK(b.cpu->s.gpr[RSP] == sp + 12);
}

TEST_CASE("a 32-bit PUSH of a segment register writes two bytes", "[far]") {
  Bench b;
  b.protected_mode();
  const u64 top = b.cpu->s.gpr[RSP] - 4;
  b.poke<u32>(top, 0xaabbccdd);
  b.text({0x06});  // push es
  b.step();
  CHECK(b.cpu->s.gpr[RSP] == top);
  CHECK(b.peek<u32>(top) == (0xaabb0000u | kData0));
}

TEST_CASE("a call that faults on its second push leaves the stack pointer", "[far]") {
  Bench b;
  b.protected_mode();
  b.cpu->s.gpr[RSP] = 0x8004;
  b.model.missing_pages.insert(7);
  CHECK(trap_of([&] { b.cpu->far_call(kCode0, kHandler, 4); }).vector == ex::pf);
  CHECK(b.cpu->s.gpr[RSP] == 0x8004);
  CHECK(b.cpu->s.seg[CS].selector == kCode0);
}

TEST_CASE("a call gate switches stacks, copies parameters, and RETF goes back", "[far]") {
  Bench b;
  b.protected_mode(3);
  auto& s = b.cpu->s;
  b.poke(kGdt + kGate, gate(kCode0, kHandler, 12, 3, 2));
  b.poke<u32>(kStack3, 0x11);
  b.poke<u32>(kStack3 + 4, 0x22);
  b.cpu->far_call(kGate, 0xbad, 4);
  CHECK(s.cpl == 0);
  CHECK(s.rip == kHandler);
  CHECK(s.gpr[RSP] == kStack0 - 24);
  const u32 expected[] = {kText, kCode3, 0x11, 0x22, kStack3, kData3};
  for (unsigned n = 0; n < 6; ++n) CHECK(b.stack32(n) == expected[n]);
  b.cpu->load_segment(ES, kData0);
  b.cpu->far_return(4, 8);
  CHECK(s.cpl == 3);
  CHECK(s.rip == kText);
  CHECK(s.gpr[RSP] == kStack3 + 8);
  CHECK(s.seg[ES].null);  // a level-0 segment is not for level 3
  CHECK_FALSE(s.seg[DS].null);
}

TEST_CASE("gates check their own privilege and presence", "[far]") {
  Bench b;
  b.protected_mode(3);
  b.poke(kGdt + kGate, gate(kCode0, kHandler, 12, 0));
  CHECK(raises(trap_of([&] { b.cpu->far_call(kGate, 0, 4); }), ex::gp, kGate));
  b.poke(kGdt + kGate, gate(kCode0, kHandler, 12, 3) & ~bit(47));
  CHECK(raises(trap_of([&] { b.cpu->far_call(kGate, 0, 4); }), ex::np, kGate));
  b.poke(kGdt + kGate, gate(0, kHandler, 12, 3));
  CHECK(raises(trap_of([&] { b.cpu->far_call(kGate, 0, 4); }), ex::gp, 0));
  b.poke(kGdt + kGate, gate(kCode0, kHandler, 12, 3));
  CHECK(raises(trap_of([&] { b.cpu->far_jump(kGate, 0, 4); }), ex::gp, kCode0));  // JMP may not change level
}

TEST_CASE("the inner stack of a gate is checked as #TS", "[far]") {
  Bench b;
  b.protected_mode(3);
  b.poke<u16>(kTssAt + 8, kData3);
  CHECK(raises(trap_of([&] { b.cpu->far_call(kGate, 0, 4); }), ex::ts, kData3 & 0xfffc));
  b.poke<u16>(kTssAt + 8, 0);
  CHECK(raises(trap_of([&] { b.cpu->far_call(kGate, 0, 4); }), ex::ts, 0));
  b.cpu->s.tr.limit = 8;
  CHECK(raises(trap_of([&] { b.cpu->far_call(kGate, 0, 4); }), ex::ts, kTss));
}

TEST_CASE("a 64-bit call gate has sixteen bytes and eight-byte pushes", "[far]") {
  Bench b;
  b.long_mode(3);
  b.poke(kGdt + kGate, gate(kWide0, kHandler, 12, 3));
  b.poke<u64>(kGdt + kGate + 8, 0xffff8000);
  b.cpu->far_call(kGate, 0, 4);
  CHECK(b.cpu->s.rip == (0xffff800000000000 | kHandler));
  CHECK(b.cpu->s.gpr[RSP] == kStack0 - 32);
  CHECK(b.stack(0) == kText);
  CHECK(b.stack(1) == kWide3);
  CHECK(b.stack(2) == kStack3);
  CHECK(b.stack(3) == kData3);
  CHECK(b.cpu->s.seg[SS].null);
}

TEST_CASE("a far call to a TSS nests the task", "[far][task]") {
  Bench b;
  b.protected_mode();
  b.poke<u8>(kGdt + kTss + 5, 0x8b);
  b.poke<u32>(kTss2At + 32, kHandler);
  b.poke<u32>(kTss2At + 56, kStack0);
  for (unsigned n = 0; n < 6; ++n) b.poke<u32>(kTss2At + 72 + 4 * n, n == CS ? kCode0 : kData0);
  b.cpu->far_call(kTss2, 0, 4);
  CHECK(b.cpu->s.tr.selector == kTss2);
  CHECK((b.cpu->s.rflags & fl::nt));
  b.cpu->interrupt_return(4);
  CHECK(b.cpu->s.tr.selector == kTss);
  // A jump through a task gate does not nest: the old task becomes available.
  b.cpu->far_jump(kTask, 0, 4);
  CHECK(b.cpu->s.tr.selector == kTss2);
  CHECK_FALSE(b.cpu->s.rflags & fl::nt);
  CHECK((b.peek<u8>(kGdt + kTss + 5) & 15) == 9);
}

TEST_CASE("a TSS in the LDT is none, be it present or not", "[far][task]") {
  for (const u8 access : {0x89, 0x09}) {
    Bench b;
    b.protected_mode();
    b.cpu->s.ldtr = Segment{.selector = kLdt, .base = kGdt, .limit = 0xff, .type = sys::ldt, .s = false};
    b.poke<u8>(kGdt + kTss2 + 5, access);
    CHECK(raises(trap_of([&] { b.cpu->far_jump(kTss2 | 4, 0, 4); }), ex::gp, kTss2 | 4));
    CHECK(raises(trap_of([&] { b.cpu->far_call(kTss2 | 4, 0, 4); }), ex::gp, kTss2 | 4));
  }
}

// ---- IRET -----------------------------------------------------------------------------------------------------------

namespace {
void push_frame(Bench& b, std::initializer_list<u32> words) {
  unsigned n = 0;
  for (u32 w : words) b.poke<u32>(b.cpu->s.gpr[RSP] + 4 * n++, w);
}
void push_wide_frame(Bench& b, std::initializer_list<u64> words) {
  unsigned n = 0;
  for (u64 w : words) b.poke<u64>(b.cpu->s.gpr[RSP] + 8 * n++, w);
}
}  // namespace

TEST_CASE("IRET at level 3 can change neither IF nor IOPL", "[far][iret]") {
  Bench b;
  b.protected_mode(3);
  b.cpu->s.rflags |= fl::if_;
  push_frame(b, {0x1000, kCode3, fl::iopl | fl::cf | fl::id});
  b.cpu->interrupt_return(4);
  CHECK((b.cpu->s.rflags & fl::if_));
  CHECK_FALSE(b.cpu->s.rflags & fl::iopl);
  CHECK((b.cpu->s.rflags & fl::id));
  CHECK(b.cpu->s.flags.cf());
}

TEST_CASE("IRETQ returns to level 3 and nulls kernel segments", "[far][iret]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  push_wide_frame(b, {0x400000, kWide3, fl::if_ | fl::fixed, 0x7fff0000, kData3});
  s.seg[FS].null = true;
  s.seg[FS].base = 0x12345678;
  b.cpu->interrupt_return(8);
  CHECK(s.cpl == 3);
  CHECK(s.rip == 0x400000);
  CHECK(s.gpr[RSP] == 0x7fff0000);
  CHECK(s.seg[SS].selector == kData3);
  CHECK(s.seg[DS].null);
  CHECK(s.seg[FS].base == 0x12345678);  // a null segment's base is the thread pointer: it stays
  CHECK((s.rflags & fl::if_));
  CHECK(b.port->user());
}

TEST_CASE("IRETQ to compatibility mode takes the 32-bit stack pointer", "[far][iret]") {
  Bench b;
  b.long_mode();
  push_wide_frame(b, {0x400000, kCode3, fl::fixed, 0xffffffff12345678, kData3});
  b.cpu->interrupt_return(8);
  CHECK(b.cpu->code_size() == CodeSize::k32);
  CHECK(b.cpu->s.gpr[RSP] == 0x12345678);
}

TEST_CASE("IRETQ refuses bad frames before anything changes", "[far][iret]") {
  Bench b;
  b.long_mode();
  const u64 sp = b.cpu->s.gpr[RSP];
  push_wide_frame(b, {bit(47), kWide3, fl::fixed, 0x7fff0000, kData3});
  CHECK(raises(trap_of([&] { b.cpu->interrupt_return(8); }), ex::gp, 0));
  push_wide_frame(b, {0x1000, kWide3, fl::fixed, 0x7fff0000, 0});
  CHECK(raises(trap_of([&] { b.cpu->interrupt_return(8); }), ex::gp, 0));  // null SS at level 3
  push_wide_frame(b, {0x1000, kWide3, fl::fixed, 0x7fff0000, kData0});
  CHECK(raises(trap_of([&] { b.cpu->interrupt_return(8); }), ex::gp, kData0));
  b.cpu->s.rflags |= fl::nt;
  CHECK(raises(trap_of([&] { b.cpu->interrupt_return(8); }), ex::gp, 0));
  CHECK(b.cpu->s.gpr[RSP] == sp);
  CHECK(b.cpu->s.cpl == 0);
  CHECK(b.cpu->s.seg[CS].selector == kWide0);
}

TEST_CASE("a kernel thread on a null SS returns to itself", "[far][iret]") {
  Bench b;
  b.long_mode();
  push_wide_frame(b, {0x1000, kWide0, fl::fixed, 0x8800, 0});
  b.cpu->interrupt_return(8);
  CHECK(b.cpu->s.seg[SS].null);
  CHECK(b.cpu->s.gpr[RSP] == 0x8800);
}

TEST_CASE("IRET lets NMIs in again", "[far][iret]") {
  Bench b;
  b.protected_mode();
  b.cpu->s.nmi_blocked = true;
  push_frame(b, {0x1000, kCode0, fl::fixed});
  b.cpu->interrupt_return(4);
  CHECK_FALSE(b.cpu->s.nmi_blocked);
}

TEST_CASE("in virtual-8086 mode IRET needs IOPL 3, or VME and 16 bits", "[far][iret]") {
  Bench b;
  b.protected_mode(3);
  auto& s = b.cpu->s;
  s.rflags |= fl::vm;
  b.cpu->load_segment(SS, 0);
  b.cpu->update_mode();
  s.gpr[RSP] = 0x7000;
  b.poke<u16>(0x7000, 0x44);
  b.poke<u16>(0x7002, 0x1000);
  b.poke<u16>(0x7004, fl::if_);
  CHECK(raises(trap_of([&] { b.cpu->interrupt_return(2); }), ex::gp, 0));
  s.cr4 |= mmu::cr4::vme;
  b.cpu->interrupt_return(2);
  CHECK(s.rip == 0x44);
  CHECK((s.rflags & fl::vif));
  CHECK_FALSE(s.rflags & fl::if_);
  CHECK(b.cpu->v8086());
}

// ---- garbage --------------------------------------------------------------------------------------------------------

TEST_CASE("whatever lies in the tables, transfers end in a consistent state or a fault", "[far][garbage]") {
  Random random(7);
  Bench b;
  for (unsigned round = 0; round < 3000; ++round) {
    const bool wide = round & 1;
    const u8 level = round & 2 ? 3 : 0;
    b.cpu->s = State{};
    wide ? b.long_mode(level) : b.protected_mode(level);
    auto& s = b.cpu->s;
    // Descriptors, gates and the TSS at random, mostly present so that the deeper checks are reached.
    for (unsigned n = 2; n < 20; ++n) b.poke<u64>(kGdt + 8 * n, random.next() | (random.below(4) ? bit(47) : 0));
    for (unsigned n = 0; n < 64; ++n)
      b.poke<u64>(kIdt + 8 * n, random.next() & ~(random.below(2) ? 0xffff0000ff000000 : 0));
    for (unsigned n = 0; n < 13; ++n) b.poke<u64>(kTssAt + 8 * n, random.next() & (random.below(2) ? ~u64{0} : 0x3fff));
    for (unsigned n = 0; n < 6; ++n) b.poke<u32>(s.gpr[RSP] + 4 * n, static_cast<u32>(random.next() & 0xff));
    s.rflags = (s.rflags & ~u64{fl::nt}) | (random.below(8) ? 0 : fl::nt);
    const u16 selector = static_cast<u16>(random.below(20) << 3 | random.below(8));
    const unsigned width = 2u << random.below(wide ? 3 : 2);
    const u8 before = s.cpl;
    const Trap t = trap_of([&] {
      switch (random.below(6)) {
        case 0: return b.cpu->far_jump(selector, random.below(0x10000), width);
        case 1: return b.cpu->far_call(selector, random.below(0x10000), width);
        case 2: return b.cpu->far_return(width, static_cast<u16>(random.below(64)));
        case 3: return b.cpu->interrupt_return(width);
        case 4: return b.cpu->load_segment(static_cast<Seg>(random.below(2) ? SS : DS), selector);
        default: return b.cpu->deliver(Trap{.vector = static_cast<u8>(random.below(32))}, Cpu::Source::software);
      }
    });
    CHECK(s.gpr[kZero] == 0);
    CHECK(b.port->user() == (s.cpl == 3));
    if (!b.cpu->v8086() && !s.seg[CS].null) CHECK(rpl(s.seg[CS].selector) == s.cpl);
    if (t.vector != 255) CHECK(s.cpl == before);
  }
}

}  // namespace nestwalk::bench
