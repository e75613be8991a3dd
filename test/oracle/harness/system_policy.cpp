#include "test/oracle/harness/system_policy.h"

#include <bit>
#include <optional>
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

u64 left_at(const Ends& e, u64 word) {
  const auto it = e.ours.changed.find(word);
  return it != e.ours.changed.end() ? it->second : word < kSystemBytes ? word_at(e.drawn.start, word, 8) : 0;
}
/// Four bytes of our handler's stack.
u64 on_stack(const Ends& e, u64 offset) {
  const u16 stack = e.ours.state.seg[SS].selector;
  const bool real = e.drawn.world == World::real;
  const u64 base = real ? u64{stack} << 4 : stack == kData16 ? kDataAt : 0;
  const u64 at = base + e.ours.state.gpr[RSP] + offset, word = at & ~u64{7};
  const u64 low = left_at(e, word) >> (8 * (at & 7)), high = at & 7 ? left_at(e, word + 8) << (64 - 8 * (at & 7)) : 0;
  return static_cast<u32>(low | high);
}
/// Whether the base of our handler's stack is known here.
bool knows_stack(const Ends& e) {
  const u16 stack = e.ours.state.seg[SS].selector;
  return e.drawn.world == World::real || stack == kData0 || stack == kData16 || stack < 4;
}
/// The error code of exceptions that have one; 0 in real mode and on stacks of the case's own.
u64 error_code(const Ends& e) { return knows_stack(e) && e.drawn.world != World::real ? on_stack(e, 0) : 0; }
/// Where the instruction is that we say raised an exception with an error code.
u64 fault_at(const Ends& e) {
  if (e.drawn.world == World::real) return (on_stack(e, 2) & 0xffff) * 16 + (on_stack(e, 0) & 0xffff);
  const u64 bytes = is_wide(e) ? 8 : 4, selector = on_stack(e, 2 * bytes) & 0xffff;
  return (selector == kCode16 ? kTextAt : 0) + on_stack(e, bytes);
}
/// It is the first one of the text; or not of the text, but of what stray code finds elsewhere.
bool is_first(const Ends& e) { return knows_stack(e) && fault_at(e) == kTextAt; }
bool is_stray(const Ends& e) { return knows_stack(e) && fault_at(e) - kTextAt >= e.drawn.start.text_end - kTextAt; }

/// The descriptor that a selector names at the start.
u64 descriptor_of(const Ends& e, u64 selector) {
  const u64 index = selector & 0xfff8;
  return selector & 4 ? word_at(e.drawn.start, kLdtAt + (index & 0x38), 8)
                      : word_at(e.drawn.start, kGdtAt + index % (8 * kGdtEntries), 8);
}

/// A word of a page's entry differs in A and D alone.
bool accessed_or_dirty(const Difference& d) {
  constexpr u64 kBits = 0x6000000060;
  const u64 at = place_of(d);
  return is_memory(d) && at >= kTablesAt && at < kTablesAt + 0x9000 && ((d.ours ^ d.theirs) & ~kBits) == 0;
}
/// A descriptor in a table differs in A alone.
bool descriptor_accessed(const Difference& d) {
  const bool table = is_memory(d) && (place_of(d) - kGdtAt < 8 * kGdtEntries || place_of(d) - kLdtAt < 64);
  return table && (d.ours ^ d.theirs) == u64{1} << 40;
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

u64 limit_of(u64 d) {
  const u64 limit = (d & 0xffff) | (d >> 32 & 0xf0000);
  return d >> 55 & 1 ? limit << 12 | 0xfff : limit;
}
/// Whether a gate outside 64-bit mode leads beyond the limit of its code segment.
bool leads_beyond_limit(const Ends& e, u64 vector) {
  const u64 gate = word_at(e.drawn.start, kIdtAt + 8 * vector, 8);
  return ((gate & 0xffff) | (gate >> 32 & 0xffff0000)) > limit_of(descriptor_of(e, gate >> 16 & 0xffff));
}
/// The IRET or far RET that the text begins with, and what its frame says.
struct Return {
  bool interrupt;
  unsigned width;  ///< bytes of a word of the frame
  u64 rip, cs, ss;
};
std::optional<Return> return_of(const Ends& e) {
  const SystemCase& c = e.drawn.start;
  const bool small = e.drawn.world == World::real || e.drawn.world == World::protected16;
  unsigned width = small ? 2 : 4;
  u64 at = kTextAt;
  if (c.memory[at] == 0x66)
    width = small ? 4 : 2, ++at;
  else if (is_wide(e) && c.memory[at] == 0x48)
    width = 8, ++at;
  const u8 op = c.memory[at];
  if (op != 0xca && op != 0xcb && op != 0xcf) return std::nullopt;
  const u64 stack = c.state.seg[SS].base + c.state.gpr[RSP];
  const u64 outer = op == 0xcf ? 3 * width : 2 * width + (op == 0xca ? word_at(c, at + 1, 2) : 0);
  if (stack > kSystemBytes || stack + outer + 2 * width > kSystemBytes) return std::nullopt;
  const auto word = [&](u64 offset) { return word_at(c, stack + offset, width); };
  return Return{op == 0xcf, width, word(0), word(width) & 0xffff, word(outer + width) & 0xffff};
}
bool returns_beyond_limit(const Ends& e) {
  const auto r = return_of(e);
  return r && static_cast<u32>(r->rip) > limit_of(descriptor_of(e, r->cs));
}
bool returns_to_nowhere(const Ends& e) {
  const auto r = return_of(e);
  return r && r->width == 8 && !is_canonical(r->rip, 48);
}
bool returns_to_null_stack(const Ends& e) {
  const auto r = return_of(e);
  return r && !(r->ss & 0xfffc);
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

    {"ad-bits", kBochs, "A of the code segment behind a fault of the new stack",
     [](const Ends& e, const Difference& d) {
       const bool stack = e.ours.place == ex::pf || e.ours.place == ex::ss;
       return is_family(e, {"interrupts", "far"}) && stack && same_place(e) && descriptor_accessed(d);
     }},

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
    {"bochs-checks", kBochs, "frames of far calls whose target is not canonical",
     [](const Ends& e, const Difference& d) {
       return names(e, "lcall64") && e.ours.place == ex::gp && is_first(e) &&
              ((is_memory(d) && !e.ours.changed.contains(place_of(d))) || accessed_or_dirty(d));
     }},
    {"bochs-alignment", kBochs, "SGDT, SIDT",
     [](const Ends& e, const Difference&) { return (names(e, "sgdt") || names(e, "sidt")) && e.theirs.place == ex::ac; }},
    {"virtual-vector", kBochs, "INT n that CR4.VME redirects, where the table's page is the supervisor's",
     [](const Ends& e, const Difference&) {
       const u64 at = e.ours.state.cr2;
       return names(e, "VME") && names(e, "int 0x") && e.ours.place == ex::pf && at < 4 * 256 && at % 4 == 0;
     }},
    {"bochs-virtual", kBochs, "VIF and VIP under CR4.PVI in 64-bit mode",
     [](const Ends& e, const Difference&) { return is_wide(e) && names(e, "PVI") && protection(e) && is_first(e); }},
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

    {"bochs-checks", kBochs, "IRETQ, far RET to a null SS with another RPL; IRET to an absent one",
     [](const Ends& e, const Difference&) {
       const auto r = return_of(e);
       const bool null = is_wide(e) && e.ours.place == ex::gp && is_first(e) && returns_to_null_stack(e);
       return r && (null || (r->interrupt && e.ours.place == ex::ss && e.theirs.place == ex::np));
     }},
    {"qemu-checks", kQemu, "IRET and far RET at CPL 3 read their frame with the supervisor's rights",
     [](const Ends& e, const Difference&) {
       return is_family(e, {"returns", "far"}) && (names(e, "lret") || names(e, "iret")) && e.drawn.cpl &&
              e.ours.place == ex::pf && is_first(e);
     }},
    {"qemu-checks", kQemu, "IRET and far RET to an absent SS",
     [](const Ends& e, const Difference&) {
       return is_family(e, {"returns", "far"}) && e.ours.place == ex::ss && e.theirs.place == ex::np && is_first(e);
     }},
    {"compat-rip", kQemu | kBochs, "IRETQ to 32-bit code with a RIP of more than 32 bits",
     [](const Ends& e, const Difference&) {
       return names(e, "iret64") && e.ours.place == ex::gp && e.theirs.place == ex::pf;
     }},

    {"compat-rip", kQemu, "far RET of 64 bits to 32-bit code with a RIP of more than 32 bits",
     [](const Ends& e, const Difference& d) {
       const auto r = return_of(e);
       return is_wide(e) && r && !r->interrupt && same_place(e) && e.ours.place == ex::pf && is_memory(d) &&
              d.theirs == r->rip && d.ours == static_cast<u32>(r->rip);
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
    {"qemu-segments", kQemu, "accesses through a segment that was loaded before, and strings, outside 64-bit mode",
     [](const Ends& e, const Difference&) {
       const bool access = (is_family(e, {"segments"}) && !is_first(e)) || is_family(e, {"strings"});
       return !is_wide(e) && access && protection(e) && error_code(e) == 0;
     }},
    {"qemu-segments", kQemu, "the stack's limit, outside 64-bit mode",
     [](const Ends& e, const Difference&) {
       return !is_wide(e) && is_family(e, {"stacks", "virtual-8086"}) && e.ours.place == ex::ss && error_code(e) == 0;
     }},
    {"qemu-segments", kQemu, "accesses of stray code behind far transfers, returns and interrupts, outside 64-bit mode",
     [](const Ends& e, const Difference&) {
       return !is_wide(e) && is_family(e, {"far", "returns", "tasks", "interrupts"}) && protection(e) && is_stray(e) &&
              error_code(e) == 0;
     }},
    {"qemu-segments", kQemu, "stacks beyond a limit, where an exception then has none: shutdown, outside 64-bit mode",
     [](const Ends& e, const Difference& d) {
       return !is_wide(e) && e.ours.ended == Ended::shutdown && d.name == "ended" &&
              is_family(e, {"segments", "stacks", "far", "returns", "tasks", "interrupts"});
     }},
    {"qemu-segments", kQemu, "gates that lead beyond the limit of their code segment",
     [](const Ends& e, const Difference&) {
       const bool protected_mode = !is_wide(e) && e.drawn.world != World::real;
       return protected_mode && is_family(e, {"interrupts"}) && e.ours.place == ex::gp && error_code(e) <= 1 &&
              is_first(e) &&
              (leads_beyond_limit(e, 0x20) || leads_beyond_limit(e, ex::bp) || leads_beyond_limit(e, ex::of) ||
               leads_beyond_limit(e, ex::ud) || leads_beyond_limit(e, ex::br));
     }},
    {"qemu-segments", kQemu, "IRET and far RET beyond the limit of their code segment",
     [](const Ends& e, const Difference&) {
       return e.ours.place == ex::gp && error_code(e) == 0 && is_first(e) && returns_beyond_limit(e);
     }},
    {"qemu-segments", kQemu, "far JMP, CALL beyond the limit of their code segment: its selector for error code 0",
     [](const Ends& e, const Difference& d) {
       const u64 selector = d.theirs & 0xfffc;
       return (names(e, "lcall") || names(e, "ljmp")) && e.ours.place == ex::gp && same_place(e) && is_first(e) &&
              is_memory(d) && error_code(e) == 0 && selector && !(d.ours & 0xffff) && !((d.ours ^ d.theirs) & ~u64{0xfffc});
     }},
    {"qemu-checks", kQemu, "IRETQ and far RET to an address that is not canonical",
     [](const Ends& e, const Difference&) { return e.ours.place == ex::gp && is_first(e) && returns_to_nowhere(e); }},
    {"qemu-overrides", kQemu, "segment overrides in 64-bit mode",
     [](const Ends& e, const Difference&) {
       return is_wide(e) && is_family(e, {"segments"}) && (names(e, "es:[") || names(e, "ss:[") || names(e, "ds:["));
     }},
    {"qemu-checks", kQemu, "WRMSR, and RDMSR of what there is not, at CPL 0; WRFSBASE, WRGSBASE",
     [](const Ends& e, const Difference&) {
       const bool msr = !e.drawn.cpl && (names(e, "wrmsr") || names(e, "rdmsr ?"));
       return is_family(e, {"model-specific"}) && e.ours.place == ex::gp &&
              (msr || names(e, "wrfsbase") || names(e, "wrgsbase"));
     }},
    {"qemu-checks", kQemu, "MOV to CR0, CR3, CR4 at CPL 0",
     [](const Ends& e, const Difference&) {
       return is_family(e, {"registers"}) && !e.drawn.cpl && names(e, "mov cr") && is_first(e) && e.ours.place == ex::gp;
     }},
    {"qemu-checks", kQemu, "MOV to CR8",
     [](const Ends& e, const Difference&) {
       return names(e, "mov cr8") && !e.drawn.cpl && e.ours.place == ex::gp && e.drawn.start.state.gpr[RAX] > 15;
     }},
    {"qemu-checks", kQemu, "LLDT, LTR of a descriptor whose second half has a type, in IA-32e mode",
     [](const Ends& e, const Difference&) {
       const u64 second = descriptor_of(e, error_code(e) + 8);
       return is_wide(e) && (names(e, "lldt") || names(e, "ltr")) && e.ours.place == ex::gp && error_code(e) &&
              (second >> 40 & 0x1f);
     }},
    {"sysret-rip", kQemu, "SYSRET",
     [](const Ends& e, const Difference&) {
       return names(e, "sysret") && e.ours.place == ex::gp && !is_canonical(e.drawn.start.state.gpr[RCX], 48);
     }},
    {"qemu-checks", kQemu, "LGDT, LIDT of addresses that are not canonical",
     [](const Ends& e, const Difference&) {
       const u64 base = word_at(e.drawn.start, kUserDataAt + 0x102, 8);
       return is_wide(e) && (names(e, "lgdt") || names(e, "lidt")) && e.ours.place == ex::gp && !is_canonical(base, 48);
     }},
    {"qemu-checks", kQemu, "LTR of a null selector",
     [](const Ends& e, const Difference&) {
       return names(e, "ltr") && e.ours.place == ex::gp && (e.drawn.start.state.gpr[RAX] & 0xfffc) == 0;
     }},
    {"qemu-checks", kQemu, "SYSENTER, SYSEXIT with a null IA32_SYSENTER_CS that is not 0",
     [](const Ends& e, const Difference&) {
       return (names(e, "sysenter") || names(e, "sysexit")) && e.ours.place == ex::gp &&
              (e.drawn.start.state.sysenter_cs & 0xfffc) == 0;
     }},
    {"qemu-checks", kQemu, "interrupts and exceptions whose target is not canonical",
     [](const Ends& e, const Difference&) {
       const auto above = [&](u64 n) { return word_at(e.drawn.start, kIdtAt + 16 * n + 8, 4) == 0x8000; };
       return is_wide(e) && is_family(e, {"interrupts"}) && e.ours.place == ex::gp &&
              (above(0x20) || above(ex::bp) || above(ex::of) || above(ex::ud) || above(ex::br));
     }},
    {"qemu-checks", kQemu, "IRET, far RET to compatibility mode with a null SS, or with one of another RPL",
     [](const Ends& e, const Difference&) {
       return is_wide(e) && e.ours.place == ex::gp && error_code(e) == 0 && is_first(e) && returns_to_null_stack(e);
     }},
    {"qemu-checks", kQemu, "code segments with L and D, in IA-32e mode",
     [](const Ends& e, const Difference&) {
       constexpr u64 kCode = u64{0x18} << 40, kLongAndBig = u64{0x60} << 48;
       const u64 d = descriptor_of(e, error_code(e));
       return is_wide(e) && is_family(e, {"far", "returns", "interrupts"}) && e.ours.place == ex::gp &&
              (d & kCode) == kCode && (d & kLongAndBig) == kLongAndBig;
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
       const auto is_small = [&](u64 n) { return (word_at(e.drawn.start, kIdtAt + 8 * n + 5, 1) & 0x1e) == 6; };
       return e.drawn.world == World::protected16 && is_family(e, {"interrupts"}) && d.name == "ended" &&
              (is_small(0x20) || is_small(ex::bp) || is_small(ex::of) || is_small(ex::ud) || is_small(ex::br));
     }},
    {"fault-order", kQemu, "tasks whose SS is refused: whether it is there is looked at last, and CS first",
     [](const Ends& e, const Difference&) {
       const bool stack = e.ours.place == ex::ts || e.ours.place == ex::ss;
       return is_family(e, {"tasks"}) && stack && (e.theirs.place == ex::ts || e.theirs.place == ex::np) && !same_place(e);
     }},
    {"qemu-tasks", kQemu, "T of a TSS",
     [](const Ends& e, const Difference&) {
       return is_family(e, {"tasks"}) && e.ours.place == ex::db && (word_at(e.drawn.start, kTss2At + 100, 1) & 1);
     }},
    {"qemu-tasks", kQemu, "frames of faults that a new task meets",
     [](const Ends& e, const Difference& d) {
       return is_family(e, {"tasks"}) && same_place(e) && e.ours.place < static_cast<int>(kTextEnd) &&
              (is_memory(d) || d.name == "rsp" || d.name == "ss" || d.name == "ldtr");
     }},
    {"qemu-tasks", kQemu, "faults that a new task meets without a stack: shutdown",
     [](const Ends& e, const Difference&) {
       return is_family(e, {"tasks"}) && e.ours.ended == Ended::shutdown && e.theirs.place == ex::ts;
     }},
    {"qemu-accessed", kQemu, "far jumps, calls and returns, IRET",
     [](const Ends&, const Difference& d) { return descriptor_accessed(d); }},
    {"qemu-tasks", kQemu, "#TS, or #NP where it is absent, for #GP of a jump or a task gate to a TSS in the LDT",
     [](const Ends& e, const Difference&) {
       const bool local = is_family(e, {"far", "tasks"}) && e.theirs.place == ex::np && (error_code(e) & 4);
       return e.ours.place == ex::gp && (local || (is_family(e, {"far", "interrupts"}) && e.theirs.place == ex::ts));
     }},
    {"qemu-tasks", kQemu, "IRET to the task itself",
     [](const Ends& e, const Difference&) {
       return names(e, "iret to a task") && (word_at(e.drawn.start, kTssAt, 2) & 0xfffc) == kTssSelector;
     }},
    {"qemu-far-pointers", kQemu, "far JMP, CALL with REX.W",
     [](const Ends& e, const Difference&) { return names(e, "ljmp64") || names(e, "lcall64"); }},
    {"qemu-lar", kQemu, "LAR, LSL in IA-32e mode",
     [](const Ends& e, const Difference& d) {
       return is_wide(e) && (names(e, "lar") || names(e, "lsl")) && !(e.ours.state.rflags & fl::zf) &&
              (d.name == "rbx" || d.name == "rflags" || (is_memory(d) && only_within(d, fl::zf | fl::rf)));
     }},
    {"push-selector", kQemu, "PUSH of a segment register",
     [](const Ends& e, const Difference& d) { return names(e, "push fs32") && is_memory(d); }},
    {"qemu-ist", kQemu, "SS behind a switch by IST without a change of level",
     [](const Ends& e, const Difference& d) {
       return is_wide(e) && is_family(e, {"interrupts"}) && (d.name == "ss" || is_memory(d)) &&
              ((d.ours == kData0 && d.theirs == 0) || (d.ours == kData3 && d.theirs == 3));
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
    {"open-bus", kQemu, "pages of 4 MiB, which PSE-36 puts beyond memory",
     [](const Ends& e, const Difference&) {
       constexpr u64 kAliasEntry = kTablesAt + 4;  // of linear addresses from 4 MiB on
       return is_family(e, {"pages"}) && e.drawn.world == World::paged32 && names(e, "0x40") &&
              (e.drawn.start.state.cr4 & mmu::cr4::pse) && (word_at(e.drawn.start, kAliasEntry, 4) & 0x80);
     }},
    {"open-bus", kQemu | kBochs, "the last bytes below 4 GiB, where PCs have their ROM",
     [](const Ends& e, const Difference& d) {
       const u64 rdi = e.drawn.start.state.gpr[RDI];
       return is_family(e, {"segments"}) && rdi >= 0xfffffff0 && same_place(e) && (d.name == "rbx" || d.name == "rflags");
     }},
    {"qemu-debug", kQemu, "general detection",
     [](const Ends& e, const Difference&) { return names(e, "GD, ") && e.ours.place == ex::db; }},
    {"qemu-hints", kQemu, "C6 and C7 with a /r other than 0, which a case wrote as its code",
     [](const Ends& e, const Difference&) {
       const u64 written = e.drawn.start.state.gpr[RBX];
       return is_family(e, {"pages"}) && e.ours.place == ex::ud && (written & 0xfe) == 0xc6 && (written & 0x3800);
     }},
    {"qemu-monitor", kQemu, "the page that MONITOR reads",
     [](const Ends& e, const Difference& d) {
       return names(e, "monitor") && (accessed_or_dirty(d) || e.ours.place == ex::pf);
     }},
    {"qemu-order", kQemu, "XSETBV without CR4.OSXSAVE above CPL 0",
     [](const Ends& e, const Difference&) {
       return names(e, "xsetbv") && e.drawn.cpl && e.ours.place == ex::ud && e.theirs.place == ex::gp;
     }},
    {"qemu-traps", kQemu, "#AC", [](const Ends& e, const Difference&) { return e.ours.place == ex::ac; }},
    {"qemu-popa", kQemu, "POPA",
     [](const Ends& e,
        const Difference& d) { return names(e, "popa") && same_place(e) && e.ours.place == ex::pf && d.name[0] == 'r'; }},
    {"qemu-enter", kQemu, "ENTER",
     [](const Ends& e, const Difference&) { return names(e, "enter") && e.ours.place < static_cast<int>(kTextEnd); }},
};

}  // namespace

std::span<const SystemLine> system_policy() { return kLines; }

std::span<const SystemExclusion> system_exclusions() {
  static constexpr SystemExclusion all[] = {
      {"qemu-debug", kQemu, "debug", [](const DrawnSystem& d) { return std::string_view(d.family) == "debug"; }},
      {"qemu-features", kQemu, "with CR4.VME, PVI, PCIDE; INVPCID", [](const DrawnSystem& d) { return d.needs != 0; }}};
  return all;
}

const char* not_run(Rung rung, const DrawnSystem& drawn) {
  for (const SystemExclusion& e : system_exclusions())
    if ((e.rungs & rung) && e.concerns(drawn)) return e.row;
  return nullptr;
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
