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
    {"walk_read", "reads of page-table entries (the guest's own)"},
    {"host_read", "reads of the hypervisor's page-table entries"},
    {"nested_tlb", "look-ups in TLBs of guest-physical addresses"},
    {"walk_update", "accessed and dirty bits written by the walker"},
    {"fetch", "instruction bytes from behind the first-level cache"},
    {"data", "data from behind the first-level cache"},
    {"flush", "invalidations the guest asked for"},
    {"mmio", "device registers"},
    {"exception", "delivery of exceptions and interrupts"},
    {"exit", "leaving a virtual machine and entering it again"},
    {"vmm", "the hypervisor serving exits and keeping shadow tables"},
    {"backing", "the hypervisor giving memory"},
    {"world", "switches between virtual machines"},
    {"away", "another virtual machine had the core"},
    {"idle", "halted, waiting for an event"},
};
}  // namespace

const char* name_of(Cause c) { return kRows[static_cast<unsigned>(c)].name; }
const char* describe(Cause c) { return kRows[static_cast<unsigned>(c)].text; }

}  // namespace nestwalk
