// Zydis decodes; this file turns its answer into an Insn and binds the meaning. It is the only one that sees Zydis types.
// Encodings that depend on the processor (LZCNT as BSR, TZCNT as BSF, WBNOINVD as WBINVD, ...) follow CPUID.
#include "cpu/decode.h"

#include <Zydis/Zydis.h>
#include <capstone/capstone.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cpu/bind.h"
#include "cpu/table.h"

namespace nestwalk::cpu {
namespace {

// Pseudo-mnemonics: one Zydis mnemonic, two instructions. Numbers past Zydis's own.
enum Pseudo : int {
  ZYDIS_MNEMONIC_JMPF = ZYDIS_MNEMONIC_MAX_VALUE + 1,
  ZYDIS_MNEMONIC_CALLF,
  ZYDIS_MNEMONIC_RETF,
  ZYDIS_MNEMONIC_MOVSD_XMM,
  ZYDIS_MNEMONIC_CMPSD_XMM,
  kMnemonics
};

constexpr u16 kNoOp = 0xffff;

constexpr std::array<u16, kMnemonics> kOpOf = [] {
  std::array<u16, kMnemonics> t{};
  t.fill(kNoOp);
#define OP(name, bind, traits) t[ZYDIS_MNEMONIC_##name] = static_cast<u16>(Op::name);
#include "cpu/table.def"
#undef OP
  return t;
}();

int mnemonic_of(const ZydisDecodedInstruction& z) {
  const bool string = z.meta.category == ZYDIS_CATEGORY_STRINGOP;
  const bool far = z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
  switch (z.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSD: return string ? int{ZYDIS_MNEMONIC_MOVSD} : int{ZYDIS_MNEMONIC_MOVSD_XMM};
    case ZYDIS_MNEMONIC_CMPSD: return string ? int{ZYDIS_MNEMONIC_CMPSD} : int{ZYDIS_MNEMONIC_CMPSD_XMM};
    case ZYDIS_MNEMONIC_JMP: return far ? int{ZYDIS_MNEMONIC_JMPF} : int{ZYDIS_MNEMONIC_JMP};
    case ZYDIS_MNEMONIC_CALL: return far ? int{ZYDIS_MNEMONIC_CALLF} : int{ZYDIS_MNEMONIC_CALL};
    case ZYDIS_MNEMONIC_RET: return far ? int{ZYDIS_MNEMONIC_RETF} : int{ZYDIS_MNEMONIC_RET};
    default: return z.mnemonic;
  }
}

/// The CPUID feature without which these encodings are undefined.
Feature required(const ZydisDecodedInstruction& z) {
  switch (z.meta.isa_set) {
    case ZYDIS_ISA_SET_CMOV: return Feature::cmov;
    case ZYDIS_ISA_SET_FCMOV: return Feature::cmov;
    case ZYDIS_ISA_SET_CMPXCHG16B: return Feature::cx16;
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64: return Feature::fxsr;
    case ZYDIS_ISA_SET_INVPCID: return Feature::invpcid;
    case ZYDIS_ISA_SET_MOVBE: return Feature::movbe;
    case ZYDIS_ISA_SET_MONITOR: return Feature::monitor;
    case ZYDIS_ISA_SET_PENTIUMMMX: return Feature::mmx;
    case ZYDIS_ISA_SET_POPCNT: return Feature::popcnt;
    case ZYDIS_ISA_SET_RDRAND: return Feature::rdrand;
    case ZYDIS_ISA_SET_RDSEED: return Feature::rdseed;
    case ZYDIS_ISA_SET_RDTSCP: return Feature::rdtscp;
    case ZYDIS_ISA_SET_RDPID: return Feature::rdpid;
    case ZYDIS_ISA_SET_RDWRFSGS: return Feature::fsgsbase;
    case ZYDIS_ISA_SET_SMAP: return Feature::smap;
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSEMXCSR: return Feature::sse;
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX: return Feature::sse2;
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE3X87: return Feature::sse3;
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX: return Feature::ssse3;
    case ZYDIS_ISA_SET_SSE4: return Feature::sse41;
    case ZYDIS_ISA_SET_SSE42: return Feature::sse42;
    case ZYDIS_ISA_SET_SSE4A: return Feature::sse4a;
    case ZYDIS_ISA_SET_AES: return Feature::aes;
    case ZYDIS_ISA_SET_PCLMULQDQ: return Feature::pclmulqdq;
    case ZYDIS_ISA_SET_XSAVE: return Feature::xsave;
    case ZYDIS_ISA_SET_XSAVEOPT: return Feature::xsaveopt;
    case ZYDIS_ISA_SET_XSAVEC: return Feature::xsavec;
    case ZYDIS_ISA_SET_XSAVES: return Feature::xsaves;
    case ZYDIS_ISA_SET_CLFSH: return Feature::clfsh;
    case ZYDIS_ISA_SET_CLFLUSHOPT: return Feature::clflushopt;
    case ZYDIS_ISA_SET_CLWB: return Feature::clwb;
    case ZYDIS_ISA_SET_LZCNT: return Feature::lzcnt;
    case ZYDIS_ISA_SET_BMI1: return Feature::bmi1;
    case ZYDIS_ISA_SET_BMI2: return Feature::bmi2;
    case ZYDIS_ISA_SET_ADOX_ADCX: return Feature::adx;
    case ZYDIS_ISA_SET_SHA: return Feature::sha;
    case ZYDIS_ISA_SET_PKU: return Feature::pku;
    case ZYDIS_ISA_SET_X87: return Feature::fpu;
    case ZYDIS_ISA_SET_AVX:
    case ZYDIS_ISA_SET_AVXAES: return Feature::avx;
    case ZYDIS_ISA_SET_AVX2:
    case ZYDIS_ISA_SET_AVX2GATHER: return Feature::avx2;
    case ZYDIS_ISA_SET_FMA: return Feature::fma;
    case ZYDIS_ISA_SET_F16C: return Feature::f16c;
    default: return Feature::none;
  }
}

/// Whether the processor knows the encoding. VEX is a closed list: several later extensions reuse its mnemonics.
bool is_available(const ZydisDecodedInstruction& z, const Cpuid& cpuid) {
  const bool vex = z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  if (!vex && z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;
  const Feature feature = required(z);
  if (feature == Feature::none) return !vex;
  if (!cpuid.has(feature)) return false;
  if (z.meta.isa_set == ZYDIS_ISA_SET_AVXAES) return cpuid.has(Feature::aes);
  return !vex || z.mnemonic != ZYDIS_MNEMONIC_VPCLMULQDQ || cpuid.has(Feature::pclmulqdq);
}

u8 gpr_number(ZydisRegister r) {
  if (r == ZYDIS_REGISTER_NONE) return kZero;
  return static_cast<u8>(ZydisRegisterGetId(r));
}

u8 gpr_offset(ZydisRegister r) {
  const unsigned id = static_cast<unsigned>(ZydisRegisterGetId(r));
  if (ZydisRegisterGetClass(r) != ZYDIS_REGCLASS_GPR8) return static_cast<u8>(8 * id);
  // AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B ...
  if (id < 4) return static_cast<u8>(8 * id);
  if (id < 8) return static_cast<u8>(8 * (id - 4) + 1);
  return static_cast<u8>(8 * (id - 4));
}

u8 segment_number(ZydisRegister r) {
  return ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_SEGMENT ? static_cast<u8>(ZydisRegisterGetId(r)) : u8{DS};
}

bool is_vector(ZydisRegister r) {
  const ZydisRegisterClass c = ZydisRegisterGetClass(r);
  return c == ZYDIS_REGCLASS_XMM || c == ZYDIS_REGCLASS_YMM;
}

struct Translator {
  const ZydisDecodedInstruction& z;
  CodeSize size;
  u64 next;  ///< RIP behind the instruction
  Insn& i;

  /// A SIB byte of mod 0 and base 5 says a displacement and no base, whatever REX.B is (SDM vol. 2, table 2-3); with 32-bit
  /// addresses Zydis 4.0 takes R13D.
  bool has_no_base() const { return (z.attributes & ZYDIS_ATTRIB_HAS_SIB) && z.raw.modrm.mod == 0 && z.raw.sib.base == 5; }

  void memory(const ZydisDecodedOperandMem& m) {
    i.disp = m.disp.has_displacement ? m.disp.value : 0;
    if (m.base == ZYDIS_REGISTER_RIP)
      i.disp += static_cast<i64>(next);
    else if (m.base == ZYDIS_REGISTER_EIP)
      i.disp = static_cast<i64>(static_cast<u32>(static_cast<u64>(i.disp) + next));
    else if (has_no_base())
      i.disp = z.raw.disp.value;
    else
      i.base = gpr_number(m.base);
    if (!is_vector(m.index)) i.index = gpr_number(m.index);
    i.scale = m.scale == 8 ? 3 : m.scale == 4 ? 2 : m.scale == 2 ? 1 : 0;
    i.segment = segment_number(m.segment);
    if (size != CodeSize::k64 || i.address != 8)
      i.flags |= Insn::kSlowAddress;
    else if (i.segment >= FS)
      i.flags |= Insn::kSegmentBase;
  }

  void reg(unsigned n, ZydisRegister r) {
    switch (ZydisRegisterGetClass(r)) {
      case ZYDIS_REGCLASS_GPR8:
      case ZYDIS_REGCLASS_GPR16:
      case ZYDIS_REGCLASS_GPR32:
      case ZYDIS_REGCLASS_GPR64:
        i.kind[n] = Operand::gpr;
        i.reg[n] = gpr_offset(r);
        return;
      case ZYDIS_REGCLASS_YMM: i.flags |= Insn::kWide; [[fallthrough]];
      case ZYDIS_REGCLASS_XMM: i.kind[n] = Operand::vec; break;
      case ZYDIS_REGCLASS_MMX: i.kind[n] = Operand::mmx; break;
      case ZYDIS_REGCLASS_X87: i.kind[n] = Operand::x87; break;
      case ZYDIS_REGCLASS_SEGMENT: i.kind[n] = Operand::seg; break;
      case ZYDIS_REGCLASS_CONTROL: i.kind[n] = Operand::cr; break;
      case ZYDIS_REGCLASS_DEBUG: i.kind[n] = Operand::dr; break;
      default: return;
    }
    i.reg[n] = static_cast<u8>(ZydisRegisterGetId(r));
  }

  void operand(unsigned n, const ZydisDecodedOperand& o) {
    i.size[n] = static_cast<u8>(std::min(o.size / 8, 255));
    switch (o.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER: reg(n, o.reg.value); break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        i.kind[n] = Operand::mem;
        memory(o.mem);
        if (is_vector(o.mem.index)) {
          i.reg[n] = static_cast<u8>(ZydisRegisterGetId(o.mem.index));
          i.size[n] = static_cast<u8>(ZydisRegisterGetWidth(z.machine_mode, o.mem.index) / 8);
        }
        break;
      case ZYDIS_OPERAND_TYPE_POINTER:
        i.kind[n] = Operand::imm;
        i.imm = o.ptr.offset;
        i.imm2 = o.ptr.segment;
        break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (o.imm.is_relative) {
          i.kind[n] = Operand::rel;
          i.imm = static_cast<i64>(next + static_cast<u64>(o.imm.value.s));
          break;
        }
        i.kind[n] = Operand::imm;
        if (n > 0 && i.kind[n - 1] == Operand::imm)
          i.imm2 = static_cast<u16>(o.imm.value.u);
        else
          i.imm = o.imm.is_signed ? o.imm.value.s : static_cast<i64>(o.imm.value.u);
        break;
      default: break;
    }
  }
};

/// String instructions and XLAT show no memory operand: their overridable source segment comes from the hidden one.
void hidden_segment(const ZydisDecodedInstruction& z, const ZydisDecodedOperand* operands, Insn& i) {
  for (unsigned n = 0; n < z.operand_count; ++n) {
    const ZydisDecodedOperand& o = operands[n];
    if (o.type == ZYDIS_OPERAND_TYPE_MEMORY && o.mem.segment != ZYDIS_REGISTER_ES &&
        ZydisRegisterGetClass(o.mem.segment) == ZYDIS_REGCLASS_SEGMENT) {
      i.segment = segment_number(o.mem.segment);
      return;
    }
  }
}

void raise_ud(Cpu& c, const Insn& i) {
  c.current = &i;
  c.note_undefined(i);
  c.ud();
}

void raise_gp(Cpu& c, const Insn& i) {
  c.current = &i;
  c.gp();
}

/// VEX exists in protected mode only (SDM vol. 2, 2.4; elsewhere the bytes that do not load a pointer are undefined), and
/// blocks of 16- and 32-bit code do not know their mode: the meaning is bound when it runs.
void vex_outside_64_bit_code(Cpu& c, const Insn& i) {
  c.current = &i;
  if (!c.protected_mode() || c.v8086()) c.ud();
  return bind(i)(c, i);
}

ZydisDecoder decoder_for(CodeSize size, const Cpuid& cpuid) {
  ZydisDecoder d;
  switch (size) {
    case CodeSize::k64: ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); break;
    case CodeSize::k32: ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32); break;
    case CodeSize::k16: ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16); break;
  }
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_LZCNT, cpuid.has(Feature::lzcnt));
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_TZCNT, cpuid.has(Feature::bmi1));
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_AMD_BRANCHES, cpuid.is_amd());
  return d;
}

}  // namespace

Decoded decode_insn(const u8* bytes, unsigned available, CodeSize size, u64 rip, const Cpuid& cpuid, Insn& insn) {
  const ZydisDecoder decoder = decoder_for(size, cpuid);
  const u16 offset = insn.offset;
  insn = Insn{};
  insn.offset = offset;
  insn.op = Op::UD2;
  insn.length = 1;
  insn.fn = raise_ud;

  ZydisDecodedInstruction z;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  const unsigned window = std::min(available, 15u);
  const ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes, window, &z, operands);
  if (!ZYAN_SUCCESS(status)) {
    if (status == ZYDIS_STATUS_NO_MORE_DATA && window < 15) return Decoded::truncated;
    if (status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) insn.fn = raise_gp;
    return Decoded::undefined;
  }

  Insn& i = insn;
  i.length = z.length;
  i.address = static_cast<u8>(z.address_width / 8);
  if (z.attributes & ZYDIS_ATTRIB_HAS_LOCK) i.flags |= Insn::kLock;
  if (z.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) i.flags |= Insn::kRep;
  if (z.attributes & ZYDIS_ATTRIB_HAS_REPNE) i.flags |= Insn::kRepne;
  if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) i.flags |= Insn::kVex;

  Translator t{z, size, size == CodeSize::k64 ? rip + z.length : static_cast<u32>(rip + z.length), i};
  const unsigned visible = std::min<unsigned>(z.operand_count_visible, 4);
  bool memory = false;
  for (unsigned n = 0; n < visible; ++n) {
    t.operand(n, operands[n]);
    memory |= i.kind[n] == Operand::mem;
    if (i.kind[n] == Operand::mem && i.size[n] == 32 && i.has(Insn::kVex)) i.flags |= Insn::kWide;
  }
  if (!memory) hidden_segment(z, operands, i);
  const bool sized = visible && (i.kind[0] == Operand::gpr || i.kind[0] == Operand::mem) && i.size[0] <= 8;
  i.width = sized ? i.size[0] : static_cast<u8>(z.operand_width / 8);
  // Zydis 4.0 gives LOOP and JRCXZ no 16 bits in 64-bit mode (cpu/undefined.h: branch-66).
  const bool small = cpuid.is_amd() && (z.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE);
  if (size == CodeSize::k64 && i.kind[0] == Operand::rel && small) i.width = 2;

  if (z.meta.isa_ext == ZYDIS_ISA_EXT_X87)  // what FSTENV shows as FOP (SDM vol. 1, 8.1.9)
    i.imm2 = static_cast<u16>((z.opcode & 7) << 8 | (z.raw.modrm.mod << 6 | z.raw.modrm.reg << 3 | z.raw.modrm.rm));

  const int mnemonic = mnemonic_of(z);
  if (kOpOf[static_cast<unsigned>(mnemonic)] == kNoOp || !is_available(z, cpuid)) return Decoded::undefined;
  i.op = static_cast<Op>(kOpOf[static_cast<unsigned>(mnemonic)]);
  if (traits_of(i.op) & kEnd) i.flags |= Insn::kEnds;
  if (const Handler h = bind(i)) {
    i.fn = i.has(Insn::kVex) && size != CodeSize::k64 ? vex_outside_64_bit_code : h;
    return Decoded::ok;
  }
  return Decoded::undefined;
}

std::string listing(const u8* bytes, unsigned available, CodeSize size, u64 rip) {
  std::string hex;
  csh handle;
  const cs_mode mode = size == CodeSize::k64 ? CS_MODE_64 : size == CodeSize::k32 ? CS_MODE_32 : CS_MODE_16;
  std::string text = "(no listing)";
  unsigned length = std::min(available, 8u);
  if (cs_open(CS_ARCH_X86, mode, &handle) == CS_ERR_OK) {
    cs_insn* list = nullptr;
    if (cs_disasm(handle, bytes, std::min(available, 15u), rip, 1, &list) == 1) {
      text = fmt::format("{} {}", list[0].mnemonic, list[0].op_str);
      length = list[0].size;
      cs_free(list, 1);
    }
    cs_close(&handle);
  }
  for (unsigned n = 0; n < length; ++n) hex += fmt::format("{:02x}", bytes[n]);
  return fmt::format("{:#x}: {} {}", rip, hex, text);
}

}  // namespace nestwalk::cpu
