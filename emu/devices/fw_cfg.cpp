#include "emu/devices/fw_cfg.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/types.h"
#include "sim/settings.h"

namespace nestwalk::emu {
namespace {

enum Control : u32 { kError = 1, kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16 };
constexpr u16 kKeyMask = 0x3fff;  // bit 14 asks for write mode, bit 15 for the architecture's own items
constexpr char kDmaSignature[] = "QEMU CFG";

void append_be(std::vector<u8>& to, u64 value, unsigned bytes) {
  for (unsigned i = bytes; i-- > 0;) to.push_back(static_cast<u8>(value >> (8 * i)));
}

u64 from_be(std::span<const u8> bytes) {
  u64 v = 0;
  for (const u8 b : bytes) v = v << 8 | b;
  return v;
}

}  // namespace

FwCfg::FwCfg(mmu::PhysicalMemory& memory) : memory_(memory) {
  add_item(signature, {'Q', 'E', 'M', 'U'});
  add_u32(id, 3);  // the traditional interface and DMA
  build_directory();
}

void FwCfg::reset() {
  current_ = nullptr;
  offset_ = 0;
  dma_high_ = 0;
}

void FwCfg::add_item(u16 key, std::vector<u8> bytes) { items_[key] = std::move(bytes); }

void FwCfg::add_number(u16 key, u64 value, unsigned bytes) {
  std::vector<u8> v;
  for (unsigned i = 0; i < bytes; ++i) v.push_back(static_cast<u8>(value >> (8 * i)));
  add_item(key, std::move(v));
}

void FwCfg::add_string(u16 key, std::string_view text) {
  std::vector<u8> v(text.begin(), text.end());
  v.push_back(0);
  add_item(key, std::move(v));
}

u16 FwCfg::add_file(std::string_view name, std::vector<u8> bytes) {
  if (name.size() >= kNameBytes)
    throw sim::ConfigError("fw_cfg file name '" + std::string(name) + "' is longer than 55 bytes");
  const auto it = std::find_if(files_.begin(), files_.end(), [&](const File& f) { return f.name == name; });
  if (it == files_.end() && first_file + files_.size() > kKeyMask) throw sim::ConfigError("too many fw_cfg files");
  const u16 key = it != files_.end() ? it->key : static_cast<u16>(first_file + files_.size());
  if (it == files_.end()) files_.push_back({std::string(name), key});
  add_item(key, std::move(bytes));
  build_directory();
  return key;
}

void FwCfg::build_directory() {
  std::vector<const File*> sorted;
  for (const File& f : files_) sorted.push_back(&f);
  std::sort(sorted.begin(), sorted.end(), [](const File* a, const File* b) { return a->name < b->name; });
  std::vector<u8> d;
  append_be(d, files_.size(), 4);
  for (const File* f : sorted) {
    append_be(d, items_[f->key].size(), 4);
    append_be(d, f->key, 2);
    append_be(d, 0, 2);
    d.insert(d.end(), f->name.begin(), f->name.end());
    d.insert(d.end(), kNameBytes - f->name.size(), 0);
  }
  add_item(directory, std::move(d));
}

void FwCfg::select(u16 key) {
  const auto it = items_.find(key & static_cast<u16>(~0x4000));
  current_ = it == items_.end() ? nullptr : &it->second;
  offset_ = 0;
}

/// Past its end an item reads zero.
u8 FwCfg::next() { return current_ && offset_ < current_->size() ? (*current_)[offset_++] : u8{0}; }

u64 FwCfg::read(u64 offset, unsigned bytes) { return offset == 1 && bytes == 1 ? next() : 0; }

void FwCfg::write(u64 offset, u64 value, unsigned bytes) {
  if (offset == 0 && bytes == 2) select(static_cast<u16>(value));
}

u64 FwCfg::read_dma(u64 offset, unsigned bytes) {
  u64 v = 0;
  for (unsigned i = 0; i < bytes && offset + i < 8; ++i) v |= u64{static_cast<u8>(kDmaSignature[offset + i])} << (8 * i);
  return v;
}

void FwCfg::write_dma(u64 offset, u64 value, unsigned bytes) {
  if (bytes == 8 && offset == 0) return run_dma(__builtin_bswap64(value));
  if (bytes != 4) return;
  const u32 half = __builtin_bswap32(static_cast<u32>(value));
  if (offset == 0) dma_high_ = half;
  if (offset == 4) run_dma(u64{std::exchange(dma_high_, 0)} << 32 | half);
}

/// The structure: control (32 bits, selector above), length (32), address (64), all big-endian. Its control field is
/// cleared when the transfer is done, or left with the error bit alone.
void FwCfg::run_dma(u64 at) {
  std::array<u8, 16> raw{};
  if (!memory_.read(PhysAddr(at), raw)) return;
  const u32 control = static_cast<u32>(from_be(std::span(raw).first(4)));
  const u64 length = from_be(std::span(raw).subspan(4, 4)), address = from_be(std::span(raw).subspan(8, 8));
  if (control & kSelect) select(static_cast<u16>(control >> 16));
  bool ok = true;
  if (control & kRead)
    ok = copy_to(address, length);
  else if (control & kWrite)
    ok = false;  // nothing here is writable
  else if (control & kSkip)
    offset_ = current_ ? std::min<u64>(offset_ + length, current_->size()) : 0;
  const std::array<u8, 4> done{0, 0, 0, static_cast<u8>(ok ? 0u : u32{kError})};
  memory_.write(PhysAddr(at), done);
}

bool FwCfg::copy_to(u64 address, u64 length) {
  std::array<u8, 4096> chunk;
  while (length > 0) {  // ends at the latest where memory does
    // Chunks end on a page, because memory may.
    const u64 n = std::min(length, kPageBytes - (address & kPageMask));
    std::generate_n(chunk.begin(), n, [this] { return next(); });
    if (address + n < address || !memory_.write(PhysAddr(address), std::span(chunk).first(n))) return false;
    address += n;
    length -= n;
  }
  return true;
}

}  // namespace nestwalk::emu
