// Facts of the manual that a snippet shows. They are Nestwalk's own tests, and the self-test that decides whether a real
// processor stands behind /dev/kvm: one that is emulated in software gets some of them wrong. Places name SDM vol. 3.
#include <fmt/format.h>

#include "test/oracle/harness/system_machine.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;
using Text = std::vector<u8>;

SystemCase at(World w, unsigned cpl, Text text, u64 rax = 0, u64 rcx = 0) {
  SystemCase c = start_of(w, cpl, text);
  c.state.gpr[RAX] = rax;
  c.state.gpr[RCX] = rcx;
  return c;
}

std::string want(const char* what, u64 is, u64 should) {
  return is == should ? "" : fmt::format("{} {:#x}, not {:#x}", what, is, should);
}
/// The first that is not empty.
template <class... S>
std::string first(const S&... s) {
  std::string r;
  ((r.empty() ? void(r = s) : void()), ...);
  return r;
}

std::string halts(const SystemCase& c, Ended e) {
  if (e != Ended::halted) return fmt::format("it did not halt (end {})", static_cast<int>(e));
  const int v = vector_of(c);
  return v < 0 ? "" : fmt::format("exception {}", v);
}
unsigned word_bytes(const SystemCase& c) { return c.state.seg[CS].l ? 8 : 4; }
/// The words of the exception's frame, error code first where there is one.
u64 frame(const SystemCase& c, unsigned n) { return word_at(c, c.state.gpr[RSP] + n * word_bytes(c), word_bytes(c)); }
std::string raises(const SystemCase& c, Ended e, int vector) {
  if (e != Ended::halted) return fmt::format("it did not halt (end {})", static_cast<int>(e));
  const int v = vector_of(c);
  return v == vector ? "" : fmt::format("exception {}, not {}", v, vector);
}
std::string raises(const SystemCase& c, Ended e, int vector, u64 error, u64 rip = kTextAt) {
  if (const std::string s = raises(c, e, vector); !s.empty()) return s;
  return first(want("error code", frame(c, 0), error), want("rip", frame(c, 1), rip));
}

constexpr u64 kAtTask2 = kTextAt + kSecondText + 3;  // behind the HLT of its end stub

const SystemFact kFacts[] = {
    // clang-format off
    {"arithmetic and its flags in every mode", [] { return at(World::long64, 0, {0x48, 0x01, 0xc8}, ~u64{0}, 1); },  // add rax, rcx
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("rax", c.state.gpr[RAX], 0), want("flags", c.state.rflags & 0x8d5, 0x55)); }},
    {"UD2 raises #UD at itself (6.15)", [] { return at(World::paged32, 0, {0x0f, 0x0b}); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::ud), want("eip", frame(c, 0), kTextAt), want("RF in the frame", frame(c, 2) >> 16 & 1, 1)); }},
    {"a selector past the table's limit: #GP(selector) (5.3.1)", [] { return at(World::protected32, 0, {0x8e, 0xd8}, 0x1003); },  // mov ds, ax
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0x1000); }},
    {"a null selector in SS: #GP(0) (3.4.2)", [] { return at(World::protected32, 0, {0x8e, 0xd0}); },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"an absent segment: #NP(selector) (6.15)", [] { return at(World::protected32, 0, {0x8e, 0xd8}, kAbsent); },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::np, kAbsent); }},
    {"loading DS sets the accessed bit and the hidden part (3.4.3)", [] {
       SystemCase c = at(World::paged32, 0, {0x8e, 0xd8}, kFree);
       put_word(c, kGdtAt + kFree, descriptor(0x12345, 0x6789, 0x92, 4), 8);
       return c; },
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("base", c.state.seg[DS].base, 0x12345), want("limit", c.state.seg[DS].limit, 0x6789),
                                                     want("access byte", word_at(c, kGdtAt + kFree + 5, 1), 0x93)); }},
    {"an access past a segment's limit: #GP(0) (5.3)", [] {
       SystemCase c = at(World::protected32, 0, {0x8b, 0x05, 0xfe, 0x0f, 0x00, 0x00});  // mov eax, [0xffe]
       c.state.seg[DS].limit = 0x1000, c.state.seg[DS].g = false;
       return c; },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"a write to a read-only segment: #GP(0) (5.5)", [] {
       SystemCase c = at(World::protected32, 0, {0xa3, 0x00, 0x00, 0x04, 0x00});  // mov [0x40000], eax
       c.state.seg[DS].type = 1;
       return c; },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"CLI at CPL 3 and IOPL 0: #GP(0) (vol. 2, CLI)", [] { return at(World::paged32, 3, {0xfa}); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::gp, 0), want("cs in the frame", frame(c, 2), kCode3), want("esp in the frame", frame(c, 4), kStack3At + 0x1000)); }},
    {"POPF at CPL 3 leaves IF and IOPL alone (vol. 2, POPF)", [] { return at(World::paged32, 3, {0x68, 0xd7, 0x7e, 0x00, 0x00, 0x9d, 0x9c, 0x58, 0x0f, 0x0b}); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::ud), want("flags", c.state.gpr[RAX], 0x4cd7)); }},
    {"INT through a gate of DPL 0 from CPL 3: #GP(vector * 8 + 2) (6.12.1.1)", [] { return at(World::long64, 3, {0xcd, 0x0e}); },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0x72); }},
    {"a user's write to a supervisor page: #PF, W, U and P, CR2 (4.7)", [] { return at(World::long64, 3, {0xc6, 0x04, 0x25, 0x10, 0x00, 0x04, 0x00, 0x01}); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::pf, 7), want("cr2", c.state.cr2, kDataAt + 0x10)); }},
    {"a read that crosses into an absent page: #PF at its first byte there (4.7)", [] { return at(World::paged32, 3, {0xa1, 0xfe, 0x2f, 0x04, 0x00}); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::pf, 4), want("cr2", c.state.cr2, kUserDataAt + 0x1000)); }},
    {"a supervisor's write to a read-only page with WP: #PF(3) (4.6)", [] { return at(World::paged32, 0, {0xa3, 0x00, 0x40, 0x04, 0x00}); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::pf, 3), want("cr2", c.state.cr2, kUserDataAt + 0x2000)); }},
    {"a write sets A and D (4.8)", [] { return at(World::long64, 3, {0xc6, 0x04, 0x25, 0x00, 0x20, 0x04, 0x00, 0x01, 0x0f, 0x0b}); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::ud), want("entry", word_at(c, kTablesAt + 0x3000 + 8 * (kUserDataAt >> 12), 8), kUserDataAt | 0x67)); }},
    {"a call gate to CPL 0 switches stacks and copies parameters (5.8.5)", [] {
       SystemCase c = at(World::paged32, 3, {0x9a, 0, 0, 0, 0, kGate | 3, 0});
       put_word(c, kStack3At + 0xff0, 0xaaaa, 4), put_word(c, kStack3At + 0xff4, 0xbbbb, 4);
       c.state.gpr[RSP] = kStack3At + 0xff0;
       return c; },
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("eip", c.state.rip, kAtTask2), want("cs", c.state.seg[CS].selector, kCode0), want("return", frame(c, 0), kTextAt + 7),
                                                     want("cs pushed", frame(c, 1), kCode3), want("parameter", frame(c, 2), 0xaaaa), want("parameter", frame(c, 3), 0xbbbb), want("esp pushed", frame(c, 4), kStack3At + 0xff0)); }},
    {"a far jump to a TSS switches tasks (7.3)", [] { return at(World::paged32, 0, {0xea, 0, 0, 0, 0, kTss2Selector, 0}, 0x1234); },
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("eip", c.state.rip, kAtTask2), want("ecx", c.state.gpr[RCX], 0x22222222), want("tr", c.state.tr.selector, kTss2Selector),
                                                     want("eax saved", word_at(c, kTssAt + 40, 4), 0x1234), want("eip saved", word_at(c, kTssAt + 32, 4), kTextAt + 7),
                                                     want("old TSS", word_at(c, kGdtAt + kTssSelector + 5, 1), 0x89), want("new TSS", word_at(c, kGdtAt + kTss2Selector + 5, 1), 0x8b), want("CR0.TS", c.state.cr0 >> 3 & 1, 1)); }},
    {"a jump to a busy TSS: #GP(selector) (7.3)", [] { return at(World::paged32, 0, {0xea, 0, 0, 0, 0, kTssSelector, 0}); },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, kTssSelector); }},
    {"IRET with NT returns to the linked task (7.4)", [] {
       SystemCase c = at(World::paged32, 0, {0xcf});
       c.state.rflags |= fl::nt;
       put_word(c, kTssAt, kTss2Selector, 2);
       put_word(c, kGdtAt + kTss2Selector + 5, 0x8b, 1);
       return c; },
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("eip", c.state.rip, kAtTask2), want("tr", c.state.tr.selector, kTss2Selector), want("old TSS", word_at(c, kGdtAt + kTssSelector + 5, 1), 0x89)); }},
    {"IRETD to CPL 3 with a null SS: #GP(0) (vol. 2, IRET)", [] {
       SystemCase c = at(World::paged32, 0, {0xcf});
       const u32 words[] = {static_cast<u32>(kTextAt), kCode3, 2, static_cast<u32>(kStack3At + 0x100), 0};
       for (unsigned n = 0; n < 5; ++n) put_word(c, c.state.gpr[RSP] + 4 * n, words[n], 4);
       return c; },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"IRETQ to a data segment as CS: #GP(selector) (vol. 2, IRET)", [] {
       SystemCase c = at(World::long64, 0, {0x48, 0xcf});
       const u64 words[] = {kTextAt, kData3, 2, kStack3At + 0x100, kData3};
       for (unsigned n = 0; n < 5; ++n) put_word(c, c.state.gpr[RSP] + 8 * n, words[n], 8);
       return c; },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, kData3 & ~3u); }},
    {"IRETQ to compatibility mode at CPL 3 (vol. 2, IRET)", [] {
       SystemCase c = at(World::long64, 0, {0x48, 0xcf});
       put_word(c, kTextAt + 0x100, 0x0b0f'c8ff, 4);  // dec eax (REX.W ... in 64-bit mode: none), ud2
       const u64 words[] = {kTextAt + 0x100, kCode3, 2, kStack3At + 0x100, kData3};
       for (unsigned n = 0; n < 5; ++n) put_word(c, c.state.gpr[RSP] + 8 * n, words[n], 8);
       return c; },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::ud), want("cs", frame(c, 1), kCode3), want("eax", c.state.gpr[RAX], 0xffffffff)); }},
    {"a load from a non-canonical address: #GP(0); through RSP: #SS(0) (6.15)", [] { return at(World::long64, 0, {0x48, 0x89, 0xc4, 0x58}, u64{1} << 63); },  // mov rsp, rax; pop rax
     [](const SystemCase& c, Ended e) { return e == Ended::shutdown ? "" : first(raises(c, e, ex::ss)); }},
    {"a load from a non-canonical address: #GP(0) (3.3.7.1)", [] { return at(World::long64, 0, {0x8a, 0x08}, u64{1} << 47); },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"LAR, LSL and VERW look without faulting (5.10)", [] { return at(World::protected32, 3, {0x0f, 0x03, 0xd8, 0x9c, 0x5a, 0x0f, 0x02, 0xd9, 0x9c, 0x5e, 0x0f, 0x0b}, kData3, kData0); },  // lsl ebx, eax; lar ebx, ecx
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::ud), want("limit", c.state.gpr[RBX], 0xffffffff), want("ZF of LSL", c.state.gpr[RDX] >> 6 & 1, 1), want("ZF of LAR", c.state.gpr[RSI] >> 6 & 1, 0)); }},
    {"ARPL raises RPL (vol. 2, ARPL)", [] { return at(World::protected32, 3, {0x63, 0xc8, 0x9c, 0x5a, 0x0f, 0x0b}, 0x10, 3); },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::ud), want("ax", c.state.gpr[RAX], 0x13), want("ZF", c.state.gpr[RDX] >> 6 & 1, 1)); }},
    {"TF traps behind one instruction, with DR6.BS (17.3.1.4)", [] {
       SystemCase c = at(World::long64, 0, {0x90, 0x90});
       c.state.rflags |= fl::tf;
       return c; },
     [](const SystemCase& c, Ended e) { return first(raises(c, e, ex::db), want("rip", frame(c, 0), kTextAt + 1), want("dr6", c.state.dr6 & 0x400f, 0x4000)); }},
    {"a fault while an exception is delivered: #DF(0) (6.15)", [] {
       SystemCase c = at(World::paged32, 0, {0x0f, 0x0b});
       put_word(c, kIdtAt + 8 * ex::ud + 5, 0x0e, 1);  // #NP through a gate that is absent too
       put_word(c, kIdtAt + 8 * ex::np + 5, 0x0e, 1);
       return c; },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::df, 0); }},
    {"no handler for #DF: shutdown (6.15)", [] {
       SystemCase c = at(World::paged32, 0, {0x0f, 0x0b});
       c.state.idtr.limit = 7;
       return c; },
     [](const SystemCase&, Ended e) { return e == Ended::shutdown ? "" : std::string("it went on"); }},
    {"real mode: segments are shifted selectors (20.1)", [] { return at(World::real, 0, {0x8e, 0xd8, 0x8b, 0x1e, 0x10, 0x00}, 0x4321); },  // mov ds, ax; mov bx, [0x10]
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("ds.base", c.state.seg[DS].base, 0x43210)); }},
    {"16-bit code: operand and stack of 16 bits (3.4.5)", [] { return at(World::protected16, 0, {0x50, 0x05, 0x01, 0x00}, 0x1ffff); },  // push ax; add ax, 1
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("eax", c.state.gpr[RAX], 0x10000), want("sp", c.state.gpr[RSP], 0x7fe), want("pushed", word_at(c, kDataAt + 0x7fe, 2), 0xffff)); }},
    {"x87 and SSE work in ring 0", [] { return at(World::long64, 0, {0x0f, 0x20, 0xe1, 0x80, 0xcd, 0x02, 0x0f, 0x22, 0xe1,  // cr4.osfxsr through rcx
                                                                        0xd9, 0xeb, 0xd9, 0xff, 0xdf, 0x1c, 0x24,              // fldpi, fcos, fistp word [rsp]
                                                                        0x0f, 0x57, 0xc0, 0x0f, 0xc2, 0xc0, 0x00, 0x0f, 0x50, 0xc0}); },  // xorps, cmpeqps, movmskps eax
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("cosine of pi", word_at(c, kStack0At + 0x800, 2), 0xffff), want("mask", c.state.gpr[RAX], 15)); }},
    {"MOV to CR0 with PG and not PE: #GP(0) (4.1.2)", [] { return at(World::protected32, 0, {0x0f, 0x22, 0xc0}, 0x80000010); },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"LMSW cannot clear PE (vol. 2, LMSW)", [] { return at(World::protected32, 0, {0x0f, 0x01, 0xf0}, 0); },
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("CR0.PE", c.state.cr0 & 1, 1)); }},
    {"SYSRET is #GP(0) at CPL 3 (vol. 2, SYSRET)", [] { return at(World::long64, 3, {0x48, 0x0f, 0x07}); },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"VIF and VIP under PVI: #GP(0) at the beginning of an instruction (20.3.2, 20.4)", [] {
       SystemCase c = at(World::paged32, 3, {0x90});
       c.state.cr4 |= mmu::cr4::pvi;
       c.state.rflags |= fl::vif | fl::vip;
       return c; },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0); }},
    {"VIF and VIP behind IRETD into virtual-8086 mode with VME: #GP(0) before the first instruction (20.3.2)", [] {
       SystemCase c = at(World::protected32, 0, {0xcf});
       c.state.cr4 |= mmu::cr4::vme;
       c.state.gpr[RSP] -= 0x100;
       const u32 words[] = {0x100, static_cast<u32>(kTextAt >> 4), fl::vm | fl::vif | fl::vip | 2, 0x800, static_cast<u32>(kStack3At >> 4), 0, 0, 0, 0};
       for (unsigned n = 0; n < std::size(words); ++n) put_word(c, c.state.gpr[RSP] + 4 * n, words[n], 4);
       c.memory[kTextAt + 0x100] = 0xfa;  // cli
       return c; },
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::gp, 0, 0x100); }},
    {"FXRSTOR reads all of its 512 bytes (vol. 2, FXRSTOR)", [] { return at(World::paged32, 0, {0x0f, 0xae, 0x0d, 0x60, 0x2e, 0x04, 0x00}); },  // fxrstor [0x42e60]
     [](const SystemCase& c, Ended e) { return raises(c, e, ex::pf, 0); }},
    {"a SIB byte of mod 0 and base 5 has no base, whatever REX.B says, with 32-bit addresses too (vol. 2, table 2-3)", [] {
       SystemCase c = at(World::long64, 0, {0x67, 0x47, 0x8b, 0x3c, 0x15, 0x00, 0x20, 0x04, 0x00});  // mov r15d, [r10d + 0x42000]
       put_word(c, kUserDataAt, 0x12345678, 4);
       c.state.gpr[13] = 0x1000;
       return c; },
     [](const SystemCase& c, Ended e) { return first(halts(c, e), want("r15", c.state.gpr[15], 0x12345678)); }},
    // clang-format on
};

}  // namespace

std::span<const SystemFact> system_facts() { return kFacts; }

}  // namespace nestwalk::oracle
