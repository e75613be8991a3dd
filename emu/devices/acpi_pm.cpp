#include "emu/devices/acpi_pm.h"

#include <utility>

#include "base/bits.h"

namespace nestwalk::emu {
namespace {

constexpr u16 kTimerStatus = 1 << 0, kPowerButton = 1 << 8, kWake = 1 << 15;
constexpr u16 kStatusBits = 0x8f31, kEnableBits = 0x0721;  // timer, bus master, global, buttons, RTC, wake
constexpr u16 kSciEnable = 1 << 0, kControlBits = 0x1c06;  // SLP_TYP, GBL_RLS, BM_RLD
constexpr u16 kSleepEnable = 1 << 13;

u64 bytes_of_word(u16 word, u64 offset) { return offset & 1 ? word >> 8 : word & 0xff; }
u16 with_byte(u16 word, u64 offset, u8 value) {
  return static_cast<u16>(offset & 1 ? (word & 0x00ff) | value << 8 : (word & 0xff00) | value);
}

}  // namespace

AcpiPm::AcpiPm(sim::Clock& clock, IrqLines& lines, Options options, std::function<void()> power_off,
               std::function<void()> reset)
    : clock_(clock),
      lines_(lines),
      options_(options),
      power_off_(std::move(power_off)),
      reset_machine_(std::move(reset)),
      alarm_(clock, [this] { update(); }),
      control_(options.enabled ? kSciEnable : 0) {}

void AcpiPm::reset() {
  status_ = enable_ = gpe_status_ = gpe_enable_ = 0;
  control_ = options_.enabled ? kSciEnable : 0;
  halves_seen_ = timer() >> top_bit();
  smi_[0] = smi_[1] = reset_control_ = 0;
  update();
}

void AcpiPm::press_power_button() {
  status_ |= kPowerButton;
  update();
}

void AcpiPm::raise_gpe(unsigned event) {
  if (event < 16) gpe_status_ |= static_cast<u16>(1u << event);
  update();
}

/// TMR_STS, the SCI, and the next change of the timer's top bit if somebody wants to hear of it.
void AcpiPm::update() {
  const u64 halves = timer() >> top_bit();
  if (halves != halves_seen_) status_ |= kTimerStatus;
  halves_seen_ = halves;
  const bool wanted = (enable_ & kTimerStatus) && (control_ & kSciEnable);
  alarm_.set(wanted ? clock_.from_hz((halves + 1) << top_bit(), kTimerHz) : kNever);
  lines_.set(options_.sci, (control_ & kSciEnable) && ((status_ & enable_) || (gpe_status_ & gpe_enable_)));
}

u8 AcpiPm::read_byte(u64 offset) {
  switch (offset & ~u64{1}) {
    case 0: return static_cast<u8>(bytes_of_word(status_, offset));
    case 2: return static_cast<u8>(bytes_of_word(enable_, offset));
    case kControl: return static_cast<u8>(bytes_of_word(control_, offset));
    default: return 0;
  }
}

u64 AcpiPm::read(u64 offset, unsigned bytes) {
  if (offset < 2) update();  // TMR_STS is up to date when read
  const u64 timer_value = timer() & low_mask(top_bit() + 1);
  u64 value = 0;
  for (unsigned i = 0; i < bytes; ++i) {
    const u64 at = offset + i;
    const u64 byte = at >= kTimer && at < kBlockBytes ? timer_value >> (8 * (at - kTimer)) & 0xff : read_byte(at);
    value |= byte << (8 * i);
  }
  return value;
}

void AcpiPm::write_byte(u64 offset, u8 value) {
  if (offset < 2) status_ &= static_cast<u16>(~(with_byte(0, offset, value) & kStatusBits));  // ones clear
  if ((offset & ~u64{1}) == 2) enable_ = with_byte(enable_, offset, value) & kEnableBits;
  if ((offset & ~u64{1}) == kControl) write_control(with_byte(control_, offset, value));
}

void AcpiPm::write(u64 offset, u64 value, unsigned bytes) {
  update();
  if (offset == kControl && bytes >= 2)
    write_control(static_cast<u16>(value));  // SLP_TYP and SLP_EN belong together
  else
    for (unsigned i = 0; i < bytes; ++i) write_byte(offset + i, static_cast<u8>(value >> (8 * i)));
  update();
}

/// SCI_EN is changed through the SMI command port only; SLP_EN reads as zero.
void AcpiPm::write_control(u16 value) {
  control_ = static_cast<u16>((value & kControlBits) | (control_ & kSciEnable));
  if (!(value & kSleepEnable)) return;
  if (bits(value, 12, 10) == options_.s5_type) {
    if (power_off_) power_off_();
  } else {
    status_ |= kWake;  // no other sleep exists: the machine is awake again at once
  }
}

u64 AcpiPm::read_gpe(u64 offset, unsigned bytes) {
  const u32 block = u32{gpe_enable_} << 16 | gpe_status_;
  return offset < kGpeBytes ? u64{block} >> (8 * offset) : 0;
}

void AcpiPm::write_gpe(u64 offset, u64 value, unsigned bytes) {
  for (unsigned i = 0; i < bytes && offset + i < kGpeBytes; ++i) {
    const u64 at = offset + i;
    const u8 v = static_cast<u8>(value >> (8 * i));
    if (at < 2)
      gpe_status_ &= static_cast<u16>(~with_byte(0, at, v));
    else
      gpe_enable_ = with_byte(gpe_enable_, at, v);
  }
  update();
}

u64 AcpiPm::read_smi(u64 offset, unsigned) { return smi_[offset & 1]; }

void AcpiPm::write_smi(u64 offset, u64 value, unsigned) {
  const u8 v = static_cast<u8>(value);
  smi_[offset & 1] = v;
  if (offset & 1) return;
  if (v == kEnableCommand) control_ |= kSciEnable;
  if (v == kDisableCommand) control_ &= static_cast<u16>(~kSciEnable);
  update();
}

/// Bit 2 rising resets; bit 1 chooses between a hard and a soft reset, which are one here.
void AcpiPm::write_reset(u64, u64 value, unsigned) {
  const u8 old = std::exchange(reset_control_, static_cast<u8>(value & 0x0e));
  if ((value & 4) && !(old & 4) && reset_machine_) reset_machine_();
}

}  // namespace nestwalk::emu
