// The host's own processor as an oracle for user-mode instructions: snippets run natively in a child process on a given
// state, and leave the state that the silicon leaves. Exceptions are caught and reported with the state they find.
//
// The child maps code, data and a control page at fixed low addresses, so that the stubs that load and store all registers
// need no register of their own: every operand is an absolute 32-bit address.
#pragma once

#include <array>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/types.h"

namespace nestwalk::test {

/// What a user-mode instruction can see and change in registers. `fx` is an FXSAVE64 image (x87, MXCSR, XMM); with what
/// follows it is an XSAVE image in the standard format.
struct alignas(64) UserState {
  std::array<u64, 16> gpr{};
  u64 rflags = 0x202;
  u64 rip = 0;  ///< out: behind the snippet, or of the faulting instruction
  alignas(64) std::array<u8, 512> fx{};
  std::array<u64, 8> xsave_header{};
  std::array<std::array<u64, 2>, 16> high{};  ///< bits 255:128 of YMM0..15; zeros where the host has no AVX
};
static_assert(offsetof(UserState, high) == offsetof(UserState, fx) + 576);

/// Where snippets live, the same natively and emulated. The data pages have nothing mapped around them.
inline constexpr u64 kOracleCode = 0x20000000;
inline constexpr u64 kOracleData = 0x10000000;  ///< two pages
inline constexpr unsigned kOracleDataBytes = 8192;
inline constexpr unsigned kWindow = 1024;                               ///< bytes of data memory that a case carries
inline constexpr u64 kOracleWindow = kOracleData + 4096 - kWindow / 2;  ///< they straddle the page boundary

struct OracleCase {
  std::array<u8, 64> code{};
  unsigned length = 0;
  UserState state;                   ///< in and out
  std::array<u8, kWindow> memory{};  ///< in and out; the rest of the data pages is 0
  int vector = -1;                   ///< out: exception vector, or -1

  void set_code(std::span<const u8> bytes);
};

class HostOracle {
 public:
  /// Runs every case in one child process. False where the host does not let us (then tests report "skipped").
  static bool run(std::span<OracleCase> cases);
  /// Whether the host reports the CPU features that the caller needs, as in /proc/cpuinfo ("movbe", "sha_ni").
  static bool host_has(const std::string& flag);
  static bool is_intel();
};

/// What runs in the child.
namespace native {

inline constexpr u64 kControl = 0x30000000, kStubs = kOracleCode + 0x1000;

/// The control page.
struct Control {
  UserState state;
  u64 host_rsp;
  u64 target;
  u32 mxcsr;
};
inline Control& control() { return *reinterpret_cast<Control*>(kControl); }

/// Machine code, byte by byte.
class Emitter {
 public:
  explicit Emitter(u64 at) : p_(reinterpret_cast<u8*>(at)) {}
  void bytes(std::initializer_list<u8> list) {
    for (const u8 b : list) *p_++ = b;
  }
  /// `prefix+opcode` with ModRM /reg and an absolute operand in the control page.
  void absolute(std::initializer_list<u8> opcode, unsigned reg, std::size_t offset) {
    bytes(opcode);
    bytes({static_cast<u8>(0x04 | ((reg & 7) << 3)), 0x25});
    const u32 address = static_cast<u32>(kControl + offset);
    std::memcpy(p_, &address, 4);
    p_ += 4;
  }
  void load(unsigned reg, std::size_t offset) { absolute({rex(reg), 0x8b}, reg, offset); }
  void store(unsigned reg, std::size_t offset) { absolute({rex(reg), 0x89}, reg, offset); }
  /// Restores or saves x87, MXCSR and vector registers; destroys RAX and RDX.
  void vector_state(bool restore);
  u64 here() const { return reinterpret_cast<u64>(p_); }

 private:
  static u8 rex(unsigned reg) { return reg >= 8 ? 0x4c : 0x48; }
  u8* p_;
};

inline constexpr std::size_t kFlags = offsetof(Control, state) + offsetof(UserState, rflags);
inline constexpr std::size_t kFx = offsetof(Control, state) + offsetof(UserState, fx);
constexpr std::size_t gpr_at(unsigned n) { return offsetof(Control, state) + offsetof(UserState, gpr) + 8 * n; }
inline constexpr unsigned kRsp = 4;

/// x87, SSE and AVX state, where the host has all three.
inline constexpr u32 kXsaved = 7;
inline bool host_has_ymm() {
  static const bool has = __builtin_cpu_supports("avx");  // the compiler's run-time asks XCR0, too
  return has;
}

struct Stubs {
  void (*enter)();
  u64 leave;
};

inline void Emitter::vector_state(bool restore) {
  if (host_has_ymm()) {
    bytes({0xb8, kXsaved, 0, 0, 0, 0x31, 0xd2});         // mov eax, edx
    absolute({0x48, 0x0f, 0xae}, restore ? 5 : 4, kFx);  // xrstor64, xsave64
  } else {
    absolute({0x48, 0x0f, 0xae}, restore ? 1 : 0, kFx);  // fxrstor64, fxsave64
  }
}

inline Stubs emit_stubs() {
  Emitter e(kStubs);
  const u64 enter = e.here();
  e.bytes({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // push rbx, rbp, r12..r15
  e.store(kRsp, offsetof(Control, host_rsp));
  e.vector_state(true);
  e.absolute({0xff}, 6, kFlags);  // push
  e.bytes({0x9d});                // popfq
  for (unsigned n = 0; n < 16; ++n) e.load(n, gpr_at(n));
  e.absolute({0xff}, 4, offsetof(Control, target));  // jmp
  const u64 leave = e.here();
  for (unsigned n = 0; n < 16; ++n) e.store(n, gpr_at(n));
  e.load(kRsp, offsetof(Control, host_rsp));
  e.bytes({0x9c});                // pushfq
  e.absolute({0x8f}, 0, kFlags);  // pop
  e.vector_state(false);
  e.bytes({0xdb, 0xe3, 0xfc});                            // fninit, cld
  e.absolute({0x0f, 0xae}, 2, offsetof(Control, mxcsr));  // ldmxcsr
  e.bytes({0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});
  return {reinterpret_cast<void (*)()>(enter), leave};
}

/// Used by the child only, which has one thread.
inline sigjmp_buf back;
inline OracleCase* running;

/// From a signal frame: an FXSAVE image, and behind it the rest of an XSAVE image if the software-reserved bytes say so.
inline void take_vector_state(UserState& s, const u8* frame) {
  constexpr u32 magic = 0x46505853;
  std::memcpy(s.fx.data(), frame, s.fx.size());
  s.high = {};
  u32 found;
  std::memcpy(&found, frame + 464, sizeof found);
  if (found != magic) return;
  u64 present;
  std::memcpy(&present, frame + 512, sizeof present);
  if (present & 4) std::memcpy(s.high.data(), frame + 576, sizeof s.high);
}

inline void on_signal(int, siginfo_t*, void* raw) {
  const auto& m = static_cast<ucontext_t*>(raw)->uc_mcontext;
  constexpr int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  UserState& s = running->state;
  for (unsigned n = 0; n < 16; ++n) s.gpr[n] = static_cast<u64>(m.gregs[order[n]]);
  s.rflags = static_cast<u64>(m.gregs[REG_EFL]);
  s.rip = static_cast<u64>(m.gregs[REG_RIP]);
  if (m.fpregs) take_vector_state(s, reinterpret_cast<const u8*>(m.fpregs));
  running->vector = static_cast<int>(m.gregs[REG_TRAPNO]);
  siglongjmp(back, 1);
}

inline bool map_at(u64 address, u64 bytes, int protection) {
  void* p =
      mmap(reinterpret_cast<void*>(address), bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  return p == reinterpret_cast<void*>(address);
}

inline void catch_signals() {
  static u8 stack[65536];
  stack_t alternative{};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) sigaction(signal, &action, nullptr);
}

inline void run_one(OracleCase& c, const Stubs& stubs) {
  u8* const code = reinterpret_cast<u8*>(kOracleCode);
  std::memcpy(code, c.code.data(), c.length);
  const u8 jump[6] = {0xff, 0x25, 0, 0, 0, 0};  // jmp [rip]
  std::memcpy(code + c.length, jump, 6);
  std::memcpy(code + c.length + 6, &stubs.leave, 8);
  std::memset(reinterpret_cast<void*>(kOracleData), 0, kOracleDataBytes);
  std::memcpy(reinterpret_cast<void*>(kOracleWindow), c.memory.data(), kWindow);
  control().state = c.state;
  control().state.xsave_header = {kXsaved};
  running = &c;
  c.vector = -1;
  if (sigsetjmp(back, 0) == 0) {
    stubs.enter();
    c.state = control().state;
    c.state.rip = kOracleCode + c.length;
  } else {
    asm volatile("fninit\n\tcld\n\tldmxcsr %0" : : "m"(control().mxcsr));
  }
  std::memcpy(c.memory.data(), reinterpret_cast<void*>(kOracleWindow), kWindow);
}

[[noreturn]] inline void child(std::span<OracleCase> cases) {
  if (!map_at(kOracleCode, 0x2000, PROT_READ | PROT_WRITE | PROT_EXEC) ||
      !map_at(kOracleData, kOracleDataBytes, PROT_READ | PROT_WRITE) || !map_at(kControl, 0x1000, PROT_READ | PROT_WRITE))
    _exit(1);
  control().target = kOracleCode;
  control().mxcsr = 0x1f80;
  catch_signals();
  const Stubs stubs = emit_stubs();
  for (OracleCase& c : cases) run_one(c, stubs);
  _exit(0);
}

}  // namespace native

inline void OracleCase::set_code(std::span<const u8> bytes) {
  if (bytes.size() > code.size()) throw std::length_error("snippet too long");
  length = static_cast<unsigned>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), code.begin());
}

inline bool HostOracle::run(std::span<OracleCase> cases) {
  if (cases.empty()) return true;
  const std::size_t bytes = cases.size_bytes();
  void* shared = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return false;
  std::memcpy(shared, cases.data(), bytes);
  const pid_t pid = fork();
  if (pid == 0) native::child({static_cast<OracleCase*>(shared), cases.size()});
  int status = 1;
  bool ok = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (ok) std::memcpy(static_cast<void*>(cases.data()), shared, bytes);
  munmap(shared, bytes);
  return ok;
}

inline bool HostOracle::host_has(const std::string& flag) {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("flags")) return (line + " ").find(" " + flag + " ") != std::string::npos;
  return false;
}

inline bool HostOracle::is_intel() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("vendor_id")) return line.ends_with("GenuineIntel");
  return false;
}

/// A default FXSAVE image: FNINIT, MXCSR 1F80h.
inline std::array<u8, 512> clean_fx() {
  std::array<u8, 512> fx{};
  fx[0] = 0x7f;
  fx[1] = 0x03;
  fx[24] = 0x80;
  fx[25] = 0x1f;
  return fx;
}

/// "0f af c1" to bytes.
inline std::vector<u8> bytes_of_hex(const std::string& hex) {
  std::vector<u8> bytes;
  int high = -1;
  for (const char ch : hex) {
    if (ch == ' ') continue;
    const int v = ch >= 'a' ? ch - 'a' + 10 : ch - '0';
    if (v < 0 || v > 15) throw std::invalid_argument("not hexadecimal: " + hex);
    if (high < 0) {
      high = v;
    } else {
      bytes.push_back(static_cast<u8>(high << 4 | v));
      high = -1;
    }
  }
  return bytes;
}

inline std::string hex_of(std::span<const u8> bytes) {
  std::string text;
  constexpr char digits[] = "0123456789abcdef";
  for (const u8 b : bytes) {
    if (!text.empty()) text += ' ';
    text += digits[b >> 4];
    text += digits[b & 15];
  }
  return text;
}

}  // namespace nestwalk::test
