// The PVH entry (Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h, version 1 of hvm_start_info).
#include <fmt/format.h>

#include "base/bits.h"
#include "emu/boot/elf.h"

namespace nestwalk::emu::boot {
namespace {

inline constexpr u32 kStartMagic = 0x336ec578;

/// hvm_start_info, module list and memory map, followed by the strings that they point to.
std::vector<u8> start_info(const BootRequest& request, const std::vector<u64>& modules) {
  constexpr u64 info = 0, list = 56, module_bytes = 32, entry_bytes = 24;
  const u64 count = request.modules.size(), map = list + count * module_bytes;
  const auto& entries = request.map.entries();
  Writer w(map + entries.size() * entry_bytes);
  const auto text = [&](std::string_view t) { return layout::command_line + w.append_text(t); };

  w.put<u32>(info, kStartMagic);
  w.put<u32>(info + 4, 1);  // version
  w.put<u32>(info + 12, static_cast<u32>(count));
  w.put<u64>(info + 16, count ? layout::command_line + list : 0);
  w.put<u64>(info + 32, request.rsdp);
  w.put<u64>(info + 40, layout::command_line + map);
  w.put<u32>(info + 48, static_cast<u32>(entries.size()));
  for (u64 i = 0; i < entries.size(); ++i) {
    const u64 at = map + i * entry_bytes;
    w.put<u64>(at, entries[i].base);
    w.put<u64>(at + 8, entries[i].size);
    w.put<u32>(at + 16, static_cast<u32>(entries[i].type));
  }
  w.put<u64>(info + 24, text(request.command_line));
  for (u64 i = 0; i < count; ++i) {
    const u64 at = list + i * module_bytes;
    w.put<u64>(at, modules[i]);
    w.put<u64>(at + 8, request.modules[i].image.bytes.size());
    w.put<u64>(at + 16, request.modules[i].arguments.empty() ? 0 : text(request.modules[i].arguments));
  }
  return w.take();
}

}  // namespace

BootState load_pvh(mmu::PhysicalMemory& memory, const BootRequest& request) {
  const Reader file(request.kernel);
  const ElfImage elf = parse_elf(request.kernel);
  if (!elf.pvh_entry) {
    file.refuse(
        "is an ELF file with neither a multiboot header nor a PVH entry note; a kernel needs CONFIG_PVH=y, or take its "
        "bzImage");
  }
  if (*elf.pvh_entry >= kFourGiB) file.refuse("is corrupt: its PVH entry lies above 4 GiB");

  Placement placement(memory, request);
  place_elf(request.kernel, elf, placement);
  const std::vector<u64> modules = place_modules(request, align_up(elf.end(), kPageBytes), kFourGiB, placement);
  std::vector<u8> info = start_info(request, modules);
  if (info.size() > layout::strings_end - layout::command_line) {
    file.refuse("is given command lines of more than 384 KiB; shorten them");
  }
  placement.own(layout::command_line, std::move(info), "start info");
  placement.own(layout::bios_data, bios_data_area(), "BIOS data area");
  placement.own(layout::gdt, flat_gdt(false), "GDT");
  placement.commit();

  BootState s = protected_entry(*elf.pvh_entry);
  s.rbx = layout::command_line;
  return s;
}

}  // namespace nestwalk::emu::boot
