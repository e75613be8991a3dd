#include "base/bill.h"

namespace nestwalk {
namespace {
struct Row {
  const char* name;
  const char* text;
};
constexpr Row kRows[kCauses] = {
    {"instruction", "fixed cost of executed instructions, first-level hits included"},
    {"tlb", "TLB levels behind the first"},
    {"pwc", "page-walk cache look-ups"},
    {"walk_read", "reads of page-table entries"},
    {"walk_update", "accessed and dirty bits written by the walker"},
    {"fetch", "instruction bytes from behind the first-level cache"},
    {"data", "data from behind the first-level cache"},
    {"flush", "invalidations the guest asked for"},
    {"mmio", "device registers"},
    {"exception", "delivery of exceptions and interrupts"},
    {"idle", "halted, waiting for an event"},
};
}  // namespace

const char* name_of(Cause c) { return kRows[static_cast<unsigned>(c)].name; }
const char* describe(Cause c) { return kRows[static_cast<unsigned>(c)].text; }

}  // namespace nestwalk
