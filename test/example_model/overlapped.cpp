// Native paging on an out-of-order core, to first order: while a translation is under way the core goes on until its
// reorder buffer is full, so only what takes longer than that is felt (Karkhanis, Smith, "A First-Order Superscalar
// Processor Model", ISCA 2004). The worked example of docs/models.md: in models/mmu/, under a name of its own, it would be
// a model like any other.
#include <algorithm>

#include "mmu/model.h"
#include "mmu/stage.h"
#include "mmu/tlb_front.h"

namespace nestwalk::models {
namespace {

using namespace nestwalk::mmu;

class Overlapped final : public MmuModel {
 public:
  explicit Overlapped(const ModelParts& parts)
      : linear_(machine_, parts.memory, parts.caches, parts.settings.section("pwc"), parts.seed + 1), tlb_(linear_, parts) {
    parts.settings.section("overlap").field("window", window_, {0, 1'000'000, "cycles"},
                                            "cycles of each translation that pass behind other work");
  }

  void set_paging(const PagingState& state, Bill&) override { tlb_.set_paging(state); }
  Result<Translation> translate(LinearAddr address, Access access, Bill& bill) override {
    Bill whole;
    Result<Translation> translation = tlb_.translate(address, access, whole);
    expose(whole, bill);
    return translation;
  }
  Result<Translation> probe(LinearAddr address, Access access) const override { return tlb_.probe(address, access); }
  void invalidate(const Invalidation& what, Bill& bill) override { tlb_.invalidate(what, bill); }
  void declare(sim::Stats& stats) override {
    tlb_.declare(stats);
    stats.counter("overlap.hidden", hidden_, "cycles", "cycles of translations that passed behind other work");
  }

 private:
  /// Puts on the core's bill what the window does not cover, in the order in which the cycles pass.
  void expose(const Bill& whole, Bill& bill) {
    Cycles window = window_;
    const auto felt = [&](Cycles cycles) {
      const Cycles covered = std::min(window, cycles);
      window -= covered;
      hidden_ += covered;
      return cycles - covered;
    };
    for (const Cause cause : {Cause::tlb, Cause::pwc}) bill.charge(cause, felt(whole.of(cause)));
    for (WalkRead read : whole.reads()) {
      read.cycles = static_cast<u32>(felt(read.cycles));
      bill.walk_read(read);
    }
    bill.charge(Cause::walk_update, felt(whole.of(Cause::walk_update)));
  }

  u64 window_ = 56;  ///< Skylake: 224 entries of the reorder buffer, filled by 4 a cycle
  Cycles hidden_ = 0;
  MachineStage machine_;
  LinearStage linear_;
  TlbFront tlb_;
};

const RegisterModel registered("overlapped", "native paging on a core that hides a window of every translation",
                               [](const ModelParts& parts) { return std::make_unique<Overlapped>(parts); });

}  // namespace
}  // namespace nestwalk::models
