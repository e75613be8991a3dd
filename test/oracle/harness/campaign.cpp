#include "test/oracle/harness/campaign.h"

#include <chrono>

#include "cpu/decode.h"

namespace nestwalk::oracle {

using cpu::Op;

Campaign::Campaign(const Atlas& atlas, OurSide& ours, Side& theirs, Rung rung, u64 seed)
    : atlas_(atlas), ours_(ours), theirs_(theirs), rung_(rung), seed_(seed) {
  for (unsigned n = 0; n < static_cast<unsigned>(Op::count_); ++n)
    if (const Op op = static_cast<Op>(n); !atlas.forms_of(op).empty() && !exception_of(op, rung)) ops_.push_back(op);
}

Case Campaign::draw(u64 number) const {
  const auto& forms = atlas_.forms_of(ops_[number % ops_.size()]);
  const u32 form = forms[number / ops_.size() % forms.size()];
  Case c;
  u64 seed = seed_;
  do c = draw_case(atlas_, ours_.cpuid(), form, seed, number);
  while (spoils(c, rung_) && ++seed);
  return c;
}

CampaignResult Campaign::run(u64 first, u64 count, const std::function<void(const Progress&)>& progress) {
  CampaignResult result;
  const auto began = std::chrono::steady_clock::now();
  const u64 batch = std::min<u64>(theirs_.batch(), count);
  std::vector<Case> cases(batch);
  std::vector<Outcome> ours(batch), theirs(batch);
  for (u64 at = first; at < first + count; at += batch) {
    const std::size_t n = std::min<u64>(batch, first + count - at);
    for (std::size_t k = 0; k < n; ++k) cases[k] = draw(at + k);
    theirs_.start({cases.data(), n}, {theirs.data(), n});
    ours_.run({cases.data(), n}, {ours.data(), n});
    theirs_.finish();
    judge({cases.data(), n}, {ours.data(), n}, {theirs.data(), n}, result);
    if (progress) progress({result.cases, count, result.findings.size()});
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return result;
}

std::vector<Both> Campaign::run_both(std::span<const Case> cases) {
  std::vector<Both> all;
  std::vector<Outcome> ours, theirs;
  while (!cases.empty()) {
    const std::span<const Case> some = cases.first(std::min(cases.size(), theirs_.batch()));
    ours.assign(some.size(), {});
    theirs.assign(some.size(), {});
    theirs_.start(some, theirs);
    ours_.run(some, ours);
    theirs_.finish();
    for (std::size_t n = 0; n < some.size(); ++n) all.push_back({ours[n], theirs[n]});
    cases = cases.subspan(some.size());
  }
  return all;
}

bool Campaign::differs(const Case& c, const Outcome& ours, const Outcome& theirs) const {
  return !difference(c, ours, theirs, ignored(c, rung_, ours)).empty();
}

/// An emulator that gets no processor time for a while cuts cases short, so only what differs twice differs.
void Campaign::judge(std::span<const Case> cases, std::span<const Outcome> ours, std::span<Outcome> theirs,
                     CampaignResult& result) {
  std::vector<std::size_t> places;
  std::vector<Case> again;
  for (std::size_t n = 0; n < cases.size(); ++n)
    if (differs(cases[n], ours[n], theirs[n])) places.push_back(n), again.push_back(cases[n]);
  if (!again.empty()) {
    std::vector<Outcome> outcomes(again.size());
    theirs_.run(again, outcomes);
    for (std::size_t k = 0; k < again.size(); ++k) {
      theirs[places[k]] = outcomes[k];
      result.unrepeated += !differs(again[k], ours[places[k]], outcomes[k]);
    }
  }
  for (std::size_t n = 0; n < cases.size(); ++n) judge(cases[n], ours[n], theirs[n], result);
}

void Campaign::judge(const Case& c, const Outcome& ours, const Outcome& theirs, CampaignResult& result) {
  Tally& t = result.by_op[static_cast<unsigned>(c.op)];
  ++result.cases;
  ++t.cases;
  t.completed += ours.vector < 0;
  if (!differs(c, ours, theirs)) return;
  if (++t.different > kShownPerOp) return;
  if (large_ || result.findings.size() >= kShrunk) {
    result.findings.push_back({c.op, show(c, {ours, theirs}, rung_, theirs_.name())});
    return;
  }
  const RunBoth run = [this](std::span<const Case> x) { return run_both(x); };
  const Case small = shrink(c, rung_, ours_.cpuid(), run);
  result.findings.push_back({c.op, show(small, run_both({&small, 1}).front(), rung_, theirs_.name())});
}

}  // namespace nestwalk::oracle
