// Cases as a bootable image: a multiboot-1 ELF file of the runner (test/oracle/image/runner.S), with a frame for each case
// behind it, and what the runner prints on the debug console. Any PC that boots multiboot kernels can be asked this way.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/oracle/harness/xsave_area.h"

namespace nestwalk::oracle {

/// A case or its outcome as the runner knows it; test/oracle/image/frame.inc has the same layout.
struct Frame {
  u64 gpr[16];
  u64 rip, cs, rflags, rsp, ss;
  u64 ds, es, fs, gs;
  u64 fs_base, gs_base;
  u64 vector, error, cr2, stray;
  u64 unused;
  u8 code[32];
  u64 padding[4];
  u8 state[kXsaveBytes];
  Memory memory;
};
static_assert(sizeof(Frame) == 2176 && offsetof(Frame, state) == 320 && offsetof(Frame, memory) == 1152);

/// The frame that a case starts from; `components` of XCR0 that the processor has.
Frame frame_of(const Case& c, u64 components);
/// What a frame says that the runner left.
void read_outcome(const Frame& f, Outcome& o);

/// The bytes of an image; throws std::runtime_error where the runner is not as this file says.
std::vector<u8> make_image(std::span<const Frame> frames);

/// A file of the build that an image is made of; throws std::runtime_error where it is not there.
std::vector<u8> read_part(const char* path);
/// A multiboot kernel of one segment, which is entered behind its header (`kEntryOffset`).
std::vector<u8> make_elf(std::span<const u8> body, u32 load_at);
inline constexpr unsigned kCountOffset = 16, kLayoutOffset = 24, kEntryOffset = 32;

/// Words of a record and their values.
using RecordWords = std::vector<std::pair<u64, u64>>;

/// Reads the records that a runner prints, a piece at a time, whatever an emulator says in between.
class RecordReader {
 public:
  explicit RecordReader(std::function<void(u64 number, const RecordWords&)> take) : take_(std::move(take)) {}
  void feed(std::string_view text);
  bool ended() const { return ended_; }

 private:
  void record(std::string_view text);

  std::function<void(u64, const RecordWords&)> take_;
  std::string pending_;
  bool ended_ = false;
};

/// Records as changes of frames.
class ImageReader {
 public:
  /// `frames`: as the image has them; each becomes what its case left, and `done` is called with its number.
  ImageReader(std::span<Frame> frames, std::function<void(u64)> done)
      : frames_(frames), done_(std::move(done)), records_([this](u64 n, const RecordWords& w) { take(n, w); }) {}
  ImageReader(const ImageReader&) = delete;
  ImageReader& operator=(const ImageReader&) = delete;
  void feed(std::string_view text) { records_.feed(text); }
  bool ended() const { return records_.ended(); }

 private:
  void take(u64 number, const RecordWords& words);

  std::span<Frame> frames_;
  std::function<void(u64)> done_;
  RecordReader records_;
};

}  // namespace nestwalk::oracle
