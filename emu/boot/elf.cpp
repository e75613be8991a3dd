// ELF executables (System V ABI, chapters 4 and 5; program headers only: a kernel may have been stripped of sections).
#include "emu/boot/elf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bits.h"

namespace nestwalk::emu::boot {
namespace {

inline constexpr u16 kMachine386 = 3, kMachineX86_64 = 62;
inline constexpr u32 kLoad = 1, kNote = 4;
inline constexpr u32 kPhys32Entry = 18;
inline constexpr u64 kMostHeaders = 256;  // real kernels have ten

const char* machine_name(u16 machine) {
  switch (machine) {
    case 2: return "SPARC";
    case 8: return "MIPS";
    case 20: return "PowerPC";
    case 21: return "64-bit PowerPC";
    case 22: return "S/390";
    case 40: return "32-bit ARM";
    case 183: return "ARM64";
    case 243: return "RISC-V";
    case 258: return "LoongArch";
    default: return "another processor";
  }
}

/// One program header, either class.
struct ProgramHeader {
  u32 type = 0;
  ElfSegment segment;
};

ProgramHeader read_program_header(const Reader& file, bool is64, u64 at) {
  ProgramHeader p;
  ElfSegment& s = p.segment;
  constexpr const char* what = "program header";
  p.type = file.get<u32>(at, what);
  if (is64) {
    s = {file.get<u64>(at + 8, what), file.get<u64>(at + 32, what), file.get<u64>(at + 24, what),
         file.get<u64>(at + 16, what), file.get<u64>(at + 40, what)};
  } else {
    s = {file.get<u32>(at + 4, what), file.get<u32>(at + 16, what), file.get<u32>(at + 12, what),
         file.get<u32>(at + 8, what), file.get<u32>(at + 20, what)};
  }
  return p;
}

/// Looks for Xen's PHYS32_ENTRY among the notes of one PT_NOTE segment.
std::optional<u64> find_pvh_note(const Image& image, std::span<const u8> notes) {
  const Image part{image.name, notes};
  const Reader reader(part);
  u64 at = 0;
  while (notes.size() - at >= 12) {
    const u64 name_bytes = reader.get<u32>(at, "note"), bytes = reader.get<u32>(at + 4, "note");
    const u32 type = reader.get<u32>(at + 8, "note");
    const u64 name_at = at + 12, at_descriptor = name_at + align_up(name_bytes, 4);
    const u64 next = at_descriptor + align_up(bytes, 4);
    if (at_descriptor > notes.size() || bytes > notes.size() - at_descriptor) break;
    if (type == kPhys32Entry && name_bytes == 4 && std::memcmp(notes.data() + name_at, "Xen", 4) == 0) {
      if (bytes == 4) return reader.get<u32>(at_descriptor, "PVH note");
      if (bytes == 8) return reader.get<u64>(at_descriptor, "PVH note");
    }
    if (next >= notes.size()) break;
    at = next;
  }
  return std::nullopt;
}

void check_identity(const Reader& file) {
  const u8 elf_class = file.get<u8>(4, "ELF header"), data = file.get<u8>(5, "ELF header");
  if (data == 2) file.refuse("is a big-endian ELF file, for another processor");
  if ((elf_class != 1 && elf_class != 2) || data != 1) file.refuse("is corrupt: its ELF header names no known class");
  const u16 type = file.get<u16>(16, "ELF header"), machine = file.get<u16>(18, "ELF header");
  if (machine != kMachine386 && machine != kMachineX86_64) {
    file.refuse(
        fmt::format("is a kernel for {} (ELF machine {}); this is an x86-64 machine", machine_name(machine), machine));
  }
  if (type != 2 && type != 3) file.refuse(fmt::format("is an ELF file of type {}, not an executable", type));
}

void add_segment(const Reader& file, const ElfSegment& s, ElfImage& elf) {
  if (s.memory_bytes == 0) return;
  if (s.file_bytes > s.memory_bytes) file.refuse("is corrupt: an ELF segment is longer in the file than in memory");
  if (s.physical + s.memory_bytes < s.physical) file.refuse("is corrupt: an ELF segment wraps around the address space");
  file.bytes(s.file_offset, s.file_bytes, "ELF segment");
  elf.segments.push_back(s);
}

}  // namespace

u64 ElfImage::end() const {
  u64 end = 0;
  for (const ElfSegment& s : segments) end = std::max(end, s.physical + s.memory_bytes);
  return end;
}

bool looks_like_elf(std::span<const u8> bytes) {
  static constexpr u8 magic[] = {0x7f, 'E', 'L', 'F'};
  return bytes.size() >= 4 && std::equal(magic, magic + 4, bytes.begin());
}

ElfImage parse_elf(const Image& image) {
  const Reader file(image);
  if (!looks_like_elf(image.bytes)) file.refuse("is not an ELF file");
  check_identity(file);
  ElfImage elf;
  constexpr const char* what = "ELF header";
  elf.is64 = file.get<u8>(4, what) == 2;
  elf.entry = elf.is64 ? file.get<u64>(24, what) : file.get<u32>(24, what);
  const u64 table = elf.is64 ? file.get<u64>(32, what) : file.get<u32>(28, what);
  const u64 entry_bytes = file.get<u16>(elf.is64 ? 54 : 42, what), count = file.get<u16>(elf.is64 ? 56 : 44, what);
  if (count && entry_bytes < (elf.is64 ? 56u : 32u)) file.refuse("is corrupt: its ELF program headers are too short");
  if (count > kMostHeaders) file.refuse(fmt::format("is corrupt: it has {} ELF program headers", count));
  file.bytes(table, count * entry_bytes, "table of program headers");
  for (u64 i = 0; i < count; ++i) {
    const ProgramHeader p = read_program_header(file, elf.is64, table + i * entry_bytes);
    if (p.type == kLoad) add_segment(file, p.segment, elf);
    if (p.type == kNote && !elf.pvh_entry) {
      elf.pvh_entry = find_pvh_note(image, file.bytes(p.segment.file_offset, p.segment.file_bytes, "ELF notes"));
    }
  }
  if (elf.segments.empty()) file.refuse("is an ELF file with nothing to load");
  return elf;
}

void place_elf(const Image& image, const ElfImage& elf, Placement& placement) {
  for (const ElfSegment& s : elf.segments) {
    placement.borrow(s.physical, image.bytes.subspan(s.file_offset, s.file_bytes), s.memory_bytes, "ELF segment");
  }
}

}  // namespace nestwalk::emu::boot
