// An emulator as a child process that boots an image by test/oracle/image/run and prints on its debug console.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

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

}  // namespace nestwalk::oracle
