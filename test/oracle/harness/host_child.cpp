// Native execution of one snippet: stubs, signal frame and the pages that snippets see (SDM vol. 1, 13.4: the XSAVE area;
// Linux arch/x86/include/uapi/asm/sigcontext.h: where a signal frame keeps it).
#include "test/oracle/harness/host_child.h"

#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <initializer_list>

#include <cpuid.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "test/oracle/harness/xsave_area.h"

namespace nestwalk::oracle::child {
namespace {

constexpr u64 kControl = 0x3a5e7000;  // two pages

struct alignas(64) Control {
  alignas(64) u8 xsave[kXsaveBytes];
  Registers registers;
  u64 target, host_rsp, host_fs, host_gs;
  u32 mxcsr;
};

Control& control() { return *reinterpret_cast<Control*>(kControl); }

struct Host {
  u8* code = nullptr;  ///< the code page, writable
  void (*enter)() = nullptr;
  bool avx = false, bases = false;
  sigjmp_buf back;
  Outcome* outcome = nullptr;
  u64 serial = 0, serial_at_tick = 0;
  volatile bool inside = false;
};
Host host;  // NOLINT: the child has one thread and lives for this

class Emitter {
 public:
  Emitter(u8* to, u64 at) : to_(to), start_(to), at_(at) {}
  void bytes(std::initializer_list<u8> list) {
    for (const u8 b : list) *to_++ = b;
  }
  /// Opcode bytes, ModRM /reg, and an absolute operand in the control page.
  void absolute(std::initializer_list<u8> opcode, unsigned reg, std::size_t offset) {
    bytes(opcode);
    bytes({static_cast<u8>(0x04 | (reg & 7) << 3), 0x25});
    const u32 address = static_cast<u32>(kControl + offset);
    std::memcpy(to_, &address, 4);
    to_ += 4;
  }
  void load(unsigned reg, std::size_t offset) { absolute({rex(reg), 0x8b}, reg, offset); }
  void store(unsigned reg, std::size_t offset) { absolute({rex(reg), 0x89}, reg, offset); }
  u64 here() const { return at_ + static_cast<u64>(to_ - start_); }

 private:
  static u8 rex(unsigned reg) { return static_cast<u8>(0x48 | (reg & 8) >> 1); }
  u8 *to_, *start_;
  u64 at_;
};

constexpr std::size_t in_registers(std::size_t member) { return offsetof(Control, registers) + member; }
constexpr std::size_t kRflags = in_registers(offsetof(Registers, rflags));
constexpr std::size_t gpr_at(unsigned n) { return in_registers(offsetof(Registers, gpr) + 8 * n); }
constexpr std::size_t selector_at(unsigned n) { return in_registers(offsetof(Registers, selector) + 2 * n); }

/// RDFSBASE 0, RDGSBASE 1, WRFSBASE 2, WRGSBASE 3 with RAX.
void base_instruction(Emitter& e, unsigned which) { e.bytes({0xf3, 0x48, 0x0f, 0xae, static_cast<u8>(0xc0 | which << 3)}); }

void state_instruction(Emitter& e, bool save) {
  if (!host.avx) return e.absolute({0x48, 0x0f, 0xae}, save ? 0 : 1, 0);  // FXSAVE64, FXRSTOR64
  e.bytes({0xb8, kComponents, 0, 0, 0, 0x31, 0xd2});                      // mov eax, 7; xor edx, edx
  e.absolute({0x48, 0x0f, 0xae}, save ? 4 : 5, 0);                        // XSAVE64, XRSTOR64
}

void set_bases(Emitter& e, std::size_t fs, std::size_t gs) {
  if (!host.bases) return;
  e.load(0, fs);
  base_instruction(e, 2);
  e.load(0, gs);
  base_instruction(e, 3);
}

void emit_leave(Emitter& e) {
  for (unsigned n = 0; n < 16; ++n) e.store(n, gpr_at(n));
  e.load(cpu::RSP, offsetof(Control, host_rsp));
  e.bytes({0x9c});                 // pushfq
  e.absolute({0x8f}, 0, kRflags);  // pop
  e.bytes({0x6a, 0x02, 0x9d});     // push 2; popfq
  for (unsigned n = 0; n < cpu::kSegs; ++n) e.absolute({0x8c}, n, selector_at(n));
  if (host.bases) {
    base_instruction(e, 0);
    e.store(0, in_registers(offsetof(Registers, fs_base)));
    base_instruction(e, 1);
    e.store(0, in_registers(offsetof(Registers, gs_base)));
    e.bytes({0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8});  // xor eax, eax; mov ds, es, fs, gs from it
    set_bases(e, offsetof(Control, host_fs), offsetof(Control, host_gs));
  }
  state_instruction(e, true);
  e.bytes({0xdb, 0xe3});                                  // fninit
  e.absolute({0x0f, 0xae}, 2, offsetof(Control, mxcsr));  // ldmxcsr
  e.bytes({0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});
}

void emit_stubs(u8* page) {
  Emitter e(page, kLeave);
  emit_leave(e);
  host.enter = reinterpret_cast<void (*)()>(e.here());
  e.bytes({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // push rbx, rbp, r12..r15
  e.store(cpu::RSP, offsetof(Control, host_rsp));
  state_instruction(e, false);
  set_bases(e, in_registers(offsetof(Registers, fs_base)), in_registers(offsetof(Registers, gs_base)));
  e.absolute({0xff}, 6, kRflags);  // push
  e.bytes({0x9d});                 // popfq
  for (unsigned n = 0; n < 16; ++n) e.load(n, gpr_at(n));
  e.absolute({0xff}, 4, offsetof(Control, target));  // jmp
}

// ---- signals ------------------------------------------------------------------------------------------------------------

/// The bases as the snippet left them; ours are put back, since the C library finds its thread through FS.
__attribute__((always_inline)) inline void swap_bases(u64& fs, u64& gs) {
  if (!host.bases) return;
  asm volatile("pushfq\n\tandl $0xfffbffff, (%%rsp)\n\tpopfq" ::: "memory", "cc");  // AC would hurt this handler
  asm volatile("rdfsbase %0\n\trdgsbase %1" : "=r"(fs), "=r"(gs));
  asm volatile("wrfsbase %0\n\twrgsbase %1" : : "r"(control().host_fs), "r"(control().host_gs));
}

void frame_state(const ucontext_t& frame, Registers& r) {
  constexpr int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  const auto& m = frame.uc_mcontext;
  for (unsigned n = 0; n < 16; ++n) r.gpr[n] = static_cast<u64>(m.gregs[order[n]]);
  r.rflags = static_cast<u64>(m.gregs[REG_EFL]);
  r.rip = static_cast<u64>(m.gregs[REG_RIP]);
  const u64 csgsfs = static_cast<u64>(m.gregs[REG_CSGSFS]);
  r.selector[cpu::CS] = static_cast<u16>(csgsfs);
  r.selector[cpu::SS] = static_cast<u16>(csgsfs >> 48);
  if (!m.fpregs) return;
  const u8* const area = reinterpret_cast<const u8*>(m.fpregs);
  constexpr u32 kMagic1 = 0x46505853;  // FP_XSTATE_MAGIC1: an XSAVE area
  const bool extended = get<u32>(area, 464) == kMagic1;
  from_xsave(area, extended ? get<u64>(area, 512) : kX87Sse, r);
}

__attribute__((no_stack_protector)) void on_fault(int, siginfo_t*, void* raw) {
  u64 fs = 0, gs = 0;
  swap_bases(fs, gs);
  if (!host.inside) _exit(3);
  Outcome& o = *host.outcome;
  const auto& frame = *static_cast<const ucontext_t*>(raw);
  frame_state(frame, o.after);
  o.after.fs_base = fs;
  o.after.gs_base = gs;
  u16 selectors[4];
  asm volatile("mov %%ds, %0\n\tmov %%es, %1\n\tmov %%fs, %2\n\tmov %%gs, %3"
               : "=m"(selectors[0]), "=m"(selectors[1]), "=m"(selectors[2]), "=m"(selectors[3]));
  constexpr u8 order[4] = {cpu::DS, cpu::ES, cpu::FS, cpu::GS};
  for (unsigned n = 0; n < 4; ++n) o.after.selector[order[n]] = selectors[n];
  o.vector = static_cast<int>(frame.uc_mcontext.gregs[REG_TRAPNO]);
  o.error = static_cast<u32>(frame.uc_mcontext.gregs[REG_ERR]);
  o.address = o.vector == cpu::ex::pf ? static_cast<u64>(frame.uc_mcontext.gregs[REG_CR2]) : 0;
  siglongjmp(host.back, 1);
}

/// The same case for two ticks: it will not end.
__attribute__((no_stack_protector)) void on_tick(int, siginfo_t*, void* raw) {
  u64 fs = 0, gs = 0;
  swap_bases(fs, gs);
  if (host.inside && host.serial == host.serial_at_tick) {
    const u64 rip = static_cast<u64>(static_cast<const ucontext_t*>(raw)->uc_mcontext.gregs[REG_RIP]);
    if (rip - kCodePage < 0x1000) {
      frame_state(*static_cast<const ucontext_t*>(raw), host.outcome->after);
      host.outcome->vector = Outcome::kHung;
      siglongjmp(host.back, 1);
    }
  }
  host.serial_at_tick = host.serial;
  if (host.bases) asm volatile("wrfsbase %0\n\twrgsbase %1" : : "r"(fs), "r"(gs));
}

void catch_signals() {
  static u8 stack[1 << 16];
  stack_t alternative{};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) sigaction(signal, &action, nullptr);
  action.sa_sigaction = on_tick;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval tick{{0, 50000}, {0, 50000}};
  setitimer(ITIMER_REAL, &tick, nullptr);
}

// ---- pages --------------------------------------------------------------------------------------------------------------

bool map_at(u64 address, u64 bytes, int protection, int flags, int file) {
  void* const want = reinterpret_cast<void*>(address);
  return mmap(want, bytes, protection, flags | MAP_FIXED_NOREPLACE, file, 0) == want;
}

bool map_pages() {
  const int file = static_cast<int>(syscall(SYS_memfd_create, "oracle", 0));
  if (file < 0 || ftruncate(file, 0x2000) != 0) return false;
  void* const writable = mmap(nullptr, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const bool mapped = writable != MAP_FAILED && map_at(kCodePage, 0x2000, PROT_READ | PROT_EXEC, MAP_SHARED, file) &&
                      map_at(kData, kDataBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1) &&
                      map_at(kControl, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  close(file);
  host.code = static_cast<u8*>(writable);
  return mapped;
}

void ask_processor() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  if (c & bit_OSXSAVE) {
    u32 low, high;
    asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    host.avx = (low & kComponents) == kComponents;
  }
  constexpr unsigned long kFsgsbase = 2;  // HWCAP2_FSGSBASE
  host.bases = getauxval(AT_HWCAP2) & kFsgsbase;
}

}  // namespace

bool prepare() {
  if (!map_pages()) return false;
  ask_processor();
  static_assert(sizeof(Control) <= 0x2000);
  control().target = kCode;
  control().mxcsr = 0x1f80;
  if (host.bases) asm volatile("rdfsbase %0\n\trdgsbase %1" : "=r"(control().host_fs), "=r"(control().host_gs));
  emit_stubs(host.code + 0x1000);
  catch_signals();
  return true;
}

void run(const Case& c, Outcome& o) {
  put_code(c, host.code);
  u8* const data = reinterpret_cast<u8*>(kData);
  std::memset(data, 0, kDataBytes);
  scatter(c.memory, data);
  control().registers = c.before;
  to_xsave(c.before, control().xsave);
  host.outcome = &o;
  ++host.serial;
  o.vector = Outcome::kNone;
  o.error = 0;
  o.address = 0;
  if (sigsetjmp(host.back, 0) == 0) {
    host.inside = true;
    host.enter();
    host.inside = false;
    o.after = control().registers;
    from_xsave(control().xsave, host.avx ? get<u64>(control().xsave, 512) : kX87Sse, o.after);
    o.after.rip = kLeave;
  } else {
    host.inside = false;
    if (host.bases) {
      asm volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %0, %%fs\n\tmov %0, %%gs" : : "r"(0));
      asm volatile("wrfsbase %0\n\twrgsbase %1" : : "r"(control().host_fs), "r"(control().host_gs));
    }
    asm volatile("fninit\n\tcld\n\tldmxcsr %0" : : "m"(control().mxcsr));
  }
  gather(o.memory, data);
  o.stray = stray_of(data);
}

}  // namespace nestwalk::oracle::child
