// What every design with two-dimensional walks shares, whatever its second dimension: TLBs of combined mappings before a
// LinearStage over a HostDimension; the hypervisor's answers to violations; VPIDs or ASIDs, and what exits, world switches,
// INVEPT and INVVPID forget (SDM vol. 3, 29.3.3, 29.4). A model wires a dimension into it (models/mmu/nested.cpp).
//
// Violations cost what the hypervisor's side says (Guest::exit, Guest::back). When the hypervisor takes memory back
// (`forget`), whoever asks pays for its INVEPT; the one that follows a page's replacement during a violation is ours
// (nested.invept_cycles).
#pragma once

#include <array>
#include <memory>

#include "mmu/commons.h"
#include "mmu/host_stage.h"
#include "mmu/model.h"
#include "mmu/tlb_front.h"
#include "mmu/vpids.h"

namespace nestwalk::mmu {

/// What a hypervisor asks to forget (INVEPT and INVVPID, SDM vol. 3, chapter 31; more may always be forgotten).
struct HypervisorInvalidation {
  enum class Kind : u8 {
    ept_context,     ///< INVEPT type 1: guest-physical and combined mappings of one machine's tables, under every VPID
    ept_all,         ///< INVEPT type 2
    vpid_address,    ///< INVVPID type 0: combined mappings of one linear address under one VPID, every PCID
    vpid_context,    ///< INVVPID type 1: all combined mappings under one VPID
    vpid_all,        ///< INVVPID type 2
    vpid_non_global  ///< INVVPID type 3: type 1 without globals
  };
  Kind kind = Kind::ept_all;
  const Guest* guest = nullptr;  ///< whose tables
  unsigned vpid = 0;
  LinearAddr address{};
};

class TwoDimensional : public MmuModel, private Commons::Member {
 public:
  /// Reads tlb.*, pwc.*, nested.vpid and nested.invept_cycles; the dimension has read its own keys.
  TwoDimensional(const ModelParts& parts, std::unique_ptr<HostDimension> host);
  ~TwoDimensional() override;

  bool translates_unpaged() const override { return true; }
  bool needs_guest() const override { return true; }
  bool shares_machines() const override { return true; }
  void enter(Guest& guest, unsigned vcpu, Bill& bill) override;
  void left(Guest&, Bill&) override { vpids_.left(); }
  void forget(Guest& guest, PhysAddr first, u64 bytes, Bill& bill) override;

  void set_paging(const PagingState& state, Bill&) override { tlb_.set_paging(state); }
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill) override;
  Result<Translation> physical(PhysAddr address, Bill& bill) override;
  Result<Translation> probe(LinearAddr address, Access access) const override { return tlb_.probe(address, access); }
  void invalidate(const Invalidation& what, Bill& bill) override { tlb_.invalidate(what, bill); }
  void declare(sim::Stats& stats) override;

  void invalidate(const HypervisorInvalidation& what);
  HostDimension& host() { return *host_; }
  LinearStage& linear() { return linear_; }
  unsigned vpid_of(unsigned vcpu) const { return vpids_.of(vcpu); }

 private:
  static bool is_hypervisors(const Fault& fault) {
    return fault.kind == Fault::Kind::violation || fault.kind == Fault::Kind::misconfigured;
  }
  Result<Translation> after_exits(LinearAddr address, Access access, Fault fault, Bill& bill);
  bool resolve(const Fault& fault, Translation& emulated, Bill& bill);
  void exit(Exit reason, Bill& bill);
  void forget_others(Guest& guest, Bill& bill);
  bool flush_remotely(Guest& guest, Bill& bill) override;

  Commons* commons_;
  std::unique_ptr<HostDimension> host_;
  LinearStage linear_;
  TlbFront tlb_;
  Vpids vpids_{tlb_};
  u64 invept_cycles_ = 200;
  Guest* guest_ = nullptr;  ///< the machine that runs
};

}  // namespace nestwalk::mmu
