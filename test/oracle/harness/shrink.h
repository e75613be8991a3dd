// How a case that differs is made small: simplifications are tried each by itself, then as many of them together as still
// differ, until none is left. Many at once, because some sides boot to run any.
#pragma once

#include <functional>
#include <span>
#include <vector>

namespace nestwalk::oracle {

template <class C>
struct Shrinking {
  using Change = std::function<void(C&)>;
  /// What may make a case simpler.
  std::function<std::vector<Change>(const C&)> changes;
  /// Whether a changed case is another one, and still about the same.
  std::function<bool(const C& was, const C& is)> is_of_use;
  std::function<std::vector<bool>(std::span<const C>)> which_differ;
  unsigned rounds = 12;
};

/// A simpler case that still differs.
template <class C>
class Shrinker {
 public:
  Shrinker(const C& c, const Shrinking<C>& how) : best_(c), how_(how) {}

  C shrink() {
    for (unsigned round = 0; round < how_.rounds; ++round) {
      const Changes useful = those_that_still_differ();
      if (useful.empty()) break;
      apply_as_many_as_differ(useful);
    }
    return std::move(best_);
  }

 private:
  using Changes = std::vector<typename Shrinking<C>::Change>;

  /// Each change by itself.
  Changes those_that_still_differ() const {
    Changes changes, useful;
    std::vector<C> cases;
    for (auto& change : how_.changes(best_)) {
      C c = best_;
      change(c);
      if (!how_.is_of_use(best_, c)) continue;
      cases.push_back(std::move(c));
      changes.push_back(std::move(change));
    }
    const std::vector<bool> differs = how_.which_differ(cases);
    for (std::size_t n = 0; n < cases.size(); ++n)
      if (differs[n]) useful.push_back(std::move(changes[n]));
    return useful;
  }
  /// One after the other; the longest row of them that still differs is taken over.
  void apply_as_many_as_differ(const Changes& changes) {
    std::vector<C> row;
    const C* last = &best_;
    row.reserve(changes.size());
    for (const auto& change : changes) {
      C next = *last;
      change(next);
      if (!how_.is_of_use(best_, next)) continue;
      row.push_back(std::move(next));
      last = &row.back();
    }
    const std::vector<bool> differs = how_.which_differ(row);
    for (std::size_t n = row.size(); n-- > 0;)
      if (differs[n]) {
        best_ = std::move(row[n]);
        return;
      }
  }

  C best_;
  const Shrinking<C>& how_;
};

}  // namespace nestwalk::oracle
