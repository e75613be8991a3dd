#include "test/oracle/harness/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string_view>

#include "cpu/decode.h"
#include "cpu/undefined.h"
#include "test/oracle/harness/our_side.h"
#include "test/oracle/harness/system_policy.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

constexpr u64 kCpazso = fl::arithmetic;
constexpr u32 kDazFtz = 0x8040;  // of MXCSR

constexpr const char* kGathers = "VGATHERDPS VGATHERDPD VGATHERQPS VGATHERQPD VPGATHERDD VPGATHERDQ VPGATHERQD VPGATHERQQ";
constexpr const char* kMasked = "VMASKMOVPS VMASKMOVPD VPMASKMOVD VPMASKMOVQ";
constexpr const char* kMaskedBytes = "MASKMOVQ MASKMOVDQU VMASKMOVDQU";
constexpr const char* kStrings =
    "MOVSB MOVSW MOVSD MOVSQ STOSB STOSW STOSD STOSQ LODSB LODSW LODSD LODSQ CMPSB CMPSW CMPSD CMPSQ SCASB SCASW SCASD "
    "SCASQ";
constexpr const char* kImages =
    "FXSAVE FXSAVE64 FXRSTOR FXRSTOR64 XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64 XRSTOR XRSTOR64";
constexpr const char* kFused =
    "VFMADD132PD VFMADD132PS VFMADD132SD VFMADD132SS VFMADD213PD VFMADD213PS VFMADD213SD VFMADD213SS "
    "VFMADD231PD VFMADD231PS VFMADD231SD VFMADD231SS VFMADDSUB132PD VFMADDSUB132PS VFMADDSUB213PD "
    "VFMADDSUB213PS VFMADDSUB231PD VFMADDSUB231PS VFMSUB132PD VFMSUB132PS VFMSUB132SD VFMSUB132SS "
    "VFMSUB213PD VFMSUB213PS VFMSUB213SD VFMSUB213SS VFMSUB231PD VFMSUB231PS VFMSUB231SD VFMSUB231SS "
    "VFMSUBADD132PD VFMSUBADD132PS VFMSUBADD213PD VFMSUBADD213PS VFMSUBADD231PD VFMSUBADD231PS "
    "VFNMADD132PD VFNMADD132PS VFNMADD132SD VFNMADD132SS VFNMADD213PD VFNMADD213PS VFNMADD213SD "
    "VFNMADD213SS VFNMADD231PD VFNMADD231PS VFNMADD231SD VFNMADD231SS VFNMSUB132PD VFNMSUB132PS "
    "VFNMSUB132SD VFNMSUB132SS VFNMSUB213PD VFNMSUB213PS VFNMSUB213SD VFNMSUB213SS VFNMSUB231PD "
    "VFNMSUB231PS VFNMSUB231SD VFNMSUB231SS";
constexpr unsigned kTcg = kUnicorn | kQemu, kPeers = kTcg | kBochs;

constexpr PolicyLine kPolicy[] = {
    // clang-format off
    // ---- not run
    {"kernel-entry", "SYSCALL SYSENTER", kEveryRung | kImage, 0, kEverything},
    {"umip-answers", "SGDT SIDT SLDT STR SMSW", kHost, 0, kEverything},
    {"identity", "CPUID", kEveryRung | kImage, 0, kEverything},
    {"hint-nop", "CLDEMOTE", kEveryRung, 0, kEverything},
    // ---- not the same by nature
    {"harness-page", "*", kEveryRung | kImage, 0, kAnything, When::own_page},
    {"vsyscall", "*", kHost, 0, kAnything, When::vsyscall},
    {"identity", "LSL", kHost, 0, kDestination, When::cpu_number},
    {"time", "RDTSC RDTSCP", kEveryRung | kImage, 0, kRax | kRcx | kRdx},
    {"own-rights", "RDPKRU", kEveryRung | kImage, 0, kRax},
    {"random", "RDRAND RDSEED", kEveryRung | kImage, 0, kDestination},
    {"identity", "RDPID", kEveryRung | kImage, 0, kDestination},
    {"identity", "XGETBV", kEveryRung, 0, kRax | kRcx | kRdx},
    {"table-places", "SGDT SIDT", kQemu | kBochs | kImage, 0, kMemoryPart},
    // ---- approximations
    {"x87-conditions", "F2XM1 FYL2X FYL2XP1 FPATAN", kEveryRung, 0, kX87Codes},
    {"transcendentals", "F2XM1 FYL2X FYL2XP1 FPTAN FPATAN FSIN FCOS FSINCOS", kEveryRung, 0, kX87Last},
    {"reciprocals", "RCPPS RCPSS RSQRTPS RSQRTSS VRCPPS VRCPSS VRSQRTPS VRSQRTSS", kEveryRung, 0, kReciprocal},
    // ---- faults of several accesses
    {"access-order", kImages, kEveryRung, 0, kAddress, When::fault},
    {"access-order", "FNSAVE FRSTOR FNSTENV FLDENV IRET IRETD IRETQ RETF ENTER LEAVE JMPF CALLF LSS LFS LGS LES LDS", kEveryRung, 0, kAddress, When::fault},
    {"access-order", "CMPSB CMPSW CMPSD CMPSQ", kEveryRung, 0, kAddress | kWhichFault, When::fault},
    {"fault-order", "CALLF FXRSTOR FXRSTOR64 XRSTOR XRSTOR64 FXSAVE FXSAVE64 XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64", kEveryRung, 0, kWhichFault, When::fault},
    {"gather-order", kGathers, kEveryRung, 0, kVectors | kAddress, When::fault},
    {"masked-bytes", kMaskedBytes, kEveryRung, 0, kAddress, When::fault},
    {"masked-bytes", kMasked, kEveryRung, 0, kAddress, When::fault},
    {"split-store", "FBSTP FSTP", kHost, 0, kMemoryPart, When::fault},
    {"string-counters", kStrings, kEveryRung, 0, kHighCounters, When::fault},
    {"string-counters", kStrings, kPeers, 0, kHighCounters, When::no_count},
    {"mmx-fault", "MOVNTQ MASKMOVQ MOVD MOVQ", kHost | kBochs, 0, kX87Part, When::fault},
    // ---- alignment checks
    {"alignment-images", kImages, kEveryRung, 0, kAlignment},
    {"alignment-elements", kGathers, kEveryRung, 0, kAlignment},
    {"alignment-elements", kMasked, kEveryRung, 0, kAlignment},
    {"alignment-elements", kMaskedBytes, kEveryRung, 0, kAlignment},
    {"alignment-elements", "VCVTPH2PS VCVTPS2PH", kEveryRung, 0, kAlignment},

    // ---- undefined flags and results, where others do otherwise
    {"div-flags", "DIV IDIV", kEveryRung, kCpazso},
    {"shift-of", "SHL SHR SAR ROL ROR RCL RCR SHLD SHRD", kPeers, fl::of | fl::af},
    {"shift-cf", "SHL SHR SAR", kPeers, fl::cf},
    {"shld-16", "SHLD SHRD", kPeers, fl::cf},
    {"mul-flags", "MUL IMUL", kPeers, fl::sf | fl::zf | fl::af | fl::pf},
    {"bt-flags", "BT BTS BTR BTC", kPeers, fl::of | fl::sf | fl::af | fl::pf},
    {"scan-flags", "BSF BSR", kPeers, fl::cf | fl::of | fl::sf | fl::af | fl::pf},
    {"scan-zero", "BSF BSR", kTcg, 0, kDestination},
    {"count-flags", "LZCNT TZCNT", kPeers, fl::of | fl::sf | fl::af | fl::pf},
    {"bmi-flags", "ANDN BLSI BLSMSK BLSR BZHI", kPeers, fl::af | fl::pf},
    {"bextr-flags", "BEXTR", kPeers, fl::sf | fl::af | fl::pf},
    {"bcd-flags", "AAA AAS", kPeers, fl::of | fl::sf | fl::zf | fl::pf},
    {"bcd-flags", "DAA DAS", kPeers, fl::of},
    {"bcd-flags", "AAM AAD", kPeers, fl::of | fl::af | fl::cf},
    {"bswap-16", "BSWAP", kPeers, 0, kDestination},
    {"lar-limit", "LAR", kPeers, 0, kDestination},
    {"pause-rex", "PAUSE", kPeers, 0, kEverything},
    {"string-flags", "CMPSB CMPSW CMPSD CMPSQ SCASB SCASW SCASD SCASQ", kQemu | kBochs, kCpazso, 0, When::rep_fault},
    {"x87-pointers", "FNSAVE FNSTENV FXSAVE FXSAVE64 XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64", kTcg, 0, kMemoryPart},
    {"xsave-init", "XSAVE XSAVE64 XSAVEOPT XSAVEOPT64 XSAVEC XSAVEC64", kQemu | kBochs, 0, kMemoryPart},

    // ---- Unicorn
    {"unicorn-view", "*", kUnicorn, 0, kErrorCode | kAddress | kFlagImage | kSelectors | kMxcsrPart | kX87Flags | kNans},
    {"unicorn-faults", "*", kUnicorn, 0, kAnything, When::fault},
    {"unicorn-view", "IN OUT INSB INSW INSD OUTSB OUTSW OUTSD CLI STI HLT LGDT LIDT SGDT SIDT SLDT STR LLDT LTR LAR LSL VERR VERW SMSW LMSW CLTS "
     "INVLPG INVPCID INVD WBINVD RDMSR WRMSR RDPMC SWAPGS XSETBV JMPF CALLF RETF IRET IRETD IRETQ INT INT1 INT3 INTO "
     "SYSRET SYSEXIT CLAC STAC LES LDS LSS LFS LGS POPF POPFD POPFQ PUSHF PUSHFD PUSHFQ MONITOR MWAIT "
     "RDFSBASE RDGSBASE WRFSBASE WRGSBASE RDPKRU WRPKRU UD0 UD1 UD2 XGETBV XSAVE XSAVEOPT XSAVEC XRSTOR FXSAVE FXRSTOR "
     "PUSH POP MOV", kUnicorn, 0, kEverything},
    {"qemu-hints", "NOP TEST EMMS", kUnicorn, 0, kEverything},
    {"qemu-return", "RET", kUnicorn, 0, kEverything},
    {"unicorn-neg", "NEG", kUnicorn, kCpazso},
    {"unicorn-predicates", "CMPPS CMPPD CMPSS CMPSD_XMM", kUnicorn, 0, kRefused},
    {"unicorn-bits", "BZHI PDEP PEXT BEXTR", kUnicorn, 0, kEverything},
    {"string-counters", "CMPSB CMPSW CMPSD CMPSQ SCASB SCASW SCASD SCASQ", kUnicorn, 0, kRcx},
    {"unicorn-exchange", "CMPXCHG", kUnicorn, 0, kRax | kDestination},

    // ---- QEMU
    {"qemu-resume", "*", kQemu, 0, kResume, When::fault},
    {"qemu-traps", "*", kQemu, 0, kAnything, When::no_trap},
    {"qemu-traps", "*", kQemu, 0, kMxcsrPart},
    {"qemu-nans", "*", kTcg, 0, kNans},
    {"qemu-denormals", "*", kTcg, 0, kVectors, When::denormals},
    {"qemu-denormals", "RCPPS RCPSS RSQRTPS RSQRTSS VRCPPS VRCPSS VRSQRTPS VRSQRTSS", kTcg, 0, kVectors},
    {"qemu-x87", "*", kTcg, 0, kX87Flags},
    {"qemu-x87", "*", kTcg, 0, kAnything, When::loose_x87},
    {"qemu-x87", "FSIN FCOS FSINCOS FPTAN FYL2XP1 FYL2X FPATAN", kTcg, 0, kX87Part},
    {"qemu-x87", "FCOMI FCOMIP FUCOMI FUCOMIP", kTcg, fl::of | fl::sf | fl::af},
    {"x87-conditions", "FINCSTP FDECSTP FFREE FFREEP FSTP FST FLD FXCH FXTRACT FABS FCHS", kTcg, 0, kX87Codes},
    {"qemu-environment", "FLDENV", kTcg, 0, kAnything, When::fault},
    {"qemu-mmx", "*", kTcg, 0, kMmxExponent},
    {"qemu-mmx", "CVTPI2PS CVTPI2PD EMMS", kTcg, 0, kX87Part},
    {"qemu-lock", "*", kQemu, 0, kAnything, When::lock},
    {"qemu-update", "*", kQemu, 0, kWriteBit, When::fault},
    {"qemu-order", "*", kQemu, 0, kWhichFault, When::undefined},
    {"qemu-order", "*", kQemu, 0, kWhichFault, When::protection},
    {"qemu-segments", "*", kTcg, 0, kAnything, When::segment},
    {"qemu-checks", "LDMXCSR VLDMXCSR FXRSTOR FXRSTOR64 XRSTOR XRSTOR64 WRFSBASE WRGSBASE VMASKMOVDQU MASKMOVDQU", kTcg, 0, kAnything, When::protection},
    {"qemu-far-pointers", "JMPF CALLF LSS LFS LGS", kQemu, 0, kAnything, When::wide},
    {"qemu-interrupt", "INT", kQemu, 0, kErrorCode, When::fault},
    {"qemu-interrupt", "INT1", kQemu, 0, kEverything},
    {"qemu-return", "RET RETF", kQemu, 0, kStackPointer},
    {"qemu-enter", "ENTER", kQemu, 0, kAnything, When::fault},
    {"qemu-flush", "CLFLUSH CLFLUSHOPT CLWB", kQemu, 0, kAnything, When::fault},
    {"qemu-hints", "NOP TEST", kQemu, 0, kEverything},
    {"qemu-gathers", kGathers, kQemu, 0, kEverything},
    {"qemu-wide-reads", "*", kTcg, 0, kTheirFault},
    {"qemu-wide-reads", kMasked, kTcg, 0, kRefused},
    {"split-store", "*", kQemu, 0, kMemoryPart | kX87Part, When::fault},
    {"qemu-denormals", "VCVTPS2PH", kQemu, 0, kMemoryPart, When::denormals},
    {"qemu-adx", "ADCX ADOX BLSI", kTcg, 0, kEverything},
    {"qemu-selector", "VBLENDVPS VBLENDVPD VPBLENDVB", kQemu, 0, kVectors, When::narrow},
    {"qemu-immediate", "SHLD SHRD RORX", kTcg, 0, kAnything, When::absolute},
    {"qemu-lengths", "PCMPESTRI PCMPESTRM VPCMPESTRI VPCMPESTRM", kTcg, 0, kAnything, When::wide},
    {"qemu-vif", "PUSHF PUSHFD PUSHFQ", kQemu, 0, kMemoryPart},
    {"masked-bytes", "VMASKMOVDQU MASKMOVDQU", kQemu, 0, kAnything, When::fault},
    {"access-order", "PUSHA PUSHAD", kQemu, 0, kAddress, When::fault},
    {"qemu-x87", "F2XM1 FPREM FPREM1 FRNDINT", kTcg, 0, kX87Part},
    {"qemu-selector", "VZEROALL VZEROUPPER", kQemu, 0, kVectors, When::narrow},
    {"qemu-bits", "BT BTS BTR BTC", kTcg, 0, kAnything, When::narrow},
    {"push-selector", "PUSH", kTcg, 0, kMemoryPart, When::narrow},

    // ---- Bochs
    {"bochs-66", "ENTER LEAVE IRETD", kBochs, 0, kEverything},
    {"bochs-sha", "SHA1RNDS4", kBochs, 0, kVectors},
    {"bochs-x87", "FCOMI FCOMIP FUCOMI FUCOMIP FLD", kBochs, 0, kC1},
    {"bochs-alignment", "SGDT SIDT FNSAVE FRSTOR FNSTENV FLDENV FBLD FLD LES LDS LSS LFS LGS JMPF CALLF", kBochs, 0, kAlignment},
    {"bochs-alignment", "FNSAVE FRSTOR FNSTENV FLDENV FSTP FBSTP", kBochs, 0, kX87Part, When::fault},
    {"bochs-x87", "FSTPNCE", kBochs, 0, kEverything},
    {"bochs-x87", "FSIN FCOS FSINCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1 FPREM FPREM1", kBochs, 0, kX87Part},
    {"bochs-adx", "ADOX", kBochs, fl::of},
    {"bochs-xrstor", "XRSTOR XRSTOR64", kBochs, 0, kMxcsrPart | kRefused},
    {"bochs-xrstor", "XRSTOR XRSTOR64", kBochs, 0, kAnything, When::fault},
    {"bochs-half", "VCVTPS2PH", kBochs, 0, kVectors | kMemoryPart | kMxcsrPart | kRefused},
    {"bochs-half", "VCVTPS2PH", kBochs, 0, kAnything, When::numeric},
    {"bochs-fma", kFused, kBochs, 0, kMxcsrPart},
    {"bochs-fma", "DPPS DPPD VDPPS VDPPD CVTSD2SS CVTPD2PS VCVTSD2SS VCVTPD2PS", kBochs, 0, kMxcsrPart},
    {"bochs-fma", kFused, kBochs, 0, kAnything, When::numeric},
    {"bochs-fma", "DPPS DPPD VDPPS VDPPD CVTSD2SS CVTPD2PS VCVTSD2SS VCVTPD2PS", kBochs, 0, kAnything, When::numeric},
    {"bochs-segment", "MOV", kBochs, 0, kAnything, When::rex_segment},
    {"bochs-shift", "PSRLQ", kBochs, 0, kVectors},
    {"bochs-shift", "PSRAW PSRAD PSRLW PSRLD PSRLQ PSLLW PSLLD PSLLQ", kBochs, 0, kMmxExponent},
    {"bochs-x87", "FSCALE", kBochs, 0, kX87Part, When::loose_x87},
    {"split-store", "FBSTP FSTP FNSTENV FNSAVE", kBochs, 0, kMemoryPart, When::fault},
    {"access-order", "FBLD FLD FBSTP FSTP", kQemu | kBochs, 0, kAddress, When::fault},
    {"limit-wrap", "*", kBochs, 0, kWhichFault, When::segment},
    {"arpl-write", "ARPL", kPeers, 0, kWriteBit, When::fault},
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
      if (!cpu::is_policy(line.row)) unknown.push_back(line.row);
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

bool has_wide_memory(const Insn& i) {
  for (unsigned n = 0; n < 4; ++n)
    if (i.kind[n] == Operand::mem && i.size[n] == 16) return true;
  return false;
}

/// The x87 state is such that QEMU does the same: nothing unmasked, pending, empty or invalid.
bool is_plain_x87(const Case& c, const Outcome& ours) {
  constexpr u16 kInvalid = 1, kMasksAndExtended = 0x33f;
  return (c.before.fcw & kMasksAndExtended) == kMasksAndExtended && c.before.tags == 0xff &&
         !((c.before.fsw | ours.after.fsw) & kInvalid);
}

/// A REX prefix with any of these bits.
bool has_rex(const Case& c, unsigned bits) {
  if (c.mode != Mode::k64) return false;
  for (unsigned n = 0; n + 1 < c.length; ++n) {
    const u8 b = c.code[n];
    if ((b & 0xf0) == 0x40) return b & bits;
    if (b == 0x0f) return false;
  }
  return false;
}

/// A case touches x87 state: it is not at rest before, or not the same after.
bool has_x87(const Case& c, const Outcome& ours) {
  return c.before.tags || c.before.fsw || ours.after.tags || ours.after.fsw != c.before.fsw;
}

/// The operands' addresses have 32 bits in 64-bit mode.
bool has_narrow_addresses(const Case& c) {
  const auto end = std::find_if(c.code.begin(), c.code.begin() + c.length, [](u8 b) { return !is_prefix(b, true); });
  return c.mode == Mode::k64 && std::find(c.code.begin(), end, 0x67) != end;
}

bool is_about(const PolicyLine& l, const Case& c, const Outcome& ours) {
  Insn i;
  const auto decode = [&] {
    return decode_insn(c.code.data(), c.length, code_size(c.mode), kCode, every_cpuid(), i) == Decoded::ok;
  };
  switch (l.when) {
    case When::always: return true;
    case When::fault: return ours.vector >= 0;
    case When::undefined: return ours.vector == ex::ud;
    case When::protection: return ours.vector == ex::gp || ours.vector == ex::ss;
    case When::narrow: return c.mode != Mode::k64;
    case When::segment: return c.mode != Mode::k64 && (ours.vector == ex::gp || ours.vector == ex::ss);
    case When::wide: return decode() && i.width == 8;
    case When::absolute: return decode() && i.base == kZero && i.index == kZero;
    case When::denormals: return c.before.mxcsr & kDazFtz;
    case When::lock:
      return ours.vector == ex::ud &&
             std::find(c.code.begin(), c.code.begin() + c.length, 0xf0) != c.code.begin() + c.length;
    case When::loose_x87: return has_x87(c, ours) && !is_plain_x87(c, ours);
    case When::rep_fault: return ours.vector == ex::pf;
    case When::numeric: return ours.vector == ex::xm;
    case When::rex_segment:
      return has_rex(c, 4) && decode() && std::find(std::begin(i.kind), std::end(i.kind), Operand::seg) != std::end(i.kind);
    case When::no_count: return has_narrow_addresses(c) && !static_cast<u32>(c.before.gpr[RCX]);
    case When::cpu_number:
      return std::any_of(ours.after.gpr.begin(), ours.after.gpr.end(), [](u64 v) { return u16(v) == kNumberLimit; });
    case When::vsyscall: return ours.vector == ex::pf && ours.address - 0xffffffffff600000 < 0x1000;
    case When::own_page:
      return (ours.after.rip - kLeave < 0x1000 && ours.after.rip != kLeave) ||
             (ours.vector == ex::pf && ours.address - kLeave < 0x1000);
    case When::no_trap:
      if (ours.vector == ex::ac || ours.vector == ex::xm || ours.vector == ex::mf) return true;
      return (ours.vector == ex::gp || ours.vector == ex::ss) && decode() && !i.has(Insn::kVex) && has_wide_memory(i);
  }
  return false;
}

}  // namespace

std::span<const PolicyLine> policy() { return kPolicy; }

Ignored ignored(const Case& c, Rung rung, const Outcome& ours) {
  // Flags that the manual leaves open were measured on Intel's parts; another maker's count for them as emulators do.
  static const bool intel = __builtin_cpu_is("intel");
  const unsigned flag_rungs = rung == kHost && !intel ? kHost | kPeers : unsigned{rung};
  Ignored all;
  for (const PolicyLine* l : index().lines[static_cast<unsigned>(c.op)]) {
    if (!(l->rungs & (l->flags ? flag_rungs : unsigned{rung})) || !is_about(*l, c, ours)) continue;
    all.flags |= l->flags;
    all.parts |= l->parts;
  }
  all.anything = all.parts & kAnything;
  all.kernel_hidden = rung & (kHost | kQemu | kBochs | kImage);  // images have their runner there
  all.may_die = rung == kUnicorn;
  all.either_fault = all.parts & kWhichFault;
  all.alignment = (all.parts & kAlignment) && (c.before.rflags & fl::ac);
  return all;
}

bool spoils(const Case& c, Rung rung) {
  constexpr unsigned kRexRB = 5;
  Insn i;
  if (!(rung & kTcg) || !has_rex(c, kRexRB)) return false;
  decode_insn(c.code.data(), c.length, code_size(c.mode), kCode, every_cpuid(), i);
  return std::find(std::begin(i.kind), std::end(i.kind), Operand::mmx) != std::end(i.kind);
}

const char* exception_of(Op op, Rung rung) {
  for (const PolicyLine* l : index().lines[static_cast<unsigned>(op)])
    if ((l->rungs & rung) && (l->parts & kEverything)) return cpu::policy(l->row).why;
  return nullptr;
}

std::vector<std::string> unknown_names() {
  std::vector<std::string> all = index().unknown;
  for (const SystemLine& l : system_policy())
    if (!cpu::is_policy(l.row)) all.push_back(l.row);
  for (const SystemExclusion& e : system_exclusions())
    if (!cpu::is_policy(e.row)) all.push_back(e.row);
  return all;
}

std::string names_of(unsigned rungs) {
  static constexpr std::pair<Rung, const char*> names[] = {{kHost, "host"}, {kKvm, "KVM"},     {kUnicorn, "Unicorn"},
                                                           {kQemu, "QEMU"}, {kBochs, "Bochs"}, {kImage, "own image"}};
  std::string s;
  for (const auto& [rung, name] : names)
    if (rungs & rung) s += (s.empty() ? "" : ", ") + std::string(name);
  return s;
}

std::string whole_policy_page() {
  return cpu::policy_page([](const cpu::Policy& row) {
    std::string s;
    for (const PolicyLine& l : kPolicy) {
      if (std::string_view(l.row) != row.id) continue;
      const char* how = l.parts & kEverything ? " not run" : l.when == When::always ? "" : " in some cases";
      s += fmt::format("{}{}: {}{}", s.empty() ? "" : "; ", names_of(l.rungs),
                       std::string_view(l.ops) == "*" ? "all" : l.ops, how);
    }
    for (const SystemLine& l : system_policy())
      if (std::string_view(l.row) == row.id)
        s += fmt::format("{}{}, system cases: {}", s.empty() ? "" : "; ", names_of(l.rungs), l.about);
    for (const SystemExclusion& e : system_exclusions())
      if (std::string_view(e.row) == row.id)
        s += fmt::format("{}{}, system cases: {} not run", s.empty() ? "" : "; ", names_of(e.rungs), e.about);
    return s;
  });
}

}  // namespace nestwalk::oracle
