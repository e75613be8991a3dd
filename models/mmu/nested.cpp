// Two-dimensional paging as processors have it: the guest's own tables over the hypervisor's, every guest-physical address
// on the way translated by EPT (SDM vol. 3, chapter 29) or AMD's nested paging (APM vol. 2, 15.25). `nested.format` says
// which; nested TLB and host page-walk caches by `nested.tlb` and `nested.pwc` (configs/models/nested-*.ini have
// processors' sizes).
#include "mmu/two_dimensional.h"

namespace nestwalk::models {
namespace {

using namespace nestwalk::mmu;

const RegisterModel registered(
    "nested", "the guest's page tables over EPT or nested page tables: combined TLBs, nested TLB, two-dimensional walks",
    [](const ModelParts& parts) {
      auto host = std::make_unique<HostStage>(parts.settings.section("nested"), parts.memory, parts.caches, parts.seed + 2,
                                              parts.commons);
      return std::make_unique<TwoDimensional>(parts, std::move(host));
    });

}  // namespace
}  // namespace nestwalk::models
