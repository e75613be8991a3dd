#include "mmu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace nestwalk::mmu {

namespace {
const MachineMemory::Range kNothing{};
}

MachineMemory::MachineMemory() : last_(&kNothing) {}

MachineMemory::~MachineMemory() {
  for (const Range& r : ranges_) munmap(r.host, r.end - r.begin);
}

void MachineMemory::install(MachineAddr begin, u64 bytes, bool writable) {
  if (bytes == 0) return;
  if ((begin.value | bytes) & kPageMask) throw std::runtime_error("machine memory must begin and end on a page");
  for (const Range& r : ranges_)
    if (begin.value < r.end && r.begin < begin.value + bytes) throw std::runtime_error("machine memory ranges overlap");
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw std::runtime_error("the host cannot map " + std::to_string(bytes >> 20) +
                             " MiB for the guest; lower memory.size");
#ifdef MADV_NOHUGEPAGE
  madvise(p, bytes, MADV_NOHUGEPAGE);  // resident memory is what the guest touched, not 2 MiB around it
#endif
  ranges_.push_back({begin.value, begin.value + bytes, static_cast<u8*>(p), writable});
  code_.emplace_back(bytes >> kPageShift);
  last_ = &ranges_[0];
}

u64 MachineMemory::installed_bytes() const {
  u64 n = 0;
  for (const Range& r : ranges_) n += r.end - r.begin;
  return n;
}

u8* MachineMemory::find(MachineAddr a) const {
  for (const Range& r : ranges_)
    if (a.value - r.begin < r.end - r.begin) {
      last_ = &r;
      return r.host + (a.value - r.begin);
    }
  return nullptr;
}

bool MachineMemory::is_writable(MachineAddr a) const { return find(a) != nullptr && last_->writable; }

MachineAddr MachineMemory::machine_of(const u8* host) const {
  for (const Range& r : ranges_)
    if (host >= r.host && host < r.host + (r.end - r.begin)) return MachineAddr(r.begin + static_cast<u64>(host - r.host));
  throw std::logic_error("not a host address of machine memory");
}

bool MachineMemory::read(MachineAddr a, std::span<u8> to) const {
  for (std::size_t done = 0; done < to.size();) {
    const u8* p = host(a + done);
    if (!p) return false;
    const std::size_t n = std::min<std::size_t>(to.size() - done, kPageBytes - (a + done).page_offset());
    std::memcpy(to.data() + done, p, n);
    done += n;
  }
  return true;
}

bool MachineMemory::write(MachineAddr a, std::span<const u8> from) {
  if (from.empty()) return true;
  if (a.value + (from.size() - 1) < a.value) return false;  // wraps past the last address
  for (u64 page = a.value >> kPageShift; page <= (a.value + (from.size() - 1)) >> kPageShift; ++page)
    if (!host(MachineAddr(page << kPageShift))) return false;
  for (std::size_t done = 0; done < from.size();) {
    const std::size_t n = std::min<std::size_t>(from.size() - done, kPageBytes - (a + done).page_offset());
    std::memcpy(host(a + done), from.data() + done, n);
    if (holds_code(a + done)) code_written(a + done, static_cast<unsigned>(n));
    done += n;
  }
  return true;
}

void MachineMemory::clear(PhysAddr a, u64 bytes) {
  static constexpr u8 zeros[kPageBytes] = {};
  for (u64 at = a.value, end = a.value + bytes; at < end;) {
    const u64 count = std::min(end - at, kPageBytes - (at & kPageMask));
    if (std::memcmp(host(MachineAddr(at)), zeros, count) != 0) write(MachineAddr(at), {zeros, count});
    at += count;
  }
}

bool MachineMemory::install_rom(PhysAddr a, std::span<const u8> bytes) {
  if (!has(a)) install(MachineAddr(a.value), bytes.size(), false);
  for (u64 done = 0; done < bytes.size(); done += kPageBytes) {
    u8* const page = host(MachineAddr(a.value + done));
    if (!page) return false;
    std::memcpy(page, &bytes[done], std::min<u64>(kPageBytes, bytes.size() - done));
  }
  return true;
}

bool MachineMemory::holds_code(MachineAddr a) const {
  if (!host(a)) return false;
  find(a);
  return code_[static_cast<std::size_t>(last_ - ranges_.data())][(a.value - last_->begin) >> kPageShift];
}

bool MachineMemory::mark_code(MachineAddr a, bool on) {
  if (!find(a)) return false;
  u16& holders = code_[static_cast<std::size_t>(last_ - ranges_.data())][(a.value - last_->begin) >> kPageShift];
  holders += on ? 1 : -1;
  return holders == (on ? 1 : 0);
}

}  // namespace nestwalk::mmu
