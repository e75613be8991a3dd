// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1 "Imm8 control byte operation"). The first operand is the set,
// the ranges or the pattern; the second is the text.
#include <bit>

#include "cpu/exec/vector.h"

namespace nestwalk::cpu {
namespace {

enum Aggregation : unsigned { kEqualAny, kRanges, kEqualEach, kEqualOrdered };

/// The immediate's fields.
struct Control {
  u8 imm;
  bool words() const { return imm & 1; }
  bool is_signed() const { return imm & 2; }
  unsigned aggregation() const { return imm >> 2 & 3; }
  bool negative() const { return imm & 0x10; }
  bool masked() const { return imm & 0x20; }        ///< polarity concerns valid elements of the text only
  bool upper_choice() const { return imm & 0x40; }  ///< index: most significant; mask: expanded to elements
  unsigned count() const { return words() ? 8 : 16; }
};

/// One string: its elements as integers, and how many of them are valid.
struct Fragment {
  i32 element[16];
  unsigned length;

  Fragment(const Lanes<2>& v, Control control) : length(control.count()) {
    for (unsigned k = 0; k < control.count(); ++k) {
      if (control.words())
        element[k] = control.is_signed() ? i32{v.get<i16>(k)} : i32{v.get<u16>(k)};
      else
        element[k] = control.is_signed() ? i32{v.get<i8>(k)} : i32{v.get<u8>(k)};
    }
  }
  void end_at_null() {
    for (unsigned k = 0; k < length; ++k)
      if (!element[k]) length = k;
  }
  /// An explicit length counts by its absolute value, at most the whole fragment.
  void end_at(i64 explicit_length) {
    const u64 magnitude = explicit_length < 0 ? 0 - static_cast<u64>(explicit_length) : static_cast<u64>(explicit_length);
    if (magnitude < length) length = static_cast<unsigned>(magnitude);
  }
  u32 valid() const { return (1u << length) - 1; }
};

bool in_any(const Fragment& set, i32 v) {
  for (unsigned k = 0; k < set.length; ++k)
    if (set.element[k] == v) return true;
  return false;
}
bool in_ranges(const Fragment& set, i32 v) {
  for (unsigned k = 0; k + 1 < set.length; k += 2)
    if (set.element[k] <= v && v <= set.element[k + 1]) return true;
  return false;
}
/// The pattern, or as much of it as fits before the fragment's end, stands in the text at `at`.
bool stands_at(const Fragment& pattern, const Fragment& text, unsigned at, unsigned count) {
  for (unsigned k = 0; k < pattern.length && at + k < count; ++k)
    if (at + k >= text.length || pattern.element[k] != text.element[at + k]) return false;
  return true;
}

/// IntRes2 of the manual: one bit per element of the text.
u32 compare(const Fragment& a, const Fragment& text, Control control) {
  u32 r = 0;
  const unsigned count = control.count();
  for (unsigned k = 0; k < count; ++k) {
    const bool in_text = k < text.length;
    bool hit = false;
    switch (control.aggregation()) {
      case kEqualAny: hit = in_text && in_any(a, text.element[k]); break;
      case kRanges: hit = in_text && in_ranges(a, text.element[k]); break;
      case kEqualEach: hit = in_text && k < a.length ? a.element[k] == text.element[k] : in_text == (k < a.length); break;
      case kEqualOrdered: hit = stands_at(a, text, k, count); break;
    }
    r |= u32{hit} << k;
  }
  if (!control.negative()) return r;
  return r ^ (control.masked() ? text.valid() : (1u << count) - 1);
}

u32 index_of(u32 bits, Control control) {
  if (!bits) return control.count();
  return static_cast<u32>(control.upper_choice() ? std::bit_width(bits) - 1 : std::countr_zero(bits));
}

Lanes<2> mask_of(u32 bits, Control control) {
  Lanes<2> r{{bits, 0}};
  if (!control.upper_choice()) return r;
  for (unsigned k = 0; k < control.count(); ++k) {
    const bool on = bits >> k & 1;
    if (control.words())
      r.set<u16>(k, on ? 0xffff : 0);
    else
      r.set<u8>(k, on ? 0xff : 0);
  }
  return r;
}

template <bool explicit_length, bool to_index, class E>
void compare_strings(Cpu& c, const Insn& i) {
  E::require(c);
  const Control control{static_cast<u8>(i.imm)};
  Fragment a(vector_reg<2>(c, i.reg[0]), control);
  Fragment text(i.kind[1] == Operand::mem ? c.load<Lanes<2>>(i) : vector_reg<2>(c, i.reg[1]), control);
  if (explicit_length) {
    const auto length = [&](Gpr r) { return i.width == 8 ? static_cast<i64>(c.s.gpr[r]) : static_cast<i32>(c.s.gpr[r]); };
    a.end_at(length(RAX));
    text.end_at(length(RDX));
  } else {
    a.end_at_null();
    text.end_at_null();
  }
  const u32 bits = compare(a, text, control);
  if (to_index)
    c.s.gpr[RCX] = index_of(bits, control);
  else
    E::set(c, 0, mask_of(bits, control));
  c.s.flags.unpack((bits ? fl::cf : 0) | (text.length < control.count() ? fl::zf : 0) |
                   (a.length < control.count() ? fl::sf : 0) | (bits & 1 ? fl::of : 0));
}

template <bool explicit_length, bool to_index>
Handler strings(const Insn& i) {
  return by_encoding_128(i, []<class E>(E) { return then_next<compare_strings<explicit_length, to_index, E>>; });
}

}  // namespace

Handler bind_string_compare(const Insn& i) {
  switch (i.op) {
    case Op::PCMPESTRI: return strings<true, true>(i);
    case Op::PCMPESTRM: return strings<true, false>(i);
    case Op::PCMPISTRI: return strings<false, true>(i);
    case Op::PCMPISTRM: return strings<false, false>(i);
    default: return nullptr;
  }
}

}  // namespace nestwalk::cpu
