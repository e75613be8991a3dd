// IN, OUT, INS, OUTS and the I/O permission bitmap (SDM vol. 1, chapter 19; vol. 2).
#include "cpu/bind.h"
#include "cpu/exec/operand.h"

namespace nestwalk::cpu {
namespace {

/// Above IOPL, and always in virtual-8086 mode, the TSS's bitmap decides (SDM vol. 1, 19.5.2).
void check_port(Cpu& c, u16 port, unsigned bytes) {
  if (!c.protected_mode() || (!c.v8086() && c.s.cpl <= c.iopl())) return;
  const Segment& tr = c.s.tr;
  const bool wide_tss = tr.type == 9 || tr.type == 11;
  if (!wide_tss || tr.null || tr.limit < 0x67) c.gp();
  const u32 at = c.load_system<u16>(tr.base + 0x66) + port / 8u;
  if (at + 1 > tr.limit) c.gp();  // two bytes are read whatever the access
  const u32 map = c.load_system<u16>(tr.base + at);
  if ((map >> (port & 7)) & low_mask(bytes)) c.gp();
}

/// A port is a device register like one in memory, and costs as much.
u64 read_port(Cpu& c, u16 port, unsigned bytes) {
  c.port.pay(Cause::mmio, c.port.mmio_cycles);
  return c.platform.io_read(port, bytes);
}
void write_port(Cpu& c, u16 port, u64 value, unsigned bytes) {
  c.port.pay(Cause::mmio, c.port.mmio_cycles);
  c.platform.io_write(port, value, bytes);
}

u16 port_of(const Cpu& c, const Insn& i, unsigned n) {
  return i.kind[n] == Operand::imm ? static_cast<u8>(i.imm) : static_cast<u16>(c.s.gpr[RDX]);
}

template <class T>
void in(Cpu& c, const Insn& i) {
  const u16 port = port_of(c, i, 1);
  check_port(c, port, sizeof(T));
  c.set_gpr<T>(8 * RAX, static_cast<T>(read_port(c, port, sizeof(T))));
}

template <class T>
void out(Cpu& c, const Insn& i) {
  const u16 port = port_of(c, i, 0);
  check_port(c, port, sizeof(T));
  write_port(c, port, static_cast<T>(c.s.gpr[RAX]), sizeof(T));
}

void advance(Cpu& c, unsigned index, const Insn& i, unsigned bytes) {
  const u64 step = c.s.rflags & fl::df ? u64{0} - bytes : bytes;
  set_at_size(c, index, get_at_size(c, index, i.address) + step, i.address);
}

/// One element. The destination is probed before the port is read: a fault must not swallow what the device gave.
template <class T>
void ins(Cpu& c, const Insn& i) {
  const u64 at = linear_in<mmu::Side::store>(c, ES, get_at_size(c, RDI, i.address), sizeof(T));
  if (auto r = c.port.probe_write(LinearAddr(at), sizeof(T)); !r) c.fail(r.fault(), ES);
  c.store_at<T>(at, static_cast<T>(read_port(c, static_cast<u16>(c.s.gpr[RDX]), sizeof(T))), ES);
  advance(c, RDI, i, sizeof(T));
}

template <class T>
void outs(Cpu& c, const Insn& i) {
  const u64 at = linear_in<mmu::Side::load>(c, i.segment, get_at_size(c, RSI, i.address), sizeof(T));
  write_port(c, static_cast<u16>(c.s.gpr[RDX]), c.load_at<T>(at, i.segment), sizeof(T));
  advance(c, RSI, i, sizeof(T));
}

/// REP: RCX, RSI and RDI move with every element, so that a fault finds them right; now and then the instruction starts
/// over, so that interrupts are not kept waiting.
template <Meaning element, unsigned bytes>
void repeated(Cpu& c, const Insn& i) {
  check_port(c, static_cast<u16>(c.s.gpr[RDX]), bytes);
  if (!i.has(Insn::kRep) && !i.has(Insn::kRepne)) return element(c, i);
  constexpr unsigned kAtOnce = 256;
  u64 left = get_at_size(c, RCX, i.address);
  for (unsigned n = 0; left && n < kAtOnce; ++n) {
    element(c, i);
    set_at_size(c, RCX, --left, i.address);
  }
  if (!left) return;
  c.s.rip = c.rip_of(i);
  c.unretire_from(i);
}

}  // namespace

Handler bind_in(const Insn& i) {
  return i.size[0] == 1 ? ending<in<u8>> : i.size[0] == 2 ? ending<in<u16>> : ending<in<u32>>;
}
Handler bind_out(const Insn& i) {
  return i.size[1] == 1 ? ending<out<u8>> : i.size[1] == 2 ? ending<out<u16>> : ending<out<u32>>;
}
Handler bind_insb(const Insn&) { return ending<repeated<ins<u8>, 1>>; }
Handler bind_insw(const Insn&) { return ending<repeated<ins<u16>, 2>>; }
Handler bind_insd(const Insn&) { return ending<repeated<ins<u32>, 4>>; }
Handler bind_outsb(const Insn&) { return ending<repeated<outs<u8>, 1>>; }
Handler bind_outsw(const Insn&) { return ending<repeated<outs<u16>, 2>>; }
Handler bind_outsd(const Insn&) { return ending<repeated<outs<u32>, 4>>; }

}  // namespace nestwalk::cpu
