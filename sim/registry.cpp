// The nearest known name to a mistyped one: optimal string alignment distance, that is Levenshtein's plus the swap of two
// neighbours (Damerau, CACM 7(3), 1964), which is what fingers do.
#include "sim/registry.h"

#include <algorithm>

namespace nestwalk::sim {
namespace {

constexpr std::size_t kLongestWord = 256;  // the work is quadratic; nobody mistypes a longer name

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = previous[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, substitute});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(previous);
    previous.swap(row);
  }
  return previous[b.size()];
}

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& names) {
  if (word.empty() || word.size() > kLongestWord) return "";
  // More than a third of the letters wrong is another word, not a slip.
  std::size_t best = std::max<std::size_t>(1, word.size() / 3) + 1;
  std::string nearest;
  for (const std::string& name : names) {
    const std::size_t difference = name.size() > word.size() ? name.size() - word.size() : word.size() - name.size();
    if (difference >= best) continue;
    const std::size_t distance = edit_distance(word, name);
    if (distance < best) {
      best = distance;
      nearest = name;
    }
  }
  return nearest;
}

}  // namespace nestwalk::sim
