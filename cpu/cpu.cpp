// Operands, stack, addresses and faults of a logical processor: everything that instructions share (SDM vol. 1, 3; vol. 3,
// 3).
#include "cpu/cpu.h"

#include "cpu/blocks.h"

namespace nestwalk::cpu {

Cpu::Cpu(mmu::Port& port_in, sim::Clock& clock_in, Platform& platform_in, const Cpuid& cpuid_in,
         const CoreTiming& timing_in, u64 seed)
    : port(port_in),
      clock(clock_in),
      platform(platform_in),
      cpuid(cpuid_in),
      timing(timing_in),
      random(seed),
      blocks_(std::make_unique<Blocks>()) {
  port.memory().add_code_listener(this);
  reset();
}

Cpu::~Cpu() { port.memory().remove_code_listener(this); }

void Cpu::reset() {
  s = State{};
  s.rip = 0xfff0;
  s.gpr[RDX] = cpuid.answer(1, 0, {}).eax;
  s.seg[CS] = Segment{.selector = 0xf000, .base = 0xffff0000, .limit = 0xffff, .type = 0xb};
  s.ldtr = Segment{.limit = 0xffff, .type = 2, .s = false};
  s.tr = Segment{.limit = 0xffff, .type = 0xb, .s = false};
  s.x87.control = 0x40;
  s.x87.valid = 0xff;
  interrupt_ = nmi_ = false;
  update_paging();
  port.invalidate({mmu::Invalidation::Kind::all, LinearAddr(0), 0});
}

/// INIT (SDM vol. 3, table 9-1): x87 and vector registers, MSRs but EFER, the TSC and CR0.CD and NW stay.
void Cpu::initialize() {
  const State before = s;
  reset();
  port.disarm_monitor();
  update_breakpoints();
  if (std::exchange(power_on_, false)) {
    s.msr.mtrr_default = before.msr.mtrr_default;  // what firmware has made of it since
    return;
  }
  s.cr0 |= before.cr0 & (mmu::cr0::cd | mmu::cr0::nw);
  s.xcr0 = before.xcr0;
  s.vec = before.vec;
  s.mxcsr = before.mxcsr;
  s.x87 = before.x87;
  s.star = before.star;
  s.lstar = before.lstar;
  s.cstar = before.cstar;
  s.sfmask = before.sfmask;
  s.kernel_gs_base = before.kernel_gs_base;
  s.tsc_aux = before.tsc_aux;
  s.sysenter_cs = before.sysenter_cs;
  s.sysenter_esp = before.sysenter_esp;
  s.sysenter_eip = before.sysenter_eip;
  s.tsc_offset = before.tsc_offset;
  s.pat = before.pat;
  s.msr = before.msr;
}

bool Cpu::start() {
  if (std::exchange(init_, false)) {
    initialize();
    s.halted = s.waits_for_startup = true;
  }
  if (startup_ < 0) return false;
  const u16 selector = static_cast<u16>(std::exchange(startup_, -1) << 8);
  s.seg[CS].selector = selector;
  s.seg[CS].base = u32{selector} << 4;
  s.rip = 0;
  s.halted = s.waits_for_startup = false;
  return true;
}

void Cpu::update_mode() {
  if (s.efer & mmu::efer::lma && s.seg[CS].l)
    code_size_ = CodeSize::k64;
  else
    code_size_ = s.seg[CS].db ? CodeSize::k32 : CodeSize::k16;
  port.set_privilege(s.cpl == 3, s.rflags & fl::ac);
  if (has_virtual_interrupt()) request_attention();
}

void Cpu::limit_blocks(u64 bytes) { blocks_->memory_limit = bytes; }

void Cpu::update_paging() {
  mmu::PagingState p;
  p.cr0 = s.cr0;
  p.cr3 = s.cr3;
  p.cr4 = s.cr4;
  p.efer = s.efer;
  for (unsigned i = 0; i < 4; ++i) p.pdpte[i] = s.pdpte[i];
  p.ac = s.rflags & fl::ac;
  p.pkru = s.pkru;
  p.physical_width = cpuid.physical_width();
  p.gigabyte_pages = cpuid.has(Feature::page1g);
  p.pse36 = cpuid.has(Feature::pse36);
  port.set_paging(p);
  update_mode();
}

void Cpu::write_pkru(u32 value) {
  s.pkru = value;
  if (s.cr4 & mmu::cr4::pke) update_paging();
}

void Cpu::set_rflags(u64 value) {
  const u64 before = s.rflags;
  s.flags.unpack(value);
  s.rflags = (value & ~fl::arithmetic & 0x3fffff) | fl::fixed;
  if ((before ^ s.rflags) & (fl::ac | fl::vm)) update_mode();
  if ((s.rflags & (fl::tf | fl::if_)) || has_virtual_interrupt()) request_attention();
}

// ---- faults ----------------------------------------------------------------------------------------------------------

void Cpu::raise(u8 vector) {
  Trap t;
  t.vector = vector;
  throw t;
}

void Cpu::raise(u8 vector, u32 error) {
  Trap t;
  t.vector = vector;
  t.has_error = true;
  t.error = error;
  throw t;
}

void Cpu::fail(const Fault& fault, u8 seg) {
  if (fault.kind == Fault::Kind::alignment) raise(ex::ac, 0);
  if (fault.kind == Fault::Kind::non_canonical) raise(seg == SS ? ex::ss : ex::gp, 0);
  Trap t;
  t.vector = ex::pf;
  t.has_error = true;
  t.error = fault.error;
  t.address = fault.address;
  throw t;
}

// ---- addresses -------------------------------------------------------------------------------------------------------

u64 Cpu::linear_slow(const Insn& i, u64 a, unsigned bytes, bool write) {
  if (i.address != 8) a = i.address == 4 ? static_cast<u32>(a) : static_cast<u16>(a);
  return linear_of(static_cast<Seg>(i.segment), a, bytes, write);
}

u64 Cpu::linear_of(Seg seg, u64 offset, unsigned bytes, bool write) {
  const Segment& g = s.seg[seg];
  if (long64()) return seg >= FS ? g.base + offset : offset;
  const u8 vector = seg == SS ? ex::ss : ex::gp;
  if (protected_mode() && !v8086()) {
    if (g.null || !g.present) raise(vector, 0);
    if (write ? !g.writable() : !g.readable()) raise(vector, 0);
  }
  const u64 last = offset + bytes - 1;
  if (NW_UNLIKELY(g.expand_down())) {
    const u64 top = g.db ? 0xffffffff : 0xffff;
    if (offset <= g.limit || last > top) raise(vector, 0);
  } else if (last > g.limit) {
    raise(vector, 0);
  }
  return static_cast<u32>(g.base + offset);
}

void Cpu::store_slow(u64 linear, const void* from, unsigned bytes, u8 seg) {
  if (auto r = port.store_bytes(LinearAddr(linear), from, bytes, port.explicit_access(mmu::Side::store)); !r)
    fail(r.fault(), seg);
}

// ---- stack -----------------------------------------------------------------------------------------------------------

namespace {
u64 stack_mask(unsigned width) { return width == 8 ? ~u64{0} : width == 4 ? 0xffffffff : 0xffff; }
}  // namespace

u64 Cpu::sp() const { return s.gpr[RSP] & stack_mask(stack_width()); }

void Cpu::set_sp(u64 value) {
  switch (stack_width()) {
    case 8: s.gpr[RSP] = value; break;
    case 4: s.gpr[RSP] = static_cast<u32>(value); break;
    default: s.gpr[RSP] = (s.gpr[RSP] & ~u64{0xffff}) | (value & 0xffff);
  }
}

void Cpu::push_slow(u64 v, unsigned bytes, unsigned written) {
  const u64 top = (sp() - bytes) & stack_mask(stack_width());
  const u64 at = linear_of(SS, top, written, true);
  if (u8* p = port.hit<mmu::Side::store>(at, written))
    __builtin_memcpy(p, &v, written);
  else
    store_slow(at, &v, written, SS);
  set_sp(top);
}

u64 Cpu::peek_stack(u64 bytes_above, unsigned bytes) {
  const u64 at = linear_of(SS, (sp() + bytes_above) & stack_mask(stack_width()), bytes, false);
  switch (bytes) {
    case 2: return load_at<u16>(at, SS);
    case 4: return load_at<u32>(at, SS);
    default: return load_at<u64>(at, SS);
  }
}

u64 Cpu::pop_slow(unsigned bytes) {
  const u64 v = peek_stack(0, bytes);
  set_sp(sp() + bytes);
  return v;
}

// ---- near transfers ----------------------------------------------------------------------------------------------------

void Cpu::jump_near_slow(u64 target, unsigned width) {
  if (long64()) {
    if (!is_canonical(target, linear_width())) gp();
  } else {
    target = width == 2 ? static_cast<u16>(target) : static_cast<u32>(target);
    if (target > s.seg[CS].limit) gp();
  }
  s.rip = target;
}

}  // namespace nestwalk::cpu
