// Linux bzImage by the 64-bit boot protocol (Linux Documentation/x86/boot.rst; struct boot_params of zero-page.rst).
#include "emu/boot/linux.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bits.h"

namespace nestwalk::emu::boot {
namespace {

// Offsets in the setup header, which are those in the zero page too.
namespace hdr {
inline constexpr u64 setup_sects = 0x1f1, syssize = 0x1f4, boot_flag = 0x1fe, jump = 0x200, magic = 0x202, version = 0x206,
                     type_of_loader = 0x210, loadflags = 0x211, code32_start = 0x214, ramdisk_image = 0x218,
                     ramdisk_size = 0x21c, cmd_line_ptr = 0x228, initrd_addr_max = 0x22c, kernel_alignment = 0x230,
                     xloadflags = 0x236, cmdline_size = 0x238, payload_offset = 0x248, payload_length = 0x24c,
                     pref_address = 0x258, init_size = 0x260, end = 0x290;
}
// Fields of the zero page outside the header.
namespace zp {
inline constexpr u64 screen_info = 0x000, acpi_rsdp_addr = 0x070, ext_ramdisk_image = 0x0c0, ext_ramdisk_size = 0x0c4,
                     ext_cmd_line_ptr = 0x0c8, e820_entries = 0x1e8, e820_table = 0x2d0, bytes = 0x1000;
inline constexpr std::size_t e820_max = 128;
}  // namespace zp

inline constexpr u32 kHdrS = 0x53726448;
inline constexpr u8 kLoadedHigh = 1;
inline constexpr u16 kKernel64 = 1, kAbove4G = 2;  // xloadflags: XLF_KERNEL_64, XLF_CAN_BE_LOADED_ABOVE_4G

/// What the setup header says, checked.
struct Header {
  u16 version = 0;
  u16 xloadflags = 0;
  u64 kernel_begin = 0, kernel_bytes = 0;  ///< the protected-mode code within the file
  u64 load_address = 0;
  u64 init_size = 0;  ///< memory the kernel wants from its load address on, until it knows the map
  u64 initrd_addr_max = 0;
  u64 cmdline_size = 0;
};

void check_protocol(const Reader& file, u16 version) {
  if (version < 0x206) {
    file.refuse(fmt::format("speaks boot protocol {}.{:02}; 2.12 or later is needed (Linux 3.8, 2013)", version >> 8,
                            version & 0xff));
  }
  const bool is64 = version >= 0x20c && (file.get<u16>(hdr::xloadflags, "setup header") & kKernel64);
  if (is64) return;
  if (version >= 0x20c) file.refuse("is a 32-bit kernel (XLF_KERNEL_64 is not set); take an amd64 one");
  file.refuse(
      fmt::format("speaks boot protocol {}.{:02}, which cannot promise a 64-bit entry; 2.12 or later is needed "
                  "(Linux 3.8, 2013)",
                  version >> 8, version & 0xff));
}

void check_payload(const Reader& file, const Header& h) {
  const u64 offset = file.get<u32>(hdr::payload_offset, "setup header");
  const u64 length = file.get<u32>(hdr::payload_length, "setup header");
  if (offset > h.kernel_bytes || length > h.kernel_bytes - offset) {
    file.refuse(
        fmt::format("is corrupt: its compressed payload at {:#x}, {:#x} bytes, lies outside its {:#x} bytes of code",
                    offset, length, h.kernel_bytes));
  }
}

Header parse(const Reader& file) {
  Header h;
  if (file.get<u16>(hdr::boot_flag, "boot sector") != 0xaa55) file.refuse("is corrupt: its boot sector has no 0xaa55");
  if (file.get<u32>(hdr::magic, "setup header") != kHdrS) file.refuse("is not a bzImage: no HdrS in its setup header");
  h.version = file.get<u16>(hdr::version, "setup header");
  check_protocol(file, h.version);
  file.bytes(0, hdr::end, "setup header");
  if (!(file.get<u8>(hdr::loadflags, "setup header") & kLoadedHigh)) {
    file.refuse("is a zImage that loads below 1 MiB; take a bzImage");
  }
  h.xloadflags = file.get<u16>(hdr::xloadflags, "setup header");

  const u64 sectors = file.get<u8>(hdr::setup_sects, "setup header");
  h.kernel_begin = ((sectors ? sectors : 4) + 1) * 512;
  h.kernel_bytes = u64{file.get<u32>(hdr::syssize, "setup header")} * 16;
  // A kernel shorter than its 64-bit entry point's offset has none.
  if (h.kernel_bytes <= 0x200)
    file.refuse("is corrupt: its setup header says that there is no kernel behind the setup code");
  // The header counts paragraphs of 16 bytes; some linkers leave the last one incomplete (memtest86+).
  h.kernel_bytes = std::min(h.kernel_bytes, std::max(file.size(), h.kernel_begin + h.kernel_bytes - 15) - h.kernel_begin);
  file.bytes(h.kernel_begin, h.kernel_bytes, "kernel");
  check_payload(file, h);

  const u64 alignment = file.get<u32>(hdr::kernel_alignment, "setup header");
  if (!std::has_single_bit(alignment) || alignment > bit(30)) {
    file.refuse(fmt::format("is corrupt: kernel_alignment is {:#x}, not a power of two", alignment));
  }
  const u64 preferred = file.get<u64>(hdr::pref_address, "setup header");
  if (preferred < kFirmwareEnd || preferred >= kFourGiB) {
    file.refuse(fmt::format("is corrupt: pref_address is {:#x}, outside 1 MiB..4 GiB", preferred));
  }
  h.load_address = align_up(preferred, alignment);
  h.init_size = std::max<u64>(file.get<u32>(hdr::init_size, "setup header"), h.kernel_bytes);
  h.initrd_addr_max = file.get<u32>(hdr::initrd_addr_max, "setup header");
  h.cmdline_size = file.get<u32>(hdr::cmdline_size, "setup header");
  return h;
}

/// Identity mapping of the first 4 GiB by 2 MiB pages: one PML4, one PDPT, four page directories.
std::vector<u8> identity_tables(u64 at) {
  constexpr u64 table = 3;         // present, writable
  constexpr u64 large = 3 | 0x80;  // and a 2 MiB page
  Writer tables(6 * kPageBytes);
  tables.put<u64>(0, (at + kPageBytes) | table);
  for (u64 gib = 0; gib < 4; ++gib) {
    const u64 directory = (2 + gib) * kPageBytes;
    tables.put<u64>(kPageBytes + gib * 8, (at + directory) | table);
    for (u64 i = 0; i < 512; ++i) tables.put<u64>(directory + i * 8, (gib << 30) | (i << 21) | large);
  }
  return tables.take();
}

void put_memory_map(Writer& page, const Reader& file, const MemoryMap& map) {
  const auto& entries = map.entries();
  if (entries.size() > zp::e820_max) file.refuse("cannot be told of more than 128 stretches of memory");
  page.put<u8>(zp::e820_entries, static_cast<u8>(entries.size()));
  u64 at = zp::e820_table;
  for (const E820Entry& e : entries) {
    page.put<u64>(at, e.base);
    page.put<u64>(at + 8, e.size);
    page.put<u32>(at + 16, static_cast<u32>(e.type));
    at += 20;
  }
}

void put_initrd(Writer& page, u64 at, u64 bytes) {
  page.put<u32>(hdr::ramdisk_image, static_cast<u32>(at));
  page.put<u32>(hdr::ramdisk_size, static_cast<u32>(bytes));
  page.put<u32>(zp::ext_ramdisk_image, static_cast<u32>(at >> 32));
  page.put<u32>(zp::ext_ramdisk_size, static_cast<u32>(bytes >> 32));
}

/// The head of struct screen_info: a VGA in text mode, by which the kernel's vgacon finds it.
void put_screen(Writer& page) {
  page.put<u8>(zp::screen_info + 0x06, text_screen::mode);
  page.put<u8>(zp::screen_info + 0x07, text_screen::columns);
  page.put<u16>(zp::screen_info + 0x0a, 3);  // orig_video_ega_bx: 256 KiB of video memory
  page.put<u8>(zp::screen_info + 0x0e, text_screen::rows);
  page.put<u8>(zp::screen_info + 0x0f, 1);  // orig_video_isVGA
  page.put<u16>(zp::screen_info + 0x10, text_screen::character_height);
}

/// The header as the file has it, from setup_sects to its end (the jump over it says where), then our part of it.
Writer zero_page(const Reader& file, const Header& h, const BootRequest& request) {
  Writer page(zp::bytes);
  const u64 end = std::min<u64>(hdr::magic + file.get<u8>(hdr::jump + 1, "setup header"), hdr::end);
  page.put_bytes(hdr::setup_sects,
                 file.bytes(hdr::setup_sects, std::max(end, hdr::init_size + 4) - hdr::setup_sects, "setup header"));
  page.put<u8>(hdr::type_of_loader, 0xff);  // none of the registered ones
  page.put<u32>(hdr::code32_start, static_cast<u32>(h.load_address));
  page.put<u32>(hdr::cmd_line_ptr, static_cast<u32>(layout::command_line));
  page.put<u32>(zp::ext_cmd_line_ptr, 0);
  page.put<u64>(zp::acpi_rsdp_addr, request.rsdp);
  put_screen(page);
  put_initrd(page, 0, 0);
  put_memory_map(page, file, request.map);
  return page;
}

void check_memory(const Reader& file, const Header& h, const BootRequest& request) {
  if (request.map.is_ram(h.load_address, h.init_size)) return;
  u64 needed = h.load_address + h.init_size;
  for (const Module& m : request.modules) needed += align_up(m.image.bytes.size(), kPageBytes);
  file.refuse(
      fmt::format("needs {} of memory from {:#x} on to unpack itself, and this machine has {} in all; give it at least {}",
                  mebibytes(h.init_size), h.load_address, mebibytes(request.map.ram_bytes()), mebibytes(needed)));
}

/// As high as it goes: below initrd_addr_max, or above 4 GiB where it does not fit there and the kernel can reach it.
u64 place_initrd(const Header& h, const BootRequest& request, Placement& placement) {
  const u64 floor = h.load_address + h.init_size, ceiling = std::min(h.initrd_addr_max + 1, kFourGiB);
  const u64 bytes = request.modules[0].image.bytes.size();
  const bool fits_low = bytes == 0 || request.map.highest_place(bytes, floor, ceiling) != 0;
  const bool high = !fits_low && (h.xloadflags & kAbove4G);
  return place_modules(request, floor, high ? ~u64{0} : ceiling, placement)[0];
}

BootState entry_state(const Header& h) {
  BootState s;
  s.mode = EntryMode::long64;
  s.rip = h.load_address + 0x200;
  s.rsp = layout::stack;
  s.rsi = layout::info;
  s.cr0 = 0x80000011;  // PG, ET, PE
  s.cr3 = layout::page_tables;
  s.cr4 = 0x20;    // PAE
  s.efer = 0x500;  // LME, LMA
  s.cs = {0x10, 0, 0xffffffff, 0xa09b};
  s.data = {0x18, 0, 0xffffffff, 0xc093};
  s.gdt = {layout::gdt, 31};
  return s;
}

}  // namespace

bool looks_like_bzimage(std::span<const u8> bytes) {
  static constexpr u8 magic[] = {'H', 'd', 'r', 'S'};
  return bytes.size() >= hdr::magic + 4 && std::equal(magic, magic + 4, bytes.begin() + hdr::magic);
}

BootState load_linux(mmu::PhysicalMemory& memory, const BootRequest& request) {
  const Reader file(request.kernel);
  const Header h = parse(file);
  if (request.command_line.size() > h.cmdline_size) {
    file.refuse(fmt::format("takes a command line of at most {} characters; this one has {}", h.cmdline_size,
                            request.command_line.size()));
  }
  if (request.command_line.size() >= layout::strings_end - layout::command_line) {
    file.refuse("is given a command line of more than 384 KiB; shorten it");
  }
  if (request.modules.size() > 1) file.refuse("takes one initrd; join several with cat");
  check_memory(file, h, request);

  Placement placement(memory, request);
  Writer page = zero_page(file, h, request);
  if (!request.modules.empty()) {
    put_initrd(page, place_initrd(h, request, placement), request.modules[0].image.bytes.size());
  }
  Writer command_line;
  command_line.append_text(request.command_line);
  placement.own(layout::bios_data, bios_data_area(), "BIOS data area");
  placement.own(layout::gdt, flat_gdt(true), "GDT");
  placement.own(layout::info, page.take(), "zero page");
  placement.own(layout::page_tables, identity_tables(layout::page_tables), "page tables");
  placement.own(layout::command_line, command_line.take(), "command line");
  placement.borrow(h.load_address, file.bytes(h.kernel_begin, h.kernel_bytes, "kernel"), h.init_size, "kernel");
  placement.commit();
  return entry_state(h);
}

}  // namespace nestwalk::emu::boot
