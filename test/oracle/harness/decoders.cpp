#include "test/oracle/harness/decoders.h"

#include <Zydis/Zydis.h>
#include <capstone/capstone.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstring>
#include <map>

#include "cpu/decode.h"
#include "test/oracle/harness/draw.h"

namespace nestwalk::oracle {
namespace {

/// What both decoders expose of one instruction.
struct Seen {
  bool ok = false, knc = false, newer = false;  ///< sets of Knights Corner; AVX-VNNI, VAES, VPCLMULQDQ
  unsigned length = 0;
  std::string mnemonic;
  struct Memory {
    std::string base, index;
    unsigned scale = 1;
    i64 displacement = 0;
    bool operator==(const Memory&) const = default;
  };
  std::vector<Memory> memory;
  std::vector<u64> immediates;
  std::vector<std::string> registers;
};

/// The family of a register: both decoders name the same one, not always in the same width ("MOV DS, DX", "MOV DS, EDX").
std::string family(std::string r) {
  static const std::map<std::string, std::string> legacy = [] {
    std::map<std::string, std::string> m;
    for (const std::string x : {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"}) m[x] = m["e" + x] = m["r" + x] = x;
    for (const std::string x : {"a", "c", "d", "b"}) m[x + "l"] = x + "x";
    for (const std::string x : {"spl", "bpl", "sil", "dil"}) m[x] = x.substr(0, 2);
    return m;
  }();
  if (const auto it = legacy.find(r); it != legacy.end()) return it->second;
  if (r.size() > 2 && r[0] == 'r' && std::isdigit(static_cast<unsigned char>(r[1])))
    while (!std::isdigit(static_cast<unsigned char>(r.back()))) r.pop_back();
  return r;
}

std::string text_of(const Seen& s) {
  if (!s.ok) return "refuses";
  std::string t = fmt::format("{} bytes {}", s.length, s.mnemonic);
  for (const auto& r : s.registers) t += " " + r;
  for (const auto& m : s.memory) t += fmt::format(" [{}+{}*{}{:+#x}]", m.base, m.index, m.scale, m.displacement);
  for (const u64 i : s.immediates) t += fmt::format(" {:#x}", i);
  return t;
}

}  // namespace

struct Decoders::Engines {
  ZydisDecoder zydis;
  csh capstone = 0;
  cs_insn* scratch = nullptr;

  explicit Engines(Mode mode) {
    if (mode == Mode::k64)
      ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else
      ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
    if (cs_open(CS_ARCH_X86, mode == Mode::k64 ? CS_MODE_64 : CS_MODE_32, &capstone) != CS_ERR_OK)
      throw std::runtime_error("Capstone does not open");
    cs_option(capstone, CS_OPT_DETAIL, CS_OPT_ON);
    scratch = cs_malloc(capstone);
  }
  ~Engines() {
    cs_free(scratch, 1);
    cs_close(&capstone);
  }

  static std::string name(ZydisRegister r) { return r == ZYDIS_REGISTER_NONE ? "" : ZydisRegisterGetString(r); }

  Seen by_zydis(const u8* bytes) {
    Seen s;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis, bytes, 15, &z, o))) return s;
    s.ok = true;
    s.length = z.length;
    s.knc =
        z.meta.isa_ext == ZYDIS_ISA_EXT_KNC || z.meta.isa_ext == ZYDIS_ISA_EXT_KNCE || z.meta.isa_ext == ZYDIS_ISA_EXT_KNCV;
    s.newer = z.meta.isa_ext == ZYDIS_ISA_EXT_AVX_VNNI || z.meta.isa_ext == ZYDIS_ISA_EXT_VAES ||
              z.meta.isa_ext == ZYDIS_ISA_EXT_VPCLMULQDQ;
    s.mnemonic = ZydisMnemonicGetString(z.mnemonic);
    for (unsigned n = 0; n < z.operand_count_visible; ++n) {
      const bool shown = o[n].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT;
      if (o[n].type == ZYDIS_OPERAND_TYPE_MEMORY && z.attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        const auto& m = o[n].mem;
        s.memory.push_back({name(m.base), name(m.index), m.index ? std::max<unsigned>(m.scale, 1) : 1,
                            m.disp.has_displacement ? m.disp.value : 0});
      } else if (o[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        u64 v = o[n].imm.value.u;
        if (o[n].imm.is_relative) v += kCode + z.length;
        s.immediates.push_back(v);
      } else if (o[n].type == ZYDIS_OPERAND_TYPE_REGISTER && shown) {
        s.registers.push_back(name(o[n].reg.value));
      }
    }
    return s;
  }

  std::string name(unsigned r) const {
    if (r == X86_REG_INVALID || r == X86_REG_RIZ || r == X86_REG_EIZ) return "";
    std::string s = cs_reg_name(capstone, r);
    if (s.starts_with("st(")) s = "st" + s.substr(3, 1);
    return s;
  }

  Seen by_capstone(const u8* bytes) {
    Seen s;
    const u8* at = bytes;
    std::size_t left = 15;
    u64 address = kCode;
    if (!cs_disasm_iter(capstone, &at, &left, &address, scratch)) return s;
    s.ok = true;
    s.length = scratch->size;
    s.mnemonic = scratch->mnemonic;
    const cs_x86& x = scratch->detail->x86;
    for (unsigned n = 0; n < x.op_count; ++n) {
      const cs_x86_op& o = x.operands[n];
      if (o.type == X86_OP_MEM)
        s.memory.push_back({name(o.mem.base), name(o.mem.index),
                            name(o.mem.index).empty() ? 1 : static_cast<unsigned>(o.mem.scale), o.mem.disp});
      else if (o.type == X86_OP_IMM)
        s.immediates.push_back(static_cast<u64>(o.imm));
      else if (o.type == X86_OP_REG)
        s.registers.push_back(name(o.reg));
    }
    return s;
  }
};

namespace {

/// Whether every register that Zydis shows is among Capstone's, which also lists some of the implied ones.
bool registers_agree(const Seen& z, const Seen& c) {
  std::vector<std::string> left;
  for (const std::string& r : c.registers) left.push_back(family(r));
  for (const std::string& r : z.registers) {
    const auto it = std::find(left.begin(), left.end(), family(r));
    if (it == left.end()) return false;
    left.erase(it);
  }
  return true;
}

bool immediates_agree(const Seen& z, const Seen& c) {
  if (z.immediates.size() != c.immediates.size()) return false;
  for (std::size_t n = 0; n < z.immediates.size(); ++n) {
    const u64 apart = z.immediates[n] ^ c.immediates[n];
    // One extends with the sign to 64 bits, the other to the operand's size.
    const bool extension =
        (apart & 0xff) == 0 && (apart == 0 || (apart >> 8) == 0xff || (apart >> 8) == 0xffffff || (apart >> 16) == 0xffff ||
                                (apart >> 8) == (~u64{0} >> 8) || (apart >> 16) == (~u64{0} >> 16) ||
                                (apart >> 32) == 0xffffffff || (apart >> 16) == 0xffffffffffff);
    if (!extension) return false;
  }
  return true;
}

bool memory_agrees(const Seen& z, const Seen& c) {
  if (z.memory.empty()) return true;  // string instructions: only Capstone shows their operands
  return std::find(c.memory.begin(), c.memory.end(), z.memory[0]) != c.memory.end();
}

/// What differs, in two words; empty: nothing.
std::string kind_of(const Seen& z, const Seen& c) {
  if (!z.ok && !c.ok) return "";
  if (!z.ok) return "zydis refuses";
  if (!c.ok) return "capstone refuses";
  if (z.length != c.length) return "length";
  if (!memory_agrees(z, c)) return "memory";
  if (!immediates_agree(z, c)) return "immediate";
  if (!registers_agree(z, c)) return "register";
  return "";
}

// ---- differences by name ------------------------------------------------------------------------------------------------

/// The prefixes in front of an opcode.
struct Prefixes {
  unsigned mandatory = 0;  ///< how many of 66, F2, F3, repetitions counted
  bool lock = false, size = false, address = false, repeat = false, rex = false, rex_inside = false;
  bool mandatory_last = false;  ///< the last prefix but REX
  unsigned count = 0;
  u8 opcode[3] = {};
};
Prefixes prefixes_of(const u8* b) {
  Prefixes p;
  for (;; ++p.count) {
    const u8 x = b[p.count];
    const bool rex = x >= 0x40 && x <= 0x4f;
    const bool legacy = is_prefix(x, false);
    if ((!rex && !legacy) || p.count == 12) break;
    p.rex_inside |= p.rex;
    p.rex |= rex;
    p.mandatory += x == 0x66 || x == 0xf2 || x == 0xf3;
    if (legacy) p.mandatory_last = x == 0x66 || x == 0xf2 || x == 0xf3;
    p.size |= x == 0x66;
    p.repeat |= x == 0xf2 || x == 0xf3;
    p.address |= x == 0x67;
    p.lock |= x == 0xf0;
  }
  std::memcpy(p.opcode, b + p.count, 3);
  return p;
}

bool one_of(const std::string& name, const char* list) {
  return (" " + std::string(list) + " ").find(" " + name + " ") != std::string::npos;
}

struct Rule {
  DecoderName name;
  bool (*applies)(const Prefixes&, const std::string& kind, const Seen& z, const Seen& c);
};

// clang-format off
constexpr Rule kRules[] = {
    {{"hint NOP", "Zydis shows ModRM.reg of the multi-byte NOP and of reserved hints as an operand; Capstone 4 does not, and refuses some"},
     [](const Prefixes& p, const std::string&, const Seen& z, const Seen& c) {
       return p.opcode[0] == 0x0f && ((p.opcode[1] & 0xf8) == 0x18 || p.opcode[1] == 0x0d || z.mnemonic == "nop" || c.mnemonic == "nop"); }},
    {{"UD0 and UD1", "Capstone 4 gives them no ModRM byte; processors fetch it (SDM vol. 2, UD)"},
     [](const Prefixes& p, const std::string&, const Seen&, const Seen&) {
       return p.opcode[0] == 0x0f && (p.opcode[1] == 0xff || p.opcode[1] == 0xb9); }},
    {{"66 before a near branch", "64-bit Intel ignores it, AMD takes 16 bits: Zydis is set to the former, Capstone does the latter (and after 67 and REX)"},
     [](const Prefixes& p, const std::string&, const Seen& z, const Seen&) {
       return (p.size || (p.address && p.rex)) && (one_of(z.mnemonic, "call jmp ret xbegin") || z.mnemonic[0] == 'j' || z.mnemonic.starts_with("loop")); }},
    {{"predicate in the mnemonic", "Capstone writes CMPLTPS where Zydis keeps the immediate"},
     [](const Prefixes&, const std::string& kind, const Seen& z, const Seen& c) {
       return kind == "immediate" && (z.mnemonic.starts_with("cmp") || z.mnemonic.starts_with("vcmp") || z.mnemonic.starts_with("vpcom")) &&
              z.mnemonic != c.mnemonic; }},
    {{"several mandatory prefixes", "of 66, F2 and F3 together Capstone 4 picks another one, or accepts a combination that has no meaning"},
     [](const Prefixes& p, const std::string&, const Seen&, const Seen&) { return p.mandatory > 1; }},
    {{"LOCK where it is illegal", "raises #UD; Zydis refuses it, Capstone accepts it"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) { return p.lock && kind == "zydis refuses"; }},
    {{"prefix order", "Capstone 4 takes 66, F2 or F3 as part of the opcode only right before it; processors take them anywhere in front"},
     [](const Prefixes& p, const std::string&, const Seen&, const Seen&) { return p.mandatory == 1 && !p.mandatory_last; }},
    {{"prefix without meaning", "an opcode that 66, F2 or F3 makes undefined: Zydis refuses it, Capstone 4 ignores the prefix"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) { return p.mandatory && kind == "zydis refuses" && p.opcode[0] == 0x0f; }},
    {{"control and debug registers", "Capstone 4 accepts CR1, CR5 to CR7, CR9 to CR15, DR8 to DR15, which do not exist"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) {
       return kind == "zydis refuses" && p.opcode[0] == 0x0f && p.opcode[1] >= 0x20 && p.opcode[1] <= 0x23; }},
    {{"group 15", "fences with a register field that is ignored, and later instructions among them (UMONITOR, RDFSBASE, ...): Capstone 4 knows one encoding of each"},
     [](const Prefixes& p, const std::string&, const Seen&, const Seen&) { return p.opcode[0] == 0x0f && p.opcode[1] == 0xae; }},
    {{"RET with REX.W", "Capstone 4 reads four bytes of immediate"},
     [](const Prefixes& p, const std::string& kind, const Seen& z, const Seen&) { return kind == "length" && p.rex && z.mnemonic == "ret"; }},
    {{"VEX that is #UD", "66, F2, F3, LOCK or REX before it, or a wrong W: Zydis refuses it, Capstone 4 accepts it"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) {
       return kind == "zydis refuses" && (p.opcode[0] == 0xc4 || p.opcode[0] == 0xc5); }},
    {{"67 before 0F", "Capstone 4 takes it for 66 when a REX prefix follows"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) {
       return p.address && p.rex && p.opcode[0] == 0x0f && (p.opcode[1] == 0x38 || p.opcode[1] == 0x3a || kind == "register"); }},
    {{"PadLock", "VIA's instructions without their REP: Zydis refuses them, Capstone 4 does not"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) {
       return kind == "zydis refuses" && p.opcode[0] == 0x0f && (p.opcode[1] == 0xa6 || p.opcode[1] == 0xa7); }},
    {{"MOV to CS", "raises #UD; Zydis refuses it, Capstone 4 accepts it"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) { return kind == "zydis refuses" && p.opcode[0] == 0x8e; }},
    {{"REX.R and a segment register", "processors ignore the bit (the host oracle runs it); Capstone 4 refuses it"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) {
       return kind == "capstone refuses" && p.rex && (p.opcode[0] == 0x8c || p.opcode[0] == 0x8e); }},
    {{"F3 REX.W 0F 7E", "MOVQ ignores REX.W; Capstone 4 takes it for MOVD"},
     [](const Prefixes& p, const std::string&, const Seen&, const Seen&) { return p.repeat && p.rex && p.opcode[0] == 0x0f && p.opcode[1] == 0x7e; }},
    {{"Knights Corner", "Zydis 4 decodes that part's vector encodings of POPCNT, LZCNT, TZCNT, ...; no other processor has them"},
     [](const Prefixes& p, const std::string& kind, const Seen& z, const Seen&) {
       return kind == "capstone refuses" && (one_of(z.mnemonic, "popcnt lzcnt tzcnt tzcnti jkzd jknzd clevict0 clevict1 delay spflt vprefetch0 vprefetch1") || z.knc) &&
              (p.opcode[0] == 0xc4 || p.opcode[0] == 0xc5 || p.opcode[0] == 0x62); }},
    {{"VBROADCASTI128", "Capstone 4 does not know it"},
     [](const Prefixes&, const std::string& kind, const Seen& z, const Seen&) { return kind == "capstone refuses" && z.mnemonic == "vbroadcasti128"; }},
    {{"Key Locker", "newer than Capstone 4, which refuses it or takes it for the older use of its opcode"},
     [](const Prefixes&, const std::string&, const Seen& z, const Seen&) {
       return (z.mnemonic.starts_with("aes") && z.mnemonic.ends_with("kl")) || one_of(z.mnemonic, "encodekey128 encodekey256 loadiwkey"); }},
    {{"3DNow! and XOP", "AMD's abandoned sets: Zydis refuses suffixes and prefixes without meaning, Capstone 4 does not"},
     [](const Prefixes& p, const std::string& kind, const Seen&, const Seen&) {
       return kind == "zydis refuses" && (p.opcode[0] == 0x8f || (p.opcode[0] == 0x0f && p.opcode[1] == 0x0f)); }},
    {{"opmask registers", "AVX-512 on K0 to K7: Capstone 4 knows some of it"},
     [](const Prefixes& p, const std::string& kind, const Seen& z, const Seen&) {
       return kind == "capstone refuses" && (p.opcode[0] == 0xc4 || p.opcode[0] == 0xc5) && z.mnemonic[0] == 'k'; }},
    {{"newer than Capstone 4", "ENQCMD, MOVDIRI, MOVDIR64B, GFNI, shadow stacks, MWAITX, AVX-VNNI, VAES and VPCLMULQDQ of 256 bits, and later AVX-512 forms"},
     [](const Prefixes& p, const std::string&, const Seen& z, const Seen&) {
       return one_of(z.mnemonic, "enqcmd enqcmds movdiri movdir64b gf2p8affineinvqb gf2p8affineqb gf2p8mulb wrussd wrussq wrssd wrssq incsspd "
                     "incsspq rdsspd rdsspq rstorssp saveprevssp setssbsy clrssbsy mwaitx monitorx ptwrite cldemote wbnoinvd serialize "
                     "xsusldtrk xresldtrk hreset senduipi uiret testui clui stui rdpru mcommit invlpgb tlbsync psmash pvalidate rmpupdate rmpadjust "
                     "tdcall seamret seamops seamcall pconfig enclv rdpkru wrpkru rdpid clzero rdsspq") || p.opcode[0] == 0x62 || z.newer || z.mnemonic.find("gf2p8") != std::string::npos; }},
    {{"REX.B and 90H", "after 66 or another REX it is XCHG with R8 (SDM vol. 2, XCHG); Capstone 4 prints NOP"},
     [](const Prefixes&, const std::string&, const Seen& z, const Seen& c) { return z.mnemonic == "xchg" && c.mnemonic == "nop"; }},
    {{"REX not last", "a REX prefix before another prefix, or another REX, is ignored (SDM vol. 2, 2.2.1); Capstone 4 takes it all the same"},
     [](const Prefixes& p, const std::string&, const Seen&, const Seen&) { return p.rex_inside; }},
};
// clang-format on

const Rule* rule_for(const u8* bytes, const std::string& kind, const Seen& z, const Seen& c) {
  const Prefixes p = prefixes_of(bytes);
  for (const Rule& r : kRules)
    if (r.applies(p, kind, z, c)) return &r;
  return nullptr;
}

}  // namespace

std::vector<DecoderName> decoder_names() {
  std::vector<DecoderName> names;
  for (const Rule& r : kRules) names.push_back(r.name);
  return names;
}

Decoders::Decoders(const Atlas& atlas, u64 seed)
    : atlas_(atlas), seed_(seed), engines_(std::make_unique<Engines>(atlas.mode())) {}
Decoders::~Decoders() = default;

std::vector<u8> Decoders::draw(u64 number) const {
  Random random(seed_ ^ (number + 1) * 0xd1342543de82ef95);
  std::vector<u8> bytes;
  const auto& forms = atlas_.forms();
  if (number % 4 != 3) bytes = draw_encoding(forms[number % forms.size()], atlas_.mode(), number % 4 == 2, random);
  while (bytes.size() < 15) bytes.push_back(static_cast<u8>(random.next()));
  bytes.resize(15);
  return bytes;
}

DecoderReport Decoders::run(u64 first, u64 count, const std::function<void(u64)>& progress) {
  DecoderReport r;
  const auto began = std::chrono::steady_clock::now();
  for (u64 n = first; n < first + count; ++n) {
    const std::vector<u8> bytes = draw(n);
    const Seen z = engines_->by_zydis(bytes.data()), c = engines_->by_capstone(bytes.data());
    ++r.cases;
    const std::string kind = kind_of(z, c);
    if (kind.empty()) {
      ++(z.ok ? r.agreed : r.both_refused);
    } else if (const Rule* rule = rule_for(bytes.data(), kind, z, c)) {
      ++r.named[rule->name.name];
    } else if (++r.unexplained_count <= DecoderReport::kShown) {
      std::string hex;
      for (const u8 b : bytes) hex += fmt::format("{:02x}", b);
      r.unexplained.push_back(fmt::format("case {} {}: {}: zydis {}; capstone {}", n, hex, kind, text_of(z), text_of(c)));
    }
    if (progress && n % 4096 == 0) progress(n - first);
  }
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return r;
}

}  // namespace nestwalk::oracle
