#include "mmu/guest.h"

namespace nestwalk::mmu {
namespace {
struct Row {
  const char* name;
  const char* text;
};
constexpr Row kRows[kExits] = {
    {"interrupt", "interrupts for the host and ends of time slices"},
    {"hlt", "HLT"},
    {"cpuid", "CPUID"},
    {"io", "IN and OUT"},
    {"msr", "RDMSR and WRMSR of intercepted registers"},
    {"mmio", "accesses to device registers"},
    {"violation", "EPT violations or nested page faults: guest-physical memory not mapped, or not so"},
    {"misconfiguration", "EPT misconfigurations"},
    {"cr_access", "moves to control registers that the hypervisor must follow"},
    {"invlpg", "INVLPG and INVPCID that the hypervisor must follow"},
    {"true_fault", "page faults that the guest's own tables demand"},
    {"hidden_fault", "page faults that only the shadow tables caused"},
    {"table_write", "stores to traced pages of guest tables"},
};
}  // namespace

const char* name_of(Exit e) { return kRows[static_cast<unsigned>(e)].name; }
const char* describe(Exit e) { return kRows[static_cast<unsigned>(e)].text; }

}  // namespace nestwalk::mmu
