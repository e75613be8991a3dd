// AML encodings (ACPI specification 6.4: 20.2 for terms, 6.4 for resource descriptors).
#include "emu/aml.h"

#include <stdexcept>

namespace nestwalk::emu::aml {
namespace {

void append(Bytes& to, u64 value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) to.push_back(static_cast<u8>(value >> (8 * i)));
}

Bytes little_endian(u64 value, unsigned bytes) {
  Bytes b;
  append(b, value, bytes);
  return b;
}

/// PkgLength counts itself (20.2.4): one byte up to 63, then a nibble and one to three bytes.
Bytes package_length(std::size_t content) {
  if (content + 1 <= 0x3f) return {static_cast<u8>(content + 1)};
  for (unsigned more = 1; more <= 3; ++more) {
    const u64 total = content + 1 + more;
    if (total >> (4 + 8 * more)) continue;
    Bytes b = {static_cast<u8>(more << 6 | (total & 0xf))};
    append(b, total >> 4, more);
    return b;
  }
  throw std::length_error("an AML term is longer than 256 MiB");
}

Bytes enclosed(Bytes opcode, const Bytes& content) { return std::move(opcode) + package_length(content.size()) + content; }

/// Word or double word address space descriptor (6.4.3.5): type, general flags (min and max fixed), type-specific flags.
Bytes address_space(u8 tag, unsigned width, u8 type, u8 specific, u64 first, u64 last) {
  Bytes b = {tag};
  append(b, 3 + 5 * width, 2);
  b = std::move(b) + Bytes{type, 0x0c, specific};
  append(b, 0, width);  // granularity
  append(b, first, width);
  append(b, last, width);
  append(b, 0, width);  // translation
  append(b, last - first + 1, width);
  return b;
}

}  // namespace

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes integer(u64 value) {
  if (value <= 1) return {static_cast<u8>(value)};  // ZeroOp, OneOp
  if (value <= 0xff) return Bytes{0x0a} + little_endian(value, 1);
  if (value <= 0xffff) return Bytes{0x0b} + little_endian(value, 2);
  if (value <= 0xffffffff) return Bytes{0x0c} + little_endian(value, 4);
  return Bytes{0x0e} + little_endian(value, 8);
}

Bytes eisa_id(std::string_view id) {
  if (id.size() != 7) throw std::invalid_argument("an EISA identifier has seven characters");
  const auto letter = [&](unsigned i) { return static_cast<u32>(id[i] - 0x40) & 0x1f; };
  const auto digit = [&](unsigned i) { return static_cast<u32>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10) & 0xf; };
  const u32 big_endian =
      letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | digit(3) << 12 | digit(4) << 8 | digit(5) << 4 | digit(6);
  return integer(__builtin_bswap32(big_endian));
}

Bytes name_string(std::string_view name) {
  Bytes b;
  if (name.starts_with('\\')) {
    b.push_back('\\');
    name.remove_prefix(1);
  }
  if (name.empty() || name.size() > 4) throw std::invalid_argument("an AML name segment has one to four characters");
  b.insert(b.end(), name.begin(), name.end());
  b.insert(b.end(), 4 - name.size(), '_');
  return b;
}

Bytes name(std::string_view n, const Bytes& value) { return Bytes{0x08} + name_string(n) + value; }

Bytes package(const std::vector<Bytes>& elements) {
  if (elements.size() > 255) throw std::length_error("an AML package has at most 255 elements");
  Bytes content = {static_cast<u8>(elements.size())};
  for (const Bytes& e : elements) content = std::move(content) + e;
  return enclosed({0x12}, content);
}

Bytes buffer(const Bytes& bytes) { return enclosed({0x11}, integer(bytes.size()) + bytes); }

Bytes scope(std::string_view n, const Bytes& terms) { return enclosed({0x10}, name_string(n) + terms); }

Bytes device(std::string_view n, const Bytes& terms) { return enclosed({0x5b, 0x82}, name_string(n) + terms); }

Bytes io_ports(u16 first, u8 count) {
  Bytes b = {0x47, 0x01};
  append(b, first, 2);
  append(b, first, 2);
  return std::move(b) + Bytes{1, count};
}

Bytes irq(unsigned line) { return Bytes{0x22} + little_endian(u64{1} << line, 2); }

Bytes memory32(u32 base, u32 bytes) { return Bytes{0x86, 9, 0, 1} + little_endian(base, 4) + little_endian(bytes, 4); }

Bytes bus_range(u16 first, u16 last) { return address_space(0x88, 2, 2, 0, first, last); }
Bytes io_window(u16 first, u16 last) { return address_space(0x88, 2, 1, 3, first, last); }
Bytes memory_window(u32 first, u32 last) { return address_space(0x87, 4, 0, 1, first, last); }

Bytes resources(const Bytes& descriptors) { return buffer(descriptors + Bytes{0x79, 0}); }

}  // namespace nestwalk::emu::aml
