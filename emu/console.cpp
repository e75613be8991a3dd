#include "emu/console.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

namespace nestwalk::emu {

struct Console::Terminal {
  termios before;
};

Console::Console(Input input) : input_(input) {
  if (input_ != Input::standard || !isatty(STDIN_FILENO)) return;
  saved_ = new Terminal;
  if (tcgetattr(STDIN_FILENO, &saved_->before) != 0) return;
  termios t = saved_->before;
  t.c_iflag &= static_cast<tcflag_t>(~(ICRNL | IXON | ISTRIP | INLCR | IGNCR));
  t.c_lflag &= static_cast<tcflag_t>(~(ECHO | ICANON | ISIG | IEXTEN));
  t.c_cc[VMIN] = 0;
  t.c_cc[VTIME] = 0;
  raw_ = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

Console::~Console() {
  flush();
  if (raw_) tcsetattr(STDIN_FILENO, TCSANOW, &saved_->before);
  delete saved_;
}

void Console::put(u8 byte) {
  output_.push_back(static_cast<char>(byte));
  if (byte == '\n' || output_.size() >= 4096) flush();
}

void Console::flush() {
  std::string_view rest = output_;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n <= 0) break;  // a closed pipe: the guest goes on without a listener
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  output_.clear();
}

void Console::wait(int milliseconds) {
  if (input_ != Input::standard) return;
  pollfd p{STDIN_FILENO, POLLIN, 0};
  ::poll(&p, 1, milliseconds);
}

std::string Console::take_input() {
  std::string got;
  if (input_ != Input::standard) return got;
  pollfd p{STDIN_FILENO, POLLIN, 0};
  char buffer[256];
  while (::poll(&p, 1, 0) == 1 && (p.revents & (POLLIN | POLLHUP))) {
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n <= 0) {
      if (n == 0 && !raw_) input_ = Input::none;  // end of a pipe or file
      break;
    }
    for (const char c : std::string_view(buffer, static_cast<std::size_t>(n))) {
      if (escape_) {
        escape_ = false;
        if (c == 'x' || c == 'X') {
          quit_ = true;
          return got;
        }
        if (c != 1) got.push_back(1);
        got.push_back(c);
      } else if (c == 1 && raw_) {
        escape_ = true;
      } else {
        got.push_back(c);
      }
    }
  }
  return got;
}

}  // namespace nestwalk::emu
