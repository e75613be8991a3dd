// Writing and reading trace files (zstd frames around the bytes of traces/format.h).
#pragma once

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "traces/format.h"

namespace nestwalk::traces {

/// A trace that cannot be written or read; one line that names the file.
class TraceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Writer {
 public:
  Writer(const std::string& path, Kind kind, const std::string& config);
  ~Writer();
  void put(const Record& r) {
    buffer_.push_back(r);
    if (buffer_.size() == kBuffer) flush(false);
  }
  /// Ends the frame and closes the file; without it the trace is cut off, and readers say so.
  void finish();
  u64 records() const { return records_ + buffer_.size(); }

 private:
  static constexpr std::size_t kBuffer = 4096;
  void flush(bool end);
  void compress(const void* bytes, std::size_t n, bool end);

  struct State;
  std::unique_ptr<State> state_;
  std::string path_;
  std::vector<Record> buffer_;
  u64 records_ = 0;
};

class Reader {
 public:
  explicit Reader(const std::string& path);
  ~Reader();
  Kind kind() const { return kind_; }
  const std::string& config() const { return config_; }
  /// False at the end. Throws TraceError for a trace that is cut off or damaged.
  bool next(Record& r);

 private:
  bool read(void* to, std::size_t n, bool end_allowed);
  bool refill();

  struct State;
  std::unique_ptr<State> state_;
  std::string path_;
  Kind kind_{};
  std::string config_;
};

}  // namespace nestwalk::traces
