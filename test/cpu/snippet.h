// A processor for snippets of a few instructions: state in, bytes run by the real decoder, blocks and run loop, state out.
// Memory is mapped one to one by a model of its own (pages exist or fault), so nothing here depends on walks or TLBs.
// Exceptions go through a real IDT and come back as a vector with the state that they found.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>

#include "cpu/cpu.h"
#include "cpu/decode.h"
#include "test/hex.h"

namespace nestwalk::test {

/// What a snippet can see and change in registers. `fx` is an FXSAVE64 image (x87, MXCSR, XMM).
struct UserState {
  std::array<u64, 16> gpr{};
  u64 rflags = 0x202;
  u64 rip = 0;  ///< out: behind the snippet, or of the faulting instruction
  std::array<u8, 512> fx{};
  std::array<std::array<u64, 2>, 16> high{};  ///< bits 255:128 of YMM0..15
};

/// A default FXSAVE image: FNINIT, MXCSR 1F80h.
inline std::array<u8, 512> clean_fx() {
  std::array<u8, 512> fx{};
  fx[0] = 0x7f;
  fx[1] = 0x03;
  fx[24] = 0x80;
  fx[25] = 0x1f;
  return fx;
}

inline constexpr u64 kSnippetCode = 0x20000000;
inline constexpr u64 kSnippetData = 0x10000000;  ///< two pages with nothing mapped around them
inline constexpr unsigned kSnippetDataBytes = 8192;
inline constexpr unsigned kWindow = 1024;                                 ///< bytes of data memory that a snippet carries
inline constexpr u64 kSnippetWindow = kSnippetData + 4096 - kWindow / 2;  ///< they straddle the page boundary

struct Snippet {
  std::array<u8, 64> code{};
  unsigned length = 0;
  UserState state;                   ///< in and out
  std::array<u8, kWindow> memory{};  ///< in and out; the rest of the data pages is 0
  int vector = -1;                   ///< out: exception vector, or -1

  void set_code(std::span<const u8> bytes) {
    if (bytes.size() > code.size()) throw std::length_error("snippet too long");
    length = static_cast<unsigned>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), code.begin());
  }
};

/// Linear = machine; a page that is not installed faults.
class FlatModel final : public mmu::MmuModel {
 public:
  explicit FlatModel(const mmu::MachineMemory& memory) : memory_(memory) {}
  void set_paging(const mmu::PagingState&, Bill&) override {}
  Result<mmu::Translation> translate(LinearAddr a, mmu::Access access, Bill&) override { return probe(a, access); }
  Result<mmu::Translation> probe(LinearAddr a, mmu::Access access) const override {
    if (!is_canonical(a.value, 48)) return Fault{.kind = Fault::Kind::non_canonical, .error = 0, .address = a.value};
    const bool system_page = a.value >= system_from && a.value < system_to;
    if (!memory_.host(MachineAddr(a.value)) || (system_page && access.user))
      return Fault{.kind = Fault::Kind::page_fault,
                   .error = (access.side == mmu::Side::store ? pf::write : 0) | (access.user ? pf::user : 0),
                   .address = a.value};
    mmu::Translation t;
    t.address = MachineAddr(a.value);
    return t;
  }
  void invalidate(const mmu::Invalidation&, Bill&) override {}
  void declare(sim::Stats&) override {}
  u64 system_from = 0, system_to = 0;  ///< supervisor pages

 private:
  const mmu::MachineMemory& memory_;
};

class OneCycleEach final : public cpu::CoreTiming {
 public:
  Cycles cost(const cpu::Insn&) const override { return 1; }
  Cycles delivery() const override { return 1; }
};

enum class Mode : u8 { k64, k32, k16, real };

class SnippetMachine : public cpu::Platform {
 public:
  SnippetMachine() : settings_(everything()), model_(memory_) {
    install();
    model_.system_to = kSystem + 0x20000;
    cpu.emplace(port_, clock, *this, cpuid_, timing_, 1);
  }

  /// Runs the snippet of `c` in place, to its end or to an exception. At most `limit` instructions; throws beyond.
  void run(Snippet& c, Mode mode = Mode::k64, u64 limit = 100000) {
    enter(mode);
    put_code(c);
    std::array<u8, kSnippetDataBytes> blank{};
    memory_.write(MachineAddr(kSnippetData), blank);
    memory_.write(MachineAddr(kSnippetWindow), c.memory);
    load_state(c.state);
    cpu->s.rip = code_base(mode);
    ended_ = false;
    cpu->run(clock.instructions + limit);
    if (!ended_) throw std::runtime_error("a snippet did not come to its end: " + hex_of({c.code.data(), c.length}));
    collect(c, mode);
  }

  mmu::MachineMemory& memory() { return memory_; }
  mmu::Port& port() { return port_; }
  const tlb::AccessCounts& counts() const { return counts_; }
  cpu::Cpuid& cpuid() { return cpuid_; }

  u64 extra_cr0 = 0, missing_cr4 = 0;  ///< for the following runs
  u32 magic_command = 0;
  u64 magic_argument = 0;
  /// Linear address of #PF of the last run.
  u64 fault_address() const { return cpu->s.cr2; }

  // ---- cpu::Platform
  u64 io_read(u16, unsigned) override { return ~u64{0}; }
  void io_write(u16, u64, unsigned) override {}
  int acknowledge_interrupt() override { return -1; }
  bool apic_read(u32, u64&) override { return false; }
  bool apic_write(u32, u64) override { return false; }
  u64 task_priority() override { return 0; }
  void set_task_priority(u64) override {}
  void magic(u32 command, u64 argument) override {
    magic_command = command;
    magic_argument = argument;
    const u64 linear = cpu->s.seg[cpu::CS].base + cpu->rip_of(*cpu->current);
    if (linear == end_ || linear - kHandlers < 32 * 16) {
      ended_ = true;
      cpu->stop(cpu::Stop::user_quit);
    }
  }
  void note(const std::string&) override {}

  static constexpr u64 kSystem = 0x40000, kIdt = kSystem, kGdt = kSystem + 0x1000, kTss = kSystem + 0x2000,
                       kHandlers = kSystem + 0x3000, kStackTop = kSystem + 0x5000;
  static constexpr u64 kRealCode = 0x8000;  ///< below 1 MiB for the 16-bit modes

  sim::Clock clock;

 private:
  static sim::Settings everything() {
    sim::Settings s;
    s.set("cpu.model=skylake");
    s.set("cpu.features=+clwb,+rdpid,+sha,+umip,+pku");
    return s;
  }

  void install() {
    memory_.install(MachineAddr(0), 0x60000);
    memory_.install(MachineAddr(kSnippetData), kSnippetDataBytes);
    memory_.install(MachineAddr(kSnippetCode), 0x2000);
    for (unsigned n = 0; n < 32; ++n) put(kHandlers + 16 * n, std::array<u8, 3>{0x66, 0x87, 0xdb});
  }
  template <class T>
  void put(u64 at, const T& v) {
    memory_.write(MachineAddr(at), {reinterpret_cast<const u8*>(&v), sizeof v});
  }

  static u64 code_base(Mode mode) { return mode == Mode::k16 || mode == Mode::real ? 0 : kSnippetCode; }
  static u64 code_linear(Mode mode) { return mode == Mode::k16 || mode == Mode::real ? kRealCode : kSnippetCode; }

  void put_code(const Snippet& c) {
    const u64 at = code_linear(mode_);
    memory_.write(MachineAddr(at), {c.code.data(), c.length});
    end_ = at + c.length;
    // `xchg %bx,%bx` at the present operand size.
    if (mode_ == Mode::k16 || mode_ == Mode::real)
      put(end_, std::array<u8, 2>{0x87, 0xdb});
    else
      put(end_, std::array<u8, 3>{0x66, 0x87, 0xdb});
  }

  /// User mode (CPL 3) but for real mode; flat segments in 32 and 64 bits, 64 KiB ones at 0 in the 16-bit modes.
  void enter(Mode mode) {
    using namespace cpu;
    mode_ = mode;
    Cpu& c = *cpu;
    c.s = State{};
    const bool wide = mode == Mode::k64, small = mode == Mode::k16 || mode == Mode::real, real = mode == Mode::real;
    const u32 limit = small ? 0xffff : 0xffffffff;
    const u8 dpl = real ? 0 : 3;
    for (Segment& g : c.s.seg)
      g = Segment{.selector = u16(real ? 0 : 0x23), .limit = limit, .type = 3, .dpl = dpl, .db = !small, .g = !small};
    c.s.seg[CS] = Segment{.selector = u16(real ? 0x800 : 0x1b),
                          .base = small ? kRealCode : 0,
                          .limit = limit,
                          .type = 0xb,
                          .dpl = dpl,
                          .l = wide,
                          .db = !small && !wide,
                          .g = !small};
    c.s.cr0 = (real ? 0x20 : 0x80000021) | extra_cr0;
    c.s.cr4 = mmu::cr4::osfxsr | mmu::cr4::osxmmexcpt | mmu::cr4::osxsave | (wide ? mmu::cr4::pae : 0);
    if (wide) c.s.cr4 |= mmu::cr4::pke;
    c.s.cr4 &= ~missing_cr4;
    c.s.efer = wide ? mmu::efer::lma | mmu::efer::lme : 0;
    c.s.xcr0 = cpuid_.xcr0_mask();
    c.s.cpl = dpl;
    model_.system_from = small ? kSystem : 0;
    set_tables(mode);
    c.update_paging();
  }

  /// GDT: 8 = kernel code, 10h = kernel data, 18h user code, 20h user data (flat).
  void set_tables(Mode mode) {
    using namespace cpu;
    Cpu& c = *cpu;
    const bool wide = mode == Mode::k64;
    if (mode == Mode::real) {
      for (unsigned n = 0; n < 32; ++n) put<u32>(kRealIvt + 4 * n, static_cast<u32>((kHandlers >> 4) << 16 | 16 * n));
      for (unsigned n = 0; n < 32; ++n) put(kHandlers + 16 * n, std::array<u8, 3>{0x87, 0xdb, 0x90});
      c.s.idtr = {kRealIvt, 0x3ff};
      return;
    }
    for (unsigned n = 0; n < 32; ++n) put(kHandlers + 16 * n, std::array<u8, 3>{0x66, 0x87, 0xdb});
    const u64 code = wide ? 0x00af9b000000ffff : 0x00cf9b000000ffff, data = 0x00cf93000000ffff;
    const u64 table[5] = {0, code, data, code | 0x0000600000000000, data | 0x0000600000000000};
    put(kGdt, table);
    c.s.gdtr = {kGdt, sizeof table - 1};
    for (unsigned n = 0; n < 32; ++n) {
      const u64 to = kHandlers + 16 * n;
      const u64 low = (to & 0xffff) | u64{8} << 16 | u64{wide ? 1u : 0u} << 32 | u64{0x8e00} << 32 | (to >> 16) << 48;
      if (wide)
        put(kIdt + 16 * n, std::array<u64, 2>{low, 0});
      else
        put(kIdt + 8 * n, low);
    }
    c.s.idtr = {kIdt, 0xfff};
    std::array<u8, 104> tss{};
    if (wide) {
      std::memcpy(&tss[36], &kStackTop, 8);  // IST1
    } else {
      const u32 stack[2] = {static_cast<u32>(kStackTop), 0x10};
      std::memcpy(&tss[4], stack, 8);
    }
    put(kTss, tss);
    c.s.tr = Segment{.selector = 0x28, .base = kTss, .limit = 103, .type = 0xb, .s = false};
  }

  void load_state(const UserState& u) {
    using namespace cpu;
    State& s = cpu->s;
    std::copy(u.gpr.begin(), u.gpr.end(), s.gpr.begin());
    s.gpr[16] = 0;
    s.flags.unpack(u.rflags);
    s.rflags = (u.rflags & ~fl::arithmetic & 0x3fffff) | fl::fixed;
    const auto at = [&](unsigned n, auto v) {
      std::memcpy(&v, &u.fx[n], sizeof v);
      return v;
    };
    s.x87.control = at(0, u16{});
    s.x87.set_status_word(at(2, u16{}));
    s.x87.valid = at(4, u8{});
    for (unsigned n = 0; n < 8; ++n) {
      F80& r = s.x87.r[(s.x87.top + n) & 7];
      r = {at(32 + 16 * n, u64{}), at(40 + 16 * n, u16{})};
    }
    s.mxcsr = at(24, u32{});
    for (unsigned n = 0; n < 16; ++n) {
      s.vec[n].set<V128>(0, at(160 + 16 * n, V128{}));
      s.vec[n].set<V128>(1, V128{{u.high[n][0], u.high[n][1]}});
    }
  }

  void store_fx(UserState& u) {
    using namespace cpu;
    const State& s = cpu->s;
    const auto put_fx = [&](unsigned n, auto v) { std::memcpy(&u.fx[n], &v, sizeof v); };
    put_fx(0, s.x87.control);
    put_fx(2, s.x87.status_word());
    put_fx(4, u16{s.x87.valid});
    for (unsigned n = 0; n < 8; ++n) {
      const F80& r = s.x87.r[(s.x87.top + n) & 7];
      put_fx(32 + 16 * n, V128{{r.significand, r.sign_exponent}});
    }
    put_fx(24, s.mxcsr);
    for (unsigned n = 0; n < 16; ++n) {
      put_fx(160 + 16 * n, s.vec[n].get<V128>(0));
      u.high[n] = {s.vec[n].q[2], s.vec[n].q[3]};
    }
  }

  template <class T>
  T peek(u64 at) const {
    return memory_.peek<T>(MachineAddr(at));
  }

  /// The state at the snippet's end, or the one in the exception's frame.
  void collect(Snippet& c, Mode mode) {
    using namespace cpu;
    const State& s = cpu->s;
    std::copy_n(s.gpr.begin(), 16, c.state.gpr.begin());
    c.state.rflags = cpu->rflags();
    store_fx(c.state);
    memory_.read(MachineAddr(kSnippetWindow), c.memory);
    const u64 linear = s.seg[CS].base + s.rip;
    const u64 length = mode == Mode::k16 || mode == Mode::real ? 2 : 3;
    if (linear - kHandlers >= 32 * 16) {
      c.vector = -1;
      c.state.rip = s.rip - length;
      return;
    }
    c.vector = static_cast<int>((linear - length - kHandlers) / 16);
    const unsigned width = mode == Mode::k64 ? 8 : mode == Mode::real ? 2 : 4;
    const bool error =
        mode != Mode::real && (c.vector == ex::gp || c.vector == ex::pf || c.vector == ex::ss || c.vector == ex::np);
    u64 frame = s.seg[SS].base + (width == 2 ? static_cast<u16>(s.gpr[RSP]) : s.gpr[RSP]);
    error_ = error ? peek<u32>(frame) : 0;
    if (error) frame += width;
    const auto word = [&](unsigned n) {
      return width == 8 ? peek<u64>(frame + 8 * n) : width == 4 ? peek<u32>(frame + 4 * n) : peek<u16>(frame + 2 * n);
    };
    c.state.rip = word(0);
    c.state.rflags = word(2);
    c.state.gpr[RSP] = mode == Mode::real ? (s.gpr[RSP] & ~u64{0xffff}) | static_cast<u16>(s.gpr[RSP] + 6) : word(3);
  }

 public:
  /// Error code of the last exception that has one.
  u32 error() const { return error_; }

 private:
  static constexpr u64 kRealIvt = 0;

  mmu::MachineMemory memory_;
  sim::Settings settings_;
  FlatModel model_;
  mmu::DataCaches caches_{settings_.section("cache"), 1};
  mmu::Filter filter_{kPageShift};
  tlb::AccessCounts counts_;
  mmu::Port port_{model_, caches_, memory_, filter_, counts_, clock};
  cpu::Cpuid cpuid_{settings_, 1'000'000'000};
  OneCycleEach timing_;
  Mode mode_ = Mode::k64;
  u64 end_ = 0;
  bool ended_ = false;
  u32 error_ = 0;

 public:
  std::optional<cpu::Cpu> cpu;
};

/// One snippet on a machine of its own, from a clean FXSAVE image, with RDI at the window.
struct SnippetRun {
  SnippetMachine machine;
  Snippet c;

  explicit SnippetRun(const char* code) {
    c.set_code(bytes_of_hex(code));
    c.state.fx = clean_fx();
    c.state.gpr[cpu::RDI] = kSnippetWindow;
  }
  /// Its exception's vector, or -1.
  int run() {
    machine.run(c);
    return c.vector;
  }

  template <class T>
  T fx(unsigned at) const {
    T v;
    std::memcpy(&v, &c.state.fx[at], sizeof v);
    return v;
  }
  template <class T>
  T word(unsigned at) const {
    T v;
    std::memcpy(&v, &c.memory[at], sizeof v);
    return v;
  }
  template <class T>
  void put(unsigned at, T v) {
    std::memcpy(&c.memory[at], &v, sizeof v);
  }
};

}  // namespace nestwalk::test
