// Tiny kernels made by hand from the specifications, for the tests and the fuzzer of the boot loaders.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "emu/boot/boot.h"
#include "mmu/memory.h"

namespace nestwalk::emu::boot::test {

using Bytes = std::vector<u8>;

template <class T>
void set(Bytes& bytes, u64 at, T value) {
  if (bytes.size() < at + sizeof value) bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}
template <class T>
T get(const Bytes& bytes, u64 at) {
  T v;
  std::memcpy(&v, bytes.data() + at, sizeof v);
  return v;
}

/// A bzImage of one setup sector and 4 KiB of "kernel", byte i of which is i*7; protocol 2.15, 64-bit.
inline Bytes bzimage(u32 init_size = 4 << 20) {
  Bytes b(1024 + 4096);
  for (unsigned i = 0; i < 4096; ++i) b[1024 + i] = static_cast<u8>(i * 7);
  set<u8>(b, 0x1f1, 1);
  set<u32>(b, 0x1f4, 4096 / 16);
  set<u16>(b, 0x1fe, 0xaa55);
  set<u16>(b, 0x200, 0x6aeb);  // jump to 0x26c: the header's end
  std::memcpy(b.data() + 0x202, "HdrS", 4);
  set<u16>(b, 0x206, 0x20f);
  set<u8>(b, 0x211, 1);
  set<u32>(b, 0x22c, 0x7fffffff);
  set<u32>(b, 0x230, 0x200000);
  set<u8>(b, 0x234, 1);
  set<u16>(b, 0x236, 0x3f);
  set<u32>(b, 0x238, 2047);
  set<u32>(b, 0x248, 0x100);
  set<u32>(b, 0x24c, 0x200);
  set<u64>(b, 0x258, 0x1000000);
  set<u32>(b, 0x260, init_size);
  return b;
}

/// An ELF executable of one segment of 0x100 bytes (0x1000 in memory) loaded at 1 MiB, with a PVH note for 0x100040.
inline Bytes elf(bool is64, bool note = true) {
  Bytes b(0x300);
  const u8 ident[] = {0x7f, 'E', 'L', 'F', static_cast<u8>(is64 ? 2 : 1), 1, 1};
  std::memcpy(b.data(), ident, sizeof ident);
  set<u16>(b, 16, 2);
  set<u16>(b, 18, is64 ? 62 : 3);
  const u64 table = 0x40, note_at = 0x280;
  if (is64) {
    set<u64>(b, 24, 0x100010);
    set<u64>(b, 32, table);
    set<u16>(b, 54, 56);
    set<u16>(b, 56, 2);
    const auto header = [&](u64 at, u32 type, u64 offset, u64 linear, u64 physical, u64 filed, u64 memory) {
      set<u32>(b, at, type);
      set<u64>(b, at + 8, offset);
      set<u64>(b, at + 16, linear);
      set<u64>(b, at + 24, physical);
      set<u64>(b, at + 32, filed);
      set<u64>(b, at + 40, memory);
    };
    header(table, 1, 0x100, 0x100000, 0x100000, 0x100, 0x1000);
    header(table + 56, note ? 4 : 6, note_at, 0, 0, 20, 20);
  } else {
    set<u32>(b, 24, 0x100010);
    set<u32>(b, 28, table);
    set<u16>(b, 42, 32);
    set<u16>(b, 44, 2);
    const auto header = [&](u64 at, u32 type, u32 offset, u32 linear, u32 physical, u32 filed, u32 memory) {
      const u32 fields[] = {type, offset, linear, physical, filed, memory};
      std::memcpy(b.data() + at, fields, sizeof fields);
    };
    header(table, 1, 0x100, 0x100000, 0x100000, 0x100, 0x1000);
    header(table + 32, note ? 4 : 6, note_at, 0, 0, 20, 20);
  }
  for (unsigned i = 0; i < 0x100; ++i) b[0x100 + i] = static_cast<u8>(i ^ 0x5a);
  set<u32>(b, note_at, 4);
  set<u32>(b, note_at + 4, 4);
  set<u32>(b, note_at + 8, 18);
  std::memcpy(b.data() + note_at + 12, "Xen", 4);
  set<u32>(b, note_at + 16, 0x100040);
  return b;
}

inline void multiboot_header(Bytes& b, u64 at, u32 flags) {
  set<u32>(b, at, 0x1badb002);
  set<u32>(b, at + 4, flags);
  set<u32>(b, at + 8, 0u - 0x1badb002u - flags);
}

/// 0x400 bytes placed by the address fields: header at 0x40 of the file, file offset 0 at 2 MiB, .bss up to 0x202000.
inline Bytes multiboot_flat() {
  Bytes b(0x400, 0x90);
  multiboot_header(b, 0x40, 0x10003);
  const u32 fields[] = {0x200040, 0x200000, 0x200400, 0x202000, 0x200080};
  std::memcpy(b.data() + 0x4c, fields, sizeof fields);
  return b;
}

/// A PC with `bytes` of memory, and a request for it.
struct Bench {
  explicit Bench(u64 bytes = 64 << 20) : map(pc_memory_map(bytes)) {
    for (const MemorySpan& s : pc_installed_memory(bytes)) memory.install(MachineAddr(s.begin), s.bytes);
  }
  BootRequest request(const Bytes& kernel, std::string command_line = "") const {
    return {{"kernel", kernel}, {}, std::move(command_line), map, 0xe0000};
  }
  Bytes read(u64 at, u64 bytes) const {
    Bytes b(bytes);
    if (!memory.read(MachineAddr(at), b)) throw std::out_of_range("not memory");
    return b;
  }
  std::string text(u64 at) const {
    std::string s;
    for (char c; (c = static_cast<char>(memory.peek<u8>(MachineAddr(at++)))) != 0;) s += c;
    return s;
  }
  bool untouched(u64 begin, u64 bytes) const {
    for (u8 b : read(begin, bytes)) {
      if (b) return false;
    }
    return true;
  }
  mmu::MachineMemory memory;
  MemoryMap map;
};

/// What a refusal says, or "" when `body` refuses nothing.
template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const BootError& e) {
    return e.what();
  }
  return "";
}

}  // namespace nestwalk::emu::boot::test
