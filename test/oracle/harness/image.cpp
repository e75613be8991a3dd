// ELF32 (System V ABI, chapter 4) because multiboot loaders other than ours take no ELF64.
#include "test/oracle/harness/image.h"

#include <charconv>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <elf.h>

namespace nestwalk::oracle {
namespace {

constexpr u32 kLoadAt = 0x100000;
constexpr u64 kLeaveVector = 0x30, kHungVector = 0xfe;
constexpr unsigned kIntBytes = 2;

std::vector<u8> runner() {
  std::vector<u8> bytes = read_part(NESTWALK_ORACLE_RUNNER);
  if (bytes.size() < 4096 || get<u64>(bytes.data(), kLayoutOffset) != sizeof(Frame))
    throw std::runtime_error("a runner of oracle images with another layout: " NESTWALK_ORACLE_RUNNER);
  return bytes;
}

}  // namespace

std::vector<u8> read_part(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<u8> bytes{std::istreambuf_iterator<char>(in), {}};
  if (bytes.empty()) throw std::runtime_error(std::string("no '") + path + "', which an oracle image is made of");
  return bytes;
}

Frame frame_of(const Case& c, u64 components) {
  Frame f{};
  const Registers& r = c.before;
  const bool wide = c.mode == Mode::k64;
  std::copy(r.gpr.begin(), r.gpr.end(), f.gpr);
  f.rip = kCode;
  f.cs = wide ? 0x33 : 0x23;
  f.rflags = r.rflags;
  f.rsp = r.gpr[cpu::RSP];
  f.ss = 0x2b;
  f.ds = f.es = f.fs = f.gs = wide ? 0 : 0x2b;
  f.fs_base = r.fs_base;
  f.gs_base = r.gs_base;
  std::array<u8, 4096> page;
  put_code(c, page.data());
  std::memcpy(f.code, page.data() + (kCode - kCodePage), sizeof f.code);
  to_xsave(r, f.state, components);
  f.memory = c.memory;
  return f;
}

void read_outcome(const Frame& f, Outcome& o) {
  Registers& r = o.after;
  std::copy(std::begin(f.gpr), std::end(f.gpr), r.gpr.begin());
  r.rip = f.rip;
  r.rflags = f.rflags;
  r.fs_base = f.fs_base;
  r.gs_base = f.gs_base;
  const u64 selectors[cpu::kSegs] = {f.es, f.cs, f.ss, f.ds, f.fs, f.gs};
  for (unsigned n = 0; n < cpu::kSegs; ++n) r.selector[n] = static_cast<u16>(selectors[n]);
  from_xsave(f.state, get<u64>(f.state, 512), r);
  o.memory = f.memory;
  o.stray = f.stray;
  o.error = static_cast<u32>(f.error);
  o.vector = f.vector == kHungVector ? Outcome::kHung : static_cast<int>(f.vector);
  o.address = o.vector == cpu::ex::pf ? f.cr2 : 0;
  if (f.vector != kLeaveVector) return;
  o.vector = Outcome::kNone;
  r.rip -= kIntBytes;
}

std::vector<u8> make_image(std::span<const Frame> frames) {
  std::vector<u8> body = runner();
  put(body.data(), kCountOffset, u64{frames.size()});
  const u8* const bytes = reinterpret_cast<const u8*>(frames.data());
  body.insert(body.end(), bytes, bytes + frames.size_bytes());
  return make_elf(body, kLoadAt);
}

std::vector<u8> make_elf(std::span<const u8> body, u32 load_at) {
  constexpr u32 kBodyAt = 0x1000;
  const u32 size = static_cast<u32>(body.size());
  Elf32_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS32;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_ident[EI_VERSION] = EV_CURRENT;
  head.e_type = ET_EXEC;
  head.e_machine = EM_386;
  head.e_version = EV_CURRENT;
  head.e_entry = load_at + kEntryOffset;
  head.e_phoff = sizeof head;
  head.e_ehsize = sizeof head;
  head.e_phentsize = sizeof(Elf32_Phdr);
  head.e_phnum = 1;
  head.e_shentsize = sizeof(Elf32_Shdr);
  const Elf32_Phdr segment{PT_LOAD, kBodyAt, load_at, load_at, size, size, PF_R | PF_W | PF_X, 0x1000};
  std::vector<u8> image(kBodyAt);
  put(image.data(), 0, head);
  put(image.data(), sizeof head, segment);
  image.insert(image.end(), body.begin(), body.end());
  return image;
}

void RecordReader::feed(std::string_view text) {
  for (const char c : text) {
    if (c == '@') {
      pending_ = c;
    } else if (!pending_.empty() && c == ';') {
      record(std::string_view(pending_).substr(1));
      pending_.clear();
    } else if (!pending_.empty()) {
      pending_ += c;
    }
  }
}

/// "case word:value word:value ...", or "end". What is not that is an emulator's own talk.
void RecordReader::record(std::string_view text) {
  if (text == "end") {
    ended_ = true;
    return;
  }
  const char *at = text.data(), *const stop = at + text.size();
  const auto number = [&](u64& v) {
    const auto [next, error] = std::from_chars(at, stop, v, 16);
    at = next;
    return error == std::errc();
  };
  u64 which = 0;
  if (!number(which)) return;
  RecordWords words;
  while (at != stop) {
    u64 word = 0, value = 0;
    if (*at++ != ' ' || !number(word) || at == stop || *at++ != ':' || !number(value)) return;
    words.emplace_back(word, value);
  }
  take_(which, words);
}

void ImageReader::take(u64 which, const RecordWords& words) {
  if (which >= frames_.size()) return;
  Frame f = frames_[which];
  for (const auto& [word, value] : words) {
    if (word >= sizeof f / 8) return;
    std::memcpy(reinterpret_cast<u8*>(&f) + 8 * word, &value, 8);
  }
  frames_[which] = f;
  done_(which);
}

}  // namespace nestwalk::oracle
