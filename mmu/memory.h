// Machine memory as processor and walker see it: ranges of real bytes. Pages that hold decoded code are marked, so that
// every write to them, whoever makes it, is noticed.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "base/types.h"
#include "mmu/physical_memory.h"

namespace nestwalk::mmu {

/// What answers for (guest-)physical addresses that are not memory. `bytes` is 1, 2, 4 or 8.
class Bus {
 public:
  virtual ~Bus() = default;
  virtual u64 read(PhysAddr address, unsigned bytes) = 0;
  virtual void write(PhysAddr address, u64 value, unsigned bytes) = 0;
};

class Filter;

/// Told of writes to marked pages, after the bytes have changed.
class CodeListener {
 public:
  virtual ~CodeListener() = default;
  virtual void code_written(MachineAddr address, unsigned bytes) = 0;
};

class MachineMemory final : public PhysicalMemory {
 public:
  struct Range {
    u64 begin = 0, end = 0;  ///< machine addresses, page aligned
    u8* host = nullptr;      ///< byte `begin`
    bool writable = true;    ///< false: ROM; stores are dropped
  };

  /// `bytes` of anonymous memory mapped on demand, of which untouched pages cost nothing. Throws std::bad_alloc.
  MachineMemory();
  ~MachineMemory() override;
  MachineMemory(const MachineMemory&) = delete;
  MachineMemory& operator=(const MachineMemory&) = delete;

  /// Installs zeroed memory at [begin, begin + bytes), both page aligned, not overlapping. Throws sim::ConfigError-free
  /// std::runtime_error naming the size when the host has not so much.
  void install(MachineAddr begin, u64 bytes, bool writable = true);
  const std::vector<Range>& ranges() const { return ranges_; }
  u64 installed_bytes() const;

  /// Host address of a byte of memory, or nullptr where there is none. The whole page is contiguous behind it.
  u8* host(MachineAddr a) const {
    if (a.value - last_->begin < last_->end - last_->begin) return last_->host + (a.value - last_->begin);
    return find(a);
  }
  bool is_writable(MachineAddr a) const;
  /// Machine address of a host byte of memory (inverse of host()).
  MachineAddr machine_of(const u8* host) const;

  /// For devices and loaders: copies; false if any byte is not memory (nothing is then written). Marked pages are told.
  bool read(MachineAddr a, std::span<u8> to) const;
  bool write(MachineAddr a, std::span<const u8> from);
  template <class T>
  T peek(MachineAddr a) const {
    T v{};
    read(a, {reinterpret_cast<u8*>(&v), sizeof v});
    return v;
  }

  // PhysicalMemory of a bare machine, where physical addresses are machine addresses.
  bool has(PhysAddr a) const override { return host(MachineAddr(a.value)) != nullptr; }
  bool read(PhysAddr a, std::span<u8> to) const override { return read(MachineAddr(a.value), to); }
  bool write(PhysAddr a, std::span<const u8> from) override { return write(MachineAddr(a.value), from); }
  void clear(PhysAddr a, u64 bytes) override;
  bool install_rom(PhysAddr a, std::span<const u8> bytes) override;

  /// Pages that hold decoded code, of any of the listeners.
  bool holds_code(MachineAddr a) const;
  /// Each processor marks a page once, and takes its mark back. True: the page is code from now on, or no longer.
  bool mark_code(MachineAddr a, bool on);
  /// Where several processors reach the same pages: filters out of which all stores go when a page becomes code.
  void add_filter(Filter& f) { filters_.push_back(&f); }
  const std::vector<Filter*>& filters() const { return filters_; }
  void add_code_listener(CodeListener* l) { listeners_.push_back(l); }
  void remove_code_listener(CodeListener* l) { std::erase(listeners_, l); }
  void code_written(MachineAddr a, unsigned bytes) {
    for (CodeListener* l : listeners_) l->code_written(a, bytes);
  }

 private:
  u8* find(MachineAddr a) const;

  std::vector<Range> ranges_;
  std::vector<std::vector<u16>> code_;  ///< per range and page: processors that hold blocks of it
  mutable const Range* last_;
  std::vector<CodeListener*> listeners_;
  std::vector<Filter*> filters_;
};

}  // namespace nestwalk::mmu
