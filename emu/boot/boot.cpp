// The common ground of the boot loaders: checked reading, careful writing, flat segments.
#include "emu/boot/boot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/bits.h"

namespace nestwalk::emu::boot {

std::vector<u8> read_file(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) throw BootError(fmt::format("{}: is a folder, not an image", path));
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw BootError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  const std::streamoff size = file.tellg();
  if (size < 0) throw BootError(fmt::format("{}: is not a regular file", path));
  if (static_cast<u64>(size) >= kFourGiB) throw BootError(fmt::format("{}: is larger than 4 GiB", path));
  std::vector<u8> bytes(static_cast<std::size_t>(size));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  if (!file) throw BootError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  return bytes;
}

std::span<const u8> Reader::bytes(u64 offset, u64 count, std::string_view what) const {
  if (offset > size() || count > size() - offset) {
    refuse(fmt::format("is cut off: its {} needs bytes up to {:#x}, but it ends at {:#x}; fetch it again", what,
                       static_cast<u128>(offset) + count > ~u64{0} ? ~u64{0} : offset + count, size()));
  }
  return image_.bytes.subspan(offset, count);
}

void Reader::refuse(std::string_view why) const { throw BootError(fmt::format("{}: {}", name(), why)); }

void Writer::put_bytes(u64 offset, std::span<const u8> from) {
  if (bytes_.size() < offset + from.size()) bytes_.resize(offset + from.size());
  std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
}

u64 Writer::append_text(std::string_view text) {
  const u64 at = size();
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  bytes_.push_back(0);
  return at;
}

void Placement::borrow(u64 at, std::span<const u8> from, u64 total, std::string what) {
  if (total) pieces_.push_back({at, std::max<u64>(total, from.size()), from, {}, std::move(what)});
}

void Placement::own(u64 at, std::vector<u8> bytes, std::string what) {
  const u64 size = bytes.size();
  if (size) pieces_.push_back({at, size, {}, std::move(bytes), std::move(what)});
}

void Placement::check() const {
  const std::string& name = request_.kernel.name;
  for (const Piece& p : pieces_) {
    if (!request_.map.is_ram(p.at, p.total)) {
      throw BootError(
          fmt::format("{}: its {} belongs at {:#x}..{:#x}, where this machine with {} has no memory; give it more", name,
                      p.what, p.at, p.at + (p.total - 1), mebibytes(request_.map.ram_bytes())));
    }
  }
  std::vector<const Piece*> sorted;
  for (const Piece& p : pieces_) sorted.push_back(&p);
  std::sort(sorted.begin(), sorted.end(), [](const Piece* a, const Piece* b) { return a->at < b->at; });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    const Piece &a = *sorted[i - 1], &b = *sorted[i];
    if (b.at - a.at < a.total) {
      throw BootError(fmt::format("{}: its {} at {:#x}..{:#x} runs into the {} at {:#x}", name, a.what, a.at,
                                  a.at + (a.total - 1), b.what, b.at));
    }
  }
  for (const Piece& p : pieces_) {
    for (u64 a = align_down(p.at, kPageBytes); a < p.at + p.total; a += kPageBytes) {
      if (!memory_.has(PhysAddr(a))) {
        throw BootError(fmt::format("{}: its {} belongs at {:#x}, where no memory is installed", name, p.what, a));
      }
    }
  }
}

void Placement::write(const Piece& piece) {
  const std::span<const u8> from = piece.owned.empty() ? piece.from : std::span<const u8>(piece.owned);
  if (!from.empty()) memory_.write(PhysAddr(piece.at), from);
  // Pages of zeros stay untouched: a kernel's large .bss must not become resident before the guest uses it.
  memory_.clear(PhysAddr(piece.at + from.size()), piece.total - from.size());
}

void Placement::commit() {
  check();
  for (const Piece& p : pieces_) write(p);
  pieces_.clear();
}

std::vector<u8> flat_gdt(bool long_mode) {
  Writer gdt(32);
  gdt.put<u64>(0x10, long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff);
  gdt.put<u64>(0x18, 0x00cf93000000ffff);
  return gdt.take();
}

std::vector<u8> bios_data_area() {
  Writer bda(0x8b);
  bda.put<u16>(0x00, 0x3f8);
  bda.put<u16>(0x0e, kEbdaBegin >> 4);
  bda.put<u16>(0x13, kEbdaBegin >> 10);
  // What the video BIOS leaves behind in mode 3.
  bda.put<u8>(0x49, text_screen::mode);
  bda.put<u16>(0x4a, text_screen::columns);
  bda.put<u16>(0x4c, 0x1000);  // bytes of one of its eight pages
  bda.put<u16>(0x60, 0x0d0e);  // first and last line of the cursor
  bda.put<u16>(0x63, 0x3d4);   // the CRT controller
  bda.put<u8>(0x84, text_screen::rows - 1);
  bda.put<u16>(0x85, text_screen::character_height);
  bda.put<u8>(0x87, 0x60);  // 256 KiB of video memory
  bda.put<u8>(0x88, 0xf9);  // feature bits: none; a colour monitor
  bda.put<u8>(0x89, 0x11);  // VGA, 400 scan lines
  bda.put<u8>(0x8a, 0x08);  // display combination: VGA, colour
  return bda.take();
}

BootState protected_entry(u64 entry) {
  BootState s;
  s.mode = EntryMode::protected32;
  s.rip = entry;
  s.rsp = layout::stack;
  s.cr0 = 0x11;  // PE, ET
  s.cs = {0x10, 0, 0xffffffff, 0xc09b};
  s.data = {0x18, 0, 0xffffffff, 0xc093};
  s.tr = {0, 0, 0x67, 0x8b};
  s.gdt = {layout::gdt, 31};
  return s;
}

std::vector<u64> place_modules(const BootRequest& request, u64 floor, u64 ceiling, Placement& placement) {
  std::vector<u64> addresses;
  u64 needed = floor;
  for (const Module& m : request.modules) needed += align_up(m.image.bytes.size(), kPageBytes);
  for (const Module& m : request.modules) {
    const u64 bytes = m.image.bytes.size();
    if (bytes == 0) throw BootError(fmt::format("{}: is empty; leave it away or pack it again", m.image.name));
    const u64 at = request.map.highest_place(bytes, floor, ceiling);
    if (at == 0) {
      const std::string remedy = needed <= request.map.ram_bytes()
                                     ? fmt::format("the kernel reaches nothing above {:#x}; make it smaller", ceiling - 1)
                                     : fmt::format("give the machine at least {}", mebibytes(needed));
      throw BootError(fmt::format("{}: its {} do not fit beside {} into {} of memory; {}", m.image.name, mebibytes(bytes),
                                  request.kernel.name, mebibytes(request.map.ram_bytes()), remedy));
    }
    placement.borrow(at, m.image.bytes, bytes, "module " + m.image.name);
    addresses.push_back(at);
    ceiling = at;
  }
  return addresses;
}

std::string mebibytes(u64 bytes) { return fmt::format("{} MiB", (bytes >> 20) + ((bytes & low_mask(20)) != 0)); }

}  // namespace nestwalk::emu::boot
