// Decoded blocks are found by where their bytes are, and die when these change (SDM vol. 3, 8.1.3, 20.1.1).
#include "cpu/blocks.h"
#include "test/cpu/bench.h"

namespace nestwalk::bench {

TEST_CASE("the same IP in segments sixteen bytes apart is other code", "[blocks]") {
  Bench b;
  const u8 inc_ax[] = {0x40, 0xf4}, inc_bx[] = {0x43, 0xf4};  // HLT behind them
  b.memory.write(MachineAddr(0x10100), inc_ax);
  b.memory.write(MachineAddr(0x10110), inc_bx);
  for (unsigned round = 1; round <= 2; ++round)
    for (const u16 selector : {0x1000, 0x1001}) {
      b.cpu->s.halted = false;
      b.cpu->far_jump(selector, 0x100, 2);
      b.cpu->run(b.clock.instructions + 2);
      CHECK(b.cpu->s.gpr[RAX] == round);
      CHECK(b.cpu->s.gpr[RBX] == (selector == 0x1001 ? round : round - 1));
    }
}

TEST_CASE("a store into the running block is seen in a segment that begins within a page", "[blocks]") {
  Bench b;
  // mov byte cs:[0x106], 0x43; inc ax, which becomes inc bx; hlt
  const u8 text[] = {0x2e, 0xc6, 0x06, 0x06, 0x01, 0x43, 0x40, 0xf4};
  b.memory.write(MachineAddr(0x10550), text);
  b.cpu->far_jump(0x1045, 0x100, 2);
  b.cpu->run(b.clock.instructions + 3);
  CHECK(b.cpu->s.gpr[RAX] == 0);
  CHECK(b.cpu->s.gpr[RBX] == 1);
}

TEST_CASE("an instruction across a page end is decoded once, and again when its bytes change", "[blocks]") {
  Bench b;
  const u8 text[] = {0x40, 0x05, 0x02, 0x00, 0xeb, 0xfa};  // inc ax; add ax, 2, from the page's last byte on; jmp back
  b.memory.write(MachineAddr(0x10ffe), text);
  b.cpu->far_jump(0x1000, 0xffe, 2);
  const auto rounds = [&](unsigned n) {
    const u64 ax = b.cpu->s.gpr[RAX], built = b.cpu->blocks().built();
    b.cpu->run(b.clock.instructions + 3 * n);
    struct Ran {
      u64 added, built;
    };
    return Ran{b.cpu->s.gpr[RAX] - ax, b.cpu->blocks().built() - built};
  };
  rounds(2);
  for (unsigned n = 0; n < 3; ++n) {
    const auto known = rounds(10);
    CHECK(known.added == 30);
    CHECK(known.built == 0);
  }
  REQUIRE(b.cpu->port.store(LinearAddr(0x11000), u8{9}));
  const auto second = rounds(10);
  CHECK(second.added == 100);
  CHECK(second.built > 0);
  REQUIRE(b.cpu->port.store(LinearAddr(0x10ffe), u8{0x90}));  // nop, before it on the first page
  const auto first = rounds(10);
  CHECK(first.added == 90);
  CHECK(first.built > 0);
  const u8 elsewhere[] = {0x05, 0x00, 0xeb, 0xfa};  // what of it lies on the second page, which is another one now
  b.memory.write(MachineAddr(0x23000), elsewhere);
  b.model.moved_pages[0x11] = 0x23;
  CHECK(rounds(10).added == 50);
  b.model.moved_pages.clear();
  CHECK(rounds(10).added == 90);
}

}  // namespace nestwalk::bench
