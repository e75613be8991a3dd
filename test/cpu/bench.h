// A processor on a bench: 4 MiB of memory mapped one to one by a model that only notes what it is told, a platform that
// records I/O, and encoders for descriptors and gates written out of the manual's figures (SDM vol. 3, 3.4.5, 5.8.3, 6.11).
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cpu/cpu.h"
#include "test/catch.h"

namespace nestwalk::bench {

using namespace nestwalk::cpu;  // NOLINT: a bench is for tests

class Model final : public mmu::MmuModel {
 public:
  explicit Model(const mmu::MachineMemory& memory) : memory_(memory) {}
  void set_paging(const mmu::PagingState& p, Bill&) override { paging = p; }
  Result<mmu::Translation> translate(LinearAddr a, mmu::Access access, Bill&) override { return probe(a, access); }
  Result<mmu::Translation> probe(LinearAddr a, mmu::Access access) const override {
    if (!is_canonical(a.value, 48)) return Fault{.kind = Fault::Kind::non_canonical, .error = 0, .address = a.value};
    const bool supervisor_page = access.user && supervisor_pages.contains(a.value >> 12);
    const bool read_only = access.side == mmu::Side::store && read_only_pages.contains(a.value >> 12);
    if (missing_pages.contains(a.value >> 12) || !memory_.host(MachineAddr(a.value)) || supervisor_page || read_only)
      return Fault{.kind = Fault::Kind::page_fault,
                   .error = (access.side == mmu::Side::store ? pf::write : 0) | (access.user ? pf::user : 0) |
                            (supervisor_page || read_only ? pf::present : 0),
                   .address = a.value};
    mmu::Translation t;
    const auto moved = moved_pages.find(a.value >> 12);
    t.address = MachineAddr(moved == moved_pages.end() ? a.value : moved->second << 12 | a.page_offset());
    return t;
  }
  void invalidate(const mmu::Invalidation& what, Bill&) override { invalidations.push_back(what); }
  void declare(sim::Stats&) override {}

  mmu::PagingState paging;
  std::set<u64> missing_pages, supervisor_pages, read_only_pages;  ///< page numbers
  std::map<u64, u64> moved_pages;                                  ///< frames of those that are elsewhere
  std::vector<mmu::Invalidation> invalidations;

 private:
  const mmu::MachineMemory& memory_;
};

class BenchPlatform final : public Platform {
 public:
  struct Io {
    u16 port;
    u64 value;
    unsigned bytes;
  };
  u64 io_read(u16 port, unsigned bytes) override {
    reads.push_back({port, next_read, bytes});
    return next_read++;
  }
  void io_write(u16 port, u64 value, unsigned bytes) override { writes.push_back({port, value, bytes}); }
  int acknowledge_interrupt() override { return interrupt; }
  bool apic_read(u32 msr, u64& value) override {
    value = apic_base;
    return msr == 0x1b || (whole_apic && (msr == 0x6e0 || msr >> 8 == 8));
  }
  bool apic_write(u32 msr, u64 value) override {
    if (msr != 0x1b) return false;
    apic_base = value;
    return true;
  }
  u64 task_priority() override { return priority; }
  void set_task_priority(u64 value) override { priority = value; }
  void magic(u32, u64) override {}
  void x87_error() override { ++x87_errors; }
  void note(const std::string& line) override { notes.push_back(line); }

  u64 next_read = 0xa0;
  std::vector<Io> reads, writes;
  int interrupt = -1;
  unsigned x87_errors = 0;
  bool whole_apic = false;  ///< x2APIC registers and the TSC deadline answer, too
  u64 apic_base = 0xfee00900, priority = 0;
  std::vector<std::string> notes;
};

class OneCycle final : public CoreTiming {
 public:
  Cycles cost(const Insn&) const override { return 1; }
  Cycles delivery() const override { return 50; }
};

// ---- descriptors -------------------------------------------------------------------------------------------------------

/// `access` is the byte with P, DPL, S and type; `flags` the nibble G, D/B, L, AVL.
constexpr u64 descriptor(u32 base, u32 limit, u8 access, u8 flags) {
  return (limit & 0xffff) | u64{base & 0xffffff} << 16 | u64{access} << 40 | u64{(limit >> 16) & 15} << 48 |
         u64{flags} << 52 | u64{base >> 24} << 56;
}
constexpr u64 code32(u8 dpl) { return descriptor(0, 0xfffff, static_cast<u8>(0x9a | dpl << 5), 0xc); }
constexpr u64 conforming32(u8 dpl) { return descriptor(0, 0xfffff, static_cast<u8>(0x9e | dpl << 5), 0xc); }
constexpr u64 code16(u8 dpl) { return descriptor(0, 0xffff, static_cast<u8>(0x9a | dpl << 5), 0); }
constexpr u64 data32(u8 dpl) { return descriptor(0, 0xfffff, static_cast<u8>(0x92 | dpl << 5), 0xc); }
constexpr u64 code64(u8 dpl) { return descriptor(0, 0xfffff, static_cast<u8>(0x9a | dpl << 5), 0xa); }
constexpr u64 system_descriptor(u32 base, u32 limit, u8 type) {
  return descriptor(base, limit, static_cast<u8>(0x80 | type), 0);
}
/// Any gate; `count` is the parameter count or the IST.
constexpr u64 gate(u16 selector, u32 offset, u8 type, u8 dpl, u8 count = 0) {
  return (offset & 0xffff) | u64{selector} << 16 | u64{count} << 32 | u64(0x80u | dpl << 5 | type) << 40 |
         u64{offset >> 16} << 48;
}

/// Selectors of the bench's GDT.
inline constexpr u16 kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1b, kData3 = 0x23, kTss = 0x28, kLdt = 0x38, kWide0 = 0x48,
                     kWide3 = 0x53, kConforming = 0x58, kGate = 0x60, kTss2 = 0x70, kAbsent = 0x78, kReadOnly = 0x80,
                     kTask = 0x88, kCode16 = 0x90;
inline constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kLdtAt = 0x3000, kTssAt = 0x4000, kTss2At = 0x5000, kStack0 = 0x9000,
                     kStack3 = 0xb000, kIst1 = 0xd000, kText = 0x10000, kHandler = 0x20000;

class Bench {
 public:
  explicit Bench(const std::string& ini = "[cpu]\nmodel = skylake\n") : model(memory), filter(12) {
    settings.load_text(ini, "bench");
    memory.install(MachineAddr(0), 4 << 20);
    caches = std::make_unique<mmu::DataCaches>(settings.section("cache"), 1);
    id = std::make_unique<Cpuid>(settings, clock.hz());
    port = std::make_unique<mmu::Port>(model, *caches, memory, filter, counts, clock);
    cpu = std::make_unique<Cpu>(*port, clock, platform, *id, timing, 1);
    model.invalidations.clear();
  }

  template <class T>
  void poke(u64 at, T v) {
    memory.write(MachineAddr(at), {reinterpret_cast<const u8*>(&v), sizeof v});
  }
  template <class T>
  T peek(u64 at) const {
    return memory.peek<T>(MachineAddr(at));
  }
  /// Places code and points RIP at it.
  void text(const std::vector<u8>& bytes, u64 at = kText) {
    memory.write(MachineAddr(at), bytes);
    cpu->s.rip = at;
  }
  Stop step(u64 instructions = 1) { return cpu->run(clock.instructions + instructions); }

  /// Tables in memory; the processor keeps its mode.
  void tables() {
    const u64 gdt[] = {0,
                       code32(0),
                       data32(0),
                       code32(3),
                       data32(3),
                       system_descriptor(kTssAt, 0x67, 9),
                       0,
                       system_descriptor(kLdtAt, 0xff, 2),
                       0,
                       code64(0),
                       code64(3),
                       conforming32(0),
                       gate(kCode0, kHandler, 12, 3),
                       0,
                       system_descriptor(kTss2At, 0x67, 9),
                       data32(0) & ~bit(47),
                       descriptor(0, 0xfffff, 0x90, 0xc),
                       gate(kTss2, 0, 5, 3),
                       code16(0)};
    for (unsigned n = 0; n < std::size(gdt); ++n) poke(kGdt + 8 * n, gdt[n]);
    auto& s = cpu->s;
    s.gdtr = {kGdt, sizeof gdt - 1};
    s.idtr = {kIdt, 0xfff};
    s.tr = Segment{.selector = kTss, .base = kTssAt, .limit = 0x67, .type = 11, .s = false};
  }

  static Segment flat(u16 selector, u8 type, bool wide = false) {
    return Segment{.selector = selector,
                   .limit = 0xffffffff,
                   .type = type,
                   .dpl = static_cast<u8>(selector & 3),
                   .l = wide,
                   .db = !wide,
                   .g = true};
  }

  /// 32-bit protected mode with flat segments at `cpl` (0 or 3); SS0:ESP0 in the TSS.
  void protected_mode(u8 cpl = 0) {
    tables();
    auto& s = cpu->s;
    s.cr0 |= mmu::cr0::pe;
    s.seg[CS] = flat(cpl ? kCode3 : kCode0, 11);
    for (Seg n : {SS, DS, ES, FS, GS}) s.seg[n] = flat(cpl ? kData3 : kData0, 3);
    s.cpl = cpl;
    s.gpr[RSP] = cpl ? kStack3 : kStack0 - 0x100;
    s.rip = kText;
    poke<u32>(kTssAt + 4, kStack0);
    poke<u16>(kTssAt + 8, kData0);
    poke<u16>(kTssAt + 0x66, 0x68);
    cpu->update_paging();
  }

  /// 64-bit mode at `cpl`; RSP0 and IST1 in the TSS. Paging counts as on, the model maps one to one all the same.
  void long_mode(u8 cpl = 0) {
    protected_mode(cpl);
    auto& s = cpu->s;
    s.cr0 |= mmu::cr0::pg;
    s.cr4 |= mmu::cr4::pae;
    s.efer |= mmu::efer::lme | mmu::efer::lma | mmu::efer::sce;
    s.seg[CS] = flat(cpl ? kWide3 : kWide0, 11, true);
    poke<u64>(kTssAt + 4, kStack0);
    poke<u64>(kTssAt + 0x24, kIst1);
    cpu->update_paging();
  }

  /// An IDT entry of the present mode.
  void handler(u8 vector, u32 offset, u8 type = 14, u8 dpl = 0, u8 ist = 0) {
    if (cpu->long_mode()) {
      poke<u64>(kIdt + 16 * vector, gate(kWide0, offset, type, dpl, ist));
      poke<u64>(kIdt + 16 * vector + 8, 0);
    } else {
      poke<u64>(kIdt + 8 * vector, gate(kCode0, offset, type, dpl));
    }
  }
  u64 stack(unsigned slot) const {  ///< 64-bit words above RSP
    return peek<u64>(cpu->s.gpr[RSP] + 8 * slot);
  }
  u32 stack32(unsigned slot) const { return peek<u32>(cpu->s.gpr[RSP] + 4 * slot); }

  sim::Settings settings;
  sim::Clock clock;
  mmu::MachineMemory memory;
  Model model;
  mmu::Filter filter;
  tlb::AccessCounts counts;
  std::unique_ptr<mmu::DataCaches> caches;
  std::unique_ptr<mmu::Port> port;
  BenchPlatform platform;
  OneCycle timing;
  std::unique_ptr<Cpuid> id;
  std::unique_ptr<Cpu> cpu;
};

/// The trap that `f` raises; vector 255 when it raises none.
template <class F>
Trap trap_of(F&& f) {
  try {
    f();
  } catch (const Trap& t) {
    return t;
  }
  return Trap{.vector = 255};
}
inline bool raises(const Trap& t, u8 vector, u32 error) { return t.vector == vector && t.has_error && t.error == error; }

}  // namespace nestwalk::bench
