// The machine around the emulated processor: SDM vol. 3, 3.4 (segments), 6.14 (64-bit interrupt frames), 7.7 (TSS).
#include "test/oracle/harness/our_side.h"

#include "cpu/features.h"

namespace nestwalk::oracle {
namespace {

using namespace cpu;

class OneCycleEach final : public CoreTiming {
 public:
  Cycles cost(const Insn&) const override { return 1; }
  Cycles delivery() const override { return 1; }
};

/// Where every snippet ends: `xchg %bx,%bx`, which tells the platform.
constexpr std::array<u8, 3> kMagic = {0x66, 0x87, 0xdb};

/// The GDT of Linux (arch/x86/include/asm/segment.h): kernel code 32, kernel code, kernel data, user code 32, user data,
/// user code; the TSS at 40h. The others are empty.
constexpr u64 kGdtOfLinux[16] = {0,
                                 0x00cf9b000000ffff,
                                 0x00af9b000000ffff,
                                 0x00cf93000000ffff,
                                 0x00cffb000000ffff,
                                 0x00cff3000000ffff,
                                 0x00affb000000ffff,
                                 0,
                                 0x00008b0420000067,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0x0040f50000000000 | kNumberLimit};

bool in_page(u64 a, u64 page, u64 bytes) { return a - page < bytes; }

}  // namespace

sim::Settings every_feature(const std::function<bool(Feature)>& lacks) {
  std::string features;
  for (const FeatureBit& b : feature_table()) {
    if (b.feature == Feature::hypervisor || !b.implemented) continue;
    features += (features.empty() ? "" : ",") + std::string(lacks(b.feature) ? "-" : "+") + b.name;
  }
  sim::Settings s;
  s.set("cpu.model=skylake");
  s.set("cpu.features=" + features);
  return s;
}

const Cpuid& every_cpuid() {
  static sim::Settings settings = every_feature([](Feature) { return false; });
  static const Cpuid cpuid(settings, 1'000'000'000);
  return cpuid;
}

Result<mmu::Translation> PageRights::probe(LinearAddr a, mmu::Access access) const {
  if (!is_canonical(a.value, 48)) return Fault{.kind = Fault::Kind::non_canonical, .error = 0, .address = a.value};
  const bool code = in_page(a.value, kCodePage, 0x2000), data = in_page(a.value, kData, kDataBytes);
  const bool there = access.user ? code || data : memory_.host(MachineAddr(a.value)) != nullptr;
  const bool own = in_page(a.value, kLeave, 0x1000), fetch = access.side == mmu::Side::fetch;
  const bool refused =
      access.user && there && ((access.side == mmu::Side::store && code) || (fetch && data) || (!fetch && own));
  if (!there || refused)
    return Fault{.kind = Fault::Kind::page_fault,
                 .error = (there ? pf::present : 0) | (access.side == mmu::Side::store ? pf::write : 0) |
                          (access.side == mmu::Side::fetch ? pf::fetch : 0) | (access.user ? pf::user : 0),
                 .address = a.value};
  mmu::Translation t;
  t.address = MachineAddr(a.value);
  return t;
}

OurSide::OurSide(sim::Settings settings) : settings_(std::move(settings)), timing_(std::make_unique<OneCycleEach>()) {
  install();
  Platform& platform = *this;
  cpu_.emplace(port_, clock_, platform, cpuid_, *timing_, 1);
}

void OurSide::install() {
  memory_.install(MachineAddr(kSystem), 0x6000);
  memory_.install(MachineAddr(kData), kDataBytes);
  memory_.install(MachineAddr(kCodePage), 0x2000);
  put(kLeave, kMagic);
  for (unsigned n = 0; n < kVectors; ++n) put(kHandlers + kHandlerBytes * n, kMagic);
  put_tables();
}

void OurSide::put_tables() {
  put(kGdt, kGdtOfLinux);
  for (unsigned n = 0; n < kVectors; ++n) {
    const u64 to = kHandlers + kHandlerBytes * n, dpl = n == ex::bp || n == ex::of ? 3 : 0;
    put(kIdt + 16 * n,
        std::array<u64, 2>{(to & 0xffff) | u64{0x10} << 16 | u64{1} << 32 | (0x8e00 | dpl << 13) << 32 | (to >> 16) << 48,
                           0});
  }
  std::array<u8, 104> tss{};
  std::memcpy(&tss[36], &kStackTop, 8);  // IST1
  tss[0x66] = 104;                       // no I/O permission bitmap
  put(kTss, tss);
}

void OurSide::start(std::span<const Case> cases, std::span<Outcome> outcomes) {
  for (std::size_t n = 0; n < cases.size(); ++n) run_one(cases[n], outcomes[n]);
}

void OurSide::run_one(const Case& c, Outcome& o) {
  std::array<u8, 4096> page;
  put_code(c, page.data());
  memory_.write(MachineAddr(kCodePage + kCodeFrom), {page.data() + kCodeFrom, kCodeBytes});
  u8* const data = memory_.host(MachineAddr(kData));
  std::memset(data, 0, kDataBytes);
  scatter(c.memory, data);
  enter(c);
  ended_ = false;
  cpu_->run(clock_.instructions + kInstructionLimit);
  gather(o.memory, data);
  o.stray = stray_of(data);
  collect(o);
}

void OurSide::enter(const Case& c) {
  Cpu& p = *cpu_;
  State& s = p.s;
  s = State{};
  for (Segment& g : s.seg) g = Segment{.limit = 0xffffffff, .type = 3, .dpl = 3, .db = true, .g = true, .null = true};
  const bool wide = c.mode == Mode::k64;
  s.seg[SS].selector = 0x2b;
  s.seg[SS].null = false;
  s.seg[CS] = Segment{
      .selector = u16(wide ? 0x33 : 0x23), .limit = 0xffffffff, .type = 0xb, .dpl = 3, .l = wide, .db = !wide, .g = true};
  if (!wide)
    for (const Seg n : {ES, DS, FS, GS}) s.seg[n].selector = 0x2b, s.seg[n].null = false;
  s.cr0 = 0x80000000 | mmu::cr0::pe | mmu::cr0::mp | mmu::cr0::et | mmu::cr0::ne | mmu::cr0::wp | mmu::cr0::am;
  s.cr4 = mmu::cr4::pae | mmu::cr4::osfxsr | mmu::cr4::osxmmexcpt;
  if (cpuid_.has(Feature::xsave)) s.cr4 |= mmu::cr4::osxsave;
  if (cpuid_.has(Feature::fsgsbase)) s.cr4 |= mmu::cr4::fsgsbase;
  if (cpuid_.has(Feature::pku)) s.cr4 |= mmu::cr4::pke;
  s.efer = mmu::efer::lma | mmu::efer::lme | mmu::efer::sce | mmu::efer::nxe;
  s.xcr0 = cpuid_.xcr0_mask() & 7;
  s.cpl = 3;
  s.gdtr = {kGdt, sizeof kGdtOfLinux - 1};
  s.idtr = {kIdt, 0xfff};
  s.ldtr = Segment{.limit = 0, .s = false, .present = false, .null = true};
  s.tr = Segment{.selector = 0x40, .base = kTss, .limit = 103, .type = 0xb, .s = false};
  load(c.before);
  s.rip = kCode;
  p.update_paging();
}

void OurSide::load(const Registers& r) {
  State& s = cpu_->s;
  std::copy(r.gpr.begin(), r.gpr.end(), s.gpr.begin());
  s.gpr[16] = 0;
  s.seg[FS].base = r.fs_base;
  s.seg[GS].base = r.gs_base;
  s.flags.unpack(r.rflags);
  s.rflags = (r.rflags & ~fl::arithmetic) | fl::fixed;
  s.x87.control = r.fcw;
  s.x87.set_status_word(r.fsw);
  s.x87.valid = r.tags;
  for (unsigned n = 0; n < 8; ++n)
    s.x87.r[(s.x87.top + n) & 7] = {r.st[n].significand, static_cast<u16>(r.st[n].sign_exponent)};
  s.mxcsr = r.mxcsr;
  for (unsigned n = 0; n < 16; ++n) std::memcpy(s.vec[n].q, r.ymm[n].q.data(), 32);
}

void OurSide::store(Registers& r) const {
  const State& s = cpu_->s;
  std::copy_n(s.gpr.begin(), 16, r.gpr.begin());
  r.rip = s.rip;
  r.rflags = cpu_->rflags();
  r.fs_base = s.seg[FS].base;
  r.gs_base = s.seg[GS].base;
  for (unsigned n = 0; n < kSegs; ++n) r.selector[n] = s.seg[n].selector;
  r.fcw = s.x87.control;
  r.fsw = s.x87.status_word();
  r.tags = s.x87.valid;
  for (unsigned n = 0; n < 8; ++n) {
    const F80& x = s.x87.r[(s.x87.top + n) & 7];
    r.st[n] = {x.significand, x.sign_exponent};
  }
  r.mxcsr = s.mxcsr;
  for (unsigned n = 0; n < 16; ++n) std::memcpy(r.ymm[n].q.data(), s.vec[n].q, 32);
}

void OurSide::magic(u32, u64) {
  const u64 at = cpu_->rip_of(*cpu_->current);
  if (at != kLeave && at - kHandlers >= kVectors * kHandlerBytes) return;
  ended_ = true;
  cpu_->stop(Stop::user_quit);
}

void OurSide::collect(Outcome& o) {
  store(o.after);
  o.vector = Outcome::kNone;
  o.error = 0;
  o.address = 0;
  if (!ended_) {
    o.vector = Outcome::kHung;
    return;
  }
  o.after.rip -= kMagic.size();
  if (o.after.rip == kLeave) return;
  o.vector = static_cast<int>((o.after.rip - kHandlers) / kHandlerBytes);
  const auto word = [&](u64 at) { return memory_.peek<u64>(MachineAddr(at)); };
  u64 frame = cpu_->s.gpr[RSP];
  constexpr u64 with_error =
      u64{1} << ex::df | 1 << ex::ts | 1 << ex::np | 1 << ex::ss | 1 << ex::gp | 1 << ex::pf | 1 << ex::ac;
  if ((with_error >> o.vector) & 1) {
    o.error = static_cast<u32>(word(frame));
    frame += 8;
  }
  o.after.rip = word(frame);
  o.after.selector[CS] = static_cast<u16>(word(frame + 8));
  o.after.rflags = word(frame + 16);
  o.after.gpr[RSP] = word(frame + 24);
  o.after.selector[SS] = static_cast<u16>(word(frame + 32));
  if (o.vector == ex::pf) o.address = cpu_->s.cr2;
}

}  // namespace nestwalk::oracle
