// Delivery of exceptions and interrupts against SDM vol. 3, chapter 6.
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {
using Source = Cpu::Source;
constexpr Trap kPageFault{.vector = ex::pf, .has_error = true, .error = 6, .address = 0xdead};
}  // namespace

TEST_CASE("real mode pushes FLAGS, CS, IP and goes through the vector table", "[exceptions]") {
  Bench b;
  auto& s = b.cpu->s;
  s.idtr = {0, 0x3ff};
  s.seg[SS].base = 0;
  s.gpr[RSP] = 0x8000;
  s.seg[CS].selector = 0x1000;
  s.rip = 0x1234;
  s.rflags |= fl::if_ | fl::tf;
  b.poke<u32>(0x21 * 4, 0xf0001230 + 4);
  b.cpu->deliver(Trap{.vector = 0x21}, Source::external);
  CHECK(s.rip == 0x1234);
  CHECK(s.seg[CS].selector == 0xf000);
  CHECK(s.seg[CS].base == 0xf0000);
  CHECK(s.gpr[RSP] == 0x7ffa);
  CHECK(b.peek<u16>(0x7ffa) == 0x1234);
  CHECK(b.peek<u16>(0x7ffc) == 0x1000);
  CHECK((b.peek<u16>(0x7ffe) & fl::if_));
  CHECK_FALSE(s.rflags & (fl::if_ | fl::tf));
}

TEST_CASE("a fault at the same level pushes EFLAGS with RF, CS, EIP and the error code", "[exceptions]") {
  Bench b;
  b.protected_mode();
  auto& s = b.cpu->s;
  b.handler(ex::pf, kHandler);
  s.rflags |= fl::if_;
  s.rip = 0x11111;
  b.cpu->deliver(kPageFault, Source::exception);
  CHECK(s.rip == kHandler);
  CHECK(s.cr2 == 0xdead);
  CHECK(s.gpr[RSP] == kStack0 - 0x100 - 16);
  CHECK(b.stack32(0) == 6);
  CHECK(b.stack32(1) == 0x11111);
  CHECK(b.stack32(2) == kCode0);
  CHECK((b.stack32(3) & fl::rf));
  CHECK_FALSE(s.rflags & (fl::if_ | fl::rf));
}

TEST_CASE("a trap gate leaves IF as it is", "[exceptions]") {
  Bench b;
  b.protected_mode();
  b.handler(3, kHandler, 15);
  b.cpu->s.rflags |= fl::if_ | fl::nt | fl::tf;
  b.cpu->deliver(Trap{.vector = 3, .after = true}, Source::software);
  CHECK((b.cpu->s.rflags & fl::if_));
  CHECK_FALSE(b.cpu->s.rflags & (fl::nt | fl::tf));
  CHECK_FALSE(b.stack32(2) & fl::rf);
}

TEST_CASE("an interrupt from level 3 switches to the TSS's stack and pushes the outer one", "[exceptions]") {
  Bench b;
  b.protected_mode(3);
  b.handler(0x40, kHandler);
  b.model.supervisor_pages.insert((kStack0 - 1) >> 12);  // the pushes are the kernel's
  b.cpu->deliver(Trap{.vector = 0x40}, Source::external);
  auto& s = b.cpu->s;
  CHECK(s.cpl == 0);
  CHECK(s.seg[SS].selector == kData0);
  CHECK(s.gpr[RSP] == kStack0 - 20);
  CHECK(b.stack32(0) == kText);
  CHECK(b.stack32(1) == kCode3);
  CHECK(b.stack32(3) == kStack3);
  CHECK(b.stack32(4) == kData3);
  CHECK_FALSE(b.port->user());
}

TEST_CASE("INT n respects the gate's privilege, exceptions do not", "[exceptions]") {
  Bench b;
  b.protected_mode(3);
  b.handler(0x40, kHandler, 14, 0);
  const Trap t = trap_of([&] { b.cpu->deliver(Trap{.vector = 0x40, .after = true}, Source::software); });
  CHECK(raises(t, ex::gp, 0x40 * 8 + 2));
  CHECK(b.cpu->s.cpl == 3);
  b.handler(0x40, kHandler, 14, 3);
  CHECK_NOTHROW(b.cpu->deliver(Trap{.vector = 0x40, .after = true}, Source::software));
}

TEST_CASE("a fault during external delivery carries EXT and is delivered itself", "[exceptions]") {
  Bench b;
  b.protected_mode();
  b.handler(ex::gp, kHandler);
  b.cpu->s.idtr.limit = 14 * 8 - 1;
  b.cpu->deliver(Trap{.vector = 0x40}, Source::external);
  CHECK(b.cpu->s.rip == kHandler);
  CHECK(b.stack32(0) == (0x40 * 8 | 2 | 1));
}

TEST_CASE("a missing gate is #NP with the IDT bit", "[exceptions]") {
  Bench b;
  b.protected_mode();
  b.handler(0x30, kHandler);
  b.poke<u8>(kIdt + 8 * 0x30 + 5, 0x0e);
  const Trap t = trap_of([&] { b.cpu->deliver(Trap{.vector = 0x30, .after = true}, Source::software); });
  CHECK(raises(t, ex::np, 0x30 * 8 + 2));
}

TEST_CASE("contributory faults make a double fault as table 6-5 says", "[exceptions]") {
  // #GP whose gate is bad: #GP on #GP. A page fault whose gate is bad: #GP on #PF. Both end in vector 8 with error 0.
  for (u8 first : {ex::gp, ex::pf}) {
    Bench b;
    b.protected_mode();
    b.handler(ex::df, kHandler);
    b.cpu->deliver(Trap{.vector = first, .has_error = true}, Source::exception);
    CHECK(b.cpu->s.rip == kHandler);
    CHECK(b.stack32(0) == 0);
    CHECK(b.stack32(1) == kText);
  }
  // A benign exception whose gate is bad is followed by an ordinary #GP.
  Bench b;
  b.protected_mode();
  b.handler(ex::gp, kHandler);
  b.cpu->deliver(Trap{.vector = ex::ud}, Source::exception);
  CHECK(b.cpu->s.rip == kHandler);
  CHECK(b.stack32(0) == (ex::ud * 8 | 2 | 1));
}

TEST_CASE("a page fault after a contributory one is served in turn", "[exceptions]") {
  Bench b;
  b.protected_mode();
  b.handler(ex::pf, kHandler);
  b.poke<u64>(kIdt + 8 * ex::gp, gate(kData3 + 0x5dd, 0, 14, 0));
  b.model.missing_pages.insert(0x7000 >> 12);
  b.cpu->s.ldtr = Segment{.base = 0x7000, .limit = 0xffff, .type = 2, .s = false};
  b.poke<u64>(kIdt + 8 * ex::gp, gate(0x0c, 0, 14, 0));  // its code segment is in an LDT that is not there
  b.cpu->deliver(Trap{.vector = ex::gp, .has_error = true}, Source::exception);
  CHECK(b.cpu->s.rip == kHandler);
  CHECK(b.cpu->s.cr2 == 0x7008);
}

TEST_CASE("a fault while delivering a double fault stops the machine", "[exceptions]") {
  Bench b;
  b.protected_mode();
  b.cpu->s.idtr.limit = 0;
  b.text({0x0f, 0x0b});
  CHECK(b.step() == Stop::triple_fault);
  REQUIRE(b.platform.notes.size() == 1);
  CHECK(b.platform.notes[0].find("triple fault") != std::string::npos);
}

TEST_CASE("delivery is paid for", "[exceptions]") {
  Bench b;
  b.protected_mode();
  b.handler(0x40, kHandler);
  const u64 before = b.clock.cycles;
  b.cpu->deliver(Trap{.vector = 0x40}, Source::external);
  CHECK(b.clock.cycles == before + 50);
  CHECK(b.port->account(false).by_cause[static_cast<unsigned>(Cause::exception)] == 50);
}

TEST_CASE("64-bit delivery aligns the stack and always pushes SS:RSP", "[exceptions]") {
  Bench b;
  b.long_mode();
  b.handler(0x40, kHandler);
  b.cpu->s.gpr[RSP] = 0x8ff9;
  b.cpu->deliver(Trap{.vector = 0x40}, Source::external);
  CHECK(b.cpu->s.gpr[RSP] == 0x8ff0 - 40);
  CHECK(b.stack(0) == kText);
  CHECK(b.stack(1) == kWide0);
  CHECK(b.stack(3) == 0x8ff9);
  CHECK(b.stack(4) == kData0);
  CHECK(b.cpu->s.seg[SS].selector == kData0);  // unchanged at the same level
}

TEST_CASE("from level 3 the 64-bit stack is RSP0 and SS becomes null", "[exceptions]") {
  Bench b;
  b.long_mode(3);
  b.handler(ex::pf, kHandler);
  b.cpu->deliver(kPageFault, Source::exception);
  CHECK(b.cpu->s.gpr[RSP] == kStack0 - 48);
  CHECK(b.stack(0) == 6);
  CHECK(b.cpu->s.seg[SS].null);
  CHECK(b.cpu->s.seg[SS].selector == 0);
  CHECK(b.cpu->s.cpl == 0);
}

TEST_CASE("an IST entry wins over the present stack at any level", "[exceptions]") {
  for (u8 cpl : {u8{0}, u8{3}}) {
    Bench b;
    b.long_mode(cpl);
    b.handler(ex::nmi, kHandler, 14, 0, 1);
    b.cpu->deliver(Trap{.vector = ex::nmi}, Source::external);
    CHECK(b.cpu->s.gpr[RSP] == kIst1 - 40);
    CHECK(b.cpu->s.nmi_blocked);
  }
}

TEST_CASE("64-bit handlers must be in 64-bit code", "[exceptions]") {
  Bench b;
  b.long_mode();
  b.handler(0x40, kHandler);
  b.poke<u16>(kIdt + 16 * 0x40 + 2, kCode0);
  const Trap t = trap_of([&] { b.cpu->deliver(Trap{.vector = 0x40, .after = true}, Source::software); });
  CHECK(raises(t, ex::gp, kCode0));
}

TEST_CASE("a push that faults leaves the interrupted state whole", "[exceptions]") {
  Bench b;
  b.long_mode(3);
  b.handler(0x40, kHandler, 14, 3);
  b.model.missing_pages.insert((kStack0 - 1) >> 12);
  const Trap t = trap_of([&] { b.cpu->deliver(Trap{.vector = 0x40, .after = true}, Source::software); });
  CHECK(t.vector == ex::pf);
  CHECK(t.error == pf::write);
  CHECK(b.cpu->s.cpl == 3);
  CHECK(b.cpu->s.seg[CS].selector == kWide3);
  CHECK(b.cpu->s.gpr[RSP] == kStack3);
  CHECK(b.port->user());
}

TEST_CASE("an interrupt in virtual-8086 mode saves and clears the data segments", "[exceptions]") {
  Bench b;
  b.protected_mode(3);
  auto& s = b.cpu->s;
  s.rflags |= fl::vm;
  const u16 selectors[kSegs] = {0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666};
  for (unsigned n = 0; n < kSegs; ++n) b.cpu->load_segment(static_cast<Seg>(n), selectors[n]);
  s.gpr[RSP] = 0xfffe;
  s.rip = 0x123;
  b.cpu->update_mode();
  b.handler(0x40, kHandler);
  b.cpu->deliver(Trap{.vector = 0x40}, Source::external);
  CHECK_FALSE(b.cpu->v8086());
  CHECK(s.gpr[RSP] == kStack0 - 36);
  const u32 expected[] = {0x123, 0x2222, 0, 0xfffe, 0x3333, 0x1111, 0x4444, 0x5555, 0x6666};
  for (unsigned n = 0; n < 9; ++n)
    if (n != 2) CHECK(b.stack32(n) == expected[n]);
  CHECK((b.stack32(2) & fl::vm));
  for (Seg n : {ES, DS, FS, GS}) CHECK(s.seg[n].null);

  // IRET takes the way back.
  b.cpu->interrupt_return(4);
  CHECK(b.cpu->v8086());
  CHECK(s.cpl == 3);
  CHECK(s.rip == 0x123);
  CHECK(s.gpr[RSP] == 0xfffe);
  for (unsigned n = 0; n < kSegs; ++n) {
    CHECK(s.seg[n].selector == selectors[n]);
    CHECK(s.seg[n].base == u64{selectors[n]} << 4);
  }
}

TEST_CASE("a debug exception sets DR6 and turns general detection off", "[exceptions]") {
  Bench b;
  b.protected_mode();
  b.handler(ex::db, kHandler);
  b.cpu->s.dr[7] |= bit(13);
  b.cpu->deliver(Trap{.vector = ex::db, .after = true, .dr6 = bit(14)}, Source::exception);
  CHECK((b.cpu->s.dr[6] & bit(14)));
  CHECK_FALSE(b.cpu->s.dr[7] & bit(13));
  CHECK_FALSE(b.stack32(2) & fl::rf);
}

// ---- task gates -----------------------------------------------------------------------------------------------------

TEST_CASE("a task gate saves the old task, loads the new one and links back; IRET returns", "[exceptions][task]") {
  Bench b;
  b.protected_mode();
  auto& s = b.cpu->s;
  b.poke<u8>(kGdt + kTss + 5, 0x8b);
  b.poke<u64>(kIdt + 8 * ex::df, gate(kTss2, 0, 5, 0));
  const u64 at = kTss2At;
  b.poke<u32>(at + 32, kHandler);
  b.poke<u32>(at + 36, 2);
  b.poke<u32>(at + 40, 0xaaaa);           // EAX
  b.poke<u32>(at + 56, kStack0 - 0x400);  // ESP
  for (unsigned n = 0; n < 6; ++n) b.poke<u32>(at + 72 + 4 * n, n == CS ? kCode0 : kData0);
  s.gpr[RAX] = 0x5555;
  const u64 old_sp = s.gpr[RSP];
  b.cpu->deliver(Trap{.vector = ex::df, .has_error = true, .error = 0}, Source::exception);
  CHECK(s.rip == kHandler);
  CHECK(s.gpr[RAX] == 0xaaaa);
  CHECK(s.gpr[RSP] == kStack0 - 0x404);  // the error code
  CHECK((s.rflags & fl::nt));
  CHECK((s.cr0 & mmu::cr0::ts));
  CHECK(s.tr.selector == kTss2);
  CHECK(b.peek<u16>(at) == kTss);
  CHECK((b.peek<u8>(kGdt + kTss2 + 5) & 15) == 11);
  CHECK((b.peek<u8>(kGdt + kTss + 5) & 15) == 11);  // still busy: it is nested
  CHECK(b.peek<u32>(kTssAt + 32) == kText);
  CHECK(b.peek<u32>(kTssAt + 40) == 0x5555);

  b.cpu->interrupt_return(4);
  CHECK(s.tr.selector == kTss);
  CHECK(s.rip == kText);
  CHECK(s.gpr[RAX] == 0x5555);
  CHECK(s.gpr[RSP] == old_sp);
  CHECK_FALSE(s.rflags & fl::nt);
  CHECK((b.peek<u8>(kGdt + kTss2 + 5) & 15) == 9);
}

TEST_CASE("a fault through a task gate saves RF for the old task, INT n does not", "[exceptions][task]") {
  for (const Source source : {Source::exception, Source::software}) {
    Bench b;
    b.protected_mode();
    b.poke<u64>(kIdt + 8 * ex::ud, gate(kTss2, 0, 5, 0));
    b.poke<u32>(kTss2At + 36, 2);
    for (unsigned n = 0; n < 6; ++n) b.poke<u32>(kTss2At + 72 + 4 * n, n == CS ? kCode0 : kData0);
    b.cpu->deliver(Trap{.vector = ex::ud, .after = source == Source::software}, source);
    CHECK(b.cpu->s.tr.selector == kTss2);
    CHECK((b.peek<u32>(kTssAt + 36) & fl::rf) == (source == Source::exception ? fl::rf : 0));
    CHECK_FALSE(b.cpu->s.rflags & fl::rf);
  }
}

TEST_CASE("a bad segment of the new task faults inside the new task", "[exceptions][task]") {
  Bench b;
  b.protected_mode();
  b.poke<u64>(kIdt + 8 * 0x40, gate(kTss2, 0, 5, 0));
  b.handler(ex::ts, kHandler);
  b.poke<u32>(kTss2At + 32, 0x30000);
  b.poke<u32>(kTss2At + 56, kStack0);
  for (unsigned n = 0; n < 6; ++n) b.poke<u32>(kTss2At + 72 + 4 * n, n == CS ? kCode0 : kData0);
  b.poke<u32>(kTss2At + 72 + 4 * DS, kTss);  // not a data segment
  b.cpu->deliver(Trap{.vector = 0x40}, Source::external);
  CHECK(b.cpu->s.tr.selector == kTss2);
  CHECK(b.cpu->s.rip == kHandler);
  CHECK(b.stack32(0) == kTss);
  CHECK(b.stack32(1) == 0x30000);
}

TEST_CASE("a task that IRET links to itself goes on with what was just saved", "[exceptions][task]") {
  Bench b;
  b.protected_mode();
  b.poke<u8>(kGdt + kTss + 5, 0x8b);
  b.poke<u16>(kTssAt, kTss);
  b.cpu->s.gpr[RBX] = 0x1234;
  b.cpu->set_rflags(b.cpu->rflags() | fl::nt);
  const u64 sp = b.cpu->s.gpr[RSP];
  b.cpu->interrupt_return(4);
  CHECK(b.cpu->s.tr.selector == kTss);
  CHECK(b.cpu->s.gpr[RBX] == 0x1234);
  CHECK(b.cpu->s.gpr[RSP] == sp);
  CHECK(b.cpu->s.seg[SS].selector == kData0);
}

namespace {
/// An interrupt through a task gate, to a task whose TSS has `selector` at `offset`; `vector` is handled at kHandler.
void enter_task(Bench& b, unsigned offset, u16 selector, u8 vector) {
  b.protected_mode();
  b.poke<u64>(kIdt + 8 * 0x40, gate(kTss2, 0, 5, 0));
  b.handler(vector, kHandler);
  b.poke<u32>(kTss2At + 4, kStack0 - 0x800), b.poke<u16>(kTss2At + 8, kData0);
  for (unsigned n = 0; n < 6; ++n) b.poke<u32>(kTss2At + 72 + 4 * n, n == CS ? kCode0 : kData0);
  b.poke<u16>(kTss2At + offset, selector);
  b.cpu->deliver(Trap{.vector = 0x40}, Source::external);
}
}  // namespace

TEST_CASE("a fault before the new task has a stack takes one from its TSS", "[exceptions][task]") {
  for (const unsigned bad : {72u + 4u * SS, 96u}) {  // SS, LDT
    Bench b;
    enter_task(b, bad, kReadOnly, ex::ts);
    CHECK(b.cpu->s.rip == kHandler);
    CHECK(b.cpu->s.cpl == 0);
    CHECK(b.stack32(0) == kReadOnly);
    CHECK(b.cpu->s.gpr[RSP] == kStack0 - 0x800 - 6 * 4);
  }
}

TEST_CASE("a new task's stack that is absent is #SS, whatever its level", "[exceptions][task]") {
  for (const u16 level : {0, 3}) {
    Bench b;
    enter_task(b, 72 + 4 * SS, static_cast<u16>(kAbsent | level), ex::ss);
    CHECK(b.cpu->s.rip == kHandler);
    CHECK(b.stack32(0) == kAbsent);
  }
}

TEST_CASE("a busy task cannot be entered again", "[exceptions][task]") {
  Bench b;
  b.protected_mode();
  b.poke<u64>(kIdt + 8 * 0x40, gate(kTss2, 0, 5, 3));
  b.poke<u8>(kGdt + kTss2 + 5, 0x8b);
  const Trap t = trap_of([&] { b.cpu->deliver(Trap{.vector = 0x40, .after = true}, Source::software); });
  CHECK(raises(t, ex::gp, kTss2));
  b.poke<u8>(kGdt + kTss2 + 5, 0x89);
  b.poke<u16>(kGdt + kTss2, 0x66);  // one byte too short
  CHECK(raises(trap_of([&] { b.cpu->deliver(Trap{.vector = 0x40, .after = true}, Source::software); }), ex::ts, kTss2));
}

}  // namespace nestwalk::bench
