#include "traces/recorder.h"

namespace nestwalk::traces {
namespace {

/// The number by which FORMAT.md knows it.
u8 kind_of(const Fault& f) {
  switch (f.kind) {
    case Fault::Kind::page_fault: return fault::page;
    case Fault::Kind::non_canonical: return fault::non_canonical;
    case Fault::Kind::violation: return fault::violation;
    case Fault::Kind::misconfigured: return fault::misconfigured;
    default: return 0;  // raised before there is an access to record
  }
}

}  // namespace

void AccessRecorder::access(LinearAddr address, unsigned bytes, mmu::Access access, const Result<mmu::Translation>& t,
                            const Bill& bill) {
  if (walks_ && bill.read_count() == 0) return;
  Record r;
  r.type = static_cast<u8>(Type::access);
  r.side = static_cast<u8>(access.side);
  const bool paged = mmu::mode_of(state_) != mmu::PagingMode::off;
  r.flags = static_cast<u8>((access.user ? flag::user : 0) | (access.implicit ? flag::implicit : 0) |
                            (t ? 0 : flag::fault) | (paged ? flag::paged : 0) | (bill.read_count() ? flag::walked : 0));
  r.n = static_cast<u16>(bytes);
  r.a = address.value;
  r.c = static_cast<u32>(bill.total());
  r.d = static_cast<u32>(bill.of(Cause::pwc) + bill.of(Cause::walk_read) + bill.of(Cause::walk_update));
  if (t) {
    if (paged && t->tlb_hit) r.flags |= flag::tlb_hit;
    r.level = t->tlb_level;
    r.size = static_cast<u8>(t->size);
    const tlb::Rights& q = t->rights;
    r.rights =
        static_cast<u8>((q.user ? right::user : 0) | (q.write ? right::write : 0) | (q.execute ? right::execute : 0) |
                        (q.dirty ? right::dirty : 0) | (q.global ? right::global : 0));
    r.b = t->address.value;
  } else {
    r.size = kind_of(t.fault());
    r.b = t.fault().error;
  }
  writer_.put(r);
  if (!walks_) return;
  for (const WalkRead& w : bill.reads()) {
    Record read;
    read.type = static_cast<u8>(Type::walk_read);
    read.level = w.guest_level;
    read.side = w.host_level;
    read.size = w.served_by;
    read.a = w.address.value;
    read.c = w.cycles;
    writer_.put(read);
  }
}

void AccessRecorder::invalidate(const mmu::Invalidation& what) {
  Record r;
  r.type = static_cast<u8>(Type::invalidation);
  r.side = static_cast<u8>(what.kind);
  r.a = what.address.value;
  r.n = what.pcid;
  writer_.put(r);
}

void AccessRecorder::paging(const mmu::PagingState& state) {
  state_ = state;
  Record r;
  r.type = static_cast<u8>(Type::paging);
  r.a = state.cr3;
  r.b = state.cr4;
  r.c = static_cast<u32>(state.cr0);
  r.d = static_cast<u32>(state.efer);
  r.n = state.ac;
  writer_.put(r);
}

void RetireRecorder::retired(u64 rip, const cpu::Insn* first, u32 count) {
  const cpu::Insn& last = first[count - 1];
  Record r;
  r.type = static_cast<u8>(Type::block);
  r.a = rip;
  r.n = static_cast<u16>(count);
  r.c = static_cast<u32>(last.offset + last.length);
  writer_.put(r);
}

}  // namespace nestwalk::traces
