// The state of a case: random registers, with addresses that mostly lead into the data pages and operands that mostly suit
// the instruction (a dividend that fits, a comparand that matches, a pending x87 exception, ...).
#include "test/oracle/harness/draw.h"

#include <cstring>

#include "cpu/decode.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

class Setting {
 public:
  Setting(Case& c, const Form& f, const Insn& i, Random& random) : c_(c), f_(f), i_(i), random_(random), r_(c.before) {}

  void draw() {
    registers();
    memory();
    vectors();
    x87();
    pointers();
    if (f_.memory) operand();
    special();
    if (c_.mode != Mode::k64)
      for (u64& g : r_.gpr) g = static_cast<u32>(g);
    if (c_.mode != Mode::k64) std::fill(r_.gpr.begin() + 8, r_.gpr.end(), 0);
  }

 private:
  bool one_in(u64 n) { return random_.below(n) == 0; }
  /// A place for `bytes` of data; aligned to 16 often enough.
  u64 place(unsigned bytes) {
    const Stretch& s = kStretches[random_.below(std::size(kStretches))];
    const u64 at = kData + s.offset + random_.below(s.bytes > bytes + 40 ? s.bytes - bytes - 40 : 1);
    return one_in(2) ? (at + 31) & ~u64{31} : at;
  }
  u64 code_place() {
    const u64 at = one_in(2) ? kCode + c_.length : kCode - 100 + random_.below(90);
    return one_in(16) ? random_.next() : at;
  }

  void registers() {
    for (u64& g : r_.gpr) g = draw_integer(random_);
    r_.rflags = 0x202 | (random_.next() & 0x8d5);
    if (one_in(16)) r_.rflags |= fl::df;
    if (one_in(40)) r_.rflags |= fl::ac;
    if (c_.mode == Mode::k64) r_.fs_base = 0x140, r_.gs_base = 0x3ff0;
  }
  /// XSAVE and its like: no component is in its initial state, since what a processor takes for that is its own business
  /// (SDM vol. 1, 13.6).
  bool saves_state() const {
    return f_.op == Op::XSAVE || f_.op == Op::XSAVE64 || f_.op == Op::XSAVEOPT || f_.op == Op::XSAVEOPT64 ||
           f_.op == Op::XSAVEC || f_.op == Op::XSAVEC64;
  }

  bool loads_state() const { return f_.op == Op::XRSTOR || f_.op == Op::XRSTOR64; }

  void memory() {
    const u64 kind = random_.below(5);
    for (unsigned n = 0; n < kMemory; n += 8) {
      u64 v = random_.next();
      if (kind == 0) v &= 0x0101010101010101 * random_.below(4);
      if (kind == 1) v = draw_double(random_);
      if (kind == 2) v = draw_single(random_) | u64{draw_single(random_)} << 32;
      if (kind == 3) v = draw_integer(random_);
      std::memcpy(&c_.memory[n], &v, 8);
    }
  }
  void vectors() {
    const bool busy = f_.vector || f_.mmx || saves_state() || loads_state() || one_in(16);
    if (!busy) return;
    r_.mxcsr = static_cast<u32>(0x1f80 | (random_.next() & 0x603f));
    if (one_in(4)) r_.mxcsr |= random_.next() & 0x8040;
    if (one_in(8)) r_.mxcsr &= ~static_cast<u32>(random_.next() & 0x1f80);
    for (Registers::Ymm& y : r_.ymm)
      for (unsigned half = 0; half < 2; ++half) {
        const u64 kind = random_.below(5);
        for (unsigned n = 2 * half; n < 2 * half + 2; ++n) {
          y.q[n] = kind == 0   ? random_.next()
                   : kind == 1 ? draw_double(random_)
                   : kind == 2 ? draw_single(random_) | u64{draw_single(random_)} << 32
                   : kind == 3 ? draw_integer(random_)
                               : random_.next() & 0x0f0f070f030f0107;
        }
      }
    if (one_in(8)) r_.ymm[random_.below(16)] = r_.ymm[random_.below(16)];
    if (is_fused() && !one_in(4)) refill([&] { return draw_near(random_, f_.w); });
    if ((f_.op == Op::VCVTPH2PS || f_.op == Op::VCVTPS2PH) && !one_in(4)) refill([&] { return draw_halves(random_); });
  }
  /// FMA3: opcodes 96 to 9F, A6 to AF, B6 to BF of the map 0F 38.
  bool is_fused() const { return f_.vex && f_.map == 2 && f_.opcode >= 0x96 && f_.opcode <= 0xbf && (f_.opcode & 15) >= 6; }
  template <class Word>
  void refill(Word word) {
    for (Registers::Ymm& y : r_.ymm)
      for (u64& q : y.q) q = word();
    for (unsigned n = 0; n < kMemory; n += 8) {
      const u64 v = word();
      std::memcpy(&c_.memory[n], &v, 8);
    }
  }
  void x87() {
    if (!(f_.x87 || f_.mmx || saves_state() || loads_state() || one_in(32))) return;
    r_.fcw = static_cast<u16>(0x40 | (random_.next() & 0xf00) | 0x3f);
    if (one_in(3)) r_.fcw &= static_cast<u16>(~(random_.next() & 0x3f));
    r_.fsw = static_cast<u16>(random_.next() & 0x7f00);
    if (one_in(4)) r_.fsw |= random_.next() & 0x7f;
    const bool pending = r_.fsw & ~r_.fcw & 0x3f;
    if (pending && one_in(3))
      r_.fsw |= 0x8080;  // ES and B
    else
      r_.fsw &= static_cast<u16>(~0x3f | r_.fcw);  // unmasked and not summarised cannot be
    r_.tags = static_cast<u8>(one_in(3) ? random_.next() : 0xff & ~(random_.next() & random_.next() & random_.next()));
    const unsigned top = (r_.fsw >> 11) & 7;
    if (one_in(2)) r_.tags &= static_cast<u8>(~(1 << ((top + 7) & 7)));  // room for a push
    if (f_.mmx && one_in(2)) r_.fsw = 0;
    for (Registers::Extended& x : r_.st) x = draw_extended(random_);
  }

  /// What instructions address without saying so.
  void pointers() {
    r_.gpr[RSP] = place(64);
    if (!one_in(4)) r_.gpr[RSP] &= ~u64{7};
    if (one_in(40)) r_.gpr[RSP] = kData + random_.below(24);
    if (f_.string || f_.op == Op::MASKMOVQ || f_.op == Op::MASKMOVDQU) {
      r_.gpr[RSI] = place(16);
      r_.gpr[RDI] = one_in(3) ? r_.gpr[RSI] + random_.below(130) - 65 : place(16);
      r_.gpr[RCX] = one_in(3) ? random_.below(600) : random_.below(40);
      if (one_in(8)) r_.gpr[RDI] = kData + kDataBytes - random_.below(100);
      if (one_in(8)) r_.gpr[RSI] = kData + random_.below(100);
      if (one_in(2)) r_.gpr[RAX] = random_.below(3) * 0x0101010101010101;
      if (i_.address == 4 && one_in(2)) r_.gpr[RCX] |= random_.next() << 32;
      if (one_in(3)) r_.rflags |= fl::df;
    }
    if (f_.op == Op::XLAT) r_.gpr[RBX] = place(256);
    if (f_.op == Op::ENTER || f_.op == Op::LEAVE) r_.gpr[RBP] = place(64);
    if (segment_base() && (f_.string || f_.op == Op::XLAT)) r_.gpr[f_.string ? RSI : RBX] -= segment_base();
  }

  u64 segment_base() const {
    return c_.mode != Mode::k64 ? 0 : i_.segment == FS ? r_.fs_base : i_.segment == GS ? r_.gs_base : 0;
  }

  /// Registers of the memory operand such that it lies in the data.
  void operand() {
    const unsigned bytes = std::clamp(f_.memory_bytes, 1u, 128u);
    target_ = place(bytes);
    if (f_.memory_bytes >= 512 && !one_in(4)) target_ = kData + kStretches[1].offset + 64 * random_.below(2);  // an image
    if (one_in(24)) {  // behind the end, or before the beginning
      const u64 off = random_.below(2 * (bytes + 8));
      target_ = off < bytes + 8 ? kData + kDataBytes - off : kData - (off - bytes - 8);
    }
    if (one_in(64)) target_ = draw_integer(random_);
    auto& g = r_.gpr;
    const u64 want = target_ - segment_base() - static_cast<u64>(i_.disp);
    const bool has_base = i_.base < 16, has_index = i_.index < 16 && !f_.vsib;
    if (f_.vsib) vector_index();
    if (has_base && has_index && i_.base == i_.index)
      g[i_.base] = want / (1 + (u64{1} << i_.scale));
    else if (has_base)
      g[i_.base] = want - (has_index ? g[i_.index] << i_.scale : 0);
    else if (has_index)
      g[i_.index] = want >> i_.scale;
    if (i_.address == 4 && has_base && one_in(2)) g[i_.base] |= random_.next() << 32;
    if (has_base || has_index || f_.vsib) value(bytes);
  }
  void vector_index() {
    for (Registers::Ymm& y : r_.ymm)
      if (!one_in(3))
        for (u64& q : y.q)
          q = f_.w && one_in(2) ? random_.below(40) - 20
                                : static_cast<u32>(random_.below(40) - 20) | (random_.below(40) - 20) << 32;
    for (unsigned n = 0; n < 4; ++n)
      for (Registers::Ymm* y : {&r_.ymm[n], &r_.ymm[n + 8]}) y->q[n] |= random_.next() & 0x8000000080000000;
  }
  /// The bytes there, of the kind that the instruction reads.
  void value(unsigned bytes) {
    u8* const to = at(target_, bytes);
    if (!to) return;
    u64 v[2] = {draw_integer(random_), draw_integer(random_)};
    if (f_.x87 || f_.vector) {
      if (one_in(4)) return;
      if (bytes == 4) v[0] = draw_single(random_);
      if (bytes == 8) v[0] = draw_double(random_);
      if (bytes == 10) {
        const Registers::Extended x = draw_extended(random_);
        v[0] = x.significand, v[1] = x.sign_exponent;
      }
      if (f_.op == Op::FBLD)
        for (u64& q : v) q = (random_.next() & 0x7777777777777777) | (one_in(4) ? 0x8888 : 0);
      if (bytes > 10) return;
    }
    std::memcpy(to, v, std::min(bytes, 16u));
  }
  /// The case's copy of data memory at a linear address, or nullptr.
  u8* at(u64 linear, unsigned bytes) {
    unsigned from = 0;
    for (const Stretch& s : kStretches) {
      if (linear - (kData + s.offset) <= s.bytes - std::min(bytes, s.bytes))
        return &c_.memory[from + (linear - kData - s.offset)];
      from += s.bytes;
    }
    return nullptr;
  }
  template <class T>
  void put(u64 linear, T v) {
    if (u8* const to = at(linear, sizeof v)) std::memcpy(to, &v, sizeof v);
  }

  bool base_is(unsigned reg) const { return f_.memory && (i_.base == reg || i_.index == reg); }

  void special() {
    auto& g = r_.gpr;
    switch (f_.op) {
      case Op::DIV:
      case Op::IDIV:
        if (one_in(4) || base_is(RDX) || base_is(RAX)) break;
        g[RDX] = one_in(3) ? 0 : g[RDX] >> (1 + random_.below(63));
        if (one_in(2)) g[RDX] = static_cast<u64>(static_cast<i64>(g[RAX]) >> 63);
        if (one_in(2)) g[RAX] >>= random_.below(60);
        break;
      case Op::BT:
      case Op::BTS:
      case Op::BTR:
      case Op::BTC:
        if (f_.memory && i_.kind[1] == Operand::gpr && !base_is(i_.reg[1] / 8) && !one_in(8))
          g[i_.reg[1] / 8] = one_in(2) ? random_.below(1000) : -random_.below(1000);
        break;
      case Op::CMPXCHG8B:
      case Op::CMPXCHG16B:
      case Op::CMPXCHG: match(); break;
      case Op::LOOP:
      case Op::LOOPE:
      case Op::LOOPNE:
      case Op::JCXZ:
      case Op::JECXZ:
      case Op::JRCXZ: g[RCX] = random_.below(3) | (one_in(2) ? random_.next() << 32 : 0); break;
      case Op::CALL:
      case Op::JMP:
        if (f_.memory)
          put(target_, code_place());
        else if (i_.kind[0] == Operand::gpr)
          g[i_.reg[0] / 8] = code_place();
        break;
      case Op::RET: put(g[RSP], code_place()); break;
      case Op::IRETQ: far_frame(8, true); break;
      case Op::IRETD: far_frame(4, true); break;
      case Op::RETF: far_frame(i_.width, false); break;
      case Op::JMPF:
      case Op::CALLF: far_pointer(); break;
      case Op::POPF:
      case Op::POPFD:
      case Op::POPFQ:
        put<u64>(g[RSP], (random_.next() & 0x3ffeff) | fl::if_);
        break;  // TF would trap in the harness's own code
      case Op::LAR:
      case Op::LSL:
      case Op::VERR:
      case Op::VERW: selector(i_.kind[1] == Operand::none ? 0 : 1); break;
      case Op::MOV:
        if (i_.kind[0] == Operand::seg) selector(1);
        break;
      case Op::POP:
        if (i_.kind[0] == Operand::seg) put<u64>(g[RSP], draw_selector());
        break;
      case Op::LSS:
      case Op::LFS:
      case Op::LGS:
      case Op::LDS:
      case Op::LES: put<u16>(target_ + i_.width, draw_selector()); break;
      case Op::XSAVE:
      case Op::XSAVE64:
      case Op::XSAVEOPT:
      case Op::XSAVEOPT64:
      case Op::XSAVEC:
      case Op::XSAVEC64:
      case Op::XRSTOR:
      case Op::XRSTOR64: xsave_area(); break;
      case Op::FXRSTOR:
      case Op::FXRSTOR64:
        put<u32>(target_ + 24, one_in(8) ? static_cast<u32>(random_.next()) : 0x1fbf & static_cast<u32>(random_.next()));
        break;
      case Op::LDMXCSR: put<u32>(target_, static_cast<u32>(random_.next()) & (one_in(8) ? ~u32{0} : 0xffff)); break;
      case Op::XGETBV: g[RCX] = random_.below(3); break;
      case Op::RDPKRU:
      case Op::WRPKRU:
        g[RAX] &= ~u64{3};  // key 0 is that of all pages here
        if (!one_in(8)) g[RCX] &= ~u64{0xffffffff};
        if (!one_in(8)) g[RDX] &= ~u64{0xffffffff};
        break;
      case Op::CPUID: g[RAX] = random_.below(2) ? 0 : 1; break;
      default: break;
    }
  }

  /// A comparand that memory holds, so that the exchange happens.
  void match() {
    if (one_in(2) || base_is(RAX) || base_is(RDX)) return;
    const unsigned half = f_.op == Op::CMPXCHG8B ? 4 : f_.op == Op::CMPXCHG16B ? 8 : i_.width;
    if (!f_.memory) {
      r_.gpr[RAX] = r_.gpr[i_.reg[0] / 8];
    } else if (u8* const p = at(target_, 2 * half)) {
      std::memcpy(&r_.gpr[RAX], p, half);
      if (f_.op != Op::CMPXCHG) std::memcpy(&r_.gpr[RDX], p + half, half);
    }
  }
  u16 user_code() { return c_.mode == Mode::k64 ? 0x33 : 0x23; }
  void far_frame(unsigned width, bool interrupt) {
    if (one_in(3)) return;
    const u64 sp = r_.gpr[RSP];
    const u64 words[5] = {code_place(), user_code(), (random_.next() & 0xcd5) | 0x202, place(16), 0x2b};
    for (unsigned n = 0; n < (interrupt ? 5u : 2u); ++n)
      if (width == 8)
        put<u64>(sp + 8 * n, words[n]);
      else
        put<u32>(sp + 4 * n, static_cast<u32>(words[n]));
  }
  void far_pointer() {
    if (!f_.memory || one_in(3)) return;
    put<u64>(target_, code_place());
    put<u16>(target_ + i_.width, user_code());
  }
  /// Selectors that Linux gives a process, its own that it refuses, null ones, and ones beyond every table. The last entry
  /// of the table (7BH) differs from processor to processor.
  u16 draw_selector() {
    static constexpr u16 list[] = {0, 1, 2, 3, 0x2b, 0x33, 0x23, 0x28, 0x10, 0x18, 0x08, 0xfff8, 0xfffb, 0x2a, 0x34, 0x1c};
    return list[random_.below(std::size(list))];
  }
  void selector(unsigned n) {
    if (i_.kind[n] == Operand::mem)
      put<u64>(target_, draw_selector());
    else if (i_.kind[n] == Operand::gpr)
      r_.gpr[i_.reg[n] / 8] = (r_.gpr[i_.reg[n] / 8] & ~u64{0xffff}) | draw_selector();
  }
  /// A header that is accepted, mostly; for XRSTOR in the compacted format, too (SDM vol. 1, 13.4.2).
  void xsave_area() {
    r_.gpr[RDX] = 0;
    r_.gpr[RAX] = random_.below(8);
    for (unsigned n = 512; n < 576; n += 8) put<u64>(target_ + n, n == 512 && !one_in(8) ? random_.below(8) : 0);
    put<u32>(target_ + 24, 0x1f80);
    put<u32>(target_ + 28, 0);
    if (!loads_state()) return;
    put<u32>(target_ + 24, static_cast<u32>(0x1f80 | random_.below(64)));
    const u64 present = random_.below(8);
    put<u64>(target_ + 512, present);
    if (one_in(2)) put<u64>(target_ + 520, u64{1} << 63 | present | random_.below(8));
    if (!one_in(4)) return;
    switch (random_.below(4)) {
      case 0: put<u64>(target_ + 520, u64{1} << random_.below(64)); break;
      case 1: put<u64>(target_ + 528 + 8 * random_.below(6), u64{1} << random_.below(64)); break;
      case 2: put<u64>(target_ + 512, u64{1} << (20 + random_.below(44))); break;  // a component that nobody has
      default: put<u32>(target_ + 24, 0x10000u << random_.below(16)); break;
    }
  }

  Case& c_;
  const Form& f_;
  const Insn& i_;
  Random& random_;
  Registers& r_;
  u64 target_ = 0;
};

}  // namespace

Case draw_case(const Atlas& atlas, const Cpuid& cpuid, u32 form, u64 seed, u64 number) {
  Random random(seed ^ (number + 1) * 0xd1342543de82ef95);
  const Form& f = atlas.forms()[form];
  Case c;
  c.number = number;
  c.form = form;
  c.op = f.op;
  c.mode = atlas.mode();
  Insn i;
  for (unsigned attempt = 0; attempt < 8; ++attempt) {
    const std::vector<u8> bytes = draw_encoding(f, c.mode, false, random);
    if (bytes.size() > c.code.size()) continue;
    c.length = static_cast<u8>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), c.code.begin());
    const bool legal = decode_insn(c.code.data(), c.length, code_size(c.mode), kCode, cpuid, i) == Decoded::ok;
    if (legal && i.op == f.op && i.length == c.length) break;
    if (!legal && random.below(16) == 0) break;
  }
  Setting(c, f, i, random).draw();
  return c;
}

}  // namespace nestwalk::oracle
