// System cases as bootable images: the runner of test/oracle/image/system.S takes each through its world and prints what
// became of it. What an image can see of an end is less than what a machine of our own shows: no hidden parts of segments
// but the bases of FS and GS, no RF, and the upper halves of registers only where 64-bit code ended.
#pragma once

#include <map>

#include "test/oracle/harness/emulator.h"
#include "test/oracle/harness/image.h"
#include "test/oracle/harness/system_machine.h"

namespace nestwalk::oracle {

/// What can be seen from within of how a case ended.
struct SystemEnd {
  Ended ended = Ended::other;
  int place = -1;              ///< as place_of()
  SystemState state;           ///< of segments the selectors, and the bases of FS and GS; no RIP
  std::map<u64, u64> changed;  ///< words of memory that are not as at the start
};

/// The end of a case on a machine of our own, as an image would show it.
SystemEnd end_of(const SystemCase& start, const SystemCase& after, Ended ended);

struct SystemDifference {
  std::string name;  ///< "rax", "cr2", "fs.base", "[0x42000]"
  u64 ours = 0, theirs = 0;
};
/// What differs between the ends of one start; where they ended comes first, under the name "place" or "ended".
std::vector<SystemDifference> differences(const SystemCase& start, const SystemEnd& ours, const SystemEnd& theirs);
std::string describe(const std::vector<SystemDifference>& all);

/// What keeps a case out of images, by how it ends here; nullptr: nothing.
const char* not_in_images(const SystemEnd& ours);

/// Something that runs cases and shows what an image would.
class SystemSide {
 public:
  virtual ~SystemSide() = default;
  virtual const char* name() const = 0;
  /// One end for each case.
  virtual std::vector<SystemEnd> run(std::span<const SystemCase* const> cases) = 0;
};

/// A PC that runs images of cases.
class SystemImage final : public SystemSide {
 public:
  /// `engine`: nestwalk, qemu or bochs.
  explicit SystemImage(const char* engine);
  const char* name() const override { return emulator_.engine(); }
  /// Empty where an image ran; else why not.
  const std::string& missing() const { return missing_; }
  /// An emulator that dies or falls silent has shut down; the cases behind boot anew. Cases run world by world, so that the
  /// runner seldom makes its memory anew.
  std::vector<SystemEnd> run(std::span<const SystemCase* const> cases) override;

 private:
  /// Boots an image and takes the records of its cases; false without its last word.
  bool boot(std::span<const SystemCase* const> cases, std::span<SystemEnd> ends, std::vector<bool>& done);

  Emulator emulator_;
  std::string missing_;
};

}  // namespace nestwalk::oracle
