// One logical processor: state, the run loop over decoded blocks, operands, memory through mmu::Port, and the system
// machinery (exceptions, segments, control registers, MSRs, CPUID) in files of their own beside this one.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <string>

#include "cpu/cpuid.h"
#include "cpu/insn.h"
#include "cpu/platform.h"
#include "cpu/state.h"
#include "cpu/timing.h"
#include "cpu/trap.h"
#include "mmu/port.h"
#include "sim/clock.h"

namespace nestwalk::cpu {

class Blocks;
struct Block;

/// Told of what retires; while one is set, nothing else changes.
class RetireObserver {
 public:
  virtual ~RetireObserver() = default;
  /// Instructions [0, count) of a block, the first at `rip`, have retired in this order.
  virtual void retired(u64 rip, const Insn* first, u32 count) = 0;
};

enum class CodeSize : u8 { k16, k32, k64 };

class Cpu : public mmu::CodeListener {
 public:
  Cpu(mmu::Port& port, sim::Clock& clock, Platform& platform, const Cpuid& cpuid, const CoreTiming& timing, u64 seed);
  ~Cpu() override;

  State s;
  mmu::Port& port;
  sim::Clock& clock;
  Platform& platform;
  const Cpuid& cpuid;
  const CoreTiming& timing;
  const Insn* current = nullptr;  ///< being executed
  u64 block_rip = 0;              ///< RIP of the present block's first byte

  // ---- running (cpu/run.cpp) -----------------------------------------------------------------------------------------
  /// Runs until `limit` retired instructions in total (clock.instructions == limit), or until something stops the machine.
  Stop run(u64 limit);
  /// Asks the run loop to return at the end of the present block. Giving the core away hides no other reason.
  void stop(Stop why) {
    if (stop_ == Stop::none || (why != Stop::preempted && why != Stop::turn_over)) stop_ = why;
    attention_.store(true, std::memory_order_relaxed);
  }
  /// Whether the present instruction reads the time out of turn: then it has been taken back, to be begun again in the
  /// processor's next turn (Platform::may_read_time).
  bool must_wait_for_turn(const Insn& i) {
    if (NW_LIKELY(cautious_ || platform.may_read_time())) return false;
    s.rip = rip_of(i);
    unretire_from(i);
    stop(Stop::turn_over);
    return true;
  }
  /// From another thread: have Platform::poll called at the end of the present block (input, progress, signals).
  void request_poll() {
    poll_.store(true, std::memory_order_relaxed);
    request_attention();
  }
  /// INTR and NMI lines of this processor.
  void set_interrupt(bool pending) {
    interrupt_ = pending;
    attention_.store(true, std::memory_order_relaxed);
  }
  /// IGNNE# from the board (port F0H): a pending x87 exception, if there is one, is overlooked until it is cleared.
  void ignore_x87_error() { s.x87.ignored = s.x87.status & 0x80; }
  void raise_nmi() {
    nmi_ = true;
    attention_.store(true, std::memory_order_relaxed);
  }
  /// The run loop looks for interrupts, traps and caution again: after IF, TF, a shadow or DR7 changed.
  void request_attention() { attention_.store(true, std::memory_order_relaxed); }
  /// Power-on state (SDM vol. 3, 9.1).
  void reset();
  /// What comes to this processor from others happens when it runs next. INIT: registers as in SDM vol. 3, table 9-1, and
  /// it waits for a start-up message.
  void raise_init() {
    init_ = true;
    startup_ = -1;
    attention_.store(true, std::memory_order_relaxed);
  }
  /// The reset line of an application processor: power-on state, and the same waiting.
  void raise_reset() {
    power_on_ = true;
    raise_init();
  }
  /// SIPI (SDM vol. 3, 9.4.3): starts at vector << 12 in real mode; nothing where no INIT came before.
  void raise_startup(u8 vector) {
    if (!init_ && !s.waits_for_startup) return;
    startup_ = vector;
    attention_.store(true, std::memory_order_relaxed);
  }
  /// Halted, but there is something now that ends it or must be looked at.
  bool is_awaited();
  /// Halted so that an interrupt, an NMI or a store could still end it.
  bool is_wakeable() const {
    return !s.waits_for_startup && ((s.rflags & fl::if_) || (s.waiting && s.wakes_masked) || nmi_);
  }
  void set_retire_observer(RetireObserver* o) { retire_ = o; }
  /// A write touched a page that holds decoded code.
  void code_written(MachineAddr address, unsigned bytes) override;

  /// Takes `i` and what follows it in the running block back from the counts: they were charged at its entry.
  void unretire_from(const Insn& i);
  u64 rip_of(const Insn& i) const { return block_rip + i.offset; }
  u64 next_rip(const Insn& i) const { return truncate_rip(block_rip + i.offset + i.length); }
  u64 truncate_rip(u64 rip) const { return code_size_ == CodeSize::k64 ? rip : static_cast<u32>(rip); }

  // ---- mode ---------------------------------------------------------------------------------------------------------
  CodeSize code_size() const { return code_size_; }
  bool long64() const { return code_size_ == CodeSize::k64; }
  bool long_mode() const { return s.efer & mmu::efer::lma; }
  bool protected_mode() const { return s.cr0 & mmu::cr0::pe; }
  bool v8086() const { return s.rflags & fl::vm; }
  /// A virtual interrupt is pending and permitted: #GP at the beginning of an instruction (SDM vol. 3, 20.3.2, 20.4).
  bool has_virtual_interrupt() const {
    constexpr u64 kBoth = fl::vif | fl::vip;
    return (s.rflags & kBoth) == kBoth && s.cpl == 3 && (s.cr4 & (v8086() ? mmu::cr4::vme : mmu::cr4::pvi));
  }
  bool real_mode() const { return !protected_mode(); }
  unsigned iopl() const { return (s.rflags >> 12) & 3; }
  /// Bytes of the stack pointer: 8 in 64-bit mode, else by SS.B.
  unsigned stack_width() const { return long64() ? 8 : s.seg[SS].db ? 4 : 2; }
  unsigned linear_width() const { return s.cr4 & mmu::cr4::la57 ? 57 : 48; }
  /// After CS, SS, CR0, CR3, CR4, EFER, EFLAGS.AC/VM or CPL changed: recomputes what is derived from them.
  void update_mode();    ///< code size, port privilege
  void update_paging();  ///< port paging state (flushes nothing), then update_mode()

  // ---- flags --------------------------------------------------------------------------------------------------------
  u64 rflags() const { return s.rflags | s.flags.pack(); }
  /// All bits; the caller has masked what the instruction may not change.
  void set_rflags(u64 value);

  // ---- operands -----------------------------------------------------------------------------------------------------
  template <class T>
  T& gpr(u8 byte_offset) {
    return *reinterpret_cast<T*>(reinterpret_cast<u8*>(s.gpr.data()) + byte_offset);
  }
  /// Writes a general register as the width demands (32-bit writes clear the upper half).
  template <class T>
  NW_INLINE void set_gpr(u8 byte_offset, T v) {
    if constexpr (sizeof(T) == 4)
      gpr<u64>(byte_offset) = v;
    else
      gpr<T>(byte_offset) = v;
  }
  /// Offset of the memory operand inside its segment, truncated to the address size.
  u64 offset_of(const Insn& i) const {
    const u64 a = s.gpr[i.base] + (s.gpr[i.index] << i.scale) + static_cast<u64>(i.disp);
    return i.address == 8 ? a : i.address == 4 ? static_cast<u32>(a) : static_cast<u16>(a);
  }
  /// Linear address of the memory operand for an access of `bytes`; checks the segment outside 64-bit mode.
  template <mmu::Side side>
  NW_INLINE u64 linear(const Insn& i, unsigned bytes) {
    const u64 a = s.gpr[i.base] + (s.gpr[i.index] << i.scale) + static_cast<u64>(i.disp);
    if (NW_LIKELY(!(i.flags & (Insn::kSlowAddress | Insn::kSegmentBase)))) return a;
    if (NW_LIKELY(!(i.flags & Insn::kSlowAddress))) return a + s.seg[i.segment].base;
    return linear_slow(i, a, bytes, side == mmu::Side::store);
  }
  /// segment:offset to linear with all checks (limit, type, null, canonical left to the port); #GP or #SS.
  u64 linear_of(Seg seg, u64 offset, unsigned bytes, bool write);

  // Explicit memory accesses. `seg` only decides between #SS and #GP for a non-canonical address.
  template <class T>
  NW_INLINE T load_at(u64 linear, u8 seg = DS) {
    if (const u8* p = port.hit<mmu::Side::load>(linear, sizeof(T))) {
      T v;
      __builtin_memcpy(&v, p, sizeof v);
      return v;
    }
    return load_slow<T>(linear, seg);
  }
  template <class T>
  NW_INLINE void store_at(u64 linear, T v, u8 seg = DS) {
    if (u8* p = port.hit<mmu::Side::store>(linear, sizeof(T))) {
      __builtin_memcpy(p, &v, sizeof v);
      return;
    }
    store_slow(linear, &v, sizeof v, seg);
  }
  /// Read-modify-write; returns the old value. `f` may have effects (flags): it is called once, after both translations.
  template <class T, class F>
  NW_INLINE T update_at(u64 linear, F&& f, u8 seg = DS) {
    auto r = port.update<T>(LinearAddr(linear), f);
    if (NW_UNLIKELY(!r)) fail(r.fault(), seg);
    return *r;
  }
  template <class T>
  NW_INLINE T load(const Insn& i) {
    return load_at<T>(linear<mmu::Side::load>(i, sizeof(T)), i.segment);
  }
  template <class T>
  NW_INLINE void store(const Insn& i, T v) {
    store_at<T>(linear<mmu::Side::store>(i, sizeof(T)), v, i.segment);
  }
  template <class T, class F>
  NW_INLINE T update(const Insn& i, F&& f) {
    return update_at<T>(linear<mmu::Side::store>(i, sizeof(T)), f, i.segment);
  }
  /// Any operand, by number: gpr, mem or imm to read; gpr or mem to write. For instructions where speed does not matter.
  template <class T>
  T read(const Insn& i, unsigned n) {
    switch (i.kind[n]) {
      case Operand::gpr: return gpr<T>(i.reg[n]);
      case Operand::mem: return load<T>(i);
      default: return static_cast<T>(i.imm);
    }
  }
  template <class T>
  void write(const Insn& i, unsigned n, T v) {
    if (i.kind[n] == Operand::gpr)
      set_gpr<T>(i.reg[n], v);
    else
      store<T>(i, v);
  }

  // Stack at the present stack width; the pointer moves only after the access succeeded.
  template <class T>
  NW_INLINE void push(T v) {
    if (NW_LIKELY(long64())) {
      const u64 sp = s.gpr[RSP] - sizeof(T);
      store_at<T>(sp, v, SS);
      s.gpr[RSP] = sp;
    } else {
      push_slow(static_cast<u64>(v), sizeof(T));
    }
  }
  template <class T>
  NW_INLINE T pop() {
    if (NW_LIKELY(long64())) {
      const T v = load_at<T>(s.gpr[RSP], SS);
      s.gpr[RSP] += sizeof(T);
      return v;
    }
    return static_cast<T>(pop_slow(sizeof(T)));
  }
  void push_slow(u64 v, unsigned bytes) { push_slow(v, bytes, bytes); }
  void push_slow(u64 v, unsigned bytes, unsigned written);  ///< of a slot of `bytes` the lower ones only
  u64 pop_slow(unsigned bytes);
  /// Value of the stack `bytes_above` bytes above SP, without moving it.
  u64 peek_stack(u64 bytes_above, unsigned bytes);
  void set_sp(u64 value);  ///< at stack width
  u64 sp() const;

  // Implicit supervisor accesses (descriptor tables, TSS): linear address, faults thrown.
  template <class T>
  T load_system(u64 linear) {
    auto r = port.load_system<T>(LinearAddr(linear));
    if (!r) fail(r.fault(), DS);
    return *r;
  }
  template <class T>
  void store_system(u64 linear, T v) {
    if (auto r = port.store_system<T>(LinearAddr(linear), v); !r) fail(r.fault(), DS);
  }

  // ---- faults -------------------------------------------------------------------------------------------------------
  [[noreturn]] NW_COLD void raise(u8 vector);
  [[noreturn]] NW_COLD void raise(u8 vector, u32 error);
  [[noreturn]] NW_COLD void fail(const Fault& fault, u8 seg);
  [[noreturn]] void gp(u32 error = 0) { raise(ex::gp, error); }
  [[noreturn]] void ud() { raise(ex::ud); }
  void require_cpl0() {
    if (s.cpl) gp();
  }
  /// Tells the user once per opcode that an instruction is not there, with its address and listing.
  NW_COLD void note_undefined(const Insn& i);

  // ---- control transfer (cpu/far.cpp, cpu/exceptions.cpp) --------------------------------------------------------------
  /// Near branch target: truncates, checks limit or canonical form (#GP), sets RIP.
  void jump_near(u64 target, unsigned width) {
    if (NW_LIKELY(long64() && is_canonical(target, linear_width())))
      s.rip = target;
    else
      jump_near_slow(target, width);
  }
  void jump_near_slow(u64 target, unsigned width);
  void far_jump(u16 selector, u64 offset, unsigned width);
  void far_call(u16 selector, u64 offset, unsigned width);
  void far_return(unsigned width, u16 release);
  void interrupt_return(unsigned width);
  enum class Source : u8 { external, software, exception };
  /// Delivers through the IDT (or the real-mode table). s.rip is the return address. Nested faults give #DF, then shutdown.
  void deliver(const Trap& trap, Source source);

  // ---- segments (cpu/segments.cpp) --------------------------------------------------------------------------------------
  void load_segment(Seg seg, u16 selector);  ///< MOV/POP/Lxx, with all checks
  void load_ldtr(u16 selector);
  void load_tr(u16 selector);

  // ---- system registers (cpu/control.cpp, cpu/msr.cpp)
  // -------------------------------------------------------------------
  u64 read_cr(unsigned n);
  void write_cr(unsigned n, u64 value);
  u64 read_dr(unsigned n);
  void write_dr(unsigned n, u64 value);
  void update_breakpoints();  ///< after DR0-3 or DR7 changed
  void write_pkru(u32 value);
  u64 read_msr(u32 index);
  void write_msr(u32 index, u64 value);
  u64 tsc() const { return clock.now() + s.tsc_offset; }
  void set_tsc(u64 value) {
    s.tsc_offset = value - clock.now();
    platform.tsc_changed();
  }

  Random random;  ///< RDRAND, RDSEED
  const Blocks& blocks() const { return *blocks_; }
  void limit_blocks(u64 bytes);  ///< host memory for decoded code

 private:
  friend class Blocks;
  template <class T>
  __attribute__((noinline)) T load_slow(u64 linear, u8 seg) {
    auto r = port.load<T>(LinearAddr(linear));
    if (NW_UNLIKELY(!r)) fail(r.fault(), seg);
    return *r;
  }
  void store_slow(u64 linear, const void* from, unsigned bytes, u8 seg);
  NW_COLD u64 linear_slow(const Insn& i, u64 a, unsigned bytes, bool write);

  bool take_events();  ///< at block ends: interrupts, NMI, due timers, halt; false: stop
  bool wakes();        ///< MWAIT is over
  bool start();        ///< INIT and SIPI; false: it waits for a SIPI
  void initialize();
  bool halt();  ///< lets time pass to the next event; false: nothing will ever wake the processor
  template <bool by_line, bool observed>
  void run_blocks(u64 limit);
  template <bool by_line, bool observed>
  bool step(u64 limit);  ///< runs one block; false: it would pass the limit, and nothing has happened
  template <bool observed>
  bool step_slowly(u64 limit, u64 linear);
  template <bool observed>
  void execute(Block& block);
  void fetch_lines(u64 linear, u32 lines);
  Block& find_block(u64 linear, u64 most);
  void handle_trap(const Trap& trap);
  void report_retired(const Block& block);
  void refresh_caution();
  void single_step();
  u64 instruction_breakpoints() const;  ///< DR6 bits of the armed ones at RIP
  void deliver_guarded(const Trap& trap, Source source);
  NW_COLD void note_msr(u32 index, const char* instruction);

  CodeSize code_size_ = CodeSize::k16;
  std::atomic<bool> attention_ = false;  ///< something besides the deadline wants the run loop's attention
  std::atomic<bool> poll_ = false;       ///< the host wants Platform::poll called
  bool interrupt_ = false, nmi_ = false;
  bool init_ = false, power_on_ = false;  ///< came, and not looked at yet
  int startup_ = -1;                      ///< vector of a SIPI that came
  bool cautious_ = false;                 ///< one instruction at a time: TF, an interrupt shadow, or armed breakpoints
  bool delivered_ = false;                ///< an exception or interrupt, since somebody cleared this
  u64 pending_db_ = 0;                    ///< DR6 bits of a debug trap to deliver at the next boundary
  u32 unretired_ = 0;                     ///< instructions of the running block that did not retire
  Stop stop_ = Stop::none;
  RetireObserver* retire_ = nullptr;
  std::unique_ptr<Blocks> blocks_;
  std::set<u64> noted_;  ///< opcodes, and MSRs with bit 63, already named in the log
};

}  // namespace nestwalk::cpu
