// FXSAVE and XSAVE families, MXCSR (SDM vol. 1, 10.5, 13; vol. 2). A state component is a line of kComponents: where it
// lies, and how it is saved, restored and initialised; XCR0 and IA32_XSS decide which ones exist for XSAVE. Of the two
// optimisations that 13.6 allows, the one for initial configurations is taken, the one for unmodified state is not
// (cpu/undefined.h).
#include "cpu/exec/xsave.h"

#include <array>
#include <cstring>

#include "cpu/exec/vector.h"
#include "cpu/exec/x87_image.h"
#include "cpu/exec/x87_stack.h"

namespace nestwalk::cpu {
namespace {

constexpr u32 kMxcsrMask = 0xffff, kMxcsrInitial = 0x1f80;
constexpr unsigned kLegacyBytes = 512, kHeaderBytes = 64, kExtendedFrom = kLegacyBytes + kHeaderBytes;
constexpr u64 kX87 = 1, kSse = 2, kAvx = 4, kPkru = bit(9), kCompacted = bit(63);

/// How the instruction pointers of x87 are kept: 64-bit offsets with REX.W, else 32-bit offsets and selectors.
enum class Pointers : u8 { offsets64, selectors };

/// A part of the guest's memory image: reads and writes go to the guest one by one, each an access.
class Image {
 public:
  Image(Cpu& c, const Insn& i, u64 at) : cpu_(c), at_(at), segment_(i.segment) {}
  template <class T>
  T get(unsigned offset) {
    return cpu_.load_at<T>(linear_step(cpu_, at_, offset), segment_);
  }
  template <class T>
  void put(unsigned offset, const T& v) {
    cpu_.store_at<T>(linear_step(cpu_, at_, offset), v, segment_);
  }
  Cpu& cpu() { return cpu_; }

 private:
  Cpu& cpu_;
  u64 at_;
  u8 segment_;
};

// ---- x87 and SSE: the legacy region ---------------------------------------------------------------------------------

void save_x87(Image& m, unsigned, Pointers pointers) {
  const X87& x = m.cpu().s.x87;
  m.put<u16>(0, x.control);
  m.put<u16>(2, x.status_word());
  m.put<u16>(4, x.valid);
  m.put<u16>(6, x.opcode);
  if (pointers == Pointers::offsets64) {
    m.put<u64>(8, x.instruction);
    m.put<u64>(16, x.data);
  } else {
    m.put<u64>(8, static_cast<u32>(x.instruction) | u64{x.cs} << 32);
    m.put<u64>(16, static_cast<u32>(x.data) | u64{x.ds} << 32);
  }
  for (unsigned n = 0; n < 8; ++n) {
    const F80& v = x.r[(x.top + n) & 7];
    m.put<V128>(32 + 16 * n, V128{{v.significand, v.sign_exponent}});
  }
}
void load_x87(Image& m, unsigned, Pointers pointers, State& s) {
  X87& x = s.x87;
  x.control = static_cast<u16>((m.get<u16>(0) & 0x1f3f) | 0x40);
  x.set_status_word(m.get<u16>(2));
  x.valid = m.get<u8>(4);
  x.opcode = m.get<u16>(6) & 0x7ff;
  const u64 instruction = m.get<u64>(8), data = m.get<u64>(16);
  if (pointers == Pointers::selectors) {
    x.instruction = static_cast<u32>(instruction), x.cs = static_cast<u16>(instruction >> 32);
    x.data = static_cast<u32>(data), x.ds = static_cast<u16>(data >> 32);
  } else {
    x.instruction = sign_extend(instruction, m.cpu().cpuid.linear_width()), x.cs = 0;  // undefined.h: x87-pointers
    x.data = data, x.ds = 0;
  }
  for (unsigned n = 0; n < 8; ++n) {
    const V128 v = m.get<V128>(32 + 16 * n);
    x.r[(x.top + n) & 7] = {v.q[0], static_cast<u16>(v.q[1])};
  }
  update_summary(x);
}
void initialize_x87(State& s, unsigned) {
  s.x87 = X87{};
  initialize(s.x87);
}
bool x87_in_use(const Cpu& c) {
  const X87& x = c.s.x87;
  for (const F80& v : x.r)
    if (v.significand | v.sign_exponent) return true;
  return x.control != 0x37f || x.status_word() || x.valid || x.opcode || x.instruction || x.data || x.cs || x.ds;
}

unsigned vectors(const Cpu& c) { return c.long64() ? 16 : 8; }

void save_sse(Image& m, unsigned, Pointers) {
  const Cpu& c = m.cpu();
  for (unsigned n = 0; n < vectors(c); ++n) m.put<V128>(160 + 16 * n, c.s.vec[n].get<V128>(0));
}
void load_sse(Image& m, unsigned, Pointers, State& s) {
  for (unsigned n = 0; n < vectors(m.cpu()); ++n) s.vec[n].set<V128>(0, m.get<V128>(160 + 16 * n));
}
void initialize_sse(State& s, unsigned count) {
  for (unsigned n = 0; n < count; ++n) s.vec[n].set<V128>(0, V128{});
}
/// Whether any vector register has bits set in its half `h`.
bool half_in_use(const Cpu& c, unsigned h) {
  for (const Vec& v : c.s.vec)
    if (v.q[2 * h] | v.q[2 * h + 1]) return true;
  return false;
}
bool sse_in_use(const Cpu& c) { return half_in_use(c, 0); }

// ---- AVX: the upper halves ------------------------------------------------------------------------------------------

void save_avx(Image& m, unsigned base, Pointers) {
  const Cpu& c = m.cpu();
  for (unsigned n = 0; n < vectors(c); ++n) m.put<V128>(base + 16 * n, c.s.vec[n].get<V128>(1));
}
void load_avx(Image& m, unsigned base, Pointers, State& s) {
  for (unsigned n = 0; n < vectors(m.cpu()); ++n) s.vec[n].set<V128>(1, m.get<V128>(base + 16 * n));
}
void initialize_avx(State& s, unsigned count) {
  for (unsigned n = 0; n < count; ++n) s.vec[n].set<V128>(1, V128{});
}
bool avx_in_use(const Cpu& c) { return half_in_use(c, 1); }

// ---- PKRU -----------------------------------------------------------------------------------------------------------

void save_pkru(Image& m, unsigned base, Pointers) { m.put<u64>(base, m.cpu().s.pkru); }
void load_pkru(Image& m, unsigned base, Pointers, State& s) { s.pkru = m.get<u32>(base); }
void initialize_pkru(State& s, unsigned) { s.pkru = 0; }
bool pkru_in_use(const Cpu& c) { return c.s.pkru != 0; }

// ---- components -----------------------------------------------------------------------------------------------------

struct Component {
  u64 mask;
  unsigned offset;  ///< in the standard format, or kByMaker; the legacy ones have their place in both
  unsigned bytes;
  void (*save)(Image&, unsigned offset, Pointers);
  void (*load)(Image&, unsigned offset, Pointers, State&);
  void (*initialize)(State&, unsigned vectors);
  bool (*in_use)(const Cpu&);
};
constexpr unsigned kByMaker = ~0u;  ///< CPUID leaf 0DH says where
constexpr Component kComponents[] = {
    {kX87, 0, 0, save_x87, load_x87, initialize_x87, x87_in_use},
    {kSse, 0, 0, save_sse, load_sse, initialize_sse, sse_in_use},
    {kAvx, 576, 256, save_avx, load_avx, initialize_avx, avx_in_use},
    {kPkru, kByMaker, 8, save_pkru, load_pkru, initialize_pkru, pkru_in_use},
};

/// Calls visit(component, offset) for each of `wanted`; `layout` are the components of a compacted image, 0: standard.
template <class F>
void each(const Cpu& c, u64 wanted, u64 layout, F&& visit) {
  unsigned next = kExtendedFrom;
  for (const Component& k : kComponents) {
    const unsigned standard = k.offset == kByMaker ? c.cpuid.pkru_offset() : k.offset;
    const unsigned offset = layout & kCompacted && k.bytes ? next : standard;
    if (layout & k.mask) next += k.bytes;
    if (wanted & k.mask) visit(k, offset);
  }
}

/// All of it can be written, or nothing is.
void probe(Cpu& c, const Insn& i, u64 at, unsigned bytes) {
  for (unsigned done = 0; done < bytes;) {
    const unsigned piece = std::min(bytes - done, 64u);
    if (auto r = c.port.probe_write(LinearAddr(linear_step(c, at, done)), piece); !r) c.fail(r.fault(), i.segment);
    done += piece;
  }
}

/// What will be written of an XSAVE image, header included, and no more: other parts need not be there.
void probe_parts(Cpu& c, const Insn& i, u64 at, u64 written, u64 layout, bool with_mxcsr) {
  const auto part = [&](unsigned from, unsigned bytes) { probe(c, i, linear_step(c, at, from), bytes); };
  if (written & kX87) part(0, 24), part(32, 128);
  if (with_mxcsr) part(24, 8);
  if (written & kSse) part(160, 16 * vectors(c));
  part(kLegacyBytes, layout & kCompacted ? 16 : 8);
  each(c, written & ~(kX87 | kSse), layout,
       [&](const Component& k, unsigned offset) { part(offset, k.mask == kAvx ? 16 * vectors(c) : k.bytes); });
}

void check_mxcsr(Cpu& c, u32 v) {
  if (v & ~kMxcsrMask) c.gp();
}

// ---- FXSAVE, FXRSTOR ------------------------------------------------------------------------------------------------

void need_fx(Cpu& c) {
  if (c.s.cr0 & (mmu::cr0::em | mmu::cr0::ts)) c.raise(ex::nm);
}
template <mmu::Side side>
u64 fx_area(Cpu& c, const Insn& i) {
  need_fx(c);
  const u64 at = c.linear<side>(i, kLegacyBytes);
  if (at % 16) c.gp();
  return at;
}

template <Pointers pointers>
void fxsave(Cpu& c, const Insn& i) {
  const u64 at = fx_area<mmu::Side::store>(c, i);
  probe(c, i, at, kLegacyBytes);
  Image m(c, i, at);
  save_x87(m, 0, pointers);
  m.put<u64>(24, c.s.mxcsr | u64{kMxcsrMask} << 32);
  if (c.s.cr4 & mmu::cr4::osfxsr) save_sse(m, 0, pointers);
}
/// Everything is read into a copy first, because a fault in its middle must leave the state alone. What is ignored of its
/// 512 bytes must be there, too (measured on Intel cores).
template <Pointers pointers>
void fxrstor(Cpu& c, const Insn& i) {
  const u64 at = fx_area<mmu::Side::load>(c, i);
  Image m(c, i, at);
  m.get<u8>(kLegacyBytes - 1);
  State next = c.s;
  load_x87(m, 0, pointers, next);
  if (c.s.cr4 & mmu::cr4::osfxsr) {
    next.mxcsr = m.get<u32>(24);
    check_mxcsr(c, next.mxcsr);
    load_sse(m, 0, pointers, next);
  }
  c.s.x87 = next.x87;
  c.s.vec = next.vec;
  c.s.mxcsr = next.mxcsr;
}

// ---- XSAVE, XRSTOR --------------------------------------------------------------------------------------------------

enum class Saving : u8 { all, changed, compacted, supervisor };  ///< XSAVE, XSAVEOPT, XSAVEC, XSAVES
enum class Restoring : u8 { user, supervisor };                  ///< XRSTOR, XRSTORS

/// The components that may be named: XSAVES and XRSTORS reach those of IA32_XSS as well.
template <bool supervisor>
u64 enabled(const Cpu& c) {
  return c.s.xcr0 | (supervisor ? c.s.msr.xss : 0);
}

/// The area's linear address and the requested components that are enabled.
template <mmu::Side side, bool supervisor>
u64 x_area(Cpu& c, const Insn& i, u64& requested) {
  if (!(c.s.cr4 & mmu::cr4::osxsave)) c.ud();
  if (c.s.cr0 & mmu::cr0::ts) c.raise(ex::nm);
  if (supervisor) c.require_cpl0();
  const u64 at = c.linear<side>(i, kExtendedFrom);
  if (at % 64) c.gp();
  requested = enabled<supervisor>(c) & ((c.s.gpr[RDX] << 32) | static_cast<u32>(c.s.gpr[RAX]));
  return at;
}

/// All but XSAVE leave out what is in its initial configuration ("init optimization"). XSAVEC and XSAVES count MXCSR as a
/// part of SSE, and compact.
template <Saving saving, Pointers pointers>
void xsave(Cpu& c, const Insn& i) {
  constexpr bool compacts = saving == Saving::compacted || saving == Saving::supervisor;
  u64 requested;
  const u64 at = x_area<mmu::Side::store, saving == Saving::supervisor>(c, i, requested);
  const u64 layout = compacts ? requested | kCompacted : 0;
  u64 used = components_in_use(c) & requested;
  if (compacts && (requested & kSse) && c.s.mxcsr != kMxcsrInitial) used |= kSse;
  const u64 written = saving == Saving::all ? requested : used;
  const u64 with_mxcsr = compacts ? written & kSse : requested & (kSse | kAvx);
  probe_parts(c, i, at, written, layout, with_mxcsr);

  Image m(c, i, at);
  each(c, written, layout, [&](const Component& k, unsigned offset) { k.save(m, offset, pointers); });
  if (with_mxcsr) m.put<u64>(24, c.s.mxcsr | u64{kMxcsrMask} << 32);
  if (compacts) {
    m.put<u64>(kLegacyBytes, used);
    m.put<u64>(kLegacyBytes + 8, layout);
  } else {
    m.put<u64>(kLegacyBytes, (m.get<u64>(kLegacyBytes) & ~requested) | used);
  }
}

/// The header's rules (SDM vol. 1, 13.8.1, 13.8.2, 13.12); all of them #GP.
template <Restoring restoring>
void check_header(Cpu& c, Image& m, u64 present, u64 layout) {
  constexpr bool supervisor = restoring == Restoring::supervisor;
  const u64 allowed = enabled<supervisor>(c);
  bool ok = !(present & ~allowed);
  if (layout & kCompacted)
    ok = ok && c.cpuid.has(Feature::xsavec) && !(layout & ~kCompacted & ~allowed) && !(present & ~layout);
  else
    ok = ok && !supervisor && layout == 0 && m.get<u64>(kLegacyBytes + 16) == 0;
  if (layout & kCompacted)
    for (unsigned n = 16; n < kHeaderBytes; n += 8) ok = ok && m.get<u64>(kLegacyBytes + n) == 0;
  if (!ok) c.gp();
}

template <Restoring restoring, Pointers pointers>
void xrstor(Cpu& c, const Insn& i) {
  u64 requested;
  const u64 at = x_area<mmu::Side::load, restoring == Restoring::supervisor>(c, i, requested);
  Image m(c, i, at);
  const u64 present = m.get<u64>(kLegacyBytes), layout = m.get<u64>(kLegacyBytes + 8);
  check_header<restoring>(c, m, present, layout);
  // The legacy region must be there, even where its components are only initialized (measured on Intel cores).
  if (requested & (kX87 | kSse)) m.get<u8>(0);

  State next = c.s;
  for (const Component& k : kComponents)
    if (requested & ~present & k.mask) k.initialize(next, vectors(c));
  const bool compacted = layout & kCompacted;
  const u64 wants_mxcsr = compacted ? requested & kSse : requested & (kSse | kAvx);
  if (wants_mxcsr) {
    // The standard format has MXCSR whether or not its component is there.
    const bool from_memory = !compacted || (present & kSse);
    next.mxcsr = from_memory ? m.get<u32>(24) : kMxcsrInitial;
    check_mxcsr(c, next.mxcsr);
  }
  each(c, requested & present, layout, [&](const Component& k, unsigned offset) { k.load(m, offset, pointers, next); });
  c.s.x87 = next.x87;
  c.s.vec = next.vec;
  c.s.mxcsr = next.mxcsr;
  if (next.pkru != c.s.pkru) c.write_pkru(next.pkru);
}

// ---- MXCSR ----------------------------------------------------------------------------------------------------------

template <class E>
void ldmxcsr(Cpu& c, const Insn& i) {
  E::require(c);
  const u32 v = c.load<u32>(i);
  check_mxcsr(c, v);
  c.s.mxcsr = v;
}
template <class E>
void stmxcsr(Cpu& c, const Insn& i) {
  E::require(c);
  c.store<u32>(i, c.s.mxcsr);
}

}  // namespace

u64 components_in_use(const Cpu& c) {
  u64 used = 0;
  for (const Component& k : kComponents)
    if (k.in_use(c)) used |= k.mask;
  return used;
}

Handler bind_fxsave(const Insn&) { return then_next<fxsave<Pointers::selectors>>; }
Handler bind_fxsave64(const Insn&) { return then_next<fxsave<Pointers::offsets64>>; }
Handler bind_fxrstor(const Insn&) { return then_next<fxrstor<Pointers::selectors>>; }
Handler bind_fxrstor64(const Insn&) { return then_next<fxrstor<Pointers::offsets64>>; }
Handler bind_xsave(const Insn&) { return then_next<xsave<Saving::all, Pointers::selectors>>; }
Handler bind_xsave64(const Insn&) { return then_next<xsave<Saving::all, Pointers::offsets64>>; }
Handler bind_xsaveopt(const Insn&) { return then_next<xsave<Saving::changed, Pointers::selectors>>; }
Handler bind_xsaveopt64(const Insn&) { return then_next<xsave<Saving::changed, Pointers::offsets64>>; }
Handler bind_xsavec(const Insn&) { return then_next<xsave<Saving::compacted, Pointers::selectors>>; }
Handler bind_xsavec64(const Insn&) { return then_next<xsave<Saving::compacted, Pointers::offsets64>>; }
Handler bind_xrstor(const Insn&) { return then_next<xrstor<Restoring::user, Pointers::selectors>>; }
Handler bind_xrstor64(const Insn&) { return then_next<xrstor<Restoring::user, Pointers::offsets64>>; }
Handler bind_xsaves(const Insn&) { return then_next<xsave<Saving::supervisor, Pointers::selectors>>; }
Handler bind_xsaves64(const Insn&) { return then_next<xsave<Saving::supervisor, Pointers::offsets64>>; }
Handler bind_xrstors(const Insn&) { return then_next<xrstor<Restoring::supervisor, Pointers::selectors>>; }
Handler bind_xrstors64(const Insn&) { return then_next<xrstor<Restoring::supervisor, Pointers::offsets64>>; }
Handler bind_ldmxcsr(const Insn& i) {
  return by_encoding_128(i, []<class E>(E) { return then_next<ldmxcsr<E>>; });
}
Handler bind_stmxcsr(const Insn& i) {
  return by_encoding_128(i, []<class E>(E) { return then_next<stmxcsr<E>>; });
}

}  // namespace nestwalk::cpu
