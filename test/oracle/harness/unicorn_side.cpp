// Snippets under Unicorn. It runs them at CPL 0 without descriptor tables, so that what looks at privilege or loads
// segments is not compared (policy.cpp); exceptions come back as a number only.
#include "test/oracle/harness/unicorn_side.h"

#include "test/oracle/harness/child_side.h"

#include <unicorn/unicorn.h>

#include <cstring>
#include <stdexcept>

namespace nestwalk::oracle {
namespace {

constexpr int kGpr64[16] = {UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP, UC_X86_REG_RBP,
                            UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                            UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
constexpr int kGpr32[8] = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
                           UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};

class UnicornSide {
 public:
  explicit UnicornSide(Mode mode) : wide_(mode == Mode::k64) {
    check(uc_open(UC_ARCH_X86, wide_ ? UC_MODE_64 : UC_MODE_32, &uc_));
    check(uc_ctl_set_cpu_model(uc_, UC_CPU_X86_HASWELL));
    check(uc_mem_map(uc_, kCodePage, 0x2000, UC_PROT_READ | UC_PROT_EXEC));
    check(uc_mem_map(uc_, kData, kDataBytes, UC_PROT_READ | UC_PROT_WRITE));
    check(uc_hook_add(uc_, &hook_, UC_HOOK_INTR, reinterpret_cast<void*>(on_interrupt), this, 1, 0));
    if (!wide_) flat_segments();
    u64 cr4 = 0;
    check(uc_reg_read(uc_, UC_X86_REG_CR4, &cr4));
    cr4 |= mmu::cr4::osfxsr | mmu::cr4::osxmmexcpt;
    check(uc_reg_write(uc_, UC_X86_REG_CR4, &cr4));
  }
  ~UnicornSide() { uc_close(uc_); }
  UnicornSide(const UnicornSide&) = delete;
  UnicornSide& operator=(const UnicornSide&) = delete;

  void run_one(const Case& c, Outcome& o) {
    std::array<u8, 4096> page;
    put_code(c, page.data());
    check(uc_mem_write(uc_, kCodePage + kCodeFrom, page.data() + kCodeFrom, kCodeBytes));
    uc_ctl_remove_cache(uc_, kCodePage, kCodePage + 0x1000);
    std::memset(data_.data(), 0, kDataBytes);
    scatter(c.memory, data_.data());
    check(uc_mem_write(uc_, kData, data_.data(), kDataBytes));
    load(c.before);
    interrupt_ = -1;
    const uc_err e = uc_emu_start(uc_, kCode, kLeave, 0, kInstructionLimit);
    check(uc_mem_read(uc_, kData, data_.data(), kDataBytes));
    gather(o.memory, data_.data());
    o.stray = stray_of(data_.data());
    store(c, o.after);
    o.error = 0;
    o.address = 0;
    o.vector = vector_of(e, o.after.rip);
  }

 private:
  static void check(uc_err e) {
    if (e != UC_ERR_OK) throw std::runtime_error(std::string("Unicorn: ") + uc_strerror(e));
  }
  /// Its own 32-bit start has a stack segment of 16 bits.
  void flat_segments() {
    const u64 table[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
    check(uc_mem_map(uc_, kGdt, 0x1000, UC_PROT_READ | UC_PROT_WRITE));
    check(uc_mem_write(uc_, kGdt, table, sizeof table));
    uc_x86_mmr gdtr{};
    gdtr.base = kGdt;
    gdtr.limit = sizeof table - 1;
    check(uc_reg_write(uc_, UC_X86_REG_GDTR, &gdtr));
    put<u32>(UC_X86_REG_CS, 0x08);
    for (const int r : {UC_X86_REG_SS, UC_X86_REG_DS, UC_X86_REG_ES}) put<u32>(r, 0x10);
  }
  static void on_interrupt(uc_engine* uc, u32 number, void* self) {
    static_cast<UnicornSide*>(self)->interrupt_ = static_cast<int>(number);
    uc_emu_stop(uc);
  }

  int vector_of(uc_err e, u64 rip) const {
    switch (e) {
      case UC_ERR_OK:
        if (interrupt_ >= 0) return interrupt_;
        return rip == kLeave ? Outcome::kNone : kSomeException;
      case UC_ERR_INSN_INVALID: return cpu::ex::ud;
      case UC_ERR_READ_UNMAPPED:
      case UC_ERR_WRITE_UNMAPPED:
      case UC_ERR_FETCH_UNMAPPED:
      case UC_ERR_READ_PROT:
      case UC_ERR_WRITE_PROT:
      case UC_ERR_FETCH_PROT: return cpu::ex::pf;
      case UC_ERR_EXCEPTION: return interrupt_ >= 0 ? interrupt_ : cpu::ex::gp;
      default: return Outcome::kDied;
    }
  }

  template <class T>
  void put(int reg, T v) {
    check(uc_reg_write(uc_, reg, &v));
  }
  template <class T>
  T get(int reg) const {
    T v{};
    check(uc_reg_read(uc_, reg, &v));
    return v;
  }

  void load(const Registers& r) {
    for (unsigned n = 0; n < (wide_ ? 16u : 8u); ++n) put<u64>(wide_ ? kGpr64[n] : kGpr32[n], r.gpr[n]);
    put<u64>(wide_ ? UC_X86_REG_RFLAGS : UC_X86_REG_EFLAGS, r.rflags);
    if (wide_) {
      put<u64>(UC_X86_REG_FS_BASE, r.fs_base);
      put<u64>(UC_X86_REG_GS_BASE, r.gs_base);
    }
    put<u32>(UC_X86_REG_MXCSR, r.mxcsr);
    put<u16>(UC_X86_REG_FPCW, r.fcw);
    put<u16>(UC_X86_REG_FPSW, r.fsw);
    u16 tags = 0;
    for (unsigned n = 0; n < 8; ++n)
      if (!((r.tags >> n) & 1)) tags = static_cast<u16>(tags | 3 << (2 * n));
    put<u16>(UC_X86_REG_FPTAG, tags);
    for (unsigned n = 0; n < 8; ++n) put<Registers::Extended>(register_of(r, n), r.st[n]);
    for (unsigned n = 0; n < (wide_ ? 16u : 8u); ++n)
      put<cpu::V128>(UC_X86_REG_XMM0 + static_cast<int>(n), {{r.ymm[n].q[0], r.ymm[n].q[1]}});
  }
  /// What Unicorn shows; the rest is as it was.
  void store(const Case& c, Registers& r) const {
    r = c.before;
    for (unsigned n = 0; n < (wide_ ? 16u : 8u); ++n)
      r.gpr[n] = wide_ ? get<u64>(kGpr64[n]) : static_cast<u32>(get<u64>(kGpr32[n]));
    r.rip = wide_ ? get<u64>(UC_X86_REG_RIP) : static_cast<u32>(get<u64>(UC_X86_REG_EIP));
    r.rflags = static_cast<u32>(get<u64>(UC_X86_REG_EFLAGS));
    r.mxcsr = get<u32>(UC_X86_REG_MXCSR);
    r.fcw = get<u16>(UC_X86_REG_FPCW);
    r.fsw = get<u16>(UC_X86_REG_FPSW);
    const u16 tags = get<u16>(UC_X86_REG_FPTAG);
    r.tags = 0;
    for (unsigned n = 0; n < 8; ++n)
      if (((tags >> (2 * n)) & 3) != 3) r.tags = static_cast<u8>(r.tags | 1 << n);
    for (unsigned n = 0; n < 8; ++n) r.st[n] = get<Registers::Extended>(register_of(r, n));
    for (unsigned n = 0; n < (wide_ ? 16u : 8u); ++n) {
      const auto x = get<cpu::V128>(UC_X86_REG_XMM0 + static_cast<int>(n));
      r.ymm[n].q[0] = x.q[0], r.ymm[n].q[1] = x.q[1];
    }
  }

  /// ST(n) is a physical register for Unicorn.
  static int register_of(const Registers& r, unsigned n) {
    return UC_X86_REG_FP0 + static_cast<int>(((r.fsw >> 11) + n) & 7);
  }

  static constexpr int kSomeException = 31;  ///< it stopped and does not say why
  static constexpr u64 kGdt = 0x60000000;
  bool wide_;
  uc_engine* uc_ = nullptr;
  uc_hook hook_ = 0;
  int interrupt_ = -1;
  std::array<u8, kDataBytes> data_{};
};

}  // namespace

std::unique_ptr<Side> make_unicorn(Mode mode, std::string& missing) {
  auto engine = std::make_shared<std::unique_ptr<UnicornSide>>();
  const auto prepare = [=] {
    try {
      *engine = std::make_unique<UnicornSide>(mode);
      return true;
    } catch (const std::runtime_error&) {
      return false;
    }
  };
  auto side = std::make_unique<ChildSide>("unicorn", prepare, [=](const Case& c, Outcome& o) { (*engine)->run_one(c, o); });
  if (!side->missing().empty()) missing = "libunicorn does not give an x86 processor";
  return missing.empty() ? std::move(side) : nullptr;
}

}  // namespace nestwalk::oracle
