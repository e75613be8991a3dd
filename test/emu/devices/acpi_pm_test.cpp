// ACPI fixed hardware: power off, the PM timer, the SCI, turning ACPI on, reset.
#include "emu/devices/acpi_pm.h"

#include "test/catch.h"
#include "test/emu/devices/bench.h"

using namespace nestwalk;
using namespace nestwalk::emu;

namespace {

struct Chip {
  sim::Clock clock;
  bench::Lines lines;
  unsigned offs = 0, resets = 0;
  AcpiPm pm;
  explicit Chip(AcpiPm::Options o = {})
      : pm(
            clock, lines, o, [this] { ++offs; }, [this] { ++resets; }) {}
  u64 get(u64 at, unsigned n = 2) { return pm.read(at, n); }
  void set(u64 at, u64 v, unsigned n = 2) { pm.write(at, v, n); }
};
constexpr u64 kStatus = 0, kEnable = 2, kControl = 4, kTimer = 8;

}  // namespace

TEST_CASE("S5 powers off, with the type the tables name and no other") {
  Chip c({.s5_type = 5});
  c.set(kControl, 5 << 10);
  CHECK(c.offs == 0);
  c.set(kControl, 1 << 13 | 3 << 10);
  CHECK(c.offs == 0);
  CHECK((c.get(kStatus) & 0x8000) != 0);  // another sleep: awake again at once
  c.set(kControl, 1 << 13 | 5 << 10);
  CHECK(c.offs == 1);
  CHECK((c.get(kControl) & 1 << 13) == 0);
}

TEST_CASE("the well-known 0x2000 at port 0x604 powers off by default") {
  Chip c;
  c.set(kControl, 0x2000);
  CHECK(c.offs == 1);
}

TEST_CASE("the PM timer runs at 3.579545 MHz and wraps at 24 or 32 bits") {
  Chip narrow, wide({.wide_timer = true});
  bench::go_to(narrow.clock, bench::kSecond);
  CHECK(narrow.get(kTimer, 4) == 3'579'545);
  bench::go_to(narrow.clock, 5 * bench::kSecond);
  bench::go_to(wide.clock, 5 * bench::kSecond);
  CHECK(narrow.get(kTimer, 4) == 5 * 3'579'545 - (1 << 24));
  CHECK(wide.get(kTimer, 4) == 5 * 3'579'545);
}

TEST_CASE("the SMI command port turns ACPI on, and only it changes SCI_EN") {
  Chip c;
  CHECK((c.get(kControl) & 1) == 0);
  c.set(kControl, 1);
  CHECK((c.get(kControl) & 1) == 0);
  bench::out(c.pm.smi_command(), 0, 0xf1);
  CHECK((c.get(kControl) & 1) == 1);
  c.set(kControl, 0);
  CHECK((c.get(kControl) & 1) == 1);
  bench::out(c.pm.smi_command(), 0, 0xf0);
  CHECK((c.get(kControl) & 1) == 0);
}

TEST_CASE("the power button raises the SCI while enabled, until its status is cleared") {
  Chip c({.enabled = true});
  c.pm.press_power_button();
  CHECK_FALSE(c.lines.level[9]);
  c.set(kEnable, 1 << 8);
  CHECK(c.lines.level[9]);
  c.set(kStatus, 1 << 8);
  CHECK_FALSE(c.lines.level[9]);
  CHECK(c.get(kStatus) == 0);
}

TEST_CASE("TMR_STS is set when the timer's top bit changes") {
  Chip c({.enabled = true});
  c.set(kEnable, 1);
  const u64 when = c.clock.from_hz(1 << 23, 3'579'545);
  bench::go_to(c.clock, when - 1);
  CHECK_FALSE(c.lines.level[9]);
  bench::go_to(c.clock, when);
  CHECK(c.lines.level[9]);
  c.set(kStatus, 1);
  CHECK_FALSE(c.lines.level[9]);
  bench::go_to(c.clock, c.clock.from_hz(2 << 23, 3'579'545));
  CHECK(c.lines.level[9]);
}

TEST_CASE("TMR_STS is there for a guest that polls") {
  Chip c;
  bench::go_to(c.clock, 3 * bench::kSecond);
  CHECK_FALSE(c.clock.has_events());
  CHECK((c.get(kStatus) & 1) == 1);
}

TEST_CASE("a general-purpose event raises the SCI") {
  Chip c({.enabled = true});
  bench::out(c.pm.gpe(), 2, 0x10);
  c.pm.raise_gpe(4);
  CHECK(c.lines.level[9]);
  CHECK(bench::in(c.pm.gpe(), 0) == 0x10);
  bench::out(c.pm.gpe(), 0, 0x10);
  CHECK_FALSE(c.lines.level[9]);
}

TEST_CASE("the reset control register resets on the rise of its bit 2") {
  Chip c;
  bench::out(c.pm.reset_control(), 0, 0x02);
  CHECK(c.resets == 0);
  bench::out(c.pm.reset_control(), 0, 0x06);
  CHECK(c.resets == 1);
  CHECK(bench::in(c.pm.reset_control(), 0) == 0x06);
}
