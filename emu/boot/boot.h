// What every boot loader takes and gives: images as untrusted bytes, a refusal as one line, the memory map, and the
// processor state in which the guest is entered. A loader first works everything out, then writes: a refused image
// leaves memory as it was.
#pragma once

#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "emu/boot/e820.h"
#include "mmu/physical_memory.h"

namespace nestwalk::emu::boot {

/// An image that cannot be booted; what() is one line: the file, what is wrong with it, the way out.
class BootError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Bytes of a file, and the name that refusals use for it.
struct Image {
  std::string name;
  std::span<const u8> bytes;
};

/// Something loaded beside the kernel: an initrd, a multiboot module.
struct Module {
  Image image;
  std::string arguments;  ///< what follows its name in a multiboot or PVH module string
};

struct BootRequest {
  Image kernel;
  std::vector<Module> modules;
  std::string command_line;
  MemoryMap map;
  u64 rsdp = 0;  ///< where the ACPI root pointer lies; 0: no ACPI
};

enum class EntryMode : u8 {
  real16,       ///< real-address mode, as after reset
  protected32,  ///< protected mode, flat 32-bit segments, paging off
  long64,       ///< 64-bit mode, identity-mapped paging on
};

/// A segment register, hidden part included. `attributes` are bits 55:52 and 47:40 of a descriptor in one word: type, S,
/// DPL, P, AVL, L, D/B, G (SDM vol. 3, 3.4.5; the layout of VMX access rights, 24.4.1).
struct BootSegment {
  u16 selector = 0;
  u64 base = 0;
  u32 limit = 0xffff;  ///< in bytes, granularity applied
  u16 attributes = 0x93;
};

struct BootTable {
  u64 base = 0;
  u16 limit = 0;
};

/// How the processor enters the guest. Registers that are not named are zero.
struct BootState {
  EntryMode mode = EntryMode::real16;
  u64 rip = 0, rsp = 0;
  u64 rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rbp = 0;
  u64 rflags = 2;
  u64 cr0 = 0x60000010, cr3 = 0, cr4 = 0, efer = 0;
  BootSegment cs;    ///< code
  BootSegment data;  ///< DS, ES, SS, FS and GS alike
  BootSegment tr{0, 0, 0xffff, 0x8b};
  BootTable gdt, idt;
};

/// A file's bytes. Throws BootError when it cannot be read or is larger than 4 GiB.
std::vector<u8> read_file(const std::string& path);

/// Little-endian fields out of untrusted bytes. What lies beyond the end throws BootError, saying that the file is cut off.
class Reader {
 public:
  explicit Reader(const Image& image) : image_(image) {}

  u64 size() const { return image_.bytes.size(); }
  const std::string& name() const { return image_.name; }
  std::span<const u8> bytes(u64 offset, u64 count, std::string_view what) const;
  template <class T>
  T get(u64 offset, std::string_view what) const {
    T v;
    __builtin_memcpy(&v, bytes(offset, sizeof v, what).data(), sizeof v);
    return v;
  }
  [[noreturn]] void refuse(std::string_view why) const;

 private:
  const Image& image_;
};

/// Bytes under construction, little-endian.
class Writer {
 public:
  explicit Writer(u64 size = 0) : bytes_(size) {}

  template <class T>
  void put(u64 offset, T value) {
    if (bytes_.size() < offset + sizeof value) bytes_.resize(offset + sizeof value);
    __builtin_memcpy(bytes_.data() + offset, &value, sizeof value);
  }
  void put_bytes(u64 offset, std::span<const u8> from);
  template <class T>
  void append(T value) {
    put(bytes_.size(), value);
  }
  /// Appends the text with its NUL and returns where it begins.
  u64 append_text(std::string_view text);
  u64 size() const { return bytes_.size(); }
  std::vector<u8> take() { return std::move(bytes_); }

 private:
  std::vector<u8> bytes_;
};

/// What a loader intends to write. Nothing is written before `commit`, which first checks that all pieces lie in RAM of the
/// map and in installed memory, and that no two overlap.
class Placement {
 public:
  Placement(mmu::PhysicalMemory& memory, const BootRequest& request) : memory_(memory), request_(request) {}

  /// The first `from.size()` of `total` bytes (at least that many) come from `from`, which must outlive `commit`; the
  /// rest is zero. `what` names the piece in a refusal.
  void borrow(u64 at, std::span<const u8> from, u64 total, std::string what);
  void own(u64 at, std::vector<u8> bytes, std::string what);
  /// Throws BootError; then nothing has been written.
  void commit();

 private:
  struct Piece {
    u64 at = 0, total = 0;
    std::span<const u8> from;
    std::vector<u8> owned;
    std::string what;
  };
  void check() const;
  void write(const Piece& piece);

  mmu::PhysicalMemory& memory_;
  const BootRequest& request_;
  std::vector<Piece> pieces_;
};

/// Where loaders put what they make, all of it in conventional memory.
namespace layout {
inline constexpr u64 bios_data = 0x400;
inline constexpr u64 gdt = 0x1000;
inline constexpr u64 info = 0x2000;         ///< zero page, start info, multiboot information, their tables and strings
inline constexpr u64 page_tables = 0x9000;  ///< PML4, PDPT, four page directories
inline constexpr u64 command_line = 0x20000;
inline constexpr u64 strings_end = 0x80000;
inline constexpr u64 stack = 0x90000;  ///< grows down; multiboot and PVH promise none, but a stray push must not hurt
}  // namespace layout

/// The GDT of all loaders: 0x10 code, 0x18 data (Linux's __BOOT_CS and __BOOT_DS), flat; the code segment is 64-bit or
/// 32-bit.
std::vector<u8> flat_gdt(bool long_mode);
/// The screen as loaders describe it, which is as the VGA comes out of reset: mode 3, cursor at the top left.
namespace text_screen {
inline constexpr u8 mode = 3, columns = 80, rows = 25, character_height = 16;
}
/// The BIOS data area's words that protected-mode kernels look at: serial port, EBDA segment, conventional memory in KiB
/// (Xen places its real-mode trampoline by them), and the video BIOS's.
std::vector<u8> bios_data_area();
/// Flat 32-bit protected mode with that GDT at layout::gdt, entered at `entry`.
BootState protected_entry(u64 entry);

/// Chooses the place of each module, page aligned, as high as it goes below `ceiling` and not below `floor`, adds them to
/// `placement` and returns their addresses. Throws BootError saying how much memory would do.
std::vector<u64> place_modules(const BootRequest& request, u64 floor, u64 ceiling, Placement& placement);

/// "12 MiB", rounded up.
std::string mebibytes(u64 bytes);

}  // namespace nestwalk::emu::boot
