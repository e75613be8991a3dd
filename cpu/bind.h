// From a meaning (a plain function on Cpu and Insn) to a handler that a block can run.
#pragma once

#include "cpu/cpu.h"

namespace nestwalk::cpu {

using Meaning = void (*)(Cpu&, const Insn&);

/// Executes and goes on with the next instruction of the block. `current` tells the run loop where a fault happened.
template <Meaning meaning>
void then_next(Cpu& c, const Insn& i) {
  c.current = &i;
  meaning(c, i);
  const Insn* next = &i + 1;
  return next->fn(c, *next);
}

/// The same for meanings that cannot fault and do not look at Cpu::current.
template <Meaning meaning>
void pure(Cpu& c, const Insn& i) {
  meaning(c, i);
  const Insn* next = &i + 1;
  return next->fn(c, *next);
}

// ---- memory, quickly ----------------------------------------------------------------------------------------------------
//
// A meaning that touches memory is a template over how it reaches it and says whether it happened. `Filtered` knows only
// what the L0 filter knows and otherwise does nothing, so the usual path is a leaf function without calls or saved
// registers; `Asked` is the whole way, and throws what faults.

struct Filtered {
  static NW_INLINE bool linear(Cpu& c, const Insn& i, u64& a) {
    if (NW_UNLIKELY(i.flags & Insn::kSlowAddress)) return false;
    a = c.s.gpr[i.base] + (c.s.gpr[i.index] << i.scale) + static_cast<u64>(i.disp);
    if (NW_UNLIKELY(i.flags & Insn::kSegmentBase)) a += c.s.seg[i.segment].base;
    return true;
  }
  template <class T>
  static NW_INLINE bool load_at(Cpu& c, u64 a, u8, T& v) {
    const u8* p = c.port.hit<mmu::Side::load>(a, sizeof(T));
    if (NW_UNLIKELY(!p)) return false;
    __builtin_memcpy(&v, p, sizeof v);
    return true;
  }
  template <class T>
  static NW_INLINE bool store_at(Cpu& c, u64 a, u8, T v) {
    u8* p = c.port.hit<mmu::Side::store>(a, sizeof(T));
    if (NW_UNLIKELY(!p)) return false;
    __builtin_memcpy(p, &v, sizeof v);
    return true;
  }
  template <class T>
  static NW_INLINE bool load(Cpu& c, const Insn& i, T& v) {
    u64 a;
    return linear(c, i, a) && load_at(c, a, i.segment, v);
  }
  template <class T>
  static NW_INLINE bool store(Cpu& c, const Insn& i, T v) {
    u64 a;
    return linear(c, i, a) && store_at(c, a, i.segment, v);
  }
  template <class T, class F>
  static NW_INLINE bool update(Cpu& c, const Insn& i, F&& f) {
    u64 a;
    if (NW_UNLIKELY(!linear(c, i, a))) return false;
    u8* p = c.port.hit<mmu::Side::store>(a, sizeof(T));
    if (NW_UNLIKELY(!p)) return false;
    T v;
    __builtin_memcpy(&v, p, sizeof v);
    v = f(v);
    __builtin_memcpy(p, &v, sizeof v);
    return true;
  }
};

struct Asked {
  template <class T>
  static NW_INLINE bool load_at(Cpu& c, u64 a, u8 seg, T& v) {
    v = c.load_at<T>(a, seg);
    return true;
  }
  template <class T>
  static NW_INLINE bool store_at(Cpu& c, u64 a, u8 seg, T v) {
    c.store_at<T>(a, v, seg);
    return true;
  }
  template <class T>
  static NW_INLINE bool load(Cpu& c, const Insn& i, T& v) {
    v = c.load<T>(i);
    return true;
  }
  template <class T>
  static NW_INLINE bool store(Cpu& c, const Insn& i, T v) {
    c.store<T>(i, v);
    return true;
  }
  template <class T, class F>
  static NW_INLINE bool update(Cpu& c, const Insn& i, F&& f) {
    c.update<T>(i, f);
    return true;
  }
};

using MemoryMeaning = bool (*)(Cpu&, const Insn&);

/// A meaning in its two forms: `quick` over Filtered, `whole` over Asked.
template <MemoryMeaning whole>
__attribute__((noinline)) void asked_then_next(Cpu& c, const Insn& i) {
  c.current = &i;
  whole(c, i);
  const Insn* next = &i + 1;
  return next->fn(c, *next);
}
template <MemoryMeaning quick, MemoryMeaning whole>
void memory_then_next(Cpu& c, const Insn& i) {
  if (NW_UNLIKELY(!quick(c, i))) return asked_then_next<whole>(c, i);
  const Insn* next = &i + 1;
  return next->fn(c, *next);
}
template <MemoryMeaning whole>
__attribute__((noinline)) void asked_ending(Cpu& c, const Insn& i) {
  c.current = &i;
  c.s.rip = c.next_rip(i);
  whole(c, i);
}
template <MemoryMeaning quick, MemoryMeaning whole>
void memory_ending(Cpu& c, const Insn& i) {
  c.current = &i;  // a bad target faults after the stack was read
  if (NW_UNLIKELY(!quick(c, i))) return asked_ending<whole>(c, i);
}

/// `meaning` is a function template over the memory policy first.
#define NW_MEMORY(meaning, ...) \
  memory_then_next<meaning<Filtered __VA_OPT__(, ) __VA_ARGS__>, meaning<Asked __VA_OPT__(, ) __VA_ARGS__>>
#define NW_MEMORY_ENDING(meaning, ...) \
  memory_ending<meaning<Filtered __VA_OPT__(, ) __VA_ARGS__>, meaning<Asked __VA_OPT__(, ) __VA_ARGS__>>

/// Ends the block. RIP already points behind the instruction; the meaning may set it to something else.
template <Meaning meaning>
void ending(Cpu& c, const Insn& i) {
  c.current = &i;
  c.s.rip = c.next_rip(i);
  meaning(c, i);
}

/// Ends the block by a meaning that cannot fault and sets RIP itself.
template <Meaning meaning>
void ends_without_fault(Cpu& c, const Insn& i) {
  meaning(c, i);
}

/// Picks the instantiation for the instruction's width (Insn::width 1, 2, 4, 8).
#define NW_BY_WIDTH(i, wrap, meaning)    \
  ((i).width == 8   ? wrap<meaning<u64>> \
   : (i).width == 4 ? wrap<meaning<u32>> \
   : (i).width == 2 ? wrap<meaning<u16>> \
                    : wrap<meaning<u8>>)

/// A binder gives the handler of a decoded instruction, or nullptr for a form that does not exist (#UD).
using Binder = Handler (*)(const Insn&);

}  // namespace nestwalk::cpu
