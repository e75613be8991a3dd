// QEMU's firmware configuration device (QEMU docs/specs/fw_cfg): a selector at port 0x510, a data byte at 0x511, and a DMA
// interface at 0x514, through which firmware and test kernels read items and named files. Items are read-only.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emu/device.h"
#include "emu/devices/window.h"
#include "mmu/physical_memory.h"

namespace nestwalk::emu {

class FwCfg : public Device {
 public:
  enum Key : u16 {
    signature = 0x00,
    id = 0x01,
    uuid = 0x02,
    ram_size = 0x03,
    nographic = 0x04,
    nb_cpus = 0x05,
    kernel_addr = 0x07,
    kernel_size = 0x08,
    kernel_cmdline = 0x09,
    initrd_addr = 0x0a,
    initrd_size = 0x0b,
    boot_device = 0x0c,
    numa = 0x0d,
    boot_menu = 0x0e,
    max_cpus = 0x0f,
    kernel_entry = 0x10,
    kernel_data = 0x11,
    initrd_data = 0x12,
    cmdline_addr = 0x13,
    cmdline_size = 0x14,
    cmdline_data = 0x15,
    setup_addr = 0x16,
    setup_size = 0x17,
    setup_data = 0x18,
    directory = 0x19,
    first_file = 0x20,
  };
  static constexpr std::size_t kNameBytes = 56;  ///< with the terminating zero

  explicit FwCfg(mmu::PhysicalMemory& memory);

  /// Replaces the item where there is one.
  void add_item(u16 key, std::vector<u8> bytes);
  void add_u16(u16 key, u16 value) { add_number(key, value, 2); }
  void add_u32(u16 key, u32 value) { add_number(key, value, 4); }
  void add_u64(u16 key, u64 value) { add_number(key, value, 8); }
  void add_string(u16 key, std::string_view text);  ///< with a terminating zero
  /// A named file, listed in the directory; replaces one of the same name. Throws sim::ConfigError for a name of 56 or more
  /// bytes, or when the 16 Ki keys are used up. Returns its key.
  u16 add_file(std::string_view name, std::vector<u8> bytes);

  /// Offsets 0, 1: ports 0x510 (selector, 16 bits) and 0x511 (data).
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;
  /// Eight bytes at port 0x514: big-endian address of a command structure; writing the low half starts it.
  Device& dma() { return dma_window_; }

 private:
  struct File {
    std::string name;
    u16 key;
  };
  void add_number(u16 key, u64 value, unsigned bytes);
  void build_directory();
  void select(u16 key);
  u8 next();
  u64 read_dma(u64 offset, unsigned bytes);
  void write_dma(u64 offset, u64 value, unsigned bytes);
  void run_dma(u64 at);
  bool copy_to(u64 address, u64 length);

  mmu::PhysicalMemory& memory_;
  std::map<u16, std::vector<u8>> items_;
  std::vector<File> files_;
  const std::vector<u8>* current_ = nullptr;  ///< nullptr: no such item, reads zero
  u64 offset_ = 0;
  u32 dma_high_ = 0;
  Window<FwCfg> dma_window_{*this, &FwCfg::read_dma, &FwCfg::write_dma};
};

}  // namespace nestwalk::emu
