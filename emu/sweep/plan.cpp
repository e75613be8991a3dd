#include "emu/sweep/plan.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "emu/boot/boot.h"
#include "emu/host.h"
#include "emu/run_params.h"
#include "emu/tracing.h"

namespace nestwalk::emu::sweep {
namespace {

std::string xxh3(const void* bytes, std::size_t size) {
  const XXH128_hash_t h = XXH3_128bits(bytes, size);
  return fmt::format("xxh3:{:016x}{:016x}", h.high64, h.low64);
}

}  // namespace

std::string digest_of_file(const std::string& path) {
  try {
    const std::vector<u8> bytes = boot::read_file(path);
    return xxh3(bytes.data(), bytes.size());
  } catch (const boot::BootError& e) {
    throw sim::ConfigError(e.what());
  }
}

std::string digest_of(const std::string& program, const Pairs& config, const Pairs& images) {
  std::string text = program + '\n';
  Pairs sorted = config;  // in which order components declare their keys is no difference
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [key, value] : sorted)
    if (key != "guest.kernel" && key != "guest.initrd") text += fmt::format("{} = {}\n", key, value);
  for (const auto& [role, digest] : images) text += fmt::format("[{}] {}\n", role, digest);
  return xxh3(text.data(), text.size());
}

std::string Planner::image_digest(const std::string& path) {
  const auto [it, is_new] = image_digests_.emplace(path, "");
  if (is_new) it->second = digest_of_file(path);
  return it->second;
}

void Planner::check(Plan& plan) {
  // What `nestwalk run` declares, in its order.
  sim::Settings settings = settings_of(plan.point);
  Host host(settings);
  RunParams().declare(settings.section("run"));
  const Tracing tracing(settings, host.machine());
  settings.refuse_unknown();

  for (std::size_t n = 0; n < host.size(); ++n) {
    const GuestImages& images = host.tenant(n).images;
    const std::string of = host.tenant(n).name.empty() ? "" : "vm." + host.tenant(n).name + ".";
    images.demand_kernel(host.tenant(n).name);
    plan.images.emplace_back(of + "kernel", image_digest(images.kernel));
    if (!images.initrd.empty()) plan.images.emplace_back(of + "initrd", image_digest(images.initrd));
  }
  report::Head head;
  head.take_config(settings);
  plan.config = std::move(head.config);
}

Plan Planner::plan(const Point& point) {
  Plan plan{point, {}, {}, {}};
  try {
    check(plan);
  } catch (const sim::ConfigError& e) {
    const std::string values = describe(point);
    throw sim::ConfigError(
        fmt::format("point {}{}: {}", point.id, values.empty() ? "" : fmt::format(" ({})", values), e.what()));
  }
  plan.digest = digest_of(program_, plan.config, plan.images);
  return plan;
}

}  // namespace nestwalk::emu::sweep
