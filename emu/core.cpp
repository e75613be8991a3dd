#include "emu/core.h"

#include "emu/machine.h"

namespace nestwalk::emu {
namespace {
unsigned grain_of(const mmu::DataCaches& caches) {
  return caches.model() == mmu::CacheModel::full ? caches.line_shift() : kPageShift;
}
}  // namespace

Core::Core(sim::Settings& settings, const MachineParams& params, mmu::MachineMemory& memory, mmu::Commons* commons)
    : caches(settings.section("cache"), params.seed + 2), filter(grain_of(caches)) {
  filter.enabled = !params.exact;
  caches.set_access_counts(&counts);
  caches.set_listener(&filter.cache_owners());
  const mmu::ModelParts parts{settings, memory, caches, counts, filter.tlb_owners(), params.seed, commons};
  model = mmu::Models::instance().make(params.model, parts);
}

void Core::declare(sim::Stats& stats) {
  model->declare(stats);
  caches.declare(stats);
}

}  // namespace nestwalk::emu
