// A builder for the few AML terms that our DSDT needs, and for the resource descriptors inside its buffers (ACPI
// specification 6.4, chapters 20 and 6.4). Terms are byte strings; larger ones are put together from smaller ones.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace nestwalk::emu::aml {

using Bytes = std::vector<u8>;

Bytes operator+(Bytes a, const Bytes& b);

/// The shortest encoding of an integer (20.2.3).
Bytes integer(u64 value);
/// The integer that stands for a compressed EISA identifier such as "PNP0A03" (19.6.36).
Bytes eisa_id(std::string_view id);
/// A name path of one segment, four characters (padded with '_'), optionally rooted with a leading '\' (20.2.2).
Bytes name_string(std::string_view name);
Bytes name(std::string_view name, const Bytes& value);
Bytes package(const std::vector<Bytes>& elements);
Bytes buffer(const Bytes& bytes);
Bytes scope(std::string_view name, const Bytes& terms);
Bytes device(std::string_view name, const Bytes& terms);

/// Resource descriptors; `resources` closes the list with an end tag and wraps it in a buffer.
Bytes io_ports(u16 first, u8 count);  ///< fixed, 16-bit decode
Bytes irq(unsigned line);             ///< edge, active high
Bytes memory32(u32 base, u32 bytes);  ///< fixed, read and write
Bytes bus_range(u16 first, u16 last);
Bytes io_window(u16 first, u16 last);      ///< what a bridge passes on
Bytes memory_window(u32 first, u32 last);  ///< what a bridge passes on, not cacheable
Bytes resources(const Bytes& descriptors);

}  // namespace nestwalk::emu::aml
