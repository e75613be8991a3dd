// A VGA as far as text mode 3 needs it: 32 KiB of character cells at 0xb8000, the registers at ports 0x3c0-0x3df, and the
// beam's position for those who wait for the retrace (IBM PS/2 and PC Display Adapter technical reference, 1987; FreeVGA
// project's register pages). Nothing is drawn: `text()` reads the screen as a person would. Graphics modes, planes 2 and 3
// (fonts) and the window at 0xa0000 are not there.
#pragma once

#include <array>
#include <string>

#include "emu/device.h"
#include "emu/devices/window.h"
#include "sim/clock.h"

namespace nestwalk::emu {

class VgaText : public Device {
 public:
  static constexpr u64 kWindowBase = 0xb8000, kWindowBytes = 0x8000;
  static constexpr u16 kFirstPort = 0x3c0, kLastPort = 0x3df;
  static constexpr unsigned kColumns = 80, kRows = 25;

  explicit VgaText(const sim::Clock& clock);

  /// Character cells, two bytes each: code, attribute.
  Device& memory() { return memory_; }
  /// The 25 rows of 80 columns that the CRT controller shows now, in UTF-8 (character codes are code page 437), each row
  /// ended by a newline and without the blanks before it. Always 25 lines.
  std::string text() const;

  /// Offsets 0..0x1f: ports 0x3c0..0x3df.
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  /// Registers as the video BIOS leaves them in mode 3, and an empty screen.
  void reset() override;

 private:
  u64 read_memory(u64 offset, unsigned bytes);
  void write_memory(u64 offset, u64 value, unsigned bytes);
  bool answers_at_b8000() const { return (graphics_[6] >> 2 & 3) == 3; }
  u8 input_status_1();
  u8 read_dac();
  void write_attribute(u8 value);
  void write_crtc(u8 value);
  void write_dac(u8 value);

  const sim::Clock& clock_;
  Window<VgaText> memory_{*this, &VgaText::read_memory, &VgaText::write_memory};
  std::array<u8, kWindowBytes> cells_{};
  std::array<u8, 0x20> crtc_{}, attribute_{};
  std::array<u8, 0x10> graphics_{};
  std::array<u8, 8> sequencer_{};
  std::array<u8, 0x300> palette_{};  ///< of the DAC: red, green, blue of 256 colours
  u8 crtc_index_ = 0, attribute_index_ = 0, graphics_index_ = 0, sequencer_index_ = 0;
  u8 misc_output_ = 0, feature_ = 0, dac_mask_ = 0;
  unsigned dac_read_ = 0, dac_write_ = 0;  ///< byte within the palette
  bool dac_reading_ = false;               ///< which of the two indices was written last
  bool attribute_data_ = false;            ///< the flip-flop of port 0x3c0: the next write is data
};

}  // namespace nestwalk::emu
