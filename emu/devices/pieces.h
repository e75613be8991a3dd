// Accesses that a bus cuts: to a part narrower than the access, across the end of a window, or into nothing.
#pragma once

#include "base/bits.h"
#include "base/types.h"
#include "emu/device.h"

namespace nestwalk::emu {

/// A device in an address range: [first, last], accesses at most `widest` bytes (1, 2, 4 or 8).
struct Span {
  u64 first = 0, last = 0;
  Device* device = nullptr;
  unsigned widest = 1;
};

/// Bytes that may go to `span` in one naturally aligned piece at `address`, with `left` bytes still to do.
inline unsigned piece_of(const Span& span, u64 address, unsigned left) {
  unsigned n = span.widest < left ? span.widest : left;
  while ((n & (n - 1)) != 0 || ((address - span.first) & (n - 1)) != 0 || span.last - address < n - 1) --n;
  return n;
}

/// `find(address)` gives the Span there or nullptr; bytes that nobody answers float high.
template <class Find>
u64 read_in_pieces(Find&& find, u64 address, unsigned bytes) {
  u64 value = 0;
  for (unsigned done = 0; done < bytes;) {
    const Span* span = find(address + done);
    const unsigned n = span ? piece_of(*span, address + done, bytes - done) : 1;
    const u64 part = span ? span->device->read(address + done - span->first, n) : 0xff;
    value |= (part & low_mask(8 * n)) << (8 * done);
    done += n;
  }
  return value;
}

template <class Find>
void write_in_pieces(Find&& find, u64 address, u64 value, unsigned bytes) {
  for (unsigned done = 0; done < bytes;) {
    const Span* span = find(address + done);
    const unsigned n = span ? piece_of(*span, address + done, bytes - done) : 1;
    if (span) span->device->write(address + done - span->first, (value >> (8 * done)) & low_mask(8 * n), n);
    done += n;
  }
}

}  // namespace nestwalk::emu
