// An emulator as a child process that boots an image by test/oracle/image/run and prints on its debug console.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace nestwalk::oracle {

class Emulator {
 public:
  /// `engine`: nestwalk, qemu or bochs.
  explicit Emulator(const char* engine);
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  const char* engine() const { return engine_; }
  /// Starts it; what ran before must have ended. Throws std::runtime_error where the host has no room for it.
  void boot(std::span<const u8> image);
  /// Hands out what it prints until `enough` says so, it ends, or it says nothing for `patience` milliseconds.
  void read(int patience, const std::function<bool(std::string_view)>& enough);
  /// Ends it. Whether it had ended by itself because it, or what it boots with, is not installed.
  bool end();

 private:
  const char* engine_;
  std::filesystem::path folder_;
  pid_t child_ = -1;
  int from_child_ = -1;
  bool gone_ = false;
};

/// Boots images until each of the cases has a record: `boot` gets the number of the first case of an image and says which
/// of those from there on have one. What comes first without a record has failed: `lost` is told, and the rest boots anew.
void run_all(std::size_t cases, const std::function<std::vector<bool>(std::size_t first)>& boot,
             const std::function<void(std::size_t number)>& lost);

}  // namespace nestwalk::oracle
