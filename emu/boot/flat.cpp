// Flat real-mode images and ROM images (SDM vol. 3, 9.1: the processor's state after reset).
#include "emu/boot/flat.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bits.h"

namespace nestwalk::emu::boot {
namespace {

inline constexpr u64 kRomLargest = 16 << 20, kShadowBytes = kFirmwareEnd - kFirmwareBegin;

BootState real_mode(u16 selector, u64 base, u64 ip) {
  BootState s;
  s.mode = EntryMode::real16;
  s.rip = ip;
  s.cs = {selector, base, 0xffff, 0x9b};
  s.data = {0, 0, 0xffff, 0x93};
  s.idt = {0, 0x3ff};
  s.gdt = {0, 0xffff};
  return s;
}

}  // namespace

BootState load_flat(mmu::PhysicalMemory& memory, const BootRequest& request, u16 cs, u16 ip) {
  const Reader file(request.kernel);
  if (file.size() == 0) file.refuse("is empty");
  const u64 at = u64{cs} * 16 + ip;
  Placement placement(memory, request);
  placement.borrow(at, request.kernel.bytes, file.size(), "code");
  placement.commit();
  BootState s = real_mode(cs, u64{cs} * 16, ip);
  s.rsp = at >= 0x1000 && at < 0x10000 ? at : 0x7c00;
  return s;
}

BootState load_rom(mmu::PhysicalMemory& memory, const BootRequest& request) {
  const Reader file(request.kernel);
  if (file.size() == 0 || file.size() % kPageBytes || file.size() > kRomLargest) {
    file.refuse(fmt::format("is no ROM image: {} bytes, not whole pages up to 16 MiB", file.size()));
  }
  const u64 begin = kFourGiB - file.size(), shadow = std::min(file.size(), kShadowBytes);
  for (u64 a = kFirmwareEnd - shadow; a < kFirmwareEnd; a += kPageBytes) {
    if (!memory.has(PhysAddr(a))) file.refuse("needs memory at 0xe0000 to be shadowed in");
  }
  if (!memory.install_rom(PhysAddr(begin), request.kernel.bytes))
    file.refuse("is larger than the ROM that this machine started with");
  memory.write(PhysAddr(kFirmwareEnd - shadow), request.kernel.bytes.last(shadow));
  return real_mode(0xf000, 0xffff0000, 0xfff0);
}

}  // namespace nestwalk::emu::boot
