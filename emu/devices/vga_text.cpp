// Text mode 3 of a VGA (IBM PS/2 and PC Display Adapter technical reference, 1987; register names are IBM's). The beam is
// computed from guest time when input status register 1 is read: a 28.322 MHz dot clock, 900 dots a line, 449 lines.
#include "emu/devices/vga_text.h"

#include <algorithm>

namespace nestwalk::emu {
namespace {

namespace port {  // offsets from 0x3c0
inline constexpr u64 attribute = 0x00, attribute_read = 0x01, misc_write = 0x02, sequencer_index = 0x04,
                     sequencer_data = 0x05, dac_mask = 0x06, dac_read_index = 0x07, dac_write_index = 0x08, dac_data = 0x09,
                     feature_read = 0x0a, misc_read = 0x0c, graphics_index = 0x0e, graphics_data = 0x0f, crtc_index = 0x14,
                     crtc_data = 0x15, input_status_1 = 0x1a;
}
namespace crtc {
inline constexpr unsigned start_high = 0x0c, start_low = 0x0d, retrace_end = 0x11, offset = 0x13, registers = 0x19;
inline constexpr u8 protect = 0x80;         ///< of retrace_end: registers 0 to 7 keep their values
inline constexpr u8 line_compare_8 = 0x10;  ///< of the overflow register, 7, which stays writable
}  // namespace crtc
inline constexpr unsigned kAttributeRegisters = 0x15, kGraphicsRegisters = 9, kSequencerRegisters = 5;

// Mode 3 with 9 by 16 characters, as the IBM video BIOS programs it.
inline constexpr u8 kCrtcMode3[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                                    0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
inline constexpr u8 kAttributeMode3[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                                         0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
inline constexpr u8 kGraphicsMode3[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff};
inline constexpr u8 kSequencerMode3[] = {0x03, 0x00, 0x03, 0x00, 0x02};
inline constexpr u8 kMiscMode3 = 0x67;  // CRTC at 0x3d4, memory on, 28 MHz

inline constexpr u64 kDotHz = 28'322'000;
inline constexpr u64 kDotsPerLine = 900, kShownDots = 720, kLines = 449, kShownLines = 400;
inline constexpr u64 kRetraceFirst = 412, kRetraceLast = 413;  // registers 0x10 and 0x11 above

// Code page 437 outside ASCII, as UTF-16 code units; 0 is shown as a blank.
constexpr char16_t kLow[] =
    u" \u263a\u263b\u2665\u2666\u2663\u2660\u2022\u25d8\u25cb\u25d9\u2642\u2640\u266a\u266b\u263c"
    u"\u25ba\u25c4\u2195\u203c\u00b6\u00a7\u25ac\u21a8\u2191\u2193\u2192\u2190\u221f\u2194\u25b2\u25bc";
constexpr char16_t kHigh[] =
    u"\u2302"
    u"\u00c7\u00fc\u00e9\u00e2\u00e4\u00e0\u00e5\u00e7\u00ea\u00eb\u00e8\u00ef\u00ee\u00ec\u00c4\u00c5"
    u"\u00c9\u00e6\u00c6\u00f4\u00f6\u00f2\u00fb\u00f9\u00ff\u00d6\u00dc\u00a2\u00a3\u00a5\u20a7\u0192"
    u"\u00e1\u00ed\u00f3\u00fa\u00f1\u00d1\u00aa\u00ba\u00bf\u2310\u00ac\u00bd\u00bc\u00a1\u00ab\u00bb"
    u"\u2591\u2592\u2593\u2502\u2524\u2561\u2562\u2556\u2555\u2563\u2551\u2557\u255d\u255c\u255b\u2510"
    u"\u2514\u2534\u252c\u251c\u2500\u253c\u255e\u255f\u255a\u2554\u2569\u2566\u2560\u2550\u256c\u2567"
    u"\u2568\u2564\u2565\u2559\u2558\u2552\u2553\u256b\u256a\u2518\u250c\u2588\u2584\u258c\u2590\u2580"
    u"\u03b1\u00df\u0393\u03c0\u03a3\u03c3\u00b5\u03c4\u03a6\u0398\u03a9\u03b4\u221e\u03c6\u03b5\u2229"
    u"\u2261\u00b1\u2265\u2264\u2320\u2321\u00f7\u2248\u00b0\u2219\u00b7\u221a\u207f\u00b2\u25a0 ";
static_assert(sizeof kLow / sizeof *kLow == 0x20 + 1 && sizeof kHigh / sizeof *kHigh == 0x100 - 0x7f + 1);

void append_utf8(std::string& text, u8 code) {
  const unsigned c = code < 0x20 ? kLow[code] : code < 0x7f ? code : kHigh[code - 0x7f];
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
  } else {
    text += {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
             static_cast<char>(0x80 | (c & 0x3f))};
  }
}

template <std::size_t N, std::size_t M>
void load(std::array<u8, N>& registers, const u8 (&values)[M]) {
  static_assert(M <= N);
  registers.fill(0);
  std::copy(values, values + M, registers.begin());
}

}  // namespace

VgaText::VgaText(const sim::Clock& clock) : clock_(clock) { VgaText::reset(); }

void VgaText::reset() {
  load(crtc_, kCrtcMode3);
  load(attribute_, kAttributeMode3);
  load(graphics_, kGraphicsMode3);
  load(sequencer_, kSequencerMode3);
  palette_.fill(0);
  crtc_index_ = graphics_index_ = sequencer_index_ = feature_ = 0;
  attribute_index_ = 0x20;  // the screen is on
  misc_output_ = kMiscMode3;
  dac_mask_ = 0xff;
  dac_read_ = dac_write_ = 0;
  dac_reading_ = attribute_data_ = false;
  for (std::size_t i = 0; i < cells_.size(); i += 2) {
    cells_[i] = ' ';
    cells_[i + 1] = 0x07;
  }
}

// ---- the screen --------------------------------------------------------------------------------------------------------

std::string VgaText::text() const {
  constexpr std::size_t cells = kWindowBytes / 2;
  const std::size_t start = static_cast<std::size_t>(crtc_[crtc::start_high] << 8 | crtc_[crtc::start_low]);
  const std::size_t pitch = crtc_[crtc::offset] * std::size_t{2};
  std::string text;
  for (std::size_t row = 0; row < kRows; ++row) {
    const auto code = [&](std::size_t column) { return cells_[(start + row * pitch + column) % cells * 2]; };
    std::size_t end = kColumns;
    while (end > 0 && (code(end - 1) == ' ' || code(end - 1) == 0 || code(end - 1) == 0xff)) --end;
    for (std::size_t column = 0; column < end; ++column) append_utf8(text, code(column));
    text += '\n';
  }
  return text;
}

u64 VgaText::read_memory(u64 offset, unsigned bytes) {
  u64 value = 0;
  for (unsigned i = 0; i < bytes; ++i)
    value |= u64{answers_at_b8000() ? cells_[(offset + i) % kWindowBytes] : u8{0xff}} << (8 * i);
  return value;
}

void VgaText::write_memory(u64 offset, u64 value, unsigned bytes) {
  if (!answers_at_b8000()) return;  // a font is being loaded through 0xa0000
  // Odd and even bytes lie in planes 1 and 0, and the map mask says which of them are written.
  for (unsigned i = 0; i < bytes; ++i)
    if (sequencer_[2] >> ((offset + i) & 1) & 1) cells_[(offset + i) % kWindowBytes] = static_cast<u8>(value >> (8 * i));
}

// ---- registers ---------------------------------------------------------------------------------------------------------

u8 VgaText::input_status_1() {
  attribute_data_ = false;
  const u64 dot = clock_.to_hz(clock_.now(), kDotHz) % (kDotsPerLine * kLines);
  const u64 line = dot / kDotsPerLine;
  const bool shown = line < kShownLines && dot % kDotsPerLine < kShownDots;
  const bool retrace = line >= kRetraceFirst && line <= kRetraceLast;
  return static_cast<u8>(u8{!shown} | u8{retrace} << 3);
}

u64 VgaText::read(u64 offset, unsigned) {
  switch (offset) {
    case port::attribute: return attribute_index_;
    case port::attribute_read: return attribute_[attribute_index_ & 0x1f];
    case port::misc_write: return 0x10;  // input status register 0: a colour monitor answers
    case port::sequencer_index: return sequencer_index_;
    case port::sequencer_data: return sequencer_[sequencer_index_];
    case port::dac_mask: return dac_mask_;
    case port::dac_read_index: return dac_reading_ ? 3 : 0;  // the DAC's state
    case port::dac_write_index: return dac_write_ / 3;
    case port::dac_data: return read_dac();
    case port::feature_read: return feature_;
    case port::misc_read: return misc_output_;
    case port::graphics_index: return graphics_index_;
    case port::graphics_data: return graphics_[graphics_index_];
    case port::crtc_index: return crtc_index_;
    case port::crtc_data: return crtc_[crtc_index_];
    case port::input_status_1: return input_status_1();
    default: return 0xff;
  }
}

u8 VgaText::read_dac() {
  const u8 value = palette_[dac_read_];
  dac_read_ = (dac_read_ + 1) % static_cast<unsigned>(palette_.size());
  return value;
}

void VgaText::write_dac(u8 value) {
  palette_[dac_write_] = value & 0x3f;
  dac_write_ = (dac_write_ + 1) % static_cast<unsigned>(palette_.size());
}

void VgaText::write_attribute(u8 value) {
  if (!attribute_data_)
    attribute_index_ = value & 0x3f;
  else if (const unsigned index = attribute_index_ & 0x1f; index < kAttributeRegisters)
    attribute_[index] = value;
  attribute_data_ = !attribute_data_;
}

void VgaText::write_crtc(u8 value) {
  if (crtc_index_ >= crtc::registers) return;
  u8& r = crtc_[crtc_index_];
  if (crtc_index_ > 7 || !(crtc_[crtc::retrace_end] & crtc::protect))
    r = value;
  else if (crtc_index_ == 7)
    r = static_cast<u8>((r & ~crtc::line_compare_8) | (value & crtc::line_compare_8));
}

void VgaText::write(u64 offset, u64 value64, unsigned) {
  const u8 value = static_cast<u8>(value64);
  switch (offset) {
    case port::attribute: write_attribute(value); break;
    case port::misc_write: misc_output_ = value; break;
    case port::sequencer_index: sequencer_index_ = value & 7; break;
    case port::sequencer_data:
      if (sequencer_index_ < kSequencerRegisters) sequencer_[sequencer_index_] = value;
      break;
    case port::dac_mask: dac_mask_ = value; break;
    case port::dac_read_index:
      dac_read_ = value * 3u;
      dac_reading_ = true;
      break;
    case port::dac_write_index:
      dac_write_ = value * 3u;
      dac_reading_ = false;
      break;
    case port::dac_data: write_dac(value); break;
    case port::graphics_index: graphics_index_ = value & 0x0f; break;
    case port::graphics_data:
      if (graphics_index_ < kGraphicsRegisters) graphics_[graphics_index_] = value;
      break;
    case port::crtc_index: crtc_index_ = value & 0x1f; break;
    case port::crtc_data: write_crtc(value); break;
    case port::input_status_1: feature_ = value; break;  // writing there is the feature control register
    default: break;
  }
}

}  // namespace nestwalk::emu
