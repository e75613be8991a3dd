// A guest that edits its tables as guests do: by stores to linear addresses. Physical memory as seen by whoever builds
// tables; once paging is on, what is written goes through the port, by a window of large supervisor pages that every root
// has, so that a hypervisor which traces the guest's tables hears of it.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "mmu/port.h"
#include "test/mmu/tables.h"

namespace nestwalk::test {

template <class F>
class GuestStores final : public PhysicalMemory {
 public:
  static constexpr u64 kBytes = 0x4000000;  ///< of physical memory behind the window
  /// Takes the frames at `tables` for the window's own; `roots` are the top tables that shall have it.
  GuestStores(PhysicalMemory& memory, Port& port, std::vector<u64> roots, u64 tables = 0x50000)
      : memory_(memory), port_(port), roots_(std::move(roots)), tables_(tables) {}

  /// Makes the window; before the guest uses the roots.
  void open() {
    u64 entry = kLarge;
    if constexpr (F::kLevels >= 4) {
      for (u64 n = 0; n < kBytes >> 21; ++n) put(tables_ + n * 8, (n << 21) | kLarge);
      for (unsigned level = 3; level < F::kLevels; ++level) put(tables_ + (level - 2) * kPageBytes, link(level - 3));
      entry = link(F::kLevels - 3);
    }
    for (const u64 root : roots_)
      for (u64 n = 0; n < (F::kLevels >= 4 ? 1 : kBytes >> F::shift(2)); ++n)
        put(root + (kIndex + n) * F::kEntryBytes, F::kLevels >= 4 ? entry : (n << F::shift(2)) | kLarge);
    open_ = true;
  }
  u64 linear(u64 physical) const {
    const unsigned width = F::kLevels == 5 ? 57 : 48;
    const u64 base = F::kLevels >= 4 ? sign_extend(kIndex << F::shift(F::kLevels), width)
                                     : (kIndex << F::shift(2)) + (F::kEntryBytes == 8 ? 0x40000000 : 0);
    return base + physical;
  }

  bool has(PhysAddr a) const override { return memory_.has(a); }
  bool read(PhysAddr a, std::span<u8> to) const override { return memory_.read(a, to); }
  bool write(PhysAddr a, std::span<const u8> from) override {
    if (!memory_.has(a)) return false;
    if (mode_of(port_.paging()) == PagingMode::off) return memory_.write(a, from);
    if (!open_) open();
    const auto store = [&]<class T>(T v) {
      std::memcpy(&v, from.data(), sizeof v);
      if (const auto r = port_.store_system(LinearAddr(linear(a.value)), v); !r)
        throw std::logic_error("the window of stores is shut: error code " + std::to_string(r.fault().error));
    };
    from.size() == 8 ? store(u64{}) : store(u32{});
    return true;
  }
  void clear(PhysAddr, u64) override { throw std::logic_error("not a guest's way"); }
  bool install_rom(PhysAddr, std::span<const u8>) override { throw std::logic_error("not a guest's way"); }

 private:
  static constexpr u64 kLarge = 0xe3;  ///< P, R/W, A, D, PS
  /// Of the window in a root; PAE: in the page directory of the second gigabyte.
  static constexpr u64 kIndex = F::kLevels >= 4 ? 0x1a0 : F::kEntryBytes == 8 ? 0x100 : 0x300;
  u64 link(unsigned n) const { return (tables_ + n * kPageBytes) | 0x23; }
  void put(u64 at, u64 v) { memory_.write(PhysAddr(at), {reinterpret_cast<const u8*>(&v), F::kEntryBytes}); }

  PhysicalMemory& memory_;
  Port& port_;
  std::vector<u64> roots_;
  u64 tables_;
  bool open_ = false;
};

}  // namespace nestwalk::test
