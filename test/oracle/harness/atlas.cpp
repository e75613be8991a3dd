#include "test/oracle/harness/atlas.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include "cpu/decode.h"

namespace nestwalk::oracle {
namespace {

ZydisDecoder decoder_for(Mode mode) {
  ZydisDecoder d;
  if (mode == Mode::k64)
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  else if (mode == Mode::k32)
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
  else
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
  return d;
}

/// A point of the opcode space, decoded.
struct Point {
  Form form;
  std::string meaning;  ///< Op, operand kinds and sizes: two points with the same one differ in ignored bits only
};

class Surveyor {
 public:
  Surveyor(Mode mode, const cpu::Cpuid& cpuid) : mode_(mode), cpuid_(cpuid), decoder_(decoder_for(mode)) {}

  std::vector<Form> survey() {
    for (const u8 prefix : {0x00, 0x66, 0xf3, 0xf2, 0x67})
      for (u8 map = 0; map < (prefix == 0x67 ? 1 : 4); ++map)
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          if (map == 0 && is_prefix(opcode)) continue;
          if (map == 1 && (opcode == 0x38 || opcode == 0x3a)) continue;  // the escapes to the other maps
          Form point;
          point.prefix = prefix, point.map = map, point.opcode = static_cast<u8>(opcode);
          visit(point);
          point.vex = true;
          visit(point);
        }
    std::vector<Form> all;
    for (auto& [name, form] : found_) all.push_back(std::move(form));
    return all;
  }

 private:
  /// What is no opcode in the one-byte map: prefixes, escapes, and VEX, EVEX, XOP where they are that.
  bool is_prefix(unsigned b) const {
    if (b == 0x0f || b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || (b >= 0x64 && b <= 0x67) || b == 0xf0 ||
        b == 0xf2 || b == 0xf3)
      return true;
    return mode_ == Mode::k64 && ((b >= 0x40 && b <= 0x4f) || b == 0xc4 || b == 0xc5 || b == 0x62);
  }

  /// The opcode with both values of W and L, both kinds of ModRM and all its extensions.
  void visit(Form f) {
    if (f.vex && f.map == 0) return;
    if (f.prefix == 0x67 && f.opcode != 0xe3) return;  // JECXZ; elsewhere the address size is not another instruction
    for (f.w = false;; f.w = true) {
      for (f.l = false;; f.l = true) {
        extensions(f);
        if (f.l || !f.vex) break;
      }
      if (f.w || (!f.vex && mode_ != Mode::k64)) break;
    }
  }

  void extensions(Form f) {
    for (const bool memory : {true, false})
      for (u8 reg = 0; reg < 8; ++reg)
        for (u8 rm = 0; rm < (memory ? 1 : 8); ++rm) {
          f.memory = memory;
          bool has_modrm = true;
          if (probe(f, reg, rm, has_modrm) && !shares_with_hints(f)) break;
          if (!has_modrm) return;
        }
  }

  /// Opcodes where one value of rm is an instruction and the others are another one with an operand (ENDBR64 among NOPs).
  static bool shares_with_hints(const Form& f) { return !f.vex && f.map == 1 && (f.opcode & 0xf8) == 0x18; }

  /// Decodes with these register fields. True: rm is an operand, so its other values are the same form.
  bool probe(Form f, u8 reg, u8 rm, bool& has_modrm) {
    std::vector<u8> bytes;
    f.modrm = true;
    append_opcode(bytes, f, Fields{.reg = reg, .rm = rm, .long_vex = true}, mode_);
    if (f.memory) bytes.back() = static_cast<u8>(0x04 | reg << 3);  // a SIB follows, which forms with vector indices need
    if (f.memory) bytes.push_back(0x08);                            // [rax + rcx]
    bytes.resize(bytes.size() + 12);
    ZydisDecodedInstruction z;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, bytes.data(), 15, &z, o))) return false;
    cpu::Insn insn;
    has_modrm = z.attributes & ZYDIS_ATTRIB_HAS_MODRM;
    if (cpu::decode_insn(bytes.data(), 15, code_size(mode_), kCode, cpuid_, insn) != cpu::Decoded::ok) return false;
    for (unsigned n = 0; n < z.raw.prefix_count; ++n)
      if (z.raw.prefixes[n].type == ZYDIS_PREFIX_TYPE_IGNORED) return false;
    return record(f, z, o, insn, reg, rm);
  }

  bool record(Form& f, const ZydisDecodedInstruction& z, const ZydisDecodedOperand* o, const cpu::Insn& insn, u8 reg,
              u8 rm) {
    f.op = insn.op;
    f.modrm = z.attributes & ZYDIS_ATTRIB_HAS_MODRM;
    if (!f.modrm) f.memory = false;
    bool free_reg = false, free_rm = f.memory;
    std::string meaning = fmt::format("{}", static_cast<unsigned>(f.op));
    for (unsigned n = 0; n < z.operand_count; ++n) {
      free_reg |= o[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
      free_rm |= o[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && o[n].type == ZYDIS_OPERAND_TYPE_REGISTER;
      f.vvvv |= o[n].encoding == ZYDIS_OPERAND_ENCODING_NDSNDD;
      if (o[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        f.memory_bytes = std::max(f.memory_bytes, o[n].size / 8u);
        f.vsib |= o[n].mem.type == ZYDIS_MEMOP_TYPE_VSIB;
      }
      if (o[n].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        const auto c = ZydisRegisterGetClass(o[n].reg.value);
        f.mmx |= c == ZYDIS_REGCLASS_MMX;
        f.vector |= c == ZYDIS_REGCLASS_XMM || c == ZYDIS_REGCLASS_YMM;
      }
      meaning +=
          fmt::format(" {}.{}.{}", static_cast<int>(o[n].type), o[n].size,
                      o[n].type == ZYDIS_OPERAND_TYPE_REGISTER && o[n].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT
                          ? static_cast<int>(ZydisRegisterGetClass(o[n].reg.value))
                          : 0);
    }
    f.reg = f.modrm && !free_reg ? static_cast<i8>(reg) : i8{-1};
    f.rm = f.modrm && !free_rm ? static_cast<i8>(rm) : i8{-1};
    for (const auto& imm : z.raw.imm) {
      f.immediate = static_cast<u8>(f.immediate + imm.size / 8);
      f.relative |= imm.size && imm.is_relative;
    }
    if (const auto disp = z.raw.disp.size; !f.modrm && disp) f.immediate = static_cast<u8>(disp / 8);  // MOV AL, moffs
    f.x87 = z.meta.isa_ext == ZYDIS_ISA_EXT_X87;
    f.string = z.meta.category == ZYDIS_CATEGORY_STRINGOP || z.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    keep(f, meaning);
    return free_rm && f.modrm;
  }

  /// Where W, L or the size prefix is ignored only the form without it is kept.
  void keep(Form& f, const std::string& meaning) {
    for (unsigned less = 1; less < 8; ++less) {
      Form plain = f;
      if (less & 1) plain.w = false;
      if (less & 2) plain.l = false;
      if (less & 4 && f.prefix == 0x66) plain.prefix = 0;
      const std::string name = name_of(plain);
      if (const auto it = meanings_.find(name); it != meanings_.end() && it->second == meaning && name != name_of(f))
        return;
    }
    f.name = name_of(f);
    meanings_.emplace(f.name, meaning);
    found_.emplace(f.name, f);
  }

  /// As the manual writes it: "66 REX.W 0F 3A 16 /r ib".
  static std::string name_of(const Form& f) {
    std::string s;
    static constexpr const char *maps[] = {"", "0F ", "0F 38 ", "0F 3A "}, *vex_maps[] = {"", "0F", "0F38", "0F3A"};
    if (f.vex) {
      s = fmt::format("VEX.{}.{}{}.W{:d} {:02X}", f.l ? "256" : "128", f.prefix ? fmt::format("{:02X}.", f.prefix) : "",
                      vex_maps[f.map], f.w, f.opcode);
    } else {
      if (f.prefix) s += fmt::format("{:02X} ", f.prefix);
      if (f.w) s += "REX.W ";
      s += fmt::format("{}{:02X}", maps[f.map], f.opcode);
    }
    if (f.modrm) {
      s += f.reg < 0 ? " /r" : fmt::format(" /{}", f.reg);
      s += f.memory ? " mem" : f.rm < 0 ? " reg" : fmt::format(" rm={}", f.rm);
    }
    if (f.immediate) s += fmt::format(" i{}", 8 * f.immediate);
    return s;
  }

  Mode mode_;
  const cpu::Cpuid& cpuid_;
  ZydisDecoder decoder_;
  std::map<std::string, Form> found_;
  std::map<std::string, std::string> meanings_;
};

}  // namespace

void append_opcode(std::vector<u8>& to, const Form& f, const Fields& x, Mode mode) {
  const bool wide = mode == Mode::k64;
  const u8 r = x.reg >> 3 & 1, b = x.rm >> 3 & 1, i = x.index >> 3 & 1;
  if (f.vex) {
    const u8 pp = f.prefix == 0x66 ? 1 : f.prefix == 0xf3 ? 2 : f.prefix == 0xf2 ? 3 : 0;
    const u8 tail = static_cast<u8>((~x.vvvv & 15) << 3 | f.l << 2 | pp);
    if (f.map == 1 && !f.w && !x.w_noise && !b && !i && !x.long_vex) {
      to.insert(to.end(), {0xc5, static_cast<u8>((r ? 0 : 0x80) | tail)});
    } else {
      const u8 rxb = static_cast<u8>((r ? 0 : 0x80) | (i ? 0 : 0x40) | (b ? 0 : 0x20));
      to.insert(to.end(), {0xc4, static_cast<u8>(rxb | f.map), static_cast<u8>((f.w || x.w_noise) << 7 | tail)});
    }
  } else {
    if (f.prefix) to.push_back(f.prefix);
    const u8 rex = static_cast<u8>((f.w || x.w_noise) << 3 | r << 2 | i << 1 | b);
    if (wide && (rex || x.spare_rex)) to.push_back(0x40 | rex);
    if (f.map) to.push_back(0x0f);
    if (f.map > 1) to.push_back(f.map == 2 ? 0x38 : 0x3a);
  }
  to.push_back(f.opcode);
  if (f.modrm) to.push_back(static_cast<u8>((f.memory ? 0 : 0xc0) | (x.reg & 7) << 3 | (x.rm & 7)));
}

Atlas::Atlas(Mode mode, const cpu::Cpuid& cpuid) : mode_(mode), forms_(Surveyor(mode, cpuid).survey()) {
  for (u32 n = 0; n < forms_.size(); ++n) by_op_[static_cast<unsigned>(forms_[n].op)].push_back(n);
}

}  // namespace nestwalk::oracle
