// How an application processor starts: INIT, the wait for a start-up message, SIPI (SDM vol. 3, 9.1.4, table 9-1, 9.4.3).
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {

/// A processor among others, none of which is ever behind it unless the test says so.
struct Sibling final : Platform {
  u64 io_read(u16, unsigned) override { return 0; }
  void io_write(u16, u64, unsigned) override {}
  int acknowledge_interrupt() override { return -1; }
  bool apic_read(u32, u64&) override { return false; }
  bool apic_write(u32, u64) override { return false; }
  u64 task_priority() override { return 0; }
  void set_task_priority(u64) override {}
  void magic(u32, u64) override {}
  void note(const std::string&) override {}
  bool has_siblings() const override { return true; }
  bool may_read_time() override { return !others_are_behind; }
  bool others_are_behind = false;
};

}  // namespace

TEST_CASE("INIT leaves x87, vector registers, MSRs and the time alone and clears the rest", "[startup]") {
  Bench b;
  b.long_mode();
  b.text({0x90});
  State& s = b.cpu->s;
  s.gpr[RBX] = 5;
  s.vec[3].q[1] = 0x1234;
  s.mxcsr = 0x1fa0;
  s.x87.control = 0x27f;
  s.lstar = 0xabc;
  s.pat = 0x0406;
  s.tsc_offset = 77;
  s.xcr0 = 7;
  s.dr[0] = 0x1000;
  s.cr0 |= mmu::cr0::cd;
  b.cpu->raise_init();
  CHECK(b.cpu->run(~u64{0}) == Stop::asleep);
  CHECK(s.waits_for_startup);
  CHECK(s.gpr[RBX] == 0);
  CHECK(s.dr[0] == 0);
  CHECK(s.efer == 0);
  CHECK(s.cr4 == 0);
  CHECK((s.cr0 & (mmu::cr0::pe | mmu::cr0::pg)) == 0);
  CHECK((s.cr0 & mmu::cr0::cd) != 0);
  CHECK(s.vec[3].q[1] == 0x1234);
  CHECK(s.mxcsr == 0x1fa0);
  CHECK(s.x87.control == 0x27f);
  CHECK(s.lstar == 0xabc);
  CHECK(s.pat == 0x0406);
  CHECK(s.tsc_offset == 77);
  CHECK(s.xcr0 == 7);
}

TEST_CASE("SIPI starts at its vector times 4096 in real mode, once", "[startup]") {
  Bench b;
  b.long_mode();
  b.cpu->raise_startup(0x12);  // no INIT came before: nothing happens
  CHECK_FALSE(b.cpu->s.waits_for_startup);
  b.cpu->raise_init();
  CHECK(b.cpu->is_awaited());
  CHECK(b.cpu->run(~u64{0}) == Stop::asleep);
  CHECK_FALSE(b.cpu->is_awaited());
  b.cpu->set_interrupt(true);
  b.cpu->raise_nmi();
  CHECK_FALSE(b.cpu->is_awaited());  // neither ends the wait
  b.cpu->set_interrupt(false);
  b.poke<u32>(0x12000, 0x90909090);
  b.cpu->raise_startup(0x12);
  CHECK(b.cpu->is_awaited());
  b.cpu->raise_startup(0x13);  // the second one of the usual pair comes too late to matter only once it runs
  b.cpu->raise_startup(0x12);
  const u64 before = b.clock.instructions;
  b.cpu->s.nmi_blocked = true;
  CHECK(b.cpu->run(before + 2) == Stop::limit);
  CHECK(b.cpu->s.seg[CS].selector == 0x1200);
  CHECK(b.cpu->s.seg[CS].base == 0x12000);
  CHECK(b.cpu->s.rip == 2);
  b.cpu->raise_startup(0x55);
  CHECK(b.cpu->run(before + 4) == Stop::limit);
  CHECK(b.cpu->s.rip == 4);
}

TEST_CASE("INIT and SIPI that came together are taken one after the other", "[startup]") {
  Bench b;
  b.long_mode();
  b.poke<u32>(0x9000, 0x90909090);
  b.cpu->raise_init();
  b.cpu->raise_startup(9);
  CHECK(b.cpu->run(b.clock.instructions + 1) == Stop::limit);
  CHECK(b.cpu->s.seg[CS].base == 0x9000);
  CHECK(b.cpu->s.rip == 1);
}

TEST_CASE("a processor with siblings that halts gives its turn away, whatever could wake it", "[startup]") {
  Bench b;
  b.long_mode();
  Sibling platform;
  Cpu cpu(*b.port, b.clock, platform, *b.id, b.timing, 1);
  cpu.s = b.cpu->s;
  cpu.update_paging();
  b.text({0xf4, 0x90});
  cpu.s.rip = b.cpu->s.rip;
  CHECK(cpu.run(~u64{0}) == Stop::asleep);  // with IF = 0 and no event anywhere
  CHECK_FALSE(cpu.is_awaited());
  CHECK_FALSE(cpu.is_wakeable());
  cpu.raise_nmi();
  CHECK(cpu.is_awaited());
}

TEST_CASE("RDTSC waits while another processor is behind, and is begun again", "[startup]") {
  Bench b;
  b.long_mode();
  Sibling platform;
  Cpu cpu(*b.port, b.clock, platform, *b.id, b.timing, 1);
  cpu.s = b.cpu->s;
  cpu.update_paging();
  b.text({0x90, 0x0f, 0x31, 0x90, 0xf4});
  cpu.s.rip = kText;
  platform.others_are_behind = true;
  const u64 before = b.clock.instructions;
  CHECK(cpu.run(~u64{0}) == Stop::turn_over);
  CHECK(cpu.s.rip == kText + 1);
  CHECK(b.clock.instructions == before + 1);
  platform.others_are_behind = false;
  CHECK(cpu.run(~u64{0}) == Stop::asleep);
  CHECK(b.clock.instructions == before + 4);
  CHECK(cpu.s.gpr[RAX] == before + 2);  // a cycle an instruction, itself included
}

TEST_CASE("a turn ends at the clock's fence, between two blocks", "[startup]") {
  Bench b;
  b.long_mode();
  b.text({0xeb, 0xfe});
  b.clock.set_fence(b.clock.now() + 100);
  const u64 begun = b.clock.now();
  CHECK(b.cpu->run(~u64{0}) == Stop::turn_over);
  CHECK(b.clock.now() == begun + 100);
  b.clock.set_fence(begun + 150);
  CHECK(b.cpu->run(~u64{0}) == Stop::turn_over);
  CHECK(b.clock.now() == begun + 150);
}

}  // namespace nestwalk::bench
