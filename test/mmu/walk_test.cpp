// The walk against an independent reference: for each format what SDM vol. 3, 4.3 to 4.8 says, bit by bit and written down
// plainly, on random tables, accesses and control bits.
#include "mmu/walk.h"

#include <map>
#include <tuple>
#include <unordered_map>

#include "base/random.h"
#include "test/catch.h"

using namespace nestwalk;
using namespace nestwalk::mmu;

namespace {

/// Entries that come into being, at random but repeatably, when they are first read. Tables share few pages, so that they
/// alias one another.
struct RandomTables {
  RandomTables(u64 seed, unsigned width, bool extended) : seed_(seed), width_(width), extended_(extended) {}

  u64& at(u64 address) {
    const auto [it, fresh] = entries.try_emplace(address);
    if (fresh) it->second = make(address);
    return it->second;
  }
  Result<u64> read(u64 address, unsigned) {
    ++reads;
    return at(address);
  }
  Result<bool> update(u64 address, u64 old, u64 now, unsigned) {
    if (at(address) != old) return false;
    at(address) = now;
    return true;
  }

  std::unordered_map<u64, u64> entries;
  unsigned reads = 0;

 private:
  u64 make(u64 address) const {
    Random r(seed_ ^ address * 0x9e3779b97f4a7c15);
    u64 e = extended_ ? flags_of_ept(r) : flags_of_linear(r);
    e |= e & 0x80 && r.below(8) ? r.below(1 << 10) << 30 : r.below(24) << 12;
    if (r.below(12) == 0) e |= bit(static_cast<unsigned>(12 + r.below(51)));
    return width_ == 4 ? static_cast<u32>(e | (r.below(8) ? 0 : r.next() & 0x3fe000)) : e;
  }
  static u64 flags_of_linear(Random& r) {
    u64 e = r.next() & 0xf60;  // A, D, G and ignored bits
    if (r.below(16)) e |= 1;
    if (r.below(6)) e |= 2;
    if (r.below(4)) e |= 4;
    if (r.below(4) == 0) e |= 0x80;
    if (r.below(10) == 0) e |= bit(63);
    return e;
  }
  static u64 flags_of_ept(Random& r) {
    u64 e = r.below(3) ? 7 : r.below(8);
    e |= r.next() & 0xf00;
    if (r.below(4) == 0) e |= 0x80 | (r.below(2) ? 6 : r.below(8)) << 3;
    return e;
  }
  u64 seed_;
  unsigned width_;
  bool extended_;
};

struct Expected {
  bool fault = false;
  u32 error = 0;
  u64 address = 0;
  unsigned shift = 0;
  bool user = true, write = true, execute = true, dirty = false, global = false;
  std::map<u64, u64> written;  ///< entries afterwards, where they differ
};

bool reserved_bit(const PagingState& s, unsigned n, unsigned level, bool leaf) {
  const bool nxe = s.efer & efer::nxe;
  switch (mode_of(s)) {
    case PagingMode::legacy32: {
      if (!leaf || level == 1) return false;
      const unsigned m = s.pse36 ? std::min<unsigned>(40, s.physical_width) : 32;
      return n <= 21 && n >= m - 19;
    }
    case PagingMode::pae:
      if (n == 63) return !nxe;
      if (n >= s.physical_width) return true;
      return leaf && level == 2 && n >= 13 && n <= 20;
    default:
      if (n == 63) return !nxe;
      if (n >= s.physical_width && n <= 51) return true;
      if (n == 7) return level > 1 && !leaf;
      return leaf && ((level == 2 && n >= 13 && n <= 20) || (level == 3 && n >= 13 && n <= 29));
  }
}

bool permitted(const PagingState& s, const Expected& t, Access a) {
  const bool nxe = s.efer & efer::nxe, smap = s.cr4 & cr4::smap, smep = s.cr4 & cr4::smep, wp = s.cr0 & cr0::wp;
  const bool nx_counts = mode_of(s) != PagingMode::legacy32 && nxe;
  if (a.side == Side::fetch && nx_counts && !t.execute) return false;
  if (!a.user) {  // supervisor-mode access
    if (a.side == Side::fetch) return !(t.user && smep);
    if (t.user && smap && !(s.ac && !a.implicit)) return false;
    return a.side == Side::load || !wp || t.write;
  }
  if (!t.user) return false;
  return a.side != Side::store || t.write;
}

/// 4.6.2, sentence by sentence.
bool key_forbids(const PagingState& s, const Expected& t, unsigned key, Access a) {
  if (!(s.efer & efer::lma) || !(s.cr4 & cr4::pke) || !t.user || a.side == Side::fetch) return false;
  const bool access_disabled = s.pkru >> (2 * key) & 1, write_disabled = s.pkru >> (2 * key + 1) & 1;
  if (access_disabled) return true;
  return write_disabled && a.side == Side::store && (a.user || (s.cr0 & cr0::wp));
}

Expected reference(const PagingState& s, RandomTables& memory, u64 address, Access a) {
  const PagingMode mode = mode_of(s);
  const unsigned wide = mode == PagingMode::legacy32 ? 10 : 9;
  unsigned level = mode == PagingMode::five_level ? 5 : mode == PagingMode::four_level ? 4 : 2;
  u64 table = mode == PagingMode::legacy32 ? s.cr3 & 0xfffff000 : s.cr3 & 0xffffffffff000;
  Expected t;
  const auto fail = [&](u32 error) {
    t.fault = true;
    const bool id = s.cr4 & cr4::smep || ((s.cr4 & cr4::pae) && (s.efer & efer::nxe));
    t.error = error | (a.side == Side::store ? 2 : 0) | (a.user ? 4 : 0) | (a.side == Side::fetch && id ? 16 : 0);
    return t;
  };
  if (mode == PagingMode::pae) {
    table = s.pdpte[address >> 30 & 3] & 0xffffffffff000;
    if (!(s.pdpte[address >> 30 & 3] & 1)) return fail(0);
  }
  std::vector<u64> used;
  for (;; --level) {
    t.shift = 12 + wide * (level - 1);
    const u64 where = table + (address >> t.shift & low_mask(wide)) * (wide == 10 ? 4 : 8);
    const u64 e = memory.at(where);
    if (!(e & 1)) return fail(0);
    bool leaf = level == 1;
    if (level == 2 && (e & 0x80)) leaf = mode != PagingMode::legacy32 || (s.cr4 & cr4::pse);
    if (level == 3 && (e & 0x80)) leaf = s.gigabyte_pages;
    for (unsigned n = 0; n < 64; ++n)
      if ((e >> n & 1) && reserved_bit(s, n, level, leaf)) return fail(9);
    used.push_back(where);
    t.write &= e >> 1 & 1;
    t.user &= e >> 2 & 1;
    t.execute &= !(e >> 63);
    if (leaf) {
      const bool forbidden = key_forbids(s, t, static_cast<unsigned>(e >> 59 & 15), a);
      if (!permitted(s, t, a) || forbidden) return fail(forbidden ? 33 : 1);
      u64 frame = e & 0xffffffffff000 & ~low_mask(t.shift);
      if (t.shift == 22) frame = (e & 0xffc00000) + ((e >> 13 & 0xff) << 32);
      t.address = frame + (address & low_mask(t.shift));
      t.global = (e >> 8 & 1) && (s.cr4 & cr4::pge);
      break;
    }
    table = e & 0xffffffffff000;
  }
  for (u64 where : used) t.written[where] = memory.at(where) | 0x20;
  if (a.side == Side::store) t.written[used.back()] |= 0x40;
  t.dirty = t.written[used.back()] & 0x40;
  return t;
}

template <TableFormat F>
Result<Leaf> walk_from_root(const PagingState& s, RandomTables& m, u64 address, Access a) {
  const Root root{s.cr3, {s.pdpte[0], s.pdpte[1], s.pdpte[2], s.pdpte[3]}};
  return walk<F>(F::root(root, address), address, a, Rules::of(s), m);
}

Result<Leaf> walk_as(const PagingState& s, RandomTables& m, u64 address, Access a) {
  switch (mode_of(s)) {
    case PagingMode::legacy32: return walk_from_root<Legacy32>(s, m, address, a);
    case PagingMode::pae: return walk_from_root<Pae>(s, m, address, a);
    case PagingMode::four_level: return walk_from_root<Ia32e<4>>(s, m, address, a);
    default: return walk_from_root<Ia32e<5>>(s, m, address, a);
  }
}

PagingState random_state(Random& r, PagingMode mode) {
  PagingState s;
  const auto maybe = [&](u64 flag) { return r.below(2) ? flag : 0; };
  s.cr0 = cr0::pg | cr0::pe | maybe(cr0::wp);
  s.cr4 = maybe(cr4::pge) | maybe(cr4::smep) | maybe(cr4::smap) | maybe(cr4::pse);
  s.efer = maybe(efer::nxe);
  if (mode != PagingMode::legacy32) s.cr4 |= cr4::pae;
  if (mode >= PagingMode::four_level) s.efer |= efer::lma;
  if (mode == PagingMode::five_level) s.cr4 |= cr4::la57;
  s.cr4 |= maybe(cr4::pke);
  s.pkru = static_cast<u32>(r.next() & r.next());
  s.ac = r.below(2);
  s.physical_width = static_cast<u8>(36 + r.below(17));
  s.gigabyte_pages = r.below(2);
  s.pse36 = r.below(2);
  s.cr3 = r.below(24) << 12 | r.below(4096);
  for (u64& e : s.pdpte) e = r.below(24) << 12 | (r.below(8) ? 1 : 0);
  return s;
}

u64 random_address(Random& r, PagingMode mode) {
  switch (mode) {
    case PagingMode::four_level: return sign_extend(r.next() & low_mask(48), 48);
    case PagingMode::five_level: return sign_extend(r.next() & low_mask(57), 57);
    default: return r.next() & 0xffffffff;
  }
}

Access random_access(Random& r) {
  Access a{static_cast<Side>(r.below(3)), r.below(2) == 0, false};
  if (!a.user && a.side != Side::fetch) a.implicit = r.below(2);
  return a;
}

void compare(PagingMode mode, unsigned tables) {
  Random r(static_cast<u64>(mode) + 77);
  unsigned outcomes[3] = {};  // translated, not present, other fault
  for (unsigned n = 0; n < tables; ++n) {
    const PagingState s = random_state(r, mode);
    RandomTables memory(r.next(), mode == PagingMode::legacy32 ? 4 : 8, false);
    for (unsigned k = 0; k < 24; ++k) {
      const u64 address = random_address(r, mode);
      const Access a = random_access(r);
      const Expected expected = reference(s, memory, address, a);
      auto after = memory.entries;
      for (const auto& [where, value] : expected.written) after[where] = value;
      const Result<Leaf> found = walk_as(s, memory, address, a);
      REQUIRE(found.ok() != expected.fault);
      REQUIRE(memory.entries == after);
      if (expected.fault) {
        REQUIRE(found.fault().kind == Fault::Kind::page_fault);
        REQUIRE(found.fault().error == expected.error);
        REQUIRE(found.fault().address == address);
      } else {
        REQUIRE(found->address == expected.address);
        REQUIRE(shift_of(found->size) == expected.shift);
        REQUIRE(bool(found->rights & right::user) == expected.user);
        REQUIRE(bool(found->rights & right::write) == expected.write);
        REQUIRE(bool(found->rights & right::execute) == expected.execute);
        REQUIRE(found->dirty == expected.dirty);
        REQUIRE(found->global == expected.global);
      }
      ++outcomes[!expected.fault ? 0 : expected.error & 1 ? 2 : 1];
    }
  }
  for (unsigned count : outcomes) CHECK(count > tables);  // the random tables exercise every outcome
}

/// Entries as given, nothing else.
struct GivenTables {
  std::map<u64, u64> entries;
  std::vector<u64> read_order;
  unsigned refuse_updates = 0;
  Result<u64> read(u64 address, unsigned) {
    read_order.push_back(address);
    return entries[address];
  }
  Result<bool> update(u64 address, u64 old, u64 now, unsigned) {
    if (refuse_updates) {
      --refuse_updates;
      entries[address] ^= 0x200;  // another processor was faster
      return false;
    }
    if (entries[address] != old) return false;
    entries[address] = now;
    return true;
  }
};

constexpr Rules kPlain = Rules::of({.cr0 = cr0::pg | cr0::wp, .cr4 = cr4::pae | cr4::pse, .efer = efer::lma | efer::nxe});

/// A path of tables at 0x1000, 0x2000, ... for address 0, down to a leaf of `leaf_level`.
template <TableFormat F>
GivenTables path(unsigned leaf_level, u64 upper, u64 leaf) {
  GivenTables m;
  for (unsigned level = F::kLevels, n = 1; level >= leaf_level; --level, ++n)
    m.entries[n * 0x1000] = level == leaf_level ? leaf : upper | (n + 1) * 0x1000;
  return m;
}

template <TableFormat F>
unsigned cold_reads(unsigned leaf_level, u64 upper = 7, u64 leaf = 7) {
  GivenTables m = path<F>(leaf_level, upper, leaf_level > 1 ? leaf | 0x80 : leaf);
  REQUIRE(walk<F>(F::root(Root{0x1000, {0x1001}}, 0), 0, Access{}, kPlain, m).ok());
  return static_cast<unsigned>(m.read_order.size());
}

}  // namespace

TEST_CASE("a cold walk reads one entry per level down to its leaf") {
  CHECK(cold_reads<Ia32e<4>>(1) == 4);
  CHECK(cold_reads<Ia32e<4>>(2) == 3);
  CHECK(cold_reads<Ia32e<4>>(3) == 2);
  CHECK(cold_reads<Ia32e<5>>(1) == 5);
  CHECK(cold_reads<Ia32e<5>>(2) == 4);
  CHECK(cold_reads<Ia32e<5>>(3) == 3);
  CHECK(cold_reads<Pae>(1) == 2);
  CHECK(cold_reads<Pae>(2) == 1);
  CHECK(cold_reads<Legacy32>(1) == 2);
  CHECK(cold_reads<Legacy32>(2) == 1);
  CHECK(cold_reads<Ept>(1, 7, 0x37) == 4);
  CHECK(cold_reads<Ept>(2, 7, 0x37) == 3);
  CHECK(cold_reads<Ept>(3, 7, 0x37) == 2);
}

TEST_CASE("32-bit paging agrees with the reference walker") { compare(PagingMode::legacy32, 2500); }
TEST_CASE("PAE paging agrees with the reference walker") { compare(PagingMode::pae, 2500); }
TEST_CASE("4-level paging agrees with the reference walker") { compare(PagingMode::four_level, 2500); }
TEST_CASE("5-level paging agrees with the reference walker") { compare(PagingMode::five_level, 2500); }

TEST_CASE("EPT agrees with a reference walker") {
  Random r(5);
  unsigned outcomes[3] = {};
  for (unsigned n = 0; n < 2500; ++n) {
    Rules rules;
    rules.physical_width = static_cast<u8>(36 + r.below(17));
    rules.beyond = low_mask(52) & ~low_mask(rules.physical_width);
    rules.gigabyte_pages = r.below(2);
    rules.execute_only = r.below(2);
    rules.accessed_dirty = r.below(2);
    RandomTables memory(r.next(), 8, true);
    for (unsigned k = 0; k < 24; ++k) {
      const u64 address = r.next() & low_mask(48), root = r.below(24) << 12;
      const Access a = random_access(r);
      // The reference: SDM vol. 3, 29.3.2 and 29.3.3.
      enum { fine, violation, misconfiguration } outcome = fine;
      u64 table = root, held = 7, target = 0;
      unsigned level = 4;
      std::vector<u64> used;
      for (;; --level) {
        const u64 where = table + (address >> (3 + 9 * level) & 0x1ff) * 8, e = memory.at(where);
        if (!(e & 7)) outcome = violation, held = 0;
        const bool leaf = level == 1 || ((e & 0x80) && (level == 2 || (level == 3 && rules.gigabyte_pages)));
        const u64 x = e & 7, type = e >> 3 & 7;
        bool bad = x == 2 || x == 6 || (x == 4 && !rules.execute_only);
        for (unsigned b = rules.physical_width; b < 52; ++b) bad |= e >> b & 1;
        if (leaf) {
          bad |= type == 2 || type == 3 || type == 7;
          for (unsigned b = 12; b < 3 + 9 * level; ++b) bad |= e >> b & 1;
        } else {
          bad |= e >> 3 & 0x1f;
        }
        if (outcome == fine && bad) outcome = misconfiguration;
        if (outcome != fine) break;
        held &= x;
        used.push_back(where);
        if (leaf) {
          target = (e & 0xffffffffff000 & ~low_mask(3 + 9 * level)) + (address & low_mask(3 + 9 * level));
          break;
        }
        table = e & 0xffffffffff000;
      }
      const u32 need = a.side == Side::load ? 1 : a.side == Side::store ? 2 : 4;
      if (outcome == fine && !(held & need)) outcome = violation;
      auto after = memory.entries;
      if (outcome == fine && rules.accessed_dirty) {
        for (u64 where : used) after[where] |= 0x100;
        if (a.side == Side::store) after[used.back()] |= 0x200;
      }
      const Result<Leaf> found = walk<Ept>(Ept::root(Root{root | 0x5e}, address), address, a, rules, memory);
      REQUIRE(memory.entries == after);
      REQUIRE(found.ok() == (outcome == fine));
      if (outcome == fine) REQUIRE(found->address == target);
      if (outcome == misconfiguration) REQUIRE(found.fault().kind == Fault::Kind::misconfigured);
      if (outcome == violation) {
        REQUIRE(found.fault().kind == Fault::Kind::violation);
        REQUIRE(found.fault().error == (need | (need == 2 && a.implicit) | static_cast<u32>(held) << 3));
      }
      ++outcomes[outcome];
    }
  }
  for (unsigned count : outcomes) CHECK(count > 2500);
}

TEST_CASE("a guest-physical address of more than 48 bits is an EPT violation") {
  GivenTables m = path<Ept>(1, 7, 0x37);
  const auto found = walk<Ept>(Ept::root(Root{0x1000}, 0), bit(48), Access{}, kPlain, m);
  REQUIRE(!found);
  CHECK(found.fault().kind == Fault::Kind::violation);
  CHECK(m.read_order.empty());
}

TEST_CASE("a walk that starts at the page table reads one entry and keeps the rights accumulated above it") {
  GivenTables m = path<Ia32e<4>>(1, 7, 0xabc007);
  const u8 no_write = right::all & ~right::write;
  const auto found = walk<Ia32e<4>>(WalkStart{0x4000, 1, no_write}, 0x123, Access{}, kPlain, m);
  REQUIRE(found.ok());
  CHECK(found->address == 0xabc123);
  CHECK(found->rights == no_write);
  CHECK(m.read_order == std::vector<u64>{0x4000});
  const auto store = walk<Ia32e<4>>(WalkStart{0x4000, 1, no_write}, 0, Access{Side::store, true, false}, kPlain, m);
  REQUIRE(!store);
  CHECK(store.fault().error == (pf::present | pf::write | pf::user));
}

TEST_CASE("a faulting walk leaves accessed and dirty flags alone, a load leaves the dirty flag alone") {
  GivenTables m = path<Ia32e<4>>(1, 7, 0x5005);  // read-only leaf
  const auto before = m.entries;
  CHECK(!walk<Ia32e<4>>(WalkStart{0x1000, 4}, 0, Access{Side::store, false, false}, kPlain, m));
  CHECK(m.entries == before);
  CHECK(walk<Ia32e<4>>(WalkStart{0x1000, 4}, 0, Access{Side::load, true, false}, kPlain, m).ok());
  CHECK(m.entries[0x1000] == 0x2027);
  CHECK(m.entries[0x2000] == 0x3027);
  CHECK(m.entries[0x3000] == 0x4027);
  CHECK(m.entries[0x4000] == 0x5025);
  Rules lax = kPlain;
  lax.write_protect = false;  // a supervisor may write the read-only page, and that makes it dirty
  CHECK(walk<Ia32e<4>>(WalkStart{0x1000, 4}, 0, Access{Side::store, false, false}, lax, m)->dirty);
  CHECK(m.entries[0x4000] == 0x5065);
  CHECK(m.entries[0x3000] == 0x4027);
}

TEST_CASE("an entry that changes between reading and marking makes the walk start again") {
  GivenTables m = path<Ia32e<4>>(1, 7, 0x5007);
  m.refuse_updates = 1;
  CHECK(walk<Ia32e<4>>(WalkStart{0x1000, 4}, 0, Access{}, kPlain, m).ok());
  CHECK(m.read_order.size() == 8);
  CHECK(m.entries[0x1000] == (0x2027 | 0x200));
}

TEST_CASE("a table that refers to itself is walked to its end and marked") {
  GivenTables m;
  m.entries[0x1000] = 0x1003;  // entry 0 of the only table is the table
  const auto found = walk<Ia32e<4>>(WalkStart{0x1000, 4}, 0, Access{Side::store, false, false}, kPlain, m);
  REQUIRE(found.ok());
  CHECK(found->address == 0x1000);
  CHECK(m.entries[0x1000] == 0x1063);
}

TEST_CASE("a fault while a table is read is passed on unchanged") {
  struct {
    Result<u64> read(u64, unsigned level) {
      if (level == 3) return Fault{Fault::Kind::violation, 9, 0x777};
      return u64{0x2007};
    }
    Result<bool> update(u64, u64, u64, unsigned) { return true; }
  } memory;
  const auto found = walk<Ia32e<4>>(WalkStart{0x1000, 4}, 0x123456, Access{}, kPlain, memory);
  REQUIRE(!found);
  CHECK(found.fault().kind == Fault::Kind::violation);
  CHECK(found.fault().error == 9);
  CHECK(found.fault().address == 0x777);
}
