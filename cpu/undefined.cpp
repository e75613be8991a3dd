#include "cpu/undefined.h"

#include <fmt/format.h>

#include <stdexcept>

#include "cpu/cpuid.h"
#include "cpu/flags.h"

namespace nestwalk::cpu {
namespace {

using namespace fl;
constexpr u64 kAllFlags = arithmetic;
constexpr const char* kMeasured = "measured on Intel cores, compared by test/oracle in every run";

constexpr Policy kPolicies[] = {
    // ---- flags
    {"logic-af", "AND, OR, XOR, TEST, NOT excepted", "AF", "0", kMeasured, af},
    {"shift-af", "SHL, SHR, SAR, SHLD, SHRD", "AF", "0; the rotates keep it", kMeasured, af},
    {"shift-of", "shifts and rotates by more than 1", "OF",
     "as if the count were 1; ROL and ROR of a register by an immediate keep it", kMeasured, of | af},
    {"shift-cf", "SHL, SHR, SAR with a count above the width (8 and 16 bits)", "CF", "SHL, SHR: 0; SAR: the sign",
     kMeasured, cf | of | af},
    {"shld-16", "SHLD, SHRD of 16 bits by more than 16", "result and flags", "the first operand goes on behind the second",
     "measured on Intel cores; AMD's repeat the second operand", kAllFlags, false},
    {"mul-flags", "MUL, IMUL", "SF, ZF, AF, PF", "SF and PF of the low half, ZF = AF = 0", kMeasured, sf | zf | af | pf},
    {"div-flags", "DIV, IDIV", "all arithmetic flags", "unchanged", "generations of the same maker differ; never compared",
     kAllFlags, true},
    {"bt-flags", "BT, BTS, BTR, BTC", "OF, SF, AF, PF", "unchanged", kMeasured, of | sf | af | pf},
    {"scan-zero", "BSF, BSR of 0", "destination", "unchanged (the upper half too)",
     "documented by AMD, done by all of Intel's parts", 0},
    {"scan-flags", "BSF, BSR", "CF, OF, SF, AF, PF", "CF = OF = SF = AF = 0, PF of the result (of the source if that is 0)",
     kMeasured, cf | of | sf | af | pf},
    {"count-flags", "LZCNT, TZCNT", "OF, SF, AF, PF", "0", kMeasured, of | sf | af | pf},
    {"bmi-flags", "ANDN, BLSI, BLSMSK, BLSR, BZHI", "AF, PF", "0", kMeasured, af | pf},
    {"bextr-flags", "BEXTR", "SF, AF, PF", "0", kMeasured, sf | af | pf},
    {"bcd-flags", "AAA, AAS, DAA, DAS, AAM, AAD", "those that the manual calls undefined",
     "AAA, AAS: OF, SF, ZF, PF of AL; DAA, DAS: OF = 0; AAM, AAD: CF = OF = AF = 0",
     "Intel's pseudo-code and published measurements; no 64-bit host can be asked", 0},
    // ---- results
    {"bswap-16", "BSWAP of a 16-bit register", "result", "0", "all parts known", 0},
    {"far-hints", "BSF and BSR with F3, and other encodings that a later extension took", "which instruction they are",
     "CPUID decides: TZCNT with BMI1, LZCNT with LZCNT, else the old one, whose prefix is ignored", "SDM vol. 2, TZCNT", 0},
    {"lar-limit", "LAR", "bits 19:16 of the result", "the descriptor's: limit 19:16", "as parts do", 0},
    {"rep-f2", "MOVS, STOS, LODS, INS, OUTS with F2", "meaning", "as with F3", kMeasured, 0},
    {"reciprocals", "RCPPS, RCPSS, RSQRTPS, RSQRTSS and their VEX forms", "result within 1.5 * 2^-12",
     "the exact value to nearest with 12 significant bits (error at most 2^-12); denormals as zeros, tiny results 0",
     "each maker has tables of its own; ours are the same on every host. The oracle allows both errors", 0},
    {"transcendentals", "FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1",
     "result within 1 unit in the last place; C1",
     "the value to more than 105 bits, rounded once; arguments of the first four reduced by the 66-bit pi of SDM vol. 1, "
     "8.3.8; PE always",
     "computed in integers, the same on every host. The oracle allows one unit, and C1 to differ", 0},
    {"f2xm1-range", "F2XM1 beyond -1 to 1; FYL2XP1 below -1", "result", "ST(0), with PE", kMeasured, 0},
    {"x87-conditions", "x87 instructions that leave condition codes undefined", "C0, C2, C3", "unchanged", kMeasured, 0},
    {"x87-pointers", "FSAVE, FSTENV, FXSAVE, XSAVE", "FCS, FDS and the pointers without an exception",
     "always of the last non-control instruction, selectors included",
     "CPUID does not claim the deprecation of FCS and FDS. AMD's parts save pointers only while an exception is pending",
     0},
    {"fld-denormal", "FLD of a denormal m32, m64 with DE unmasked", "whether the value is pushed", "it is", kMeasured, 0},
    {"mmx-fault", "MMX stores that fault", "whether the x87 state has already become MMX", "no trace of the instruction",
     "Intel's parts have switched; restarting hides it", 0},
    // ---- state
    {"xsave-modified", "XSAVEOPT, XSAVES", "leaving out what was not modified since XRSTOR (SDM vol. 1, 13.6)",
     "never done", "a licence, not a duty", 0},
    {"xsave-init", "XSAVE, XSAVEC, XGETBV(1)", "when a component counts as in use",
     "exactly when it differs from its initial configuration",
     "the manual lets processors say 'in use' for longer; the oracle compares sets both ways", 0},
    {"xrstor-fault", "XRSTOR that raises #GP or #PF", "which components it has already loaded", "none",
     "Intel's parts have loaded x87 when they see a bad MXCSR (measured)", 0},
    {"ad-bits", "page walks", "A in entries of a walk that ends in a fault (SDM vol. 3, 4.8)",
     "only set once the access is allowed", "the least that is permitted", 0},
    {"stale-entries", "INVLPG, MOV CR3, page faults", "how much more than asked is forgotten",
     "no more than the manual demands", "the modelled TLB is the one the guest sees", 0},
    {"lock-split", "locked accesses across a page", "atomicity against devices", "atomic: one processor, no DMA in between",
     "", 0},
    {"int1-priority", "data breakpoints and single-step together", "order", "one #DB with all bits of DR6",
     "SDM vol. 3, 17.3", 0},
    // ---- makers
    {"syscall-compat", "SYSCALL, SYSENTER in compatibility mode", "which of them exists",
     "AMD models: SYSCALL; Intel: SYSENTER", "as the makers document", 0},
    {"sysret-rip", "SYSRET to a non-canonical address", "where #GP is raised", "Intel models: at level 0; AMD: at level 3",
     "SDM vol. 2, SYSRET; APM vol. 3", 0},
    {"branch-66", "near branches with 66 in 64-bit mode", "operand size",
     "Intel models ignore it, AMD models branch 16 bits", "SDM vol. 2, JMP; APM vol. 3", 0},
    {"cr4-pse", "MOV to CR4 that changes PSE", "whether TLBs are flushed", "AMD models: yes; Intel: no",
     "APM vol. 2, 5.5.2; SDM vol. 3, 4.10.4.1", 0},
    {"mci-status", "WRMSR of MCi_STATUS, ADDR, MISC", "values other than 0",
     "#GP; AMD models keep them while HWCR.McStatusWrEn is set", "SDM vol. 3, 15.3.2.2; APM vol. 2, 9.3", 0},
    {"monitor-user", "MONITOR, MWAIT above level 0", "#UD or #GP", "#UD", "SDM vol. 2 and APM vol. 3 agree", 0},
    {"monitor-extent", "MONITOR", "what else ends monitoring", "every exception and interrupt",
     "a false wake-up is always allowed (SDM vol. 3, 9.10.5)", 0},
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

std::string policy_page() {
  std::string page =
      "# What the architecture leaves open\n\n"
      "Written from the table in [cpu/undefined.cpp](../cpu/undefined.cpp) by `build/test/test_cpu \"[write-policy]\"`; a "
      "test\ncompares the two. The oracle's marks (`~id` in [test/oracle/forms.h](../test/oracle/forms.h)) name these "
      "rows.\n\n"
      "| id | instructions | left open | ours | why, and who differs |\n|---|---|---|---|---|\n";
  for (const Policy& p : kPolicies)
    page += fmt::format("| {} | {} | {} | {} | {} |\n", p.id, escaped(p.instructions), escaped(p.open), escaped(p.ours),
                        escaped(p.why));
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
