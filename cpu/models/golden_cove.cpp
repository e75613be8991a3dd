// A performance core of the Intel Core i9-12900K (Golden Cove in Alder Lake, 2021), without the hybrid leaf, as if the
// efficiency cores were switched off. Caches and TLBs (leaves 4 and 18H) as its public CPUID dumps show them; leaf 18H
// gives the two second-level arrays of 1024 entries that Intel's "2048-entry STLB" is made of.
#include "cpu/models/feature_sets.h"

namespace nestwalk::cpu {
namespace {

CpuModel golden_cove() {
  using enum Feature;
  CpuModel m;
  m.max_leaf = 0x20;
  m.signature = 0x90672;
  m.brand = "12th Gen Intel(R) Core(TM) i9-12900K";
  m.physical_width = 46;
  m.apic_hz = 38'400'000;
  m.tells_frequency = true;
  m.microcode = u64{0x1f} << 32;
  // RDCL_NO, IBRS_ALL, SKIP_L1DFL, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, RFDS_NO (P-cores).
  m.arch_capabilities = 0x800e16b;
  m.features = joined(
      skylake_features(),
      {clwb,    sha,   umip, pku,  rdpid, fsrm,       spec_ctrl, stibp,     ssbd, arch_capabilities, bhi_ctrl, vmx,
       waitpkg, shstk, ibt,  gfni, vaes,  vpclmulqdq, movdiri,   movdir64b, pks,  serialize,         avx_vnni, intel_pt});
  m.leaves = {{2, 0, {0x00feff01, 0x000000f0, 0, 0}},
              {4, 0, {0x121, 0x02c0003f, 0x3f, 0}},    // L1D 48K, 12 ways
              {4, 1, {0x122, 0x01c0003f, 0x3f, 0}},    // L1I 32K, 8 ways
              {4, 2, {0x143, 0x0240003f, 0x7ff, 0}},   // L2 1.25M, 10 ways
              {4, 3, {0x163, 0x0240003f, 0xbfff, 4}},  // L3 30M, 10 ways
              {0x18, 0, {8, 0, 0, 0}},
              {0x18, 1, {0, 0x00080001, 0x20, 0x22}},   // instructions 4K: 256 entries, 8 ways
              {0x18, 2, {0, 0x00080006, 0x04, 0x22}},   // instructions 2M/4M: 32, 8 ways
              {0x18, 3, {0, 0x0010000f, 0x01, 0x125}},  // stores, all sizes: 16, fully associative
              {0x18, 4, {0, 0x00060001, 0x10, 0x24}},   // loads 4K: 96, 6 ways
              {0x18, 5, {0, 0x00040006, 0x08, 0x24}},   // loads 2M/4M: 32, 4 ways
              {0x18, 6, {0, 0x00080008, 0x01, 0x124}},  // loads 1G: 8, fully associative
              {0x18, 7, {0, 0x00080007, 0x80, 0x43}},   // second level 4K/2M/4M: 1024, 8 ways
              {0x18, 8, {0, 0x00080009, 0x80, 0x43}},   // second level 4K/1G: 1024, 8 ways
              {5, 0, {0x40, 0x40, 3, 0x10102020}},
              {0x80000006, 0, {0, 0, 0x05007040, 0}}};
  return m;
}

const RegisterCpu registered("golden-cove", "Intel Core i9-12900K, P-core (Golden Cove, 2021)",
                             [] { return std::make_unique<CpuModel>(golden_cove()); });

}  // namespace
}  // namespace nestwalk::cpu
