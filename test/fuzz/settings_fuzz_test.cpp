// Seeded mutations of good and nearly good configurations: the same inputs on every machine.
#include "test/fuzz/settings_fuzz.h"

#include "base/random.h"
#include "test/catch.h"

using namespace nestwalk;

namespace {

const std::vector<std::string> kSeeds{
    "",
    "[x]\nnumber = 5\nbytes = 64K\nhertz = 2.1GHz\nsmall = 0xff\nreal = -1.5\ntruth = yes\nchoice = b\nword = a b c\nlist "
    "= p, q\n",
    "[x.one]\nnumber = 7\n[x.two]\nbytes = 1.5MiB\n[x.one.deep]\nword = # nothing\n",
    "include = other.ini\nx.number = 5\nx.number = 6\n",
    "\xef\xbb\xbf[x]\r\nword =\r\nlist =\r\n",
    "[]\n[x\n= 5\n\x01\x00\xff",
};
const std::vector<std::string> kPieces{"[x]\n",
                                       "=",
                                       "\n",
                                       "x.",
                                       "[",
                                       "]",
                                       "#",
                                       ",",
                                       "0x",
                                       "KiB",
                                       ".",
                                       "number = 1000",
                                       "\xff",
                                       "include = a\n",
                                       "18446744073709551616",
                                       "-",
                                       "1e308",
                                       "nan",
                                       "choice = ",
                                       "\r"};

std::string mutate(std::string text, Random& random) {
  for (u64 edits = 1 + random.below(6); edits; --edits) {
    const std::size_t at = random.below(text.size() + 1);
    switch (random.below(6)) {
      case 0: text.insert(at, 1, static_cast<char>(random.next())); break;
      case 1: text.erase(at, random.below(8)); break;
      case 2: text.insert(at, kPieces[random.below(kPieces.size())]); break;
      case 3:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
        break;
      case 4: text.insert(at, text.substr(random.below(text.size() + 1), random.below(64))); break;
      case 5: text.insert(at, kSeeds[random.below(kSeeds.size())]); break;
    }
  }
  return text;
}

}  // namespace

TEST_CASE("no bytes crash the settings, and what is accepted reads back") {
  Random random(2024);
  std::vector<std::string> corpus = kSeeds;
  unsigned accepted = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = mutate(corpus[random.below(corpus.size())], random);
    if (!fuzz::survives(text)) continue;
    ++accepted;
    if (corpus.size() < 500 && text.size() < 2000) corpus.push_back(text);  // good inputs lead to deeper ones
  }
  CHECK(accepted > 5000);  // else the mutations only test the first refusal
  CHECK(accepted < 95'000);
}

TEST_CASE("very long lines, values, keys and files are refused or read in bounded time") {
  for (const char* piece : {"x", "[", "=", "#", ".", "x.y=1\n", "[x]\n", "a,"}) {
    std::string text = "[x]\nword = ";
    while (text.size() < (1 << 20)) text += piece;
    // A file of empty sections is long but good; a line of a megabyte is not.
    CHECK(fuzz::survives(text) == (std::string(piece) == "[x]\n"));
  }
}
