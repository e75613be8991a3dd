#include "vmm/space.h"

#include <sys/mman.h>

#include <algorithm>
#include <stdexcept>

#include "base/bits.h"

namespace nestwalk::vmm {

using mmu::Backing;

Space::Space(unsigned number, const std::vector<Span>& spans, mmu::MachineMemory& memory, Frames& frames, PageSize largest,
             const ExitCosts& costs)
    : number_(number), memory_(memory), frames_(frames), largest_(largest), costs_(costs), exits_(costs) {
  for (const Span& s : spans) {
    add(s.begin, s.bytes);
    memory_bytes_ += s.bytes;
  }
}

Space::~Space() {
  for (const Region& r : regions_) munmap(r.entries, ((r.end - r.begin) >> kPageShift) * sizeof(Entry));
}

void Space::add(u64 begin, u64 bytes) {
  void* const p = mmap(nullptr, (bytes >> kPageShift) * sizeof(Entry), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::runtime_error("the host cannot map the tables of a virtual machine of this size");
  regions_.push_back({begin, begin + bytes, static_cast<Entry*>(p)});
}

const Space::Region* Space::span_of(u64 address) const {
  for (const Region& r : regions_)
    if (address - r.begin < r.end - r.begin) return &r;
  return nullptr;
}

Backing Space::describe(Entry e, u64 address) {
  Backing b;
  b.kind = Backing::Kind::memory;
  b.writable = e & kWritable;
  b.rom = e & kRom;
  b.size = size_of(e);
  b.address = MachineAddr((e & ~kPageMask) | (address & kPageMask));
  return b;
}

/// Backs the address: by the largest page that lies in the span, is still wholly unbacked, and for which the machine has a
/// run of frames.
Space::Entry& Space::give(const Region& region, u64 address, Bill& bill) {
  static constexpr PageSize kSizes[] = {PageSize::k1G, PageSize::k2M, PageSize::k4K};
  Entry* const entries = region.entries;
  for (const PageSize size : kSizes) {
    if (size > largest_) continue;
    const u64 first = align_down(address, bytes_of(size)), count = bytes_of(size) >> kPageShift;
    if (first < region.begin || first + bytes_of(size) > region.end) continue;
    Entry* const entry = &entries[(first - region.begin) >> kPageShift];
    if (std::any_of(entry, entry + count, [](Entry e) { return e != 0; })) continue;
    const Frames::Taken taken = frames_.take(size, first >> kPageShift);
    if (!taken.ok) continue;
    const Entry flags = kWritable | (size == PageSize::k1G ? k1G : size == PageSize::k2M ? k2M : 0);
    for (u64 n = 0; n < count; ++n) entry[n] = (taken.address.value + (n << kPageShift)) | flags;
    ++faults_;
    broken_ += size < largest_;
    backed_bytes_ += bytes_of(size);
    // A fresh large page is wiped as a whole: nobody knows what its user before left there.
    bill.charge(Cause::backing, costs_.allocate + costs_.zero_page * count);
    return entries[(address - region.begin) >> kPageShift];
  }
  throw OutOfMemory{address};
}

/// The large page at the address counts as pages of 4K from now on: they no longer have the same rights.
void Space::break_large(const Region& region, u64 address) {
  const u64 first = align_down(address, bytes_of(size_of(region.entries[(address - region.begin) >> kPageShift])));
  const u64 bytes = bytes_of(size_of(region.entries[(address - region.begin) >> kPageShift]));
  for (u64 at = first; at < first + bytes; at += kPageBytes)
    region.entries[(at - region.begin) >> kPageShift] &= ~(k2M | k1G);
}

Backing Space::back(PhysAddr address, bool, Bill& bill) {
  const Region* const region = span_of(address.value);
  if (!region) return {};
  Entry& entry = region->entries[(address.value - region->begin) >> kPageShift];
  return describe(entry ? entry : give(*region, address.value, bill), address.value);
}

Backing Space::look(PhysAddr address) const {
  const Region* const region = span_of(address.value);
  const Entry entry = region ? region->entries[(address.value - region->begin) >> kPageShift] : 0;
  return entry ? describe(entry, address.value) : Backing{};
}

MachineAddr Space::take_frame() {
  const Frames::Taken taken = frames_.take(PageSize::k4K, 0);
  if (!taken.ok) throw OutOfMemory{};
  table_bytes_ += kPageBytes;
  return taken.address;
}

void Space::give_frame(MachineAddr frame) {
  frames_.give(frame, PageSize::k4K);
  table_bytes_ -= kPageBytes;
}

// ---- loaders and devices -----------------------------------------------------------------------------------------------

bool Space::read(PhysAddr a, std::span<u8> to) const {
  for (std::size_t done = 0; done < to.size();) {
    const PhysAddr at = a + done;
    if (!has(at)) return false;
    const std::size_t n = std::min<std::size_t>(to.size() - done, kPageBytes - at.page_offset());
    const Backing b = look(at);
    if (b.kind == Backing::Kind::memory)
      memory_.read(b.address, to.subspan(done, n));
    else
      std::fill_n(to.begin() + static_cast<std::ptrdiff_t>(done), n, u8{0});
    done += n;
  }
  return true;
}

bool Space::write(PhysAddr a, std::span<const u8> from) {
  if (from.empty()) return true;
  if (a.value + (from.size() - 1) < a.value) return false;
  for (u64 page = a.value >> kPageShift; page <= (a.value + (from.size() - 1)) >> kPageShift; ++page)
    if (!has(PhysAddr(page << kPageShift))) return false;
  Bill unpaid;
  for (std::size_t done = 0; done < from.size();) {
    const PhysAddr at = a + done;
    const std::size_t n = std::min<std::size_t>(from.size() - done, kPageBytes - at.page_offset());
    const Backing b = back(at, true, unpaid);
    if (!b.rom) memory_.write(b.address, from.subspan(done, n));
    done += n;
  }
  return true;
}

void Space::clear(PhysAddr a, u64 bytes) {
  static constexpr u8 zeros[kPageBytes] = {};
  for (u64 at = a.value, end = a.value + bytes; at < end;) {
    const u64 n = std::min(end - at, kPageBytes - (at & kPageMask));
    if (const Backing b = look(PhysAddr(at)); b.kind == Backing::Kind::memory) memory_.write(b.address, {zeros, n});
    at += n;
  }
}

bool Space::install_rom(PhysAddr a, std::span<const u8> bytes) {
  if (!has(a)) add(a.value, align_up(bytes.size(), kPageBytes));
  Bill unpaid;
  for (u64 done = 0; done < bytes.size(); done += kPageBytes) {
    const PhysAddr at = a + done;
    const Region* const region = span_of(at.value);
    if (!region) return false;
    const Backing b = back(at, true, unpaid);
    memory_.write(b.address, bytes.subspan(done, std::min<u64>(kPageBytes, bytes.size() - done)));
    Entry& e = region->entries[(at.value - region->begin) >> kPageShift];
    if (e & (k2M | k1G)) break_large(*region, at.value);
    e = (e & ~kWritable) | kRom;
  }
  return true;
}

void Space::declare(sim::Stats& stats, unsigned processors) {
  exits_.declare(stats);
  if (processors > 1) exits_.declare_remote(stats);
  stats.counter("mem.granted", memory_bytes_, "bytes", "guest-physical memory that the machine was promised");
  stats.counter("mem.consumed", backed_bytes_, "bytes", "machine memory that stands behind it");
  stats.counter("mem.tables", table_bytes_, "bytes", "machine memory of the hypervisor's tables for it");
  stats.counter("vmm.backings", faults_, "pages", "pages of machine memory given on first touch");
  stats.counter("vmm.backings.smaller", broken_, "pages", "of these, smaller than host.page_size asks for");
}

}  // namespace nestwalk::vmm
