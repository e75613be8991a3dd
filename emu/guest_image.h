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

  /// Keys guest.kernel, guest.initrd, guest.append, guest.format, guest.flat_address.
  void declare(sim::Section section);
};

}  // namespace nestwalk::emu
