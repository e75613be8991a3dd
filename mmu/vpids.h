// Which VPID or ASID each virtual processor of a core runs under (SDM vol. 3, 29.1; APM vol. 2, 15.16), in every design
// with a hypervisor. There are tlb::kVpids - 1, 0 being the host's; where more share a core, one that comes to a VPID finds
// it empty, as on processors with few ASIDs. Without VPIDs whatever is tagged with them goes at every exit and entry.
#pragma once

#include <algorithm>
#include <array>

#include "mmu/guest.h"
#include "mmu/tlb_front.h"

namespace nestwalk::mmu {

class Vpids {
 public:
  explicit Vpids(TlbFront& tlb) : tlb_(tlb) {}

  bool enabled = true;  ///< set before the first `enter`

  unsigned of(unsigned vcpu) const { return enabled ? 1 + vcpu % (tlb::kVpids - 1) : 0; }
  /// The machine's processor gets the core.
  void enter(const Guest& guest, unsigned vcpu) {
    const unsigned vpid = of(vcpu);
    const Owner owner{&guest, vcpu};
    if (!enabled && now_ != owner) tlb_.forget_all();
    if (enabled && owners_[vpid].guest && owners_[vpid] != owner) tlb_.forget_vpid(vpid);
    owners_[vpid] = now_ = owner;
    tlb_.set_vpid(vpid);
  }
  /// It was left for its hypervisor, and entered again.
  void left() {
    if (!enabled) tlb_.forget_all();
  }
  /// Everything that the VPIDs of its processors tag.
  void forget(const Guest& guest) {
    if (!enabled) return tlb_.forget_all();
    for (unsigned vpid = 1; vpid < tlb::kVpids; ++vpid)
      if (owners_[vpid].guest == &guest) tlb_.forget_vpid(vpid);
  }
  /// Whether something of the machine may be cached.
  bool knows(const Guest& guest) const {
    return std::any_of(owners_.begin(), owners_.end(), [&](const Owner& o) { return o.guest == &guest; });
  }

 private:
  struct Owner {
    const Guest* guest = nullptr;
    unsigned vcpu = 0;
    bool operator==(const Owner&) const = default;
  };
  TlbFront& tlb_;
  Owner now_;
  std::array<Owner, tlb::kVpids> owners_{};  ///< who used a VPID last
};

}  // namespace nestwalk::mmu
