// The pair of 8259A interrupt controllers of a PC, slave on the master's IR2 (Intel 8259A datasheet), and the edge/level
// control registers of the PIIX south bridges (Intel 82371AB datasheet, 4.1.4: ELCR1, ELCR2).
#pragma once

#include <functional>

#include "emu/device.h"
#include "emu/devices/window.h"

namespace nestwalk::emu {

class Pic8259 : public Device {
 public:
  /// `set_intr` hears of changes of the master's INT output.
  explicit Pic8259(std::function<void(bool)> set_intr);

  /// Line 0..15 (2 is the cascade and ignored). A request is latched by its edge and lasts while the line is high: one that
  /// has gone by the time of the acknowledge becomes the spurious IRQ7 or IRQ15, as the datasheet says.
  void set(unsigned line, bool level);
  bool intr() const { return intr_; }
  /// INTA: the vector.
  u8 acknowledge();

  Device& master() { return master_window_; }  ///< ports 0x20, 0x21
  Device& slave() { return slave_window_; }    ///< ports 0xa0, 0xa1
  Device& elcr() { return elcr_window_; }      ///< ports 0x4d0, 0x4d1

  /// Offsets 0, 1: master; 2, 3: slave; 4, 5: ELCR.
  u64 read(u64 offset, unsigned bytes) override;
  void write(u64 offset, u64 value, unsigned bytes) override;
  void reset() override;

 private:
  struct Chip {
    u8 irr = 0, isr = 0, imr = 0;
    u8 lines = 0;   ///< levels of the inputs
    u8 elcr = 0;    ///< inputs that are level triggered
    u8 base = 0;    ///< vector of IR0
    u8 lowest = 7;  ///< input of lowest priority
    u8 step = 0;    ///< ICW expected next at the odd port; 0: none, it is OCW1
    bool expects_icw4 = false, single = false;
    bool auto_eoi = false, rotate_auto = false;
    bool special_mask = false, nested = false;  ///< `nested`: special fully nested mode
    bool read_isr = false, poll = false;
    bool is_master = false;

    void set(unsigned line, bool level);
    int request() const;
    int take();
    void command(u8 value);
    void initialise(u8 icw1);
    void data(u8 value);
    void operation(u8 ocw2);
    void end(unsigned line) { isr = static_cast<u8>(isr & ~(1u << line)); }
    int serving() const;
  };

  u64 read_master(u64 offset, unsigned) { return read(offset & 1, 1); }
  void write_master(u64 offset, u64 value, unsigned) { write(offset & 1, value, 1); }
  u64 read_slave(u64 offset, unsigned) { return read(2 + (offset & 1), 1); }
  void write_slave(u64 offset, u64 value, unsigned) { write(2 + (offset & 1), value, 1); }
  u64 read_elcr(u64 offset, unsigned) { return read(4 + (offset & 1), 1); }
  void write_elcr(u64 offset, u64 value, unsigned) { write(4 + (offset & 1), value, 1); }
  void update(bool may_fall);

  std::function<void(bool)> set_intr_;
  Chip chip_[2];
  bool intr_ = false;
  Window<Pic8259> master_window_{*this, &Pic8259::read_master, &Pic8259::write_master};
  Window<Pic8259> slave_window_{*this, &Pic8259::read_slave, &Pic8259::write_slave};
  Window<Pic8259> elcr_window_{*this, &Pic8259::read_elcr, &Pic8259::write_elcr};
};

}  // namespace nestwalk::emu
