// Which VPID or ASID each virtual machine of a core runs under (SDM vol. 3, 29.1; APM vol. 2, 15.16), in every design with
// a hypervisor. There are tlb::kVpids - 1, 0 being the host's; where more machines share a core, one that comes to a VPID
// finds it empty, as on processors with few ASIDs. Without VPIDs whatever is tagged with them goes at every exit and entry.
#pragma once

#include <array>

#include "mmu/guest.h"
#include "mmu/tlb_front.h"

namespace nestwalk::mmu {

class Vpids {
 public:
  explicit Vpids(TlbFront& tlb) : tlb_(tlb) {}

  bool enabled = true;  ///< set before the first `enter`

  unsigned of(const Guest& guest) const { return enabled ? 1 + guest.number() % (tlb::kVpids - 1) : 0; }
  /// The machine gets the core.
  void enter(const Guest& guest) {
    const unsigned vpid = of(guest);
    if (!enabled && now_ != &guest) tlb_.forget_all();
    if (enabled && owners_[vpid] && owners_[vpid] != &guest) tlb_.forget_vpid(vpid);
    owners_[vpid] = now_ = &guest;
    tlb_.set_vpid(vpid);
  }
  /// It was left for its hypervisor, and entered again.
  void left() {
    if (!enabled) tlb_.forget_all();
  }
  /// Everything that its VPID tags.
  void forget(const Guest& guest) {
    if (!enabled)
      tlb_.forget_all();
    else if (owners_[of(guest)] == &guest)
      tlb_.forget_vpid(of(guest));
  }

 private:
  TlbFront& tlb_;
  const Guest* now_ = nullptr;
  std::array<const Guest*, tlb::kVpids> owners_{};  ///< who used a VPID last
};

}  // namespace nestwalk::mmu
