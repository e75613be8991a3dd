// The geometry of an array from its settings, and what is refused.
#include "tlb/array.h"

#include <bit>

namespace nestwalk::tlb {

Geometry read_geometry(sim::Section& section, u32 entries) {
  Geometry g;
  g.ways = 0;
  section.field("ways", g.ways, {0, entries, "ways"}, "associativity; 0: fully associative, 1: direct mapped");
  section.field("index", g.index, {{"linear", Index::linear}, {"xor", Index::exclusive_or}, {"modulo", Index::modulo}},
                "which set: low bits, low bits XOR the next as many, or the remainder by the number of sets");
  if (g.ways == 0) g.ways = entries;
  if (entries % g.ways != 0)
    section.refuse("ways", std::to_string(entries) + " entries cannot be divided into sets of " + std::to_string(g.ways));
  g.sets = entries / g.ways;
  if (g.index != Index::modulo && !std::has_single_bit(g.sets))
    section.refuse("index", std::to_string(g.sets) + " sets (" + std::to_string(entries) + " entries / " +
                                std::to_string(g.ways) +
                                " ways) are no power of two: only index = modulo can select among them");
  return g;
}

}  // namespace nestwalk::tlb
