// Native paging: one stage of linear addresses on the machine, TLBs and page-walk caches before it (SDM vol. 3, chapter 4).
// A machine whose guest is alone translates so; it is also the base line that every virtualized design is compared with.
#include "mmu/model.h"
#include "mmu/stage.h"
#include "mmu/tlb_front.h"

namespace nestwalk::models {
namespace {

using namespace nestwalk::mmu;

class Native final : public MmuModel {
 public:
  explicit Native(const ModelParts& parts)
      : linear_(machine_, parts.memory, parts.caches, parts.settings.section("pwc"), parts.seed + 1),
        tlb_(linear_, parts) {}

  void set_paging(const PagingState& state, Bill&) override { tlb_.set_paging(state); }
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill) override {
    return tlb_.translate(address, access, bill);
  }
  Result<Translation> probe(LinearAddr address, Access access) const override { return tlb_.probe(address, access); }
  void invalidate(const Invalidation& what, Bill& bill) override { tlb_.invalidate(what, bill); }
  void declare(sim::Stats& stats) override { tlb_.declare(stats); }

 private:
  MachineStage machine_;
  LinearStage linear_;
  TlbFront tlb_;
};

const RegisterModel registered("native",
                               "the guest's own page tables on the bare machine: TLBs, page-walk caches, one walk",
                               [](const ModelParts& parts) { return std::make_unique<Native>(parts); });

}  // namespace
}  // namespace nestwalk::models
