// Machine memory as processor, walker and devices see it: ranges of real bytes, and a bus for everything else. Pages that
// hold decoded code are marked, so that every write to them, whoever makes it, is noticed.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "base/types.h"

namespace nestwalk::mmu {

/// What answers for addresses that are not memory. `bytes` is 1, 2, 4 or 8.
class Bus {
 public:
  virtual ~Bus() = default;
  virtual u64 read(MachineAddr address, unsigned bytes) = 0;
  virtual void write(MachineAddr address, u64 value, unsigned bytes) = 0;
};

/// Told of writes to marked pages, after the bytes have changed.
class CodeListener {
 public:
  virtual ~CodeListener() = default;
  virtual void code_written(MachineAddr address, unsigned bytes) = 0;
};

class MachineMemory {
 public:
  struct Range {
    u64 begin = 0, end = 0;  ///< machine addresses, page aligned
    u8* host = nullptr;      ///< byte `begin`
    bool writable = true;    ///< false: ROM; stores are dropped
  };

  /// `bytes` of anonymous memory mapped on demand, of which untouched pages cost nothing. Throws std::bad_alloc.
  MachineMemory();
  ~MachineMemory();
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

  /// Pages that hold decoded code.
  bool holds_code(MachineAddr a) const;
  void mark_code(MachineAddr a, bool on);
  void set_code_listener(CodeListener* l) { listener_ = l; }
  void code_written(MachineAddr a, unsigned bytes) {
    if (listener_) listener_->code_written(a, bytes);
  }

  void set_bus(Bus* bus) { bus_ = bus; }
  Bus& bus() const { return *bus_; }

 private:
  u8* find(MachineAddr a) const;

  std::vector<Range> ranges_;
  std::vector<std::vector<u8>> code_;  ///< per range, a byte per page
  mutable const Range* last_;
  CodeListener* listener_ = nullptr;
  Bus* bus_ = nullptr;
};

}  // namespace nestwalk::mmu
