#include "cpu/undefined.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "cpu/cpuid.h"

namespace nestwalk::cpu {
namespace {

constexpr const char* kMeasured = "measured on Intel cores, compared by test/oracle in every run";
constexpr const char* kOnHost = "every instruction of the table agrees with the host's processor";

constexpr Policy kPolicies[] = {
    // clang-format off
    // ---- flags
    {"logic-af", "AND, OR, XOR, TEST, NOT excepted", "AF", "0", kMeasured, kOnHost},
    {"shift-af", "SHL, SHR, SAR, SHLD, SHRD", "AF", "0; the rotates keep it", kMeasured, kOnHost},
    {"shift-of", "shifts and rotates by more than 1", "OF", "as if the count were 1; ROL and ROR of a register by an immediate keep it", kMeasured, kOnHost},
    {"shift-cf", "SHL, SHR, SAR with a count above the width (8 and 16 bits)", "CF", "SHL, SHR: 0; SAR: the sign", kMeasured, kOnHost},
    {"shld-16", "SHLD, SHRD of 16 bits by more than 16", "result and flags", "the first operand goes on behind the second", "measured on Intel cores; AMD's repeat the second operand", kOnHost},
    {"mul-flags", "MUL, IMUL", "SF, ZF, AF, PF", "SF and PF of the low half, ZF = AF = 0", kMeasured, kOnHost},
    {"div-flags", "DIV, IDIV", "all arithmetic flags", "unchanged", "generations of the same maker differ; never compared", ""},
    {"bt-flags", "BT, BTS, BTR, BTC", "OF, SF, AF, PF", "unchanged", kMeasured, kOnHost},
    {"scan-zero", "BSF, BSR of 0", "destination", "unchanged (the upper half too)", "documented by AMD, done by all of Intel's parts", kOnHost},
    {"scan-flags", "BSF, BSR", "CF, OF, SF, AF, PF", "CF = OF = SF = AF = 0, PF of the result (of the source if that is 0)", kMeasured, kOnHost},
    {"count-flags", "LZCNT, TZCNT", "OF, SF, AF, PF", "0", kMeasured, kOnHost},
    {"bmi-flags", "ANDN, BLSI, BLSMSK, BLSR, BZHI", "AF, PF", "0", kMeasured, kOnHost},
    {"bextr-flags", "BEXTR", "SF, AF, PF", "0", kMeasured, kOnHost},
    {"bcd-flags", "AAA, AAS, DAA, DAS, AAM, AAD", "those that the manual calls undefined", "AAA, AAS: OF, SF, ZF, PF of AL; DAA, DAS: OF = 0; AAM, AAD: CF = OF = AF = 0", "Intel's pseudo-code and published measurements; no 64-bit host can be asked", ""},
    // ---- results
    {"bswap-16", "BSWAP of a 16-bit register", "result", "0", "all parts known", ""},
    {"far-hints", "BSF and BSR with F3, and other encodings that a later extension took", "which instruction they are", "CPUID decides: TZCNT with BMI1, LZCNT with LZCNT, else the old one, whose prefix is ignored", "SDM vol. 2, TZCNT", "what a hidden feature decides is gone with it"},
    {"vex-clwb", "VEX.66.0F AE /6 with memory", "whether it exists", "#UD", "the manual has no such instruction; Intel's server parts with CLWB run it (measured)", "what exists is decided as on the host"},
    {"lar-limit", "LAR", "bits 19:16 of the result", "the descriptor's: limit 19:16", "as parts do", ""},
    {"rep-f2", "MOVS, STOS, LODS, INS, OUTS with F2", "meaning", "as with F3", kMeasured, kOnHost},
    {"reciprocals", "RCPPS, RCPSS, RSQRTPS, RSQRTSS and their VEX forms", "result within 1.5 * 2^-12", "the exact value to nearest with 12 significant bits (error at most 2^-12); denormals as zeros, tiny results 0", "each maker has tables of its own; ours are the same on every host. The oracle allows both errors", ""},
    {"transcendentals", "FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1", "result within 1 unit in the last place; C1", "the value to more than 105 bits, rounded once; arguments of the first four reduced by the 66-bit pi of SDM vol. 1, 8.3.8; PE always", "computed in integers, the same on every host. The oracle allows one unit, and C1 to differ", ""},
    {"f2xm1-range", "F2XM1 beyond -1 to 1; FYL2XP1 below -1", "result", "ST(0), with PE", kMeasured, kOnHost},
    {"x87-conditions", "x87 instructions that leave condition codes undefined", "C0, C2, C3", "unchanged", kMeasured, kOnHost},
    {"x87-pointers", "FSAVE, FSTENV, FXSAVE, XSAVE and what loads their images", "FCS, FDS and the pointers without an exception; bits of a 64-bit FIP beyond the linear-address width", "always of the last non-control instruction, selectors included; FIP is made canonical, as on the host, FDP is not", "CPUID does not claim the deprecation of FCS and FDS. AMD's parts save pointers only while an exception is pending", "what XRSTOR initialised, XSAVEC leaves out"},
    {"fld-denormal", "FLD of a denormal m32, m64 with DE unmasked", "whether the value is pushed", "it is", kMeasured, kOnHost},
    {"mmx-fault", "MMX stores that fault", "whether the x87 state has already become MMX", "no trace of the instruction", "Intel's parts have switched; restarting hides it", ""},
    // ---- state
    {"xsave-modified", "XSAVEOPT, XSAVES", "leaving out what was not modified since XRSTOR (SDM vol. 1, 13.6)", "never done", "a licence, not a duty", "XSAVEOPT leaves out what is in its initial configuration"},
    {"xsave-init", "XSAVE, XSAVEC, XGETBV(1)", "when a component counts as in use", "exactly when it differs from its initial configuration", "the manual lets processors say 'in use' for longer; the oracle compares sets both ways", ""},
    {"xrstor-fault", "XRSTOR that raises #GP or #PF", "which components it has already loaded", "none", "Intel's parts have loaded x87 when they see a bad MXCSR (measured)", "XRSTOR refuses bad headers, bad alignment and a bad MXCSR with #GP"},
    {"ad-bits", "page walks; far transfers and interrupts", "A in entries of a walk that ends in a fault (SDM vol. 3, 4.8); A in the descriptor of code that a fault of its new stack keeps from running", "only set once the access is allowed; set", "the least that is permitted; Bochs sets a descriptor's last", "a faulting walk leaves accessed and dirty flags alone, a load leaves the dirty flag alone"},
    {"stale-entries", "INVLPG, MOV CR3, page faults", "how much more than asked is forgotten", "no more than the manual demands", "the modelled TLB is the one the guest sees", "a stale translation stays visible until the guest flushes it"},
    {"lock-split", "locked accesses across a page", "atomicity against other processors and devices", "atomic: processors take turns between instructions, no DMA in between", "", "a store that ends on a missing page writes nothing on the first"},
    {"int1-priority", "data breakpoints and single-step together", "order", "one #DB with all bits of DR6", "SDM vol. 3, 17.3", "a data breakpoint and single-step behind one instruction are one trap with both bits"},
    {"dr6-hits", "debug exceptions", "whether B0 to B3 of DR6 are cleared (SDM vol. 3, 17.2.3: certain ones may)", "they show the last exception's; BS, BT and BD stay", "as KVM and Bochs have it", "a debug exception clears the hits of earlier ones in DR6, but not BS"},
    {"compat-rip", "IRETQ, 64-bit far RET to compatibility mode", "whether a RIP of more than 32 bits is beyond the limit (SDM vol. 2, IRET, checks EIP)", "IRETQ: it is, #GP; far RET: the upper half is dropped", "Bochs drops it in both; QEMU keeps it", ""},
    {"null-base", "loads of a null selector outside 64-bit mode; segments that a task switch could not load", "the hidden base, which FS_BASE and GS_BASE show later", "0", "Intel's parts clear it, AMD's and Bochs keep it", ""},
    // ---- makers
    {"syscall-compat", "SYSCALL, SYSENTER in compatibility mode", "which of them exists", "AMD models: SYSCALL; Intel: SYSENTER", "as the makers document", "in compatibility mode SYSCALL is AMD's and SYSENTER is Intel's"},
    {"sysret-rip", "SYSRET to a non-canonical address", "where #GP is raised", "Intel models: at level 0; AMD: at level 3", "SDM vol. 2, SYSRET; APM vol. 3", "SYSRET to a non-canonical address faults on Intel at level 0, on AMD not at all"},
    {"branch-66", "near branches with 66 in 64-bit mode", "operand size", "Intel models ignore it, AMD models branch 16 bits", "SDM vol. 2, JMP; APM vol. 3", "a near branch with 66 in 64-bit mode is 64 bits wide on Intel models and 16 on AMD models"},
    {"cr4-pse", "MOV to CR4 that changes PSE", "whether TLBs are flushed", "AMD models: yes; Intel: no", "APM vol. 2, 5.5.2; SDM vol. 3, 4.10.4.1", "CR4 writes invalidate what 4.10.4.1 lists and no more"},
    {"mci-status", "WRMSR of MCi_STATUS, ADDR, MISC", "values other than 0", "#GP; AMD models keep them while HWCR.McStatusWrEn is set", "SDM vol. 3, 15.3.2.2; APM vol. 2, 9.3", "machine-check banks are there and empty"},
    {"monitor-user", "MONITOR, MWAIT above level 0", "#UD or #GP", "#UD", "SDM vol. 2 and APM vol. 3 agree", "MONITOR and MWAIT: privilege, hints, the operand's page"},
    {"virtual-vector", "INT n that CR4.VME redirects", "whether the program's interrupt table is read with its own rights or the supervisor's", "its own", "SDM vol. 3, 20.3.3, does not say; Bochs reads as the supervisor", ""},
    {"monitor-extent", "MONITOR", "what else ends monitoring", "every exception and interrupt", "a false wake-up is always allowed (SDM vol. 3, 9.10.5)", "MWAIT without MONITOR, or with an exception since, does not wait"},
    // ---- which of several accesses and faults
    {"access-order", "instructions with several accesses", "which of them faults first", "in the order of the manual's pseudo-code", "each core has its own order", ""},
    {"fault-order", "CALL far; task switches; MOV of DR4, DR5, CR1; FXSAVE, FXRSTOR, XSAVE, XRSTOR", "which of two faults is raised: a refused selector or a stack that is not there; #PF, #GP or #SS for an image that is misplaced and invalid", "checks of the address first", "SDM vol. 3, table 6-2, and 7.3, table 7-1, leave it to the processor", ""},
    {"gather-order", "gathers", "which elements are loaded when one faults (SDM vol. 2, VPGATHERDD)", "from the lowest element on", "any order is allowed", ""},
    {"masked-bytes", "MASKMOVQ, MASKMOVDQU, VMASKMOV, VPMASKMOV", "which byte is named in CR2, and whether an all-zero mask faults (SDM vol. 2, MASKMOVDQU)", "the first byte that is written; nothing without one", "each core has its own order", ""},
    {"split-store", "FSTP m80, FBSTP, x87 images, vector stores", "what is written or loaded before a page that faults", "nothing", "cores, QEMU and Bochs write or load the part before it", ""},
    {"string-counters", "string instructions with 32-bit addresses", "bits 63:32 of RCX, RSI and RDI after a fault at the first element; with a count of 0", "unchanged; cleared", "some cores clear them in both cases; the latter as measured on Intel cores, where QEMU keeps them", ""},
    {"string-flags", "REP CMPS, REP SCAS", "flags when an element faults", "as before the instruction (SDM vol. 2, REP)", "QEMU and Bochs show those of the last element compared", ""},
    {"alignment-images", "FXSAVE, FXRSTOR, XSAVE, XRSTOR", "#GP or #AC for a misaligned image while alignment is checked (SDM vol. 2, FXSAVE)", "#GP", "left to the processor", ""},
    {"alignment-elements", "gathers, masked moves, VCVTPH2PS, VCVTPS2PH", "whether EFLAGS.AC checks their elements (SDM vol. 2, tables 2-23, 2-25, 2-27)", "each element", "left to the processor", ""},
    {"alignment-x87", "FLD, FSTP, FBLD, FBSTP of 80 bits, x87 images", "what EFLAGS.AC checks (SDM vol. 3, table 6-7)", "80 bits: 8 bytes; images: their words; before anything else", kMeasured, kOnHost},
    {"half-precision-pe", "VCVTPS2PH", "PE beside an unmasked underflow of a denormal source", "set", kMeasured, kOnHost},
    {"push-selector", "PUSH of a segment register, 32-bit", "upper half of the stack slot (SDM vol. 2, PUSH)", "not written", "measured on Intel cores; older ones write zeros", "a 32-bit PUSH of a segment register writes two bytes"},
    {"arpl-write", "ARPL to memory", "whether a page fault says W", "only when RPL is raised", "Bochs asks for write access at once", ""},
    // ---- what the oracle cannot compare
    {"kernel-entry", "SYSCALL, SYSENTER", "-", "as the manual", "they enter the kernel beneath the harness; KVM, guests and test/cpu have them", ""},
    {"umip-answers", "SGDT, SIDT, SLDT, STR, SMSW on the host", "-", "as the manual", "user-mode instruction prevention: Linux answers in the processor's stead", ""},
    {"vsyscall", "accesses to the page at FFFFFFFFFF600000h, jumps mostly", "-", "#PF like any other", "Linux emulates that page, and says another address", ""},
    {"own-rights", "RDPKRU", "-", "what WRPKRU left", "rights stay from case to case; sequence_test.cpp writes and reads them", ""},
    {"identity", "CPUID, RDPID, XGETBV", "-", "the configured model's", "another processor with other state components; cpuid_test.cpp compares leaves with real parts'", ""},
    {"hint-nop", "CLDEMOTE", "-", "a NOP", "no processor model has the feature", ""},
    {"time", "RDTSC, RDTSCP", "-", "the modelled clock", "time is not the same on both sides", ""},
    {"random", "RDRAND, RDSEED", "-", "a seeded generator", "random numbers", ""},
    {"table-places", "SGDT, SIDT in images", "-", "as the manual", "an image has its tables at addresses of its own", ""},
    {"no-counters", "RDPMC", "-", "there are no performance counters: #GP", "Bochs has some that read 0, QEMU raises #UD", ""},
    {"harness-page", "all", "-", "as the manual", "what reads the page that snippets leave to, or enters it in its middle, sees the harness and not the processor", ""},
    // ---- other emulators, against the manual
    {"pause-rex", "F3 90 with REX.B", "PAUSE or XCHG with R8", "PAUSE", "measured on Intel cores; QEMU and Bochs exchange", kOnHost},
    {"unicorn-view", "all under Unicorn", "-", "as the manual", "it runs at level 0 without descriptor tables and shows neither error codes nor x87, MXCSR and vectors as the manual has them", ""},
    {"unicorn-faults", "all under Unicorn", "-", "as the manual", "an exception stops it with a number at best, and it checks neither limits nor alignment nor an illegal LOCK", ""},
    {"unicorn-neg", "NEG", "-", "as the manual", "QEMU 5 computes the flags of a locked NEG from the operand", ""},
    {"unicorn-predicates", "CMPPS and its kin with bits 7:3 of the immediate", "-", "ignored, as the host", "QEMU 5 raises #UD", ""},
    {"unicorn-bits", "BZHI, BEXTR, PDEP, PEXT", "-", "as the host", "QEMU 5 errs for operands of 32 bits", ""},
    {"unicorn-exchange", "CMPXCHG of 32 bits that succeeds", "-", "RAX is not written, as on the host", "QEMU 5 clears its upper half", ""},
    {"qemu-hints", "register forms of 0F 0D and 0F 18, F6 /1 and F7 /1, C6 and C7 with a /r other than 0, EMMS", "-", "NOP, TEST, #UD, as the host", "QEMU raises #UD, but takes each C6 and C7 for MOV", ""},
    {"qemu-return", "RET imm16, RETF imm16", "-", "unsigned (SDM vol. 2, RET)", "QEMU takes the immediate as signed", ""},
    {"qemu-resume", "faults", "-", "RF set in the frame (SDM vol. 3, 17.3.1.1)", "QEMU leaves RF clear", ""},
    {"qemu-traps", "#AC, #XM, #MF; #GP for misaligned vector operands", "-", "raised", "QEMU checks no alignment, raises no vector floating-point exception and is lax with the flags that tell of them", ""},
    {"qemu-x87", "x87 instructions", "-", "as the host", "QEMU detects no stack fault and delivers few exceptions; compared are cases with everything masked and valid and full precision, without exception flags and C1", ""},
    {"qemu-mmx", "MMX instructions", "-", "bits 79:64 become ones (SDM vol. 1, 9.6.2); EMMS makes TOP 0, as on the host; REX.R and REX.B are ignored", "QEMU leaves the upper bits and TOP; with REX it writes behind its registers, which spoils what follows, so such cases are not run", ""},
    {"qemu-lock", "LOCK where it is illegal", "-", "#UD", "QEMU does not look", ""},
    {"qemu-update", "read-modify-write of a page that is not there", "-", "W in the error code", "QEMU reads first", ""},
    {"qemu-order", "privileged instructions that do not exist, SYSRET, and the like", "-", "as the host", "QEMU checks in another order", ""},
    {"qemu-interrupt", "INT n without a gate, INT1", "-", "error code 8 * n + 2; #DB", "QEMU says 16 * n + 2; #UD", ""},
    {"qemu-enter", "ENTER", "-", "the new stack pointer must be writable (SDM vol. 2, ENTER)", "QEMU does not look", ""},
    {"qemu-flush", "CLFLUSH, CLFLUSHOPT, CLWB", "-", "fault like a load", "QEMU does nothing", ""},
    {"qemu-gathers", "gathers", "-", "as the host", "QEMU 7.2 takes other addresses and elements", ""},
    {"qemu-wide-reads", "loads narrower than a register, masked loads", "-", "only what is used is read", "QEMU 7.2 reads the whole register's width", ""},
    {"qemu-environment", "FLDENV", "-", "the whole image is read", "QEMU reads the control, status and tag words alone of an environment", ""},
    {"qemu-nans", "vector arithmetic on several NaNs", "-", "the first operand's (SDM vol. 1, table 4-7)", "QEMU takes the one with the larger significand", ""},
    {"qemu-denormals", "vector arithmetic under DAZ or FTZ; RCP, RSQRT", "-", "as the host", "QEMU returns denormal operands of MIN, MAX and others as they were", ""},
    {"qemu-segments", "accesses in 32-bit mode", "-", "limits and types are checked", "QEMU checks none", ""},
    {"qemu-checks", "LDMXCSR, FXRSTOR, XRSTOR, WRFSBASE, WRGSBASE, MASKMOVDQU; WRMSR, LGDT, LIDT, LTR, SYSENTER, MOV CR, IRETQ, far RET", "-", "reserved bits, addresses that are not canonical and null selectors raise #GP", "QEMU does not look, or shuts down", ""},
    {"qemu-far-pointers", "LSS, LFS, LGS, far JMP and CALL with REX.W", "-", "64-bit offset, as the host", "QEMU does as AMD's parts: 32 bits", ""},
    {"qemu-selector", "VBLENDV, VZEROALL and VZEROUPPER in 32-bit mode", "-", "there are eight registers (SDM vol. 2, VZEROALL)", "QEMU takes sixteen", ""},
    {"qemu-lengths", "PCMPESTRI, PCMPESTRM with REX.W or VEX.W", "-", "lengths of 64 bits, as the host", "QEMU 7.2 takes 32", ""},
    {"qemu-vif", "PUSHF", "-", "as the manual", "QEMU lets VIF and VIP of an earlier snippet's POPF stand", ""},
    {"qemu-immediate", "SHLD, SHRD, RORX of a RIP-relative operand by an immediate", "-", "relative to the next instruction", "QEMU forgets the immediate's byte", ""},
    {"qemu-bits", "BT and its kin in 32-bit mode", "-", "the address wraps", "QEMU adds up 64 bits", ""},
    {"limit-wrap", "accesses across 4 GiB in a flat segment", "#GP or #SS, or none (SDM vol. 3, 5.3)", "the limit is checked", "Bochs wraps", ""},
    {"bochs-fma", "FMA, dot products, conversions to single", "-", "DE and PE as the host", "Bochs 2.7 sets DE only where the product counts, and PE beside an unmasked underflow: where they are unmasked it raises #XM otherwise", ""},
    {"qemu-adx", "ADCX, ADOX, BLSI", "-", "as the host", "QEMU 7.2 leaves wrong flags (mended in 8)", ""},
    {"bochs-66", "ENTER and LEAVE with 66, IRET of 32 bits in 64-bit mode", "-", "as the host", "Bochs takes the operand size for 64 bits, and no stack from IRET's frame", ""},
    {"bochs-sha", "SHA1RNDS4", "-", "FIPS 180-4", "Bochs 2.7 has the words in another order", ""},
    {"bochs-x87", "FCOMI and its kin, FLD; FSTPNCE; FSIN, FCOS and other functions; FPREM; FSCALE that overflows unmasked", "C1; empty registers; last bits", "as the host; within one unit in the last place", "Bochs sets C1 otherwise, raises stack faults, and errs by several units", ""},
    {"bochs-alignment", "SGDT, SIDT, x87 images, FLD and FBLD of 80 bits, far pointers with EFLAGS.AC", "-", "as a whole; a fault leaves x87 alone", "Bochs checks each piece, and has loaded or initialised x87 by then", ""},
    {"qemu-pages", "page faults; PAE paging", "-", "P in the error code of a reserved bit; page-directory-pointer entries have no A (SDM vol. 3, 4.7, 4.4.1)", "QEMU leaves P out, and sets their bit 5", ""},
    {"qemu-overrides", "ES, CS, SS, DS overrides in 64-bit mode", "-", "ignored (SDM vol. 1, 3.4.2.1)", "QEMU adds the segment's base", ""},
    {"qemu-msr", "IA32_FMASK, IA32_SYSENTER_CS", "-", "32 bits", "QEMU keeps 64 and 16", ""},
    {"qemu-virtual", "IRET with VM in the frame above level 0", "-", "VM is ignored (SDM vol. 2, IRET)", "QEMU enters virtual-8086 mode", ""},
    {"qemu-gates", "16-bit call, interrupt and trap gates", "-", "offset of 16 bits (SDM vol. 3, 6.11)", "QEMU takes 32", ""},
    {"qemu-tasks", "task switches whose new task meets a fault; T of a TSS", "-", "the fault is the new task's, at its EIP; #DB (SDM vol. 3, 7.3)", "QEMU shows the old EIP, or the new stack, or shuts down; it knows no T, and reads the new task before it has saved the old one", ""},
    {"qemu-accessed", "far JMP, CALL, RET, IRET", "-", "set A of the code segment's descriptor", "QEMU does so now and then", ""},
    {"qemu-lar", "LAR, LSL in IA-32e mode", "-", "refuse 16-bit gates and system descriptors whose second half is beyond the table (SDM vol. 2, LAR)", "QEMU looks at eight bytes and knows one set of types", ""},
    {"qemu-ist", "interrupts by IST at the same level", "-", "SS stays (SDM vol. 2, INT)", "QEMU makes it null", ""},
    {"qemu-syscall", "SYSCALL", "-", "only what IA32_FMASK says is cleared", "QEMU 7.2 clears the arithmetic flags", ""},
    {"qemu-exchange8", "CMPXCHG8B behind an instruction that sets flags", "-", "changes ZF alone", "QEMU 7.2 has stale flags", ""},
    {"qemu-debug", "single-step, breakpoints, DR6, DR7", "-", "as the manual", "QEMU traps twice or not at all, knows no shadow behind MOV SS and no general detection, keeps reserved bits and hangs at times: such system cases are not run", ""},
    {"qemu-monitor", "MONITOR", "-", "reads the operand as far as paging is concerned (SDM vol. 2, MONITOR)", "QEMU does not look at it", ""},
    {"qemu-features", "CR4.VME, PVI and PCIDE, INVPCID", "-", "as the manual", "QEMU 7.2 does not have them: such system cases are not run", ""},
    {"qemu-popa", "POPA that faults", "-", "no register is loaded", "QEMU has loaded those before the fault", ""},
    {"open-bus", "IN, INS from a port that no device has, reads where no memory is", "-", "all ones", "QEMU returns zeros; below 4 GiB its ROM and that of Bochs lies", ""},
    {"bochs-debug", "debug exceptions", "-", "RF is set between the elements of a string and by general detection, and clear behind a trap (SDM vol. 3, 17.3.1.1)", "Bochs has it the other way round, and adds the next instruction's breakpoint to DR6", ""},
    {"bochs-checks", "IRET, far RET; far calls and interrupts in IA-32e mode", "-", "a null SS must have the RPL of the new level, an absent one is #SS; a target is checked before anything is pushed (SDM vol. 2, IRET, INT)", "Bochs does not look; it pushes first", ""},
    {"bochs-segment", "MOV of a segment register with REX.R", "-", "the bit is ignored, as on the host", "Bochs raises #UD", ""},
    {"bochs-shift", "PSRLQ by 64; shifts of MMX registers by 0", "-", "0 in both halves; bits 79:64 become ones, as on the host", "Bochs leaves the upper half, and the bits", ""},
    {"bochs-virtual", "EFLAGS.VIF and VIP under CR4.PVI in 64-bit mode", "-", "#GP at the beginning of an instruction (SDM vol. 3, 20.3.2, 20.4)", "Bochs lets the one behind IRETQ complete", ""},
    {"bochs-xrstor", "XRSTOR", "-", "the compacted format without SSE initialises MXCSR (SDM vol. 1, 13.8.2); the legacy region must be there, XSTATE_BV must name no more than XCOMP_BV, as on the host", "Bochs 2.7 takes MXCSR from memory, reads what it restores alone, and lets bit 63 pass", ""},
    {"bochs-half", "VCVTPS2PH", "-", "ties to even; an exact denormal is no underflow, as on the host", "Bochs 2.7 rounds ties away from zero now and then, and has UE and PE beside exact denormals", ""},
    {"bochs-adx", "ADOX", "-", "as the host", "Bochs 2.7 computes OF of the sum", ""},
    // clang-format on
};

std::string escaped(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
  return text;
}

}  // namespace

std::span<const Policy> policies() { return kPolicies; }

const Policy& policy(const std::string& id) {
  for (const Policy& p : kPolicies)
    if (id == p.id) return p;
  throw std::invalid_argument("there is no policy '" + id + "'");
}

bool is_policy(const std::string& id) {
  return std::any_of(std::begin(kPolicies), std::end(kPolicies), [&](const Policy& p) { return id == p.id; });
}

std::string policy_page(const std::function<std::string(const Policy&)>& left_out) {
  std::string page =
      "# What the architecture leaves open, and where others differ\n\n"
      "Written from the table in [cpu/undefined.cpp](../cpu/undefined.cpp) and the oracle's lines in\n"
      "[policy.cpp](../test/oracle/harness/policy.cpp) by `build/test/test_oracle \"[write-policy]\"`; a test compares "
      "them. Each "
      "line of\nthe oracle names a row; each row names what is left out because of it, or the test that shows what we do, "
      "or "
      "both.\n\n"
      "| id | instructions | left open | ours | why, and who differs | not compared with | shown by "
      "|\n|---|---|---|---|---|---|---|\n";
  for (const Policy& p : kPolicies)
    page += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", p.id, escaped(p.instructions), escaped(p.open),
                        escaped(p.ours), escaped(p.why), escaped(left_out(p)), escaped(p.shown));
  page +=
      "\n## What real parts have and these models do not show\n\n"
      "A feature that is not implemented is hidden from CPUID, its instructions raise #UD and its control bits are "
      "reserved.\n\n"
      "| model | hidden |\n|---|---|\n";
  for (const auto& [name, entry] : CpuModels::instance().entries()) {
    std::string hidden;
    const auto model = CpuModels::instance().make(name);
    for (const Feature f : model->features)
      if (!is_implemented(f)) hidden += (hidden.empty() ? "" : ", ") + std::string(name_of(f));
    page += fmt::format("| {} | {} |\n", name, hidden.empty() ? "nothing" : hidden);
  }
  return page;
}

}  // namespace nestwalk::cpu
