// Boots images and reads their records. An emulator that dies, or says nothing for long, has failed at the first case
// without a record; the others boot anew.
#include "test/oracle/harness/image_side.h"

#include <algorithm>

namespace nestwalk::oracle {
namespace {

constexpr int kPatience = 60'000;  // milliseconds without a word

}  // namespace

ImageSide::ImageSide(const char* engine) : emulator_(engine) { ask_processor(); }

void ImageSide::ask_processor() {
  std::vector<Outcome> outcomes(features_.cases().size());
  start(features_.cases(), outcomes);
  read_records();
  if (emulator_.end())
    missing_ = std::string(name()) + " or what it boots with is not installed";
  else if (!ended_)
    missing_ = std::string(name()) + " does not boot an image";
  if (!missing_.empty()) return;
  features_.take(outcomes);
  if (!lacks(cpu::Feature::avx) && !lacks(cpu::Feature::xsave)) components_ = kComponents;
}

/// An image of the cases from first_ on that have no record.
void ImageSide::boot() {
  frames_.clear();
  for (std::size_t n = first_; n < cases_.size(); ++n) frames_.push_back(frame_of(cases_[n], components_));
  ended_ = false;
  emulator_.boot(make_image(frames_));
}

void ImageSide::start(std::span<const Case> cases, std::span<Outcome> outcomes) {
  cases_ = cases;
  outcomes_ = outcomes;
  done_.assign(cases.size(), false);
  first_ = 0;
  boot();
}

/// Until the image's last word, or the emulator's.
void ImageSide::read_records() {
  ImageReader reader(frames_, [this](u64 n) {
    read_outcome(frames_[n], outcomes_[first_ + n]);
    done_[first_ + n] = true;
  });
  emulator_.read(kPatience, [&](std::string_view text) {
    reader.feed(text);
    return reader.ended();
  });
  ended_ = reader.ended();
}

void ImageSide::finish() {
  const auto read_from = [&](std::size_t first) {
    if (first) first_ = first, boot();  // start() has booted the first image
    read_records();
    emulator_.end();
    return std::vector<bool>(done_.begin() + static_cast<std::ptrdiff_t>(first), done_.end());
  };
  run_all(cases_.size(), read_from, [&](std::size_t n) {
    outcomes_[n] = Outcome{};
    outcomes_[n].vector = Outcome::kDied;
  });
}

std::unique_ptr<ImageSide> make_image_side(const char* engine, std::string& missing) {
  auto side = std::make_unique<ImageSide>(engine);
  missing = side->missing();
  return missing.empty() ? std::move(side) : nullptr;
}

}  // namespace nestwalk::oracle
