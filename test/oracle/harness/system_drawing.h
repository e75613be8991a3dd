// The hand that draws system cases: a world at its start, random choices, a small assembler for all of its modes, and one
// function for each family of cases.
#pragma once

#include <initializer_list>

#include "base/random.h"
#include "test/oracle/harness/system_draw.h"

namespace nestwalk::oracle {

class SystemDrawing {
 public:
  SystemDrawing(u64 seed, u64 number);
  /// What was drawn, with its text in place.
  DrawnSystem finish(const char* family) &&;

  World world = World::real;
  unsigned cpl = 0;
  SystemCase c;
  unsigned needs = 0;  ///< of Need

  bool wide() const { return world == World::long64; }
  bool small() const { return world == World::real || world == World::protected16; }
  bool paged() const { return world >= World::paged32; }
  bool wide_entries() const { return world >= World::pae32; }

  // ---- choices
  u64 next() { return random_.next(); }
  u64 below(u64 n) { return random_.below(n); }
  /// True once in n.
  bool once_in(u64 n) { return random_.below(n) == 0; }
  template <class T>
  T pick(std::initializer_list<T> all) {
    return all.begin()[below(all.size())];
  }
  /// A selector: most of entries that there are, with a likely RPL.
  u16 selector();
  /// A descriptor or gate of any kind.
  u64 entry();
  /// Random descriptors in the free part of the GDT and in the LDT, which may be loaded.
  void draw_tables();
  /// A number with zeros, ones, or random bits above.
  u64 number();

  // ---- places
  /// Data that this privilege level may use; small worlds address it from kDataAt on.
  u64 data() const { return small() ? kDataAt : kUserDataAt; }
  u64 stack() const { return (wide() ? 0 : c.state.seg[cpu::SS].base) + c.state.gpr[cpu::RSP]; }
  /// Words that POP finds, from the stack pointer up.
  void put_stack(std::initializer_list<u64> words, unsigned width);
  /// A far pointer's offset of the second end stub, and the selector that goes with it in worlds without descriptors.
  u64 second() const { return small() ? kSecondText : kTextAt + kSecondText; }
  /// Takes the stack pointer down, so that frames that are popped stay within its page.
  void lower_stack();
  u64 page_entry_at(u64 linear) const;

  // ---- text
  /// An instruction, by name and bytes.
  void op(const std::string& name, std::initializer_list<u8> bytes);
  /// With operands of 32 bits in every world.
  void op32(const std::string& name, std::initializer_list<u8> bytes);
  /// With operands of a size at random; returns it in bytes. In 64-bit mode 8 where `byte` has 64 bits without REX.W.
  unsigned sized(const std::string& name, std::initializer_list<u8> bytes, bool wide_by_itself = false);
  /// ModRM with `reg` for memory at a linear address, through DS.
  void memory(u8 reg, u64 linear);
  void immediate(u64 value, unsigned bytes);
  void prefix(u8 byte) { code_.push_back(byte); }
  void say(const std::string& what) { text_ += what; }
  u64 here() const { return kTextAt + code_.size(); }

 private:
  Random random_;
  std::vector<u8> code_;
  std::string text_;
};

// ---- families (system_draw_*.cpp)
void draw_segments(SystemDrawing& d);
void draw_selectors(SystemDrawing& d);
void draw_far(SystemDrawing& d);
void draw_tasks(SystemDrawing& d);
void draw_interrupts(SystemDrawing& d);
void draw_returns(SystemDrawing& d);
void draw_flags(SystemDrawing& d);
void draw_virtual_8086(SystemDrawing& d);
void draw_privileged(SystemDrawing& d);
void draw_debug(SystemDrawing& d);
void draw_registers(SystemDrawing& d);
void draw_model_specific(SystemDrawing& d);
void draw_system_calls(SystemDrawing& d);
void draw_table_registers(SystemDrawing& d);
void draw_ports(SystemDrawing& d);
void draw_pages(SystemDrawing& d);
void draw_strings(SystemDrawing& d);
void draw_stacks(SystemDrawing& d);

}  // namespace nestwalk::oracle
