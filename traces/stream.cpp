#include "traces/stream.h"

#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace nestwalk::traces {

struct Writer::State {
  std::FILE* file = nullptr;
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::vector<char> out = std::vector<char>(ZSTD_CStreamOutSize());
  ~State() {
    if (file) std::fclose(file);
    ZSTD_freeCCtx(context);
  }
};

Writer::Writer(const std::string& path, Kind kind, const std::string& config)
    : state_(std::make_unique<State>()), path_(path) {
  state_->file = std::fopen(path.c_str(), "wb");
  if (!state_->file) throw TraceError("cannot write the trace " + path + ": " + std::strerror(errno));
  ZSTD_CCtx_setParameter(state_->context, ZSTD_c_compressionLevel, 1);
  ZSTD_CCtx_setParameter(state_->context, ZSTD_c_checksumFlag, 1);
  buffer_.reserve(kBuffer);
  const Header header{static_cast<u32>(kind), static_cast<u32>(config.size())};
  compress(kMagic, sizeof kMagic, false);
  compress(&header, sizeof header, false);
  compress(config.data(), config.size(), false);
}

Writer::~Writer() = default;

void Writer::compress(const void* bytes, std::size_t n, bool end) {
  ZSTD_inBuffer in{bytes, n, 0};
  bool done = false;
  while (!done) {
    ZSTD_outBuffer out{state_->out.data(), state_->out.size(), 0};
    const std::size_t left = ZSTD_compressStream2(state_->context, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left)) throw TraceError("cannot compress the trace " + path_ + ": " + ZSTD_getErrorName(left));
    if (std::fwrite(state_->out.data(), 1, out.pos, state_->file) != out.pos)
      throw TraceError("cannot write the trace " + path_ + ": " + std::strerror(errno));
    done = end ? left == 0 : in.pos == in.size;
  }
}

void Writer::flush(bool end) {
  compress(buffer_.data(), buffer_.size() * sizeof(Record), end);
  records_ += buffer_.size();
  buffer_.clear();
}

void Writer::finish() {
  flush(true);
  const bool failed = std::fclose(std::exchange(state_->file, nullptr)) != 0;
  if (failed) throw TraceError("cannot write the trace " + path_ + ": " + std::strerror(errno));
}

struct Reader::State {
  std::FILE* file = nullptr;
  ZSTD_DCtx* context = ZSTD_createDCtx();
  std::vector<char> in = std::vector<char>(ZSTD_DStreamInSize());
  std::vector<char> out = std::vector<char>(ZSTD_DStreamOutSize());
  std::size_t in_at = 0, in_end = 0, out_at = 0, out_end = 0;
  bool frame_open = false;
  ~State() {
    if (file) std::fclose(file);
    ZSTD_freeDCtx(context);
  }
};

Reader::Reader(const std::string& path) : state_(std::make_unique<State>()), path_(path) {
  state_->file = std::fopen(path.c_str(), "rb");
  if (!state_->file) throw TraceError("cannot read the trace " + path + ": " + std::strerror(errno));
  char magic[sizeof kMagic];
  Header header;
  if (!read(magic, sizeof magic, true) || std::memcmp(magic, kMagic, sizeof magic) != 0)
    throw TraceError(path + " is no trace of this version of Nestwalk");
  read(&header, sizeof header, false);
  if (header.kind < 1 || header.kind > 3 || header.config_bytes > (16u << 20))
    throw TraceError(path + ": the trace's header is damaged");
  kind_ = static_cast<Kind>(header.kind);
  config_.resize(header.config_bytes);
  read(config_.data(), config_.size(), false);
}

Reader::~Reader() = default;

bool Reader::refill() {
  State& s = *state_;
  while (true) {
    if (s.in_at == s.in_end) {
      s.in_end = std::fread(s.in.data(), 1, s.in.size(), s.file);
      s.in_at = 0;
      if (s.in_end == 0) {
        if (s.frame_open) throw TraceError(path_ + ": the trace is cut off");
        return false;
      }
    }
    ZSTD_inBuffer in{s.in.data(), s.in_end, s.in_at};
    ZSTD_outBuffer out{s.out.data(), s.out.size(), 0};
    const std::size_t left = ZSTD_decompressStream(s.context, &out, &in);
    if (ZSTD_isError(left)) throw TraceError(path_ + " is no trace or is damaged: " + ZSTD_getErrorName(left));
    s.frame_open = left != 0;
    s.in_at = in.pos;
    s.out_at = 0;
    s.out_end = out.pos;
    if (out.pos) return true;
  }
}

bool Reader::read(void* to, std::size_t n, bool end_allowed) {
  State& s = *state_;
  for (std::size_t done = 0; done < n;) {
    if (s.out_at == s.out_end && !refill()) {
      if (done == 0 && end_allowed) return false;
      throw TraceError(path_ + ": the trace ends within a record");
    }
    const std::size_t m = std::min(n - done, s.out_end - s.out_at);
    std::memcpy(static_cast<char*>(to) + done, s.out.data() + s.out_at, m);
    s.out_at += m;
    done += m;
  }
  return true;
}

bool Reader::next(Record& r) { return read(&r, sizeof r, true); }

}  // namespace nestwalk::traces
