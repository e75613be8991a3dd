// A tiny virtual machine for instructions of the system: one processor, some memory with descriptor tables, page tables, an
// end stub as handler of each exception, and nothing else. The same start state runs on Nestwalk and under KVM, where all
// registers, the hidden parts of segments and all of memory are compared when it halts (SDM vol. 3, chapters 3 to 7), and
// in images under other emulators (system_image.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpu/cpu.h"

namespace nestwalk::oracle {

inline constexpr u64 kSystemBytes = 0x50000;
/// Places in its memory.
inline constexpr u64 kGdtAt = 0x1000, kIdtAt = 0x2000, kLdtAt = 0x3000, kTssAt = 0x4000, kTss2At = 0x5000,
                     kHandlersAt = 0x6000, kWayAt = 0x8000, kPrivateAt = 0x9000, kTablesAt = 0x10000, kStack0At = 0x20000,
                     kStack3At = 0x22000, kIstAt = 0x24000, kTextAt = 0x30000, kDataAt = 0x40000, kUserDataAt = 0x42000;
inline constexpr unsigned kGdtEntries = 32;
/// End stubs: one for each exception, kStubBytes apart; one behind the text; one kSecondText into it, where far pointers
/// lead.
inline constexpr unsigned kStubBytes = 32, kTextEnd = 32, kSecondEnd = 33;
inline constexpr u64 kSecondText = 0x800;

/// Selectors of its GDT.
inline constexpr u16 kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1b, kData3 = 0x23, kTssSelector = 0x28, kLdtSelector = 0x38,
                     kWide0 = 0x48, kWide3 = 0x53, kTss2Selector = 0x58, kAbsent = 0x68, kGate = 0x70, kCode16 = 0x80,
                     kData16 = 0x88, kReadOnly = 0x90, kConforming = 0x98, kFree = 0xa0;

enum class World : u8 { real, protected16, protected32, paged32, pae32, long64 };
inline constexpr unsigned kWorlds = 6;
const char* name_of(World world);

struct SystemState {
  std::array<u64, 16> gpr{};
  u64 rip = 0, rflags = 2;
  u64 cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, efer = 0;
  std::array<cpu::Segment, cpu::kSegs> seg;
  cpu::Segment ldtr, tr;
  cpu::TableRegister gdtr, idtr;
  u64 dr0 = 0, dr1 = 0, dr6 = 0xffff0ff0, dr7 = 0x400;
  u64 kernel_gs_base = 0, star = 0, lstar = 0, cstar = 0, fmask = 0, sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
};

struct SystemCase {
  SystemState state;
  std::vector<u8> memory;  ///< kSystemBytes; in and out
  u64 text_end = kTextAt;  ///< where the stub behind the text is
};

/// How a run ended.
enum class Ended : u8 { halted, shutdown, limit, other };

class SystemMachine {
 public:
  virtual ~SystemMachine() = default;
  virtual const char* name() const = 0;
  /// Runs until the processor halts; state and memory are replaced by what it leaves. RIP is behind the HLT of an end stub.
  virtual Ended run(SystemCase& c) = 0;
};

std::unique_ptr<SystemMachine> make_our_system();
/// nullptr where KVM does not open, with the reason.
std::unique_ptr<SystemMachine> make_kvm_system(std::string& missing);

/// Tables, handlers and start state of a world at a privilege level (0 or 3; real mode: 0), with `text` at RIP.
SystemCase start_of(World world, unsigned cpl, std::span<const u8> text);
/// Other instructions at kTextAt, with the end stub behind them.
void put_text(SystemCase& c, std::span<const u8> text);
/// What IRETD pops to enter 16- and 32-bit code at CPL 0 (way.S): such a case starts with it below its stack pointer.
inline constexpr unsigned kEntryBytes = 12;
void put_entry_frame(SystemCase& c);
/// The end stub where it halted: the vector, kTextEnd, kSecondEnd; -1: elsewhere.
int place_of(const SystemCase& c);
/// 0 to 31 when it halted in the handler of that vector, else -1.
int vector_of(const SystemCase& c);
/// Whether the processor is in 64-bit mode.
bool is_wide(const SystemState& s);
u64 word_at(const SystemCase& c, u64 address, unsigned bytes);
void put_word(SystemCase& c, u64 address, u64 value, unsigned bytes);
/// SDM vol. 3, 3.4.5, 5.8.3.
u64 descriptor(u32 base, u32 limit, u8 access, u8 flags);
u64 gate(u16 selector, u32 offset, u8 type, u8 dpl, u8 count = 0);

/// What differs between two ends of the same start; empty: nothing.
std::string difference(const SystemCase& ours, const SystemCase& theirs);

/// One fact of the manual: a start, and what must come of it.
struct SystemFact {
  const char* name;
  SystemCase (*start)();
  /// Empty where it is as the manual says.
  std::string (*wrong)(const SystemCase& end, Ended ended);
};
std::span<const SystemFact> system_facts();
/// The first fact that does not hold on a machine, "name: what"; empty when all do.
std::string first_wrong(SystemMachine& machine);

}  // namespace nestwalk::oracle
