// From points to plans: every point's machine is built once before anything runs, so that an unknown key or an impossible
// geometry in point 17 is refused at once; what comes out is all that determines the point's result, and its digest.
#pragma once

#include <map>
#include <string>

#include "emu/sweep/point.h"

namespace nestwalk::emu::sweep {

struct Plan {
  Point point;
  Pairs config;        ///< every key with its effective value
  Pairs images;        ///< role and digest of the guest images, as a report's head has them
  std::string digest;  ///< of the program, the configuration and the images
};

class Planner {
 public:
  /// `program`: what tells one program from another.
  explicit Planner(std::string program) : program_(std::move(program)) {}

  /// Throws sim::ConfigError that names the point.
  Plan plan(const Point& point);

 private:
  void check(Plan& plan);
  std::string image_digest(const std::string& path);

  std::string program_;
  std::map<std::string, std::string> image_digests_;  ///< by path: points share their images
};

/// Digest of all that determines a result. Where the images lie does not: their contents are in `images`.
std::string digest_of(const std::string& program, const Pairs& config, const Pairs& images);
/// Digest of a file's bytes as a report's head prints it. Throws sim::ConfigError.
std::string digest_of_file(const std::string& path);

}  // namespace nestwalk::emu::sweep
