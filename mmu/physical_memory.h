// Physical memory as a machine's loaders and devices see it: of a bare machine the installed memory itself (MachineMemory),
// of a virtual one whatever its hypervisor puts behind guest-physical addresses (vmm/).
#pragma once

#include <span>

#include "base/types.h"

namespace nestwalk::mmu {

class PhysicalMemory {
 public:
  virtual ~PhysicalMemory() = default;
  /// Whether there is memory at the address.
  virtual bool has(PhysAddr a) const = 0;
  /// Copies; false if any byte is not memory (nothing is then written). Decoded code is told of writes.
  virtual bool read(PhysAddr a, std::span<u8> to) const = 0;
  virtual bool write(PhysAddr a, std::span<const u8> from) = 0;
  /// Makes [a, a + bytes) zero without touching what is so already; all of it must be memory.
  virtual void clear(PhysAddr a, u64 bytes) = 0;
  /// Puts memory there that stores do not change, page aligned, or new contents into such memory; false where one part of
  /// it is memory already and another is not.
  virtual bool install_rom(PhysAddr a, std::span<const u8> bytes) = 0;
};

}  // namespace nestwalk::mmu
