// Control and debug registers, MSRs: what a write is refused for and what it makes invalid (SDM vol. 3, 2.5, 4.10.4.1).
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {

namespace cr0 = mmu::cr0;
namespace cr4 = mmu::cr4;
namespace efer = mmu::efer;
using Kind = mmu::Invalidation::Kind;

Trap write_cr(Bench& b, unsigned n, u64 v) {
  return trap_of([&] { b.cpu->write_cr(n, v); });
}
Trap write_msr(Bench& b, u32 index, u64 v) {
  return trap_of([&] { b.cpu->write_msr(index, v); });
}

}  // namespace

TEST_CASE("impossible combinations of CR0 are refused", "[control]") {
  Bench b;
  CHECK(raises(write_cr(b, 0, cr0::pg), ex::gp, 0));
  CHECK(raises(write_cr(b, 0, cr0::nw), ex::gp, 0));
  CHECK(raises(write_cr(b, 0, bit(32)), ex::gp, 0));
  CHECK(write_cr(b, 0, cr0::pe | bit(6)).vector == 255);  // a reserved low bit is ignored
  CHECK(b.cpu->read_cr(0) == (cr0::pe | cr0::et));
}

TEST_CASE("long mode is entered by PG under LME and left by clearing PG", "[control]") {
  Bench b;
  b.tables();
  b.cpu->s.seg[CS] = Bench::flat(kCode0, 11);
  b.cpu->write_cr(0, cr0::pe);
  b.cpu->write_msr(0xc0000080, efer::lme);
  CHECK(raises(write_cr(b, 0, cr0::pe | cr0::pg), ex::gp, 0));  // without PAE
  b.cpu->write_cr(4, cr4::pae);
  b.cpu->s.seg[CS].l = true;
  CHECK(raises(write_cr(b, 0, cr0::pe | cr0::pg), ex::gp, 0));  // from an L segment
  b.cpu->s.seg[CS].l = false;
  b.cpu->write_cr(0, cr0::pe | cr0::pg);
  CHECK(b.cpu->long_mode());
  CHECK(b.cpu->read_msr(0xc0000080) == (efer::lme | efer::lma));
  CHECK((b.model.paging.efer & efer::lma));
  CHECK(raises(write_msr(b, 0xc0000080, 0), ex::gp, 0));  // LME under paging
  CHECK(raises(write_cr(b, 4, 0), ex::gp, 0));            // PAE in long mode
  b.model.invalidations.clear();
  b.cpu->write_cr(0, cr0::pe);
  CHECK_FALSE(b.cpu->long_mode());
  REQUIRE(b.model.invalidations.size() == 1);
  CHECK(b.model.invalidations[0].kind == Kind::all);
}

TEST_CASE("paging cannot be turned off in 64-bit code or under PCIDE", "[control]") {
  Bench b;
  b.long_mode();
  CHECK(raises(write_cr(b, 0, cr0::pe), ex::gp, 0));
  b.cpu->far_jump(kCode0, 0, 4);
  b.cpu->s.cr4 |= cr4::pcide;
  CHECK(raises(write_cr(b, 0, cr0::pe), ex::gp, 0));
  b.cpu->s.cr4 &= ~cr4::pcide;
  CHECK(write_cr(b, 0, cr0::pe).vector == 255);
}

TEST_CASE("MOV CR3 invalidates one PCID, or nothing with bit 63", "[control]") {
  Bench b;
  b.long_mode();
  b.cpu->write_cr(3, 0x5000);
  REQUIRE(b.model.invalidations.size() == 1);
  CHECK(b.model.invalidations[0].kind == Kind::pcid);
  CHECK(b.model.invalidations[0].pcid == 0);
  b.cpu->write_cr(3, 0);
  b.cpu->write_cr(4, cr4::pae | cr4::pcide);
  b.model.invalidations.clear();
  b.cpu->write_cr(3, 0x5007);
  REQUIRE(b.model.invalidations.size() == 1);
  CHECK(b.model.invalidations[0].pcid == 7);
  b.cpu->write_cr(3, bit(63) | 0x6008);
  CHECK(b.model.invalidations.size() == 1);
  CHECK(b.cpu->read_cr(3) == 0x6008);
  CHECK(b.model.paging.cr3 == 0x6008);
  CHECK(raises(write_cr(b, 3, bit(39)), ex::gp, 0));  // MAXPHYADDR of the i7-6700K
}

TEST_CASE("PCIDE needs long mode and PCID zero", "[control]") {
  Bench b;
  CHECK(raises(write_cr(b, 4, cr4::pcide), ex::gp, 0));
  b.long_mode();
  b.cpu->write_cr(3, 0x5008);
  CHECK(raises(write_cr(b, 4, cr4::pae | cr4::pcide), ex::gp, 0));
  b.cpu->write_cr(3, 0x5000);
  CHECK(write_cr(b, 4, cr4::pae | cr4::pcide).vector == 255);
}

TEST_CASE("CR4 writes invalidate what 4.10.4.1 lists and no more", "[control]") {
  Bench b;
  b.long_mode();
  auto flushes = [&](u64 v) {
    b.model.invalidations.clear();
    b.cpu->write_cr(4, v);
    return b.model.invalidations.size() == 1 && b.model.invalidations[0].kind == Kind::all;
  };
  const u64 base = cr4::pae;
  CHECK(flushes(base | cr4::pge));
  CHECK(flushes(base));
  CHECK_FALSE(flushes(base | cr4::pcide));
  CHECK(flushes(base));
  CHECK(flushes(base | cr4::smep));
  CHECK_FALSE(flushes(base));
  CHECK_FALSE(flushes(base | cr4::smap));
  CHECK_FALSE(flushes(base | cr4::smap | cr4::fsgsbase | cr4::osfxsr));
}

TEST_CASE("bits of CR4 that CPUID does not promise are reserved", "[control]") {
  Bench skylake, nehalem("[cpu]\nmodel = nehalem\n"), wide("[cpu]\nmodel = skylake\nfeatures = +la57,+umip\n");
  CHECK(raises(write_cr(skylake, 4, cr4::la57), ex::gp, 0));
  CHECK(raises(write_cr(skylake, 4, cr4::umip), ex::gp, 0));
  CHECK(raises(write_cr(skylake, 4, cr4::vmxe), ex::gp, 0));
  CHECK(raises(write_cr(skylake, 4, cr4::pke), ex::gp, 0));
  CHECK(raises(write_cr(nehalem, 4, cr4::smep), ex::gp, 0));
  CHECK(raises(write_cr(nehalem, 4, cr4::osxsave), ex::gp, 0));
  CHECK(write_cr(wide, 4, cr4::la57 | cr4::umip).vector == 255);
}

TEST_CASE("PAE paging loads four PDPTEs and refuses reserved bits", "[control]") {
  Bench b;
  b.protected_mode();
  for (u64 n = 0; n < 4; ++n) b.poke<u64>(0x6020 + 8 * n, 0x100001 + 0x1000 * n);
  b.cpu->s.cr3 = 0x6020;
  b.cpu->write_cr(4, cr4::pae);
  b.cpu->write_cr(0, cr0::pe | cr0::pg);
  for (u64 n = 0; n < 4; ++n) CHECK(b.model.paging.pdpte[n] == 0x100001 + 0x1000 * n);
  b.poke<u64>(0x6038, 0x100003);  // R/W is reserved in a PDPTE
  CHECK(raises(write_cr(b, 3, 0x6020), ex::gp, 0));
  CHECK(b.model.paging.pdpte[3] == 0x103001);
  b.poke<u64>(0x6038, 0x100002);  // but not if it is not present
  CHECK(write_cr(b, 3, 0x6020).vector == 255);
}

TEST_CASE("CR8 is the APIC's task priority", "[control]") {
  Bench b;
  b.long_mode();
  b.cpu->write_cr(8, 9);
  CHECK(b.platform.priority == 9);
  CHECK(b.cpu->read_cr(8) == 9);
  CHECK(raises(write_cr(b, 8, 16), ex::gp, 0));
  CHECK(trap_of([&] { b.cpu->read_cr(1); }).vector == ex::ud);
}

TEST_CASE("debug registers: aliases, fixed bits, general detection", "[control]") {
  Bench b;
  b.long_mode();
  b.cpu->write_dr(6, 0);
  CHECK(b.cpu->read_dr(6) == 0xffff0ff0);
  b.cpu->write_dr(5, 0);  // names DR7
  CHECK(b.cpu->read_dr(7) == 0x400);
  CHECK(raises(trap_of([&] { b.cpu->write_dr(7, bit(32)); }), ex::gp, 0));
  b.cpu->write_cr(4, cr4::pae | cr4::de);
  CHECK(trap_of([&] { b.cpu->read_dr(4); }).vector == ex::ud);
  b.cpu->write_dr(7, bit(13));
  const Trap t = trap_of([&] { b.cpu->read_dr(0); });
  CHECK(t.vector == ex::db);
  CHECK(t.dr6 == bit(13));
}

// ---- MSRs --------------------------------------------------------------------------------------------------------------

TEST_CASE("EFER knows only the bits that CPUID promises", "[msr]") {
  Bench b;
  b.cpu->write_msr(0xc0000080, efer::sce | efer::nxe | efer::lma);
  CHECK(b.cpu->read_msr(0xc0000080) == (efer::sce | efer::nxe));  // LMA follows CR0.PG alone
  CHECK((b.model.paging.efer & efer::nxe));
  CHECK(raises(write_msr(b, 0xc0000080, efer::svme), ex::gp, 0));
}

TEST_CASE("base addresses must be canonical", "[msr]") {
  Bench b;
  for (u32 index : {0xc0000082u, 0xc0000083u, 0xc0000100u, 0xc0000101u, 0xc0000102u, 0x175u, 0x176u}) {
    CHECK(raises(write_msr(b, index, bit(47)), ex::gp, 0));
    b.cpu->write_msr(index, 0xffff800000001000);
    CHECK(b.cpu->read_msr(index) == 0xffff800000001000);
  }
  CHECK(b.cpu->s.seg[FS].base == 0xffff800000001000);
}

TEST_CASE("PAT and MTRRs take valid memory types only", "[msr]") {
  Bench b;
  CHECK(b.cpu->read_msr(0x277) == 0x0007040600070406);
  CHECK(raises(write_msr(b, 0x277, 2), ex::gp, 0));
  b.cpu->write_msr(0x277, 0x0407050600070106);
  CHECK(b.cpu->read_msr(0x277) == 0x0407050600070106);
  CHECK((b.cpu->read_msr(0xfe) & 0xff) == 10);
  CHECK(raises(write_msr(b, 0x200, 3), ex::gp, 0));
  CHECK(raises(write_msr(b, 0x200, bit(39) | 6), ex::gp, 0));
  CHECK(write_msr(b, 0x201, (low_mask(39) & ~u64{0xfff}) | 0x800).vector == 255);
  CHECK(raises(write_msr(b, 0x2ff, 0x1000), ex::gp, 0));
  CHECK(raises(write_msr(b, 0x26f, u64{7} << 56), ex::gp, 0));
  b.cpu->write_msr(0x250, 0x0606060606060606);
  CHECK(b.cpu->read_msr(0x250) == 0x0606060606060606);
  CHECK(b.cpu->read_msr(0x258) == 0);
}

TEST_CASE("the time-stamp counter is the clock, moved by TSC and TSC_ADJUST alike", "[msr]") {
  Bench b;
  b.clock.cycles = 1000;
  CHECK(b.cpu->read_msr(0x10) == 1000);
  b.cpu->write_msr(0x10, 5000);
  CHECK(b.cpu->read_msr(0x3b) == 4000);
  b.cpu->write_msr(0x3b, 0);
  CHECK(b.cpu->read_msr(0x10) == 1000);
  b.clock.cycles += 7;
  CHECK(b.cpu->tsc() == 1007);
}

TEST_CASE("a register nobody has is #GP and one line in the log", "[msr]") {
  Bench b;
  for (int n = 0; n < 3; ++n) CHECK(raises(trap_of([&] { b.cpu->read_msr(0x12345); }), ex::gp, 0));
  CHECK(raises(write_msr(b, 0x12345, 0), ex::gp, 0));
  CHECK(b.platform.notes.size() == 1);
  for (u32 n = 0; n < 5000; ++n) write_msr(b, 0x20000 + n, 0);
  CHECK(b.platform.notes.size() <= 200);
}

TEST_CASE("each maker has its own registers", "[msr]") {
  Bench intel, amd("[cpu]\nmodel = zen2\n");
  CHECK(trap_of([&] { intel.cpu->read_msr(0xc0010015); }).vector == ex::gp);
  CHECK(trap_of([&] { amd.cpu->read_msr(0xc0010015); }).vector == 255);
  CHECK(trap_of([&] { amd.cpu->read_msr(0x1a0); }).vector == ex::gp);
  amd.cpu->write_msr(0xc0011029, 0x12);
  CHECK(amd.cpu->read_msr(0xc0011029) == 0x12);
  CHECK(amd.cpu->read_msr(0xc0011020) == 0);
  CHECK(amd.cpu->read_msr(0x8b) == 0x8701021);
}

TEST_CASE("speculation controls exist only where CPUID has them", "[msr]") {
  Bench old, modern("[cpu]\nmodel = golden-cove\n");
  CHECK(trap_of([&] { old.cpu->read_msr(0x48); }).vector == ex::gp);
  CHECK(write_msr(old, 0x49, 1).vector == ex::gp);
  modern.cpu->write_msr(0x48, 5);
  CHECK(modern.cpu->read_msr(0x48) == 5);
  CHECK(raises(write_msr(modern, 0x48, 8), ex::gp, 0));
  CHECK(write_msr(modern, 0x49, 1).vector == 255);
  CHECK((modern.cpu->read_msr(0x10a) & 1));  // RDCL_NO: no page-table isolation needed
}

TEST_CASE("the APIC's registers are the platform's", "[msr]") {
  Bench b;
  b.cpu->write_msr(0x1b, 0xfee00800);
  CHECK(b.cpu->read_msr(0x1b) == 0xfee00800);
  CHECK(trap_of([&] { b.cpu->read_msr(0x802); }).vector == ex::gp);  // the bench has no x2APIC
}

TEST_CASE("machine-check banks are there and empty", "[msr]") {
  Bench b;
  CHECK((b.cpu->read_msr(0x179) & 0xff) == 10);
  b.cpu->write_msr(0x400, ~u64{0});
  CHECK(b.cpu->read_msr(0x400) == ~u64{0});
  CHECK(b.cpu->read_msr(0x401) == 0);
  CHECK(raises(write_msr(b, 0x401, 1), ex::gp, 0));
  CHECK(write_msr(b, 0x401, 0).vector == 255);
  CHECK(trap_of([&] { b.cpu->read_msr(0x400 + 40); }).vector == ex::gp);
}

}  // namespace nestwalk::bench
