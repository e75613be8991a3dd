// The policy of the oracle: what is not compared, between whom, and why. A difference that no line explains is a failure; a
// line whose Op does not exist is one too. docs/isa.md shows the table.
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
  kAddress = 4096,        ///< of a page fault
  kFlagImage = 2048,      ///< AC, ID, NT, RF in RFLAGS
  kWhichFault = 8192,     ///< both sides fault, with different exceptions
  kAlignment = 16384,     ///< whether EFLAGS.AC makes an access of more than 8 bytes fault
  kReciprocal = 32768,    ///< vector elements within twice 1.5 * 2^-12
  kHighCounters = 65536,  ///< bits 63:32 of RCX, RSI, RDI under 32-bit addresses
  kSelectors = 1 << 17,
  kFaults = 1 << 18,       ///< nothing at all where we fault
  kProbed = 1 << 19,       ///< a page fault of ours on a part that the other side does not touch
  kEverything = 1u << 31,  ///< the Op is not run against this side at all
};

struct PolicyLine {
  const char* ops;  ///< names of the table with blanks between; "*" every Op
  unsigned rungs;
  u64 flags;  ///< bits of RFLAGS that are not compared
  unsigned parts;
  enum When : u8 { always, on_fault } when;
  const char* reason;
};
std::span<const PolicyLine> policy();

/// What does not count for one Op on one rung.
struct Ignored {
  u64 flags = 0;
  unsigned parts = 0;
  bool either_fault = false, alignment = false;
  bool faults = false, probed = false;
  bool kernel_hidden = false;  ///< Linux stands between
  bool may_die = false;        ///< Unicorn aborts now and then: such a case says nothing
  bool skipped() const { return parts & kEverything; }
};
Ignored ignored(const Case& c, Rung rung, const Outcome& ours);
/// The reason why an Op is not run against a side; nullptr when it is.
const char* exception_of(cpu::Op op, Rung rung);
/// Names in the table that are no Op.
std::vector<std::string> unknown_names();

}  // namespace nestwalk::oracle
