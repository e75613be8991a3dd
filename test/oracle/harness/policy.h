// What the oracle does not compare, and between whom. Why is said once, in the table of cpu/undefined.h, whose rows the
// lines here name; docs/isa-policy.md shows both. A difference that no line explains is a failure, and so is a line whose
// Op or row does not exist.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "test/oracle/harness/case.h"

namespace nestwalk::oracle {

/// The sides that cases are compared with.
enum Rung : u8 {
  kHost = 1,
  kKvm = 2,
  kUnicorn = 4,
  kQemu = 8,
  kBochs = 16,
  kEveryRung = 31,  ///< that is another implementation
  kImage = 32       ///< Nestwalk itself, booted from an image
};

/// Parts of an outcome.
enum Part : u32 {
  kRax = 1,
  kRcx = 2,
  kRdx = 4,
  kDestination = 8,  ///< the first operand's register
  kMemoryPart = 16,
  kX87Part = 32,   ///< registers, tags, status and control word
  kX87Codes = 64,  ///< C0 to C3
  kX87Last = 128,  ///< the last bits of a transcendental result, and the flags that tell of its rounding
  kMxcsrPart = 256,
  kVectors = 512,
  kErrorCode = 1024,      ///< of an exception
  kFlagImage = 2048,      ///< AC, ID, NT, RF in RFLAGS
  kAddress = 4096,        ///< of a page fault
  kWhichFault = 8192,     ///< both sides fault, with different exceptions
  kAlignment = 16384,     ///< whether EFLAGS.AC makes an access of more than 8 bytes fault
  kReciprocal = 32768,    ///< vector elements within twice 1.5 * 2^-12
  kHighCounters = 65536,  ///< bits 63:32 of RCX, RSI, RDI under 32-bit addresses
  kSelectors = 1 << 17,
  kAnything = 1 << 18,     ///< nothing is compared
  kResume = 1 << 20,       ///< RF in an exception's frame
  kWriteBit = 1 << 21,     ///< W in a page fault's error code
  kX87Flags = 1 << 22,     ///< exception flags, summary and C1 in the status word, reserved bits of the control word
  kMmxExponent = 1 << 23,  ///< the upper 16 bits of MMX registers
  kTheirFault = 1 << 24,   ///< a page fault of theirs where we have none
  kC1 = 1 << 25,
  kStackPointer = 1 << 26,  ///< RSP and RBP
  kNans = 1 << 27,          ///< which NaN a vector element is
  kRefused = 1 << 28,       ///< an exception of theirs where we have none
  kEverything = 1u << 31,   ///< the Op is not run against this side at all
};

/// Which cases a line is about.
enum class When : u8 {
  always,
  fault,        ///< we raise an exception
  no_trap,      ///< we raise #AC, #XM or #MF, or #GP for a misaligned operand of a legacy vector instruction
  lock,         ///< we raise #UD, and the encoding has a LOCK prefix
  undefined,    ///< we raise #UD
  protection,   ///< we raise #GP
  narrow,       ///< in 32-bit mode
  segment,      ///< we raise #GP or #SS in 32-bit mode
  wide,         ///< the operand size is 64 bits
  absolute,     ///< the operand is addressed without a register of the instruction's: RIP-relative or a displacement
  denormals,    ///< MXCSR.DAZ or FTZ is set
  loose_x87,    ///< an x87 exception is unmasked, a register is empty, or an operand or result is invalid
  rep_fault,    ///< a repeated string instruction faults
  no_count,     ///< a repeated string instruction with 32-bit addresses in 64-bit mode and ECX = 0
  numeric,      ///< we raise #XM
  rex_segment,  ///< REX.R with a segment register
  cpu_number,   ///< our result is the limit of Linux's descriptor that tells of the processor's number
  vsyscall,     ///< we raise #PF in the page at the end of memory where Linux once had its system calls
  own_page,     ///< the page that snippets leave to is read, or entered elsewhere than at its beginning
};

struct PolicyLine {
  const char* row;  ///< of the table in cpu/undefined.h, which says why
  const char* ops;  ///< names of the instruction table with blanks between; "*" every Op
  unsigned rungs;
  u64 flags = 0;  ///< bits of RFLAGS that are not compared
  unsigned parts = 0;
  When when = When::always;
};
std::span<const PolicyLine> policy();

/// What does not count for one Op on one rung.
struct Ignored {
  u64 flags = 0;
  unsigned parts = 0;
  bool either_fault = false, alignment = false, anything = false;
  bool kernel_hidden = false;  ///< Linux stands between
  bool may_die = false;        ///< Unicorn aborts now and then: such a case says nothing
  bool skipped() const { return parts & kEverything; }
};
Ignored ignored(const Case& c, Rung rung, const Outcome& ours);
/// Cases that would spoil what runs behind them, so that they are not run (cpu/undefined.h: qemu-mmx).
bool spoils(const Case& c, Rung rung);
/// The reason why an Op is not run against a side; nullptr when it is.
const char* exception_of(cpu::Op op, Rung rung);
/// Names in the lines that are no Op, and rows that the table does not have.
std::vector<std::string> unknown_names();
/// Whom a line is about: "host, KVM".
std::string names_of(unsigned rungs);
/// docs/isa-policy.md: the table, with what the oracle leaves out for each row.
std::string whole_policy_page();

}  // namespace nestwalk::oracle
