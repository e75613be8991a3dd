// The trace format as structs; traces/FORMAT.md is the specification. Little-endian, fixed-size records, zstd around all.
#pragma once

#include <string>

#include "base/types.h"

namespace nestwalk::traces {

inline constexpr char kMagic[8] = {'N', 'W', 'T', 'R', 'A', 'C', 'E', '1'};

enum class Kind : u32 { accesses = 1, walks = 2, instructions = 3 };
const char* name_of(Kind kind);

/// What follows the magic; then `config_bytes` of the effective configuration as INI text, then records.
struct Header {
  u32 kind = 0;
  u32 config_bytes = 0;
};
static_assert(sizeof(Header) == 8);

enum class Type : u8 { access = 1, walk_read = 2, paging = 3, invalidation = 4, block = 5 };

/// Bits of Record::flags of an access.
namespace flag {
inline constexpr u8 user = 1, implicit = 2, fault = 4, tlb_hit = 8, walked = 16, paged = 32;
}
/// Record::size of an access that faulted.
namespace fault {
inline constexpr u8 page = 1, non_canonical = 2, violation = 3, misconfigured = 4;
}
/// Bits of Record::rights.
namespace right {
inline constexpr u8 user = 1, write = 2, execute = 4, dirty = 8, global = 16;
}

/// 32 bytes. The meaning of a, b, c, d and n depends on the type (FORMAT.md).
struct Record {
  u8 type = 0;
  u8 side = 0;  ///< access: 0 fetch, 1 load, 2 store
  u8 flags = 0;
  u8 size = 0;   ///< access: log2 of the effective page size, or the kind of fault
  u8 level = 0;  ///< access: TLB level that hit; walk_read: guest level
  u8 rights = 0;
  u16 n = 0;
  u64 a = 0;
  u64 b = 0;
  u32 c = 0;
  u32 d = 0;
};
static_assert(sizeof(Record) == 32);

/// One line for a person.
std::string to_text(const Record& r);

}  // namespace nestwalk::traces
