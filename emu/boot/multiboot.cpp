// Multiboot 1 (Multiboot Specification version 0.6.96, sections 3.1 to 3.3).
#include "emu/boot/multiboot.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bits.h"
#include "emu/boot/elf.h"

namespace nestwalk::emu::boot {
namespace {

inline constexpr u32 kHeaderMagic = 0x1badb002, kLoaderMagic = 0x2badb002;
inline constexpr u32 kAlignModules = 1, kMemoryInfo = 2, kVideoMode = 4, kAddressFields = 1 << 16;
inline constexpr u32 kMandatory = 0xffff;
inline constexpr u64 kSearched = 8192;

/// The kernel's place and entry by its own header instead of ELF (3.1.3).
struct AddressFields {
  u64 file_offset = 0, load = 0, file_bytes = 0, memory_bytes = 0, entry = 0;
};

AddressFields read_address_fields(const Reader& file, u64 header) {
  constexpr const char* what = "multiboot header";
  const u64 header_addr = file.get<u32>(header + 12, what), load = file.get<u32>(header + 16, what);
  const u64 load_end = file.get<u32>(header + 20, what), bss_end = file.get<u32>(header + 24, what);
  AddressFields a;
  if (header_addr < load || header_addr - load > header) {
    file.refuse(
        fmt::format("is corrupt: its multiboot header at {:#x} says that it is loaded at {:#x}, the kernel at {:#x}",
                    header, header_addr, load));
  }
  a.load = load;
  a.file_offset = header - (header_addr - load);
  a.entry = file.get<u32>(header + 28, what);
  if (load_end && load_end < load) file.refuse("is corrupt: its multiboot header ends the kernel before its beginning");
  a.file_bytes = load_end ? load_end - load : file.size() - a.file_offset;
  if (bss_end && bss_end < load + a.file_bytes) file.refuse("is corrupt: its multiboot header ends .bss before .data");
  a.memory_bytes = bss_end ? bss_end - load : a.file_bytes;
  file.bytes(a.file_offset, a.file_bytes, "kernel");
  return a;
}

struct Loaded {
  u64 entry = 0, end = 0;
};

Loaded place_kernel(const Reader& file, const BootRequest& request, u64 header, u32 flags, Placement& placement) {
  if (flags & kAddressFields) {
    const AddressFields a = read_address_fields(file, header);
    placement.borrow(a.load, file.bytes(a.file_offset, a.file_bytes, "kernel"), a.memory_bytes, "kernel");
    return {a.entry, a.load + a.memory_bytes};
  }
  const ElfImage elf = parse_elf(request.kernel);
  place_elf(request.kernel, elf, placement);
  // Kernels linked high name a linear entry point; the loader enters with paging off, at its physical address.
  u64 entry = elf.entry;
  for (const ElfSegment& s : elf.segments) {
    if (entry >= s.linear && entry - s.linear < s.memory_bytes) {
      entry = entry - s.linear + s.physical;
      break;
    }
  }
  return {entry, elf.end()};
}

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string with_arguments(const Image& image, const std::string& arguments) {
  std::string text(file_name(image.name));
  if (!arguments.empty()) text += ' ' + arguments;
  return text;
}

/// Memory map entries carry their own length in front (3.3).
void put_memory_map(Writer& w, u64 at, const MemoryMap& map) {
  for (const E820Entry& e : map.entries()) {
    w.put<u32>(at, 20);
    w.put<u64>(at + 4, e.base);
    w.put<u64>(at + 12, e.size);
    w.put<u32>(at + 20, static_cast<u32>(e.type));
    at += 24;
  }
}

/// Kilobytes of RAM from 1 MiB up to the first hole.
u32 upper_kilobytes(const MemoryMap& map) {
  for (const E820Entry& e : map.entries()) {
    if (e.type == E820Type::ram && e.base == kFirmwareEnd) return static_cast<u32>(std::min<u64>(e.size >> 10, ~u32{0}));
  }
  return 0;
}

/// The information structure, its module list, memory map and strings, all for address layout::command_line.
std::vector<u8> information(const BootRequest& request, const std::vector<u64>& modules) {
  constexpr u64 base = layout::command_line, list = 120;             // behind the longest structure of the specification
  constexpr u32 flags = bit(0) | bit(2) | bit(3) | bit(6) | bit(9);  // memory, command line, modules, map, loader's name
  const u64 count = modules.size(), map = list + count * 16, map_bytes = request.map.entries().size() * 24;
  Writer w(map + map_bytes);
  const auto text = [&](std::string_view t) { return static_cast<u32>(base + w.append_text(t)); };

  w.put<u32>(0, flags);
  w.put<u32>(4, static_cast<u32>(kEbdaBegin >> 10));
  w.put<u32>(8, upper_kilobytes(request.map));
  w.put<u32>(20, static_cast<u32>(count));
  w.put<u32>(24, static_cast<u32>(base + list));
  w.put<u32>(44, static_cast<u32>(map_bytes));
  w.put<u32>(48, static_cast<u32>(base + map));
  put_memory_map(w, map, request.map);
  w.put<u32>(16, text(with_arguments(request.kernel, request.command_line)));
  w.put<u32>(64, text("nestwalk"));
  for (u64 i = 0; i < count; ++i) {
    const Module& m = request.modules[i];
    w.put<u32>(list + i * 16, static_cast<u32>(modules[i]));
    w.put<u32>(list + i * 16 + 4, static_cast<u32>(modules[i] + m.image.bytes.size()));
    w.put<u32>(list + i * 16 + 8, text(with_arguments(m.image, m.arguments)));
  }
  return w.take();
}

}  // namespace

std::optional<u64> find_multiboot(std::span<const u8> bytes) {
  const u64 end = std::min<u64>(bytes.size(), kSearched);
  for (u64 at = 0; at + 12 <= end; at += 4) {
    u32 field[3];
    __builtin_memcpy(field, bytes.data() + at, sizeof field);
    if (field[0] != kHeaderMagic || field[0] + field[1] + field[2] != 0) continue;
    if ((field[1] & kAddressFields) || looks_like_elf(bytes)) return at;
  }
  return std::nullopt;
}

BootState load_multiboot(mmu::PhysicalMemory& memory, const BootRequest& request) {
  const Reader file(request.kernel);
  const std::optional<u64> header = find_multiboot(request.kernel.bytes);
  if (!header) file.refuse("has no multiboot header in its first 8192 bytes");
  const u32 flags = file.get<u32>(*header + 4, "multiboot header");
  if (const u32 unknown = flags & kMandatory & ~(kAlignModules | kMemoryInfo | kVideoMode)) {
    file.refuse(fmt::format("demands multiboot features that do not exist here (flags {:#x})", unknown));
  }

  Placement placement(memory, request);
  const Loaded kernel = place_kernel(file, request, *header, flags, placement);
  if (kernel.entry >= kFourGiB) file.refuse(fmt::format("is entered at {:#x}, above 4 GiB, in 32-bit mode", kernel.entry));
  const u64 floor = std::max(align_up(kernel.end, kPageBytes), kFirmwareEnd);
  const std::vector<u64> modules = place_modules(request, floor, kFourGiB, placement);
  std::vector<u8> info = information(request, modules);
  if (info.size() > layout::strings_end - layout::command_line) {
    file.refuse("is given command lines of more than 384 KiB; shorten them");
  }
  placement.own(layout::command_line, std::move(info), "multiboot information");
  placement.own(layout::bios_data, bios_data_area(), "BIOS data area");
  placement.own(layout::gdt, flat_gdt(false), "GDT");
  placement.commit();

  BootState s = protected_entry(kernel.entry);
  s.rax = kLoaderMagic;
  s.rbx = layout::command_line;
  return s;
}

}  // namespace nestwalk::emu::boot
