// What a machine is asked to boot: files named by the configuration or the command line.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/settings.h"

namespace nestwalk::emu {

struct GuestImages {
  enum class Format : u8 { automatic, flat, rom };

  std::string kernel, initrd, append;
  Format format = Format::automatic;
  u64 flat_address = 0x7c00;

  /// Keys kernel, initrd, append, format and flat_address of guest or vm.NAME.
  void declare(sim::Section section);
  /// Throws sim::ConfigError where there is no kernel; `vm` is the virtual machine's name, empty for a bare machine.
  void demand_kernel(const std::string& vm) const;
};

}  // namespace nestwalk::emu
