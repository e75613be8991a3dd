// Debug exceptions, NMI blocking, alignment checks and accesses that end on a page that is not there (SDM vol.
// 3, 6.7.1, 6.8, 17.2, 17.3; 6.15, #AC).
#include "test/cpu/bench.h"

namespace nestwalk::bench {
namespace {

/// Handlers of all vectors are NOPs at kHandler + 16 * vector.
struct Watched : Bench {
  explicit Watched(u8 cpl = 0) {
    long_mode(cpl);
    for (unsigned v = 0; v < 32; ++v) {
      handler(static_cast<u8>(v), static_cast<u32>(kHandler + 16 * v));
      poke<u32>(kHandler + 16 * v, 0x90909090);
    }
  }
  /// The vector in whose handler the processor is, or 255.
  u8 vector() const {
    const u64 rip = cpu->s.rip;
    return rip >= kHandler && rip < kHandler + 16 * 32 ? static_cast<u8>((rip - kHandler) / 16) : 255;
  }
  /// RIP that the handler was given (same level, 64-bit frame, no error code).
  u64 pushed_rip() const { return stack(0); }
};

constexpr u64 kDr6Fixed = 0xffff0ff0;

}  // namespace

TEST_CASE("TF traps behind each instruction with DR6.BS and is clear in the handler", "[debug]") {
  Watched b;
  b.cpu->set_rflags(b.cpu->rflags() | fl::tf);
  b.text({0x90, 0x90});
  b.step(2);
  CHECK(b.vector() == ex::db);
  CHECK(b.pushed_rip() == kText + 1);
  CHECK(b.cpu->s.dr[6] == (kDr6Fixed | bit(14)));
  CHECK_FALSE(b.cpu->s.rflags & fl::tf);
  CHECK((b.stack(2) & fl::tf) != 0);
}

TEST_CASE("MOV SS delays a trap by one instruction", "[debug]") {
  Watched b;
  b.cpu->set_rflags(b.cpu->rflags() | fl::tf);
  b.cpu->s.gpr[RAX] = 0;
  b.text({0x8e, 0xd0, 0x90, 0x90});  // mov ss, ax; nop; nop
  b.step(3);
  CHECK(b.vector() == ex::db);
  CHECK(b.pushed_rip() == kText + 3);
}

TEST_CASE("a trap's frame shows RF only between the elements of a repeated string", "[debug]") {
  Watched plain;
  plain.cpu->set_rflags(plain.cpu->rflags() | fl::tf);
  plain.text({0x90, 0x90});
  plain.step(2);
  CHECK((plain.stack(2) & fl::rf) == 0);
  for (const u64 left : {2, 1}) {
    Watched b;
    b.cpu->set_rflags(b.cpu->rflags() | fl::tf);
    b.cpu->s.gpr[RDI] = kStack3;
    b.cpu->s.gpr[RCX] = left;
    b.text({0xf3, 0xaa, 0x90});  // rep stosb
    b.step(2);
    CHECK(b.vector() == ex::db);
    CHECK(b.pushed_rip() == (left == 1 ? kText + 2 : kText));
    CHECK((b.stack(2) & fl::rf) == (left == 1 ? 0 : fl::rf));
  }
}

TEST_CASE("INT3 clears TF before it could trap", "[debug]") {
  Watched b;
  b.cpu->set_rflags(b.cpu->rflags() | fl::tf);
  b.text({0xcc});
  b.step(3);
  CHECK(b.vector() == ex::bp);
  CHECK(b.cpu->s.dr[6] == kDr6Fixed);
}

TEST_CASE("a debug exception clears the hits of earlier ones in DR6, but not BS", "[debug]") {
  Watched b;
  b.cpu->s.dr[6] = kDr6Fixed | bit(14) | 0xf;
  b.cpu->s.dr[0] = kText;
  b.cpu->s.dr[7] = 0x402;
  b.cpu->update_breakpoints();
  b.text({0x90});
  b.step(2);
  CHECK(b.vector() == ex::db);
  CHECK(b.cpu->s.dr[6] == (kDr6Fixed | bit(14) | 1));
}

TEST_CASE("an instruction breakpoint faults before its instruction, and RF lets it pass once", "[debug]") {
  Watched b;
  b.cpu->write_dr(1, kText + 1);
  b.cpu->write_dr(7, 1 << 2);
  b.text({0x90, 0x90, 0x90});
  b.step(2);
  CHECK(b.vector() == ex::db);
  CHECK(b.pushed_rip() == kText + 1);
  CHECK(b.cpu->s.dr[6] == (kDr6Fixed | 2));
  Watched c;
  c.cpu->write_dr(1, kText + 1);
  c.cpu->write_dr(7, 1 << 2);
  c.text({0x90, 0x90, 0x90});
  c.cpu->s.rip = kText + 1;
  c.cpu->set_rflags(c.cpu->rflags() | fl::rf);
  c.step(2);
  CHECK(c.vector() == 255);
  CHECK(c.cpu->s.rip == kText + 3);
  CHECK_FALSE(c.cpu->s.rflags & fl::rf);
}

TEST_CASE("a data breakpoint traps behind the store, by its length, and not on reads unless asked", "[debug]") {
  const auto run = [](unsigned kind, unsigned length, const std::vector<u8>& code) {
    Watched b;
    b.cpu->write_dr(2, 0x30004);
    b.cpu->write_dr(7, 1 << 4 | kind << 24 | length << 26);
    b.cpu->s.gpr[RDI] = 0x30000;
    b.text(code);
    b.step(2);
    if (b.vector() == ex::db) {
      CHECK(b.cpu->s.dr[6] == (kDr6Fixed | 4));
      CHECK(b.pushed_rip() == kText + code.size() - 1);
    }
    return b.vector();
  };
  const std::vector<u8> store = {0x89, 0x47, 0x04, 0x90}, load = {0x8b, 0x47, 0x04, 0x90},
                        beside = {0x88, 0x47, 0x08, 0x90}, inside = {0x88, 0x47, 0x07, 0x90};
  CHECK(run(1, 3, store) == ex::db);
  CHECK(run(1, 3, load) == 255);
  CHECK(run(3, 3, load) == ex::db);
  CHECK(run(1, 3, beside) == 255);
  CHECK(run(1, 3, inside) == ex::db);
  CHECK(run(1, 0, inside) == 255);  // one byte
}

TEST_CASE("a data breakpoint and single-step behind one instruction are one trap with both bits", "[debug]") {
  Watched b;
  b.cpu->write_dr(2, 0x30004);
  b.cpu->write_dr(7, 1 << 4 | 1 << 24 | 3 << 26);
  b.cpu->s.gpr[RDI] = 0x30000;
  b.cpu->set_rflags(b.cpu->rflags() | fl::tf);
  b.text({0x89, 0x47, 0x04, 0x90});
  b.step(2);
  CHECK(b.vector() == ex::db);
  CHECK(b.pushed_rip() == kText + 3);
  CHECK(b.cpu->s.dr[6] == (kDr6Fixed | bit(14) | 4));
}

TEST_CASE("an NMI holds further NMIs back until IRET", "[nmi]") {
  Watched b;
  b.text({0x90, 0x90});
  b.cpu->raise_nmi();
  b.step();
  CHECK(b.vector() == ex::nmi);
  CHECK(b.pushed_rip() == kText);
  b.poke<u16>(kHandler + 16 * 2 + 1, 0xcf48);  // nop; iretq
  b.cpu->raise_nmi();
  b.step();  // IRETQ
  CHECK(b.cpu->s.rip == kText);
  b.step();  // now the second comes
  CHECK(b.vector() == ex::nmi);
  CHECK(b.pushed_rip() == kText);
}

TEST_CASE("alignment is checked at level 3 under CR0.AM and EFLAGS.AC only", "[ac]") {
  const auto run = [](u8 cpl, bool am, bool ac, u64 address) {
    Watched b(cpl);
    if (am) b.cpu->s.cr0 |= mmu::cr0::am;
    if (ac) b.cpu->s.rflags |= fl::ac;
    b.cpu->update_paging();
    b.cpu->s.gpr[RDI] = address;
    b.text({0x8b, 0x07, 0x90});  // mov eax, [rdi]
    b.step(2);
    return b.vector();
  };
  CHECK(run(3, true, true, 0x30002) == ex::ac);
  CHECK(run(3, true, true, 0x30004) == 255);
  CHECK(run(3, false, true, 0x30002) == 255);
  CHECK(run(3, true, false, 0x30002) == 255);
  CHECK(run(0, true, true, 0x30002) == 255);
}

TEST_CASE("a store that ends on a missing page writes nothing on the first", "[crossing]") {
  constexpr u64 kEnd = 0x31000;
  for (const std::vector<u8>& code :
       std::vector<std::vector<u8>>{{0x48, 0x89, 0x07},              // mov [rdi], rax
                                    {0x48, 0xff, 0x07},              // inc qword [rdi]
                                    {0xf0, 0x48, 0x0f, 0xc1, 0x07},  // lock xadd [rdi], rax
                                    {0x48, 0x87, 0x07},              // xchg [rdi], rax
                                    {0x48, 0x0f, 0xc7, 0x0f},        // cmpxchg16b [rdi]: alignment comes first
                                    {0x0f, 0x11, 0x07},              // movups [rdi], xmm0
                                    {0x0f, 0x01, 0x07},              // sgdt [rdi]
                                    {0x48, 0x0f, 0xc3, 0x07},        // movnti [rdi], rax
                                    {0x48, 0x0f, 0xab, 0x07}}) {     // bts [rdi], rax
    Watched b;
    b.cpu->s.cr4 |= mmu::cr4::osfxsr;
    b.model.missing_pages.insert(kEnd >> 12);
    b.poke<u64>(kEnd - 8, 0x5555555555555555);
    b.cpu->s.gpr[RDI] = kEnd - 4;
    b.cpu->s.gpr[RAX] = 3;
    b.text(code);
    b.step();
    INFO(unsigned{code[1]});
    CHECK(b.vector() == (code[2] == 0xc7 ? ex::gp : ex::pf));
    if (code[2] != 0xc7) CHECK(b.cpu->s.cr2 == kEnd);
    CHECK(b.peek<u64>(kEnd - 8) == 0x5555555555555555);
    CHECK(b.cpu->s.gpr[RAX] == 3);
  }
  Watched b;  // and the page behind may be read-only
  b.model.read_only_pages.insert(kEnd >> 12);
  b.poke<u64>(kEnd - 4, 0x5555555555555555);
  b.cpu->s.gpr[RDI] = kEnd - 4;
  b.text({0x48, 0x89, 0x07});
  b.step();
  CHECK(b.vector() == ex::pf);
  CHECK(b.peek<u64>(kEnd - 4) == 0x5555555555555555);
}

TEST_CASE("the I/O permission bitmap guards INS and OUTS, every byte of the port's width", "[io]") {
  for (const std::vector<u8>& code : std::vector<std::vector<u8>>{{0x6c}, {0x6e}, {0x6d}, {0x6f}, {0xf3, 0x6c}})
    for (const bool open : {false, true}) {
      Watched b(3);
      b.cpu->s.tr.limit = 0x68 + 0x100;
      for (unsigned n = 0; n < 0x100; ++n) b.poke<u8>(kTssAt + 0x68 + n, 0xff);
      b.poke<u8>(kTssAt + 0x68 + 0x60 / 8, open ? 0xf0 : 0xf8);  // ports 60H to 63H, or all but the last
      const bool wide = code.back() & 1;
      b.cpu->s.gpr[RDX] = wide ? 0x60 : open ? 0x60 : 0x63;
      b.cpu->s.gpr[RCX] = 2;
      b.cpu->s.gpr[RSI] = b.cpu->s.gpr[RDI] = 0x30000;
      b.text(code);
      b.step();
      CHECK((b.vector() == ex::gp) == !open);
      CHECK((b.platform.reads.empty() && b.platform.writes.empty()) == !open);
    }
}

}  // namespace nestwalk::bench
