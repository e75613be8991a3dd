#include "test/oracle/harness/system_policy.h"

#include <bit>
#include <string_view>

namespace nestwalk::oracle {
namespace {

using namespace cpu;

using Ends = SystemEnds;
using Difference = SystemDifference;

bool is_family(const Ends& e, std::initializer_list<std::string_view> names) {
  for (const std::string_view n : names)
    if (n == e.drawn.family) return true;
  return false;
}
bool names(const Ends& e, std::string_view what) { return e.drawn.text.find(what) != std::string::npos; }
bool is_memory(const Difference& d) { return d.name[0] == '['; }
u64 place_of(const Difference& d) { return is_memory(d) ? std::stoull(d.name.substr(1), nullptr, 16) : 0; }
bool is_wide(const Ends& e) { return e.drawn.world == World::long64; }
bool protection(const Ends& e) { return e.ours.place == ex::gp || e.ours.place == ex::ss; }
bool same_place(const Ends& e) { return e.ours.ended == e.theirs.ended && e.ours.place == e.theirs.place; }

/// The word where our handler's stack pointer is: the error code of exceptions that have one; 0 on stacks of the case's
/// own.
u64 top_of_stack(const Ends& e) {
  const u16 stack = e.ours.state.seg[SS].selector;
  if (stack != kData0 && stack != kData16 && stack > 3) return 0;  // of a base that is not known here
  const u64 at = (stack == kData16 ? kDataAt : 0) + e.ours.state.gpr[RSP], word = at & ~u64{7};
  const auto it = e.ours.changed.find(word);
  const u64 v = it != e.ours.changed.end() ? it->second : word < kSystemBytes ? word_at(e.drawn.start, word, 8) : 0;
  return static_cast<u32>(v >> (8 * (at & 7)));
}

/// A word of a page's entry differs in A and D alone.
bool accessed_or_dirty(const Difference& d) {
  constexpr u64 kBits = 0x6000000060;
  const u64 at = place_of(d);
  return is_memory(d) && at >= kTablesAt && at < kTablesAt + 0x9000 && ((d.ours ^ d.theirs) & ~kBits) == 0;
}
/// A word of memory that differs in some of `bits` alone, wherever in it a smaller word may be.
bool only_within(const Difference& d, u64 bits) {
  for (const unsigned shift : {0, 16, 32, 48})
    if (!((d.ours ^ d.theirs) & ~(bits << shift))) return true;
  return false;
}
/// Theirs lacks RF of a frame, and nothing else.
bool lacks_resume(const Difference& d) {
  const u64 bits = d.ours ^ d.theirs;
  return is_memory(d) && std::has_single_bit(bits) && (d.ours & bits) && std::countr_zero(bits) % 16 == 0;
}
/// Bits of a page fault's error code.
bool in_error_code(const Ends& e, const Difference& d, u64 bits) {
  return is_memory(d) && e.ours.place == ex::pf && same_place(e) && only_within(d, bits);
}

constexpr SystemLine kLines[] = {
    // ---- left open
    {"null-base", kEveryRung, "FS and GS bases behind a null selector",
     [](const Ends& e, const Difference& d) {
       const bool base = d.name == "fs.base" || d.name == "gs.base";
       return base && (is_family(e, {"tasks"}) || !e.ours.state.seg[d.name == "fs.base" ? FS : GS].selector);
     }},
    {"fault-order", kEveryRung, "control and debug registers that do not exist, above CPL 0",
     [](const Ends& e, const Difference&) {
       const bool either =
           (e.ours.place == ex::gp && e.theirs.place == ex::ud) || (e.ours.place == ex::ud && e.theirs.place == ex::gp);
       return e.drawn.cpl && is_family(e, {"registers"}) && either;
     }},
    {"string-flags", kEveryRung, "REP CMPS, SCAS that fault",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"strings"}) && e.ours.place < static_cast<int>(kTextEnd) && same_place(e) &&
              (d.name == "rflags" || (is_memory(d) && only_within(d, fl::arithmetic | fl::rf)));
     }},
    {"access-order", kEveryRung, "CMPS, ENTER, PUSHA and far returns that fault; A of the page that the other one is on",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"strings", "stacks", "far", "returns"}) && e.ours.place == ex::pf && same_place(e) &&
              (d.name == "cr2" || accessed_or_dirty(d));
     }},
    {"access-order", kEveryRung, "accesses to two pages that both fault: the other one's address and error code",
     [](const Ends& e, const Difference& d) {
       const bool other = same_place(e) && e.ours.place == ex::pf && e.ours.state.cr2 != e.theirs.state.cr2;
       return other && is_family(e, {"pages", "stacks", "strings"}) && (d.name == "cr2" || in_error_code(e, d, 0xf));
     }},
    {"ad-bits", kEveryRung, "A and D behind a fault",
     [](const Ends& e, const Difference& d) { return e.ours.place < static_cast<int>(kTextEnd) && accessed_or_dirty(d); }},

    // ---- Bochs
    {"bochs-66", kBochs, "ENTER, LEAVE, IRET of 16 or 32 bits in 64-bit mode",
     [](const Ends& e, const Difference&) {
       return is_wide(e) && (names(e, "enter16") || names(e, "leave16") || names(e, "iret16") || names(e, "iret32"));
     }},
    {"bochs-checks", kBochs, "frames of interrupts whose target is not canonical",
     [](const Ends& e, const Difference& d) {
       return is_wide(e) && is_family(e, {"interrupts"}) && protection(e) && is_memory(d) &&
              !e.ours.changed.contains(place_of(d));
     }},
    {"bochs-alignment", kBochs, "SGDT, SIDT",
     [](const Ends& e, const Difference&) { return is_family(e, {"table registers"}) && e.theirs.place == ex::ac; }},
    {"bochs-debug", kBochs, "RF between the elements of a string; hits of the next instruction's breakpoint beside a trap",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"debug"}) &&
              ((names(e, "rep stosb") && lacks_resume(d)) || (d.name == "dr6" && (d.ours ^ d.theirs) < 16));
     }},
    {"bochs-debug", kBochs, "RF in the frame of general detection",
     [](const Ends& e, const Difference& d) { return names(e, "GD, ") && e.ours.place == ex::db && lacks_resume(d); }},
    {"no-counters", kQemu | kBochs, "RDPMC that the level or CR4.PCE permits",
     [](const Ends& e, const Difference&) {
       return names(e, "rdpmc") && e.ours.place == ex::gp && (!e.drawn.cpl || (e.drawn.start.state.cr4 & mmu::cr4::pce));
     }},
    {"bochs-debug", kBochs, "RF behind the trap of a TSS",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"tasks"}) && is_memory(d) && lacks_resume({d.name, d.theirs, d.ours});
     }},

    {"bochs-checks", kBochs, "IRETQ to a null SS with another RPL, or to an absent one",
     [](const Ends& e, const Difference&) {
       const bool null = e.ours.place == ex::gp && e.theirs.place == kSecondEnd;
       return names(e, "iret64") && (null || (e.ours.place == ex::ss && e.theirs.place == ex::np));
     }},
    {"compat-rip", kBochs, "IRETQ to 32-bit code with a RIP of more than 32 bits",
     [](const Ends& e, const Difference&) {
       return names(e, "iret64") && e.ours.place == ex::gp && e.theirs.place == ex::pf;
     }},

    // ---- QEMU
    {"qemu-resume", kQemu, "frames and TSSs", [](const Ends&, const Difference& d) { return lacks_resume(d); }},
    {"qemu-pages", kQemu, "A of page-directory-pointer entries",
     [](const Ends& e, const Difference& d) {
       return e.drawn.world == World::pae32 && is_memory(d) && place_of(d) - kTablesAt < 32 && (d.ours ^ d.theirs) == 0x20;
     }},
    {"qemu-pages", kQemu, "P beside RSVD in error codes",
     [](const Ends& e, const Difference& d) { return in_error_code(e, d, 3); }},
    {"qemu-update", kQemu, "W in error codes of read-modify-write",
     [](const Ends& e, const Difference& d) { return in_error_code(e, d, 2); }},
    {"lar-limit", kQemu, "LAR",
     [](const Ends& e, const Difference& d) {
       return names(e, "lar") && d.name == "rbx" && !((d.ours ^ d.theirs) & ~u64{0xf0000});
     }},
    {"qemu-interrupt", kQemu, "error codes that name a vector, in IA-32e mode",
     [](const Ends& e, const Difference& d) {
       return is_wide(e) && same_place(e) && is_memory(d) && (d.ours & 2) && (d.theirs & ~u64{7}) == 2 * (d.ours & ~u64{7});
     }},
    {"qemu-segments", kQemu, "accesses that a segment forbids, outside 64-bit mode",
     [](const Ends& e, const Difference&) {
       const bool refused = e.ours.ended == Ended::shutdown || (protection(e) && top_of_stack(e) == 0);
       return !is_wide(e) && refused &&
              is_family(e, {"segments", "strings", "stacks", "far", "returns", "tasks", "interrupts", "debug"});
     }},
    {"qemu-overrides", kQemu, "segment overrides in 64-bit mode",
     [](const Ends& e, const Difference&) {
       return is_wide(e) && is_family(e, {"segments"}) && (names(e, "es:[") || names(e, "ss:[") || names(e, "ds:["));
     }},
    {"qemu-checks", kQemu, "reserved bits, addresses that are not canonical, null selectors: what raises #GP here",
     [](const Ends& e, const Difference&) {
       const bool loose = is_family(e, {"model-specific", "table registers", "system calls", "registers", "selectors"});
       const bool transfer =
           is_wide(e) && (is_family(e, {"returns", "far"}) || (is_family(e, {"interrupts"}) && top_of_stack(e) <= 1));
       return (loose || transfer) && protection(e);
     }},
    {"qemu-virtual", kQemu, "IRET with VM above CPL 0",
     [](const Ends& e, const Difference&) { return e.drawn.cpl && names(e, "virtual-8086"); }},
    {"qemu-gates", kQemu, "16-bit gates",
     [](const Ends& e, const Difference&) {
       // Our target is below 64 KiB, where there is nothing; theirs is the second end stub, which faults at CPL 3.
       const bool strays = e.ours.place == ex::pf || e.ours.place == ex::ud || e.ours.place == ex::gp;
       const bool there = e.theirs.place == kSecondEnd || e.theirs.place == ex::gp;
       return !is_wide(e) && is_family(e, {"interrupts", "far"}) && strays && there;
     }},
    {"qemu-gates", kQemu, "16-bit gates to 16-bit code, where its target is nowhere",
     [](const Ends& e, const Difference& d) {
       return e.drawn.world == World::protected16 && is_family(e, {"interrupts"}) && names(e, "int 0x20") &&
              d.name == "ended" && (word_at(e.drawn.start, kIdtAt + 8 * 0x20 + 5, 1) & 0x1e) == 6;
     }},
    {"qemu-tasks", kQemu, "faults and traps that a new task meets",
     [](const Ends& e, const Difference&) { return is_family(e, {"tasks"}) && e.ours.place < static_cast<int>(kTextEnd); }},
    {"qemu-accessed", kQemu, "far jumps, calls and returns, IRET",
     [](const Ends&, const Difference& d) {
       return is_memory(d) && (place_of(d) - kGdtAt < 8 * kGdtEntries || place_of(d) - kLdtAt < 64) &&
              (d.ours ^ d.theirs) == u64{1} << 40;
     }},
    {"qemu-tasks", kQemu, "#TS for #GP of a jump",
     [](const Ends& e, const Difference&) {
       return is_family(e, {"far"}) && e.ours.place == ex::gp && e.theirs.place == ex::ts;
     }},
    {"qemu-far-pointers", kQemu, "far JMP, CALL with REX.W",
     [](const Ends& e, const Difference&) { return names(e, "ljmp64") || names(e, "lcall64"); }},
    {"qemu-lar", kQemu, "LAR, LSL in IA-32e mode",
     [](const Ends& e, const Difference& d) {
       return is_wide(e) && (names(e, "lar") || names(e, "lsl")) && (d.name == "rbx" || d.name == "rflags") &&
              !(e.ours.state.rflags & fl::zf);
     }},
    {"push-selector", kQemu, "PUSH of a segment register",
     [](const Ends& e, const Difference& d) { return names(e, "push fs32") && is_memory(d); }},
    {"qemu-ist", kQemu, "SS behind a switch by IST without a change of level",
     [](const Ends& e, const Difference& d) {
       return is_wide(e) && is_family(e, {"interrupts"}) && (d.name == "ss" || is_memory(d)) && d.ours == kData0 &&
              d.theirs == 0;
     }},
    {"qemu-syscall", kQemu, "arithmetic flags behind SYSCALL, R11's and others",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"system calls"}) && names(e, "syscall") && d.name == "rflags" &&
              !((d.ours ^ d.theirs) & ~u64{fl::arithmetic});
     }},
    {"qemu-exchange8", kQemu, "CMPXCHG8B",
     [](const Ends& e, const Difference& d) {
       return names(e, "cmpxchg8b") && (d.name == "rflags" || (is_memory(d) && place_of(d) < kTextAt));
     }},
    {"qemu-debug", kQemu, "reserved bits of DR6 and DR7",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"registers"}) && names(e, "dr") && (d.name == "dr6" || d.name == "dr7" || d.name == "rbx") &&
              !((d.ours ^ d.theirs) & ~u64{0xd800});
     }},
    {"qemu-msr", kQemu, "upper half of FMASK",
     [](const Ends& e, const Difference& d) {
       return (d.name == "fmask" && static_cast<u32>(d.theirs) == d.ours) ||
              (d.name == "rdx" && names(e, "FMASK") && !d.ours);
     }},
    {"qemu-msr", kQemu, "upper half of SYSENTER_CS",
     [](const Ends& e, const Difference& d) {
       return (d.name == "sysenter_cs" || (d.name == "rax" && names(e, "SYSENTER_CS"))) &&
              static_cast<u16>(d.ours) == d.theirs;
     }},
    {"qemu-order", kQemu, "system calls that do not exist in a mode",
     [](const Ends& e, const Difference&) {
       return is_family(e, {"system calls"}) && e.ours.place == ex::ud && e.theirs.place == ex::gp;
     }},
    {"open-bus", kQemu, "IN, INS",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"ports"}) && same_place(e) && (d.name == "rax" || is_memory(d));
     }},
    {"open-bus", kQemu, "flags of stray code that adds to where no memory is",
     [](const Ends& e, const Difference& d) {
       const bool strays = e.drawn.world < World::paged32 && is_family(e, {"far", "returns"}) && e.ours.place == ex::ud;
       return strays && same_place(e) && (d.name == "rflags" || (is_memory(d) && only_within(d, fl::arithmetic | fl::rf)));
     }},
    {"open-bus", kQemu, "pages of PSE-36 beyond memory",
     [](const Ends& e, const Difference& d) {
       const bool read = d.name == "rbx" || d.name == "rflags";
       return is_family(e, {"pages"}) && e.drawn.world == World::paged32 && same_place(e) && read;
     }},
    {"qemu-debug", kQemu, "general detection",
     [](const Ends& e, const Difference&) { return names(e, "GD, ") && e.ours.place == ex::db; }},
    {"qemu-monitor", kQemu, "A of the page that MONITOR reads",
     [](const Ends& e, const Difference& d) { return names(e, "monitor") && accessed_or_dirty(d); }},
    {"qemu-order", kQemu, "XSETBV without CR4.OSXSAVE above CPL 0",
     [](const Ends& e, const Difference&) {
       return names(e, "xsetbv") && e.drawn.cpl && e.ours.place == ex::ud && e.theirs.place == ex::gp;
     }},
    {"qemu-traps", kQemu, "#AC", [](const Ends& e, const Difference&) { return e.ours.place == ex::ac; }},
    {"qemu-popa", kQemu, "POPA",
     [](const Ends& e, const Difference& d) {
       return names(e, "popa") && same_place(e) && e.ours.place == ex::pf && d.name[0] == 'r';
     }},
    {"qemu-enter", kQemu, "ENTER",
     [](const Ends& e, const Difference&) { return names(e, "enter") && e.ours.place < static_cast<int>(kTextEnd); }},
};

}  // namespace

std::span<const SystemLine> system_policy() { return kLines; }

const char* not_run(Rung rung, const DrawnSystem& drawn) {
  if (rung != kQemu) return nullptr;
  return std::string_view(drawn.family) == "debug" ? "qemu-debug" : drawn.needs ? "qemu-features" : nullptr;
}

std::vector<SystemDifference> unexplained(Rung rung, const SystemEnds& ends, std::vector<SystemDifference> all) {
  std::erase_if(all, [&](const SystemDifference& d) {
    for (const SystemLine& line : kLines)
      if ((line.rungs & rung) && line.explains(ends, d)) return true;
    return false;
  });
  return all;
}

}  // namespace nestwalk::oracle
