// Runs one guest of this folder under Unicorn, QEMU's processor without a machine around it: 64 MiB of memory, the debug
// console at port 0xe9 and the debug-exit port 0xf4. IMAGE.bin starts in real mode at 0x7c00, IMAGE.elf (multiboot-1,
// ELF32) in flat 32-bit protected mode. Prints the console; the exit status is the guest's, or 125 and a line that says why
// where the guest met what Unicorn does not do: it delivers no exception through the guest's tables, and has no devices.
#include <unicorn/unicorn.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr uint64_t kMemory = 64 << 20, kGdt = 0x500, kMultibootInfo = 0x600, kStub = 0x1000, kBootSector = 0x7c00;
constexpr int kCannot = 125;

void check(uc_err e) {
  if (e != UC_ERR_OK) throw std::runtime_error(uc_strerror(e));
}

class Guest {
 public:
  explicit Guest(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    image_.assign(std::istreambuf_iterator<char>(file), {});
    const bool flat = path.ends_with(".bin");
    check(uc_open(UC_ARCH_X86, flat ? UC_MODE_16 : UC_MODE_64, &uc_));
    check(uc_ctl_set_cpu_model(uc_, UC_CPU_X86_HASWELL));
    check(uc_mem_map(uc_, 0, kMemory, UC_PROT_ALL));
    hook(UC_HOOK_INTR, reinterpret_cast<void*>(on_interrupt), 0);
    hook(UC_HOOK_INSN, reinterpret_cast<void*>(on_in), UC_X86_INS_IN);
    hook(UC_HOOK_INSN, reinterpret_cast<void*>(on_out), UC_X86_INS_OUT);
    flat ? load_flat() : load_elf();
  }
  ~Guest() { uc_close(uc_); }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  int run() {
    constexpr uint64_t kNowhere = ~uint64_t{0}, kMicroseconds = 5'000'000;
    const uc_err e = uc_emu_start(uc_, entry_, kNowhere, kMicroseconds, 0);
    if (status_) return *status_;
    std::fprintf(stderr, "%s\n",
                 interrupt_ ? ("interrupt or exception " + std::to_string(*interrupt_)).c_str()
                 : e        ? uc_strerror(e)
                            : "it waits for an interrupt, or does not end");
    return kCannot;
  }

 private:
  void hook(uc_hook_type type, void* callback, int instruction) {
    uc_hook handle;
    check(uc_hook_add(uc_, &handle, type, callback, this, 1, 0, instruction));
  }
  void load_flat() {
    check(uc_mem_write(uc_, kBootSector, image_.data(), image_.size()));
    entry_ = kBootSector;
  }
  template <class T>
  T at(uint64_t offset) const {
    T v{};
    if (offset + sizeof v > image_.size()) throw std::runtime_error("the image is cut off");
    std::memcpy(&v, image_.data() + offset, sizeof v);
    return v;
  }
  /// Loadable segments go to their physical addresses (ELF specification, program header); the state is that of multiboot
  /// 0.6.96, 3.2.
  void load_elf() {
    const auto table = at<uint32_t>(28);
    const auto size = at<uint16_t>(42), count = at<uint16_t>(44);
    for (unsigned n = 0; n < count; ++n) {
      const uint64_t header = table + uint64_t{n} * size;
      if (at<uint32_t>(header) != 1) continue;
      const auto offset = at<uint32_t>(header + 4), address = at<uint32_t>(header + 12), bytes = at<uint32_t>(header + 16);
      if (bytes == 0) continue;
      at<uint8_t>(uint64_t{offset} + bytes - 1);
      check(uc_mem_write(uc_, address, image_.data() + offset, bytes));
    }
    const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
    check(uc_mem_write(uc_, kGdt, gdt, sizeof gdt));
    uc_x86_mmr gdtr{};
    gdtr.base = kGdt;
    gdtr.limit = sizeof gdt - 1;
    check(uc_reg_write(uc_, UC_X86_REG_GDTR, &gdtr));
    enter_32_bits(at<uint32_t>(24));
  }
  /// A Unicorn that knows 64-bit mode begins in it, and its interface does not leave it again: instructions do.
  void enter_32_bits(uint32_t guest) {
    std::vector<uint8_t> code;
    const auto emit = [&](std::initializer_list<uint8_t> bytes) { code.insert(code.end(), bytes); };
    const auto word = [&](uint64_t v) {
      for (unsigned n = 0; n < 4; ++n) code.push_back(static_cast<uint8_t>(v >> (8 * n)));
    };
    emit({0x6a, 0x08, 0x68});  // push 0x08; push next
    word(kStub + 9);
    emit({0x48, 0xcb, 0xb9});  // retfq; next: mov ecx, EFER
    word(0xc0000080);
    emit({0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30});                             // xor eax, eax; xor edx, edx; wrmsr
    emit({0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xb8});  // mov eax, 0x10; DS, ES, SS; mov eax, magic
    word(0x2badb002);
    emit({0xbb});  // mov ebx, info
    word(kMultibootInfo);
    emit({0xbd});  // mov ebp, guest; jmp ebp
    word(guest);
    emit({0xff, 0xe5});
    check(uc_mem_write(uc_, kStub, code.data(), code.size()));
    const uint64_t stack = kStub;
    check(uc_reg_write(uc_, UC_X86_REG_RSP, &stack));
    entry_ = kStub;
  }

  static void on_interrupt(uc_engine* uc, uint32_t number, void* self) {
    static_cast<Guest*>(self)->interrupt_ = number;
    uc_emu_stop(uc);
  }
  /// Nobody drives the bus.
  static uint32_t on_in(uc_engine*, uint32_t, int, void*) { return ~uint32_t{0}; }
  static void on_out(uc_engine* uc, uint32_t port, int, uint32_t value, void* self) {
    if (port == 0xe9) std::putchar(static_cast<int>(value & 0xff));
    if (port != 0xf4) return;
    static_cast<Guest*>(self)->status_ = static_cast<int>(value & 0xff);
    uc_emu_stop(uc);
  }

  uc_engine* uc_ = nullptr;
  std::vector<char> image_;
  uint64_t entry_ = 0;
  std::optional<uint32_t> interrupt_;
  std::optional<int> status_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: unicorn_guest IMAGE\n");
    return 2;
  }
  try {
    return Guest(argv[1]).run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return kCannot;
  }
}
