// Boots images and reads their records. An emulator that dies, or says nothing for long, has failed at the first case
// without a record; the others boot anew.
#include "test/oracle/harness/image_side.h"

#include <algorithm>
#include <csignal>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace nestwalk::oracle {
namespace {

constexpr int kPatience = 60'000;  // milliseconds without a word
constexpr const char* kRun = NESTWALK_SOURCE "/test/oracle/image/run";
constexpr int kAbsent = 77;  // exit status of a script that lacks what it needs

}  // namespace

ImageSide::ImageSide(const char* engine) : engine_(engine) {
  std::string name = (std::filesystem::temp_directory_path() / "nestwalk-image-XXXXXX").string();
  if (!mkdtemp(name.data())) {
    missing_ = "no temporary folder";
    return;
  }
  folder_ = name;
  ask_processor();
}

ImageSide::~ImageSide() {
  end();
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

void ImageSide::ask_processor() {
  std::vector<Outcome> outcomes(features_.cases().size());
  cases_ = features_.cases();
  outcomes_ = outcomes;
  done_.assign(cases_.size(), false);
  first_ = 0;
  boot();
  read_records();
  int status = 0;
  waitpid(child_, &status, 0);
  child_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kAbsent)
    missing_ = std::string(engine_) + " or what it boots with is not installed";
  else if (!ended_)
    missing_ = std::string(engine_) + " does not boot an image";
  if (!missing_.empty()) return;
  features_.take(outcomes);
  if (!lacks(cpu::Feature::avx) && !lacks(cpu::Feature::xsave)) components_ = kComponents;
}

/// An image of the cases from first_ on that have no record.
void ImageSide::boot() {
  frames_.clear();
  for (std::size_t n = first_; n < cases_.size(); ++n) frames_.push_back(frame_of(cases_[n], components_));
  const std::filesystem::path file = folder_ / "image.elf";
  const std::vector<u8> image = make_image(frames_);
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  if (!out.flush()) throw std::runtime_error("cannot write '" + file.string() + "'");
  ended_ = false;
  int up[2];
  if (pipe2(up, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for an image's records");
  child_ = fork();
  if (child_ == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, 0);
    dup2(up[1], 1);
    dup2(nothing, 2);
    execl(kRun, kRun, engine_, file.c_str(), NESTWALK_PROGRAM, nullptr);
    _exit(kAbsent);
  }
  close(up[1]);
  from_child_ = up[0];
  if (child_ > 0) setpgid(child_, child_);
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
  char buffer[1 << 16];
  pollfd ready{from_child_, POLLIN, 0};
  bool gone = false;
  while (!reader.ended() && !gone && poll(&ready, 1, kPatience) == 1) {
    const ssize_t n = read(from_child_, buffer, sizeof buffer);
    gone = n <= 0;
    if (!gone) reader.feed({buffer, static_cast<std::size_t>(n)});
  }
  ended_ = reader.ended();
  if (child_ > 0 && !gone) kill(-child_, SIGKILL);
  close(from_child_);
  from_child_ = -1;
}

void ImageSide::end() {
  if (from_child_ >= 0) close(from_child_);
  from_child_ = -1;
  if (child_ <= 0) return;
  kill(-child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  child_ = -1;
}

void ImageSide::finish() {
  for (;;) {
    read_records();
    end();
    const auto lost = std::find(done_.begin() + static_cast<std::ptrdiff_t>(first_), done_.end(), false);
    if (lost == done_.end()) return;
    const auto at = static_cast<std::size_t>(lost - done_.begin());
    outcomes_[at] = Outcome{};
    outcomes_[at].vector = Outcome::kDied;
    first_ = at + 1;
    if (first_ == cases_.size()) return;
    boot();
  }
}

std::unique_ptr<ImageSide> make_image_side(const char* engine, std::string& missing) {
  auto side = std::make_unique<ImageSide>(engine);
  missing = side->missing();
  return missing.empty() ? std::move(side) : nullptr;
}

}  // namespace nestwalk::oracle
