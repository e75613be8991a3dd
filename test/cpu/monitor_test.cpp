// MONITOR and MWAIT, the x87 error pin, protection-key registers, machine-check registers of the two makers: what kernels
// touch around the instruction set (SDM vol. 2; vol. 3, 9.10, 15.3; vol. 1, 8.7).
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {

constexpr u64 kLine = 0x30040;

/// MONITOR on kLine, then MWAIT, then NOPs, at level 0 in 64-bit mode.
struct Sleeper : Bench {
  explicit Sleeper(u64 extensions = 0, const char* between = "") {
    long_mode();
    handler(0x40, kHandler);
    poke<u32>(kHandler, 0x90909090);
    platform.interrupt = 0x40;
    cpu->s.gpr[RAX] = kLine + 8;
    cpu->s.gpr[RBX] = kLine;
    std::vector<u8> code = {0x0f, 0x01, 0xc8};  // monitor
    for (const char* p = between; *p; p += 2) code.push_back(static_cast<u8>(std::stoul(std::string(p, 2), nullptr, 16)));
    code.push_back(0xb9);  // mov ecx, extensions
    for (unsigned n = 0; n < 4; ++n) code.push_back(static_cast<u8>(extensions >> (8 * n)));
    code.insert(code.end(), {0x0f, 0x01, 0xc9, 0x90, 0x90});  // mwait
    text(code);
    behind = kText + code.size() - 2;
  }
  u64 behind;  ///< of the first NOP
};

u8 vector_of(Bench& b, const std::vector<u8>& bytes) {
  for (unsigned v = 0; v < 32; ++v) {
    b.handler(static_cast<u8>(v), static_cast<u32>(kHandler + 16 * v));
    b.poke<u32>(kHandler + 16 * v, 0x90909090);
  }
  b.text(bytes);
  b.step();
  const u64 rip = b.cpu->s.rip;
  return rip >= kHandler && rip < kHandler + 16 * 32 ? static_cast<u8>((rip - kHandler) / 16) : 255;
}

}  // namespace

TEST_CASE("MWAIT sleeps until a device stores to the monitored line", "[monitor]") {
  Sleeper b;
  b.cpu->s.rflags |= fl::if_;
  b.clock.at(5000, [&] { b.poke<u8>(kLine + 63, 1); });
  b.step(4);
  CHECK(b.clock.now() >= 5000);
  CHECK(b.cpu->s.rip == b.behind + 1);
  CHECK_FALSE(b.cpu->s.halted);
}

TEST_CASE("a store to the neighbouring line does not wake MWAIT, an interrupt does", "[monitor]") {
  Sleeper b;
  b.cpu->s.rflags |= fl::if_;
  b.clock.at(3000, [&] { b.poke<u8>(kLine + 64, 1); });
  b.clock.at(7000, [&] { b.cpu->set_interrupt(true); });
  b.step(4);
  CHECK(b.clock.now() >= 7000);
  CHECK(b.peek<u64>(kStack0 - 0x100 - 40) == b.behind);
}

TEST_CASE("a store of the processor's own between MONITOR and MWAIT leaves nothing to wait for", "[monitor]") {
  Sleeper b(0, "c60300");  // movb $0, (%rbx): the same value, and a store all the same
  b.cpu->s.rflags |= fl::if_;
  b.step(5);
  CHECK(b.cpu->s.rip == b.behind + 1);
  CHECK(b.clock.now() < 100);
  Sleeper other(0, "c6434000");  // movb $0, 64(%rbx)
  other.cpu->s.rflags |= fl::if_;
  other.clock.at(4000, [&] { other.cpu->set_interrupt(true); });
  other.step(5);
  CHECK(other.clock.now() >= 4000);
}

TEST_CASE("MWAIT without MONITOR, or with an exception since, does not wait", "[monitor]") {
  Bench b;
  b.long_mode();
  b.cpu->s.gpr[RCX] = 0;
  b.text({0x0f, 0x01, 0xc9, 0x90});
  b.step(2);
  CHECK(b.cpu->s.rip == kText + 4);

  Sleeper c(0, "cc");  // int3, whose handler returns
  c.handler(3, kHandler + 64);
  c.poke<u16>(kHandler + 64, 0xcf48);
  c.step(6);
  CHECK(c.cpu->s.rip == c.behind + 1);
}

TEST_CASE("with ECX bit 0 an interrupt ends MWAIT though IF is clear, and is not delivered", "[monitor]") {
  Sleeper b(1);
  b.clock.at(6000, [&] { b.cpu->set_interrupt(true); });
  b.step(4);
  CHECK(b.clock.now() >= 6000);
  CHECK(b.cpu->s.rip == b.behind + 1);
  CHECK(b.cpu->s.gpr[RSP] == kStack0 - 0x100);
  Sleeper c(0);  // without it the interrupt stays outside, and nothing else comes
  c.clock.at(6000, [&] { c.cpu->set_interrupt(true); });
  CHECK(c.step(4) == Stop::halted_forever);
}

TEST_CASE("MONITOR and MWAIT: privilege, hints, the operand's page", "[monitor]") {
  Bench b;
  b.long_mode();
  b.cpu->s.gpr[RAX] = kLine;
  b.cpu->s.gpr[RCX] = 1;
  CHECK(vector_of(b, {0x0f, 0x01, 0xc8}) == ex::gp);
  b.cpu->s.gpr[RCX] = 2;
  CHECK(vector_of(b, {0x0f, 0x01, 0xc9}) == ex::gp);
  b.cpu->s.gpr[RCX] = 0;
  b.model.missing_pages.insert(kLine >> 12);
  CHECK(vector_of(b, {0x0f, 0x01, 0xc8}) == ex::pf);
  Bench user;
  user.long_mode(3);
  user.cpu->s.gpr[RCX] = 0;
  CHECK(vector_of(user, {0x0f, 0x01, 0xc8}) == ex::ud);
  Bench without("[cpu]\nmodel = v2\n");
  without.long_mode();
  CHECK(vector_of(without, {0x0f, 0x01, 0xc8}) == ex::ud);
}

TEST_CASE("under CR0.NE = 0 a pending x87 exception asserts FERR# and waits for the interrupt", "[x87]") {
  Bench b;
  b.long_mode();
  Cpu& cpu = *b.cpu;
  cpu.s.cr0 = (cpu.s.cr0 & ~u64{mmu::cr0::ne | mmu::cr0::em | mmu::cr0::ts}) | mmu::cr0::mp;
  cpu.update_paging();
  b.handler(0x75, kHandler);
  b.poke<u32>(kHandler, 0x90909090);
  b.platform.interrupt = 0x75;
  cpu.s.rflags |= fl::if_;
  cpu.s.x87.control = 0x37b;  // ZE unmasked
  cpu.s.x87.valid = 0;
  const u8 code[] = {0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0xd9, 0xe8, 0x90};  // fld1; fldz; fdivp; fld1; nop
  b.memory.write(MachineAddr(kText), code);
  cpu.s.rip = kText;
  b.clock.at(2000, [&] { cpu.set_interrupt(true); });
  cpu.run(b.clock.instructions + 4);
  CHECK(b.platform.x87_errors == 1);
  CHECK(b.clock.now() >= 2000);
  CHECK(cpu.s.rip == kHandler + 1);
  CHECK(b.peek<u64>(kStack0 - 0x100 - 40) == kText + 6);  // the instruction that waited has not run
  // IGNNE#: it runs now, and errors count again once the flags are cleared.
  cpu.set_interrupt(false);
  cpu.ignore_x87_error();
  cpu.s.rip = kText + 6;
  cpu.run(b.clock.instructions + 2);
  CHECK(cpu.s.rip == kText + 9);
  CHECK(b.platform.x87_errors == 1);
  const u8 again[] = {0xdb, 0xe2, 0xd9, 0xee, 0xde, 0xf9, 0x9b};  // fnclex; fldz; fdivp; fwait
  b.memory.write(MachineAddr(kText + 0x100), again);
  cpu.s.rip = kText + 0x100;
  b.clock.at(b.clock.now() + 500, [&] { cpu.set_interrupt(true); });
  cpu.run(b.clock.instructions + 4);
  CHECK(b.platform.x87_errors == 2);
}

TEST_CASE("RDPKRU and WRPKRU need CR4.PKE and zeros in ECX and EDX", "[pku]") {
  Bench b("[cpu]\nmodel = golden-cove\n");
  b.long_mode(3);
  auto& s = b.cpu->s;
  s.gpr[RAX] = 0x55555554, s.gpr[RCX] = s.gpr[RDX] = 0;
  CHECK(vector_of(b, {0x0f, 0x01, 0xef}) == ex::ud);
  b.long_mode(3);
  s.cr4 |= mmu::cr4::pke;
  s.gpr[RAX] = 0x55555554, s.gpr[RCX] = s.gpr[RDX] = 0;
  CHECK(vector_of(b, {0x0f, 0x01, 0xef}) == 255);
  CHECK(s.pkru == 0x55555554);
  CHECK(b.model.paging.pkru == 0x55555554);
  s.gpr[RAX] = s.gpr[RDX] = ~u64{0};
  CHECK(vector_of(b, {0x0f, 0x01, 0xee}) == 255);
  CHECK(s.gpr[RAX] == 0x55555554);
  CHECK(s.gpr[RDX] == 0);
  s.gpr[RDX] = 1;
  CHECK(vector_of(b, {0x0f, 0x01, 0xef}) == ex::gp);
  b.long_mode(3);
  s.gpr[RDX] = 0, s.gpr[RCX] = 1;
  CHECK(vector_of(b, {0x0f, 0x01, 0xee}) == ex::gp);
}

TEST_CASE("XSAVES compacts what is in use and XRSTORS takes nothing but compacted images", "[xsave]") {
  constexpr u64 kImage = 0x30000;
  Bench b;
  b.long_mode();
  auto& s = b.cpu->s;
  s.cr4 |= mmu::cr4::osxsave | mmu::cr4::osfxsr;
  s.cr0 &= ~u64{mmu::cr0::em | mmu::cr0::ts};
  s.xcr0 = 7;
  s.x87.control = 0x37f;
  s.x87.valid = 0;
  s.vec[3].q[0] = 0x33, s.vec[3].q[2] = 0x44;
  s.gpr[RAX] = 6, s.gpr[RDX] = 0, s.gpr[RDI] = kImage;
  CHECK(vector_of(b, {0x48, 0x0f, 0xc7, 0x2f}) == 255);
  CHECK(b.peek<u64>(kImage + 512) == 6);
  CHECK(b.peek<u64>(kImage + 520) == (bit(63) | 6));
  CHECK(b.peek<u64>(kImage + 160 + 48) == 0x33);
  CHECK(b.peek<u64>(kImage + 576 + 48) == 0x44);
  s.vec[3] = Vec{};
  s.gpr[RAX] = 4;  // only the upper halves
  CHECK(vector_of(b, {0x48, 0x0f, 0xc7, 0x1f}) == 255);
  CHECK(s.vec[3].q[0] == 0);
  CHECK(s.vec[3].q[2] == 0x44);
  const u64 header[2] = {b.peek<u64>(kImage + 512), b.peek<u64>(kImage + 520)};
  const auto refused = [&](unsigned at, u64 value) {
    b.poke<u64>(kImage + 512, header[0]);
    b.poke<u64>(kImage + 520, header[1]);
    for (unsigned n = 16; n < 64; n += 8) b.poke<u64>(kImage + 512 + n, 0);
    b.poke<u64>(kImage + at, value);
    b.long_mode();
    s.gpr[RAX] = 7, s.gpr[RDX] = 0, s.gpr[RDI] = kImage;
    s.cr4 |= mmu::cr4::osxsave | mmu::cr4::osfxsr;
    return vector_of(b, {0x48, 0x0f, 0xc7, 0x1f}) == ex::gp;
  };
  CHECK_FALSE(refused(160, 0));
  CHECK(refused(520, 6));                 // not compacted
  CHECK(refused(520, bit(63) | 2));       // XSTATE_BV names what XCOMP_BV does not
  CHECK(refused(520, bit(63) | bit(8)));  // a component that nobody enabled
  CHECK(refused(528, 1));
  CHECK(refused(568, 1));
}

TEST_CASE("IA32_XSS exists with XSAVES and takes no component that is not there", "[msr]") {
  Bench b;
  CHECK(b.cpu->read_msr(0xda0) == 0);
  b.cpu->write_msr(0xda0, 0);
  CHECK(trap_of([&] { b.cpu->write_msr(0xda0, 0x100); }).vector == ex::gp);
  Bench without("[cpu]\nmodel = haswell\n");
  CHECK(trap_of([&] { without.cpu->read_msr(0xda0); }).vector == ex::gp);
}

TEST_CASE("machine-check registers: what reads, what may be written, by maker", "[msr]") {
  Bench intel;
  CHECK(intel.cpu->read_msr(0x179) == MsrBank::kMachineCheckBanks);
  CHECK(trap_of([&] { intel.cpu->read_msr(0x17b); }).vector == ex::gp);  // no MCG_CTL without MCG_CTL_P
  intel.cpu->write_msr(0x400, 0x1f);
  CHECK(intel.cpu->read_msr(0x400) == 0x1f);
  intel.cpu->write_msr(0x401, 0);
  for (u32 index : {0x401u, 0x402u, 0x403u}) CHECK(trap_of([&] { intel.cpu->write_msr(index, 1); }).vector == ex::gp);
  CHECK(trap_of([&] { intel.cpu->read_msr(0x400 + 4 * MsrBank::kMachineCheckBanks); }).vector == ex::gp);

  Bench amd("[cpu]\nmodel = zen2\n");
  CHECK((amd.cpu->read_msr(0x179) & 0x100) != 0);
  amd.cpu->write_msr(0x17b, 7);
  CHECK(amd.cpu->read_msr(0x17b) == 7);
  CHECK(trap_of([&] { amd.cpu->write_msr(0x405, u64{1} << 63); }).vector == ex::gp);
  amd.cpu->write_msr(0xc0010015, amd.cpu->read_msr(0xc0010015) | bit(18));
  amd.cpu->write_msr(0x405, u64{1} << 63);
  CHECK(amd.cpu->read_msr(0x405) == u64{1} << 63);
}

TEST_CASE("SGDT, SIDT, SLDT, STR and SMSW all obey UMIP", "[system]") {
  for (const std::vector<u8>& code : std::vector<std::vector<u8>>{
           {0x0f, 0x01, 0x07}, {0x0f, 0x01, 0x0f}, {0x0f, 0x00, 0xc0}, {0x0f, 0x00, 0xc8}, {0x0f, 0x01, 0xe0}}) {
    for (const bool on : {false, true}) {
      Bench b("[cpu]\nmodel = golden-cove\n");
      b.long_mode(3);
      if (on) b.cpu->s.cr4 |= mmu::cr4::umip;
      b.cpu->s.gpr[RDI] = 0x30000;
      CHECK(vector_of(b, code) == (on ? ex::gp : 255));
    }
    Bench kernel("[cpu]\nmodel = golden-cove\n");
    kernel.long_mode();
    kernel.cpu->s.cr4 |= mmu::cr4::umip;
    kernel.cpu->s.gpr[RDI] = 0x30000;
    CHECK(vector_of(kernel, code) == 255);
  }
}

}  // namespace nestwalk::bench
