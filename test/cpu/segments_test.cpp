// Segment loads against the checks of SDM vol. 3, chapter 5, and vol. 2, MOV.
#include "test/cpu/bench.h"

namespace nestwalk::bench {

TEST_CASE("a data segment load fills the hidden part and marks the descriptor accessed", "[segments]") {
  Bench b;
  b.protected_mode();
  b.poke(kGdt + kData0, descriptor(0x123456, 0x00fff, 0x92, 0x4));
  b.cpu->load_segment(DS, kData0);
  const Segment& ds = b.cpu->s.seg[DS];
  CHECK(ds.selector == kData0);
  CHECK(ds.base == 0x123456);
  CHECK(ds.limit == 0xfff);
  CHECK(ds.db);
  CHECK(b.peek<u8>(kGdt + kData0 + 5) == 0x93);
}

TEST_CASE("granularity scales the limit to bytes", "[segments]") {
  Bench b;
  b.protected_mode();
  b.poke(kGdt + kData0, descriptor(0, 0x12345, 0x92, 0xc));
  b.cpu->load_segment(ES, kData0);
  CHECK(b.cpu->s.seg[ES].limit == 0x12345fff);
}

TEST_CASE("a descriptor that is accessed already is not written", "[segments]") {
  Bench b;
  b.protected_mode();
  b.poke(kGdt + kData0, data32(0) | bit(40));
  b.model.read_only_pages.insert(kGdt >> 12);
  CHECK_NOTHROW(b.cpu->load_segment(DS, kData0));
}

TEST_CASE("a fault on the accessed bit leaves the register alone", "[segments]") {
  Bench b;
  b.protected_mode();
  b.model.read_only_pages.insert(kGdt >> 12);
  b.cpu->s.seg[DS].selector = 0x77;
  const Trap t = trap_of([&] { b.cpu->load_segment(DS, kData0); });
  CHECK(t.vector == ex::pf);
  CHECK(t.error == (pf::write | pf::present));  // an implicit supervisor access
  CHECK(b.cpu->s.seg[DS].selector == 0x77);
}

TEST_CASE("data segment loads fault as the manual lists", "[segments]") {
  Bench b;
  b.protected_mode(3);
  auto load = [&](u16 selector) { return trap_of([&] { b.cpu->load_segment(DS, selector); }); };
  CHECK(raises(load(kData0 | 3), ex::gp, kData0));  // DPL 0 below CPL 3
  CHECK(raises(load(kTss), ex::gp, kTss));          // a system segment
  CHECK(raises(load(0x400), ex::gp, 0x400));        // beyond the table
  CHECK(raises(load(0x0c), ex::gp, 0x0c));          // LDT with a zero limit register
  CHECK(load(0).vector == 255);                     // null is fine
  CHECK(b.cpu->s.seg[DS].null);
  b.poke(kGdt + kAbsent, data32(3) & ~bit(47));
  CHECK(raises(load(kAbsent), ex::np, kAbsent));
}

TEST_CASE("an execute-only code segment cannot be read as data, a readable conforming one by anybody", "[segments]") {
  Bench b;
  b.protected_mode(3);
  b.poke(kGdt + kConforming, descriptor(0, 0xfffff, 0x9c, 0xc));
  CHECK(raises(trap_of([&] { b.cpu->load_segment(FS, kConforming | 3); }), ex::gp, kConforming));
  b.poke(kGdt + kConforming, conforming32(0));
  CHECK_NOTHROW(b.cpu->load_segment(FS, kConforming | 3));
}

TEST_CASE("SS must match the privilege level exactly and be writable", "[segments]") {
  Bench b;
  b.protected_mode();
  auto load = [&](u16 selector) { return trap_of([&] { b.cpu->load_segment(SS, selector); }); };
  CHECK(raises(load(0), ex::gp, 0));
  CHECK(raises(load(kData0 | 3), ex::gp, kData0));
  CHECK(raises(load(kData3), ex::gp, kData3 & 0xfffc));
  CHECK(raises(load(kReadOnly), ex::gp, kReadOnly));
  CHECK(raises(load(kAbsent), ex::ss, kAbsent));
  CHECK(load(kData0).vector == 255);
}

TEST_CASE("in 64-bit mode a kernel may run on a null stack segment, a user may not", "[segments]") {
  Bench kernel, user;
  kernel.long_mode(0);
  CHECK_NOTHROW(kernel.cpu->load_segment(SS, 0));
  CHECK(kernel.cpu->s.seg[SS].null);
  CHECK(raises(trap_of([&] { kernel.cpu->load_segment(SS, 3); }), ex::gp, 0));
  user.long_mode(3);
  CHECK(raises(trap_of([&] { user.cpu->load_segment(SS, 3); }), ex::gp, 0));
}

TEST_CASE("real mode takes base from the selector and keeps the limit protected mode left", "[segments]") {
  Bench b;
  b.cpu->s.seg[DS].limit = 0xffffffff;
  b.cpu->load_segment(DS, 0x1234);
  CHECK(b.cpu->s.seg[DS].base == 0x12340);
  CHECK(b.cpu->s.seg[DS].limit == 0xffffffff);
}

TEST_CASE("virtual-8086 mode sets every attribute to the 8086's", "[segments]") {
  Bench b;
  b.protected_mode(3);
  b.cpu->s.rflags |= fl::vm;
  b.cpu->s.seg[DS].limit = 0xffffffff;
  b.cpu->load_segment(DS, 0x1234);
  CHECK(b.cpu->s.seg[DS].base == 0x12340);
  CHECK(b.cpu->s.seg[DS].limit == 0xffff);
  CHECK(b.cpu->s.seg[DS].dpl == 3);
}

TEST_CASE("an LDT is loaded, searched and unloaded", "[segments]") {
  Bench b;
  b.protected_mode();
  b.poke(kLdtAt + 8, descriptor(0x777000, 0xff, 0x92, 0));
  b.cpu->load_ldtr(kLdt);
  CHECK(b.cpu->s.ldtr.base == kLdtAt);
  b.cpu->load_segment(GS, 0x0c);
  CHECK(b.cpu->s.seg[GS].base == 0x777000);
  CHECK(raises(trap_of([&] { b.cpu->load_segment(GS, 0x104); }), ex::gp, 0x104));  // limit FFH: 32 entries
  CHECK(raises(trap_of([&] { b.cpu->load_ldtr(kTss); }), ex::gp, kTss));
  b.cpu->load_ldtr(0);
  CHECK(raises(trap_of([&] { b.cpu->load_segment(GS, 0x0c); }), ex::gp, 0x0c));
}

TEST_CASE("LTR takes an available TSS and makes it busy", "[segments]") {
  Bench b;
  b.protected_mode();
  b.cpu->load_tr(kTss);
  CHECK(b.cpu->s.tr.type == 11);
  CHECK((b.peek<u8>(kGdt + kTss + 5) & 15) == 11);
  CHECK(raises(trap_of([&] { b.cpu->load_tr(kTss); }), ex::gp, kTss));
  CHECK(raises(trap_of([&] { b.cpu->load_tr(0); }), ex::gp, 0));
}

TEST_CASE("in IA-32e mode system descriptors have sixteen bytes and 64-bit bases", "[segments]") {
  Bench b;
  b.long_mode();
  b.poke<u64>(kGdt + kTss + 8, 0xffff8880);
  b.cpu->load_tr(kTss);
  CHECK(b.cpu->s.tr.base == 0xffff888000004000);
  b.poke<u8>(kGdt + kTss + 5, 0x89);
  b.poke<u64>(kGdt + kTss + 8, 0x12340000);  // not canonical
  CHECK(raises(trap_of([&] { b.cpu->load_tr(kTss); }), ex::gp, kTss));
  b.poke<u64>(kGdt + kTss + 8, bit(40));  // a type where none may be
  CHECK(raises(trap_of([&] { b.cpu->load_tr(kTss); }), ex::gp, kTss));
}

}  // namespace nestwalk::bench
