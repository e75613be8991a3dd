#include "emu/devices/pic8259.h"

#include <utility>

namespace nestwalk::emu {
namespace {

constexpr u8 kElcrWritable[2] = {0xf8, 0xde};  // IRQ 0, 1, 2, 8 and 13 are always edges

constexpr u8 mask_of(unsigned line) { return static_cast<u8>(1u << line); }

}  // namespace

Pic8259::Pic8259(std::function<void(bool)> set_intr) : set_intr_(std::move(set_intr)) { chip_[0].is_master = true; }

void Pic8259::reset() {
  for (Chip& c : chip_) {
    const bool is_master = c.is_master;
    c = Chip{};
    c.is_master = is_master;
  }
  update(true);
}

void Pic8259::Chip::set(unsigned line, bool level) {
  const u8 m = mask_of(line);
  if (level && ((elcr & m) || !(lines & m))) irr |= m;
  if (!level) irr &= static_cast<u8>(~m);
  lines = static_cast<u8>(level ? lines | m : lines & ~m);
}

/// The input to serve now, or -1: the unmasked request of highest priority that no service in progress outranks.
int Pic8259::Chip::request() const {
  const u8 wanted = irr & static_cast<u8>(~imr);
  const u8 blocking = special_mask ? isr & static_cast<u8>(~imr) : isr;
  for (unsigned i = 1; i <= 8; ++i) {
    const unsigned line = (lowest + i) & 7;
    const bool cascade = nested && is_master && line == 2;  // the slave may have something more urgent of its own
    if ((blocking & mask_of(line)) && !cascade) return -1;
    if (wanted & mask_of(line)) return static_cast<int>(line);
    if (blocking & mask_of(line)) return -1;
  }
  return -1;
}

/// Acknowledges the request: in service, or spurious (7, without a bit in ISR).
int Pic8259::Chip::take() {
  const int line = request();
  if (line < 0) return 7;
  const u8 m = mask_of(static_cast<unsigned>(line));
  if (!(elcr & m)) irr &= static_cast<u8>(~m);
  if (!auto_eoi)
    isr |= m;
  else if (rotate_auto)
    lowest = static_cast<u8>(line);
  return line;
}

int Pic8259::Chip::serving() const {
  for (unsigned i = 1; i <= 8; ++i) {
    const unsigned line = (lowest + i) & 7;
    const bool passed_over = special_mask && (imr & mask_of(line));  // non-specific EOI does not clear masked ISR bits
    if ((isr & mask_of(line)) && !passed_over) return static_cast<int>(line);
  }
  return -1;
}

void Pic8259::Chip::initialise(u8 icw1) {
  // The edge circuit is reset: a line that is high must fall and rise again; level inputs keep asking.
  irr = lines & elcr;
  isr = imr = 0;
  lowest = 7;
  special_mask = read_isr = poll = false;
  auto_eoi = rotate_auto = nested = false;
  expects_icw4 = icw1 & 1;
  single = icw1 & 2;
  step = 2;
}

void Pic8259::Chip::command(u8 v) {
  if (v & 0x10) return initialise(v);
  if (v & 0x08) {  // OCW3
    if (v & 0x40) special_mask = v & 0x20;
    poll = v & 0x04;
    if (v & 0x02) read_isr = v & 0x01;
    return;
  }
  operation(v);
}

void Pic8259::Chip::operation(u8 v) {
  const unsigned named = v & 7;
  const int current = serving();
  switch (v >> 5) {
    case 0: rotate_auto = false; break;
    case 4: rotate_auto = true; break;
    case 1:  // non-specific EOI
    case 5:  // and rotate
      if (current < 0) break;
      end(static_cast<unsigned>(current));
      if (v & 0x80) lowest = static_cast<u8>(current);
      break;
    case 3: end(named); break;
    case 7:
      end(named);
      lowest = static_cast<u8>(named);
      break;
    case 6: lowest = static_cast<u8>(named); break;
    default: break;  // 2: no operation
  }
}

void Pic8259::Chip::data(u8 v) {
  switch (step) {
    case 2:
      base = v & 0xf8;
      step = single ? (expects_icw4 ? 4 : 0) : 3;
      break;
    case 3: step = expects_icw4 ? 4 : 0; break;  // the cascade is soldered
    case 4:
      auto_eoi = v & 0x02;
      nested = v & 0x10;
      step = 0;
      break;
    default: imr = v; break;
  }
}

/// INT, once raised, waits for INTA or a command: a request that merely goes away leaves it up (and becomes spurious).
void Pic8259::update(bool may_fall) {
  const bool slave = chip_[1].request() >= 0;
  if (slave || may_fall) chip_[0].set(2, slave);
  const bool now = chip_[0].request() >= 0 || (intr_ && !may_fall);
  if (now == intr_) return;
  intr_ = now;
  if (set_intr_) set_intr_(now);
}

void Pic8259::set(unsigned line, bool level) {
  if (line > 15 || line == 2) return;
  chip_[line / 8].set(line & 7, level);
  update(false);
}

u8 Pic8259::acknowledge() {
  const int line = chip_[0].take();
  unsigned vector = chip_[0].base + static_cast<unsigned>(line);
  if (line == 2) {
    vector = chip_[1].base + static_cast<unsigned>(chip_[1].take());
    chip_[0].set(2, false);  // INT falls with INTA; what the slave still wants is a new edge
  }
  update(true);
  return static_cast<u8>(vector);
}

u64 Pic8259::read(u64 offset, unsigned bytes) {
  Chip& c = chip_[offset / 2 & 1];
  if (offset >= 4) return chip_[offset & 1].elcr;
  if (c.poll) {  // the read is the acknowledge
    c.poll = false;
    if (c.request() < 0) return 0;
    const int line = c.take();
    update(true);
    return 0x80u | static_cast<unsigned>(line);
  }
  if (offset & 1) return c.imr;
  return c.read_isr ? c.isr : c.irr;
}

void Pic8259::write(u64 offset, u64 value, unsigned bytes) {
  const u8 v = static_cast<u8>(value);
  if (offset >= 4) {
    Chip& c = chip_[offset & 1];
    c.elcr = v & kElcrWritable[offset & 1];
    c.irr |= c.lines & c.elcr;
  } else if (offset & 1) {
    chip_[offset / 2].data(v);
  } else {
    chip_[offset / 2].command(v);
  }
  update(true);
}

}  // namespace nestwalk::emu
