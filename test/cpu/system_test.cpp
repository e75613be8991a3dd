// System instructions, executed from their bytes: decoder, table, meaning, run loop.
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {

/// Runs one instruction; the vector of the exception it raised, or 255. All vectors lead to kHandler + 16 * vector.
u8 execute(Bench& b, const std::vector<u8>& bytes) {
  for (unsigned v = 0; v < 32; ++v) {
    b.handler(static_cast<u8>(v), static_cast<u32>(kHandler + 16 * v));
    b.poke<u32>(kHandler + 16 * v, 0x90909090);  // NOPs: a fault does not retire, so the step goes on in the handler
  }
  b.text(bytes);
  b.step();
  const u64 rip = b.cpu->s.rip;
  return rip >= kHandler && rip < kHandler + 16 * 32 ? static_cast<u8>((rip - kHandler) / 16) : 255;
}

}  // namespace

TEST_CASE("IN and OUT in their six widths and forms", "[system][io]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  s.gpr[RAX] = 0x1122334455667788;
  s.gpr[RDX] = 0xffff03f8;
  CHECK(execute(b, {0xee}) == 255);        // OUT DX, AL
  CHECK(execute(b, {0x66, 0xef}) == 255);  // OUT DX, AX
  CHECK(execute(b, {0xe7, 0x80}) == 255);  // OUT 80H, EAX
  REQUIRE(b.platform.writes.size() == 3);
  CHECK(b.platform.writes[0].port == 0x3f8);
  CHECK(b.platform.writes[0].value == 0x88);
  CHECK(b.platform.writes[0].bytes == 1);
  CHECK(b.platform.writes[1].value == 0x7788);
  CHECK(b.platform.writes[2].port == 0x80);
  CHECK(b.platform.writes[2].value == 0x55667788);
  CHECK(b.platform.writes[2].bytes == 4);
  CHECK(execute(b, {0xe4, 0x60}) == 255);  // IN AL, 60H
  CHECK(s.gpr[RAX] == 0x11223344556677a0);
  CHECK(execute(b, {0x66, 0xed}) == 255);  // IN AX, DX
  CHECK(s.gpr[RAX] == 0x11223344556600a1);
  CHECK(execute(b, {0xed}) == 255);  // IN EAX, DX
  CHECK(s.gpr[RAX] == 0xa2);
  CHECK(b.platform.reads[2].bytes == 4);
  CHECK(b.port->account(false).by_cause[static_cast<unsigned>(Cause::mmio)] == 6 * b.port->mmio_cycles);
}

TEST_CASE("the I/O permission bitmap opens single ports to level 3", "[system][io]") {
  Bench b;
  b.long_mode(3);
  b.cpu->s.tr.limit = 0x68 + 0x100;
  for (unsigned n = 0; n < 0x100; ++n) b.poke<u8>(kTssAt + 0x68 + n, 0xff);
  b.poke<u8>(kTssAt + 0x68 + 0x60 / 8, 0xfe);
  b.poke<u8>(kTssAt + 0x68 + 0x3f8 / 8, 0x00);
  b.cpu->s.gpr[RDX] = 0x60;
  CHECK(execute(b, {0xec}) == 255);
  CHECK(b.platform.reads.size() == 1);
  Bench c;
  c.long_mode(3);
  CHECK(execute(c, {0xe4, 0x60}) == ex::gp);  // no bitmap inside the limit
  Bench d;
  d.long_mode(3);
  d.cpu->s.rflags |= fl::iopl;
  CHECK(execute(d, {0xe4, 0x60}) == 255);
  Bench e;
  e.long_mode(3);
  e.cpu->s.tr.limit = 0x68 + 0x100;
  e.poke<u8>(kTssAt + 0x68 + 0x60 / 8, 0xfc);  // a word at 60H needs both bits clear
  CHECK(execute(e, {0x66, 0xe5, 0x60}) == 255);
  e.poke<u8>(kTssAt + 0x68 + 0x60 / 8, 0x02);
  e.long_mode(3);
  e.cpu->s.tr.limit = 0x68 + 0x100;
  CHECK(execute(e, {0x66, 0xe5, 0x60}) == ex::gp);
}

TEST_CASE("REP OUTSB goes on after 256 elements and ends with RCX zero", "[system][io]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  for (unsigned n = 0; n < 600; ++n) b.poke<u8>(0x30000 + n, static_cast<u8>(n));
  s.gpr[RCX] = 600;
  s.gpr[RSI] = 0x30000;
  s.gpr[RDX] = 0xe9;
  // An interrupt that comes up during the first round is taken between two elements.
  b.handler(0x40, kHandler);
  b.poke<u32>(kHandler, 0x90909090);
  s.rflags |= fl::if_;
  b.platform.interrupt = 0x40;
  b.cpu->set_interrupt(false);
  b.clock.at(b.clock.now() + 1, [&] { b.cpu->set_interrupt(true); });
  b.text({0xf3, 0x6e, 0x90});
  b.step();
  CHECK(b.stack(0) == kText);
  CHECK(s.gpr[RCX] == 344);
  CHECK(b.clock.instructions == 1);  // the NOP; OUTSB has not retired
  b.cpu->set_interrupt(false);
  s.rip = kText;
  b.step();
  CHECK(s.rip == kText + 2);
  CHECK(s.gpr[RCX] == 0);
  CHECK(s.gpr[RSI] == 0x30000 + 600);
  REQUIRE(b.platform.writes.size() == 600);
  CHECK(b.platform.writes[599].value == (599 & 0xff));
}

TEST_CASE("a fault in the middle of REP INSD finds the registers at the element that failed", "[system][io]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  b.model.missing_pages.insert(0x31);
  s.gpr[RCX] = 8;
  s.gpr[RDI] = 0x30ff8;
  s.gpr[RDX] = 0x1f0;
  CHECK(execute(b, {0xf3, 0x6d}) == ex::pf);
  CHECK(s.gpr[RCX] == 6);
  CHECK(s.gpr[RDI] == 0x31000);
  CHECK(b.platform.reads.size() == 2);  // nothing was taken from the device for the third
  CHECK(b.peek<u32>(0x30ffc) == 0xa1);
  CHECK(b.stack(1) == kText);
}

TEST_CASE("SYSCALL saves RIP and RFLAGS, masks, and SYSRET undoes it", "[system][syscall]") {
  Bench b;
  b.long_mode(3);
  auto& s = b.cpu->s;
  s.star = u64{0x23} << 48 | u64{0x10} << 32;
  s.lstar = 0xffff800000001000;
  s.sfmask = fl::if_ | fl::df;
  s.rflags |= fl::if_;
  CHECK(execute(b, {0x0f, 0x05}) == 255);
  CHECK(s.rip == s.lstar);
  CHECK(s.gpr[RCX] == kText + 2);
  CHECK((s.gpr[R11] & fl::if_));
  CHECK_FALSE(s.rflags & fl::if_);
  CHECK(s.cpl == 0);
  CHECK(s.seg[CS].selector == 0x10);
  CHECK(s.seg[SS].selector == 0x18);
  CHECK_FALSE(b.port->user());
  CHECK(execute(b, {0x48, 0x0f, 0x07}) == 255);
  CHECK(s.rip == kText + 2);
  CHECK(s.cpl == 3);
  CHECK(s.seg[CS].selector == 0x33);
  CHECK(s.seg[SS].selector == 0x2b);
  CHECK((s.rflags & fl::if_));
  CHECK(b.cpu->long64());
}

TEST_CASE("SYSRET without REX.W goes to compatibility mode", "[system][syscall]") {
  Bench b;
  b.long_mode();
  b.cpu->s.star = u64{0x23} << 48;
  b.cpu->s.gpr[RCX] = 0xffffffff00001234;
  b.cpu->s.gpr[R11] = fl::fixed;
  CHECK(execute(b, {0x0f, 0x07}) == 255);
  CHECK(b.cpu->s.rip == 0x1234);
  CHECK(b.cpu->s.seg[CS].selector == 0x23);
  CHECK(b.cpu->code_size() == CodeSize::k32);
}

TEST_CASE("SYSRET to a non-canonical address faults on Intel at level 0, on AMD not at all", "[system][syscall]") {
  Bench intel, amd("[cpu]\nmodel = zen2\n");
  for (Bench* b : {&intel, &amd}) {
    b->long_mode();
    b->cpu->s.star = u64{0x23} << 48;
    b->cpu->s.gpr[RCX] = bit(47);
    b->cpu->s.gpr[R11] = fl::fixed;
  }
  CHECK(execute(intel, {0x48, 0x0f, 0x07}) == ex::gp);
  CHECK(intel.cpu->s.cpl == 0);
  execute(amd, {0x48, 0x0f, 0x07});
  CHECK(amd.cpu->s.cpl == 3);
}

TEST_CASE("a near branch with 66 in 64-bit mode is 64 bits wide on Intel models and 16 on AMD models", "[system]") {
  Bench intel("[cpu]\nmodel = skylake\n"), amd("[cpu]\nmodel = zen2\n");
  for (Bench* b : {&intel, &amd}) {
    b->long_mode();
    b->cpu->s.rip = 0x20010;
    b->text({0x66, 0xe9, 0x10, 0x00, 0x00, 0x00}, 0x20010);
    b->step();
  }
  CHECK(intel.cpu->s.rip == 0x20026);
  CHECK(amd.cpu->s.rip == 0x0024);
  for (const u8 code : {0xe0, 0xe2, 0xe3})  // LOOPNE, LOOP, JRCXZ
    for (Bench* b : {&intel, &amd}) {
      b->cpu->s.rip = 0x20040;
      b->cpu->s.gpr[RCX] = code == 0xe3 ? 0 : 5;
      b->cpu->s.flags.unpack(0);
      b->text({0x66, code, 0x10}, 0x20040);
      b->step();
      CHECK(b->cpu->s.rip == (b == &amd ? 0x0053 : 0x20053));
    }
}

TEST_CASE("in compatibility mode SYSCALL is AMD's and SYSENTER is Intel's", "[system][syscall]") {
  for (const char* model : {"skylake", "zen2"}) {
    Bench b("[cpu]\nmodel = " + std::string(model) + "\n");
    const bool amd = b.id->is_amd();
    b.long_mode(3);
    auto& s = b.cpu->s;
    s.seg[CS] = Bench::flat(kCode3, 11);
    b.cpu->update_mode();
    s.star = u64{0x10} << 32;
    s.cstar = 0x77000;
    s.sysenter_cs = 0x10;
    s.sysenter_eip = 0x88000;
    s.sysenter_esp = 0x9900;
    CHECK(execute(b, {0x0f, 0x05}) == (amd ? 255 : ex::ud));
    if (amd) CHECK(s.rip == 0x77000);
    b.long_mode(3);
    s.seg[CS] = Bench::flat(kCode3, 11);
    b.cpu->update_mode();
    CHECK(execute(b, {0x0f, 0x34}) == (amd ? ex::ud : 255));
    if (!amd) {
      CHECK(s.rip == 0x88000);
      CHECK(s.gpr[RSP] == 0x9900);
      CHECK(s.seg[SS].selector == 0x18);
      CHECK(b.cpu->long64());
    }
  }
}

TEST_CASE("privileged instructions fault at level 3", "[system]") {
  const std::vector<u8> kPrivileged[] = {
      {0xf4},                          // HLT
      {0xfa},                          // CLI
      {0xfb},                          // STI
      {0x0f, 0x06},                    // CLTS
      {0x0f, 0x08},                    // INVD
      {0x0f, 0x09},                    // WBINVD
      {0x0f, 0x20, 0xc0},              // MOV RAX, CR0
      {0x0f, 0x22, 0xd8},              // MOV CR3, RAX
      {0x0f, 0x21, 0xc0},              // MOV RAX, DR0
      {0x0f, 0x30},                    // WRMSR
      {0x0f, 0x32},                    // RDMSR
      {0x0f, 0x01, 0x38},              // INVLPG [RAX]
      {0x0f, 0x01, 0xf8},              // SWAPGS
      {0x0f, 0x01, 0x10},              // LGDT
      {0x0f, 0x00, 0xd8},              // LTR
      {0x66, 0x0f, 0x38, 0x82, 0x00},  // INVPCID
  };
  for (const auto& bytes : kPrivileged) {
    Bench b;
    b.long_mode(3);
    b.cpu->s.gpr[RAX] = 0x30000;
    INFO("first bytes " << int{bytes[0]} << " " << int{bytes.size() > 1 ? bytes[1] : u8{0}});
    CHECK(execute(b, bytes) == ex::gp);
  }
}

TEST_CASE("UD2, and what this processor does not have, is #UD", "[system]") {
  for (const std::vector<u8>& bytes : {std::vector<u8>{0x0f, 0x0b},
                                       {0x0f, 0xaa},
                                       {0x0f, 0x01, 0xc1},
                                       {0x0f, 0x01, 0xcf},
                                       {0xf0, 0x90},
                                       {0x0f, 0x20, 0xc8}}) {
    Bench b;
    b.long_mode();
    CHECK(execute(b, bytes) == ex::ud);
  }
}

TEST_CASE("MOV CR3 and INVLPG tell the MMU", "[system]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  s.gpr[RAX] = 0x77000;
  CHECK(execute(b, {0x0f, 0x22, 0xd8}) == 255);
  CHECK(b.model.paging.cr3 == 0x77000);
  b.model.invalidations.clear();
  CHECK(execute(b, {0x0f, 0x01, 0x38}) == 255);
  REQUIRE(b.model.invalidations.size() == 1);
  CHECK(b.model.invalidations[0].kind == mmu::Invalidation::Kind::page);
  CHECK(b.model.invalidations[0].address.value == 0x77000);
  s.gpr[RAX] = bit(47);
  CHECK(execute(b, {0x0f, 0x01, 0x38}) == 255);  // a non-canonical address is nothing to forget
  CHECK(b.model.invalidations.size() == 1);
}

TEST_CASE("INVPCID's four types", "[system]") {
  using Kind = mmu::Invalidation::Kind;
  const Kind expected[] = {Kind::pcid_page, Kind::pcid, Kind::all, Kind::non_global};
  for (u64 type = 0; type < 5; ++type) {
    Bench b;
    b.long_mode();
    b.cpu->s.cr4 |= mmu::cr4::pcide;
    b.cpu->s.gpr[RCX] = type;
    b.cpu->s.gpr[RAX] = 0x30000;
    b.poke<u64>(0x30000, 7);
    b.poke<u64>(0x30008, 0x5000);
    const u8 vector = execute(b, {0x66, 0x0f, 0x38, 0x82, 0x08});
    if (type == 4) {
      CHECK(vector == ex::gp);
      continue;
    }
    CHECK(vector == 255);
    REQUIRE(b.model.invalidations.size() == 1);
    CHECK(b.model.invalidations[0].kind == expected[type]);
    if (type < 2) CHECK(b.model.invalidations[0].pcid == 7);
  }
}

TEST_CASE("STI holds interrupts off for one instruction", "[system]") {
  Bench b;
  b.long_mode();
  b.handler(0x40, kHandler);
  b.platform.interrupt = 0x40;
  b.cpu->set_interrupt(true);
  b.text({0xfb, 0x90, 0x90, 0x90});
  b.step(2);
  CHECK(b.cpu->s.rip == kText + 2);
  b.step(1);
  CHECK(b.peek<u64>(kStack0 - 0x100 - 40) == kText + 2);
}

TEST_CASE("POPF at level 3 keeps IF and IOPL, PUSHF hides VM and RF", "[system]") {
  Bench b;
  b.long_mode(3);
  auto& s = b.cpu->s;
  s.rflags |= fl::if_ | fl::rf;
  s.gpr[RSP] = kStack3;
  b.poke<u64>(kStack3, fl::iopl | fl::cf | fl::df | fl::ac);
  CHECK(execute(b, {0x9d}) == 255);
  CHECK((s.rflags & fl::if_));
  CHECK_FALSE(s.rflags & fl::iopl);
  CHECK((s.rflags & fl::df));
  CHECK((s.rflags & fl::ac));
  CHECK(s.gpr[RSP] == kStack3 + 8);
  s.rflags |= fl::rf;
  CHECK(execute(b, {0x9c}) == 255);
  CHECK(b.stack(0) == (fl::cf | fl::fixed | fl::if_ | fl::df | fl::ac));
}

TEST_CASE("CLI and STI work on VIF under PVI", "[system]") {
  Bench b;
  b.long_mode(3);
  auto& s = b.cpu->s;
  s.rflags |= fl::if_;
  s.cr4 |= mmu::cr4::pvi;
  CHECK(execute(b, {0xfb}) == 255);
  CHECK((s.rflags & fl::vif));
  CHECK(execute(b, {0xfa}) == 255);
  CHECK_FALSE(s.rflags & fl::vif);
  CHECK((s.rflags & fl::if_));
}

TEST_CASE("STAC and CLAC change AC at level 0 only, and CPUID must have SMAP", "[system]") {
  Bench b, user, old("[cpu]\nmodel = haswell\n");
  b.long_mode();
  CHECK(execute(b, {0x0f, 0x01, 0xcb}) == 255);
  CHECK((b.cpu->s.rflags & fl::ac));
  CHECK(b.model.paging.ac);
  CHECK(execute(b, {0x0f, 0x01, 0xca}) == 255);
  CHECK_FALSE(b.model.paging.ac);
  user.long_mode(3);
  CHECK(execute(user, {0x0f, 0x01, 0xcb}) == ex::ud);
  old.long_mode();
  CHECK(execute(old, {0x0f, 0x01, 0xcb}) == ex::ud);
}

TEST_CASE("SGDT and LGDT move ten bytes in 64-bit mode, and UMIP guards the store", "[system]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  s.gdtr.base = 0xffff800000001000;
  s.gpr[RAX] = 0x30000;
  execute(b, {0x0f, 0x01, 0x00});
  CHECK(b.peek<u16>(0x30000) == s.gdtr.limit);
  CHECK(b.peek<u64>(0x30002) == 0xffff800000001000);
  b.poke<u16>(0x30000, 0x7f);
  b.poke<u64>(0x30002, kGdt);
  CHECK(execute(b, {0x0f, 0x01, 0x10}) == 255);
  CHECK(s.gdtr.limit == 0x7f);
  CHECK(s.gdtr.base == kGdt);
  b.poke<u64>(0x30002, bit(47));
  s.gdtr.limit = 0xff;
  CHECK(execute(b, {0x0f, 0x01, 0x10}) == ex::gp);
  Bench user;
  user.long_mode(3);
  user.cpu->s.gpr[RAX] = 0x30000;
  CHECK(execute(user, {0x0f, 0x01, 0x00}) == 255);
  user.cpu->s.cr4 |= mmu::cr4::umip;
  CHECK(execute(user, {0x0f, 0x01, 0x00}) == ex::gp);
}

TEST_CASE("LAR, LSL, VERR and VERW answer in ZF", "[system]") {
  Bench b;
  b.long_mode(3);
  auto& s = b.cpu->s;
  auto query = [&](std::vector<u8> bytes, u16 selector) {
    s.gpr[RAX] = selector;
    s.gpr[RCX] = 0x1234;
    CHECK(execute(b, bytes) == 255);
    return s.flags.zf();
  };
  CHECK(query({0x0f, 0x02, 0xc8}, kData3));        // LAR ECX, EAX
  CHECK(s.gpr[RCX] == 0xcff200);                   // with the limit's upper bits, as parts do
  CHECK_FALSE(query({0x0f, 0x02, 0xc8}, kData0));  // invisible from level 3
  CHECK(s.gpr[RCX] == 0x1234);
  CHECK(query({0x0f, 0x03, 0xc8}, kData3));  // LSL
  CHECK(s.gpr[RCX] == 0xffffffff);
  CHECK_FALSE(query({0x0f, 0x03, 0xc8}, 0));
  CHECK(query({0x0f, 0x00, 0xe0}, kData3));        // VERR
  CHECK(query({0x0f, 0x00, 0xe8}, kData3));        // VERW
  CHECK_FALSE(query({0x0f, 0x00, 0xe8}, kCode3));  // code is never writable
}

TEST_CASE("SWAPGS exchanges and FSGSBASE needs its bit", "[system]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  s.seg[GS].base = 1;
  s.kernel_gs_base = 2;
  CHECK(execute(b, {0x0f, 0x01, 0xf8}) == 255);
  CHECK(s.seg[GS].base == 2);
  CHECK(s.kernel_gs_base == 1);
  CHECK(execute(b, {0xf3, 0x48, 0x0f, 0xae, 0xc8}) == ex::ud);  // RDGSBASE RAX
  s.cr4 |= mmu::cr4::fsgsbase;
  CHECK(execute(b, {0xf3, 0x48, 0x0f, 0xae, 0xc8}) == 255);
  CHECK(s.gpr[RAX] == 2);
  s.gpr[RAX] = bit(47);
  CHECK(execute(b, {0xf3, 0x48, 0x0f, 0xae, 0xd0}) == ex::gp);  // WRFSBASE RAX
}

TEST_CASE("RDTSC reads the clock and CR4.TSD keeps users out", "[system]") {
  Bench b;
  b.long_mode();
  b.clock.cycles = 0x123456789;
  CHECK(execute(b, {0x0f, 0x31}) == 255);
  CHECK((b.cpu->s.gpr[RDX] << 32 | b.cpu->s.gpr[RAX]) >= 0x123456789);
  Bench user;
  user.long_mode(3);
  user.cpu->s.cr4 |= mmu::cr4::tsd;
  CHECK(execute(user, {0x0f, 0x31}) == ex::gp);
}

TEST_CASE("CPUID answers from EAX and ECX", "[system]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  s.gpr[RAX] = 0;
  CHECK(execute(b, {0x0f, 0xa2}) == 255);
  CHECK(s.gpr[RAX] == 0x16);
  CHECK(s.gpr[RBX] == 0x756e6547);
  s.cr4 |= mmu::cr4::osxsave;
  s.gpr[RAX] = 1;
  execute(b, {0x0f, 0xa2});
  CHECK((s.gpr[RCX] & bit(27)));
}

TEST_CASE("XSETBV accepts the components that there are, AVX with SSE only", "[system]") {
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  s.gpr[RCX] = 0;
  s.gpr[RAX] = 3;
  CHECK(execute(b, {0x0f, 0x01, 0xd1}) == ex::ud);  // without CR4.OSXSAVE
  s.cr4 |= mmu::cr4::osxsave;
  s.gpr[RDX] = 0;
  CHECK(execute(b, {0x0f, 0x01, 0xd1}) == 255);
  CHECK(s.xcr0 == 3);
  for (const u64 refused : {u64{5}, u64{0xf}, u64{0x203}}) {
    s.gpr[RAX] = refused;
    CHECK(execute(b, {0x0f, 0x01, 0xd1}) == ex::gp);
  }
  s.gpr[RAX] = 7;
  CHECK(execute(b, {0x0f, 0x01, 0xd1}) == 255);
  CHECK(s.xcr0 == 7);
  s.gpr[RAX] = 2;
  CHECK(execute(b, {0x0f, 0x01, 0xd1}) == ex::gp);
  CHECK(execute(b, {0x0f, 0x01, 0xd0}) == 255);  // XGETBV
  CHECK(s.gpr[RAX] == 7);
}

TEST_CASE("far pointers from memory and from the instruction", "[system]") {
  Bench b;
  b.protected_mode();
  CHECK(execute(b, {0xea, 0x00, 0x00, 0x03, 0x00, kCode0, 0x00}) == 255);  // JMP 08:30000
  CHECK(b.cpu->s.rip == 0x30000);
  b.poke<u32>(0x31000, 0x33000);
  b.poke<u16>(0x31004, kCode0);
  CHECK(execute(b, {0xff, 0x1d, 0x00, 0x10, 0x03, 0x00}) == 255);  // CALL far [31000]
  CHECK(b.cpu->s.rip == 0x33000);
  CHECK(execute(b, {0xcb}) == 255);  // RETF
  CHECK(b.cpu->s.rip == kText + 6);
  Bench w;
  w.long_mode();
  w.poke<u64>(0x31000, 0x33000);
  w.poke<u16>(0x31008, kWide0);
  CHECK(execute(w, {0x48, 0xff, 0x1c, 0x25, 0x00, 0x10, 0x03, 0x00}) == 255);  // CALL m16:64
  CHECK(w.cpu->s.rip == 0x33000);
  CHECK(execute(w, {0x48, 0xcb}) == 255);  // RETFQ
  CHECK(w.cpu->s.rip == kText + 8);
}

TEST_CASE("INT3, INT n and IRETQ as a program uses them", "[system]") {
  Bench b;
  b.long_mode();
  const u64 sp = b.cpu->s.gpr[RSP];
  CHECK(execute(b, {0xcc}) == ex::bp);
  CHECK(b.stack(0) == kText + 1);
  CHECK(execute(b, {0x48, 0xcf}) == 255);
  CHECK(b.cpu->s.rip == kText + 1);
  CHECK(b.cpu->s.gpr[RSP] == sp);
  CHECK(execute(b, {0xcd, 0x0b}) == 0x0b);
  CHECK(b.stack(0) == kText + 2);
}

TEST_CASE("a refused INT n points at itself", "[system]") {
  Bench b;
  b.long_mode(3);
  CHECK(execute(b, {0xcd, 0x10}) == ex::gp);
  CHECK(b.stack(0) == 0x10 * 8 + 2);
  CHECK(b.stack(1) == kText);
}

TEST_CASE("virtual-8086 INT n goes to the program's own handler where VME's bitmap says so", "[system]") {
  Bench b;
  b.protected_mode(3);
  auto& s = b.cpu->s;
  s.tr.limit = 0x200;
  b.poke<u16>(kTssAt + 0x66, 0xa0);
  b.poke<u32>(0x10 * 4, 0x20000050);
  s.rflags |= fl::vm | fl::vif;
  s.cr4 |= mmu::cr4::vme;
  for (unsigned n = 0; n < kSegs; ++n) b.cpu->load_segment(static_cast<Seg>(n), n == CS ? 0x1000 : 0);
  s.gpr[RSP] = 0x7000;
  b.cpu->update_mode();
  b.text({0xcd, 0x10}, kText);
  s.rip = 0;
  b.step();
  CHECK(b.cpu->v8086());
  CHECK(s.seg[CS].selector == 0x2000);
  CHECK(s.rip == 0x50);
  CHECK(b.peek<u16>(0x6ffa) == 2);
  CHECK((b.peek<u16>(0x6ffe) & fl::if_));  // VIF shows as IF
  CHECK_FALSE(s.rflags & fl::vif);
}

TEST_CASE("HLT waits for an interrupt", "[system]") {
  Bench b;
  b.long_mode();
  b.handler(0x40, kHandler);
  b.cpu->s.rflags |= fl::if_;
  b.platform.interrupt = 0x40;
  b.clock.at(5000, [&] { b.cpu->set_interrupt(true); });
  b.text({0xf4, 0x90});
  b.step(2);
  CHECK(b.clock.now() >= 5000);
  CHECK(b.peek<u64>(kStack0 - 0x100 - 40) == kText + 1);
  CHECK_FALSE(b.cpu->s.halted);
}

TEST_CASE("blocks end where the meaning of what follows may change", "[system]") {
  Bench b;
  b.long_mode();
  b.cpu->s.gpr[RAX] = 0x77000;
  b.text({0x0f, 0x22, 0xd8, 0x48, 0xff, 0xc0, 0x90});  // MOV CR3, RAX; INC RAX
  b.step(2);
  CHECK(b.cpu->s.gpr[RAX] == 0x77001);
  CHECK(b.cpu->s.rip == kText + 6);
}

TEST_CASE("ARPL raises the RPL of a selector, and refuses what cannot be written even where nothing changes", "[system]") {
  Bench b;
  b.protected_mode();
  auto& s = b.cpu->s;
  s.gpr[RBX] = 0x28000;
  s.gpr[RCX] = 2;
  for (const u16 rpl : {0, 1, 2, 3}) {
    b.poke<u16>(0x28000, static_cast<u16>(0x48 | rpl));
    CHECK(execute(b, {0x63, 0x0b}) == 255);  // ARPL [EBX], CX
    CHECK(b.peek<u16>(0x28000) == (0x48 | std::max<u16>(rpl, 2)));
    CHECK(s.flags.zf() == (rpl < 2));
  }
  b.poke<u16>(0x28000, u16{0x4b});
  CHECK(execute(b, {0x2e, 0x63, 0x0b}) == ex::gp);  // ARPL CS:[EBX], CX
  b.model.read_only_pages.insert(0x28);
  CHECK(execute(b, {0x63, 0x0b}) == ex::pf);
}

}  // namespace nestwalk::bench
