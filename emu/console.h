// The host's end of the guest's serial line: standard output, standard input in raw mode when it is a terminal, and the
// escape Ctrl-A X that leaves.
#pragma once

#include <string>
#include <string_view>

#include "base/types.h"

namespace nestwalk::emu {

class Console {
 public:
  enum class Input : u8 { none, standard };

  explicit Console(Input input);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// From the guest. Kept until a newline, `flush`, or 4 KiB; then written to standard output.
  void put(u8 byte);
  void flush();
  /// What arrived on standard input since the last call, without escapes.
  std::string take_input();
  bool reads_input() const { return input_ == Input::standard; }
  bool is_terminal() const { return raw_; }
  /// Ctrl-A X was typed.
  bool quit() const { return quit_; }
  /// Waits at most `milliseconds` for input.
  void wait(int milliseconds);

 private:
  Input input_;
  bool raw_ = false;
  bool escape_ = false;
  bool quit_ = false;
  std::string output_;
  struct Terminal;
  Terminal* saved_ = nullptr;
};

}  // namespace nestwalk::emu
