// Segment and gate descriptors as they lie in memory (SDM vol. 3, 3.4.5, 3.5, 5.8.3, 6.11, 6.14.1, 7.2), how they are read
// and marked, and the pieces that every control transfer between segments is made of.
#pragma once

#include <optional>

#include "cpu/cpu.h"

namespace nestwalk::cpu {

/// Types of system descriptors (SDM vol. 3, table 3-2). In IA-32e mode `tss` and `call` are the 64-bit ones, 16 bytes long.
namespace sys {
inline constexpr u8 tss16 = 1, ldt = 2, tss16_busy = 3, call16 = 4, task_gate = 5, interrupt16 = 6, trap16 = 7, tss = 9,
                    tss_busy = 11, call = 12, interrupt = 14, trap = 15;
}

struct Descriptor {
  u64 low = 0;
  u64 high = 0;  ///< second half of a 16-byte system descriptor

  u64 base() const { return bits(low, 39, 16) | bits(low, 63, 56) << 24 | (high & 0xffffffff) << 32; }
  /// In bytes, granularity applied.
  u32 limit() const {
    const u32 raw = static_cast<u32>(bits(low, 15, 0) | bits(low, 51, 48) << 16);
    return g() ? raw << 12 | 0xfff : raw;
  }
  u8 type() const { return static_cast<u8>(bits(low, 43, 40)); }
  bool s() const { return low & bit(44); }
  u8 dpl() const { return static_cast<u8>(bits(low, 46, 45)); }
  bool present() const { return low & bit(47); }
  bool avl() const { return low & bit(52); }
  bool l() const { return low & bit(53); }
  bool db() const { return low & bit(54); }
  bool g() const { return low & bit(55); }

  bool is_code() const { return s() && (type() & 8); }
  bool conforming() const { return type() & 4; }
  bool readable() const { return s() && (!(type() & 8) || (type() & 2)); }
  bool writable() const { return s() && (type() & 10) == 2; }
  bool is_system(u8 t) const { return !s() && type() == t; }

  // Gates.
  u16 gate_selector() const { return static_cast<u16>(bits(low, 31, 16)); }
  u16 gate_offset16() const { return static_cast<u16>(low); }
  u32 gate_offset32() const { return static_cast<u32>(bits(low, 15, 0) | bits(low, 63, 48) << 16); }
  u64 gate_offset64() const { return gate_offset32() | (high & 0xffffffff) << 32; }
  unsigned gate_parameters() const { return bits(low, 36, 32); }
  unsigned gate_ist() const { return bits(low, 34, 32); }

  /// The hidden part of a segment register that is loaded with `selector`.
  Segment segment(u16 selector) const;
};

/// A selector without its RPL, as error codes report it.
constexpr u32 error_of(u16 selector) { return selector & 0xfffcu; }
constexpr bool is_null(u16 selector) { return (selector & 0xfffc) == 0; }
constexpr u8 rpl_of(u16 selector) { return selector & 3; }

/// A descriptor and where it came from.
struct Entry {
  u16 selector = 0;
  u64 address = 0;
  Descriptor d;
};

/// The GDT's or LDT's entry, or nothing when the selector is null or beyond the table. Page faults are raised. System
/// descriptors of IA-32e mode are read in full.
std::optional<Entry> find_entry(Cpu&, u16 selector);
/// The same, raising `vector` with the selector when there is none (with zero when it is null).
Entry read_entry(Cpu&, u16 selector, u8 vector);
/// Sets the accessed bit in memory if it is clear, and in `e`.
void mark_accessed(Cpu&, Entry& e);
/// Sets or clears the busy bit of a TSS descriptor in memory.
void mark_busy(Cpu&, const Entry& e, bool busy);

/// SS for privilege `level`: #GP or #TS (`vector`) on a bad descriptor, #SS when it is not present.
Entry read_stack_entry(Cpu&, u16 selector, u8 level, u8 vector);
void set_stack(Cpu&, Entry& e);
/// SS as a change of privilege leaves it in 64-bit mode: null, with RPL = `level`.
void set_null_stack(Cpu&, u8 level);
/// Flat segments as SYSCALL, SYSENTER and their returns make them.
Segment flat_code(u16 selector, u8 level, bool wide);
Segment flat_data(u16 selector, u8 level);

/// #GP(0) unless `offset` lies in the code segment `d` (canonical in 64-bit code).
void check_target(Cpu&, const Descriptor& d, u64 offset);
/// Loads CS with RPL = CPL = `level`.
void set_code(Cpu&, Entry& e, u8 level);
/// After a return to an outer level: data segments that it may not see become null.
void drop_inner_segments(Cpu&);
/// Segment registers as real and virtual-8086 mode load them.
void set_8086_segment(Cpu&, Seg, u16 selector);

/// Pushes at the present stack, `width` 2, 4 or 8 bytes.
void push_width(Cpu&, u64 value, unsigned width);
constexpr u64 truncated(u64 v, unsigned width) {
  return width == 8 ? v : width == 4 ? static_cast<u32>(v) : static_cast<u16>(v);
}

/// The stack for privilege `level` from the present TSS: #TS when the TSS is too short.
struct StackPointer {
  u16 ss = 0;
  u64 sp = 0;
};
StackPointer stack_from_tss(Cpu&, u8 level);
/// RSP0..RSP2 (`slot` 0..2) or IST1..IST7 (`slot` 4..10) of the 64-bit TSS.
u64 stack_from_tss64(Cpu&, unsigned slot);

enum class TaskSwitch : u8 { jump, call, iret, gate };
/// A hardware task switch (SDM vol. 3, 7.3). Faults before the commit point are raised and nothing has changed; one after
/// it happens in the new task and is returned, to be delivered there. `error`: the code to push for an exception.
[[nodiscard]] std::optional<Trap> switch_task(Cpu&, u16 selector, TaskSwitch why, const u32* error = nullptr);
/// IRET with NT set.
[[nodiscard]] std::optional<Trap> return_from_task(Cpu&);

/// Puts registers back as they were unless told that the transfer succeeded.
class Rollback {
 public:
  explicit Rollback(Cpu& cpu);
  ~Rollback();
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  void commit() { armed_ = false; }

 private:
  Cpu& cpu_;
  bool armed_ = true;
  std::array<Segment, kSegs> seg_;
  u64 rsp_, rip_, rflags_;
  u8 cpl_;
};

}  // namespace nestwalk::cpu
