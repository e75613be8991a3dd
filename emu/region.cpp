#include "emu/region.h"

namespace nestwalk::emu {

void Region::begin() {
  if (begun_) return;
  begun_ = stats_.snapshot();
  ++intervals_;
}

void Region::end() {
  if (!begun_) return;
  sum_ = inside();
  begun_.reset();
}

void Region::restart() {
  origin_ = stats_.snapshot();
  sum_.reset();
  intervals_ = 0;
  if (begun_) {
    begun_ = origin_;
    intervals_ = 1;
  }
}

sim::Snapshot Region::inside() const {
  const sim::Snapshot now = stats_.snapshot();
  if (!begun_) return sum_ ? *sum_ : now.minus(now);
  const sim::Snapshot open = now.minus(*begun_);
  return sum_ ? sum_->plus(open) : open;
}

sim::Snapshot Region::whole() const {
  const sim::Snapshot now = stats_.snapshot();
  return origin_ ? now.minus(*origin_) : now;
}

}  // namespace nestwalk::emu
