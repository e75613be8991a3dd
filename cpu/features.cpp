// Where each CPUID feature bit lies, and which of them the emulator has (SDM vol. 2, CPUID; APM vol. 3, appendix E).
#include "cpu/features.h"

namespace nestwalk::cpu {
namespace {

using enum Feature;
using enum Register;

/// The one mask between a real CPU's features and what a guest is told. `false` in the last column: the real part has it,
/// we do not (yet), so its bit reads 0, its instructions raise #UD and its control bits are reserved.
constexpr FeatureBit kFeatures[] = {
    {fpu, "fpu", 1, 0, edx, 0, true},
    {vme, "vme", 1, 0, edx, 1, true},
    {de, "de", 1, 0, edx, 2, true},
    {pse, "pse", 1, 0, edx, 3, true},
    {tsc, "tsc", 1, 0, edx, 4, true},
    {msr, "msr", 1, 0, edx, 5, true},
    {pae, "pae", 1, 0, edx, 6, true},
    {mce, "mce", 1, 0, edx, 7, true},
    {cx8, "cx8", 1, 0, edx, 8, true},
    {apic, "apic", 1, 0, edx, 9, true},
    {sep, "sep", 1, 0, edx, 11, true},
    {mtrr, "mtrr", 1, 0, edx, 12, true},
    {pge, "pge", 1, 0, edx, 13, true},
    {mca, "mca", 1, 0, edx, 14, true},
    {cmov, "cmov", 1, 0, edx, 15, true},
    {pat, "pat", 1, 0, edx, 16, true},
    {pse36, "pse36", 1, 0, edx, 17, true},
    {clfsh, "clfsh", 1, 0, edx, 19, true},
    {mmx, "mmx", 1, 0, edx, 23, true},
    {fxsr, "fxsr", 1, 0, edx, 24, true},
    {sse, "sse", 1, 0, edx, 25, true},
    {sse2, "sse2", 1, 0, edx, 26, true},
    {sse3, "sse3", 1, 0, ecx, 0, true},
    {pclmulqdq, "pclmulqdq", 1, 0, ecx, 1, true},
    {monitor, "monitor", 1, 0, ecx, 3, true},
    {ssse3, "ssse3", 1, 0, ecx, 9, true},
    {fma, "fma", 1, 0, ecx, 12, true},
    {cx16, "cx16", 1, 0, ecx, 13, true},
    {pcid, "pcid", 1, 0, ecx, 17, true},
    {sse41, "sse41", 1, 0, ecx, 19, true},
    {sse42, "sse42", 1, 0, ecx, 20, true},
    {x2apic, "x2apic", 1, 0, ecx, 21, true},
    {movbe, "movbe", 1, 0, ecx, 22, true},
    {popcnt, "popcnt", 1, 0, ecx, 23, true},
    {tsc_deadline, "tsc_deadline", 1, 0, ecx, 24, true},
    {aes, "aes", 1, 0, ecx, 25, true},
    {xsave, "xsave", 1, 0, ecx, 26, true},
    {avx, "avx", 1, 0, ecx, 28, true},
    {f16c, "f16c", 1, 0, ecx, 29, true},
    {rdrand, "rdrand", 1, 0, ecx, 30, true},
    {hypervisor, "hypervisor", 1, 0, ecx, 31, true},
    {fsgsbase, "fsgsbase", 7, 0, ebx, 0, true},
    {tsc_adjust, "tsc_adjust", 7, 0, ebx, 1, true},
    {bmi1, "bmi1", 7, 0, ebx, 3, true},
    {avx2, "avx2", 7, 0, ebx, 5, true},
    {smep, "smep", 7, 0, ebx, 7, true},
    {bmi2, "bmi2", 7, 0, ebx, 8, true},
    {erms, "erms", 7, 0, ebx, 9, true},
    {invpcid, "invpcid", 7, 0, ebx, 10, true},
    {rdseed, "rdseed", 7, 0, ebx, 18, true},
    {adx, "adx", 7, 0, ebx, 19, true},
    {smap, "smap", 7, 0, ebx, 20, true},
    {clflushopt, "clflushopt", 7, 0, ebx, 23, true},
    {clwb, "clwb", 7, 0, ebx, 24, true},
    {sha, "sha", 7, 0, ebx, 29, true},
    {umip, "umip", 7, 0, ecx, 2, true},
    {pku, "pku", 7, 0, ecx, 3, true},
    {la57, "la57", 7, 0, ecx, 16, true},
    {rdpid, "rdpid", 7, 0, ecx, 22, true},
    {fsrm, "fsrm", 7, 0, edx, 4, true},
    {spec_ctrl, "spec_ctrl", 7, 0, edx, 26, true},
    {stibp, "stibp", 7, 0, edx, 27, true},
    {arch_capabilities, "arch_capabilities", 7, 0, edx, 29, true},
    {ssbd, "ssbd", 7, 0, edx, 31, true},
    {bhi_ctrl, "bhi_ctrl", 7, 2, edx, 4, true},
    {arat, "arat", 6, 0, eax, 2, true},
    {xsaveopt, "xsaveopt", 0xd, 1, eax, 0, true},
    {xsavec, "xsavec", 0xd, 1, eax, 1, true},
    {xgetbv1, "xgetbv1", 0xd, 1, eax, 2, true},
    {xsaves, "xsaves", 0xd, 1, eax, 3, true},
    {lahf64, "lahf64", 0x80000001, 0, ecx, 0, true},
    {lzcnt, "lzcnt", 0x80000001, 0, ecx, 5, true},
    {sse4a, "sse4a", 0x80000001, 0, ecx, 6, false},
    {prefetchw, "prefetchw", 0x80000001, 0, ecx, 8, true},
    {syscall, "syscall", 0x80000001, 0, edx, 11, true},
    {nx, "nx", 0x80000001, 0, edx, 20, true},
    {page1g, "page1g", 0x80000001, 0, edx, 26, true},
    {rdtscp, "rdtscp", 0x80000001, 0, edx, 27, true},
    {lm, "lm", 0x80000001, 0, edx, 29, true},
    {invariant_tsc, "invariant_tsc", 0x80000007, 0, edx, 8, true},
    {amd_ibpb, "amd_ibpb", 0x80000008, 0, ebx, 12, true},
    {amd_stibp, "amd_stibp", 0x80000008, 0, ebx, 15, true},
    {amd_ssbd, "amd_ssbd", 0x80000008, 0, ebx, 24, true},
    {vmx, "vmx", 1, 0, ecx, 5, false},
    {svm, "svm", 0x80000001, 0, ecx, 2, false},
    {hle, "hle", 7, 0, ebx, 4, false},
    {rtm, "rtm", 7, 0, ebx, 11, false},
    {mpx, "mpx", 7, 0, ebx, 14, false},
    {sgx, "sgx", 7, 0, ebx, 2, false},
    {intel_pt, "intel_pt", 7, 0, ebx, 25, false},
    {avx512f, "avx512f", 7, 0, ebx, 16, false},
    {avx512dq, "avx512dq", 7, 0, ebx, 17, false},
    {avx512_ifma, "avx512_ifma", 7, 0, ebx, 21, false},
    {avx512cd, "avx512cd", 7, 0, ebx, 28, false},
    {avx512bw, "avx512bw", 7, 0, ebx, 30, false},
    {avx512vl, "avx512vl", 7, 0, ebx, 31, false},
    {avx512_vbmi, "avx512_vbmi", 7, 0, ecx, 1, false},
    {waitpkg, "waitpkg", 7, 0, ecx, 5, false},
    {avx512_vbmi2, "avx512_vbmi2", 7, 0, ecx, 6, false},
    {shstk, "shstk", 7, 0, ecx, 7, false},
    {gfni, "gfni", 7, 0, ecx, 8, false},
    {vaes, "vaes", 7, 0, ecx, 9, false},
    {vpclmulqdq, "vpclmulqdq", 7, 0, ecx, 10, false},
    {avx512_vnni, "avx512_vnni", 7, 0, ecx, 11, false},
    {avx512_bitalg, "avx512_bitalg", 7, 0, ecx, 12, false},
    {avx512_vpopcntdq, "avx512_vpopcntdq", 7, 0, ecx, 14, false},
    {movdiri, "movdiri", 7, 0, ecx, 27, false},
    {movdir64b, "movdir64b", 7, 0, ecx, 28, false},
    {pks, "pks", 7, 0, ecx, 31, false},
    {serialize, "serialize", 7, 0, edx, 14, false},
    {ibt, "ibt", 7, 0, edx, 20, false},
    {avx_vnni, "avx_vnni", 7, 1, eax, 4, false},
    {avx512_bf16, "avx512_bf16", 7, 1, eax, 5, false},
    {misalignsse, "misalignsse", 0x80000001, 0, ecx, 7, false},
    {monitorx, "monitorx", 0x80000001, 0, ecx, 29, false},
    {clzero, "clzero", 0x80000008, 0, ebx, 0, false},
    {rdpru, "rdpru", 0x80000008, 0, ebx, 4, false},
    {wbnoinvd, "wbnoinvd", 0x80000008, 0, ebx, 9, false},
};
static_assert(std::size(kFeatures) == static_cast<unsigned>(count_) - 1);

/// Features that mean nothing without another one.
constexpr Dependence kDependences[] = {
    {pcid, lm},           {invpcid, pcid}, {fsgsbase, lm},   {lahf64, lm},      {page1g, lm},      {la57, lm},
    {xsaveopt, xsave},    {xsavec, xsave}, {xgetbv1, xsave}, {xsaves, xsavec},  {avx, xsave},      {avx2, avx},
    {fma, avx},           {f16c, avx},     {sse, fxsr},      {sse2, sse},       {sse3, sse2},      {ssse3, sse3},
    {sse41, ssse3},       {sse42, sse41},  {aes, sse2},      {pclmulqdq, sse2}, {x2apic, apic},    {tsc_deadline, apic},
    {rdpid, rdtscp},      {pku, lm},       {sha, sse2},      {mtrr, msr},       {tsc_adjust, tsc}, {rdtscp, tsc},
    {invariant_tsc, tsc}, {nx, pae},       {lm, pae},        {pat, mtrr},
};

}  // namespace

std::span<const FeatureBit> feature_table() { return kFeatures; }
std::span<const Dependence> feature_dependences() { return kDependences; }

const char* name_of(Feature f) {
  for (const FeatureBit& b : kFeatures)
    if (b.feature == f) return b.name;
  return "none";
}

bool is_implemented(Feature f) {
  for (const FeatureBit& b : kFeatures)
    if (b.feature == f) return b.implemented;
  return false;
}

}  // namespace nestwalk::cpu
