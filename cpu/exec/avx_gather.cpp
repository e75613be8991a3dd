// VGATHERx, VPGATHERx (SDM vol. 2, 5; exception class 12): every element whose mask is negative is loaded from an address
// of its own and leaves the mask. A fault keeps what came before it, so that the instruction goes on there when restarted.
#include <algorithm>

#include "cpu/exec/operand.h"
#include "cpu/exec/vector.h"

namespace nestwalk::cpu {
namespace {

void clear_above(Vec& v, unsigned bytes) { std::fill(std::begin(v.q) + bytes / 8, std::end(v.q), u64{0}); }

/// Mask elements become all ones or zeros.
template <class T>
void spread_signs(Vec& mask, unsigned bytes) {
  for (unsigned k = 0; k < bytes / sizeof(T); ++k) mask.set<T>(k, mask.get<T>(k) < 0 ? T{-1} : T{0});
  clear_above(mask, bytes);
}

/// `Index` is i32 or i64, T an element; operand 1 has the index register's number and size. What a fault shows beside the
/// elements that are done is what Intel's cores show: the mask made of full elements, and from the first element on the
/// destination cleared above the vector length, which is that of the longer register.
template <class T, class Index>
void gather(Cpu& c, const Insn& i) {
  require_avx(c);
  Vec &result = c.s.vec[i.reg[0]], &mask = c.s.vec[i.reg[2]];
  const Vec index = c.s.vec[i.reg[1]];
  const unsigned count = std::min<unsigned>(i.size[0] / sizeof(T), i.size[1] / sizeof(Index));
  const unsigned length = std::max(i.size[0], i.size[1]);
  const u64 base = c.s.gpr[i.base] + static_cast<u64>(i.disp);

  spread_signs<T>(mask, length);
  for (unsigned k = 0; k < count; ++k) {
    if (!mask.get<T>(k)) continue;
    const u64 offset = truncate_to(base + (static_cast<u64>(i64{index.get<Index>(k)}) << i.scale), i.address);
    result.set<T>(k, c.load_at<T>(linear_in<mmu::Side::load>(c, i.segment, offset, sizeof(T)), i.segment));
    mask.set<T>(k, T{0});
    clear_above(result, length);
  }
  clear_above(result, count * sizeof(T));
  mask = Vec{};
}

}  // namespace

Handler bind_gather(const Insn& i) {
  switch (i.op) {
    case Op::VGATHERDPS:
    case Op::VPGATHERDD: return then_next<gather<i32, i32>>;
    case Op::VGATHERDPD:
    case Op::VPGATHERDQ: return then_next<gather<i64, i32>>;
    case Op::VGATHERQPS:
    case Op::VPGATHERQD: return then_next<gather<i32, i64>>;
    case Op::VGATHERQPD:
    case Op::VPGATHERQQ: return then_next<gather<i64, i64>>;
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
