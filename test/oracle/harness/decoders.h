// Zydis and Capstone over the same bytes: length, memory operands, immediates and explicit registers must agree. What the
// two see differently by design or by a known fault is named, with its reason; anything else is a failure.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "test/oracle/harness/atlas.h"

namespace nestwalk::oracle {

struct DecoderReport {
  static constexpr u64 kShown = 10;
  u64 cases = 0, agreed = 0, both_refused = 0;
  double seconds = 0;
  std::map<std::string, u64> named;      ///< differences by name
  std::vector<std::string> unexplained;  ///< the first kShown, in full
  u64 unexplained_count = 0;
};

/// The names of differences and why each is none of ours.
struct DecoderName {
  const char* name;
  const char* reason;
};
std::vector<DecoderName> decoder_names();

class Decoders {
 public:
  Decoders(const Atlas& atlas, u64 seed);
  ~Decoders();
  Decoders(const Decoders&) = delete;
  Decoders& operator=(const Decoders&) = delete;

  DecoderReport run(u64 first, u64 count, const std::function<void(u64 done)>& progress = {});

 private:
  std::vector<u8> draw(u64 number) const;

  const Atlas& atlas_;
  u64 seed_;
  struct Engines;
  std::unique_ptr<Engines> engines_;
};

}  // namespace nestwalk::oracle
