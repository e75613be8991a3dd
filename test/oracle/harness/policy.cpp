#include "test/oracle/harness/policy.h"

#include <cstring>
#include <map>
#include <sstream>

#include "cpu/decode.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

constexpr u64 kCpazso = fl::arithmetic;

constexpr PolicyLine kPolicy[] = {
    // clang-format off
    // ---- not run
    {"SYSCALL SYSENTER", kEveryRung | kImage, 0, kEverything, PolicyLine::always,
     "enters the kernel; test/cpu, the guests and KVM have them"},
    {"SGDT SIDT SLDT STR SMSW", kHost, 0, kEverything, PolicyLine::always,
     "user-mode instruction prevention: Linux answers in the processor's stead"},
    {"RDTSC RDTSCP", kEveryRung | kImage, 0, kRax | kRcx | kRdx, PolicyLine::always, "time is not the same on both sides"},
    {"RDRAND RDSEED", kEveryRung | kImage, 0, kDestination, PolicyLine::always, "random numbers"},
    {"RDPID", kEveryRung | kImage, 0, kDestination, PolicyLine::always, "the number of the processor that Linux happened to choose"},
    {"CPUID", kEveryRung | kImage, 0, kEverything, PolicyLine::always,
     "another processor's; test/cpu/cpuid_test.cpp compares the leaves with real parts'"},
    {"XGETBV", kEveryRung, 0, kRax | kRcx | kRdx, PolicyLine::always, "XCR0 of a processor with more state components"},
    {"RDPKRU WRPKRU", kHost, 0, kEverything, PolicyLine::always,
     "rights of the harness's own pages; test/oracle/*pku* and test/cpu have them"},
    {"CLDEMOTE", kEveryRung, 0, kEverything, PolicyLine::always, "no processor model has the feature: its encoding is a NOP"},
    {"SGDT SIDT", kQemu | kBochs | kImage, 0, kMemoryPart, PolicyLine::always, "an image has its tables at addresses of its own"},
    // ---- approximations
    {"F2XM1 FYL2X FYL2XP1 FPATAN", kEveryRung, 0, kX87Codes, PolicyLine::always, "C0, C2 and C3 are undefined (SDM vol. 2)"},
    {"F2XM1 FYL2X FYL2XP1 FPTAN FPATAN FSIN FCOS FSINCOS", kEveryRung, 0, kX87Last, PolicyLine::always,
     "one unit in the last place, and what tells of its rounding (cpu/undefined.h: transcendentals)"},
    {"RCPPS RCPSS RSQRTPS RSQRTSS VRCPPS VRCPSS VRSQRTPS VRSQRTSS", kEveryRung, 0, kReciprocal, PolicyLine::always,
     "1.5 * 2^-12 relative error is allowed (cpu/undefined.h: reciprocals)"},
    // ---- page faults of several accesses
    {"FXSAVE FXSAVE64 FXRSTOR FXRSTOR64 XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64 XRSTOR XRSTOR64 FNSAVE FRSTOR FNSTENV "
     "FLDENV IRET IRETD IRETQ RETF ENTER LEAVE JMPF CALLF LSS LFS LGS", kEveryRung, 0, kAddress, PolicyLine::on_fault,
     "several accesses: which one faults first is the core's choice"},
    {"CMPSB CMPSW CMPSD CMPSQ", kEveryRung, 0, kAddress, PolicyLine::on_fault, "two reads: which one faults first is the core's choice"},
    {"CALLF", kEveryRung, 0, kWhichFault, PolicyLine::on_fault,
     "a selector that is refused and a stack that faults have no order"},
    {"FXRSTOR FXRSTOR64 XRSTOR XRSTOR64", kEveryRung, 0, kWhichFault, PolicyLine::on_fault,
     "an image that is partly unmapped and partly invalid: #PF and #GP have no order"},
    {"VGATHERDPS VGATHERDPD VGATHERQPS VGATHERQPD VPGATHERDD VPGATHERDQ VPGATHERQD VPGATHERQQ", kEveryRung, 0,
     kVectors | kAddress, PolicyLine::on_fault, "elements are gathered in any order: which ones are there at a fault is the core's choice"},
    {"MASKMOVQ MASKMOVDQU VMASKMOVDQU", kEveryRung, 0, kAddress, PolicyLine::on_fault,
     "which byte faults first, and whether an all-zero mask faults, is the implementation's (SDM vol. 2, MASKMOVDQU)"},
    {"FXSAVE FXSAVE64 XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64", kEveryRung, 0, kWhichFault, PolicyLine::on_fault,
     "misaligned and not canonical through the stack segment: #GP and #SS have no order"},
    {"XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64", kEveryRung, 0, kProbed, PolicyLine::on_fault,
     "we probe the whole image before anything is written; cores touch only the parts that they write"},
    {"VCVTPS2PH", kHost, 0, kMxcsrPart, PolicyLine::on_fault,
     "PE beside an unmasked underflow of a denormal source: the host sets it though nothing was rounded"},
    {"VMASKMOVPS VMASKMOVPD VPMASKMOVD VPMASKMOVQ", kEveryRung, 0, kAddress, PolicyLine::on_fault,
     "which byte of an element that crosses a page is named is the core's choice"},
    {"FBSTP FSTP", kHost, 0, kMemoryPart, PolicyLine::on_fault, "cores write the part before a page that faults; we write nothing"},
    {"MOVSB MOVSW MOVSD MOVSQ STOSB STOSW STOSD STOSQ LODSB LODSW LODSD LODSQ CMPSB CMPSW CMPSD CMPSQ SCASB SCASW SCASD SCASQ",
     kEveryRung, 0, kHighCounters, PolicyLine::on_fault,
     "32-bit addresses and a fault at the first element: whether the high halves of RCX, RSI, RDI are cleared"},
    {"MOVNTQ MASKMOVQ MOVD MOVQ", kHost, 0, kX87Part, PolicyLine::on_fault,
     "cores make the transition from x87 to MMX before a store that then faults"},
    // ---- alignment checks
    {"FXSAVE FXSAVE64 FXRSTOR FXRSTOR64 XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64 XRSTOR XRSTOR64", kEveryRung, 0,
     kAlignment, PolicyLine::always, "a misaligned image raises #GP or #AC when alignment is checked (SDM vol. 2, FXSAVE)"},
    {"VGATHERDPS VGATHERDPD VGATHERQPS VGATHERQPD VPGATHERDD VPGATHERDQ VPGATHERQD VPGATHERQQ VMASKMOVPS VMASKMOVPD VPMASKMOVD "
     "VPMASKMOVQ MASKMOVQ MASKMOVDQU VMASKMOVDQU VCVTPH2PS VCVTPS2PH", kEveryRung, 0, kAlignment, PolicyLine::always,
     "alignment checks of elements: the manual's exception classes leave them to the core (SDM vol. 2, tables 2-23, 2-25, 2-27)"},
    {"FLD FSTP FBLD FBSTP FNSAVE FRSTOR FNSTENV FLDENV", kEveryRung, 0, kAlignment, PolicyLine::always,
     "known defect: the alignment of 80-bit operands and x87 images is not checked as a whole (SDM vol. 3, 6.15)"},

    // ---- Unicorn: CPL 0, no system tables, exceptions without details
    {"*", kUnicorn, 0, kErrorCode | kAddress | kX87Part | kMxcsrPart | kVectors | kFlagImage | kSelectors, PolicyLine::always,
     "what Unicorn does not show, or does not have"},
    {"*", kUnicorn, 0, kFaults, PolicyLine::on_fault, "where we fault nothing is compared: QEMU checks neither limits nor alignment nor an illegal LOCK"},
    {"IN OUT INSB INSW INSD OUTSB OUTSW OUTSD CLI STI HLT LGDT LIDT SGDT SIDT SLDT STR LLDT LTR LAR LSL VERR VERW SMSW LMSW CLTS "
     "INVLPG INVPCID INVD WBINVD RDMSR WRMSR RDPMC SWAPGS XSETBV JMPF CALLF RETF IRET IRETD IRETQ INT INT1 INT3 INTO SYSCALL "
     "SYSRET SYSENTER SYSEXIT CLAC STAC LES LDS LSS LFS LGS POPF POPFD POPFQ PUSHF PUSHFD PUSHFQ MONITOR MWAIT "
     "RDFSBASE RDGSBASE WRFSBASE WRGSBASE RDPKRU WRPKRU UD0 UD1 UD2", kUnicorn, 0, kEverything, PolicyLine::always,
     "privilege, descriptor tables or exceptions decide"},
    {"XGETBV XSAVE XSAVEOPT XSAVEC XRSTOR FXSAVE FXRSTOR LDMXCSR STMXCSR FISTTP RDRAND RDSEED RDTSC RDTSCP RDPID", kUnicorn, 0, kEverything,
     PolicyLine::always, "state that it does not show"},
    {"NOP TEST EMMS", kUnicorn, 0, kEverything, PolicyLine::always,
     "QEMU 5 raises #UD for register forms of 0F 0D and 0F 18, for TEST as F6 /1 and F7 /1 and without SSE; the host runs them as we do"},
    {"RET", kUnicorn, 0, kEverything, PolicyLine::always, "QEMU 5 takes the immediate as signed (SDM vol. 2, RET: it is not)"},
    {"NEG", kUnicorn, kCpazso, 0, PolicyLine::always, "QEMU 5 computes the flags of a locked NEG from the operand"},
    {"BSF BSR TZCNT LZCNT", kUnicorn, 0, kEverything, PolicyLine::always, "Unicorn runs F3 0F BC as TZCNT whatever its CPUID says"},
    {"PUSH POP MOV", kUnicorn, 0, kEverything, PolicyLine::always, "selectors of tables that it does not have"},
    {"BSWAP", kUnicorn, 0, kEverything, PolicyLine::always, "16 bits are undefined (SDM vol. 2); we do as the host does"},
    {"SHL SHR SAR ROL ROR RCL RCR SHLD SHRD", kUnicorn, fl::of | fl::af | fl::cf, 0, PolicyLine::always,
     "OF for counts other than 1, AF, CF for counts past the width are undefined; we follow the host, QEMU 5 does not"},
    {"MUL IMUL", kUnicorn, fl::sf | fl::zf | fl::af | fl::pf, 0, PolicyLine::always, "undefined flags (SDM vol. 2)"},
    {"BT BTS BTR BTC", kUnicorn, fl::of | fl::sf | fl::af | fl::pf, 0, PolicyLine::always, "undefined flags (SDM vol. 2)"},
    {"AAA AAS", kUnicorn, fl::of | fl::sf | fl::zf | fl::pf, 0, PolicyLine::always, "undefined flags (SDM vol. 2)"},
    {"DAA DAS", kUnicorn, fl::of, 0, PolicyLine::always, "undefined flags (SDM vol. 2)"},
    {"AAM AAD", kUnicorn, fl::of | fl::af | fl::cf, 0, PolicyLine::always, "undefined flags (SDM vol. 2)"},
    // ---- undefined flags
    {"DIV IDIV", kEveryRung, kCpazso, 0, PolicyLine::always, "all six flags are undefined and differ between cores (SDM vol. 2, DIV)"},
    // clang-format on
};

struct Names {
  std::map<std::string, Op> ops;
  Names() {
    for (unsigned n = 0; n < static_cast<unsigned>(Op::count_); ++n) ops[name_of(static_cast<Op>(n))] = static_cast<Op>(n);
  }
};

/// For every Op the lines that name it.
struct Index {
  std::array<std::vector<const PolicyLine*>, static_cast<unsigned>(Op::count_)> lines;
  std::vector<std::string> unknown;
  Index() {
    const Names names;
    for (const PolicyLine& line : kPolicy) {
      std::istringstream in(line.ops);
      for (std::string name; in >> name;) {
        if (name == "*") {
          for (auto& l : lines) l.push_back(&line);
        } else if (const auto it = names.ops.find(name); it != names.ops.end()) {
          lines[static_cast<unsigned>(it->second)].push_back(&line);
        } else {
          unknown.push_back(name);
        }
      }
    }
  }
};
const Index& index() {
  static const Index i;
  return i;
}

}  // namespace

std::span<const PolicyLine> policy() { return kPolicy; }

Ignored ignored(const Case& c, Rung rung, const Outcome& ours) {
  Ignored all;
  for (const PolicyLine* l : index().lines[static_cast<unsigned>(c.op)]) {
    if (!(l->rungs & rung)) continue;
    if (l->when == PolicyLine::on_fault && ours.vector < 0) continue;
    all.flags |= l->flags;
    all.parts |= l->parts;
  }
  all.probed = (all.parts & kProbed) && ours.vector == ex::pf;
  all.faults = all.parts & kFaults;
  all.kernel_hidden = rung == kHost;
  all.may_die = rung == kUnicorn;
  all.either_fault = all.parts & kWhichFault;
  all.alignment = (all.parts & kAlignment) && (c.before.rflags & fl::ac);
  return all;
}

const char* exception_of(Op op, Rung rung) {
  for (const PolicyLine* l : index().lines[static_cast<unsigned>(op)])
    if ((l->rungs & rung) && (l->parts & kEverything)) return l->reason;
  return nullptr;
}

std::vector<std::string> unknown_names() { return index().unknown; }

}  // namespace nestwalk::oracle
