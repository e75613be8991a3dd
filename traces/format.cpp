#include "traces/format.h"

#include <fmt/format.h>

namespace nestwalk::traces {
namespace {

std::string rights_text(u8 r) {
  return fmt::format("{}{}{}{}{}", r & right::user ? 'u' : 's', r & right::write ? 'w' : '-',
                     r & right::execute ? 'x' : '-', r & right::dirty ? 'd' : '-', r & right::global ? 'g' : '-');
}

std::string fault_text(const Record& r) {
  static constexpr const char* kFaults[] = {"none", "page", "non_canonical", "violation", "misconfigured"};
  std::string t = fmt::format(" fault {} {:#x}", r.size < 5 ? kFaults[r.size] : "?", r.b);
  if (r.flags & flag::walked) t += fmt::format(" walked {}", r.d);
  return t + fmt::format(" cycles {}", r.c);
}

std::string access_text(const Record& r) {
  static constexpr const char* kSides[] = {"fetch", "load", "store"};
  std::string t = fmt::format("{} {} {:#x} {}{}", kSides[r.side % 3], r.flags & flag::user ? "user" : "kernel", r.a, r.n,
                              r.flags & flag::implicit ? " implicit" : "");
  if (r.flags & flag::fault) return t + fault_text(r);
  t += fmt::format(" -> {:#x}", r.b);
  if (r.flags & flag::paged) {
    t += fmt::format(" page 2^{} {}", r.size, rights_text(r.rights));
    t += r.flags & flag::tlb_hit ? fmt::format(" tlb {}", r.level) : " miss";
    if (r.flags & flag::walked) t += fmt::format(" walked {}", r.d);
  }
  return t + fmt::format(" cycles {}", r.c);
}

}  // namespace

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::accesses: return "accesses";
    case Kind::walks: return "walks";
    case Kind::instructions: return "instructions";
  }
  return "?";
}

std::string to_text(const Record& r) {
  static constexpr const char* kInvalidations[] = {"page", "pcid_page", "pcid", "non_global", "all"};
  switch (static_cast<Type>(r.type)) {
    case Type::access: return access_text(r);
    case Type::walk_read:
      return fmt::format("  read g{}h{} {:#x} served {} cycles {}", r.level, r.side, r.a,
                         r.size == 0   ? std::string("flat")
                         : r.size == 7 ? std::string("memory")
                                       : fmt::format("l{}", r.size),
                         r.c);
    case Type::paging:
      return fmt::format("paging cr0 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}{}", r.c, r.a, r.b, r.d, r.n & 1 ? " ac" : "");
    case Type::invalidation:
      return fmt::format("invalidate {} {:#x} pcid {}", r.side < 5 ? kInvalidations[r.side] : "?", r.a, r.n);
    case Type::block: return fmt::format("block {:#x} instructions {} bytes {}", r.a, r.n, r.c);
  }
  return fmt::format("unknown record type {}", r.type);
}

}  // namespace nestwalk::traces
