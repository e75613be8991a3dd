// Which loader an image is for: magic numbers of what we boot, and of what people hand us by mistake.
#include "emu/boot/detect.h"

#include <fmt/format.h>

#include <cstring>

#include "emu/boot/elf.h"
#include "emu/boot/linux.h"
#include "emu/boot/multiboot.h"

namespace nestwalk::emu::boot {
namespace {

struct Stranger {
  u64 offset;
  std::string_view magic;
  const char* verdict;
};

using namespace std::string_view_literals;
constexpr Stranger kStrangers[] = {
    {0x38, "ARM\x64"sv, "is an ARM64 Linux Image; this is an x86-64 machine"},
    {0x38, "RSC\x05"sv, "is a RISC-V Linux Image; this is an x86-64 machine"},
    {0x24, "\x18\x28\x6f\x01"sv, "is a 32-bit ARM zImage; this is an x86-64 machine"},
    {0, "\x27\x05\x19\x56"sv, "is a U-Boot image; unpack the kernel inside with dumpimage"},
    {0, "\x1f\x8b"sv, "is compressed with gzip; unpack it first (gunzip)"},
    {0,
     "\xfd"
     "7zXZ"sv,
     "is compressed with xz; unpack it first (unxz)"},
    {0, "\x28\xb5\x2f\xfd"sv, "is compressed with zstd; unpack it first (unzstd)"},
    {0, "BZh"sv, "is compressed with bzip2; unpack it first (bunzip2)"},
    {0, "070701"sv, "is a cpio archive; give it as --initrd"},
    {0, "!<arch>\n"sv, "is a Debian package or archive; take the vmlinuz out of it (dpkg-deb -x)"},
    {0x8001, "CD001"sv, "is a CD image; take its kernel out of it"},
};

bool has(std::span<const u8> bytes, u64 offset, std::string_view magic) {
  return bytes.size() >= offset + magic.size() && std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

}  // namespace

const char* name_of(ImageKind kind) {
  switch (kind) {
    case ImageKind::bzimage: return "Linux bzImage";
    case ImageKind::multiboot: return "multiboot";
    case ImageKind::elf: return "ELF (PVH)";
  }
  return "?";
}

ImageKind identify(const Image& image) {
  const Reader file(image);
  const std::span<const u8> bytes = image.bytes;
  if (bytes.empty()) file.refuse("is empty; fetch it again");
  if (looks_like_bzimage(bytes)) return ImageKind::bzimage;
  if (find_multiboot(bytes)) return ImageKind::multiboot;
  if (looks_like_elf(bytes)) return ImageKind::elf;
  for (const Stranger& s : kStrangers) {
    if (has(bytes, s.offset, s.magic)) file.refuse(s.verdict);
  }
  if (has(bytes, 0x1fe, "\x55\xaa") && !has(bytes, 0, "MZ")) {
    file.refuse("is a boot sector or disk image, not a kernel; give it as --disk, or a flat image its address");
  }
  if (has(bytes, 0, "MZ")) {
    file.refuse(bytes.size() < 0x206 ? "is cut off within its setup header; fetch it again"
                                     : "is an EFI or DOS program without Linux's setup header; it needs firmware to run");
  }
  file.refuse("is no kernel that this machine boots: neither bzImage, multiboot nor ELF");
}

BootState load_kernel(mmu::PhysicalMemory& memory, const BootRequest& request) {
  switch (identify(request.kernel)) {
    case ImageKind::bzimage: return load_linux(memory, request);
    case ImageKind::multiboot: return load_multiboot(memory, request);
    case ImageKind::elf: break;
  }
  return load_pvh(memory, request);
}

}  // namespace nestwalk::emu::boot
