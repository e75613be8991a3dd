// The tiny machine under KVM (Linux Documentation/virt/kvm/api.rst): one memory slot, one processor, state through SREGS
// and REGS.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "test/oracle/harness/system_machine.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

kvm_segment to_kvm(const Segment& s) {
  kvm_segment k{};
  k.base = s.base;
  k.limit = s.limit;
  k.selector = s.selector;
  k.type = s.type;
  k.present = s.present;
  k.dpl = s.dpl;
  k.db = s.db;
  k.s = s.s;
  k.l = s.l;
  k.g = s.g;
  k.avl = s.avl;
  k.unusable = s.null;
  return k;
}
Segment from_kvm(const kvm_segment& k) {
  return Segment{.selector = k.selector,
                 .base = k.base,
                 .limit = k.limit,
                 .type = k.type,
                 .s = k.s != 0,
                 .dpl = k.dpl,
                 .present = k.present != 0,
                 .l = k.l != 0,
                 .db = k.db != 0,
                 .g = k.g != 0,
                 .avl = k.avl != 0,
                 .null = k.unusable != 0};
}
constexpr Seg kOrder[] = {CS, DS, ES, FS, GS, SS};

class KvmSystem final : public SystemMachine {
 public:
  KvmSystem() {
    kvm_ = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm_ < 0) fail("/dev/kvm does not open");
    if (ioctl(kvm_, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) fail("another KVM interface version");
    vm_ = must(ioctl(kvm_, KVM_CREATE_VM, 0), "no virtual machine");
    // Intel's processors want three pages of their own for real mode, outside the machine's memory.
    must(ioctl(vm_, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
    memory_ = static_cast<u8*>(mmap(nullptr, kSystemBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED) fail("no memory");
    kvm_userspace_memory_region region{};
    region.memory_size = kSystemBytes;
    region.userspace_addr = reinterpret_cast<u64>(memory_);
    must(ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region), "memory slot");
    cpu_ = must(ioctl(vm_, KVM_CREATE_VCPU, 0), "no processor");
    set_cpuid();
    const int bytes = must(ioctl(kvm_, KVM_GET_VCPU_MMAP_SIZE, 0), "mmap size");
    run_ =
        static_cast<kvm_run*>(mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, cpu_, 0));
    if (run_ == MAP_FAILED) fail("no run page");
    must(ioctl(cpu_, KVM_GET_SREGS, &initial_), "KVM_GET_SREGS");
    stop_after_a_second();
  }
  ~KvmSystem() override {
    if (timer_set_) timer_delete(timer_);
    for (const int f : {cpu_, vm_, kvm_})
      if (f >= 0) close(f);
    if (memory_ && memory_ != MAP_FAILED) munmap(memory_, kSystemBytes);
  }
  KvmSystem(const KvmSystem&) = delete;
  KvmSystem& operator=(const KvmSystem&) = delete;

  const char* name() const override { return "kvm"; }

  Ended run(SystemCase& c) override {
    std::memcpy(memory_, c.memory.data(), kSystemBytes);
    load(c.state);
    arm(true);
    const int status = ioctl(cpu_, KVM_RUN, 0);
    const int why = errno;
    arm(false);
    store(c.state);
    std::memcpy(c.memory.data(), memory_, kSystemBytes);
    if (status < 0) return why == EINTR ? Ended::limit : Ended::other;
    switch (run_->exit_reason) {
      case KVM_EXIT_HLT: return Ended::halted;
      case KVM_EXIT_SHUTDOWN: return Ended::shutdown;
      default: return Ended::other;
    }
  }

 private:
  [[noreturn]] static void fail(const std::string& what) { throw std::runtime_error(what); }
  static int must(int result, const char* what) {
    if (result < 0) fail(std::string(what) + ": " + std::strerror(errno));
    return result;
  }

  /// The guest sees what the host's KVM offers.
  void set_cpuid() {
    constexpr u32 kMost = 128;
    std::vector<u64> room((sizeof(kvm_cpuid2) + kMost * sizeof(kvm_cpuid_entry2)) / 8 + 1);
    auto* const list = reinterpret_cast<kvm_cpuid2*>(room.data());
    list->nent = kMost;
    if (ioctl(kvm_, KVM_GET_SUPPORTED_CPUID, list) == 0) ioctl(cpu_, KVM_SET_CPUID2, list);
  }

  /// A guest that does not halt is interrupted by a signal to this thread.
  void stop_after_a_second() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR2, &action, nullptr);
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR2;
    timer_set_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  }
  void arm(bool on) {
    if (!timer_set_) return;
    const itimerspec when{{}, {on ? 1 : 0, 0}};
    timer_settime(timer_, 0, &when, nullptr);
  }

  void load(const SystemState& s) {
    kvm_vcpu_events events{};
    ioctl(cpu_, KVM_SET_VCPU_EVENTS, &events);
    kvm_sregs r = initial_;
    kvm_segment* const segments[] = {&r.cs, &r.ds, &r.es, &r.fs, &r.gs, &r.ss};
    for (unsigned n = 0; n < 6; ++n) *segments[n] = to_kvm(s.seg[kOrder[n]]);
    r.tr = to_kvm(s.tr);
    r.ldt = to_kvm(s.ldtr);
    r.gdt = {s.gdtr.base, static_cast<u16>(s.gdtr.limit), {}};
    r.idt = {s.idtr.base, static_cast<u16>(s.idtr.limit), {}};
    r.cr0 = s.cr0, r.cr2 = s.cr2, r.cr3 = s.cr3, r.cr4 = s.cr4, r.efer = s.efer;
    must(ioctl(cpu_, KVM_SET_SREGS, &r), "KVM_SET_SREGS");
    kvm_regs g{};
    __u64* const order[16] = {&g.rax, &g.rcx, &g.rdx, &g.rbx, &g.rsp, &g.rbp, &g.rsi, &g.rdi,
                              &g.r8,  &g.r9,  &g.r10, &g.r11, &g.r12, &g.r13, &g.r14, &g.r15};
    for (unsigned n = 0; n < 16; ++n) *order[n] = s.gpr[n];
    g.rip = s.rip;
    g.rflags = s.rflags | 2;
    must(ioctl(cpu_, KVM_SET_REGS, &g), "KVM_SET_REGS");
    kvm_debugregs d{};
    d.db[0] = s.dr0, d.db[1] = s.dr1, d.dr6 = s.dr6, d.dr7 = s.dr7;
    ioctl(cpu_, KVM_SET_DEBUGREGS, &d);
    set_msrs(s);
    kvm_mp_state runnable{KVM_MP_STATE_RUNNABLE};
    ioctl(cpu_, KVM_SET_MP_STATE, &runnable);
  }
  void set_msrs(const SystemState& s) {
    const std::pair<u32, u64> values[] = {{0xc0000102, s.kernel_gs_base}, {0xc0000081, s.star},   {0xc0000082, s.lstar},
                                          {0xc0000083, s.cstar},          {0xc0000084, s.fmask},  {0x174, s.sysenter_cs},
                                          {0x175, s.sysenter_esp},        {0x176, s.sysenter_eip}};
    std::vector<u64> room((sizeof(kvm_msrs) + std::size(values) * sizeof(kvm_msr_entry)) / 8 + 1);
    auto* const list = reinterpret_cast<kvm_msrs*>(room.data());
    for (const auto& [index, value] : values) list->entries[list->nmsrs++] = {index, 0, value};
    ioctl(cpu_, KVM_SET_MSRS, list);
  }
  void store(SystemState& s) {
    kvm_sregs r{};
    must(ioctl(cpu_, KVM_GET_SREGS, &r), "KVM_GET_SREGS");
    const kvm_segment* const segments[] = {&r.cs, &r.ds, &r.es, &r.fs, &r.gs, &r.ss};
    for (unsigned n = 0; n < 6; ++n) s.seg[kOrder[n]] = from_kvm(*segments[n]);
    s.tr = from_kvm(r.tr);
    s.ldtr = from_kvm(r.ldt);
    s.gdtr = {r.gdt.base, r.gdt.limit};
    s.idtr = {r.idt.base, r.idt.limit};
    s.cr0 = r.cr0, s.cr2 = r.cr2, s.cr3 = r.cr3, s.cr4 = r.cr4, s.efer = r.efer;
    kvm_regs g{};
    must(ioctl(cpu_, KVM_GET_REGS, &g), "KVM_GET_REGS");
    const u64 order[16] = {g.rax, g.rcx, g.rdx, g.rbx, g.rsp, g.rbp, g.rsi, g.rdi,
                           g.r8,  g.r9,  g.r10, g.r11, g.r12, g.r13, g.r14, g.r15};
    std::copy_n(order, 16, s.gpr.begin());
    s.rip = g.rip;
    s.rflags = g.rflags;
    kvm_debugregs d{};
    if (ioctl(cpu_, KVM_GET_DEBUGREGS, &d) == 0) s.dr0 = d.db[0], s.dr1 = d.db[1], s.dr6 = d.dr6, s.dr7 = d.dr7;
  }

  int kvm_ = -1, vm_ = -1, cpu_ = -1;
  u8* memory_ = nullptr;
  kvm_run* run_ = nullptr;
  kvm_sregs initial_{};
  timer_t timer_{};
  bool timer_set_ = false;
};

}  // namespace

std::unique_ptr<SystemMachine> make_kvm_system(std::string& missing) {
  try {
    return std::make_unique<KvmSystem>();
  } catch (const std::runtime_error& e) {
    missing = e.what();
    return nullptr;
  }
}

}  // namespace nestwalk::oracle
