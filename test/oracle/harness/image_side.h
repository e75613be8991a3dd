// A whole emulated PC as one side of the oracle: cases become a bootable image (image.h), which test/oracle/image/run boots
// under qemu-system-x86_64, bochs or Nestwalk itself. Nestwalk's own image shows that the image is right: segments, page
// tables and exception frames are then real ones, and everything must be as in our_side.h.
#pragma once

#include "test/oracle/harness/case.h"

#include <string>
#include <vector>

#include "test/oracle/harness/asked_features.h"
#include "test/oracle/harness/emulator.h"
#include "test/oracle/harness/image.h"

namespace nestwalk::oracle {

class ImageSide final : public Side {
 public:
  /// `engine`: nestwalk, qemu or bochs.
  explicit ImageSide(const char* engine);
  /// Empty where an image ran; else why not.
  const std::string& missing() const { return missing_; }
  const char* name() const override { return emulator_.engine(); }
  std::size_t batch() const override { return 4096; }
  void start(std::span<const Case> cases, std::span<Outcome> outcomes) override;
  void finish() override;
  /// Whether this PC's processor lacks a feature of our table, as its CPUID says.
  bool lacks(cpu::Feature feature) const { return features_.lacks(feature); }

 private:
  void ask_processor();
  void boot();
  void read_records();

  Emulator emulator_;
  std::string missing_;
  AskedFeatures features_;
  u64 components_ = kX87Sse;
  std::span<const Case> cases_;
  std::span<Outcome> outcomes_;
  std::size_t first_ = 0;  ///< of the image that runs
  std::vector<Frame> frames_;
  std::vector<bool> done_;
  bool ended_ = false;
};

/// nullptr where the emulator is absent, with the reason.
std::unique_ptr<ImageSide> make_image_side(const char* engine, std::string& missing);

}  // namespace nestwalk::oracle
