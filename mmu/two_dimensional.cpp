#include "mmu/two_dimensional.h"

#include <stdexcept>

namespace nestwalk::mmu {

namespace {
/// A walk meets at most one violation per page it needs and one more per flag it writes; each is answered for good.
constexpr unsigned kMostViolations = 64;
}  // namespace

TwoDimensional::TwoDimensional(const ModelParts& parts, std::unique_ptr<HostDimension> host)
    : commons_(parts.commons),
      host_(std::move(host)),
      linear_(*host_, parts.memory, parts.caches, parts.settings.section("pwc"), parts.seed + 1),
      tlb_(linear_, parts, TlbFront::Unpaged::stage) {
  sim::Section section = parts.settings.section("nested");
  section.field("vpid", vpids_.enabled, "VPIDs or ASIDs: what is cached survives exits and world switches");
  section.field("invept_cycles", invept_cycles_, {0, 1'000'000, "cycles"},
                "INVEPT, or a flush of an ASID, after a page was replaced");
  if (commons_) commons_->join(*this);
}

TwoDimensional::~TwoDimensional() {
  if (commons_) commons_->leave(*this);
}

void TwoDimensional::declare(sim::Stats& stats) {
  tlb_.declare(stats);
  host_->declare(stats);
}

// ---- worlds ------------------------------------------------------------------------------------------------------------

/// Without VPIDs exits and entries invalidate linear and combined mappings; guest-physical ones stay (29.4.3.1).
void TwoDimensional::enter(Guest& guest, unsigned vcpu, Bill&) {
  guest_ = &guest;
  host_->enter(guest);
  vpids_.enter(guest, vcpu);
}

void TwoDimensional::exit(Exit reason, Bill& bill) {
  guest_->exit(reason, bill);
  vpids_.left();
}

void TwoDimensional::forget(Guest& guest, PhysAddr first, u64 bytes, Bill& bill) {
  if (!host_->unmap(guest, first, bytes)) return;
  invalidate({HypervisorInvalidation::Kind::ept_context, &guest, 0, LinearAddr()});
  forget_others(guest, bill);
}

void TwoDimensional::forget_others(Guest& guest, Bill& bill) {
  if (commons_) commons_->flush_others(*this, guest, bill);
}

bool TwoDimensional::flush_remotely(Guest& guest, Bill&) {
  if (!vpids_.knows(guest)) return false;
  host_->forget(guest);
  vpids_.forget(guest);
  return true;
}

void TwoDimensional::invalidate(const HypervisorInvalidation& what) {
  using Kind = HypervisorInvalidation::Kind;
  switch (what.kind) {
    case Kind::ept_context:
      host_->forget(*what.guest);
      vpids_.forget(*what.guest);
      break;
    case Kind::ept_all: host_->forget_all(); [[fallthrough]];
    case Kind::vpid_all: tlb_.forget_all(); break;
    case Kind::vpid_address: tlb_.forget_page(what.vpid, what.address); break;
    case Kind::vpid_context: tlb_.forget_vpid(what.vpid); break;
    case Kind::vpid_non_global: tlb_.forget_vpid(what.vpid, false); break;
  }
}

// ---- accesses ----------------------------------------------------------------------------------------------------------

Result<Translation> TwoDimensional::translate(LinearAddr address, Access access, Bill& bill) {
  Result<Translation> t = tlb_.translate(address, access, bill);
  if (t || !is_hypervisors(t.fault())) return t;
  return after_exits(address, access, t.fault(), bill);
}

/// The hypervisor removes what hardware objected to, and the instruction is begun again; or it makes the access itself.
Result<Translation> TwoDimensional::after_exits(LinearAddr address, Access access, Fault fault, Bill& bill) {
  for (unsigned n = 0; n < kMostViolations; ++n) {
    Translation emulated;
    if (!resolve(fault, emulated, bill)) {
      host_->stop_emulating();
      return emulated;
    }
    const Result<Translation> t = tlb_.retranslate(address, access, bill);
    if (t || !is_hypervisors(t.fault())) {
      host_->stop_emulating();
      return t;
    }
    fault = t.fault();
  }
  throw std::logic_error("a violation comes back however often the hypervisor answers it");
}

/// False: the access itself is the hypervisor's to make, at `emulated`.
bool TwoDimensional::resolve(const Fault& fault, Translation& emulated, Bill& bill) {
  const PhysAddr at(fault.address);
  const bool table = fault.error & Fault::kOfTable, store = host_->wrote(fault);
  const Backing backing = host_->reaches(at.value) ? guest_->back(at, store, bill) : Backing{};
  const bool device = backing.kind == Backing::Kind::device;
  exit(device ? Exit::mmio : fault.kind == Fault::Kind::misconfigured ? Exit::misconfiguration : Exit::violation, bill);
  const bool lost = store && !device && !backing.writable;  // to ROM
  if (table && (device || lost)) {
    host_->emulate_table(at.value, device ? HostDimension::kNowhere : backing.address.value);
    return true;
  }
  if (device || lost) {
    emulated.address = device ? MachineAddr(at.value) : backing.address;
    emulated.device = device;
    emulated.stores_lost = lost;
    emulated.tlb_hit = false;
    emulated.rights = {true, !lost, true, false, false};
    return false;
  }
  if (host_->map(*guest_, at, backing)) {
    host_->forget(*guest_);
    vpids_.forget(*guest_);
    guest_->work(Exit::violation, invept_cycles_, bill);
    forget_others(*guest_, bill);
  }
  return true;
}

Result<Translation> TwoDimensional::physical(PhysAddr address, Bill& bill) {
  host_->serve(0);
  for (unsigned n = 0; n < kMostViolations; ++n) {
    // A load, also where reads of guest tables count as writes (29.3.5).
    const Result<Leaf> leaf = host_->translate(address.value, Access{}, bill);
    Translation t;
    if (leaf) {
      t.address = MachineAddr(leaf->address);
      t.size = leaf->size;
      return t;
    }
    if (!resolve(leaf.fault(), t, bill)) return t;
  }
  throw std::logic_error("a violation comes back however often the hypervisor answers it");
}

}  // namespace nestwalk::mmu
