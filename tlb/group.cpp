// A TLB's tags, page sizes and pieces. Breaking pages that no array takes: 4M into 2M entries as CPUID Fn8000_0005 of the
// APM (vol. 3, appendix E.4) describes it; larger ones where `smash` asks for it.
#include "tlb/group.h"

#include <algorithm>

#include "base/bits.h"

namespace nestwalk::tlb {
namespace {

constexpr unsigned kLinearBits = 57;  // what lies above is a copy of the top bit

/// Number of the page of that size, from a linear address.
u64 page_number(u64 linear, PageSize size) { return (linear & low_mask(kLinearBits)) >> shift_of(size); }

/// Page number, size, G, VPID and PCID in one word; a global entry matches every PCID of its VPID.
constexpr unsigned kNumberShift = 19, kSizeShift = 17;
constexpr u64 kGlobal = 0x10000;
u64 tag_of(u64 number, PageSize size, u64 context) {
  return number << kNumberShift | u64{number_of(size)} << kSizeShift | context;
}
u64 global(u16 context) { return kGlobal | (context & kVpidMask); }
u64 context_of(const Entry& e) { return e.rights.global ? global(e.pcid) : e.pcid; }
unsigned size_in(u64 tag) { return tag >> kSizeShift & 3; }

u64 linear_of(const Entry& e) { return e.page << kPageShift; }
bool is_piece(const Entry& e) { return e.whole > e.size; }

/// Reads a list of names; `accept` is given each and says whether it knows it.
template <class Accept>
void read_names(sim::Section& section, const char* key, std::vector<std::string> list, const char* text, Accept&& accept) {
  section.field(key, list, text);
  if (list.empty()) section.refuse(key, std::string("must name at least one: ") + text);
  for (const std::string& word : list)
    if (!accept(word)) section.refuse(key, "'" + word + "' is not allowed: " + text);
}

}  // namespace

Group::Group(sim::Section section, u64 seed) : section_(section) {
  const std::string& prefix = section.prefix();
  name_ = prefix.substr(prefix.rfind('.') + 1);
  section.field("level", level_, {1, 4, ""}, "1 is asked first");
  read_names(section, "serves", {"all"}, "any of instruction, data (= load, store), load, store, all",
             [&](const std::string& word) {
               const bool all = word == "all", data = all || word == "data";
               if (!data && word != "instruction" && word != "load" && word != "store") return false;
               serves_[0] |= all || word == "instruction";
               serves_[1] |= data || word == "load";
               serves_[2] |= data || word == "store";
               return true;
             });
  if (level_ > 1) latency_ = 7;
  section.field("latency", latency_, {0, 100'000, "cycles"},
                "of a look-up; behind the first level it is added whether the look-up hits or misses");
  section.field("inclusion", inclusion_,
                {{"none", Inclusion::none}, {"inclusive", Inclusion::inclusive}, {"exclusive", Inclusion::exclusive}},
                "towards the levels in front: neither, holds all they hold, or holds what they evicted");
  section.field("tags", tags_, {{"pcid", Tags::pcid}, {"none", Tags::none}},
                "none: non-global entries leave when the current PCID changes");
  section.field("smash", smash_, "pages too large for every array are broken into the largest size that one takes");

  const std::vector<std::string> more = section.children();
  if (section.given("entries") || more.empty()) read_bank(section, prefix, seed);
  for (const std::string& name : more) read_bank(section.child(name), prefix + "." + name, seed);
  build_places();
}

void Group::build_places() {
  for (const PageSize size : kAllSizes) {
    u32 takers = 0;
    for (u32 n = 0; n < banks_.size(); ++n) {
      if (!banks_[n].takes[number_of(size)]) continue;
      only_[number_of(size)] = takers++ ? kSeveral : n;
      banks_[n].place[number_of(size)] = static_cast<u32>(places_.size());
      places_.push_back({0, n, size});
    }
  }
}

void Group::read_bank(sim::Section section, std::string name, u64 seed) {
  bool takes[kPageSizes] = {};
  read_names(section, "pages", {"4K", "2M", "4M", "1G"}, "any of 4K, 2M, 4M, 1G", [&](const std::string& word) {
    for (const PageSize size : kAllSizes)
      if (word == name_of(size)) return takes[number_of(size)] = takes_[number_of(size)] = true;
    return false;
  });
  if (!section.given("entries")) section.refuse("entries", "a TLB needs its number of entries");
  u32 entries = 1;
  section.field("entries", entries, {1, 1u << 20, "entries"}, "size of the array");
  const Geometry geometry = read_geometry(section, entries);
  auto policy = make_policy(section, geometry.sets, geometry.ways, seed);
  Bank bank{std::move(name), {}, {}, Array<Entry>(geometry, std::move(policy), kNumberShift)};
  std::copy(std::begin(takes), std::end(takes), bank.takes);
  banks_.push_back(std::move(bank));
}

// ---- looking up and inserting ----------------------------------------------------------------------------------------

/// An entry of one of two contexts; the first goes before.
Group::Resident Group::find_in(const Place& place, u64 linear, u64 context, u64 other) {
  if (place.residents == 0) return {};
  Bank& bank = banks_[place.bank];
  const u64 number = page_number(linear, place.size);
  const u32 set = bank.array.set_of(number);
  const u32 way = bank.array.find(set, tag_of(number, place.size, context), tag_of(number, place.size, other));
  return way == Array<Entry>::kNone ? Resident{} : Resident{&bank, set, way};
}

Group::Resident Group::find(u64 linear, u16 pcid) {
  // Where several entries match, the older one must win, for the filter may hold it. That is the smaller page (inserting a
  // smaller one removes the larger around it) and the PCID's own entry (a global one added later came by another PCID).
  for (const Place& place : places_)
    if (const Resident r = find_in(place, linear, pcid, global(pcid))) return r;
  return {};
}

std::optional<Entry> Group::piece_of(const Entry& entry, u64 linear) const {
  if (!smash_ && !(entry.size == PageSize::k4M && takes(PageSize::k2M))) return std::nullopt;
  for (unsigned i = kPageSizes; i-- > 0;) {
    const PageSize size = kAllSizes[i];
    if (!takes_[i] || size > entry.size || size == PageSize::k4M) continue;
    const u64 offset = ((linear >> kPageShift) - entry.page) & (pages_of(entry.size) - 1) & ~(pages_of(size) - 1);
    Entry piece = entry;
    piece.page += offset;
    piece.frame += offset;
    piece.size = size;
    piece.whole = std::max(entry.whole, entry.size);
    return piece;
  }
  return std::nullopt;
}

Group::Bank& Group::bank_for(PageSize size, u64 number) {
  if (const u32 only = only_[number_of(size)]; only != kSeveral) return banks_[only];
  // A size that several arrays take goes where its set has room, otherwise to each of them in turn.
  u32 candidates = 0;
  for (Bank& bank : banks_) {
    if (!bank.takes[number_of(size)]) continue;
    if (bank.array.has_room(bank.array.set_of(number))) return bank;
    ++candidates;
  }
  u32 turn = turn_++ % candidates;
  for (Bank& bank : banks_)
    if (bank.takes[number_of(size)] && turn-- == 0) return bank;
  return banks_[0];
}

Group::Resident Group::place(const Entry& entry, u64 now, Array<Entry>::Displaced& displaced) {
  const u64 number = page_number(linear_of(entry), entry.size);
  Bank& bank = bank_for(entry.size, number);
  const u32 set = bank.array.set_of(number);
  const u32 way = bank.array.insert(set, tag_of(number, entry.size, context_of(entry)), entry, now, displaced);
  if (displaced.any) forget(bank, displaced.tag, displaced.payload);
  ++places_[bank.place[number_of(entry.size)]].residents;
  pieces_ += is_piece(entry);
  ++fills_[number_of(entry.size)];
  return {&bank, set, way};
}

/// An entry of the bank is no resident any more.
void Group::forget(const Bank& bank, u64 tag, const Entry& entry) {
  --places_[bank.place[size_in(tag)]].residents;
  if (pieces_) pieces_ -= is_piece(entry);
}

// ---- leaving ---------------------------------------------------------------------------------------------------------

void Group::erase(const Resident& r) {
  forget(*r.bank, r.bank->array.tag(r.set, r.way), r.entry());
  r.bank->array.erase(r.set, r.way);
}

u64 Group::erase_address(u64 linear, u16 pcid) {
  u64 erased = 0;
  for (Resident r; (r = find(linear, pcid)); ++erased) erase(r);
  return erased;
}

u64 Group::erase_page(u64 linear, u16 pcid, bool with_global) {
  const auto meant = [&](const Entry& e) {
    return e.rights.global ? with_global && same_vpid(e.pcid, pcid) : e.pcid == pcid;
  };
  if (pieces_)
    return erase_if([&](const Entry& e) {
      const PageSize size = is_piece(e) ? e.whole : e.size;
      return meant(e) && covers(align_down(e.page, pages_of(size)), size, linear);
    });
  u64 erased = 0;
  for (const Place& place : places_)
    for (Resident r; (r = find_in(place, linear, pcid, with_global ? global(pcid) : pcid)); ++erased) erase(r);
  return erased;
}

u64 Group::erase_context(u16 context, u16 mask, bool with_global) {
  u64 erased = 0;
  for (Bank& bank : banks_)
    bank.array.for_each([&](u32 set, u32 way) {
      const u64 tag = bank.array.tag(set, way);
      if (((tag ^ context) & mask) || (!with_global && (tag & kGlobal))) return;
      erase({&bank, set, way});
      ++erased;
    });
  return erased;
}

u64 Group::erase_overlapping(const Entry& entry) {
  bool smaller = false;
  u64 erased = 0;
  for (const Place& place : places_) {
    if (place.size < entry.size) {
      smaller |= place.residents != 0;
      continue;
    }
    const u64 context = context_of(entry);
    for (Resident r; (r = find_in(place, linear_of(entry), context, context)); ++erased) erase(r);
  }
  if (smaller)
    erased += erase_if([&](const Entry& e) {
      return covers(entry.page, entry.size, linear_of(e)) && e.rights.global == entry.rights.global &&
             (e.rights.global ? same_vpid(e.pcid, entry.pcid) : e.pcid == entry.pcid);
    });
  return erased;
}

// ---- statistics ------------------------------------------------------------------------------------------------------

u64 Group::all_misses() const {
  u64 n = 0;
  for (const auto& row : misses)
    for (const u64 m : row) n += m;
  return n;
}

u64 Group::lookups_of_first(const AccessCounts& counts) const {
  u64 n = 0;
  for (unsigned side = 0; side < kSides; ++side)
    if (serves_[side]) n += counts.paged[0][side] + counts.paged[1][side];
  return n;
}

void Group::declare(sim::Stats& stats, const AccessCounts* const& counts) {
  const std::string p = section_.prefix();
  if (level_ == 1) {
    stats.counter(
        p + ".accesses", [this, &counts] { return lookups_of_first(*counts); }, "accesses", "accesses that asked this TLB");
    stats.counter(
        p + ".hits", [this, &counts] { return lookups_of_first(*counts) - all_misses(); }, "accesses",
        "accesses whose page it held");
  } else {
    stats.counter(p + ".accesses", lookups, "accesses", "look-ups after a miss in front");
    stats.counter(p + ".hits", hits, "accesses", "look-ups whose page it held");
  }
  stats.counter(
      p + ".misses", [this] { return all_misses(); }, "accesses", "look-ups whose page it did not hold");
  for (const bool user : {false, true})
    stats.counter(
        p + (user ? ".misses.user" : ".misses.kernel"),
        [this, user] { return misses[user][0] + misses[user][1] + misses[user][2]; }, "accesses",
        user ? "misses in user mode" : "misses in supervisor mode");
  if (serves(Side::load) && serves(Side::store)) {
    stats.counter(
        p + ".load_misses", [this] { return misses[0][1] + misses[1][1]; }, "accesses", "misses of loads");
    stats.counter(
        p + ".store_misses", [this] { return misses[0][2] + misses[1][2]; }, "accesses", "misses of stores");
  }
  if (serves(Side::fetch) && (serves(Side::load) || serves(Side::store)))
    stats.counter(
        p + ".fetch_misses", [this] { return misses[0][0] + misses[1][0]; }, "accesses", "misses of instruction fetches");
  stats.counter(
      p + ".fills", [this] { return fills_[0] + fills_[1] + fills_[2] + fills_[3]; }, "entries", "entries inserted");
  for (const PageSize size : kAllSizes)
    if (takes(size))
      stats.counter(p + ".fills." + name_of(size), fills_[number_of(size)], "entries",
                    "entries of this page size inserted");
  stats.counter(p + ".evictions", evictions, "entries", "entries that made room for others");
  stats.counter(p + ".flushes", flushes, "entries", "entries that the guest's invalidations removed");
  stats.counter(p + ".dropped", dropped, "entries",
                "entries replaced by a newer one of their page, moved to the front, or removed for the sake of inclusion");
  stats.ratio(p + ".miss_rate", p + ".misses", p + ".accesses", "misses per access");
}

}  // namespace nestwalk::tlb
